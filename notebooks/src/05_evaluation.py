# %% [markdown]
# # 5 · Evaluation: was your choice right?
#
# **In twenty-five minutes of reading (about an hour if you also do it) you will see what the network that you sent to a
# clinic does where the clinic no longer gives the class away, find out why, and score all networks on Test.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **reveal** what your choice of notebook 04 gets right where class and clinic form a pair that training never saw;
# - **explain** it by swapping colours, and by looking at misclassified images;
# - **score** accuracy, precision, recall and F1, with intervals;
# - **read** the confusion matrix;
# - **compare** networks, another set, and what others report;
# - **report** it all in plain words.
#
# This is teaching material, not a medical device. Nothing here may be used to judge anybody's health.
#
# You need not change anything in the next three cells. Come back when a section mentions a name in capitals, such as
# `SEED`: the cell of parameters says what it means.

# %%
# {{setup}}

# %% tags=["parameters"]
# folder of the images; empty: look for one, else the synthetic sample
DATA_DIR = ""  # @param {type:"string"}
# run folder; a path under /content/drive/MyDrive is kept when Colab ends
OUT_DIR = "runs/course"  # @param {type:"string"}
# which labels to train on
LABELS = "audited"  # @param ["audited", "published"]
# CSV of official labels and lesions; empty: the course's own
METADATA = ""  # @param {type:"string"}
# a class with fewer training images is left out
MIN_CLASS_SIZE = 20  # @param {type:"integer", min:1, max:100000}
# the malignant classes, separated by commas; empty: recognised by their standard names
MALIGNANT = ""  # @param {type:"string"}
# assumed share of patients who have the disease; images do not show it
PREVALENCE = 0.02  # @param {type:"number", min:0.0001, max:0.9999}
# folder of another set of images, scored as well as Test; empty: none
EXTERNAL_DIR = ""  # @param {type:"string"}
# path of a picture of your own; "upload" opens a file dialog in Colab; empty: a Test image
PICTURE = ""  # @param {type:"string"}
# the same number gives the same split and images; networks may differ a little from run to run
SEED = 0  # @param {type:"integer", min:0, max:4294967295}

# %%
# %matplotlib inline
from helpers import figures, manifest, runs
from helpers.evaluation import evaluate, pictures, predict, report, scores, shortcut
from notebooks.checks import scores as checks

import pandas as pd
from sklearn.metrics import ConfusionMatrixDisplay, classification_report
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

# %% [markdown]
# ## The networks
#
# Notebooks 03 and 04 run first where their results are missing or were made from something else. Then every network of
# the run folder is scored: on validation, on Test, and on validation images with other colours.

# %%
run = runs.start("05_evaluation", globals())
SYNTHETIC = run.images.synthetic  # then figures say so
table = run.manifest()
run.need("03_baseline_cnn")
run.need("04_dropout_augmented_cnn")
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * SYNTHETIC)

# %%
results = evaluate.evaluate(run, table)
choice = run.answer("04_dropout_augmented_cnn", "CHOICE", "colours_kept")
results.networks

# %% [markdown]
# You sent one of these networks to a clinic. (*Other parameters* are those, such as `SEED`, that were set differently
# for a network than for one above it. What notebooks 03 and 04 do differently in their cells is not listed.)

# %% [markdown]
# ## Guess: what does your choice do with an unseen pair?
#
# Suppose that all dermatofibromas in training came from clinic B. Now clinic A sends one. The network has seen
# dermatofibromas, and it has seen clinic A, but never the two together: an **unseen pair** of class and collection (here:
# clinic). A network that learned the lesion can still be right; one that learned the clinic may predict a class that, in
# training, came from A. The next cell says which images your guess is about: these, if Test has at least ten.

# %%
place = shortcut.hard_place(results.reveal)
print("Your guess is about:", shortcut.WORDS[place])

# %% [markdown]
# What share of them does your choice get right? (In the figure, Test has the audited labels of notebook 01; the line
# through a dot is its 95% interval.)

# %%
GUESS = 0.5  # change me: the share, from 0 to 1

# %% tags=["slide"]
here, there = results.reveal.loc[choice, "value"][["validation", place]]
shortcut.figure(
    results.reveal, guess=GUESS, choice=choice,
    title=f"{report.plain(choice).capitalize()}: {here:.0%} right on validation, "
          f"{there:.0%} on {place} (you guessed {GUESS:.0%})",
    synthetic=SYNTHETIC,
)

