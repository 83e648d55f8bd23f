# %% [markdown]
# # 7 · Decisions: a thousand patients
#
# **In twenty-five minutes of reading (about an hour if you also do it) you will let a network decide about a thousand
# patients, count whom it finds, whom it misses and whom it alarms needlessly, and ask how far that count can be
# trusted.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **choose** a threshold on validation and apply it to Test;
# - **count** the patients whom it finds, misses and alarms needlessly among a thousand, after a guess;
# - **compare** it with every other threshold;
# - **calibrate** the probabilities, and see whether it helped;
# - **divide** Test by age, sex, site and skin tone, and compare the accuracies;
# - **look** at heatmaps, and test whether they deserve trust;
# - **admit** doubt: answer with several classes where one is not enough.
#
# The first half, up to the thousand patients, is the lesson. The sections after it ask how far such a network can be
# trusted: read those you like, but run the cells in order. All of it goes beyond the case study.
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
# the network to decide with, such as transfer; empty: the best by the rule below
NETWORK = ""  # @param {type:"string"}
# the malignant classes, separated by commas; empty: recognised by their standard names
MALIGNANT = ""  # @param {type:"string"}
# share of the cancers in validation that the threshold must find
SENSITIVITY = 0.9  # @param {type:"number", min:0.01, max:1}
# assumed share of patients who have the disease; images do not show it
PREVALENCE = 0.02  # @param {type:"number", min:0.0001, max:0.9999}
# folder of another set of images, scored as well as Test; empty: none
EXTERNAL_DIR = ""  # @param {type:"string"}
# the same number gives the same split and images; networks may differ a little from run to run
SEED = 0  # @param {type:"integer", min:0, max:4294967295}

# %%
# %matplotlib inline
from helpers import figures, runs
from helpers.evaluation import (decisions, evaluate, explain, intervals, pictures, report,
                                scores)
from notebooks.checks import scores as checks

import numpy as np
import pandas as pd
import tensorflow as tf
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import RocCurveDisplay, log_loss, roc_curve

# %% tags=["nbval-check-output"]
run = runs.start("07_decisions", globals())
SYNTHETIC = run.images.synthetic  # then figures say so
tf.get_logger().setLevel("ERROR")  # it warns when a network predicts sets of several sizes
table = run.manifest()
run.need("03_baseline_cnn")
run.need("04_dropout_augmented_cnn")
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * SYNTHETIC)

# %% [markdown]
# ## One network
#
# One network decides: the one that `NETWORK` names. By default, leave out every network that loses more than half of its
# accuracy when an image gets the colours of another collection rather than of another image of the same one (notebook
# 05: the last two columns of the table). Of those that remain, take the best on validation. Test has no part in that. It
# need not be your choice of notebook 04.

# %%
results = evaluate.evaluate(run, table)
name = decisions.network(results, NETWORK)
test = results.places[name]["Test"]
print("The network that decides:", report.plain(name))
results.colours

# %% [markdown]
# Look at some of its predictions. What would you do with these patients?

# %% tags=["slide"]
pictures.examples(test, name, SYNTHETIC, SEED)

# %% [markdown]
# ## Refer, or not
#
# Nobody acts on a list of probabilities. The decision is whether to refer a patient to a doctor. So all classes
# become two: the malignant ones are **positive**, the others **negative**. (In a set whose cancers are not known, the
# rarest class of Test is positive, unless `MALIGNANT` names some.)

# %% tags=["nbval-check-output"]
positive = results.positive
print("Positive:", ", ".join(positive))

# %% [markdown]
# The probabilities of the positive classes are added up. Each image gets two more columns: whether it *is* positive
# (`truth`), and how probable the network finds that. `places` holds such a table for validation, for Test, and for
# other images, if there are any.

# %%
places = decisions.places(results, name)
places["validation"][["image_id", "label", "truth", "probability"]].head(3).round(2)

# %% [markdown]
# ## Guess: how many false alarms?
#
# Test may hold far more cancers than a waiting room. The **prevalence** is the share of patients who have one. No image
# shows it, so `PREVALENCE` is an assumption: set it to the figure for your clinic.

# %%
sick = round(1000 * PREVALENCE)
healthy = 1000 - sick
print(f"Assumed: of 1,000, {sick} are positive and {healthy} negative.")

# %% [markdown]
# The network is meant to find the share `SENSITIVITY` of the positives, nine in ten by default. **Guess**: how many of
# the negatives does it refer as well? Each of them is a **false alarm**.

# %%
GUESS = 100  # change me: how many false alarms among 1,000 patients

