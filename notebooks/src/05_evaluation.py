# %% [markdown]
# # 5 · Evaluation: what do the scores mean?
#
# **In fifteen minutes you will score both networks on Test, once, and find out why images are misclassified.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **score** accuracy, precision, recall and F1, with intervals;
# - **read** the confusion matrix, and count the missed cancers;
# - **compare** the two networks with a test;
# - **ask** what kind of errors the misclassified are;
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
from helpers.data import classes, duplicates, labels
from helpers.evaluation import decisions, explain, intervals, predict, report, scores

run = runs.start("05_evaluation", globals())

# %% [markdown]
# ## The predictions
#
# Evaluation reads only the predictions, one row per image with a probability for each class, so it can score any model:
# a `predictions.csv` of your own, in a folder of its own in the run folder, is scored too.

# %%
table = run.manifest()
run.need("03_baseline_cnn")
run.need("04_dropout_augmented_cnn")
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * run.images.synthetic)
kept = sorted(file.parent.name for file in run.folder.glob("*/predictions.csv"))
predictions = {name: scores.read_predictions(run.folder / name / "predictions.csv", table)
               for name in dict.fromkeys(["baseline", "regularised", *kept])}
predictions["regularised"].head(3).round(2)

# %% [markdown]
# Test has two sets of labels: **published** ones, the folder names, as everybody else scores them, and **audited** ones,
# which survived the audit. Which classes are malignant is known of standard names; else say it in `MALIGNANT`. Actinic
# keratosis, a precursor of a cancer, is treated too, but counts as not malignant.

# %% tags=["nbval-check-output"]
audited = table
if LABELS == "published":
    official = labels.official_labels(table, file=run.folder / "metadata.csv")
    audited = labels.apply_labels(duplicates.group(table, official), "audited", official, MIN_CLASS_SIZE)
truth = {"published": table.set_index("image_id")["published_label"],
         "audited": audited.set_index("image_id")["label"]}
test = {(name, which): scores.labelled(rows[rows["split"] == "test"], truth[which])
        for name, rows in predictions.items() for which in truth}
assert len(test["regularised", "audited"]), "The audit leaves no Test image: the ledger in 01 says why."
learned = scores.classes(predictions["regularised"])
every_class = sorted({*learned, *table["published_label"]})
asked = MALIGNANT or all(map(classes.is_known, every_class))
malignant = classes.malignant(every_class, MALIGNANT) if asked else []
print("Malignant:", ", ".join(malignant) or "not known of these names, so nothing is said of it")

# %% [markdown]
# ## Accuracy, and how far to trust it
#
# **Accuracy** is the share of images classified correctly. Of a hundred **confidence intervals** like those in brackets,
# 95 hold the true value; images of one lesion count as one. The **majority-class score** is what calling every image by
# the largest class would get. **Balanced accuracy** is the mean recall of the classes, **macro-F1** the mean F1: a rare
# class weighs as much as a common one.

# %%
scored = {name: {"val": scores.score(scores.labelled(rows[rows["split"] == "val"]), SEED),
                 "test": {which: scores.score(test[name, which], SEED) for which in truth}}
          for name, rows in predictions.items()}
places = {(name, place): found for name, both in scored.items()
          for place, found in {"validation": both["val"], **both["test"]}.items()}
accuracies = pd.DataFrame({place: {"images": found["n"]} | {
    text: report.estimate(found, text.replace(" ", "_"))
    for text in ("accuracy", "balanced accuracy", "macro f1")} for place, found in places.items()}).T
display(accuracies)
train = manifest.active(table, "train")
largest = train["label"].mode()[0]
majority = {which: float((test["regularised", which]["label"] == largest).mean()) for which in truth}
print(f"Always saying {largest} would get {majority['published']:.2f} on Test with published labels, "
      f"{majority['audited']:.2f} with audited ones.")

# %% [markdown]
# ## Class by class
#
# **Precision**: of the images called melanoma, how many are? **Recall** (sensitivity): of the melanomas, how many were
# found? **F1** is their harmonic mean, **support** the number of images. First scikit-learn's report on the regularised
# network, then the same with intervals.

# %%
shown = scores.outcomes(test["regularised", "audited"])
shown = shown.merge(table[["image_id", "path", "sha256"]], on="image_id")
print(classification_report(shown["label"], shown["predicted"], zero_division=0))
by_class = scores.per_class(test["regularised", "audited"], malignant).round(2)
display(by_class)
few = by_class["support"][by_class["support"] > 0]
low, _ = proportion_confint(few.min(), few.min(), method="wilson")
print(f"Fewest images: {few.idxmin()}, {few.min()}. Even with all of them called rightly, its recall could "
      f"be anything from {low:.2f} to 1.")

