# %% [markdown]
# # 6 · Decisions: from probabilities to patients
#
# **Beyond the case study: in twenty minutes you will turn probabilities into a decision, count what it means for a
# thousand patients, and look at what the network looked at.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **calibrate** the probabilities, so that they mean what they say;
# - **choose** a threshold on validation and apply it to Test;
# - **count** who is found, missed and sent on needlessly among a thousand patients;
# - **divide** the accuracy by age, sex and site;
# - **look** at heatmaps, and test whether they deserve trust.
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
SENSITIVITY = 0.9  # @param {type:"number", min:0.01, max:1} share of the cancers that the threshold must find on validation
PREVALENCE = 0.02  # @param {type:"number", min:0.0001, max:0.9999} share of patients assumed to have what is asked for; not known from images
SEED = 0  # @param {type:"integer", min:0, max:4294967295} the same number gives the same split, images and networks

# %%
# %matplotlib inline
import keras
import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from scipy.optimize import minimize_scalar
from scipy.special import softmax
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import RocCurveDisplay, log_loss, roc_auc_score, roc_curve

from helpers import figures, runs
from helpers.data import classes, labels
from helpers.evaluation import decisions, explain, intervals, report, scores

run = runs.start("06_decisions", globals())

# %% [markdown]
# ## The predictions
#
# Both networks' predictions on validation and on Test, with the labels they were trained for.

# %%
table = run.manifest()
run.need("03_baseline_cnn")
run.need("04_dropout_augmented_cnn")
predictions = {name: scores.read_predictions(run.folder / name / "predictions.csv", table)
               for name in ("baseline", "regularised")}
val, test = ({name: scores.labelled(rows[rows["split"] == split])
              for name, rows in predictions.items()} for split in ("val", "test"))
palette = figures.model_colours(list(predictions))
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * run.images.synthetic)
print(f"{len(val['regularised'])} validation and {len(test['regularised'])} Test images")
assert len(test["regularised"]), "The audit leaves no Test image: 01's ledger says why."

# %% [markdown]
# ## Do the probabilities mean what they say?
#
# Of all predictions that are given a probability of 0.7, seven in ten should be correct: then a network is
# **calibrated**. **Temperature scaling** (Guo and others, 2017) may mend it with one number, by which the logits are
# divided: above 1 it softens all probabilities, below 1 it sharpens them. It changes no call. Wanted is the temperature
# with the lowest cross-entropy on validation. One number for all classes cannot undo what a weight for one of them did:
# after cost-sensitive learning (`MELANOMA_WEIGHT` in notebook 04) the probability of melanoma may stay too high.

# %%
def softened(rows, temperature):
    """Return predictions with their logits divided by a temperature."""
    chances = np.clip(scores.probabilities(rows), 1e-12, 1)
    columns = [f"p_{name}" for name in scores.classes(rows)]
    return rows.assign(**dict(zip(columns, softmax(np.log(chances) / temperature, axis=1).T)))


def best_temperature(rows):
    """Return the temperature, 0.05 to 20, with the lowest cross-entropy on labelled predictions."""
    def loss(logarithm):
        chances = scores.probabilities(softened(rows, np.exp(logarithm)))
        return log_loss(rows["label"], chances, labels=scores.classes(rows))
    return np.exp(minimize_scalar(loss, bounds=np.log([0.05, 20]), method="bounded").x)


# %%
temperatures = {name: best_temperature(rows) for name, rows in val.items()}
scaled = {name: {"val": softened(val[name], temperature), "test": softened(test[name], temperature)}
          for name, temperature in temperatures.items()}
for name, temperature in temperatures.items():
    change = "softened" if temperature > 1 else "sharpened"
    if 0.95 < temperature < 1.05:
        change = "hardly changed"
    print(f"{name}: temperature {temperature:.2f}, so its probabilities are {change}")

# %% [markdown]
# The **reliability diagram** puts the Test images into ten bins by the probability of the class that was called: points
# below the line were too sure, points above it not sure enough. With few images in a bin, a point may lie anywhere; the
# lower panel counts them.

# %%
reliability, (upper, lower) = plt.subplots(2, 1, figsize=(6, 6.5), height_ratios=[3, 1],
                                           sharex=True, layout="constrained")
states = {"as trained": test["regularised"], "with temperature": scaled["regularised"]["test"]}
for (state, rows), style in zip(states.items(), ("--", "-")):
    called, look = scores.outcomes(rows), {"color": palette["regularised"], "linestyle": style}
    CalibrationDisplay.from_predictions(called["correct"], called["confidence"], n_bins=10,
                                        ax=upper, name=state, **look)
    lower.hist(called["confidence"], np.arange(11) / 10, histtype="step", **look)
