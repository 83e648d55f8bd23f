"""From probabilities to decisions: yes-or-no views, thresholds, net benefit, and results by subgroup."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from helpers.evaluation import scores as evaluation
from helpers.evaluation.intervals import area_under_roc, number, percentile_interval, ratio, resamples, wilson


def binary(labelled, positive=None):
    """Return a yes-or-no view of a labelled table.

    Parameters
    ----------
    labelled : see :func:`helpers.evaluation.labelled`.
    positive : class names that mean yes, for instance ["melanoma"]; None: the cancers of ``evaluation.MALIGNANT``.

    Returns
    -------
    DataFrame without label and ``p_`` columns, with truth (bool) and probability (of yes: the sum over its classes).

    Raises
    ------
    ValueError
        If no class of the model means yes, or all do, or ``positive`` is None and a class is not in ``MALIGNANT``.
    """
    names = evaluation.classes(labelled)
    if positive is None:
        strange = sorted({*names, *labelled["label"]} - set(evaluation.MALIGNANT))
        if strange:
            raise ValueError(f"Whether {strange[0]!r} is malignant is not known here; name the malignant classes in "
                             "`positive`, or leave this view out.")
        positive = [name for name, malignant in evaluation.MALIGNANT.items() if malignant]
    yes = [f"p_{name}" for name in names if name in positive]
    if not 0 < len(yes) < len(names):
        raise ValueError(f"{len(yes)} of the model's {len(names)} classes mean yes ({list(positive)}); a yes-or-no "
                         "view needs at least one that does and one that does not.")
    rest = labelled.drop(columns=["label", *(f"p_{name}" for name in names)])
    return rest.assign(truth=labelled["label"].isin(positive), probability=labelled[yes].sum(axis=1).clip(0, 1))


def unanswerable(val, test, positive=None):
    """Return why a yes-or-no question cannot be put to these labelled validation and test tables; "" if it can.

    A threshold needs a positive validation image, a curve a positive and a negative test image; ``positive`` as in
    :func:`binary`.
    """
    try:
        on_val, on_test = binary(val, positive), binary(test, positive)
        _refuse_one_sided(on_test)
    except ValueError as reason:
        return str(reason)
    return "" if on_val["truth"].any() else "no validation image is positive, so no threshold can be chosen."


def _refuse_one_sided(view):
    if view["truth"].nunique() < 2:
        raise ValueError(f"{view['truth'].sum()} of {len(view)} images are positive; a curve needs at least one "
                         "positive and one negative image.")


def roc(view):
    """Return the ROC curve of a yes-or-no view: threshold, false_positive_rate, sensitivity (all of 0 to 1).

    Raises ValueError if all images, or none, are positive.
    """
    _refuse_one_sided(view)
    wrong, right, thresholds = roc_curve(view["truth"], view["probability"], drop_intermediate=False)
    return pd.DataFrame({"threshold": thresholds, "false_positive_rate": wrong, "sensitivity": right})


def precision_recall(view):
    """Return the precision-recall curve of a yes-or-no view: threshold, precision, recall (last row: threshold NaN).

    Raises ValueError if all images, or none, are positive.
    """
    _refuse_one_sided(view)
    precision, recall, thresholds = precision_recall_curve(view["truth"], view["probability"])
    return pd.DataFrame({"threshold": np.append(thresholds, np.nan), "precision": precision, "recall": recall})


def ranking(view, seed=0):
    """Return how well a yes-or-no view ranks: n, positives, auc, auc_interval, average_precision; None if undefined.

    The interval is a 95 % percentile bootstrap over groups where known, else images; average precision is to be
    compared with the share of positives, which ranking by chance gives.
    """
    truth, probability = view["truth"].to_numpy(bool), view["probability"].to_numpy(float)
    drawn = area_under_roc(truth, probability, resamples(view, seed))
    defined = 0 < truth.sum() < len(truth)
    return {"n": len(truth), "positives": int(truth.sum()),
            "auc": number(area_under_roc(truth, probability, np.ones((1, len(truth))))[0]),
            "auc_interval": percentile_interval(drawn),
            "average_precision": float(average_precision_score(truth, probability)) if defined else None}


def threshold_for_sensitivity(view, sensitivity=0.9):
    """Return the highest threshold at which at least this share (0 to 1] of positives has ``probability >= threshold``.

    Choose it on validation images and apply it to others (:func:`operating_point`). ValueError without positives.
    """
    found = np.sort(view.loc[view["truth"], "probability"].to_numpy(float))[::-1]
    if not len(found) or not 0 < sensitivity <= 1:
        raise ValueError(f"{len(found)} positive images and a sensitivity of {sensitivity}; a threshold needs at least "
                         "one positive image and a sensitivity above 0, at most 1.")
    shares = np.arange(1, len(found) + 1) / len(found)
    return float(found[np.argmax(shares >= sensitivity - 1e-12)])


def operating_point(view, threshold):
    """Return what flagging ``probability >= threshold`` gives, as a dictionary.

    threshold, true_positives, false_positives, false_negatives, true_negatives (images); sensitivity, specificity,
    ppv and npv (predictive values at this table's share of positives), each with <name>_interval (Wilson, 95 %).
    None where undefined.
    """
    truth, flagged = view["truth"].to_numpy(bool), view["probability"].to_numpy(float) >= threshold
    tp, fp = int((truth & flagged).sum()), int((~truth & flagged).sum())
    fn, tn = int((truth & ~flagged).sum()), int((~truth & ~flagged).sum())
    point = {"threshold": float(threshold), "true_positives": tp, "false_positives": fp, "false_negatives": fn,
             "true_negatives": tn}
    for name, part, whole in [("sensitivity", tp, tp + fn), ("specificity", tn, tn + fp), ("ppv", tp, tp + fp),
                              ("npv", tn, tn + fn)]:
        low, high = wilson(part, whole)
        point[name] = number(ratio(part, whole))
        point[f"{name}_interval"] = [float(low), float(high)] if whole else None
    return point


def per_thousand(point, prevalence, patients=1000):
    """Return what ``patients`` would see at an :func:`operating_point`, as a table with rows flagged, missed, needless.

    Parameters
    ----------
    point : its sensitivity and specificity are used; both must be defined.
    prevalence : share of patients who have the disease, above 0, below 1. It is that of the clinic, not of the images.

    Returns
    -------
    DataFrame with the columns value, low, high, in patients: all who are flagged; with the disease and not flagged;
    flagged without it. The ends come from the Wilson intervals of sensitivity and specificity, each taken alone
    (flagged: both at the end that flags fewer or more).
    """
    if not 0 < prevalence < 1 or point["sensitivity"] is None or point["specificity"] is None:
        raise ValueError(f"The prevalence is {prevalence}, the sensitivity {point['sensitivity']}, the specificity "
                         f"{point['specificity']}; give a prevalence between 0 and 1 and a point from images of both.")
    sick, well = patients * prevalence, patients * (1 - prevalence)
    found = np.array([point["sensitivity"], *point["sensitivity_interval"]]) * sick
    needless = (1 - np.array([point["specificity"], *point["specificity_interval"][::-1]])) * well
    rows = [found + needless, sick - found[[0, 2, 1]], needless]
    return pd.DataFrame(rows, index=["flagged", "missed", "needless"], columns=["value", "low", "high"])


def decision_curve(view):
    """Return the decision curve (Vickers & Elkin 2006): threshold (0.01 to 0.99), model, treat_all, treat_none.

    The values are net benefit in true positives per image: TP/n - FP/n * threshold / (1 - threshold), at this
    table's share of positives. NaN without images.
    """
    thresholds = np.arange(1, 100) / 100
    odds = thresholds / (1 - thresholds)
    truth, flagged = view["truth"].to_numpy(bool), view["probability"].to_numpy(float) >= thresholds[:, None]
    benefit = (flagged & truth).sum(axis=1) - (flagged & ~truth).sum(axis=1) * odds
    return pd.DataFrame({"threshold": thresholds, "model": ratio(benefit, len(view)),
                         "treat_all": ratio(truth.sum() - (~truth).sum() * odds, len(view)), "treat_none": 0.0})


def age_bands(ages):
    """Return "0 to 39", "40 to 59", "60 and over" or "unknown" for each age in years (a Series, NaN where unknown)."""
    bands = pd.cut(ages, [-np.inf, 40, 60, np.inf], right=False, labels=["0 to 39", "40 to 59", "60 and over"])
    return bands.astype(object).fillna("unknown").astype(str)


def subgroups(labelled, columns):
    """Return accuracy with its Wilson 95 % interval in every group of every named column.

    Parameters
    ----------
    labelled : labelled table to which the caller joined ``columns`` (text such as sex, or bool such as an artefact).

    Returns
    -------
    DataFrame column, group ("unknown" for missing or ""), n, accuracy, low, high, warning (n under 10).
    """
    table = evaluation.outcomes(labelled)
    parts = []
    for column in columns:
        group = table[column].astype(object).where(table[column].notna() & (table[column] != ""), "unknown").astype(str)
        counts = table.groupby(group)["correct"].agg(n="size", right="sum").rename_axis("group").reset_index()
        low, high = wilson(counts["right"], counts["n"])
        few = [f"only {n} image{'' if n == 1 else 's'}" if n < evaluation.FEW else "" for n in counts["n"]]
        parts.append(counts.assign(column=column, accuracy=ratio(counts["right"], counts["n"]), low=low, high=high,
                                   warning=few))
    return pd.concat(parts, ignore_index=True)[["column", "group", "n", "accuracy", "low", "high", "warning"]]


def artefacts(labelled, root):
    """Join to a labelled table with ``path`` what ``artefacts.csv`` in the image folder ``root`` says of its images.

    The file has a ``path`` (relative to ``root``) and a column of 0 and 1 per artefact. Returned are the table, each
    artefact a column of "with", "without" or "" (image not listed), and the artefacts' names; [] without such a file.

    Raises
    ------
    ValueError
        If the file has no ``path``, or an artefact is named like a column of the table.
    """
    file = Path(root) / "artefacts.csv"
    if not file.exists():
        return labelled, []
    known = pd.read_csv(file, dtype=str)
    taken = sorted((set(known) - {"path"}) & set(labelled))
    if "path" not in known or taken:
        raise ValueError(f"{file} needs a column path and one of 0 and 1 per artefact; it has {list(known)}"
                         + (f", of which the course's tables use {taken} for something else." if taken else "."))
    known = known.drop_duplicates("path").set_index("path")
    places = [Path(os.path.relpath(path, root)).as_posix() for path in labelled["path"]]
    said = known.reindex(places).replace({"1": "with", "0": "without"}).fillna("")
    return labelled.assign(**{name: said[name].to_numpy() for name in said}), list(said)
