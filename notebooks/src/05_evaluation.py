# %% [markdown]
# # 5 · Evaluation: what do the scores mean?
#
# **In fifteen minutes you will score both networks on Test, once, and count what kinds of errors there are.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **score** accuracy, precision, recall and F1, with intervals;
# - **read** the confusion matrix;
# - **compare** the two networks;
# - **ask** what kind of errors there are;
# - **doubt** whether the lesion was seen, or the camera;
# - **report** it in plain words.
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
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * run.images.synthetic)

# %% [markdown]
# ## The predictions, and the labels
#
# Evaluation reads only the predictions, one row per image with a probability for each class, so it also scores a
# `predictions.csv` of your own, in a folder of the run folder. A network that learned from another split or other labels
# is left out; 03 and 04 are run again in that case.

# %%
table = run.manifest()
run.need("03_baseline_cnn")
run.need("04_dropout_augmented_cnn")
predictions = {name: scores.read_predictions(folder / "predictions.csv", table)
               for name, folder in run.networks(table).items()}

# %% [markdown]
# Test has **published** labels, the folder names, and **audited** ones, which survived the audit. Below are the first
# predictions of the regularised network.

# %%
audited = table
if LABELS == "published":
    official = labels.official_labels(table, file=run.folder / "metadata.csv")
    grouped = duplicates.group(table, official)
    audited = labels.apply_labels(grouped, "audited", official, MIN_CLASS_SIZE)
truth = {"published": table.set_index("image_id")["published_label"],
         "audited": audited.set_index("image_id")["label"]}
test = {(name, which): scores.labelled(rows[rows["split"] == "test"], truth[which])
        for name, rows in predictions.items() for which in truth}
assert len(test["regularised", "audited"]), "The audit leaves no Test image: 01's ledger says why."
predictions["regularised"].head(3).round(2)

# %% [markdown]
# ## Accuracy, and how far to trust it
#
# **Accuracy** is the share of images classified correctly. About 95 of a hundred **confidence intervals** like those in
# brackets hold the true value; images of one lesion count as one. **Balanced accuracy** is the mean recall of the classes,
# **macro-F1** the mean F1. The **majority-class score** is what calling every image by the largest class would get.

# %%
scored, lines = {}, {}
for name, rows in predictions.items():
    val = scores.labelled(rows[rows["split"] == "val"])
    on_test = {which: scores.score(test[name, which], SEED) for which in truth}
    scored[name] = {"val": scores.score(val, SEED), "test": on_test}
    for place, found in {"validation": scored[name]["val"], **on_test}.items():
        lines[name, place] = {"images": found["n"], "accuracy": report.estimate(found, "accuracy"),
                              "balanced accuracy": report.estimate(found, "balanced_accuracy"),
                              "macro-F1": report.estimate(found, "macro_f1")}
accuracies = pd.DataFrame(lines).T
display(accuracies)
train = manifest.active(table, "train")
largest = train["label"].mode()[0]
majority = {which: float((test["regularised", which]["label"] == largest).mean())
            for which in truth}
print(f"Always saying {largest} would get {majority['published']:.2f} on Test with published "
      f"labels, {majority['audited']:.2f} with audited ones.")

# %% [markdown]
# ## Class by class
#
# **Precision**: of the images called melanoma, how many are? **Recall** (sensitivity): of the melanomas, how many were
# found? **F1** is their harmonic mean, **support** the number of images. First scikit-learn's report, then the same with
# intervals, malignant classes first. Actinic keratosis, a precursor of a cancer, counts as not malignant.
#
# In the **confusion matrix**, rows are true classes, columns predicted ones: upper right lie the missed cancers, lower
# left the false alarms.

# %%
learned = scores.classes(predictions["regularised"])
names = sorted({*learned, *table["published_label"]})
known = MALIGNANT or all(map(classes.is_known, names))
malignant = classes.malignant(names, MALIGNANT) if known else []
print("Malignant:", ", ".join(malignant) or "not known of these names, so nothing is said of it")
shown = scores.outcomes(test["regularised", "audited"])
shown = shown.merge(table[["image_id", "path", "sha256"]], on="image_id")
print(classification_report(shown["label"], shown["predicted"], zero_division=0))
by_class = scores.per_class(test["regularised", "audited"], malignant)
by_class.columns = by_class.columns.str.replace("_", " ")
display(by_class.round(2))
few = by_class["support"][by_class["support"] > 0]
low, _ = proportion_confint(few.min(), few.min(), method="wilson")
print(f"Fewest images: {few.idxmin()}, {few.min()}. Even were all of them classified correctly, "
      f"its recall could be anything from {low:.2f} to 1.")

