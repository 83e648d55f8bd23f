# %% [markdown]
# # 7 · Decisions: a thousand patients
#
# **In twenty-five minutes you will turn probabilities into a decision, and count what it does to a thousand patients.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **choose** a threshold on validation and apply it to Test;
# - **count** the patients it finds, misses and alarms among a thousand, after a guess;
# - **calibrate** the probabilities, and see whether it helped;
# - **admit** doubt: predict several classes where one is not enough;
# - **divide** the accuracy by age, sex, site and skin tone;
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
import numpy as np
import pandas as pd
from sklearn.calibration import CalibrationDisplay
from sklearn.metrics import RocCurveDisplay, log_loss, roc_curve

from helpers import figures, runs
from helpers.evaluation import (decisions, evaluate, explain, intervals, pictures, report,
                                predict, scores)
from notebooks.checks import scores as checks

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
# One network decides: the one that `NETWORK` names, or the best on validation among those that keep at least half of
# their accuracy with the colours of another collection (notebook 05). Test had no part in that choice.

# %%
results = evaluate.evaluate(run, table)
name = decisions.network(results, NETWORK)
test = results.places[name]["Test"]

# %% [markdown]
# Look at some of its predictions. What would you do with these patients?

# %% tags=["slide"]
pictures.examples(test, name, SYNTHETIC, SEED)

# %% [markdown]
# ## Positive or negative
#
# Nobody acts on a list of probabilities. The decision is whether to refer a patient. So the malignant classes are
# **positive**, the others **negative**, and the probabilities of the positive classes are added up. (Of a set whose cancers
# are not known, the rarest class of Test is positive, unless `MALIGNANT` names some.)

# %% tags=["nbval-check-output"]
positive = results.positive
print("Positive:", ", ".join(positive))

# %% [markdown]
# Two columns are added to the predictions of every place where the network was tried: the truth, and the
# probability of being positive.

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
print(f"Refer from a probability of {threshold:.3f}")

# %% [markdown]
# The target, and what was reached:

# %%
chosen = decisions.at_threshold(places, threshold)
chosen

# %% [markdown]
# Validation meets the target because the threshold was chosen there. Test may not, for two reasons. The threshold was
# chosen on few positive images: the interval shows how uncertain that makes the sensitivity. And Test may hold what
# validation does not: read the row *Test, another clinic*, if there is one, of images whose class the network never saw
# from that clinic.
#
# The curve shows what every other threshold would give on Test. **AUC**, the area under it, is the probability that a
# randomly chosen positive image gets a higher probability than a randomly chosen negative one: 0.5 is chance, 1 a perfect
# order.

# %%
view = places["Test"]
point = decisions.operating_point(view, threshold)
title = f"Chosen to find {SENSITIVITY:.0%}, the threshold (dot) finds {point['sensitivity']:.0%}"

# %% tags=["slide"]
roc, axes = figures.new(5.6, 4.8)
RocCurveDisplay.from_predictions(
    view["truth"], view["probability"],
    name=name, ax=axes, plot_chance_level=True,
)
axes.plot(1 - point["specificity"], point["sensitivity"], "ko", markersize=10)
axes.set(xlabel="false alarms (1 - specificity)", ylabel="found (sensitivity)")
figures.titled(roc, title, SYNTHETIC)

# %% [markdown]
# ## A thousand patients
#
# Test may hold far more cancers than a waiting room. `PREVALENCE` is the share of patients who have one: an assumption;
# set it to the figure for your clinic. Now let this threshold see a thousand patients. **Guess**: how many of them are
# referred although they have no cancer?

# %%
GUESS = 100  # change me: how many false alarms among 1,000 patients

# %%
patients = decisions.per_thousand(point, PREVALENCE)
patients

# %% [markdown]
# *Cleared* are the healthy who are not referred. *Low* and *high* are what the intervals of sensitivity and specificity
# allow. Even without a false alarm on fifty images, there could be some among a thousand patients. Each mark below is a
# patient.

# %% tags=["slide"]
dots = decisions.thousand(patients, GUESS, SYNTHETIC)
dots

# %% tags=["slide"]
print(decisions.in_words(patients, GUESS))

# %% [markdown]
# Where few have a disease, there are so many healthy that even rare false alarms may outnumber the patients who are
# found. Everything below asks how far these numbers can be trusted, and for whom.
#
# ## Do the probabilities mean what they say?
#
# Of all predictions with a probability of 0.7, seven in ten should be correct: then a network is **calibrated**.
# **Temperature scaling** (Guo and others, 2017) divides the logits by one number: above 1 it makes all predictions less
# sure, below 1 surer. It never changes which class is predicted. We look for the temperature that gives the lowest
# cross-entropy on the validation set.

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
# correct, in ten bins. On few images it is never zero, so it stands beside what a perfectly calibrated network would show
# by chance (95 of 100 sets of this size stay below it).

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
# The **reliability diagram** shows the bins of Test. Points below the diagonal were too sure, points above it not sure
# enough. With few images in a bin, a point may lie anywhere.

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
# The temperature was fitted on validation; where Test holds other images, it may make matters worse there (the last two
# rows of the table). And one number cannot undo what the weight of one class did (`MELANOMA_WEIGHT` in notebook 04).
#
# ## Is it worth it?
#
# **Net benefit** counts the positive images found and takes off the false alarms, each weighed by the odds of the risk
# from which you would act (Vickers and Elkin, 2006): who acts at a risk of 0.1 accepts nine false alarms for one cancer.
# A network may help only where its curve lies above both alternatives, flagging all and flagging none.

