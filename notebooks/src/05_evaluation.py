# %% [markdown]
# # 5 · Evaluation: what do the scores mean?
#
# **In twenty minutes you will score both networks on Test, once, and find out why images are misclassified.**
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
OTHER_RUNS = ""  # @param {type:"string"} run folders of other seeds, separated by commas
SEED = 0  # @param {type:"integer", min:0, max:4294967295} the same number gives the same split, images and networks

# %%
# %matplotlib inline
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from sklearn.metrics import ConfusionMatrixDisplay, accuracy_score, classification_report, roc_auc_score
from sklearn.neighbors import NearestNeighbors
from statsmodels.stats.proportion import proportion_confint

from helpers import manifest, runs
from helpers.data import classes, datasets, duplicates, labels
from helpers.evaluation import decisions, errors, explain, figures, predict, report, scores
from helpers.figures import image_grid, model_colours
from helpers.figures import titled

run = runs.start("05_evaluation", globals())

# %% [markdown]
# ## The predictions
#
# Notebooks 03 and 04 kept one row per image: its split, its label, and a probability for each class. Evaluation reads
# only this table, so it can score any model: a `predictions.csv` of your own, in a folder of its own in the run folder,
# is scored too. A notebook that has not run yet is run now.

# %%
table = run.manifest()
run.need("03_baseline_cnn")
run.need("04_dropout_augmented_cnn")
print(f"Images: {run.images.source}{' (SYNTHETIC: drawings, not patients)' if run.images.synthetic else ''}")

# %%
own = sorted(file.parent.name for file in run.folder.glob("*/predictions.csv"))
predictions = {name: scores.read_predictions(run.folder / name / "predictions.csv", table)
               for name in dict.fromkeys(["baseline", "regularised", *own])}
predictions["regularised"].head(3).round(2)

# %% [markdown]
# ## Against which labels?
#
# Test can be scored against the folder names (**published labels**: every readable image, as everybody else does it) or
# against the labels that survived the audit (**audited labels**). The first can be compared with others; the second is
# nearer to the truth. You will see both.

# %%
metadata = labels.official_labels(table, file=run.folder / "metadata.csv")
audited = table if LABELS == "audited" else labels.apply_labels(duplicates.group(table, metadata), "audited", metadata,
                                                               MIN_CLASS_SIZE)
truth = {"published": table.set_index("image_id")["published_label"], "audited": audited.set_index("image_id")["label"]}
test = {(name, which): scores.labelled(rows[rows["split"] == "test"], truth[which])
        for name, rows in predictions.items() for which in truth}
val = {name: scores.labelled(rows[rows["split"] == "val"]) for name, rows in predictions.items()}
assert len(test["regularised", "audited"]), "No Test image is left after the audit: the ledger in 01 says where they went."

# %% [markdown]
# Which classes are malignant? The standard names are known; name those of your own classes in `MALIGNANT`. Actinic
# keratosis counts as not malignant here: it is a precursor of a cancer, and is treated.

# %%
learned = scores.classes(predictions["regularised"])
try:
    malignant = classes.malignant(sorted({*learned, *table["published_label"]}), MALIGNANT)
except ValueError as reason:
    if MALIGNANT:
        raise
    malignant = []
    print(reason, "The question is left out here.")
print(f"Malignant: {', '.join(malignant) or 'not known'}.")

# %% [markdown]
# How many images are there to judge by? The first column is what a network learned from.

# %% tags=["nbval-check-output"]
train = manifest.active(table, "train")
counts = pd.DataFrame({"Train": train["label"].value_counts()}
                      | {f"Test, {which}": test["regularised", which]["label"].value_counts() for which in truth})
counts = counts.reindex(scores.by_malignancy(counts.index, malignant)).fillna(0).astype(int).rename_axis("class")
counts