upper.set(xlabel="", ylabel="share classified correctly", ylim=(-0.02, 1.02))
lower.set(xlabel="probability of the class that was called", ylabel="images")
figures.titled(reliability, "Regularised network, Test", run.images.synthetic)
plt.show()

# %% [markdown]
# The **calibration error** is the mean distance from the line, bin by bin. On few images it is rarely zero, so read it
# beside what a perfectly calibrated network would show by chance (in 95 of 100 sets as small): only an error above that
# speaks against a network.

# %%
def calibration_error(confidence, correct):
    """Return the expected calibration error in ten bins of equal width, 0 to 1."""
    bins = np.minimum((confidence * 10).astype(int), 9)
    return np.abs(np.bincount(bins, correct - confidence)).sum() / len(confidence)


def by_chance(confidence):
    """Return the 95th percentile of the error where each call is right with its probability."""
    draws = np.random.default_rng(SEED).random((1000, len(confidence))) < confidence
    return np.percentile([calibration_error(confidence, draw) for draw in draws], 95)


# %%
errors = {}
for name in predictions:
    for state, rows in (("as trained", test[name]), ("with temperature", scaled[name]["test"])):
        called = scores.outcomes(rows)
        confidence = called["confidence"].to_numpy()
        errors[name, state] = {
            "calibration error": calibration_error(confidence, called["correct"]),
            "by chance, up to": by_chance(confidence)}
calibrated = pd.DataFrame(errors).T.round(3)
above = calibrated["calibration error"] > calibrated["by chance, up to"]
calibrated["more than chance"] = np.where(above, "yes", "no")
calibrated

# %% [markdown]
# ## Choose a threshold
#
# Nobody acts on a list of probabilities. The question is whether to send a patient on, so add up the probabilities of the
# malignant classes: **malignant or not**. **Sensitivity** is the share of the cancers that are flagged, **specificity**
# the share of the others that are left alone. A second question asks for melanoma alone.

# %% tags=["nbval-check-output"]
learned = scores.classes(predictions["regularised"])
questions = {"melanoma or not": [name for name in learned if classes.standard(name) == "melanoma"]}
named = sorted({*learned, *table["published_label"]})
if MALIGNANT or all(map(classes.is_known, named)):
    questions = {"malignant or not": classes.malignant(named, MALIGNANT)} | questions
views = {}
for question, positive in questions.items():
    try:
        views |= {(question, name): {split: decisions.binary(rows, positive)
                                     for split, rows in both.items()}
                  for name, both in scaled.items()}
        print(f"{question}: {', '.join(positive)}")
    except ValueError as reason:
        print(f"{question}: left out, {reason}")
asked = list(dict.fromkeys(question for question, _ in views))

# %% [markdown]
# **Threshold chosen on validation, applied to Test.** The highest threshold is taken that still finds the share
# `SENSITIVITY` of the cancers of validation. On Test it may find more or fewer: those are other images.

# %%
def threshold_for(view, sensitivity):
    """Return the highest threshold that flags at least this share of the cancers."""
    _, found, every = roc_curve(view["truth"], view["probability"], drop_intermediate=False)
    return every[np.argmax(found >= sensitivity)]


def area(view):
    """Return the area under the ROC curve with its interval, as text."""
    auc = roc_auc_score(view["truth"], view["probability"])
    lesions = [intervals.units(view[view["truth"] == side]).nunique() for side in (True, False)]
    return report.estimate({"auc": auc, "auc_interval": intervals.area(auc, *lesions)}, "auc")


# %%
thresholds = {key: threshold_for(view["val"], SENSITIVITY) for key, view in views.items()}
points = {key: decisions.operating_point(view["test"], thresholds[key])
          for key, view in views.items()}
chosen = pd.DataFrame({key: {
    "threshold": f"{point['threshold']:.3f}",
    "cancers found": f"{point['found']} of {point['found'] + point['missed']}",
    "flagged needlessly": f"{point['needless']} of {point['needless'] + point['left']}",
    "sensitivity": report.estimate(point, "sensitivity"),
    "specificity": report.estimate(point, "specificity"),
    "AUC": area(views[key]["test"])} for key, point in points.items()}).T
if asked:
    display(chosen)
else:
    print("Neither question can be asked of these images, so there is no threshold to choose.")

# %% [markdown]
# **AUC**, the area under the curve below, is the probability that a cancer gets a higher probability than something
# else: 0.5 is chance, 1 a perfect order. Its interval widens where there are few cancers. The curve shows every
# threshold; the dot is the one that was chosen.

