# %% [markdown]
# # 5 · What do the scores mean?
#
# **In half an hour you will score both networks on Test, once, and learn how little and how much such a score says.**
#
# {{badge}}

# %% [markdown]
# You will
#
# - **score** accuracy, precision, recall and F1, with the interval that goes with each;
# - **read** the confusion matrix, and find the costly confusions in it;
# - **compare** the two networks on the same images, with a test;
# - **calibrate** the probabilities, so that they mean what they say;
# - **decide** who is flagged, and count what that would mean for a thousand patients;
# - **look** at the images that were misclassified, and at what the network looked at;
# - **judge** what may be claimed, and what may not.
#
# This is teaching material, not a medical device. Nothing here may be used to judge anybody's skin.

# %%
# {{setup}}

# %% tags=["parameters"]
DATA_DIR = ""  # @param {type:"string"} folder of the images; empty: look for one, else the synthetic sample
OUT_DIR = "runs/course"  # @param {type:"string"} run folder; a path under /content/drive/MyDrive outlives Colab
LABELS = "audited"  # @param ["audited", "published"] which labels to learn from
METADATA = ""  # @param {type:"string"} CSV of official labels and lesions; empty: the one that comes with the course
MIN_CLASS_SIZE = 20  # @param {type:"integer"} a class with fewer training images is left out
SENSITIVITY = 0.9  # @param {type:"number"} share of the cancers that the threshold must find on validation
PREVALENCE = 0.02  # @param {type:"number"} share of patients assumed to have what is asked for; not known from images
OTHER_RUNS = ""  # @param {type:"string"} run folders of other seeds, separated by commas
SEED = 0  # @param {type:"integer"} the same number gives the same split, images and networks

# %%
# %matplotlib inline
import itertools
from pathlib import Path

import keras
import numpy as np
import pandas as pd
from IPython.display import Markdown, display
from sklearn import metrics

from helpers import (audit, calibration, course, decisions, evaluation, explain, manifest, pipeline, plots_evaluation,
                     report)

# %% [markdown]
# ## The answers
#
# Notebooks 03 and 04 kept one row an image: its split, its label, and a probability for each class. Evaluation reads
# only this table, so it can score any model: a `predictions.csv` of your own, in a folder of its own in the run folder,
# is scored too. Notebooks that have not run yet are run now.

# %%
out_dir = course.open_folder(OUT_DIR)
images, table = course.open_run(globals())
course.ensure("03_baseline_cnn", globals())
course.ensure("04_dropout_augmented_cnn", globals())
print(f"Images: {images.source}{' (SYNTHETIC: drawings, not patients)' if images.synthetic else ''}")

# %%
MODELS = {file.parent.name: evaluation.read_predictions(file, table)
          for file in sorted(out_dir.glob("*/predictions.csv"))}
MODELS["regularised"].head(3).round(2)

# %% [markdown]
# ## Against which labels?
#
# Test can be scored against the folder names (**published**: every readable image, as everybody else does) or against
# the labels that survived the audit (**audited**). The first is comparable; the second is meaningful. See both.

# %%
metadata = audit.official_labels(METADATA, images.root)
audited = table if LABELS == "audited" else audit.apply_labels(audit.group(table, metadata), "audited", metadata,
                                                              MIN_CLASS_SIZE)
TRUTH = {"published": table.set_index("image_id")["published_label"], "audited": audited.set_index("image_id")["label"]}
test = {(name, truth): evaluation.labelled(answers[answers["split"] == "test"], TRUTH[truth])
        for name, answers in MODELS.items() for truth in TRUTH}
val = {name: evaluation.labelled(answers[answers["split"] == "val"]) for name, answers in MODELS.items()}

# %% [markdown]
# How many images are there to learn the truth from? Expect few. Everything below goes into a page, the report; begin
# it.

# %% tags=["nbval-check-output"]
counts = pd.DataFrame({truth: test["regularised", truth]["label"].value_counts() for truth in TRUTH})
counts = counts.reindex(evaluation.by_malignancy(counts.index)).fillna(0).astype(int).rename_axis("class")
page = {"In plain words": [], "How to read this page": report.READING, "Test images by class and set of labels": counts}
counts

# %% [markdown]
# ## Accuracy, and how far to trust it
#
# Accuracy is the share of images named rightly. On few images it is a rough number: the interval (Wilson, 95 %) says
# how rough. Balanced accuracy gives every class the same weight; macro-F1 does too, and counts false calls. Their
# intervals come from drawing the lesions anew, again and again, with replacement (bootstrap).