# %% [markdown]
# ## Choose a threshold
#
# A patient whose probability is at or above the **threshold** is referred. **Sensitivity** is the share of the positive
# images that are referred, **specificity** the share of the negative ones that are not. `roc_curve` tries every
# threshold, from the highest down. We take the first that finds the share `SENSITIVITY` of validation's positives.

# %%
val = places["validation"]
_, found, thresholds = roc_curve(val["truth"], val["probability"], drop_intermediate=False)
threshold = thresholds[np.argmax(found >= SENSITIVITY)]
print(f"Positive at a probability of {threshold:.3f} or more")

# %% [markdown]
# The threshold is fixed now. What does it do on validation, which chose it, and on images that had no part in that?
# *Found* and *missed* are positive images, *false alarms* and *cleared* are negative ones; 95% intervals stand in
# brackets.

# %%
chosen = decisions.at_threshold(places, threshold)
chosen.drop(columns="AUC")

# %% [markdown]
# ## A thousand patients
#
# Let the threshold decide about the thousand patients, as well as it does on Test. Two products say it all: the sick
# times the sensitivity, and the healthy times one minus the specificity.

# %%
point = decisions.operating_point(places["Test"], threshold)
sensitivity, specificity = point["sensitivity"], point["specificity"]
print(f"{sick} x {sensitivity:.3f} = {sick * sensitivity:.0f} found")
print(f"{healthy} x {1 - specificity:.3f} = {healthy * (1 - specificity):.0f} false alarms")

# %% [markdown]
# Each mark is a patient. The dashed line stands where the false alarms would end if your guess were right.

# %% tags=["slide"]
patients = decisions.per_thousand(point, PREVALENCE)
dots = decisions.thousand(patients, GUESS, SYNTHETIC)
dots

# %% tags=["slide"]
print(decisions.in_words(patients, GUESS))

# %% [markdown]
# Where few have a disease, there are so many healthy that even rare false alarms may outnumber the patients who are
# found. Sensitivity and specificity alone do not say so: it takes the prevalence.
#
# ## How far can all this be trusted?
#
# First: how sure is the count? *Low* and *high* are the counts at the ends of the two intervals: where specificity was
# measured on few images, one false alarm more among them means many among a thousand patients.

# %%
patients

# %% [markdown]
# Was the share that you wanted to find also found on Test?

# %%
view = places["Test"]
print(decisions.as_wanted(point, SENSITIVITY))

# %% [markdown]
# Where it is not the same share, there may be three reasons:
#
# - **Chance.** The threshold lies exactly at one of validation's positives. Of other images, a few more or a few fewer
#   lie above it, and with few positives that is a large share. If the interval includes what was wanted, this may be all.
# - **Choice.** Validation also chose the epoch of each network, and may have chosen the network. So what it says may be
#   a little too good.
# - **Other images.** Test may hold what validation does not. *Test, unseen pairs*, if there is such a row, are images of
#   classes that training has from other collections only.

# %% [markdown]
# ## Would another threshold do better?
#
# A lower threshold finds more and alarms more often. The **ROC curve** shows what each would give on Test. **AUC**, the
# area under it, is the probability that a randomly chosen positive image gets a higher probability than a randomly
# chosen negative one: 0.5 is chance, 1 a perfect order.

# %% tags=["slide"]
roc, axes = figures.new(5.6, 4.8)
RocCurveDisplay.from_predictions(
    view["truth"], view["probability"],
    name="other thresholds", ax=axes, plot_chance_level=True,
)
axes.plot(1 - specificity, sensitivity, "ko", markersize=10)
axes.set(xlabel="false alarms (1 - specificity)", ylabel="found (sensitivity)")
title = f"Dot: {sensitivity:.0%} of positives found, {1 - specificity:.0%} of negatives alarmed"
figures.titled(roc, title, SYNTHETIC)

# %% [markdown]
# The curve cannot say which point is best: that depends on what a missed cancer costs, and what a false alarm. And the
# point may not be chosen here, on Test. Exercise 1 takes another one, on validation.
#
# ## Do the probabilities mean what they say?
#
# Of all predictions with a probability of 0.7, seven in ten should be correct: then a network is **calibrated**. If it
# is not, **temperature scaling** (Guo and others, 2017) may help. It divides the logits by one number, the temperature:
# above 1 all predictions become less sure, below 1 surer. Which class is predicted never changes. We take the
# temperature that gives the lowest cross-entropy on validation. (One below 1 may come from label smoothing, notebook 06,
# which teaches a network not to be sure.)

