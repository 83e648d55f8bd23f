# %% [markdown]
# # 5 · Evaluation: what do the scores mean?
#
# **In fifteen minutes you will score both networks on Test, once, and find out why images are misclassified.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **score** accuracy, precision, recall and F1, each with its interval;
# - **read** the confusion matrix, and count the cancers that were missed;
# - **compare** the two networks on the same images, with a test;
# - **ask** of the misclassified what kind of error they are;
# - **doubt** whether the network has seen the lesion or the camera;
# - **report** what may be claimed, in plain words.
#
# This is teaching material, not a medical device. Nothing here may be used to judge anybody's skin.

# %%
# {{setup}}

# %% tags=["parameters"]
DATA_DIR = ""  # @param {type:"string"} folder of the images; empty: look for one, else the synthetic sample
OUT_DIR = "runs/course"  # @param {type:"string"} run folder; a path under /content/drive/MyDrive outlives Colab
LABELS = "audited"  # @param ["audited", "published"] which labels to learn from
METADATA = ""  # @param {type:"string"} CSV of official labels and lesions; empty: the one that comes with the course
MIN_CLASS_SIZE = 20  # @param {type:"integer", min:1, max:100000} a class with fewer training images is left out
MALIGNANT = ""  # @param {type:"string"} names of the malignant classes, separated by commas; empty: known from the standard names
PREVALENCE = 0.02  # @param {type:"number", min:0.0001, max:0.9999} share of patients assumed to have what is asked for; not known from images
EXTERNAL_DIR = ""  # @param {type:"string"} folder of another set, to be scored beside Test; empty: none
PICTURE = ""  # @param {type:"string"} path of a picture of your own; "upload" asks for one in Colab; empty: a Test image
SEED = 0  # @param {type:"integer", min:0, max:4294967295} the same number gives the same split, images and networks

# %%
# %matplotlib inline
from textwrap import fill

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from scipy.ndimage import laplace
from scipy.stats import binom
from sklearn.metrics import ConfusionMatrixDisplay, classification_report, roc_auc_score
from statsmodels.stats.proportion import proportion_confint

from helpers import figures, manifest, runs
from helpers.data import audit, classes, labels
from helpers.evaluation import decisions, explain, intervals, predict, report, scores
from helpers.figures import titled

run = runs.start("05_evaluation", globals())

# %% [markdown]
# ## The predictions
#
# Notebooks 03 and 04 kept one row per image, with a probability for each class. Evaluation reads only this table, so it
# can score any model: a `predictions.csv` of your own, in a folder of its own in the run folder, is scored too.

# %%
table = run.manifest()
run.need("03_baseline_cnn")
run.need("04_dropout_augmented_cnn")
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * run.images.synthetic)
kept = sorted(file.parent.name for file in run.folder.glob("*/predictions.csv"))
predictions = {name: scores.read_predictions(run.folder / name / "predictions.csv", table)
               for name in dict.fromkeys(["baseline", "regularised", *kept])}
learned = scores.classes(predictions["regularised"])
predictions["regularised"].head(3).round(2)

# %% [markdown]
# **Published labels** are the folder names, as everybody else scores them; **audited labels** are those that survived the
# audit, nearer to the truth. Which classes are malignant is known of the standard names; name those of your own in
# `MALIGNANT`. Actinic keratosis, a precursor of a cancer that is treated, counts as not malignant.

# %% tags=["nbval-check-output"]
metadata, audited = audit.official_labels(table, file=run.folder / "metadata.csv"), table
if LABELS == "published":
    audited = labels.apply_labels(audit.group(table, metadata), "audited", metadata, MIN_CLASS_SIZE)
truth = {"published": table.set_index("image_id")["published_label"],
         "audited": audited.set_index("image_id")["label"]}
test = {(name, which): scores.labelled(rows[rows["split"] == "test"], truth[which])
        for name, rows in predictions.items() for which in truth}
assert len(test["regularised", "audited"]), "The audit leaves no Test image: the ledger in 01 says why."
malignant = []
try:
    malignant = classes.malignant(sorted({*learned, *table["published_label"]}), MALIGNANT)
except ValueError as reason:
    if MALIGNANT:
        raise
    print(reason)
print(f"Malignant: {', '.join(malignant) or 'not known, so nothing is said of it'}.")

# %% [markdown]
# ## Accuracy, and how far to trust it
#
# **Accuracy** is the share of images classified correctly. Its **confidence interval** says how rough that number is: in
# 95 of 100 samples of this size, such an interval holds the true value; images of one lesion count as one. The
# **majority-class score** is what calling every image by the largest class of training would get. **Balanced accuracy**
# is the mean recall of the classes, **macro-F1** the mean F1: a rare class weighs as much as a common one.