# %%
scores = {name: {"val": evaluation.score(val[name], intervals=True, seed=SEED),
                 "test": {truth: evaluation.score(test[name, truth], intervals=True, seed=SEED) for truth in TRUTH}}
          for name in MODELS}
rows = {(name, place): values for name, both in scores.items()
        for place, values in {"validation": both["val"], "Test, published": both["test"]["published"],
                              "Test, audited": both["test"]["audited"]}.items()}
measures = ["accuracy", "balanced_accuracy", "macro_f1"]
page["Scores, with 95 % intervals"] = pd.DataFrame(
    {place: {"images": values["n"]} | {name: report.estimate(values, name) for name in measures}
     for place, values in rows.items()}).T
page["Scores, with 95 % intervals"]

# %% [markdown]
# Look at the widths before the values. And look at validation: it chose the epoch that was kept, and its classes come
# in the proportions of training, so it flatters.
#
# Check a number by hand, with scikit-learn: the same accuracy, from the same answers.

# %%
called = evaluation.outcomes(test["regularised", "audited"])
by_hand = metrics.accuracy_score(called["label"], called["predicted"])
print(f"accuracy {by_hand:.3f}")
assert by_hand == scores["regularised"]["test"]["audited"]["accuracy"]

# %% [markdown]
# Four scores look at the probabilities too. **AUC**: how well each class is ranked before the rest (0.5 is chance).
# **Top-2**: is the truth among the first two? **Log loss** and **Brier** punish an answer that is sure and wrong; lower
# is better. Log loss is not defined where Test holds a class that the network never learned.

# %%
measures = ["auc_ovr", "top2_accuracy", "log_loss", "brier"]
page["Scores of the probabilities"] = pd.DataFrame(
    {place: {name: report.estimate(values, name) for name in measures} for place, values in rows.items()}).T
page["Scores of the probabilities"]

# %% [markdown]
# ## Class by class
#
# **Precision**: of the images called melanoma, how many are? **Recall**: of the melanomas, how many were found? **F1**
# is their harmonic mean. **Support** is the number of images; where it is small, the warning means it: the interval of
# the recall then spans nearly everything.

# %%
for name in MODELS:
    page[f"Class by class, {name}"] = evaluation.per_class(test[name, "audited"]).round(2)
    print(name)
    display(page[f"Class by class, {name}"])

# %%
page["Class by class, regularised, as bars"] = plots_evaluation.class_bars(
    evaluation.per_class(test["regularised", "audited"]), title="Regularised, Test, audited labels",
    synthetic=images.synthetic)
page["Class by class, regularised, as bars"]

# %% [markdown]
# ## The confusion matrix
#
# Rows are the true classes, columns the network's, both ordered from malignant to harmless; the diagonal is right. The
# lines part cancers from the rest. At the lower left lie false alarms. At the upper right lie the costly ones: a cancer
# taken for something harmless.

# %%
page["Confusion matrix, baseline"] = plots_evaluation.confusion_matrix(
    evaluation.confusion(test["baseline", "audited"]), title="Baseline, Test, audited labels",
    synthetic=images.synthetic)
page["Confusion matrix, baseline"]

# %%
page["Confusion matrix, regularised"] = plots_evaluation.confusion_matrix(
    evaluation.confusion(test["regularised", "audited"]), title="Regularised, Test, audited labels",
    synthetic=images.synthetic)
page["Confusion matrix, regularised"]

# %% [markdown]
# The costliest confusions of the regularised network, by name: first the cancers called harmless, then the false
# alarms.

# %%
costly = evaluation.costliest(test["regularised", "audited"]).head(8).set_index("kind")
page["Costliest confusions, regularised"] = costly
costly.round(2)

# %% [markdown]
# ## Is one network better?
#
# Both were asked about the same images, so count only where they differ. McNemar's test asks how likely such a split
# would be if both were equally good; the interval comes from drawing the same images for both (paired bootstrap).

# %%
difference = evaluation.compare(test["regularised", "audited"], test["baseline", "audited"], seed=SEED)
page["Is one network better?"] = [
    f"On {difference['n']} images, only the regularised network is right on {difference['only_a_right']}, only the "
    f"baseline on {difference['only_b_right']} (McNemar p = {difference['mcnemar_p']:.3f}).",
    f"The difference in accuracy is {report.estimate(difference, 'difference')}, with its 95 % interval."]
