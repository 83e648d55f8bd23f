# %% [markdown]
# # 7 · Decisions: a thousand patients
#
# **In twenty-five minutes you will turn probabilities into a decision, count what it does to a thousand patients, and ask
# how far that count can be trusted.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **choose** a threshold on validation and apply it to Test;
# - **count** the patients that it finds, misses and refers in vain among a thousand, after a guess;
# - **calibrate** the probabilities, and see whether it helped;
# - **admit** doubt: answer with several classes where one is not enough;
# - **divide** Test by age, sex, site and skin tone, and compare the accuracies;
# - **look** at heatmaps, and test whether they deserve trust.
#
# This goes beyond the case study. It is teaching material, not a medical device: nothing here may be used to judge
# anybody's skin.

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
# the network to decide with, such as transfer; empty: the one that 05 recommends
NETWORK = ""  # @param {type:"string"}
# the malignant classes, separated by commas; empty: recognised by their standard names
MALIGNANT = ""  # @param {type:"string"}
# share of the cancers in validation that the threshold must find
SENSITIVITY = 0.9  # @param {type:"number", min:0.01, max:1}
# assumed share of patients who have the disease; images do not show it
PREVALENCE = 0.02  # @param {type:"number", min:0.0001, max:0.9999}
# folder of another set of images, scored as well as Test; empty: none
EXTERNAL_DIR = ""  # @param {type:"string"}
# the same number gives the same split, images and networks
SEED = 0  # @param {type:"integer", min:0, max:4294967295}

# %%
# %matplotlib inline
from helpers import figures, runs
from helpers.evaluation import (decisions, evaluate, explain, intervals, pictures, report,
                                predict, scores)
from notebooks.checks import scores as checks

import numpy as np
import pandas as pd
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import RocCurveDisplay, log_loss, roc_curve

# %% tags=["nbval-check-output"]
run = runs.start("07_decisions", globals())
SYNTHETIC = run.images.synthetic  # then figures say so
table = run.manifest()
run.need("03_baseline_cnn")
run.need("04_dropout_augmented_cnn")
print("Images:", run.images.source, "(SYNTHETIC: drawings, not patients)" * SYNTHETIC)

# %% [markdown]
# ## One network
#
# One network decides: the one that `NETWORK` names, or else the best on validation among those that keep at least half
# of their accuracy with the colours of another collection (notebook 05). Test has no part in that choice.

# %%
results = evaluate.evaluate(run, table)
name = decisions.network(results, NETWORK)
test = results.places[name]["Test"]
print("The network that decides:", report.plain(name))

# %% [markdown]
# Look at some of its predictions. What would you do with these patients?

# %% tags=["slide"]
pictures.examples(test, name, SYNTHETIC, SEED)

# %% [markdown]
# ## Positive or negative
#
# Nobody acts on a list of probabilities. The decision is whether to refer a patient to a doctor. So the malignant classes
# are **positive**, the others **negative**, and the probabilities of the positive classes are added up. (In a set whose
# cancers are not known, the rarest class of Test is positive, unless `MALIGNANT` names some.)

# %% tags=["nbval-check-output"]
positive = results.positive
print("Positive:", ", ".join(positive))

# %% [markdown]
# The network was tried in several places: on validation, on Test, perhaps on images of another clinic. Everywhere, each
# image gets two more columns: the truth, and the probability of being positive.

# %%
places = decisions.places(results, name)
places["validation"][["image_id", "label", "truth", "probability"]].head(3).round(2)

# %% [markdown]
# ## Choose a threshold
#
# A patient whose probability is at or above the **threshold** is referred. **Sensitivity** is the share of the positive
# images that are referred, **specificity** the share of the negative ones that are not. We take the highest threshold that
# still finds at least the share `SENSITIVITY` of the positive images of validation.

# %%
val = places["validation"]
_, found, thresholds = roc_curve(val["truth"], val["probability"], drop_intermediate=False)
threshold = thresholds[np.argmax(found >= SENSITIVITY)]
print(f"Refer at a probability of {threshold:.3f} or more")

# %% [markdown]
# What does it give, place by place?