# %%
many = max(len(asked), 1)
curves, places = plt.subplots(1, many, figsize=(5 * many, 4.6), layout="constrained", squeeze=False)
for axes, question in zip(places[0], asked):
    for name in predictions:
        view, point = views[question, name]["test"], points[question, name]
        RocCurveDisplay.from_predictions(
            view["truth"], view["probability"], name=name, ax=axes, color=palette[name],
            plot_chance_level=name == "regularised")
        axes.plot(1 - point["specificity"], point["sensitivity"], "o", ms=9, color=palette[name])
    axes.set(xlabel="1 - specificity (flagged needlessly)", ylabel="sensitivity (found)",
             title=question)
    axes.legend(fontsize=8, loc="lower right")
figures.titled(curves, "Test: found against flagged needlessly", run.images.synthetic)
plt.show()

# %% [markdown]
# ## A thousand patients
#
# Test may hold far more cancers than a waiting room. `PREVALENCE` is the share of patients who have what is asked for: an
# assumption, to be set to those of your clinic, not a finding. Each dot is a patient.

# %%
patients = {f"{question}: {name}": decisions.per_thousand(point, PREVALENCE)
            for (question, name), point in points.items()}
panels = dict(list(patients.items())[:2])  # of the first question
dots, places = plt.subplots(1, 2, figsize=(10.4, 4.6), layout="constrained")
kinds = {"found": "#D55E00", "missed": "black", "needless": "#56B4E9", "left alone": "#DDDDDD"}
across, down = np.divmod(np.arange(1000), 25)
for axes, (name, counts) in zip(places, panels.items()):
    owner = np.repeat(list(kinds), counts["value"].loc[list(kinds)])
    for (kind, colour), marker in zip(kinds.items(), "oXs."):
        own = owner == kind
        axes.scatter(across[own], -down[own], s=26, c=colour, marker=marker, linewidth=0,
                     label=f"{own.sum()} {kind}")
    axes.set_title(name, fontsize=11)
    axes.axis("off")
    axes.legend(ncols=4, frameon=False, markerscale=1.6, columnspacing=1, handletextpad=0.2,
                loc="upper center", bbox_to_anchor=(0.5, 0))
sick = f"{1000 * PREVALENCE:.0f} of whom have it (an assumption)"
figures.titled(dots, f"Of 1,000 patients, {sick}", run.images.synthetic)
plt.show()

# %%
counted = pd.DataFrame()
if patients:
    counted = pd.concat(patients, names=["question: network", "patients"])
for name, rows in patients.items():
    found, needless, missed = rows["value"][["found", "needless", "missed"]]
    odds = f" (1 in {(found + needless) / found:.0f})" if found else ""
    print(f"{name}: {found + needless} are sent on, {found} of them have it{odds}; "
          f"{missed} are missed.")
counted if asked else None

# %% [markdown]
# *Found* has it and is sent on, *missed* has it and is sent home, *needless* is sent on without having it. Low and high
# are what the intervals of sensitivity and specificity allow.
#
# **Is it worth it?** **Net benefit** counts the cancers found and takes off the needless flags, each weighed by the
# odds of the risk from which you would act (Vickers and Elkin, 2006): who acts at a risk of 0.1 takes nine needless
# flags for one cancer. A network may help only where its curve lies above both flagging everybody and flagging nobody.
# It is drawn for the share of cancers in Test, which may not be that of a clinic.

# %%
risks = np.arange(1, 100) / 100
net_benefit, axes = plt.subplots(figsize=(7, 4), layout="constrained")
for name in predictions if asked else ():
    view = views[asked[0], name]["test"]
    truth, flagged = view["truth"].to_numpy(), view["probability"].to_numpy() >= risks[:, None]
    odds = risks / (1 - risks)
    benefit = (flagged & truth).mean(axis=1) - (flagged & ~truth).mean(axis=1) * odds
    axes.plot(risks, benefit, color=palette[name], label=name)
if asked:
    axes.plot(risks, truth.mean() - (~truth).mean() * odds, "k--", linewidth=1, label="flag all")
    axes.axhline(0, color="black", linewidth=1, label="flag none")
    axes.set(xlabel="risk from which you would act", ylabel="net benefit per image",
             ylim=(-0.1, truth.mean() * 1.15))
    axes.legend(frameon=False)
figures.titled(net_benefit, asked[0] if asked else "no question can be asked", run.images.synthetic)
plt.show()

# %% [markdown]
# ## For whom does it work?
#
# Accuracy by age, sex and site, where they are known. Groups differ in their lesions too, so a gap is a question, not yet
# a finding; where intervals overlap much, it is not even that. The dashed line is all images.