display(Markdown("\n\n".join(page["Is one network better?"])))

# %% [markdown]
# If the interval holds zero, these images do not say which network is better, whatever the two accuracies are.

# %%
named = {f"{name}, {truth}": test[name, truth] for truth in TRUTH for name in MODELS}
page["The models side by side"] = plots_evaluation.comparison(
    evaluation.scores_table(named, seed=SEED), title="Test, both sets of labels", synthetic=images.synthetic)
page["The models side by side"]

# %% [markdown]
# **Another seed is another network.** Train the course with other seeds, name their run folders in `OTHER_RUNS`, and
# report the spread. The best of several seeds is not a result: Test would have chosen it.

# %%
folders = [out_dir, *(Path(part.strip()).expanduser() for part in OTHER_RUNS.split(",") if part.strip())]
seeds = pd.DataFrame(index=[str(folder) for folder in folders], columns=["baseline", "regularised"], dtype=float)
for folder, name in itertools.product(folders, seeds):
    answers = evaluation.read_predictions(folder / name / "predictions.csv").query("split == 'test'")
    seeds.loc[str(folder), name] = evaluation.score(evaluation.labelled(answers, TRUTH["audited"]))["accuracy"]
if len(folders) > 1:
    page["Accuracy over seeds"] = seeds.agg(["count", "min", "mean", "max", "std"])
    display(page["Accuracy over seeds"].round(3))
else:
    print("One seed only: how far the accuracy varies from training to training is not known from this run.")

# %% [markdown]
# ## Do the probabilities mean what they say?
#
# Of all answers given with seventy per cent, seventy in a hundred should be right. The **reliability diagram** puts the
# answers into ten bins of equal width and compares; the **calibration error** is the mean gap. **Temperature scaling**
# may mend it with one number, fitted on validation: it softens (above 1) or sharpens (below 1) all probabilities, and
# changes no call.

# %%
temperatures = {name: calibration.fit_temperature(val[name]) for name in ("baseline", "regularised")}
calibrated = {name: {"val": calibration.apply_temperature(val[name], temperature),
                     "test": calibration.apply_temperature(test[name, "audited"], temperature)}
              for name, temperature in temperatures.items()}
reliable = {}
for name in calibrated:
    for state, answers in (("as trained", test[name, "audited"]), ("with temperature", calibrated[name]["test"])):
        called = evaluation.outcomes(answers)
        reliable[name, state] = calibration.reliability(called["confidence"], called["correct"], bins=10)

# %%
shown = {f"regularised, {state}": reliable["regularised", state] for state in ("as trained", "with temperature")}
page["Reliability, regularised"] = plots_evaluation.reliability_diagram(shown, title="Test, audited labels",
                                                                        synthetic=images.synthetic)
page["Reliability, regularised"]

# %% [markdown]
# Points below the line are answers that were surer than they should be. Now the numbers. On few images a calibration
# error is never zero: the last column says how large it may be by chance alone (in 95 of 100 sets as large) for a
# network that is perfectly calibrated. Only an error above that speaks against a network. A temperature near 1 had
# nothing to mend.

# %%
rows = {}
for (name, state), bins in reliable.items():
    after = state == "with temperature"
    answers = calibrated[name]["test"] if after else test[name, "audited"]
    chance = calibration.error_by_chance(evaluation.outcomes(answers)["confidence"], bins=10, seed=SEED)
    rows[name, state] = {"temperature": temperatures[name] if after else 1,
                         "log loss": evaluation.score(answers, intervals=True)["log_loss"],
                         "calibration error, 10 bins": calibration.expected_calibration_error(bins),
                         "by chance, up to": chance}
page["Calibration on Test"] = pd.DataFrame(rows).T
page["Calibration on Test"].astype(float).round(3)

# %% [markdown]
# ## Decide
#
# Nobody needs a ranking of classes at first; the question is whether to act. So add up the probabilities: **malignant
# or not**, and **melanoma or not**. Actinic keratosis is counted as not malignant here: it is a precursor, and is
# treated. From here on the probabilities are those with the temperature. For classes of your own, name the malignant
# ones below.