# %%
scored = {name: {"val": scores.score(scores.labelled(rows[rows["split"] == "val"]), SEED),
                 "test": {which: scores.score(test[name, which], SEED) for which in truth}}
          for name, rows in predictions.items()}
largest = manifest.active(table, "train")["label"].mode()[0]
majority = {which: float((test["regularised", which]["label"] == largest).mean()) for which in truth}
accuracies = pd.DataFrame({
    (name, place): {"images": of["n"], "accuracy": report.estimate(of, "accuracy"),
                    "balanced accuracy": report.estimate(of, "balanced_accuracy"),
                    "macro-F1": report.estimate(of, "macro_f1")}
    for name, both in scored.items()
    for place, of in {"validation": both["val"], "Test, published": both["test"]["published"],
                      "Test, audited": both["test"]["audited"]}.items()}).T
display(accuracies)
print(f"Calling every image {largest} would get {majority['published']:.2f} on Test with published and "
      f"{majority['audited']:.2f} with audited labels.")

# %% [markdown]
# ## Class by class
#
# **Precision**: of the images called melanoma, how many are? **Recall** (or sensitivity): of the melanomas, how many were
# found? **F1** is their harmonic mean, **support** the number of images. First scikit-learn's report on the regularised
# network, then the same with intervals.

# %%
shown = scores.outcomes(test["regularised", "audited"])
shown = shown.merge(table[["image_id", "path", "sha256"]], on="image_id")
print(classification_report(shown["label"], shown["predicted"], zero_division=0))
by_class = scores.per_class(test["regularised", "audited"], malignant)
display(by_class.round(2))
few = by_class["support"][by_class["support"] > 0]
low, _ = proportion_confint(few.min(), few.min(), method="wilson")
print(f"The fewest images: {few.idxmin()}, {few.min()}. Were all of them called rightly, the recall could still "
      f"be\nanything from {low:.2f} to 1; were none, from 0 to {1 - low:.2f}. No network can change that.")

# %% [markdown]
# ## The confusion matrix
#
# Each row is a true class, each column a predicted one; what is classified correctly lies on the diagonal. The malignant
# classes come first: right of the upright line and above the level one lie the cancers that were taken for something
# benign, at the lower left the false alarms.

# %%
matrix = scores.confusion(test["regularised", "audited"], malignant)
cancer, names = matrix.index.isin(malignant), [fill(name, 22) for name in matrix.index]
matrix_figure, axes = plt.subplots(figsize=(8, 6.8), layout="constrained")
ConfusionMatrixDisplay(matrix.to_numpy(), display_labels=names).plot(ax=axes, cmap="Blues", colorbar=False)
axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
axes.set(xlabel="predicted", ylabel="true")
if cancer.any():
    axes.axhline(cancer.sum() - 0.5, color="#D55E00")
    axes.axvline(cancer.sum() - 0.5, color="#D55E00")
titled(matrix_figure, "Regularised network, Test, audited labels", run.images.synthetic)
plt.show()
missed, alarms = (matrix.loc[rows, ~rows].to_numpy().sum() for rows in (cancer, ~cancer))
if malignant:
    print(f"Of {matrix[cancer].to_numpy().sum()} cancers, {missed} were taken for something benign; of "
          f"{matrix[~cancer].to_numpy().sum()} other lesions, {alarms} were called a cancer.")

# %% [markdown]
# ## Is one network better?
#
# **McNemar's test** counts only the images on which exactly one of the two is right, and asks how likely a split at least
# as uneven would be if both were equally good. And what could it have found here? Simulate Tests of this size, with as
# many disagreements, and ask which difference is found four times out of five.

# %%
versus = scores.compare(test["regularised", "audited"], test["baseline", "audited"], SEED)
n, one_right = versus["n"], versus["only_a_right"] + versus["only_b_right"]


def power(gap):
    """Return the share of simulated Tests in which p < 0.05 where the accuracies differ by ``gap``."""
    either, draw = max(one_right / n, gap), np.random.default_rng(SEED)
    chances = [(either + gap) / 2, (either - gap) / 2, max(1 - either, 0)]
    a, b, _ = draw.multinomial(n, chances, 4000).T
    return (2 * binom.cdf(np.minimum(a, b), a + b, 0.5) < 0.05).mean()


