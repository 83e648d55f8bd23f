"""Score every network of a run folder once, on validation, on Test and on another set, and write the report."""

import json
from dataclasses import dataclass
from functools import partial

import pandas as pd

from helpers import manifest, runs
from helpers.data import classes, duplicates, labels, review
from helpers.evaluation import card, clinics, decisions, explain, intervals, pictures, report, scores, shortcut
from helpers.training import pipeline


@dataclass
class Results:
    """What :func:`evaluate` found.

    ``places`` are {network: {place: rows}}: of validation, Test (audited labels), the Test images whose class training
    has from other collections only (``shortcut.UNSEEN``) and another set, the outcomes (see ``scores.outcomes``),
    with all that the manifest and ``labels.official_labels`` say of each image; a place without images is left out.
    ``scored`` are metrics.json's numbers, {network: dict}. ``networks`` (how each was trained), ``accuracies``,
    ``colours`` and ``reveal`` are tables for reading; ``clinics`` is a list of one, of none without another set, and
    ``clinic`` a sentence about it. ``positive`` are the malignant classes, or what counts as positive instead;
    ``recommended`` is the network with the highest accuracy on validation among those that survive the swap of colours.
    """

    places: dict
    scored: dict
    networks: pd.DataFrame
    accuracies: pd.DataFrame
    colours: pd.DataFrame
    reveal: pd.DataFrame
    clinics: list
    clinic: str
    positive: list
    recommended: str


def evaluate(run, table):
    """Score the networks of a run folder that fit its manifest ``table``, write the report, and return Results.

    ``report/`` gets metrics.json, reveal.csv, report.html and model_card.md. Test is scored with published and with
    audited labels. EXTERNAL_DIR and MALIGNANT are those of the notebook that calls; what it does not have is taken from
    notebook 05 as it was run. RunError if no network has predictions of Test images that the audit keeps.
    """
    given, other = _given(run), other_set(run, table)
    official = labels.official_labels(table, file=run.folder / "metadata.csv")
    facts = table.drop(columns=["split", "label", "group"]).join(official, on="image_id")
    truth, away, places, scored = _truth(run, table, official), shortcut.elsewhere(table), {}, {}
    for name, folder in run.networks(table).items():
        rows = scores.read_predictions(folder / "predictions.csv", table).merge(facts, on="image_id")
        on_test = {which: scores.labelled(rows[rows["split"] == "test"], label) for which, label in truth.items()}
        parts = {"validation": scores.labelled(rows[rows["split"] == "val"]), "Test": on_test["audited"]}
        parts[shortcut.UNSEEN] = parts["Test"][parts["Test"]["image_id"].isin(away)]
        parts["another set"] = on_other_set(folder, table, other)
        places[name] = {place: scores.outcomes(part) for place, part in parts.items() if len(part)}
        scored[name] = _numbers(places[name], on_test, table, given["SEED"])
        scored[name]["colours"] = colours_of(folder, table, given["SEED"])
    if not any("Test" in parts for parts in places.values()):
        raise runs.RunError("No network has predictions of Test images that the audit keeps: 01's ledger says why.")
    best, swapped = recommended(scored), {name: found["colours"] for name, found in scored.items()}
    true = (places[best][place]["label"] for place in ("validation", "Test"))
    positive = decisions.positive(table, *true, given.get("MALIGNANT", ""))
    how = given.get("SENSITIVITY", 0.9), given["SEED"]
    measured = {name: clinics.measure(parts, positive, *how) for name, parts in places.items()}
    tables = report.networks(run.folder, scored), report.accuracies(scored), report.colours(scored)
    elsewhere = shortcut.reveal(places, swapped), clinics.table(measured), clinics.sentence(measured[best], best)
    results = Results(places, scored, *tables, *elsewhere, positive, best)
    report.write_metrics(run, table, {name: found | {"clinics": measured[name]} for name, found in scored.items()})
    manifest.write_text(results.reveal.to_csv(), run.folder / "report" / "reveal.csv")
    card.write(run, table, results)
    _write_report(run, results, given.get("PREVALENCE", 0.02))
    return results


def other_set(run, table):
    """Return the images of EXTERNAL_DIR that are new and of a learned class, as manifest rows; none without one."""
    if not (folder := _given(run).get("EXTERNAL_DIR")):
        return table[:0]
    official = labels.official_labels(table, file=run.folder / "metadata.csv")
    return scores.external(folder, table, _learned(table), official)