# %%
CLASSES = scores.classes(val)
temperatures = np.geomspace(0.2, 5, 65)
losses = [
    log_loss(val["label"], scores.probabilities(decisions.rescale(val, each)), labels=CLASSES)
    for each in temperatures
]
temperature = temperatures[np.argmin(losses)]
test_scaled = decisions.rescale(test, temperature)
print(f"temperature {temperature:.2f}")

# %% [markdown]
# The **calibration error** is the mean distance between the probability of the predicted class and the share that is
# correct. On few images it is above zero even for a perfectly calibrated network: *by chance, up to* is what such a
# network stays below in 95 of 100 sets of this size.

# %%
calibrated = decisions.calibration({
    "validation, as trained": val,
    "validation, after scaling": decisions.rescale(val, temperature),
    "Test, as trained": test,
    "Test, after scaling": test_scaled,
}, SEED)
calibrated.round(3)

# %% [markdown]
# The **reliability diagram** sorts the Test images by that probability and cuts them into five parts of equal size, one
# point per part. Below the diagonal the network was too sure, above it not sure enough.

# %% tags=["slide"]
said = decisions.calibration_in_words(calibrated)
reliability, axes = figures.new(5.6, 4.8)
for rows, label, line in [(test, "as trained", "--"), (test_scaled, "after scaling", "-")]:
    answers = scores.outcomes(rows)
    CalibrationDisplay.from_predictions(
        answers["correct"], answers["confidence"],
        n_bins=5, strategy="quantile", ax=axes, name=label, linestyle=line,
    )
axes.set(xlabel="probability of the predicted class", ylabel="share classified correctly")
figures.titled(reliability, said, SYNTHETIC)

# %% [markdown]
# The temperature was fitted on validation. Where Test holds other images, it may make matters worse there: the title
# says what it did here.
#
# ## For whom does it work?
#
# Accuracy on Test by age, sex, site and skin tone (Fitzpatrick's types), where they are known; the number of images
# stands in brackets. Before you look for the worst group: if all groups were alike, about 5 of 100 such intervals
# would still miss the overall accuracy, by chance. (In the sample, sex and site are drawn at random: whatever gap you see
# between those groups is chance.)

# %%
parts = decisions.subgroups(test)
groups = intervals.shares(parts, lambda rows: rows["correct"])

# %% tags=["slide"]
subgroups = figures.shares(groups, None, decisions.multiplicity(groups), "accuracy", SYNTHETIC)
subgroups

# %% [markdown]
# This is **multiplicity**: of many groups, some may stand out by chance, and the title says how many to expect. Groups
# differ in their lesions, too. So a gap is a question for new images, not yet a finding; and where intervals are wide,
# no gap seen is no proof that there is none.
#
# ## What did the network look at?
#
# **Grad-CAM** lights up the places that count as evidence for the predicted class. Light on the lesion is what you hope
# for; light on a ruler, a hair or a dark corner is a warning. (A map has few places, enlarged: do not read its
# outline.) Below are the predictions that the network is surest of: up to three correct ones (✓), and three mistakes
# (✗).

# %%
network, load = explain.open_network(run.folder / name)
pixels = load(test)
predicted = pd.Categorical(test["predicted"], CLASSES).codes
heat = explain.grad_cam(network, pixels, predicted)

# %% tags=["slide"]
middle = explain.in_the_middle(heat)
title = (f"{middle:.0%} of a heatmap's light lies in the central half of the area (median); "
         "an even map would have 50%")
cam = pictures.heatmaps(test, pixels, heat, title, SYNTHETIC)
cam

# %% [markdown]
# Do not trust it yet. Does a map show what the network *learned*? Draw all weights at random and make the maps again
# (Adebayo and others, 2018). If they stay the same, they show nothing that was learned. The table compares the new maps
# with the first ones, in three draws, by their rank correlation: 1 is the same map, 0 or less another one. (Maps that are
# constant are left out.)

# %%
sanity = explain.sanity(network, pixels[:32], predicted[:32], SEED)
sanity[["images", "median"]].round(2)

# %% [markdown]
# Read the medians: near 1, the maps show nothing learned. Even where they are low, a map says where the network looked,
# not that it was right to look there, and not what it saw.
#
# ## Several answers instead of one
#
# Where a network is not sure, it can answer with a **set** of classes: all whose probability reaches a limit. Which
# limit? Sort the probabilities that the *true* classes of validation were given, and go down until nine in ten
# (`COVERAGE`) are passed. With that limit, nine in ten sets hold the true class, on new images like those of validation
# (**split conformal prediction**; Papadopoulos and others, 2002).

