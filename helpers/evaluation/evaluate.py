"""Score every network of a run folder once, on validation, on Test and on another set, and write the report."""

import hashlib
import json
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from helpers import manifest, runs
from helpers.data import classes, duplicates, labels
from helpers.evaluation import card, clinics, decisions, explain, pictures, report, scores, shortcut
from helpers.evaluation.intervals import share, units
from helpers.training import pipeline


@dataclass
class Results:
    """What :func:`evaluate` found.

    ``predictions`` and ``test`` (labelled Test predictions, audited labels) are {network: DataFrame}, ``outside`` the
    labelled predictions of another set; ``scored`` are metrics.json's numbers, {network: dict}; ``networks`` (how
    each was trained), ``accuracies``, ``colours``, ``reveal`` and ``clinics`` (of another set, ``clinic`` in words)
    are for reading; ``positive`` are the malignant classes, or what counts as positive instead; ``recommended`` is the
    network with the highest accuracy on validation among those that survive the swap of colours.
    """

    predictions: dict
    test: dict
    scored: dict
    networks: pd.DataFrame
    accuracies: pd.DataFrame
    colours: pd.DataFrame
    reveal: pd.DataFrame
    outside: dict
    clinics: pd.DataFrame
    clinic: str
    positive: list
    recommended: str


def evaluate(run, table):
    """Score the networks of a run folder that fit its manifest ``table``, write the report, and return Results.

    ``report/`` gets metrics.json, reveal.csv and report.html. Test is scored with published and with audited labels.
    EXTERNAL_DIR and MALIGNANT are those of the notebook that calls; what it does not have is taken from notebook 05 as
    it was run. RunError if no network has predictions of Test images that the audit keeps.
    """
    given, truth = _given(run), _truth(run, table)
    seed = given["SEED"]
    predictions = {
        name: scores.read_predictions(folder / "predictions.csv", table) for name, folder in run.networks(table).items()
    }
    test = {name: scores.labelled(_part(rows, "test"), truth["audited"]) for name, rows in predictions.items()}
    if not sum(map(len, test.values())):
        raise runs.RunError("No network has predictions of Test images that the audit keeps: 01's ledger says why.")
    other = other_set(run, table)
    scored, swapped, outside = {}, {}, {}
    for name, rows in predictions.items():
        scored[name] = {"val": scores.score(scores.labelled(_part(rows, "val")), seed)}
        on_test = {which: scores.labelled(_part(rows, "test"), label) for which, label in truth.items()}
        scored[name]["test"] = {which: scores.score(part, seed) for which, part in on_test.items()}
        if (run.folder / name / "model.keras").exists():
            swapped[name] = scored[name]["colours"] = colours_of(run.folder / name, table, seed)
            if len(other):
                outside[name] = predict_other(*explain.open_network(run.folder / name), table, other)
    reveal = shortcut.reveal(table, predictions, swapped, outside)
    _complete(scored, reveal, outside, table, truth, seed)
    positive, best = decisions.positive_classes(table, given.get("MALIGNANT", "")), recommended(scored)
    measured = clinics.measure(outside, predictions, positive, given.get("SENSITIVITY", 0.9), seed)
    for name, places in measured.items():
        scored[name]["clinics"] = places
    report.write_metrics(run, table, scored)
    manifest.write_text(reveal.to_csv(), run.folder / "report" / "reveal.csv")
    results = Results(
        predictions,
        test,
        scored,
        report.networks(run.folder, scored),
        report.accuracies(scored),
        report.colours(scored),
        reveal,
        outside,
        clinics.table(measured),
        clinics.sentence(measured, best),
        positive,
        best,
    )
    card.write(run, table, results)
    _write_report(run, table, results, given.get("PREVALENCE", 0.02))
    return results


def other_set(run, table):
    """Return the images of EXTERNAL_DIR that are new and of a learned class, as manifest rows; none without one."""
    folder = _given(run).get("EXTERNAL_DIR")
    known = labels.official_labels(table, file=run.folder / "metadata.csv") if folder else None
    return scores.external(folder, table, _learned(table), known) if folder else table[:0]


def by_colours(network, load, table, seed):
    """Return a network's accuracy on validation by colours, see ``shortcut.colours``.

    ``load`` takes manifest rows and returns pixels; the outputs are the classes of training, by alphabet.
    """
    val = manifest.active(table, "val")
    predict = partial(network.predict, batch_size=64, verbose=0)
    return shortcut.colours(predict, load(val), val, _learned(table), seed)


def predict_other(network, load, table, other):
    """Return the predictions of the ``other`` set, labelled, with its groups and collections; eight views an image."""
    rows = scores.predictions_table(other, pipeline.average_views(network, load(other)), _learned(table))
    return rows.assign(group=other["group"].tolist(), collection=other["collection"].tolist())


def numbers(network, load, table, other, swapped):
    """Return what to compare two states of a network by, {name: number}: see :func:`by_colours` for the arguments.

    Accuracy on validation, also by the colours ``swapped`` (of :func:`by_colours`); recall and AUC of melanoma and
    nevus on the ``other`` set.
    """
    val = manifest.active(table, "val")
    rows = scores.predictions_table(val, network.predict(load(val), batch_size=64, verbose=0), _learned(table))
    found = {"validation": float(scores.outcomes(rows)["correct"].mean())}
    names = {"same_collection": "colours of the same collection", "other_collection": "colours of another collection"}
    found |= {text: swapped[key] for key, text in names.items() if key in swapped}
    if len(other):
        outside = predict_other(network, load, table, other)
        recall = scores.per_class(outside)["recall"].reindex(["nevus", "melanoma"]).add_prefix("other set, recall of ")
        recall["other set, AUC"] = shortcut.melanoma_auc(outside)
        found |= recall.dropna().to_dict()
    return found