# %% tags=["nbval-check-output"]
questions = {"malignant or not": None, "melanoma or not": ["melanoma"]}
views = {}
for question, positive in questions.items():
    reason = decisions.unanswerable(calibrated["regularised"]["val"], calibrated["regularised"]["test"], positive)
    print(f"{question}: {f'left out. {reason}' if reason else 'asked.'}")
    if not reason:
        views |= {(question, name): {place: decisions.binary(answers, positive) for place, answers in both.items()}
                  for name, both in calibrated.items()}
asked = list(dict.fromkeys(question for question, _ in views))

# %% [markdown]
# **Choose the threshold on validation**: the highest that still finds the share `SENSITIVITY` of the cancers there.
# Then apply it to Test, once. Expect another sensitivity than the one you chose: it was chosen on other images.

# %%
points, rows = {}, {}
for key, view in views.items():
    threshold = decisions.threshold_for_sensitivity(view["val"], SENSITIVITY)
    points[key] = decisions.operating_point(view["test"], threshold)
    on_val = decisions.operating_point(view["val"], threshold)
    rows[key] = {"AUC": report.estimate(decisions.ranking(view["test"], SEED), "auc"), "threshold": round(threshold, 3),
                 "sensitivity, validation": report.estimate(on_val, "sensitivity"),
                 "found": f"{points[key]['true_positives']} of {view['test']['truth'].sum()}"}
    rows[key] |= {name: report.estimate(points[key], name) for name in ("sensitivity", "specificity", "ppv")}
if rows:
    page["The threshold of validation, on Test"] = pd.DataFrame(rows).T
    display(page["The threshold of validation, on Test"])

# %% [markdown]
# **Every threshold at once.** ROC shows the cancers found against the false alarms; precision and recall, how many of
# the flagged are cancers. The dot is the threshold above. Precision depends on how many cancers are in the set: here
# many.

# %%
for question in asked:
    chosen = {name: views[question, name]["test"] for name in calibrated}
    page[f"ROC, precision and recall: {question}"] = plots_evaluation.roc_and_precision_recall(
        chosen, {name: points[question, name] for name in chosen}, title=question, synthetic=images.synthetic)
    display(page[f"ROC, precision and recall: {question}"])

# %% [markdown]
# **Is it worth it?** The decision curve weighs found cancers against needless flags, at each risk from which you would
# act. A network is of use only where its curve lies above both flagging everybody and flagging nobody.

# %%
for question in asked:
    curves = {name: decisions.decision_curve(views[question, name]["test"]) for name in calibrated}
    page[f"Decision curve: {question}"] = plots_evaluation.decision_curves(
        curves, title=f"{question}, at the share of cancers in Test", synthetic=images.synthetic)
    display(page[f"Decision curve: {question}"])

# %% [markdown]
# **A thousand patients.** Test was collected, and holds far more cancers than a waiting room. `PREVALENCE` is the share
# of patients who have what is asked for. It is an assumption, not a finding: set it to your clinic's.

# %%
patients = {key: decisions.per_thousand(point, PREVALENCE) for key, point in points.items()}
if patients:
    page[f"Of 1,000 patients, if {1000 * PREVALENCE:.0f} have it (an assumption)"] = pd.concat(
        {key: counted.round().astype(int) for key, counted in patients.items()},
        names=["question", "network", "patients"])
    display(page[f"Of 1,000 patients, if {1000 * PREVALENCE:.0f} have it (an assumption)"])
else:
    print("No yes-or-no question can be asked of these images, so there is nothing to count.")

# %% [markdown]
# *Flagged* is everybody who is sent on, *missed* has it and is sent home, *needless* is flagged without having it. The
# columns low and high are the ends that the intervals of sensitivity and specificity allow.
#
# ## Look at predictions
#
# Test images, each with the three classes that the regularised network finds most probable. The true class is bold.

# %%
shown = evaluation.outcomes(test["regularised", "audited"]).merge(table[["image_id", "path"]], on="image_id")
some = shown.sample(min(10, len(shown)), random_state=SEED)
page["Predictions"] = plots_evaluation.gallery(some, columns=5, title="Test images, regularised network",
                                               synthetic=images.synthetic)
page["Predictions"]

# %% [markdown]
# ## The misclassified
#
# Begin with the errors that the network was surest of. Under each, look at the training image that the network finds
# most similar among those it classifies rightly: nearest by what its last layer receives. Ask of each: is the image
# poor, is the label doubtful, or has the network seen the wrong thing?