# %%
print(shortcut.answer(results.reveal, choice))

# %% [markdown]
# An accuracy means nothing without something to compare it with: the **majority-class score** is the accuracy of always
# predicting the largest class of training.

# %% tags=["nbval-check-output"]
majority = results.scored[choice]["majority"]
print("Always predicting {class}: {audited:.0%} of Test (audited labels).".format(**majority))

# %% [markdown]
# In validation, class and clinic go together as in training, so it may reward a network for recognising the clinic. A
# large drop from a network's first mark to its last may be the trace of a shortcut.
#
# And on photographs? On the real images that this course was tried on, validation preferred *colours kept* in each of
# four trainings (65% to 66%, against 56% to 60%). Of another clinic's nevi it recognised 6% to 10%, *colours exchanged*
# 31% to 38%
# ([results](https://github.com/{{repository}}/blob/{{branch}}/docs/results.md#which-network-would-you-send-to-a-clinic)).

# %% [markdown]
# ## Why? Swap the colours
#
# Is it the colours? Give each validation image the colours of another one: the mean and the spread of each channel, as in
# notebook 04. Colours from the *same* collection are the control: they show what the swap itself costs. If those from
# *another* collection cost much more, the network was using the colours of the collection.

# %% tags=["slide"]
folder = run.folder / choice
val = manifest.active(table, "val")
pictures.swapped(
    folder, val, results.scored[choice]["colours"],
    synthetic=SYNTHETIC, seed=SEED,
)

# %% [markdown]
# The same for every network. (One view of each image is predicted here, so *own* may differ from the accuracy above.)

# %% tags=["nbval-check-output"]
results.colours

# %%
print(shortcut.cost(choice, results.scored[choice]["colours"]))

# %% [markdown]
# The last number is what hung on the colours of the collection.

# %% [markdown]
# ## Look at its predictions
#
# Above: four Test images that your choice classifies correctly (✓). Below: the mistakes (✗) that it is surest of. Over
# each image stand the true class and the two classes that the network finds most probable.