# %%
COVERAGE = 0.9  # change me
true_class = np.sort(decisions.of_truth(val))[::-1]  # its probability, the highest first
needed = min(int(np.ceil((len(val) + 1) * COVERAGE)), len(val))  # so many images
least = true_class[needed - 1]
size = (scores.probabilities(test) >= least).sum(axis=1).mean()
print(f"In the set: every class of at least {least:.3f}; {size:.1f} classes per Test image.")

# %% [markdown]
# How many of the sets hold the true class?

# %% tags=["slide"]
coverage = intervals.shares(places, lambda rows: decisions.of_truth(rows) >= least)
reached = coverage["value"]["Test"]
covered = f"Meant to hold {COVERAGE:.0%} of true classes, the sets hold {reached:.0%} on Test"
covering = figures.shares(coverage, None, covered, "share of sets with the true class", SYNTHETIC)
covering

# %% [markdown]
# On other images than validation's the sets may hold less: only labelled images from there can show it.
#
# ## Keep it
#
# All of this on one page, for somebody who has no notebook:

# %%
report.write(run, "decisions", f"From probabilities to decisions: {report.plain(name)}", {
    "Among a thousand": [decisions.in_words(patients, GUESS), dots],
    "The threshold": [chosen, "Chosen on validation; in brackets 95% intervals.", roc],
    "Calibration": [reliability, calibrated.round(3)],
    "For whom does it work?": [subgroups],
    "What did it look at?": [cam, sanity.round(2)],
    "Sets of classes": [covering],
})
print(f"{OUT_DIR}/report/decisions.html")
run.done(GUESS=GUESS)

# %% [markdown]
# ## What you saw
#
# - **Choose**: a threshold is chosen on validation alone; on Test it may find a larger or a smaller share.
# - **Count**: where few have a disease, most of those who are referred may be healthy.
# - **Compare**: a lower threshold finds more and alarms more; which is best, no curve says.
# - **Calibrate**: one number, fitted on validation; whether it helps elsewhere is to be measured there.
# - **Divide**: of many subgroups, some may stand out by chance.
# - **Look**: a heatmap needs its own test before anybody believes it.
# - **Admit**: a set of classes reaches its coverage on images like those it was made from.

# %% [markdown]
# {{quiz}}

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# Miss no positive image of validation: choose the highest threshold that finds all of them. How many more false alarms
# does that give on Test than the threshold above? Set `more` to that number.

# %% tags=["solution"]
# @title Solution 1
more = None
### BEGIN SOLUTION
strict = decisions.operating_point(view, val["probability"][val["truth"]].min())
more = strict["false_alarms"] - point["false_alarms"]
### END SOLUTION
checks.more_false_alarms(more, places, SENSITIVITY)

# %% [markdown]
# ### Exercise 2
#
# At which prevalence would half of those who are referred be positive? Work `half` out from `point["sensitivity"]` and,
# to be on the safe side, the lower end of the specificity's interval, `point["specificity_interval"][0]`.

# %% tags=["solution"]
# @title Solution 2
half = None
### BEGIN SOLUTION
false_share = 1 - point["specificity_interval"][0]
half = false_share / (false_share + point["sensitivity"])
### END SOLUTION
checks.half_are_right(half, point)

# %% [markdown]
# ### Exercise 3
#
# Does the network need the middle of the image, where a lesion usually is? Paint the middle half of every Test
# image's width and height grey (128), and let the network predict `covered` with `explain.predict`. Set
# `without_middle` to the accuracy. (It sees one view of each image; the scores above are of eight. A large lesion
# reaches beyond the grey square: what is left may be lesion, skin or the edge. Compare exercise 1 of notebook 04.)

# %% tags=["solution"]
# @title Solution 3
covered, without_middle = pixels.copy(), None
### BEGIN SOLUTION
quarter = covered.shape[1] // 4
covered[:, quarter:-quarter, quarter:-quarter] = 128
again = explain.predict(network, covered).argmax(axis=1)
without_middle = (np.array(CLASSES)[again] == test["label"]).mean()
### END SOLUTION
checks.covered_middle(without_middle, covered, pixels, test, network)

# %% [markdown]
# ## Go on
#
# Solutions: [the notebook in full](https://github.com/{{repository}}/blob/{{branch}}/notebooks/{{notebook}}.ipynb).
#
# Next: a set of your own through the whole course, as a
# [project](https://github.com/{{repository}}/blob/{{branch}}/docs/teaching.md#project).