# %%
tested = counts["Test, audited"][counts["Test, audited"] > 0]
low, _ = proportion_confint(tested.min(), tested.min(), method="wilson")
print(f"{(tested < scores.FEW).sum()} of {len(tested)} classes have fewer than {scores.FEW} audited Test images. The fewest: "
      f"{tested.idxmin()}, {tested.min()}.")
print(f"If all {tested.min()} of them are classified correctly, the recall may still lie anywhere from {low:.2f} to 1.00; if none "
      f"is, from 0.00 to {1 - low:.2f}.\nWhatever the network does, these images tell its recall no better than that.")

# %% [markdown]
# ## Accuracy, and how far to trust it
#
# **Accuracy** is the share of images that are classified correctly. Its **confidence interval** says how rough that
# number is on so few images: in 95 of 100 samples of this size, such an interval holds the true value. Beside it stands
# the **majority-class score**: what calling every image by the largest class of training would get. **Balanced
# accuracy** is the mean recall of the classes, **macro-F1** the mean F1: both give a rare class the same weight as a
# common one. Several images of one lesion count as one in all intervals.

# %%
largest = train["label"].mode()[0]
scored = {name: {"val": scores.score(val[name], SEED),
                 "test": {which: scores.score(test[name, which], SEED) for which in truth}} for name in predictions}
majority = {which: float((test["regularised", which]["label"] == largest).mean()) for which in truth}
places = {"validation": lambda both: both["val"], "Test, published": lambda both: both["test"]["published"],
          "Test, audited": lambda both: both["test"]["audited"]}
measures = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro-F1"}
accuracies = pd.DataFrame({(name, place): {"images": of(both)["n"]} | {
    title: report.estimate(of(both), measure) for measure, title in measures.items()}
    for name, both in scored.items() for place, of in places.items()}).T
display(accuracies)
print(f"Calling every image {largest}: accuracy " + ", ".join(f"{share:.2f} on Test, {which}" for which, share in majority.items()))

# %% [markdown]
# Look at the widths before the values. Check one by hand, with scikit-learn, on the same predictions. (Validation chose
# the epoch that was kept; so its score may flatter, and only Test was never used for a choice.)

# %%
shown = scores.outcomes(test["regularised", "audited"]).merge(table[["image_id", "path", "sha256"]], on="image_id")
by_hand = accuracy_score(shown["label"], shown["predicted"])
print(f"accuracy {by_hand:.3f}")
assert by_hand == scored["regularised"]["test"]["audited"]["accuracy"]

# %%
points = [(f"{name}, {which}", title, both["test"][which][measure], model_colours(list(scored))[name],
           *(both["test"][which].get(f"{measure}_interval") or both["test"][which][f"{measure}_bootstrap_interval"] or [np.nan] * 2))
          for measure, title in measures.items() for name, both in scored.items() for which in truth]
points = pd.DataFrame(points, columns=["name", "score", "value", "colour", "low", "high"])
widest = (points["high"] - points["low"])[points["score"] == "accuracy"].max()
test_scores = figures.intervals(points, "score", title=f"On Test the accuracy is known to within {widest:.2f}",
                                synthetic=run.images.synthetic)
test_scores

# %% [markdown]
# ## Class by class
#
# **Precision**: of the images called melanoma, how many are? **Recall** (for a yes-or-no question also called
# sensitivity): of the melanomas, how many were found? **F1** is the harmonic mean of the two, and **support** the number
# of images. First scikit-learn's report on the regularised network, then the same with intervals and warnings.

# %%
print(classification_report(shown["label"], shown["predicted"], zero_division=0))

# %%
by_class = {name: scores.per_class(test[name, "audited"], malignant) for name in predictions}
class_table = by_class["regularised"].round(2).rename(columns={"recall_low": "recall, from", "recall_high": "to"})
class_table

# %%
bars = pd.concat([rows.reset_index().assign(model=name, colour=model_colours(list(by_class))[name])
                  for name, rows in by_class.items()])