# %% tags=["slide"]
test = results.places[choice]["Test"]  # its predictions of Test, with audited labels
pictures.examples(
    test, choice,
    seed=SEED,
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## The misclassified
#
# Numbers say how often a network is wrong; images may show why. Here are errors among the Test images of an unseen
# pair (where there are none, among all), one of each kind. Look at the collection over each image: in training, does the
# predicted class come from there?

# %% tags=["slide"]
wrong = shortcut.errors(test, table)
own, at_random = wrong[["own_clinic", "by_chance"]].sum()
some = wrong.drop_duplicates(["label", "predicted"])[:8]
clinic = some["collection"].replace("", "unknown")
figures.image_grid(
    some["path"],
    "from " + clinic + "\ntrue: " + some["label"] + "\npredicted: " + some["predicted"],
    columns=4, inches=2.2,
    title=f"{own:.0f} of {len(wrong)} errors name a class of the image's own collection; "
          f"at random {at_random:.0f} would",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## Accuracy, and how far to trust it
#
# **Accuracy** is the share of images classified correctly. In brackets is its **confidence interval**: about 95 of a
# hundred such intervals hold the true value. Test is scored twice: with the **published** labels of the folders, and
# with the **audited** ones of notebook 01, which leave out contradictions and classes that are too small. (No network
# predicts a class that was left out, so with published labels its images all count as errors.)

# %% tags=["nbval-check-output"]
results.accuracies[["images", "accuracy"]].drop(shortcut.UNSEEN, level="scored on", errors="ignore")

# %% [markdown]
# ## Class by class
#
# **Precision**: of the images predicted to be of a class, what share really is? **Recall** (sensitivity): of the images
# that really are of a class, what share was found? **F1** is their harmonic mean, **support** the number of images.
# First scikit-learn's report. Its *macro avg* is the plain mean over the classes, which for recall is called **balanced
# accuracy**, for F1 **macro-F1**. Then the recall with its interval. This section is about your choice, on Test with
# audited labels.

# %% tags=["nbval-check-output"]
shown = scores.outcomes(test)
label, predicted = shown["label"], shown["predicted"]
print(classification_report(label, predicted, zero_division=0))

# %% tags=["nbval-check-output"]
by_class = scores.per_class(test, results.positive)
by_class.drop(columns=["precision", "f1"]).round(2)

# %% [markdown]
# In the **confusion matrix**, rows are true classes and columns predicted ones. The malignant classes come first (where
# it is not known which are, the rarest class). Upper right of the two lines are malignant images predicted as another
# class, the *missed* ones; lower left are others predicted as malignant, the *false alarms*.

# %% tags=["slide"]
figure, axes = figures.new(8, 7)
ConfusionMatrixDisplay.from_predictions(
    label, predicted, labels=by_class.index,
    xticks_rotation="vertical", cmap="Blues", colorbar=False, ax=axes,
)
edge = len(results.positive) - 0.5
axes.axvline(edge, color="#D55E00")
axes.axhline(edge, color="#D55E00")
missed = scores.missed(test, results.positive)
figures.titled(figure, f"{report.plain(choice).capitalize()}: {missed}", SYNTHETIC)

# %% [markdown]
# The first class in numbers: precision divides its cell on the diagonal by its column, recall by its row.

# %% tags=["nbval-check-output"]
name = by_class.index[0]
true, named = label == name, predicted == name
hits = sum(true & named)
print(f"{name}: predicted {sum(named)} times, {hits} times rightly: the precision.")
print(f"Of {sum(true)} true ones, {hits} were found: the recall.")

# %% [markdown]
# ## Is one network better?
#
# **McNemar's test** looks only at the images on which exactly one of two networks is right. *p* answers: if both were
# equally good, how likely would a split at least this uneven be? With few such images, even a real difference may not
# show; and Test as a whole may hide what one part of it shows. So test each set of images separately.

# %%
def differences(place):
    """Return on how many images of a place each network alone is right, and McNemar's p."""
    kept = results.places["colours_kept"][place]["correct"].to_numpy(bool)
    exchanged = results.places["colours_exchanged"][place]["correct"].to_numpy(bool)
    only_kept, only_exchanged = (kept & ~exchanged).sum(), (exchanged & ~kept).sum()
    p = mcnemar([[0, only_kept], [only_exchanged, 0]]).pvalue
    return {"place": place, "only colours kept": only_kept,
            "only colours exchanged": only_exchanged, "p": round(p, 3)}


# %%
tested = pd.DataFrame([differences(place) for place in results.places["colours_kept"]])
tested.set_index("place")

# %% [markdown]
# In which rows is *colours kept* right more often, in which *colours exchanged*? If that changes from row to row, and
# *p* is small in both, both answers hold: which network is better depends on where you ask. (And another seed is
# another network: `sweeps/seeds_04.yml` repeats both trainings.)

# %% [markdown]
# ## Another set, and other people's scores
#
# Whether a network works in a clinic that training has never seen, only images from there can show: **external
# validation**. Name a folder of them in `EXTERNAL_DIR`, or `isic:clinics`, which fetches 477 images of two other
# clinics (in Colab, with the images of the case study, these are the default). Then a table below has a row for each
# clinic, beside what validation promised.

# %%
print(results.clinic)
display(*results.clinics)

# %% [markdown]
# What scores do public notebooks report? 26 were read for this course: 25 augment first and split afterwards, so their
# validation is **leaked** (copies of one lesion lie on both sides); here are the lowest and the highest of their scores,
# and that of the other one. Seven other reports are *clean*: no copy is among the images that were scored. Compare yours
# with theirs only if Test is the published one.

# %% tags=["nbval-check-output"]
public = pd.read_csv("data/public_scores.csv", dtype=str, keep_default_na=False, index_col="report")
public = public.rename(columns={"test_or_validation": "scored on"})
public[["scored on", "n", "accuracy", "low", "high", "verdict"]]

# %% [markdown]
# ## The report
#
# `report/report.html` in the run folder is a page for somebody who has no notebook. It shows all networks; its class
# table, confusion matrix and examples are of the network that the rule of notebook 07 recommends, which need not be
# your choice. It shows images: mind their licence.

# %%
run.done(GUESS=GUESS)
print(f"{OUT_DIR}/report/report.html")

# %% [markdown]
# ## A picture of your own
#
# What does the network predict, which training image is most similar, and is the picture similar enough to the training
# images for the answer to mean anything? The `distance` is 1 minus the cosine of the features (the numbers that the
# last layer receives): 0 for the same features as the nearest training image, at most 2. An image that is farther off
# than 99% of the validation images is **out of distribution**: unlike the training images (after Sun and others, 2022).

# %%
picture = pictures.own(PICTURE, default=shown["path"].iloc[0])
found, unreadable = predict.predict(run.folder, [picture], choice)
print(report.NOTICE, *unreadable)
found.drop(columns="image").round(2).T.set_axis(["answer"], axis=1)

# %% tags=["slide"]
answer = found.iloc[0]
nearest = table.set_index("image_id").loc[answer["nearest"], "path"]
figures.image_grid(
    [picture, nearest],
    ["the picture", "most similar in training: " + answer["nearest_label"]],
    columns=2, inches=2.6,
    title=f"Predicted: {answer['predicted']} ({answer['probability']:.0%}); "
          f"like training: {answer['like_training']}",
    synthetic=SYNTHETIC,
)

# %% [markdown]
# ## What you saw
#
# - **Reveal**: validation may prefer a network that has learned to recognise the clinics; unseen pairs of class and
#   clinic, or images from elsewhere, can show it.
# - **Explain**: swapped colours show how much of the score hangs on them; errors may be classes of the image's clinic.
# - **Score**: an accuracy needs its interval and the majority-class score beside it.
# - **Read**: a good average may hide a class that is mostly missed.
# - **Compare**: only the images on which two networks differ can tell them apart.
# - **Report**: what was measured, on which images, and what was not tried.

# %% [markdown]
# {{quiz}}

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# Whose mistake is it? An image may be misclassified because its *label* is wrong. In `typed`, a tenth of the validation
# labels were mistyped. (It has a column `label`, and for each class the probability that your choice gave it, such as
# `p_melanoma`.) Which images would you look at again? Put into `doubtful` the `image_id` of the tenth whose
# `label` your choice finds least probable. How many of them were mistyped, and how many would be by chance?

# %% tags=["solution"]
# @title Solution 1
known = results.places[choice]["validation"]
typed = checks.mistype(known, SEED)
doubtful = None
### BEGIN SOLUTION
typed["own"] = [row["p_" + row["label"]] for _, row in typed.iterrows()]
doubtful = typed.nsmallest(len(typed) // 10, "own")["image_id"]
### END SOLUTION
checks.doubtful_labels(doubtful, typed, known)

# %% [markdown]
# ### Exercise 2
#
# How much narrower would the accuracy's interval be with four times as many Test images and the same accuracy? Compute
# the ratio of the widths, new to old, as `ratio`, with `proportion_confint(right, images, method="wilson")`.

# %% tags=["solution"]
# @title Solution 2
right, images = shown["correct"].sum(), len(shown)
ratio = None
### BEGIN SOLUTION
low, high = proportion_confint(right, images, method="wilson")
low_4, high_4 = proportion_confint(4 * right, 4 * images, method="wilson")
ratio = (high_4 - low_4) / (high - low)
### END SOLUTION
checks.ratio_of_widths(ratio, test)

# %% [markdown]
# ### Exercise 3
#
# Would you have chosen better by another rule? For each network that notebook 04 trained (`colours_kept`,
# `colours_exchanged`), what share of its accuracy with colours of the *same* collection is left with colours of *another*
# one? Put it into a dictionary `remaining` by network. The accuracies are in `results.scored[name]["colours"]`; only
# validation is used.

# %% tags=["solution"]
# @title Solution 3
remaining = {}
### BEGIN SOLUTION
for name in ("colours_kept", "colours_exchanged"):
    found = results.scored[name]["colours"]
    remaining[name] = found["other_collection"] / found["same_collection"] if found else 1.0
### END SOLUTION
checks.kept_with_other_colours(remaining, results.scored)

# %% [markdown]
# ## Go on
#
# Solutions: [the notebook in full](https://github.com/{{repository}}/blob/{{branch}}/notebooks/{{notebook}}.ipynb).
#
# Next: [06_transfer_learning](06_transfer_learning.ipynb), in Colab
# [here](https://colab.research.google.com/github/{{repository}}/blob/{{branch}}/notebooks/exercises/06_transfer_learning.ipynb).