# %% [markdown]
# ## The confusion matrix
#
# Rows are true classes, columns predicted ones, the malignant first: right of the upright line and above the level one
# lie the missed cancers, at the lower left the false alarms.

# %%
matrix = scores.confusion(test["regularised", "audited"], malignant)
cancer, names = matrix.index.isin(malignant), [fill(name, 22) for name in matrix.index]
matrix_figure, axes = plt.subplots(figsize=(8, 6.8), layout="constrained")
ConfusionMatrixDisplay(matrix.to_numpy(), display_labels=names).plot(ax=axes, cmap="Blues", colorbar=False)
axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
axes.set(xlabel="predicted", ylabel="true")
if malignant:
    axes.axhline(cancer.sum() - 0.5, color="#D55E00")
    axes.axvline(cancer.sum() - 0.5, color="#D55E00")
figures.titled(matrix_figure, "Regularised network, Test, audited labels", run.images.synthetic)
plt.show()
missed, alarms = (matrix.loc[rows, ~rows].to_numpy().sum() for rows in (cancer, ~cancer))
if malignant:
    print(f"Of {matrix[cancer].to_numpy().sum()} cancers, {missed} were called no cancer; of "
          f"{matrix[~cancer].to_numpy().sum()} other lesions, {alarms} were called one.")

# %% [markdown]
# ## Is one network better?
#
# **McNemar's test** asks of the images on which exactly one network is right how likely a split at least as uneven would
# be if both were equally good. And what could it have found? Simulate Tests of this size with as many disagreements.

# %%
versus = scores.compare(test["regularised", "audited"], test["baseline", "audited"], SEED)
n, one_right = versus["n"], versus["only_a_right"] + versus["only_b_right"]


def power(gap):
    """Return the share of simulated Tests with p < 0.05 where the accuracies differ by ``gap``."""
    either, draw = max(one_right / n, gap), np.random.default_rng(SEED)
    chances = [(either + gap) / 2, (either - gap) / 2, max(1 - either, 0)]
    a, b, _ = draw.multinomial(n, chances, 4000).T
    return (2 * binom.cdf(np.minimum(a, b), a + b, 0.5) < 0.05).mean()


smallest = next((f"at least {gap:.2f}" for gap in np.arange(1, 101) / 100 if power(gap) >= 0.8), "above 1")
compared = (f"Only the regularised network is right on {versus['only_a_right']} of {n} images, only the "
            f"baseline on {versus['only_b_right']} (McNemar's test, {report.p_value(versus['mcnemar_p'])}): a "
            f"difference in accuracy of {report.estimate(versus, 'difference')}. To be found by four of "
            f"five such Tests, a difference must be {smallest}.")
display(Markdown(compared))

# %% [markdown]
# Another seed is another network: train several (`sweeps/seeds_04.yml`) and report their spread, not the best of them.
#
# ## Look at predictions
#
# Images that were classified correctly, and the errors that the network was surest of: the true class, then the three
# most probable ones.

# %%
wrong = shown[~shown["correct"]].nlargest(4, "confidence")
some = pd.concat([shown[shown["correct"]].sample(frac=1, random_state=SEED).head(4), wrong])
titles = []
for _, row in some.iterrows():
    best = row[[f"p_{name}" for name in learned]].astype(float).nlargest(3)
    calls = [f"{chance:.0%} {name[2:]}" for name, chance in best.items()]
    titles.append("\n".join([f"{'✓' if row['correct'] else '✗'} {row['label']}", *calls]))
some_figure = figures.image_grid(list(some["path"]), titles, 4, "Regularised network, Test, audited labels",
                                 synthetic=run.images.synthetic)
some_figure.set_size_inches(9, 7.5)
some_figure

# %% [markdown]
# ## The misclassified
#
# What kinds of error are they? *Dark* and *blurred* pictures are below the lowest tenth of training; a label is
# *doubtful* if the audit changed or contradicted it. A kind that is as frequent among the correct ones explains nothing;
# an error may be of several kinds, or of none.

# %%
network, load = explain.open_network(run.folder / "regularised")


def quality(rows):
    """Return the brightness of images, and their sharpness: the spread of the Laplacian."""
    grey = load(rows).mean(axis=3)
    sharp = [laplace(image).std() for image in grey]
    return pd.DataFrame({"dark picture": grey.mean(axis=(1, 2)), "blurred picture": sharp})