# %%
network = keras.models.load_model(out_dir / "regularised" / "model.keras", safe_mode=True)
settings = report.read_run(out_dir / "regularised")["parameters"]


def load(rows):
    """Return the pixels of manifest rows as the network was trained on them."""
    return pipeline.load(rows, settings["IMAGE_SIZE"], out_dir / "cache", settings["KEEP_ASPECT"])


# %%
learned = manifest.active(table, "train")
learned = learned.sample(min(2000, len(learned)), random_state=SEED)
received, answers = explain.features(network, load(learned))
named = np.array(evaluation.classes(MODELS["regularised"]))[answers.argmax(axis=1)]
right = (named == learned["label"]).to_numpy()
wrong = shown[~shown["correct"]].nlargest(5, "confidence")
print(f"{right.sum()} of {len(learned)} training images and {shown['correct'].sum()} of {len(shown)} test images are "
      "classified rightly.")

# %%
if len(wrong) and right.any():
    pixels = load(wrong)
    places = explain.nearest(explain.features(network, pixels)[0], received[right])[0][:, 0]
    twins = learned[right].iloc[places]
    page["Misclassified, surest first"] = plots_evaluation.mistakes(
        wrong.assign(nearest_path=twins["path"].to_numpy(), nearest_label=twins["label"].to_numpy()), columns=5,
        title="Misclassified, surest first, each over its nearest in training", synthetic=images.synthetic)
    display(page["Misclassified, surest first"])
else:
    print("No image is misclassified, or no training image is classified rightly: there is no pair to show.")

# %% [markdown]
# ## What did the network look at?
#
# **Grad-CAM** lights up the places that spoke for the class that was called. See two images that were called rightly
# and two wrongly. Light on the lesion is what you hope for; light on a ruler or a corner is a warning.

# %%
both = shown.sort_values(["correct", "confidence"], ascending=False).groupby("correct").head(2)
if len(both):
    pixels = load(both)
    called = [evaluation.classes(both).index(name) for name in both["predicted"]]
    titles = [f"{row.label}, called right" if row.correct else f"{row.label}, called {row.predicted}"
              for row in both.itertuples()]
    page["Grad-CAM"] = plots_evaluation.heatmap_overlays(
        pixels, explain.grad_cam(network, pixels, called), titles, pairs=2,
        title="Grad-CAM of the class that was called", synthetic=images.synthetic)
    display(page["Grad-CAM"])

# %% [markdown]
# **Do not trust it yet.** An edge detector would make pretty maps too, without having learned anything. So draw the
# network's weights at random and make the maps again (Adebayo and others, 2018). Maps that show what was learned
# change. Expect rank correlations well below 1, and look at their spread, not at one picture.

# %%
many = shown.sample(min(40, len(shown)), random_state=SEED)
pixels = load(many)
called = [evaluation.classes(many).index(name) for name in many["predicted"]]
alike = explain.randomised_similarity(network, pixels, called, seeds=[SEED, SEED + 1, SEED + 2])
spread = pd.DataFrame(alike.T, columns=["first draw", "second draw", "third draw"]).describe().T.drop(columns=["std"])
spread = spread.rename(columns={"count": "images", "50%": "median"}).astype({"images": int})
page["Grad-CAM beside random weights: rank correlation"] = spread
spread.round(2)

# %% [markdown]
# *Images* counts those that have a map to compare; between the columns with per cent lies half of them. Where many stay
# close to 1, the maps show the image and not the network.
#
# ## For whom does it work?
#
# Accuracy by age, sex and site, where they are known. Groups differ in their lesions too, so a gap is a question, not
# yet a finding; overlapping intervals are not even that. Grey groups are too small.

# %%
known = audit.with_metadata(shown, metadata).rename(columns={"anatom_site_general": "site"})
known["age"] = decisions.age_bands(pd.to_numeric(known["age_approx"], errors="coerce"))
groups = decisions.subgroups(known, ["age", "sex", "site"])
if set(groups["group"]) > {"unknown"}:
    page["Accuracy by age, sex and site"] = plots_evaluation.forest(
        groups, shown["correct"].mean(), title="Regularised, Test, audited labels; the line is all images",
        synthetic=images.synthetic)
    display(page["Accuracy by age, sex and site"])
else:
    print("Neither age nor sex nor site is known of these images.")

# %% [markdown]
# Hairs, rulers, bubbles and dark corners come from the taking of the picture. If accuracy falls with one of them, the
# network has not learned to see past it. Of the sample it is known which images have them.