# %%
chosen = decisions.at_threshold(places, threshold)
chosen

# %% [markdown]
# Validation meets the target because the threshold was chosen there. Test may not, for two reasons. The threshold was
# chosen on few positive images: the interval of its sensitivity shows how uncertain that makes it. And Test may hold what
# validation does not: *Test, another clinic*, if there is such a row, are images whose class the network never saw from
# that clinic.
#
# The **ROC curve** shows what every other threshold would give on Test. **AUC**, the area under it, is the probability
# that a randomly chosen positive image gets a higher probability than a randomly chosen negative one: 0.5 is chance, 1 a
# perfect order.

# %%
view = places["Test"]
point = decisions.operating_point(view, threshold)
reached = point["sensitivity"]
title = f"Chosen to find {SENSITIVITY:.0%}, the threshold (dot) finds {reached:.0%} on Test"

# %% tags=["slide"]
roc, axes = figures.new(5.6, 4.8)
RocCurveDisplay.from_predictions(
    view["truth"], view["probability"],
    name=report.plain(name), ax=axes, plot_chance_level=True,
)
axes.plot(1 - point["specificity"], point["sensitivity"], "ko", markersize=10)
axes.set(xlabel="false alarms (1 - specificity)", ylabel="found (sensitivity)")
figures.titled(roc, title, SYNTHETIC)

# %% [markdown]
# ## A thousand patients
#
# Test may hold far more cancers than a waiting room. The **prevalence** is the share of patients who have one. No image
# shows it, so `PREVALENCE` is an assumption: set it to the figure for your clinic. Now let this threshold decide on a
# thousand patients. **Guess**: how many of them are referred although they have no cancer, a **false alarm**?

# %%
GUESS = 100  # change me: how many false alarms among 1,000 patients

# %%
patients = decisions.per_thousand(point, PREVALENCE)
patients

# %% [markdown]
# *Cleared* are the healthy who are not referred. *Low* and *high* are what the intervals of sensitivity and specificity
# allow: on few images, one false alarm more may mean many patients among a thousand. Each mark below is a patient;
# the dashed line stands where the false alarms would end if your guess were right.

# %% tags=["slide"]
dots = decisions.thousand(patients, GUESS, SYNTHETIC)
dots

# %% tags=["slide"]
print(decisions.in_words(patients, GUESS))

# %% [markdown]
# Where few have a disease, there are so many healthy that even rare false alarms may outnumber the patients who are
# found. That is the finding of this notebook; the rest asks how far such numbers can be trusted, and for whom.
#
# ## Do the probabilities mean what they say?
#
# Of all predictions with a probability of 0.7, seven in ten should be correct: then a network is **calibrated**. If it is
# not, **temperature scaling** (Guo and others, 2017) may help: it divides the logits by one number, the temperature. Above
# 1 it makes all predictions less sure, below 1 surer; it never changes which class is predicted. We take the temperature
# that gives the lowest cross-entropy on validation.

# %%
CLASSES = scores.classes(val)
temperatures = np.geomspace(0.2, 5, 65)
losses = [
    log_loss(val["label"], scores.probabilities(decisions.rescale(val, each)), labels=CLASSES)
    for each in temperatures
]
temperature = temperatures[np.argmin(losses)]
scaled = decisions.rescale(test, temperature)

# %% [markdown]
# The **calibration error** is the mean distance between the probability of the predicted class and the share that is
# correct, in ten bins. On few images it is hardly ever zero, even for a perfectly calibrated network: beside it stands
# what such a network stays below in 95 of 100 sets of this size, *by chance*.

# %%
calibrated = decisions.calibration({
    "validation, as trained": val,
    "validation, after scaling": decisions.rescale(val, temperature),
    "Test, as trained": test,
    "Test, after scaling": scaled,
}, SEED)
calibrated.round(3)

# %% tags=["slide"]
said = decisions.calibration_in_words(calibrated)
print(said)

# %% [markdown]
# The **reliability diagram** shows the bins of Test. In a bin below the diagonal the network was too sure, above it not
# sure enough. With few images in a bin, its point may lie anywhere.