def by_colours(network, load, table, seed):
    """Return a network's accuracy on validation by colours, see ``shortcut.colours``.

    ``load`` takes manifest rows and returns pixels; the outputs are the classes of training, by alphabet.
    """
    val, predict = manifest.active(table, "val"), partial(explain.predict, network)
    return shortcut.colours(predict, load(val), val, _learned(table), seed)


def colours_of(folder, table, seed):
    """Return a stored network's accuracy by colours, kept in the run's cache; {} if only its predictions are here."""
    if not (folder / "model.keras").exists():
        return {}
    file = explain.cached(folder, "colours-{}.json", manifest.fingerprint(table), seed)
    if not file.exists():
        print(f"Scoring {report.plain(folder.name)} with other colours …")
        manifest.write_text(json.dumps(by_colours(*explain.open_network(folder), table, seed)), file)
    return report.read_json(file)


def predict_other(network, load, table, other):
    """Return the labelled predictions of the images of :func:`other_set`, eight views an image."""
    return scores.predictions_table(other, pipeline.average_views(network, load(other)), _learned(table))


def on_other_set(folder, table, other):
    """Return a stored network's predictions of another set, kept in the run's cache, and what is known of its images.

    No rows if there is no other set, or only predictions of the network are here.
    """
    if other.empty or not (folder / "model.keras").exists():
        return other[:0]
    file = explain.cached(folder, "other-{}.csv", manifest.fingerprint(table), manifest.fingerprint(other))
    if not file.exists():
        print(f"{report.plain(folder.name).capitalize()} predicts another set …")
        found = predict_other(*explain.open_network(folder), table, other)
        manifest.write_text(found.to_csv(index=False), file)
    return scores.read_predictions(file).drop(columns=["split", "label"]).merge(other, on="image_id")


def numbers(rows, swapped, network, load, table, other):
    """Return what to compare two states of a network by, {name: number}: see :func:`by_colours` for the arguments.

    Accuracy on validation by its predictions, ``rows``, and with the colours ``swapped`` (of :func:`by_colours`);
    recall and AUC of melanoma and nevus on the ``other`` set.
    """
    found = {"validation": float(scores.outcomes(rows)["correct"].mean())}
    names = {"same_collection": "colours of the same collection", "other_collection": "colours of another collection"}
    found |= {text: swapped[key] for key, text in names.items() if key in swapped}
    if len(other):
        outside = predict_other(network, load, table, other)
        recall = scores.per_class(outside)["recall"].reindex(["nevus", "melanoma"]).add_prefix("other set, recall of ")
        recall["other set, AUC"] = decisions.area(decisions.melanoma_or_nevus(outside))["auc"]
        found |= recall.dropna().to_dict()
    return found


def on_validation(run, table, new=None):
    """Return the accuracies on validation of the networks of 03 and 04, as ``figures.shares`` takes them.

    Those of ``new`` predictions, {name: rows}, come last.
    """
    networks = [place for name, place in run.networks(table).items() if name != "transfer"]
    files = {report.plain(place.name): place / "predictions.csv" for place in networks}
    parts = {name: scores.read_predictions(file, table).query("split == 'val'") for name, file in files.items()}
    found = intervals.shares(parts | (new or {}), lambda rows: scores.outcomes(scores.labelled(rows))["correct"])
    return found.assign(colour=shortcut.PLACES["validation"][0])


def in_other_colours(run, table, new, rows, seed):
    """Return accuracies on validation in another collection's colours: of 03's and 04's networks, then of ``new`` ones.

    ``new`` is {name: what :func:`by_colours` says}. The last of them is marked as what the reader guessed; where there
    is one collection only, it alone is new, by its predictions of validation, ``rows``, and colours stay their own.
    """
    name = list(new)[-1]
    networks = {key: folder for key, folder in run.networks(table).items() if key != "transfer"}
    scored = {report.plain(key): colours_of(folder, table, seed) for key, folder in networks.items()} | new
    found = pd.DataFrame({"value": {key: of["other_collection"] for key, of in scored.items() if of}})
    found["colour"], _ = shortcut.PLACES["validation, colours of another collection"]
    found = found if new[name] else on_validation(run, table, {name: rows})
    return found.assign(guessed=found.index == name)


def recommended(scored):
    """Return the network with the highest accuracy on validation among those that survive the swap of colours.

    If none does, the one that keeps most of its accuracy; Test has no say.
    """
    kept = {name: shortcut.kept(found["colours"]) for name, found in scored.items()}
    fit = [name for name in scored if kept[name] >= shortcut.SURVIVES] or [max(kept, key=kept.get)]
    return max(fit, key=lambda name: scored[name]["val"]["accuracy"])