# %%
shown = scores.outcomes(test["regularised"])
shown = shown.merge(table[["image_id", "path", "sha256"]], on="image_id")
known = shown.join(labels.official_labels(table, file=run.folder / "metadata.csv"), on="image_id")
known = known.rename(columns={"anatom_site_general": "site"})
ages = pd.to_numeric(known["age_approx"], errors="coerce")
known["age"] = pd.cut(ages, [-1, 39, 59, 150], labels=["0 to 39", "40 to 59", "60 and over"])
known["age"] = known["age"].astype(object).fillna("")
groups = [(f"{column}: {group} ({len(part)})", len(part),
           *intervals.share(part["correct"], intervals.units(part)))
          for column in ("age", "sex", "site")
          for group, part in known.groupby(known[column].replace("", "unknown"))]
groups = pd.DataFrame(groups, columns=["name", "images", "accuracy", "low", "high"])

# %%
colours = np.where(groups["images"] < scores.FEW, "#999999", palette["regularised"])
subgroups, axes = plt.subplots(figsize=(7, 0.4 * len(groups) + 1.5), layout="constrained")
axes.hlines(groups["name"], groups["low"], groups["high"], color=colours, linewidth=2.5)
axes.scatter(groups["accuracy"], groups["name"], color=colours, zorder=3)
axes.axvline(shown["correct"].mean(), color="#999999", linestyle="--", linewidth=1)
axes.set(xlim=(-0.02, 1.02), xlabel="accuracy, with its 95 % interval")
axes.invert_yaxis()
note = f"Test (images in brackets; grey: fewer than {scores.FEW})"
figures.titled(subgroups, note, run.images.synthetic)
plt.show()

# %% [markdown]
# ## What did the network look at?
#
# **Grad-CAM** lights up the places that spoke for the class that was called: images that were classified correctly (✓)
# and not (✗), each above its heatmap. Light on the lesion is what you hope for; light on a ruler, a hair or a dark corner
# is a warning.

# %%
network, load = explain.open_network(run.folder / "regularised")


def heatmaps(rows):
    """Return the pixels of outcomes and the Grad-CAM of the class that was called for each."""
    pixels, called = load(rows), [learned.index(name) for name in rows["predicted"]]
    return pixels, explain.grad_cam(network, pixels, called)


surest = shown.sort_values(["correct", "confidence"], ascending=False)
both = surest.drop_duplicates(["correct", "predicted"]).groupby("correct").head(2)
pixels, heat = heatmaps(both)
titles = [f"{'✓' if row.correct else '✗'} {row.label}" for row in both.itertuples()]
titles += [f"for {name}" for name in both["predicted"]]
cam = figures.image_grid([*pixels, *explain.overlay(pixels, heat)], titles, len(both),
                         "What spoke for the class that was called", run.images.synthetic)
cam.set_size_inches(2.4 * len(both), 6)
cam

# %% [markdown]
# **Do not trust it yet.** An edge detector would make pretty maps too, without having learned anything. So draw the
# network's weights at random and make the maps again (Adebayo and others, 2018): maps that show what was learned must
# change, so that their rank correlation (Spearman's) with the first ones is well below 1. A map that stays dark is left
# out.

# %%
many = shown.sample(min(40, len(shown)), random_state=SEED)
pixels, heat = heatmaps(many)
called = [learned.index(name) for name in many["predicted"]]
keras.utils.set_random_seed(SEED)
drawn = [explain.grad_cam(keras.models.clone_model(network), pixels, called) for _ in range(3)]
own, *others = (pd.DataFrame(maps.reshape(len(maps), -1)).T.rank() for maps in (heat, *drawn))
alike = pd.DataFrame({f"draw {n}": own.corrwith(other) for n, other in enumerate(others, 1)})
sanity = alike.describe().T.rename(columns={"count": "images", "50%": "median"})
sanity = sanity[["images", "min", "25%", "median", "75%", "max"]].round(2).astype({"images": int})
sanity

# %%
edge = round(heat.shape[1] * (1 - 0.5 ** 0.5) / 2)
middle = heat[:, edge:-edge, edge:-edge].sum(axis=(1, 2)) / np.maximum(heat.sum(axis=(1, 2)), 1e-9)
area_of_middle = (1 - 2 * edge / heat.shape[1]) ** 2
verdict = "change with the weights, so they show something that was learned"
if not sanity["median"].max() < 0.5:
    verdict = "stay much the same with random weights, so they show the picture, too"