smallest = next((f"{gap:.2f}" for gap in np.arange(1, 101) / 100 if power(gap) >= 0.8), "more than 1")
compared = (f"Only the regularised network is right on {versus['only_a_right']} of {n} images, only the "
            f"baseline on {versus['only_b_right']} (McNemar's test, {report.p_value(versus['mcnemar_p'])}): a "
            f"difference in accuracy of {report.estimate(versus, 'difference')}. To be found four times out of "
            f"five by this Test, a difference must be {smallest}.")
display(Markdown(compared))

# %% [markdown]
# Another seed is another network: train several (`sweeps/seeds_04.yml`) and report their spread. The best of them is no
# result, as Test would have chosen it.
#
# ## Look at predictions
#
# Images that were classified correctly, and below them the errors that the network was surest of: the true class, then
# the three most probable ones.

# %%
wrong = shown[~shown["correct"]].nlargest(4, "confidence")
some = pd.concat([shown[shown["correct"]].sample(frac=1, random_state=SEED).head(4), wrong])
titles = []
for _, row in some.iterrows():
    best = sorted(learned, key=lambda name: -row[f"p_{name}"])[:3]
    titles.append("\n".join([f"{'✓' if row['correct'] else '✗'} {row['label']}",
                             *(f"{row[f'p_{name}']:.0%} {name}" for name in best)]))
some_figure = figures.image_grid(list(some["path"]), titles, 4, "Regularised network, Test, audited labels",
                                 run.images.synthetic)
some_figure.set_size_inches(9, 7.5)
some_figure

# %% [markdown]
# ## The misclassified
#
# What kinds of error are they? Count, among all Test images with their published labels. *Blurred* and *dark* are pictures
# below the lowest tenth of training. A label is *doubtful* if the audit changed or contradicted it. A kind that is as
# frequent among the correct ones explains nothing; an error may be of several kinds, or of none.

# %%
network, load = explain.open_network(run.folder / "regularised")
train = manifest.active(table, "train")


def quality(rows):
    """Return the brightness of images, and their sharpness: the spread of the Laplacian."""
    grey = load(rows).mean(axis=3)
    sharp = [laplace(image).std() for image in grey]
    return pd.DataFrame({"dark picture": grey.mean(axis=(1, 2)), "blurred picture": sharp})


every = scores.outcomes(test["regularised", "published"])
every = every.merge(table[["image_id", "path", "sha256", "collection"]], on="image_id")
facts = audited.set_index("image_id").loc[every["image_id"]].reset_index()
some_train = train.sample(min(2000, len(train)), random_state=SEED)
kinds = quality(every) < quality(some_train).quantile(0.1)
changed = (facts["flag"] == "") & (facts["label"] != facts["published_label"])
kinds["doubtful label"] = changed | (facts["flag"] == "contradiction")
kinds["class that was never learned"] = ~every["label"].isin(learned)

# %%
if malignant:
    kinds["same malignancy"] = every["label"].isin(malignant) == every["predicted"].isin(malignant)
sides = {"misclassified": ~every["correct"], "classified correctly": every["correct"]}
error_kinds = pd.DataFrame({f"of {side.sum()} {title}": kinds[side].sum() for title, side in sides.items()})
error_kinds

# %% [markdown]
# ## The camera or the lesion?
#
# A network may learn who took a picture instead of what it shows: a **shortcut**. That pays wherever a class comes mostly
# from one **collection**. How often does the network call one of the classes that training has mostly from the image's
# own collection? Telling are the images whose class it has from another.

# %%
def share(hits):
    """Return a share with its 95 % interval as text; the index says which images are of one lesion."""
    return "{:.2f} ({:.2f} to {:.2f})".format(*intervals.share(hits, hits.index))


homes = train[train["collection"] != ""].groupby("label")["collection"].agg(lambda names: names.mode()[0])
has_collections = train["collection"].replace("", np.nan).nunique() > 1
home, own = every["label"].map(homes), every["collection"]
every["class in training from"] = np.where(home.isna(), "none", np.where(home == own, "this one", "another"))
every["stays"] = every["predicted"].map(homes) == own
groups = every.set_index(intervals.units(every))[(own != "").to_numpy()]
by_collection = groups.groupby(["collection", "class in training from"]).agg(
    images=("correct", "size"), accuracy=("correct", share), called_own=("stays", share))
by_collection = by_collection.rename(columns={"called_own": "called a class of its own collection"})
by_collection if has_collections else print("The images come from one collection, or from none that is known.")