# %%
matrix = scores.confusion(test["regularised", "audited"], malignant)
names = [fill(name[:40] + "…" * (len(name) > 40), 22) for name in matrix.index]
matrix_figure, axes = plt.subplots(figsize=(8, 6.8), layout="constrained")
drawn = ConfusionMatrixDisplay(matrix.to_numpy(), display_labels=names)
drawn.plot(ax=axes, cmap="Blues", colorbar=False)
axes.set_xticks(range(len(names)), names, rotation=45, ha="right", rotation_mode="anchor")
axes.set(xlabel="predicted", ylabel="true")
cancer = matrix.index.isin(malignant)
if malignant:
    axes.axhline(cancer.sum() - 0.5, color="#D55E00")
    axes.axvline(cancer.sum() - 0.5, color="#D55E00")
figures.titled(matrix_figure, "Regularised network, Test, audited labels", run.images.synthetic)
plt.show()
if malignant:
    missed, alarms = (matrix.loc[rows, ~rows].to_numpy().sum() for rows in (cancer, ~cancer))
    print(f"Of {matrix[cancer].to_numpy().sum()} cancers, {missed} were called no cancer; of "
          f"{matrix[~cancer].to_numpy().sum()} other lesions, {alarms} were called one.")

# %% [markdown]
# ## Is one network better?
#
# **McNemar's test** looks only at the images on which exactly one network is right: were both equally good, how likely
# would a split at least as uneven be? And what could it have found? Simulate Tests of this size with as many
# disagreements.

# %%
versus = scores.compare(test["regularised", "audited"], test["baseline", "audited"], SEED)
n, one_right = versus["n"], versus["only_a_right"] + versus["only_b_right"]


def power(gap):
    """Return the share of simulated Tests with p < 0.05 where the accuracies differ by ``gap``."""
    either, draw = max(one_right / n, gap), np.random.default_rng(SEED)
    chances = [(either + gap) / 2, (either - gap) / 2, max(1 - either, 0)]
    a, b, _ = draw.multinomial(n, chances, 4000).T
    return (2 * binom.cdf(np.minimum(a, b), a + b, 0.5) < 0.05).mean()


found = [f"of {gap:.2f} or more" for gap in np.arange(1, 101) / 100 if power(gap) >= 0.8]
least = found[0] if found else "of more than 1, so none,"
compared = (f"The regularised network alone is right on {versus['only_a_right']} of {n} images, the "
            f"baseline alone on {versus['only_b_right']} ({report.p_value(versus['mcnemar_p'])}). Their "
            f"accuracies differ by {report.estimate(versus, 'difference')}. A true difference {least} "
            "would be found by four of five such Tests.")
display(Markdown(compared))

# %% [markdown]
# Another seed is another network: report the spread of several (`sweeps/seeds_04.yml`), not the best.
#
# ## The misclassified
#
# Some images classified correctly, and the errors that the network was surest of: the true class, and the three most
# probable ones. Then counts: *dark* and *blurred* mean among the lowest tenth of training; a label is *doubtful* if the
# audit changed or contradicted it. An error may be of several kinds.

# %%
wrong = shown[~shown["correct"]].nlargest(4, "confidence")
some = pd.concat([shown[shown["correct"]].sample(frac=1, random_state=SEED).head(4), wrong])
titles = []
for _, row in some.iterrows():
    best = row[[f"p_{name}" for name in learned]].astype(float).nlargest(3)
    calls = [f"{chance:.0%} {name[2:][:30]}" for name, chance in best.items()]
    titles.append("\n".join([f"{'✓' if row['correct'] else '✗'} {row['label'][:30]}", *calls]))
some_figure = figures.image_grid(list(some["path"]), titles, 4, "Regularised network, Test",
                                 synthetic=run.images.synthetic)
some_figure.set_size_inches(9, 7.5)
some_figure

# %%
network, load = explain.open_network(run.folder / "regularised")
facts = audited.assign(audited=audited["label"]).drop(columns=["split", "label", "group"])
every = scores.outcomes(test["regularised", "published"]).merge(facts, on="image_id")
usual = train.sample(min(2000, len(train)), random_state=SEED)
grey = load(pd.concat([every, usual])).mean(axis=3)
quality = pd.DataFrame({"dark picture": grey.mean(axis=(1, 2)),
                        "blurred picture": [laplace(image).std() for image in grey]})
kinds = quality[: len(every)] < quality[len(every):].quantile(0.1)
changed = (every["flag"] == "") & (every["audited"] != every["published_label"])
kinds["doubtful label"] = changed | (every["flag"] == "contradiction")
kinds["class never learned"] = ~every["label"].isin(learned)
if malignant:
    same = every["label"].isin(malignant) == every["predicted"].isin(malignant)
    kinds["another class, same malignancy"] = same & ~every["correct"]
