"""Images of other clinics, collection by collection, beside what validation promised."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_curve

from helpers.evaluation import decisions, report, scores
from helpers.evaluation.report import plain

QUESTIONS = {  # what is asked of an image, and the images of either answer
    "melanoma or nevus": ("melanomas", "nevi"),
    "positive or not": ("positives", "others"),
}


def measure(outside, predictions, positive, sensitivity=0.9, seed=0):
    """Return how networks do on validation and on each collection of another set, {network: {place: numbers}}.

    ``outside`` {network: labelled predictions with a ``collection``}; ``predictions`` {network: those of the manifest};
    ``positive`` are the classes that a decision is about. The numbers of a place are those of ``scores.score``;
    promised, the balanced accuracy on validation of the classes that the place has; and for each of ``QUESTIONS`` to
    which validation and the place have images of both answers, its ``decisions.operating_point`` and
    ``decisions.area``. The threshold is the highest that finds at least the share ``sensitivity`` on validation.
    """
    measured = {}
    for name, other in outside.items():
        val = scores.labelled(predictions[name][predictions[name]["split"] == "val"])
        thresholds = {question: _threshold(view, sensitivity) for question, view in _views(val, positive).items()}
        parts = {"validation": val} | dict(list(other.groupby(other["collection"].replace("", "unknown collection"))))
        measured[name] = {}
        for place, part in parts.items():
            promised = scores.score(val[val["label"].isin(part["label"])], seed)["balanced_accuracy"]
            asked = {question: view for question, view in _views(part, positive).items() if question in thresholds}
            measured[name][place] = scores.score(part, seed) | {"promised": promised}
            measured[name][place] |= {
                question: decisions.operating_point(view, thresholds[question]) | decisions.area(view)
                for question, view in asked.items()
            }
    return measured


def table(measured):
    """Return what :func:`measure` found as a table for reading: a row for each network and place, 95 % intervals."""
    rows = {}
    for name, places in measured.items():
        for place, numbers in places.items():
            row = {"images": numbers["n"], "balanced accuracy": report.estimate(numbers, "balanced_accuracy")}
            row["the same classes on validation"] = "" if numbers["promised"] is None else f"{numbers['promised']:.2f}"
            for question, (sick, well) in QUESTIONS.items():
                if question in numbers:
                    row[f"{question}, AUC"] = report.estimate(numbers[question], "auc")
                    row[f"{sick} found"] = report.estimate(numbers[question], "sensitivity")
                    row[f"{well} cleared"] = report.estimate(numbers[question], "specificity")
            rows[plain(name), place] = row
    if not rows:
        return pd.DataFrame({"images": [0]}, index=["no other set was given (EXTERNAL_DIR)"])
    return pd.DataFrame.from_dict(rows, "index").fillna("").rename_axis(["network", "scored on"])


def sentence(measured, name):
    """Return what the threshold of the network ``name`` keeps of its promise in the collection where it keeps least."""
    places = measured.get(name, {})
    question = next((key for key in QUESTIONS if sum(key in numbers for numbers in places.values()) > 1), None)
    if question is None:
        return "No other set was scored in which there is something to decide (EXTERNAL_DIR)."
    others = {place: numbers[question] for place, numbers in places.items() if question in numbers}
    val = others.pop("validation")
    place = min(others, key=lambda place: others[place]["sensitivity"])
    point, (sick, well) = others[place], QUESTIONS[question]
    better = val["sensitivity"] - point["sensitivity"] > max(val["auc"] - point["auc"], 0)
    return (
        f"At the threshold chosen on validation, {plain(name)} finds {val['sensitivity']:.2f} of the {sick} of "
        f"validation and {point['sensitivity']:.2f} of those of {place}; it clears {val['specificity']:.2f} and "
        f"{point['specificity']:.2f} of the {well}. The AUC is {val['auc']:.2f} and {point['auc']:.2f}"
        f"{': the ranking survives the other clinic better than the decision does' * better}."
    )


def _views(rows, positive):
    """Return {question: labelled rows with truth and probability} of the questions of which rows have both answers."""
    views = {"positive or not": decisions.binary(rows, positive)}
    if {"p_melanoma", "p_nevus"} <= set(rows):
        pair = rows[rows["label"].isin(["melanoma", "nevus"])]
        chance = pair["p_melanoma"] / np.maximum(pair["p_melanoma"] + pair["p_nevus"], 1e-12)
        views["melanoma or nevus"] = pair.assign(truth=pair["label"] == "melanoma", probability=chance)
    return {question: view for question, view in views.items() if view["truth"].nunique() == 2}


def _threshold(view, sensitivity):
    _, found, thresholds = roc_curve(view["truth"], view["probability"], drop_intermediate=False)
    return thresholds[np.argmax(found >= sensitivity)]