bars = bars.rename(columns={"recall": "value", "recall_low": "low", "recall_high": "high"})
bars["name"] = [f"{row['class']} ({row['support']})" for _, row in bars.iterrows()]
recalls = figures.intervals(bars, "model", title="Recall by class on Test, audited labels (images in brackets), with 95 % intervals",
                            synthetic=run.images.synthetic)
recalls

# %% [markdown]
# ## The confusion matrix
#
# Each row is a true class, each column a predicted one; what is classified correctly lies on the diagonal. The classes go
# from malignant to benign: right of the upright line and above the level one lie the cancers that were taken for
# something benign, at the lower left the false alarms. scikit-learn draws it.

# %%
matrix = scores.confusion(test["regularised", "audited"], malignant)
matrices, places_for = plt.subplots(1, 2, figsize=(13, 6.2), sharey=True, layout="constrained")
for axes, name in zip(places_for, ("baseline", "regularised")):
    called = scores.outcomes(test[name, "audited"])
    ConfusionMatrixDisplay.from_predictions(called["label"], called["predicted"], labels=list(matrix.index), ax=axes,
                                            cmap="Blues", colorbar=False)
    axes.set_xticks(range(len(matrix)), matrix.index, rotation=45, ha="right", rotation_mode="anchor")
    axes.set(title=name, xlabel="predicted", ylabel="true")
    if 0 < len(malignant):
        axes.axhline(matrix.index.isin(malignant).sum() - 0.5, color="#D55E00")
        axes.axvline(matrix.index.isin(malignant).sum() - 0.5, color="#D55E00")
titled(matrices, "Test, audited labels", run.images.synthetic)
plt.show()

# %%
benign = [name for name in matrix.index if name not in malignant]
cancer = [name for name in matrix.index if name in malignant]
cancers = matrix.loc[cancer].to_numpy().sum()
missed, alarms = matrix.loc[cancer, benign].stack(), matrix.loc[benign, cancer].stack()
if malignant:
    print(f"Of {cancers} cancers, {cancers - missed.sum()} were called a cancer, if not always the right one, "
          f"and {missed.sum()} were missed.")
    print(f"Of {matrix.loc[benign].to_numpy().sum()} other lesions, {alarms.sum()} were called a cancer.")
    for kind, cells in (("missed", missed), ("false alarm", alarms)):
        if cells.sum():
            print(f"Most often {kind}: {cells.idxmax()[0]} called {cells.idxmax()[1]} ({cells.max()}).")

# %% [markdown]
# ## Is one network better?
#
# Both classified the same images, so only those count on which exactly one of them is right. **McNemar's test** asks how
# likely a split at least as uneven would be if both were equally good.

# %%
versus = scores.compare(test["regularised", "audited"], test["baseline", "audited"], SEED)
discordant = (versus["only_a_right"] + versus["only_b_right"]) / versus["n"]
smallest = scores.smallest_difference(versus["n"], discordant, seed=SEED)
verdict = "a difference that chance alone seldom makes" if versus["mcnemar_p"] < 0.05 else "no difference that could not be chance"
compared = [
    f"On {versus['n']} images only the regularised network is right on {versus['only_a_right']}, only the baseline on "
    f"{versus['only_b_right']}: {verdict} (McNemar's test, {report.p_value(versus['mcnemar_p'])}). The difference in "
    f"accuracy is {report.estimate(versus, 'difference')}.",
    f"What could this Test have shown? Simulated with as many disagreements as here, a difference must be "
    f"{'larger than 1' if smallest is None else f'at least {smallest:.2f}'} to be found four times out of five. A smaller "
    "one needs more images, not a better test."]
display(Markdown("\n\n".join(compared)))

# %% [markdown]
# **Another seed is another network.** Train the course with other seeds into other folders, name them in `OTHER_RUNS`,
# and report the spread. The best of several seeds is not a result: Test would have chosen it.