# %%
before, after = scores.outcomes(test), scores.outcomes(scaled)
reliability, axes = figures.new(5.6, 4.8)
CalibrationDisplay.from_predictions(
    before["correct"], before["confidence"],
    n_bins=10, ax=axes, name="as trained", linestyle="--",
)
CalibrationDisplay.from_predictions(
    after["correct"], after["confidence"],
    n_bins=10, ax=axes, name=f"temperature {temperature:.2f}",
)
axes.set(xlabel="probability of the predicted class", ylabel="share classified correctly")
figures.titled(reliability, said, SYNTHETIC)

# %% [markdown]
# A temperature below 1 means that the network was less sure than it could be: label smoothing (notebook 06) and averaging
# eight views may both do that. The temperature was fitted on validation; where Test holds other images, it may make matters worse there: compare the
# last two rows of the table. And one number cannot undo what the weight of one class did (`MELANOMA_WEIGHT` in notebook 04).
#
# ## Is it worth it?
#
# At what risk would you refer a patient? Who acts at a risk of 0.1 accepts nine false alarms for one cancer. **Net benefit**
# (Vickers and Elkin, 2006) is the share of patients who are found, minus the share who are false alarms, weighed by these
# odds. A network can help only where its curve lies above both alternatives: refer all, refer none.
#
# The probabilities were learned where far more images are positive than patients are, and the same evidence means a lower
# risk where few are ill. So they are first moved from the share of positives in Test to `PREVALENCE` (Saerens and others,
# 2002).

# %%
risks = np.arange(0.005, 0.5, 0.005)
benefit = decisions.net_benefit(decisions.binary(scaled, positive), risks, PREVALENCE)
best = (benefit["the network"] > benefit[["refer all", "refer none"]].max(axis=1)).mean()

# %% tags=["slide"]
worth, axes = figures.new(6.5, 4)
benefit.plot(ax=axes, style=["-", "--", ":"], ylabel="net benefit")
axes.set_ylim(-PREVALENCE, 1.2 * PREVALENCE)
title = f"At {best:.0%} of the risks below one half, better than referring all or none"
figures.titled(worth, title, SYNTHETIC)

# %% [markdown]
# ## Several answers instead of one
#
# Where a network is not sure, it can answer with a **set** of classes. How probable must a class be to enter it? Sort the
# probabilities that the *true* classes of validation were given, and go down until nine in ten (`COVERAGE`) are passed:
# that is the limit. On new images like those of validation, such sets hold the true class about as often (**split conformal
# prediction**; Papadopoulos and others, 2002).

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
# The promise holds only for images like those of validation. Where it is broken, the sets do not say so: only labelled
# images from there can show it.
#
# ## Is this image like those that the network learned from?
#
# That can be asked without labels. Take the features that the last layer receives, and look for the nearest training
# image. If it is farther away than for 99 % of the validation images, the image counts as **out of distribution** (after
# Sun and others, 2022).

# %%
unlike = intervals.shares(places, lambda rows: predict.unlike(run.folder / name, table, rows))
doubt = pd.DataFrame({
    "out of distribution": unlike["value"],
    "true class in the set": coverage["value"],
})
doubt.round(2)

# %% [markdown]
# On validation, about one in a hundred is out of distribution, by definition. Where there are many more, neither
# probabilities nor sets need to hold. Where there are as few, they may be wrong all the same: the column beside it says how
# often the set holds the true class.
#
# ## For whom does it work?
#
# Accuracy on Test by age, sex, site and skin tone (Fitzpatrick's types), where they are known; the number of images stands
# in brackets.

# %%
parts = decisions.subgroups(test)
groups = intervals.shares(parts, lambda rows: rows["correct"])

# %% tags=["slide"]
subgroups = figures.shares(groups, None, decisions.multiplicity(groups), "accuracy", SYNTHETIC)
subgroups