# %%
marked, artefacts = decisions.artefacts(shown, images.root)
if artefacts:
    page["Accuracy by artefact"] = plots_evaluation.forest(
        decisions.subgroups(marked, artefacts), shown["correct"].mean(),
        title="Regularised, Test, audited labels; the line is all images", synthetic=images.synthetic)
    display(page["Accuracy by artefact"])
else:
    print("Nobody has noted the artefacts of these images (artefacts.csv): whether they go with errors is not known.")

# %% [markdown]
# ## The honest frame
#
# What do others report? Read what public notebooks of this case study say of themselves, beside your networks.
# Validation that was split after augmentation is **leaked**: copies of one lesion lie on both sides, and it says
# nothing.

# %% tags=["nbval-check-output"]
if images.synthetic:
    print("Scores on drawings cannot be compared with scores on patients' images, so nothing is compared here.")
elif set(table["published_label"]) != set(evaluation.MALIGNANT):
    print("Your images have other classes than the public case study, so nothing is compared here.")
else:
    rows = {f"this run, {name}": {"accuracy, validation": report.estimate(both["val"], "accuracy"),
                                  "accuracy, published Test": report.estimate(both["test"]["published"], "accuracy")}
            for name, both in scores.items()}
    page["What others report (comparable if Test is the published one)"] = pd.concat(
        [report.others(), pd.DataFrame(rows).T])
    display(page["What others report (comparable if Test is the published one)"])

# %% [markdown]
# The frame holds only for patients' images, and only if Test is the published one, file for file. Part of that Test is
# also in its Train, under another label, so that even an honest network is scored on wrong answers there: hence the
# audited labels above.
#
# ## Limits
#
# Say them with every score.

# %% tags=["nbval-check-output"]
page["Limits"] = [
    "Skin tones: such collections show mostly light skin; nothing is known of other skin.",
    "Acquisition: cameras, dermatoscopes and clinics are those of the collection; others were not tested.",
    f"Tiny classes: {(counts['audited'] < evaluation.FEW).sum()} of {len(counts)} classes have fewer than "
    f"{evaluation.FEW} audited test images.",
    "Actinic keratosis is counted as not malignant: it is a precursor of cancer.",
    "Validation chose the epoch, the temperature and the threshold, so scores on validation flatter.", report.NOTICE]
print(*page["Limits"], sep="\n")

# %% [markdown]
# ## Say it in plain words
#
# Three sentences that a doctor could accept: what was found, what it would mean, what was not tried.

# %%
asked_first = ("malignant or not", "regularised")
words = report.in_words("regularised", scores["regularised"]["test"]["audited"], counts["audited"],
                        points.get(asked_first), patients.get(asked_first), PREVALENCE, images.synthetic)
page["In plain words"] = words
display(Markdown("\n\n".join(words)))

# %% [markdown]
# ## Keep it
#
# All scores, with their intervals, go into `metrics.json`; all tables and figures into one page, `report.html`, that
# you can open on a phone or send. Images of patients are in it: mind their licence.

# %%
page["How it was made"] = report.run_record(out_dir, MODELS)
print(report.write_metrics(out_dir, images, table, LABELS, scores))
print(report.write_page(out_dir, "Skin-lesion classification: what the scores mean", page, images.synthetic))
course.done("05_evaluation", globals())

# %% [markdown]
# ## What you saw
#
# - **Score**: an accuracy without its interval is half a number, and on few images the interval is wide.
# - **Read**: the mean hides which class pays for it; the matrix shows it.
# - **Compare**: on the same images, counting only where the networks differ; seeds as a spread.
# - **Calibrate**: one number, fitted on validation, softens or sharpens; on few images chance hides what it mends.
# - **Decide**: a threshold is chosen before Test is seen; a thousand patients say what it costs.
# - **Look**: sure and wrong is the worst answer a network can give; a heatmap needs its own test.
# - **Judge**: a score on these labels and cameras says nothing about the next clinic's patients.
#
# ## Exercises
#
# 1. Run the course with `LABELS = "published"`. Which score changes more, published or audited?
# 2. Set `SENSITIVITY = 0.99`. How many needless flags does each further cancer cost?
# 3. Train with `SEED` 1 and 2 into other folders and name them in `OTHER_RUNS`. Is the difference between the networks
#    larger than the spread over seeds?
# 4. How many test images would halve the interval of the accuracy?