# %%
folders = [run.folder, *(Path(part.strip()).expanduser() for part in OTHER_RUNS.split(",") if part.strip())]
seeds = pd.DataFrame(index=[str(folder) for folder in folders], columns=["baseline", "regularised"], dtype=float)
for folder in folders:
    for name in seeds:
        seed_rows = scores.read_predictions(folder / name / "predictions.csv").query("split == 'test'")
        seed_outcomes = scores.outcomes(scores.labelled(seed_rows, truth["audited"]))
        seeds.loc[str(folder), name] = seed_outcomes["correct"].mean()
spread = seeds.agg(["count", "min", "mean", "max", "std"]).round(3)
if len(folders) > 1:
    display(spread)
else:
    print("One seed only: how far the accuracy varies from training to training is not known from this run.")

# %% [markdown]
# ## Look at predictions
#
# Images that were classified correctly and images that were not, each with the three most probable classes; the true one
# is bold.

# %%
some = pd.concat([part.sample(min(4, len(part)), random_state=SEED) for _, part in shown.groupby("correct")][::-1])
predictions_figure = figures.gallery(some, columns=4, title="Regularised network, Test, audited labels", synthetic=run.images.synthetic)
predictions_figure

# %% [markdown]
# ## The misclassified
#
# Begin with the errors that the network was surest of. Under each stands the training image that the network finds most
# similar, among those of the class that it called: nearest by what its last layer receives (its **features**).

# %%
network, load = explain.open_network(run.folder / "regularised")
memory = train.sample(min(2000, len(train)), random_state=SEED).reset_index(drop=True)
memory_pixels = load(memory)
memory_features = explain.features(network, memory_pixels)

# %%
wrong = shown[~shown["correct"]].nlargest(4, "confidence")
neighbours = []
for feature, called in zip(explain.features(network, load(wrong)) if len(wrong) else [], wrong["predicted"]):
    same = np.flatnonzero(memory["label"] == called)
    search = NearestNeighbors(n_neighbors=1, metric="cosine").fit(memory_features[same])
    neighbours.append(memory.iloc[same[search.kneighbors([feature])[1][0, 0]]])
wrong_figure = figures.gallery(wrong, [row["path"] for row in neighbours], [f"nearest {row['label']} in training" for row in neighbours],
                               title="Misclassified, the surest first", synthetic=run.images.synthetic)
wrong_figure if len(wrong) else print("No image is misclassified.")

# %% [markdown]
# **What kinds of error are they?** Count, among all Test images with their published labels. *Blurred* and *dark* are
# pictures below the lowest tenth of the training images, as the network sees them. A label is *doubtful* if the audit
# changed it or found it contradictory. An error may be of several kinds, or of none.

# %%
every = scores.outcomes(test["regularised", "published"])
quality = errors.quality(load(every.merge(table[["image_id", "path", "sha256"]], on="image_id")))
limits = errors.quality(memory_pixels).quantile(0.1)
facts = audited.set_index("image_id").loc[every["image_id"]].reset_index()
changed = (facts["flag"] == "") & (facts["label"] != facts["published_label"])
kinds = {"doubtful label": changed | (facts["flag"] == "contradiction"),
         "a class that the network never learned": ~every["label"].isin(learned),
         "blurred picture": quality["sharpness"] < limits["sharpness"],
         "dark picture": quality["brightness"] < limits["brightness"],
         "called with a probability of 0.5 or more": every["confidence"] >= 0.5}
if malignant:
    kinds["called one of the same malignancy"] = every["label"].isin(malignant) == every["predicted"].isin(malignant)
error_kinds = errors.among(every["correct"], kinds)
error_kinds

# %% [markdown]
# Read across a row: a kind that is as frequent among the correct ones explains nothing. (A correct call is always one of
# the same malignancy, so that in the last row only the errors count.)
#
# ## The camera or the lesion?
#
# A network may learn who took a picture instead of what it shows: a **shortcut**. That pays wherever a class comes mostly
# from one **collection**. So ask, of every Test image with its published label, how often the network calls one of the
# classes that training has mostly from the image's own collection. Telling are the images whose class it has from
# another.

