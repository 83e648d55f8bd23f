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


def measure(places, positive, sensitivity=0.9, seed=0):
    """Return how a network does on validation and on each collection of another set, {place: numbers}; {} without one.

    ``places`` are those of ``evaluate.Results``; ``positive`` are the classes that a decision is about. The numbers are
    those of ``scores.score``; promised, the balanced accuracy on validation of the classes that the place has; and for
    each of ``QUESTIONS`` to which validation and the place have images of both answers, its
    ``decisions.operating_point`` and ``decisions.area``. The threshold is the highest that finds at least the share
    ``sensitivity`` on validation.
    """
    if "another set" not in places:
        return {}
    val, other = places["validation"], places["another set"]
    thresholds = {question: _threshold(view, sensitivity) for question, view in _views(val, positive).items()}
    parts = {"validation": val} | dict(list(other.groupby(other["collection"].replace("", "another set"))))
    measured = {}
    for place, rows in parts.items():
        promised = scores.score(val[val["label"].isin(rows["label"])], seed)["balanced_accuracy"]
        measured[place] = scores.score(rows, seed) | {"promised": promised}
        for question, view in _views(rows, positive).items():
            if question in thresholds:
                point = decisions.operating_point(view, thresholds[question])
                measured[place][question] = point | decisions.area(view)
    return measured


def table(measured):
    """Return what :func:`measure` found of {network: places} as a list of one table for reading, of none if nothing.

    In brackets are 95% intervals.
    """
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
    return [pd.DataFrame.from_dict(rows, "index").fillna("").rename_axis(["network", "scored on"])] if rows else []


def sentence(places, name):
    """Return what the threshold of the network ``name`` keeps of its promise in the place where it keeps least.

    ``places`` are what :func:`measure` found of it.
    """
    question = next((key for key in QUESTIONS if sum(key in numbers for numbers in places.values()) > 1), None)
    if question is None:
        return "No other set was given (EXTERNAL_DIR), or it does not have both positive and negative images."
    others = {place: numbers[question] for place, numbers in places.items() if question in numbers}
    val = others.pop("validation")
    place, point = min(others.items(), key=lambda item: item[1]["sensitivity"])
    sick, well = QUESTIONS[question]
    better = val["sensitivity"] - point["sensitivity"] > max(val["auc"] - point["auc"], 0)
    return (
        f"At the threshold chosen on validation, {plain(name)} finds {val['sensitivity']:.0%} of the {sick} of "
        f"validation and {point['sensitivity']:.0%} of those of {place}; it clears {val['specificity']:.0%} and "
        f"{point['specificity']:.0%} of the {well}. The AUC is {val['auc']:.2f} and {point['auc']:.2f}"
        f"{': the ranking survives there better than the decision does' * better}."
    )


def _views(rows, positive):
    """Return {question: labelled rows with truth and probability} of the questions of which rows have both answers."""
    both = {"melanoma or nevus": decisions.melanoma_or_nevus(rows), "positive or not": decisions.binary(rows, positive)}
    return {question: view for question, view in both.items() if view["truth"].nunique() == 2}


def _threshold(view, sensitivity):
    _, found, thresholds = roc_curve(view["truth"], view["probability"], drop_intermediate=False)
    return thresholds[np.argmax(found >= sensitivity)]