def _learned(table):
    return sorted(manifest.active(table, "train")["label"].unique())


def _given(run):
    """Return the parameters of the notebook that calls; what it leaves empty is as notebook 05 was run."""
    own = {name: value for name, value in run.parameters.items() if value != ""}
    return run.parameters | runs.recorded(run.folder, "05_evaluation").get("parameters", {}) | own


def _truth(run, table, official):
    """Return the published and the audited labels of all images, each a Series by image_id."""
    audited = table
    if run.parameters["LABELS"] == "published":
        grouped = duplicates.group(table, official)
        audited = labels.apply_labels(grouped, "audited", official, run.parameters["MIN_CLASS_SIZE"])
    by_image = {"published": table["published_label"], "audited": audited["label"]}
    return {which: label.set_axis(table["image_id"]) for which, label in by_image.items()}


def _numbers(parts, on_test, table, seed):
    """Return the scores of one network, of whose :class:`Results` these are the places, for metrics.json."""
    largest = manifest.active(table, "train")["label"].mode()[0]
    found = {"val": scores.score(parts["validation"], seed)}
    found["test"] = {which: scores.score(rows, seed) for which, rows in on_test.items()}
    always = {which: float((rows["label"] == largest).mean()) for which, rows in on_test.items()}
    found["majority"] = {"class": largest} | always
    if shortcut.UNSEEN in parts:
        found["unseen_at_clinic"] = scores.score(parts[shortcut.UNSEEN], seed)
    if "another set" in parts:
        rows = parts["another set"]
        found["external"] = scores.score(rows, seed) | {"recall": scores.per_class(rows)["recall"].dropna().to_dict()}
        found["external"]["auc_melanoma_nevus"] = decisions.area(decisions.melanoma_or_nevus(rows))["auc"]
    return found


def _write_report(run, results, prevalence):
    """Write ``report/report.html`` of all networks; what needs one network shows the recommended one."""
    name, synthetic, patients = results.recommended, run.images.synthetic, None
    test, found = results.places[name]["Test"], results.scored[name]
    positive, skin = results.positive, classes.subject(scores.classes(test)) == "skin-lesion"
    truth, flagged = (test[column].isin(positive) for column in ("label", "predicted"))
    if classes.malignant(positive) == positive and truth.nunique() == 2:
        point = decisions.operating_point(test.assign(truth=truth, probability=flagged), 0.5)
        patients = decisions.per_thousand(point, prevalence)
    question = "The camera or the lesion?" if skin else "The camera or the object?"
    first = results.reveal["value"].unstack()[["validation", "Test"]].idxmax().map(report.plain)
    other, by_class = results.networks.iloc[:, -1] != "–", scores.per_class(test, positive).round(2)
    left = {each: 100 * shortcut.kept(of["colours"]) for each, of in results.scored.items() if of["colours"]}
    left = review.ends(pd.Series(left).rename(report.plain), "%") if left else ""
    best = f"{report.plain(name)}: the best on validation{' of those that survive the swap of colours' * bool(left)}"
    sections = {
        "In plain words": [*report.in_words(found, patients, prevalence, skin), f"These are the numbers of {best}."],
        question: shortcut.figure(results.reveal, shortcut.answer(results.reveal), None, synthetic),
        "All networks": [
            "Most accurate on validation: {}; on Test: {}".format(*first),
            results.accuracies.reset_index(),
            f"With 95% intervals; several images of one {'lesion' if skin else 'object'} count as one. "
            "Unseen pairs are Test images whose class and collection training never saw together.",
            f"{other.sum()} of {len(other)} networks were trained with other parameters than one above",
            results.networks.reset_index(),
            "Layers, augmentation, schedule and colours, in which the notebooks differ, are not listed.",
        ],
        "Colours of other images": [
            f"Another collection's colours leave {left} of the accuracy",
            results.colours.reset_index(),
            "Accuracy on validation. The share is of what colours of the same collection leave.",
        ],
        "Another set": [results.clinic, *[each.reset_index() for each in results.clinics]],
        "Class by class": [
            f"Recall: {review.ends(100 * by_class['recall'], '%')}",
            by_class.reset_index(),
            f"Test, {best}.",
        ],
        "Confusion matrix": [scores.missed(test, positive), scores.confusion(test, positive), "Rows are true classes."],
        "Predictions": [
            pictures.examples(test, name, synthetic, run.parameters["SEED"]),
            "The true class, then the two most probable ones.",
        ],
    }
    if not left:
        del sections["Colours of other images"]
    report.write(run, "report", f"{'Skin-lesion' if skin else 'Image'} classification: what the scores mean", sections)