# %%
has_collections = "collection" in table and table["collection"].replace("", np.nan).nunique() > 1
if has_collections:
    class_homes = errors.homes(train[train["collection"] != ""])
    places_of = table.set_index("image_id")["collection"]
    by_collection = errors.by_collection(every.assign(collection=every["image_id"].map(places_of)), class_homes)
    display(by_collection)
else:
    print("The images come from one collection, or from none that is known, so the question cannot be asked of them.")

# %% [markdown]
# Then change nothing but the overall colour: each validation image gets the mean and the spread of each channel of
# another one. If that other image is from the same collection (the control), the accuracy falls by what the exchange
# itself costs. If it falls much further with the colours of another collection, the network has used them.

# %%
def accuracy_of(pixels):
    """Return the share of validation images whose most probable class is the true one."""
    chances = explain.predict(network, pixels)
    return float((np.array(learned)[chances.argmax(axis=1)] == val_rows["label"]).mean())


if has_collections:
    val_rows = manifest.active(table, "val").query("collection != ''")
    val_pixels = load(val_rows)
    draws = {kind: [accuracy_of(errors.exchange_colours(val_pixels, val_rows["collection"], same, SEED + draw)) for draw in range(3)]
             for kind, same in (("colours of the same collection (control)", True), ("colours of another collection", False))}
    colour_table = pd.DataFrame({"as it is": [accuracy_of(val_pixels)] * 3} | draws).agg(["mean", "min", "max"]).T
    display(colour_table.round(2))
    control, other = colour_table["mean"].iloc[1:]
    scored["regularised"]["colours"] = {"own": colour_table["mean"].iloc[0], "same_collection": control, "other_collection": other}
    print(f"The control costs {colour_table['mean'].iloc[0] - control:.2f} of accuracy; the other collection's colours cost {control - other:.2f} more.")

# %% [markdown]
# ## Another set
#
# The fairest question is whether the network works on images of another origin. Name a folder of such a set in
# `EXTERNAL_DIR`. Its classes are matched by their standard names ("MEL" is melanoma); images of other classes, and images
# that are in the course's own set, are left out.

# %%
def external(listed):
    """Return {model: labelled predictions} of every network in the run folder for the images of another set."""
    listed = duplicates.inspect(listed).query("flag == ''")
    own_names = table["image_id"].str.split("@").str[0]
    new = listed[~listed["image_id"].isin(own_names) & ~listed["picture"].isin(table["picture"])]
    rows = scores.matched(new, learned)
    print(f"{len(rows)} of {len(listed)} images are new and of classes that the networks learned.")
    found = {}
    for name in predictions if len(rows) else ():
        if (run.folder / name / "model.keras").exists():
            model, load_for = explain.open_network(run.folder / name)
            chances = explain.predict(model, load_for(rows))
            found[name] = scores.predictions_table(rows, chances, scores.classes(predictions[name]))
            found[name]["group"] = rows["group"].to_numpy()
    return found


outside = external(datasets.list_images(datasets.find(EXTERNAL_DIR)).table) if EXTERNAL_DIR else {}

# %%
for name, rows in outside.items():
    recall = scores.per_class(rows, malignant)["recall"].dropna().to_dict()
    scored[name]["external"] = scores.score(rows, SEED) | {"recall": recall}
    pair = rows[rows["label"].isin(["melanoma", "nevus"])]
    if pair["label"].nunique() == 2:
        chance = pair["p_melanoma"] / (pair["p_melanoma"] + pair["p_nevus"])
        scored[name]["external"]["auc_melanoma_nevus"] = roc_auc_score(pair["label"] == "melanoma", chance)
