"""From probabilities to decisions: yes-or-no views, thresholds, patients, net benefit, and results by subgroup."""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from helpers.evaluation import scores
from helpers.evaluation.intervals import area, number, share, units


def binary(labelled, positive):
    """Return a yes-or-no view of a labelled table: image_id, group (if there), truth (bool), probability (of yes).

    ``positive`` names the classes that mean yes; their probabilities are added. ValueError if no class of the model
    means yes, or all do.
    """
    names = scores.classes(labelled)
    yes = [f"p_{name}" for name in names if name in positive]
    if not 0 < len(yes) < len(names):
        raise ValueError(
            f"{len(yes)} of the model's {len(names)} classes mean yes ({list(positive)}); a yes-or-no view needs at "
            "least one that does and one that does not."
        )
    truth, probability = labelled["label"].isin(positive), labelled[yes].sum(axis=1).clip(0, 1)
    return labelled.filter(["image_id", "group"]).assign(truth=truth, probability=probability)


def unanswerable(val, test, positive):
    """Return why a yes-or-no question cannot be put to these labelled validation and Test tables; "" if it can.

    A threshold needs a positive validation image, a curve a positive and a negative Test image.
    """
    try:
        on_val, on_test = (binary(table, positive)["truth"] for table in (val, test))
    except ValueError as reason:
        return str(reason)
    if on_test.nunique() < 2:
        return f"{on_test.sum()} of {len(on_test)} Test images are positive; it takes one of either kind."
    return "" if on_val.any() else "no validation image is positive, so no threshold can be chosen."


def ranking(view):
    """Return {"auc", "auc_interval"}: how well a yes-or-no view ranks, with Newcombe's interval; None if undefined."""
    positive, negative = (units(rows).nunique() for rows in (view[view["truth"]], view[~view["truth"]]))
    if not positive or not negative:
        return {"auc": None, "auc_interval": None}
    auc = float(roc_auc_score(view["truth"], view["probability"]))
    return {"auc": auc, "auc_interval": list(area(auc, positive, negative))}


def threshold_for_sensitivity(view, sensitivity=0.9):
    """Return the highest threshold at which at least this share (0 to 1] of positives has ``probability >= threshold``.

    Choose it on validation images and apply it to others (:func:`operating_point`). ValueError without positives.
    """
    found = np.sort(view.loc[view["truth"], "probability"].to_numpy(float))[::-1]
    if not len(found) or not 0 < sensitivity <= 1:
        raise ValueError(
            f"{len(found)} positive images and a sensitivity of {sensitivity}; a threshold needs at least one positive "
            "image and a sensitivity above 0, at most 1."
        )
    shares = np.arange(1, len(found) + 1) / len(found)
    return float(found[np.argmax(shares >= sensitivity - 1e-12)])


def operating_point(view, threshold):
    """Return what flagging ``probability >= threshold`` gives, as a dictionary.

    threshold; found, missed, needless, left (images: flagged and positive, positive and not flagged, flagged and
    negative, neither); sensitivity, specificity and ppv (share of the flagged that are positive, in this table), each
    with <name>_interval (Wilson, 95 %, by lesion). None where undefined.
    """
    truth, flagged = view["truth"].to_numpy(bool), view["probability"].to_numpy(float) >= threshold
    counts = {"found": truth & flagged, "missed": truth & ~flagged, "needless": ~truth & flagged, "left": ~truth & ~flagged}
    point = {"threshold": float(threshold)} | {name: int(rows.sum()) for name, rows in counts.items()}
    for name, hits, rows in [("sensitivity", flagged, truth), ("specificity", ~flagged, ~truth), ("ppv", truth, flagged)]:
        value, *ends = share(hits[rows], units(view)[rows])
        point |= {name: number(value), f"{name}_interval": None if np.isnan(value) else ends}
    return point


def per_thousand(point, prevalence):
    """Return what 1,000 patients would see at an :func:`operating_point`: rows found, missed, needless, left alone.

    Parameters
    ----------
    point : its sensitivity and specificity are used; both must be defined.
    prevalence : share of patients who have the disease, above 0, below 1. It is that of the clinic, not of the images.

    Returns
    -------
    DataFrame of whole patients: value, low, high. The values add up to 1,000; the ends come from the Wilson intervals
    of sensitivity (found, missed) and specificity (needless, left alone), each taken alone.
    """
    if not 0 < prevalence < 1 or point["sensitivity"] is None or point["specificity"] is None:
        raise ValueError(
            f"The prevalence is {prevalence}, the sensitivity {point['sensitivity']}, the specificity "
            f"{point['specificity']}; give a prevalence between 0 and 1 and a point from images of both kinds."
        )
    sick, rows = round(1000 * prevalence), []
    for name, of in (("sensitivity", sick), ("specificity", 1000 - sick)):
        value, low, high = (round(of * part) for part in (point[name], *point[f"{name}_interval"]))
        rows += [[value, low, high], [of - value, of - high, of - low]]
    table = pd.DataFrame(rows, ["found", "missed", "left alone", "needless"], ["value", "low", "high"])
    return table.loc[["found", "missed", "needless", "left alone"]]


def decision_curve(view):
    """Return the decision curve (Vickers & Elkin 2006), index threshold (0.01 to 0.99): network, flag all, flag none.

    The values are net benefit in true positives per image: TP/n - FP/n * threshold / (1 - threshold), at this
    table's share of positives.
    """
    thresholds = np.arange(1, 100) / 100
    odds, truth = thresholds / (1 - thresholds), view["truth"].to_numpy(bool)
    flagged = view["probability"].to_numpy(float) >= thresholds[:, None]
    benefit = (flagged & truth).mean(axis=1) - (flagged & ~truth).mean(axis=1) * odds
    every = truth.mean() - (~truth).mean() * odds
    return pd.DataFrame({"network": benefit, "flag all": every, "flag none": 0.0}, pd.Index(thresholds, name="threshold"))


def subgroups(table, columns):
    """Return the accuracy in every group of every named text column, with its Wilson 95 % interval by lesion.

    ``table`` is one of ``scores.outcomes`` to which the caller joined ``columns``. Returned: column, group ("unknown" for
    missing or ""), n, accuracy, low, high, warning (few images).
    """
    rows = [
        (column, group, len(part), *share(part["correct"], units(part)), scores.few(len(part)))
        for column in columns
        for group, part in table.groupby(table[column].fillna("").astype(str).replace("", "unknown"))
    ]
    return pd.DataFrame(rows, columns=["column", "group", "n", "accuracy", "low", "high", "warning"])