sides = {"misclassified": ~every["correct"], "classified correctly": every["correct"]}
error_kinds = pd.DataFrame({f"of {side.sum()} {text}": kinds[side].sum()
                            for text, side in sides.items()})
error_kinds

# %% [markdown]
# ## The camera or the lesion?
#
# A network may learn who took a picture instead of what it shows: a **shortcut**, which pays where a class comes mostly
# from one **collection**. How often is an image called a class that training has mostly from its own collection? Telling
# are the images whose class training has mostly from another.
#
# Then change only the overall colour: each validation image gets the mean and spread of each channel of another one.
# From the same collection (the control) this shows what the exchange itself costs; if far less is left with colours of
# another, the network may have used them.

# %%
def share(hits):
    """Return a share with its 95 % interval as text; the index says which images share a lesion."""
    return "{:.2f} ({:.2f} to {:.2f})".format(*intervals.share(hits, hits.index))


home = train[train["collection"] != ""].groupby("label")["collection"]
home = home.agg(lambda names: names.mode()[0])
has_collections = train["collection"].replace("", np.nan).nunique() > 1
own = {text: every[column].map(home) == every["collection"] for text, column in (
    ("class from it", "label"), ("called a class from it", "predicted"))}
places = every.assign(**own).set_index(intervals.units(every)).query("collection != ''")
by_collection = places.groupby(["collection", "class from it"]).agg(
    images=("correct", "size"), accuracy=("correct", share),
    calls=("called a class from it", share)).rename(columns={"calls": "called a class from it"})
by_collection if has_collections else print("No two collections are known in training.")

# %%
def exchanged(pixels, collections, same, random):
    """Return images with the mean and spread of each channel of others, of their collection or not."""
    partner = np.zeros(len(pixels), int)
    for name in np.unique(collections):
        own = collections == name
        partner[own] = random.choice(np.flatnonzero(own == same), own.sum())
    mean, spread = (part(pixels, axis=(1, 2), keepdims=True) for part in (np.mean, np.std))
    return np.clip((pixels - mean) / np.maximum(spread, 1) * spread[partner] + mean[partner], 0, 255)


# %%
val = manifest.active(table, "val").query("collection != ''")
if has_collections := has_collections and val["collection"].nunique() > 1:
    names, pixels, draws = val["collection"].to_numpy(), load(val).astype("float32"), {}
    for text, same in (("own", None), ("same_collection", True), ("other_collection", False)):
        for draw in range(3):
            random, images = np.random.default_rng(SEED + draw), pixels
            if same is not None:
                images = exchanged(pixels, names, same, random)
            called = np.array(learned)[explain.predict(network, images).argmax(axis=1)]
            draws[text, draw] = (called == val["label"]).mean()
    colours = pd.Series(draws).groupby(level=0, sort=False).agg(["mean", "min", "max"])
    scored["regularised"]["colours"] = colours["mean"].to_dict()
    colours.index = colours.index.str.replace("_", " ").rename("accuracy with colours of")
    display(colours.round(2))

# %% [markdown]
# ## Another set, and other people's scores
#
# Does the network work on images of another origin? Name their folder in `EXTERNAL_DIR`.
#
# What do public notebooks say of themselves? Validation split after augmentation is **leaked**: copies of one lesion
# lie on both sides. *k* counts the images classified correctly. Set yours beside these only if Test is the published
# one.

# %%
elsewhere = scores.external(EXTERNAL_DIR, table, learned) if EXTERNAL_DIR else table[:0]
outside = {}
networks = [name for name in scored if (run.folder / name / "model.keras").exists()]
for name in networks if len(elsewhere) else ():
    model, load_for = explain.open_network(run.folder / name)
    chances = explain.predict(model, load_for(elsewhere))
    rows = scores.predictions_table(elsewhere, chances, learned).assign(group=elsewhere["group"])
    recall = scores.per_class(rows, malignant)["recall"].dropna()
    found = scores.score(rows, SEED) | {"recall": recall.to_dict()}
    pair = rows[rows["label"].isin(["melanoma", "nevus"])]
    if pair["label"].nunique() == 2:
        chance = pair["p_melanoma"] / (pair["p_melanoma"] + pair["p_nevus"])
        found["auc_melanoma_nevus"] = roc_auc_score(pair["label"] == "melanoma", chance)
    scored[name]["external"] = found
    outside[name] = {
        "images": found["n"], "accuracy": report.estimate(found, "accuracy"),
        **recall.map("{:.2f}".format).add_prefix("recall of ")}