if outside:
    outside_table = pd.DataFrame({name: {"Test, audited": report.estimate(both["test"]["audited"], "accuracy"),
                                         "the other set": report.estimate(both["external"], "accuracy")}
                                  | {f"there, recall of {kind}": f"{value:.2f}" for kind, value in both["external"]["recall"].items()}
                                  for name, both in scored.items() if "external" in both})
    display(outside_table)
else:
    print("No other set was named or fits, so whether the networks work elsewhere is not known from this run.")

# %% [markdown]
# ## What others report
#
# What public notebooks of this case study say of themselves, as counted for this course. Validation that was split after
# augmentation is **leaked**: copies of one lesion lie on both sides, and the score says nothing. *k* is the number of
# images of the published Test that a score means.

# %% tags=["nbval-check-output"]
claims = pd.read_csv("data/public_scores.csv").fillna("").set_index("claim")
claims[["accuracy", "test_or_validation", "n", "k", "low", "high", "verdict"]].rename(
    columns={"test_or_validation": "on", "n": "images", "low": "95 % interval, from", "high": "to"})

# %% [markdown]
# Your scores may be set beside these only if Test is the published one, file for file. Part of that Test is also in its
# Train under another label, so that even an honest network is scored on wrong labels there.

# %% tags=["nbval-check-output"]
if run.images.synthetic:
    print("Scores on drawings cannot be compared with scores on patients' images.")
else:
    print("This run on Test, published labels:")
    for name, both in scored.items():
        print(f"{name}: {report.estimate(both['test']['published'], 'accuracy')} on {both['test']['published']['n']} images")

# %% [markdown]
# ## Say it in plain words
#
# What would a doctor or a manager need to know? How many are found, missed and sent on needlessly, what a trivial rule
# would get, and what was not tried. A patient counts as sent on if a malignant class is called; `PREVALENCE` is an
# assumption. Expect a few numbers and three sentences: the first screen of the report.

# %%
patients = None
if malignant and shown["label"].isin(malignant).nunique() == 2:
    called = shown.assign(truth=shown["label"].isin(malignant), probability=shown["predicted"].isin(malignant))
    patients = decisions.per_thousand(decisions.operating_point(called, 0.5), PREVALENCE)
words = report.in_words(scored["regularised"]["test"]["audited"], (largest, majority["audited"]), patients, PREVALENCE,
                        scored["regularised"].get("external"))
display(Markdown("\n\n".join([f"- **{number}** {text}" for number, text in words[0]["cards"]] + words[1:])))

# %% [markdown]
# ## Keep it
#
# All scores with their intervals go into `metrics.json`, tables and figures into one page, `report.html`, which you can
# open on a phone or send. Images of patients are in it: mind their licence.

# %%
sections = {
    "In plain words": words,
    "How many images": [counts, "Images by class. Published labels are those of the folders, audited labels those that the check of the set left."],
    "Accuracy": [accuracies, "With 95 % intervals; several images of one lesion count as one.", test_scores, "The scores on Test."],
    "Class by class": [class_table, "Regularised network, Test, audited labels.", recalls,
                       "Where the line is long, the images are too few to tell."],
    "Confusion matrix": [matrices, "Rows are true classes, columns predicted ones. Lines part the malignant classes from the others."],
    "Is one network better?": compared,
    "Predictions": [predictions_figure, "Upper row classified correctly, lower row not; the three most probable classes, the true one in bold."],
    "The misclassified": [wrong_figure, "Under each the most similar training image of the class that was called.", error_kinds,
                          "All Test images, published labels. An error may be of several kinds."],
}

# %%
if has_collections:
    sections["The camera or the lesion?"] = [by_collection, "Test images by who took them.", colour_table.round(2),
                                             "Accuracy on validation with the overall colour of other images."]
if outside:
    sections["Another set"] = [outside_table, "The same networks on images of another origin."]