lit = np.median(middle)
reading = (f"The maps {verdict} (median rank correlation up to {sanity['median'].max():.2f}). On "
           f"the median image {lit:.0%} of the light lies in the middle, {area_of_middle:.0%} of "
           f"the picture: {'more' if lit > area_of_middle else 'no more'} than if it lay anywhere.")
display(Markdown(reading))

# %% [markdown]
# A map that passes says where the network looked, not that it was right to look there, and not what it saw.
#
# ## Keep it

# %%
short = [f"{'; '.join(asked) or 'No question'} could be asked of these images."]
if asked:
    rows = patients[f"{asked[0]}: regularised"].itertuples()
    short = [{"cards": [(str(n), f"{kind} ({low} to {high})") for kind, n, low, high in rows]},
             f"Of 1,000 patients, {sick}, with the regularised network and a threshold that found "
             f"{SENSITIVITY:.0%} on validation ({asked[0]}). Not tried on patients."]
sections = {
    "In short": short,
    "Calibration": [reliability, "Below the line: too sure.",
                    calibrated, "Only an error above chance speaks against a network."],
    "The threshold": [chosen, "Chosen on validation, applied to Test; with 95 % intervals.",
                      curves, "The dot is the threshold."],
    "A thousand patients": [dots, "The share of patients who have it is assumed.",
                            counted, "Low and high: what the intervals allow."],
    "Is it worth it?": [net_benefit, "Of use only above both black lines."],
    "For whom does it work?": [subgroups, "A gap between groups is a question, not yet a finding."],
    "What did the network look at?": [cam, "Bright: evidence for the class that was called.",
                                      sanity, "Rank correlation with random weights' maps.", reading],
}

# %%
title = "Skin-lesion classification: from probabilities to decisions"
report.write(run, "decisions", title, sections)
print(f"{OUT_DIR}/report/decisions.html")
run.done()

# %% [markdown]
# ## What you saw
#
# - **Calibrate**: one number, fitted on validation, softens or sharpens; an error below chance is no finding.
# - **Choose**: the threshold is fixed before Test is seen, and may find another share there than was asked for.
# - **Count**: where few patients have a cancer, most of those who are sent on may have none.
# - **Divide**: a subgroup of few images says little about it.
# - **Look**: a heatmap needs its own test before anybody believes it.
#
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# Ask for a sensitivity of 1 instead of `SENSITIVITY`, so that no cancer of validation is missed. How many more of the
# others does the regularised network flag on Test, for how many more cancers? Expect at least as many of both.

# %% tags=["solution"]
# @title Solution 1
if asked:
    strict_view = views[asked[0], "regularised"]
    ### BEGIN SOLUTION
    strict = decisions.operating_point(strict_view["test"], threshold_for(strict_view["val"], 1))
    ### END SOLUTION
    usual = points[asked[0], "regularised"]
    print(f"found {usual['found']} -> {strict['found']}, "
          f"needless {usual['needless']} -> {strict['needless']}")
    assert strict["found"] >= usual["found"] and strict["needless"] >= usual["needless"]

# %% [markdown]
# ### Exercise 2
#
# At which prevalence would half of those who are sent on really have it? Work it out from sensitivity and specificity:
# prevalence × sensitivity must equal (1 − prevalence) × (1 − specificity).

# %% tags=["solution"]
# @title Solution 2
if asked:
    half_point = points[asked[0], "regularised"]
    ### BEGIN SOLUTION
    false_share = 1 - half_point["specificity"]
    half_prevalence = false_share / (false_share + half_point["sensitivity"])
    ### END SOLUTION
    print(f"at a prevalence of {half_prevalence:.2f}")
    found_share = half_prevalence * half_point["sensitivity"]
    assert np.isclose(found_share, (1 - half_prevalence) * false_share)

# %% [markdown]
# ### Exercise 3
#
# Cover the lesion: paint the middle half of every Test image's width and height grey (128), and let the network predict
# again. How much accuracy is left, and how much would calling every image by the largest class of Test get? What is left
# above that, it may have from the edge of the picture.

# %% tags=["solution"]
# @title Solution 3
covered = load(shown).astype("float32")
### BEGIN SOLUTION
quarter = covered.shape[1] // 4
covered[:, quarter:-quarter, quarter:-quarter] = 128
called_covered = np.array(learned)[explain.predict(network, covered).argmax(axis=1)]
covered_accuracy = (called_covered == shown["label"]).mean()
### END SOLUTION
print(f"covered {covered_accuracy:.2f}, whole {shown['correct'].mean():.2f}, "
      f"largest class {shown['label'].value_counts(normalize=True).max():.2f}")
assert (covered[:, covered.shape[1] // 2, covered.shape[1] // 2] == 128).all()