every = scores.outcomes(test["regularised", "published"])
every = every.merge(table[["image_id", "path", "sha256", "collection"]], on="image_id")
usual = quality(train.sample(min(2000, len(train)), random_state=SEED))
kinds = quality(every) < usual.quantile(0.1)
facts = audited.set_index("image_id").loc[every["image_id"]].reset_index()
relabelled = (facts["flag"] == "") & (facts["label"] != facts["published_label"])
kinds["doubtful label"] = relabelled | (facts["flag"] == "contradiction")
kinds["class that was never learned"] = ~every["label"].isin(learned)

# %%
if malignant:
    kinds["same malignancy"] = every["label"].isin(malignant) == every["predicted"].isin(malignant)
error_kinds = pd.DataFrame({f"of {side.sum()} {text}": kinds[side].sum() for text, side in (
    ("misclassified", ~every["correct"]), ("classified correctly", every["correct"]))})
error_kinds

# %% [markdown]
# ## The camera or the lesion?
#
# A network may learn who took a picture instead of what it shows: a **shortcut**. That pays where a class comes mostly
# from one **collection**. How often does the network call a class that training has from the image's own collection?
# Telling are the images whose class it has from another.

# %%
def share(hits):
    """Return a share with its 95 % interval as text; the index says which images are of one lesion."""
    return "{:.2f} ({:.2f} to {:.2f})".format(*intervals.share(hits, hits.index))


known = train[train["collection"] != ""].groupby("label")["collection"]
home = known.agg(lambda names: names.mode()[0])
has_collections = train["collection"].replace("", np.nan).nunique() > 1
stays = {text: every[column].map(home) == every["collection"]
         for text, column in (("class from it", "label"), ("called a class from it", "predicted"))}
asked = every.assign(**stays).set_index(intervals.units(every)).query("collection != ''")
by_collection = asked.groupby(["collection", "class from it"]).agg(
    **{"images": ("correct", "size"), "accuracy": ("correct", share),
       "called a class from it": ("called a class from it", share)})
by_collection if has_collections else print("The images come from one collection, or from none that is known.")

# %% [markdown]
# Then change nothing but the overall colour: each validation image gets the mean and spread of each channel of another
# one, three times at random. From the same collection (the control) this shows what the exchange itself costs; if the
# accuracy is far lower with colours of another collection, the network has used them.

# %%
if has_collections:
    val = manifest.active(table, "val").query("collection != ''")
    pixels, colours = load(val), {}
    for text, same in (("own", None), ("same_collection", True), ("other_collection", False)):
        colours[text] = pd.Series(dtype=float)
        for draw in range(3):
            changed = pixels if same is None else explain.exchange_colours(
                pixels, val["collection"], same, SEED + draw)
            called = np.array(learned)[explain.predict(network, changed).argmax(axis=1)]
            colours[text][draw] = (called == val["label"]).mean()
    colours = pd.DataFrame(colours).agg(["mean", "min", "max"]).T.rename_axis("accuracy with colours")
    scored["regularised"]["colours"] = colours["mean"].to_dict()
    display(colours.round(2))

# %% [markdown]
# ## Another set
#
# The fairest question is whether the network works on images of another origin: name their folder in `EXTERNAL_DIR`.
# Classes are matched by their standard names; images of other classes, or in the course's own set, are left out.

# %%
elsewhere, outside = pd.DataFrame(), {}
if EXTERNAL_DIR:
    elsewhere = scores.external(EXTERNAL_DIR, table, learned)
for name in predictions if len(elsewhere) else ():
    if (run.folder / name / "model.keras").exists():
        model, load_for = explain.open_network(run.folder / name)
        chances = explain.predict(model, load_for(elsewhere))
        rows = scores.predictions_table(elsewhere, chances, learned).assign(group=elsewhere["group"])
        recall = scores.per_class(rows, malignant)["recall"].dropna()
        found = scored[name]["external"] = scores.score(rows, SEED) | {"recall": recall.to_dict()}
        pair = rows[rows["label"].isin(["melanoma", "nevus"])]
        if pair["label"].nunique() == 2:
            chance = pair["p_melanoma"] / (pair["p_melanoma"] + pair["p_nevus"])
            found["auc_melanoma_nevus"] = roc_auc_score(pair["label"] == "melanoma", chance)
        outside[name] = {"accuracy": report.estimate(found, "accuracy"), "images": found["n"],
                         **recall.map("{:.2f}".format).add_prefix("recall of ")}