# %% [markdown]
# Then change nothing but the overall colour: each validation image gets the mean and the spread of each channel of
# another one, three times at random. If that is from the same collection (the control), the accuracy shows what the
# exchange itself costs. If it is far lower with the colours of another collection, the network has used them.

# %%
if has_collections:
    val = manifest.active(table, "val").query("collection != ''")
    pixels, colours = load(val), {}
    for text, same in (("own", None), ("same_collection", True), ("other_collection", False)):
        changed = [pixels if same is None else explain.exchange_colours(pixels, val["collection"], same, SEED + draw)
                   for draw in range(3)]
        called = [np.array(learned)[explain.predict(network, each).argmax(axis=1)] for each in changed]
        colours[text] = pd.Series([(names == val["label"]).mean() for names in called]).agg(["mean", "min", "max"])
    colour_table = pd.DataFrame(colours).T.rename_axis("accuracy with colours of")
    scored["regularised"]["colours"] = colour_table["mean"].to_dict()
    display(colour_table.round(2))

# %% [markdown]
# ## Another set
#
# The fairest question is whether the network works on images of another origin: name a folder of them in `EXTERNAL_DIR`.
# Classes are matched by their standard names ("MEL" is melanoma); images of other classes, or in the course's own set,
# are left out.

# %%
elsewhere = scores.external(EXTERNAL_DIR, table, learned) if EXTERNAL_DIR else pd.DataFrame()
outside = {}
for name in predictions if len(elsewhere) else ():
    if (run.folder / name / "model.keras").exists():
        model, load_for = explain.open_network(run.folder / name)
        chances = explain.predict(model, load_for(elsewhere))
        found = scores.predictions_table(elsewhere, chances, learned).assign(group=elsewhere["group"])
        recall = scores.per_class(found, malignant)["recall"].dropna().to_dict()
        scored[name]["external"] = scores.score(found, SEED) | {"recall": recall}
        pair = found[found["label"].isin(["melanoma", "nevus"])]
        if pair["label"].nunique() == 2:
            chance = pair["p_melanoma"] / (pair["p_melanoma"] + pair["p_nevus"])
            scored[name]["external"]["auc_melanoma_nevus"] = roc_auc_score(pair["label"] == "melanoma", chance)
        outside[name] = {"Test, audited": report.estimate(scored[name]["test"]["audited"], "accuracy"),
                         "the other set": report.estimate(scored[name]["external"], "accuracy"),
                         **{f"there, recall of {kind}": f"{value:.2f}" for kind, value in recall.items()}}
outside = pd.DataFrame(outside)
outside if len(outside) else print("No other set was scored, so this run does not tell.")

# %% [markdown]
# ## What others report
#
# What public notebooks of this case study say of themselves. Validation that was split after augmentation is **leaked**:
# copies of one lesion lie on both sides. *k* is the number of Test images that a score means. Yours may be set beside
# these only if Test is the published one, file for file.

# %% tags=["nbval-check-output"]
claims = pd.read_csv("data/public_scores.csv").fillna("").set_index("claim")
display(claims[["accuracy", "test_or_validation", "n", "k", "low", "high", "verdict"]].rename(
    columns={"test_or_validation": "on", "n": "images", "low": "95 % interval, from", "high": "to"}))
if run.images.synthetic:
    print("Scores on drawings cannot be compared with scores on patients' images.")

# %% [markdown]
# ## Say it in plain words, and keep it
#
# What would a doctor or a manager need to know? A patient counts as sent on if a malignant class is called; `PREVALENCE`
# is an assumption. This is the first screen of `report.html`, one page to be opened on a phone or sent (it holds images:
# mind their licence); `metrics.json` has all scores.

# %%
patients = None
if malignant and shown["label"].isin(malignant).nunique() == 2:
    view = shown.assign(truth=shown["label"].isin(malignant), probability=shown["predicted"].isin(malignant))
    patients = decisions.per_thousand(decisions.operating_point(view, 0.5), PREVALENCE)
words = report.in_words(scored["regularised"]["test"]["audited"], (largest, majority["audited"]), patients,
                        PREVALENCE, scored["regularised"].get("external"))
display(Markdown("\n\n".join([f"- **{number}** {text}" for number, text in words[0]["cards"]] + words[1:])))

# %%
sections = {
    "In plain words": words,
    "Accuracy": [accuracies, "With 95 % intervals; several images of one lesion count as one."],
    "Class by class": [by_class.round(2), "Regularised network, Test, audited labels."],
    "Confusion matrix": [matrix_figure, "Lines part the malignant classes from the others."],
    "Is one network better?": compared,
    "Predictions": [some_figure, "The true class, then the three most probable ones."],
    "The misclassified": [error_kinds, "Test, published labels. An error may be of several kinds."]}