# %% [markdown]
# Of many groups, some may stand out by chance: **multiplicity**. The title says how many to expect if all groups were
# alike. Groups differ in their lesions, too. So a gap is a question for new images, not yet a finding.
#
# ## What did the network look at?
#
# **Grad-CAM** lights up the places that count as evidence for the predicted class. Light on the lesion is what you hope
# for; light on a ruler, a hair or a dark corner is a warning. Below are the predictions that the network is surest of: up to
# three correct ones (✓), and three mistakes (✗).

# %%
network, load = explain.open_network(run.folder / name)
pixels = load(test)
predicted = pd.Categorical(test["predicted"], CLASSES).codes
heat = explain.grad_cam(network, pixels, predicted)

# %% tags=["slide"]
middle = explain.in_the_middle(heat)
title = (f"{middle:.0%} of a heatmap's light lies in the central half of the area (median); "
         "an even map would have 50 %")
cam = pictures.heatmaps(test, pixels, heat, title, SYNTHETIC)
cam

# %% [markdown]
# Do not trust it yet. Does a map show what the network *learned*? Draw all weights at random and make the maps again
# (Adebayo and others, 2018). If they stay the same, they show nothing that was learned. The table has their rank
# correlation with the first maps, over three draws: 1 is the same map, 0 another one. (Maps that are constant are left
# out.)

# %%
sanity = explain.sanity(network, pixels[:32], predicted[:32], SEED)
print(f"At most {sanity['max'].max():.2f}; 1 would mean that nothing learned is shown.")
sanity.round(2)

# %% [markdown]
# A map that changes says where the network looked, not that it was right to look there, and not what it saw.
#
# ## Keep it
#
# All of this on one page, for somebody who has no notebook:

# %%
report.write(run, "decisions", f"From probabilities to decisions: {report.plain(name)}", {
    "A thousand patients": [decisions.in_words(patients, GUESS), dots],
    "The threshold": [chosen, "Chosen on validation; in brackets 95 % intervals.", roc],
    "Calibration": [reliability, calibrated.round(3)],
    "Net benefit": [worth, f"Assumed: {PREVALENCE:.1%} of patients are positive."],
    "Sets of classes": [covering, doubt.round(2)],
    "For whom does it work?": [subgroups],
    "What did it look at?": [cam, sanity.round(2)],
})
print(f"{OUT_DIR}/report/decisions.html")
run.done(GUESS=GUESS)

# %% [markdown]
# ## What you saw
#
# - **Choose**: a threshold is fixed before Test is seen, and may find another share there than it was chosen for.
# - **Count**: where few have a disease, most of those who are referred may be healthy.
# - **Calibrate**: one number, fitted on validation; whether it helps elsewhere is to be measured there.
# - **Admit**: a set of classes reaches its coverage on images like those it was made from.
# - **Divide**: of many subgroups, some may stand out by chance.
# - **Look**: a heatmap needs its own test before anybody believes it.

# %% [markdown]
# {{quiz}}

# %% [markdown]
# ## Exercises

# %% [markdown]
# ### Exercise 1
#
# Miss no cancer of validation: choose the highest threshold that finds all of them. How many more false alarms does that
# give on Test than the threshold above? Set `more` to that number.

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
# At which prevalence would half of those who are referred have a cancer? Work `half` out from `point["sensitivity"]` and,
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
# Cover the middle: paint the middle half of every Test image's width and height grey (128), and let the network predict
# `covered` with `explain.predict`. Set `without_lesion` to the accuracy.

# %% tags=["solution"]
# @title Solution 3
covered, without_lesion = pixels.copy(), None
### BEGIN SOLUTION
quarter = covered.shape[1] // 4
covered[:, quarter:-quarter, quarter:-quarter] = 128
again = explain.predict(network, covered).argmax(axis=1)
without_lesion = (np.array(CLASSES)[again] == test["label"]).mean()
### END SOLUTION
checks.covered_lesions(without_lesion, covered, pixels, test, network)

# %% [markdown]
# ## Go on
#
# Solutions: [the notebook in full](https://github.com/{{repository}}/blob/{{branch}}/notebooks/{{notebook}}.ipynb).
#
# Next: a set of your own through the whole course, as a
# [project](https://github.com/{{repository}}/blob/{{branch}}/docs/teaching.md#project).