records = {name: report.read_json(run.folder / name / "run.json") for name in predictions}
sections["How it was made"] = [pd.DataFrame({name: {key: str(value) for key, value in record.get("parameters", {}).items()
                                                    if key not in ("DATA_DIR", "OUT_DIR", "METADATA")}
                                             | {"epochs": record.get("epochs_run", ""), "weights": record.get("weights", "")}
                                             for name, record in records.items()}).fillna(""), "The parameters of each training."]
for name, both in scored.items():
    both["majority"] = {"class": largest, **majority}
report.write_metrics(run, table, scored)
report.write(run, "report", "Skin-lesion classification: what the scores mean", sections)
print(f"{OUT_DIR}/report/metrics.json and {OUT_DIR}/report/report.html")
run.done()

# %% [markdown]
# ## A picture of your own
#
# What does the network call it, which training image is most like it, and has it seen anything like it? "yes" is no
# guarantee: it says only that the picture's features are no farther off than those of nearly all validation images.

# %%
if PICTURE == "upload":
    from google.colab import files

    picture = next(iter(files.upload()))
else:
    picture = PICTURE or shown["path"].iloc[0]
said, unreadable = predict.predict(run.folder, [picture])
print(*unreadable, predict.NOTICE, sep="\n")
display(said.drop(columns="image").T.rename(columns={0: Path(picture).name}))

# %% [markdown]
# The picture, what spoke for the predicted class (a heatmap; notebook 06 says how far to trust it), and the training image
# that is most like it.

# %%
if len(said):
    answer = said.iloc[0]
    own_pixels = load(pd.DataFrame({"path": [picture], "sha256": [""]}))
    heat = explain.grad_cam(network, own_pixels, [learned.index(answer["predicted"])])
    nearest = table.set_index("image_id").loc[answer["nearest"], "path"]
    display(image_grid([own_pixels[0], figures.overlay(own_pixels, heat)[0], nearest],
                       ["the picture", f"for {answer['predicted']}", f"nearest: {answer['nearest_label']}"], 3,
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
# by hand, and compare it with the table. Expect the lowest recall among the classes that have images.

# %% tags=["solution"]
# @title Solution 1
### BEGIN SOLUTION
worst = by_class["regularised"]["recall"].idxmin()
recall_by_hand = (shown.loc[shown["label"] == worst, "predicted"] == worst).mean()
### END SOLUTION
print(f"{worst}: {recall_by_hand:.2f}")
assert recall_by_hand == by_class["regularised"]["recall"].min()

# %% [markdown]
# ### Exercise 2
#
# How many Test images would halve the width of the accuracy's interval, if the accuracy stayed as it is? Use
# `proportion_confint(..., method="wilson")`. Expect about four times as many.

# %% tags=["solution"]
# @title Solution 2
def width(images):
    """Return the width of the 95 % interval of this accuracy on so many images."""
    ### BEGIN SOLUTION
    low, high = proportion_confint(by_hand * images, images, method="wilson")
    return high - low
    ### END SOLUTION


needed = next(images for images in range(len(shown), 10**6) if width(images) <= width(len(shown)) / 2)
print(f"{len(shown)} images now, {needed} for half the width")
assert 3 < needed / len(shown) < 5

# %% [markdown]
# ### Exercise 3
#
# Let the two networks vote: average their probabilities on Test (audited labels), image by image, and score the average.
# Is it better than the regularised network alone? Say it with McNemar's test, not with the two accuracies.

# %% tags=["solution"]
# @title Solution 3
### BEGIN SOLUTION
vote = test["regularised", "audited"].copy()
columns = [f"p_{name}" for name in learned]
vote[columns] = (vote[columns] + test["baseline", "audited"].set_index("image_id").loc[vote["image_id"], columns].to_numpy()) / 2
ballot = scores.compare(vote, test["regularised", "audited"], SEED)
### END SOLUTION
print(f"vote {scores.score(vote)['accuracy']:.2f}, alone {by_hand:.2f}; {report.p_value(ballot['mcnemar_p'])}")
assert np.allclose(vote[columns].sum(axis=1), 1, atol=1e-3)