outside = pd.DataFrame(outside)
outside if len(outside) else print("No other set was scored, so this run does not tell.")

# %% tags=["nbval-check-output"]
claims = pd.read_csv("data/public_scores.csv", dtype=str, keep_default_na=False).set_index("claim")
claims[["accuracy", "test_or_validation", "n", "k", "low", "high", "verdict"]].rename(
    columns={"test_or_validation": "on", "n": "images", "low": "95 % interval, from", "high": "to"})

# %% [markdown]
# ## Say it in plain words, and keep it
#
# What would a doctor or a manager need to know? This is the first screen of `report.html`, which holds images: mind
# their licence.

# %%
patients = None
if malignant and shown["label"].isin(malignant).nunique() == 2:
    view = shown.assign(truth=shown["label"].isin(malignant),
                        probability=shown["predicted"].isin(malignant))
    patients = decisions.per_thousand(decisions.operating_point(view, 0.5), PREVALENCE)
words = report.in_words(scored["regularised"]["test"]["audited"], (largest, majority["audited"]),
                        patients, PREVALENCE, scored["regularised"].get("external"))
cards = [f"- **{number}** {text}" for number, text in words[0]["cards"]]
display(Markdown("\n\n".join(cards + words[1:])))

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
    sections["The camera or the lesion?"] = [
        by_collection, "Test images by who took them, and whether their class is mostly from there.",
        colours.round(2), "Accuracy on validation with the colours of other images."]
if len(outside):
    sections["Another set"] = [outside, "The same networks on images of another origin."]
for found in scored.values():
    found["majority"] = {"class": largest, **majority}
report.write_metrics(run, table, scored)
report.write(run, "report", "Skin-lesion classification: what the scores mean", sections)
run.done()

# %% [markdown]
# ## A picture of your own
#
# What is it called, which training image is most like it, and is it like training at all: no farther off than nearly
# all validation images?

# %%
picture = PICTURE or shown["path"].iloc[0]
if PICTURE == "upload":
    from google.colab import files

    picture = next(iter(files.upload()))
said, unreadable = predict.predict(run.folder, [picture])
print(*unreadable, report.NOTICE, sep="\n")
for answer in said.to_dict("records"):
    display(said.drop(columns="image").round(2).T.rename(columns={0: "the picture"}))
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
# - **Read**: the mean hides which class pays for it.
# - **Compare**: only the images count on which the networks differ.
# - **Ask**: a kind of error explains something only if it is rarer among the correct ones.
# - **Doubt**: a score on the cameras of training says little about others.
# - **Report**: found, missed and needless of a thousand, and what was not tried.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# Which class is found least often (regularised network, audited labels)? Compute its recall from `shown`.

# %% tags=["solution"]
# @title Solution 1
### BEGIN SOLUTION
worst = by_class["recall"].idxmin()
recall_by_hand = (shown.loc[shown["label"] == worst, "predicted"] == worst).mean()
### END SOLUTION
print(f"{worst}: {recall_by_hand:.2f}")
assert np.isclose(recall_by_hand, by_class["recall"].min())

# %% [markdown]
# ### Exercise 2
#
# How much narrower would the accuracy's interval be with four times as many images? Use
# `proportion_confint(..., method="wilson")`. Expect about half.

# %% tags=["solution"]
# @title Solution 2
accuracy = shown["correct"].mean()
### BEGIN SOLUTION
sizes = [len(shown), 4 * len(shown)]
wide, narrow = (np.ptp(proportion_confint(accuracy * n, n, method="wilson")) for n in sizes)
### END SOLUTION
print(f"{wide:.3f} wide with {len(shown)} images, {narrow:.3f} with {4 * len(shown)}")
assert narrow < wide

# %% [markdown]
# ### Exercise 3
#
# Let the two networks vote: average their probabilities on Test (audited labels). Is the vote better than the regularised
# network alone? Ask McNemar's test.

# %% tags=["solution"]
# @title Solution 3
### BEGIN SOLUTION
columns = [f"p_{name}" for name in learned]
vote = test["regularised", "audited"].copy()
other = test["baseline", "audited"].set_index("image_id")
vote[columns] = (vote[columns] + other.loc[vote["image_id"], columns].to_numpy()) / 2
ballot = scores.compare(vote, test["regularised", "audited"], SEED)
### END SOLUTION
print(f"vote {scores.score(vote)['accuracy']:.2f}, alone {accuracy:.2f}; "
      f"{report.p_value(ballot['mcnemar_p'])}")
assert np.allclose(vote[columns].sum(axis=1), 1, atol=1e-3)