def on_validation(run, table, without):
    """Return the validation accuracy of each network of a run folder but one, as ``figures.shares`` takes them."""
    rows = {}
    for name, folder in run.networks(table).items():
        val = scores.labelled(_part(scores.read_predictions(folder / "predictions.csv", table), "val"))
        rows[report.plain(name)] = share(scores.outcomes(val)["correct"], units(val))
    return pd.DataFrame(rows, ["value", "low", "high"]).T.drop(without, errors="ignore")


def recommended(scored):
    """Return the network with the highest accuracy on validation among those that survive the swap of colours.

    If none does, the one that keeps most of its accuracy; Test has no say.
    """
    kept = {name: shortcut.kept(found.get("colours")) for name, found in scored.items()}
    fit = [name for name in scored if kept[name] >= shortcut.SURVIVES] or [max(kept, key=kept.get)]
    return max(fit, key=lambda name: scored[name]["val"]["accuracy"])


def _learned(table):
    return sorted(manifest.active(table, "train")["label"].unique())


def _given(run):
    """Return the parameters of the notebook that calls; what it leaves empty is as notebook 05 was run."""
    own = {name: value for name, value in run.parameters.items() if value != ""}
    return run.parameters | runs.recorded(run.folder, "05_evaluation").get("parameters", {}) | own


def _part(rows, split):
    return rows[rows["split"] == split]


def _truth(run, table):
    """Return the published and the audited labels of all images, each a Series by image_id."""
    audited = table
    if run.parameters["LABELS"] == "published":
        official = labels.official_labels(table, file=run.folder / "metadata.csv")
        grouped = duplicates.group(table, official)
        audited = labels.apply_labels(grouped, "audited", official, run.parameters["MIN_CLASS_SIZE"])
    return {
        "published": table.set_index("image_id")["published_label"],
        "audited": audited.set_index("image_id")["label"],
    }


def _complete(scored, reveal, outside, table, truth, seed):
    """Add to each network's numbers: another clinic's Test images, another set, and the largest class's accuracy."""
    largest = manifest.active(table, "train")["label"].mode()[0]
    test = table.loc[table["split"] == "test", "image_id"]
    always = {which: float((label[test][label[test] != ""] == largest).mean()) for which, label in truth.items()}
    for name, found in scored.items():
        found["majority"] = {"class": largest, **always}
        if (name, "Test, another clinic") in reveal.index:
            row = reveal.loc[name, "Test, another clinic"]
            found["another_clinic"] = {"n": int(row["images"]), "right": int(row["right"]), "accuracy": row["value"]}
        if name in outside:
            recall = scores.per_class(outside[name])["recall"].dropna().to_dict()
            found["external"] = scores.score(outside[name], seed) | {"recall": recall}
            if not np.isnan(auc := shortcut.melanoma_auc(outside[name])):
                found["external"]["auc_melanoma_nevus"] = auc


def colours_of(folder, table, seed):
    """Return a stored network's accuracy by colours, kept in ``colours.json``, as several notebooks ask for it."""
    facts = f"{manifest.fingerprint(table)} {seed}".encode()
    key = hashlib.sha256((folder / "model.keras").read_bytes() + facts).hexdigest()[:12]
    kept = report.read_json(folder / "colours.json")
    if kept.get("key") != key:
        print(f"Scoring {report.plain(folder.name)} with other colours …")
        kept = {"key": key, "colours": by_colours(*explain.open_network(folder), table, seed)}
        manifest.write_text(json.dumps(kept), folder / "colours.json")
    return kept["colours"]


def _write_report(run, table, results, prevalence):
    """Write ``report/report.html`` of all networks; what needs one network shows the recommended one."""
    name, synthetic = results.recommended, run.images.synthetic
    shown, test = scores.outcomes(results.test[name]), results.scored[name]["test"]["audited"]
    skin, patients = all(map(classes.is_known, scores.classes(shown))), None
    if skin and shown["label"].isin(results.positive).nunique() == 2:
        view = shown.assign(
            truth=shown["label"].isin(results.positive), probability=shown["predicted"].isin(results.positive)
        )
        patients = decisions.per_thousand(decisions.operating_point(view, 0.5), prevalence)
    majority = results.scored[name]["majority"]
    words = report.in_words(
        test, (majority["class"], majority["audited"]), patients, prevalence, results.scored[name].get("external")
    )
    answer = shortcut.answer(results.reveal, run.answer("04_dropout_augmented_cnn", "CHOICE", name))
    best = f"{report.plain(name)}: the best on validation of those that survive the swap of colours"
    sections = {
        "In plain words": [*words, f"These are the numbers of {best}."],
        "The camera or the lesion?": [shortcut.figure(results.reveal, answer, None, synthetic), answer],
        "All networks": [
            results.accuracies.reset_index(),
            "With 95 % intervals; several images of one lesion count as one.",
            results.networks.reset_index(),
            "Networks of other image sizes, epochs or seeds differ in more than their layers.",
        ],
        "Colours of other images": [
            results.colours.reset_index(),
            "Accuracy on validation with an image's own colours, and with those of images of the same or of another "
            "collection.",
        ],
        "Another set": [results.clinics.reset_index(), results.clinic],
        "Class by class": [scores.per_class(results.test[name], results.positive).round(2), f"Test, {best}."],
        "Confusion matrix": [scores.confusion(results.test[name], results.positive), "Rows: true; columns: predicted."],
        "Predictions": [
            pictures.examples(results.test[name], name, table, synthetic, run.parameters["SEED"]),
            "The true class, then the three most probable ones.",
        ],
    }
    report.write(run, "report", f"{'Skin-lesion' if skin else 'Image'} classification: what the scores mean", sections)