if has_collections:
    sections["The camera or the lesion?"] = [by_collection, "Test images by who took them.", colour_table,
                                             "Accuracy on validation with the colours of other images."]
if len(outside):
    sections["Another set"] = [outside, "The same networks on images of another origin."]
for both in scored.values():
    both["majority"] = {"class": largest, **majority}
report.write_metrics(run, table, scored)
report.write(run, "report", "Skin-lesion classification: what the scores mean", sections)
print(f"{OUT_DIR}/report/metrics.json and {OUT_DIR}/report/report.html")
run.done()

# %% [markdown]
# ## A picture of your own
#
# What does the network call it, which training image is most like it, and has it seen anything like it? "yes" is no
# guarantee: it says only that the picture is no farther off than nearly all validation images. The heatmap shows what
# spoke for the predicted class; notebook 06 says how far to trust it.

# %%
picture = PICTURE or shown["path"].iloc[0]
if PICTURE == "upload":
    from google.colab import files

    picture = next(iter(files.upload()))
said, unreadable = predict.predict(run.folder, [picture])
print(*unreadable, report.NOTICE, sep="\n")
for answer in said.to_dict("records"):
    display(said.drop(columns="image").T.rename(columns={0: "the picture"}))
    own_pixels = load(pd.DataFrame({"path": [picture], "sha256": [""]}))
    heat = explain.grad_cam(network, own_pixels, [learned.index(answer["predicted"])])
    nearest = table.set_index("image_id").loc[answer["nearest"], "path"]
    titles = ["the picture", f"for {answer['predicted']}", f"nearest: {answer['nearest_label']}"]
    display(figures.image_grid([own_pixels[0], explain.overlay(own_pixels, heat)[0], nearest], titles, 3,
                               synthetic=run.images.synthetic))

# %% [markdown]
# ## What you saw
#
# - **Score**: an accuracy needs its interval and the majority-class score beside it.
# - **Read**: the mean hides which class pays for it; the matrix shows it.
# - **Compare**: only the images count on which the networks differ, and a small Test can only find a large difference.
# - **Ask**: a kind of error explains something only if it is rarer among the images that were classified correctly.
# - **Doubt**: a score on the cameras of training says nothing about other cameras.
# - **Report**: found, missed and needless of a thousand, what a trivial rule would get, and what was not tried.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# Which class does the regularised network find least often on Test (audited labels)? Compute its recall from `shown`,
# by hand, and compare it with the table.

# %% tags=["solution"]
# @title Solution 1
### BEGIN SOLUTION
worst = by_class["recall"].idxmin()
recall_by_hand = (shown.loc[shown["label"] == worst, "predicted"] == worst).mean()
### END SOLUTION
print(f"{worst}: {recall_by_hand:.2f}")
assert recall_by_hand == by_class["recall"].min()

# %% [markdown]
# ### Exercise 2
#
# How much narrower would the accuracy's interval be with four times as many Test images, if the accuracy stayed as it is?
# Use `proportion_confint(..., method="wilson")`. Expect about half.

# %% tags=["solution"]
# @title Solution 2
accuracy = shown["correct"].mean()
### BEGIN SOLUTION
sizes = [len(shown), 4 * len(shown)]
wide, narrow = (np.ptp(proportion_confint(accuracy * n, n, method="wilson")) for n in sizes)
### END SOLUTION
print(f"{wide:.3f} wide with {len(shown)} images, {narrow:.3f} with {4 * len(shown)}")
assert 0.45 < narrow / wide < 0.6

# %% [markdown]
# ### Exercise 3
#
# Let the two networks vote: average their probabilities on Test (audited labels), image by image, and score the average.
# Is it better than the regularised network alone? Say it with McNemar's test, not with the two accuracies.

# %% tags=["solution"]
# @title Solution 3
### BEGIN SOLUTION
columns = [f"p_{name}" for name in learned]
vote, other = test["regularised", "audited"].copy(), test["baseline", "audited"].set_index("image_id")
vote[columns] = (vote[columns] + other.loc[vote["image_id"], columns].to_numpy()) / 2
ballot = scores.compare(vote, test["regularised", "audited"], SEED)
### END SOLUTION
print(f"vote {scores.score(vote)['accuracy']:.2f}, alone {accuracy:.2f}; {report.p_value(ballot['mcnemar_p'])}")
assert np.allclose(vote[columns].sum(axis=1), 1, atol=1e-3)