# %% tags=["slide"]
risks = np.arange(0.01, 1, 0.01)
benefit = decisions.net_benefit(decisions.binary(scaled, positive), risks)
best = benefit["the network"] > benefit[["flag all", "flag none"]].max(axis=1)
share = view["truth"].mean()
title = (f"Net benefit: best at {best.sum()} of {len(best)} risks, "
         f"if {share:.0%} are positive, as in Test")
worth, axes = figures.new(6.5, 4)
benefit.plot(ax=axes, style=["-", "--", ":"], ylabel="net benefit")
axes.set_ylim(-0.1, share + 0.05)
figures.titled(worth, title, SYNTHETIC)

# %% [markdown]
# It is drawn for the share of positive images in Test, which may not be that of a clinic.
#
# ## Several answers instead of one
#
# A network can also say "one of these". **Split conformal prediction** (Papadopoulos and others, 2002) takes from validation
# how probable the true class usually is, and then predicts every class that is at least as probable. On images like those of
# validation, the **set** holds the true class at least about as often as `COVERAGE` says.

# %%
COVERAGE = 0.9  # change me
given = np.sort(decisions.of_truth(val))[::-1]  # to the true classes, the highest first
needed = np.ceil((len(val) + 1) * COVERAGE)  # so many images have to be covered
least = given[min(int(needed), len(val)) - 1]
sets = scores.probabilities(test) >= least
size = sets.sum(axis=1).mean()
print(f"Every class with at least {least:.3f} is predicted: "
      f"{size:.1f} classes per Test image on average.")

# %% tags=["slide"]
coverage = intervals.shares(places, lambda rows: decisions.of_truth(rows) >= least)
reached = coverage["value"]["Test"]
covered = f"Meant to cover {COVERAGE:.0%}, the sets cover {reached:.0%} of Test"
covering = figures.shares(coverage, None, covered, "share that the sets cover", SYNTHETIC)
covering

# %% [markdown]
# The coverage is guaranteed only for images like those of validation. Whether it is reached elsewhere, the sets themselves do
# not show: only labelled images from there do.
#
# Without labels, one can at least ask whether an image is like those that the network learned from, or **out of
# distribution**. Here it counts as unlike them if its nearest training image, by the features that the last layer receives,
# is farther off than that of 99 % of the validation images (Sun and others, 2022).

# %%
unlike = intervals.shares(places, lambda rows: predict.unlike(run.folder / name, table, rows))
doubt = pd.DataFrame({
    "share that the sets cover": coverage["value"],
    "share unlike the training images": unlike["value"],
})
doubt.round(2)

# %% [markdown]
# On validation that share is about one in a hundred by definition. Where it is larger, the images may come from somewhere
# that the network does not know, and then neither its probabilities nor its sets need to hold. Where it is as small, they
# may still be wrong: look at the coverage beside it.
#
# ## For whom does it work?
#
# Accuracy by age, sex, site and skin tone (Fitzpatrick's types), where they are known, with the number of images in brackets.

# %%
parts = decisions.subgroups(test)
groups = intervals.shares(parts, lambda rows: rows["correct"])

# %% tags=["slide"]
subgroups = figures.shares(groups, None, decisions.multiplicity(groups), "accuracy", SYNTHETIC)
subgroups

# %% [markdown]
# Of many groups, some may stand out by chance: **multiplicity**. The title says how many to expect were all groups
# alike. Groups differ in their lesions, too. So a gap is a question for new images, not yet a finding.
#
# ## What did the network look at?
#
# **Grad-CAM** lights up the places that spoke for the class that was predicted. Light on the lesion is what you hope for;
# light on a ruler, a hair or a dark corner is a warning. Three images that are classified correctly (✓), and three that are
# not (✗), of those that the network is surest of:

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
# **Do not trust it yet.** Draw the network's weights at random and make the maps again (Adebayo and others, 2018): maps
# that show what was learned must change, so that their rank correlation with the first ones is well below 1. Maps that
# are constant are left out.

# %%
sanity = explain.sanity(network, pixels[:32], predicted[:32], SEED)
most = sanity["max"].max()
print(f"At most {most:.2f}; 1 would mean that nothing learned is shown.")
sanity.round(2)

# %% [markdown]
# A map that passes says where the network looked, not that it was right to look there, and not what it saw.
#
# ## Keep it

# %%
sections = {
    "In short": [decisions.in_words(patients, GUESS), dots, "The prevalence is an assumption."],
    "The threshold": [chosen, "Chosen on validation; with 95 % intervals.",
                      roc, "Dot: the chosen threshold."],
    "Calibration": [reliability, calibrated.round(3), said],
    "Is it worth it?": [worth, "It helps only where its curve lies above both others."],
    "Sets of classes": [
        covering, "Coverage is guaranteed only for images like those of validation.",
        doubt.round(2), "Unlike: farther from the training images than 99 % of validation.",
    ],
    "For whom does it work?": [subgroups, "A gap is a question, not a finding."],
    "What did it look at?": [cam, "Bright: evidence for the class.", sanity.round(2)],
}

# %%
report.write(run, "decisions", f"From probabilities to decisions: {name}", sections)
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
# Cover the lesion: paint the middle half of every Test image's width and height grey (128), and let the network predict
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