outside = pd.DataFrame(outside)
outside if len(outside) else print("No other set was scored, so this run does not tell.")

# %% [markdown]
# ## What others report
#
# What public notebooks of this case study say of themselves. Validation that was split after augmentation is **leaked**:
# copies of one lesion lie on both sides. *k* is the number of images that a score means. Yours may be set beside these
# only if Test is the published one, file for file.

# %% tags=["nbval-check-output"]
claims = pd.read_csv("data/public_scores.csv").fillna("").set_index("claim")
claims[["accuracy", "test_or_validation", "n", "k", "low", "high", "verdict"]].rename(
    columns={"test_or_validation": "on", "n": "images", "low": "95 % interval, from", "high": "to"})

# %% [markdown]
# ## Say it in plain words, and keep it
#
# What would a doctor or a manager need to know? A patient is sent on if a malignant class is called; `PREVALENCE` is an
# assumption. This is the first screen of `report.html`, a page to read on a phone or to send: it holds images, so mind
# their licence.

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
    "Class by class": [by_class, "Regularised network, Test, audited labels."],
    "Confusion matrix": [matrix_figure, "Lines part the malignant classes from the others."],
    "Is one network better?": compared,
    "Predictions": [some_figure, "The true class, then the three most probable ones."],
    "The misclassified": [error_kinds, "Test, published labels. An error may be of several kinds."]}
if has_collections:
    sections["The camera or the lesion?"] = [by_collection, "Test images by who took them, and whether their class is "
                                             "from there.", colours, "Validation with colours of other images."]
if len(outside):
    sections["Another set"] = [outside, "The same networks on images of another origin."]
for both in scored.values():
    both["majority"] = {"class": largest, **majority}
report.write_metrics(run, table, scored)
report.write(run, "report", "Skin-lesion classification: what the scores mean", sections)
run.done()

# %% [markdown]
# ## A picture of your own
#
# What is it called, which training image is most like it, and has the network seen anything like it? "yes" says only
# that it is no farther off than nearly all validation images. The heatmap shows what spoke for the call; notebook 06 says
# how far to trust it.

# %%
picture = PICTURE or shown["path"].iloc[0]
if PICTURE == "upload":
    from google.colab import files

    picture = next(iter(files.upload()))
said, unreadable = predict.predict(run.folder, [picture])
print(*unreadable, report.NOTICE, sep="\n")
for answer in said.to_dict("records"):
    display(said.drop(columns="image").T.rename(columns={0: "the picture"}))
    pixels = load(pd.DataFrame({"path": [picture], "sha256": [""]}))
    heat = explain.grad_cam(network, pixels, [learned.index(answer["predicted"])])
    nearest = table.set_index("image_id").loc[answer["nearest"], "path"]
    titles = ["the picture", f"for {answer['predicted']}", f"nearest: {answer['nearest_label']}"]
    grid = figures.image_grid([pixels[0], explain.overlay(pixels, heat)[0], nearest], titles, 3,
                              synthetic=run.images.synthetic)
    grid.set_size_inches(7.5, 3.3)
    display(grid)

# %% [markdown]
# ## What you saw
#
# - **Score**: an accuracy needs its interval and the majority-class score beside it.
# - **Read**: the mean hides which class pays for it; the matrix shows it.
# - **Compare**: only the images count on which the networks differ.
# - **Ask**: a kind of error explains something only if it is rarer among the correct ones.
# - **Doubt**: a score on the cameras of training says nothing about other cameras.
# - **Report**: found, missed and needless of a thousand, and what was not tried.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# Which class does the regularised network find least often (Test, audited labels)? Compute its recall from `shown`.

# %% tags=["solution"]
# @title Solution 1
### BEGIN SOLUTION
worst = by_class["recall"].idxmin()
recall_by_hand = (shown.loc[shown["label"] == worst, "predicted"] == worst).mean()
### END SOLUTION
print(f"{worst}: {recall_by_hand:.2f}")
assert round(recall_by_hand, 2) == by_class["recall"].min()

# %% [markdown]
# ### Exercise 2
#
# How much narrower would the accuracy's interval be with four times as many images, if the accuracy stayed? Use
# `proportion_confint(..., method="wilson")`. Expect about half.

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
# Let the two networks vote: average their probabilities on Test (audited labels). Is the vote better than the regularised
# network alone? Ask McNemar's test.

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
