"""From probabilities to decisions: yes-or-no views, thresholds, net benefit, calibration, and results by subgroup."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp
from sklearn.metrics import average_precision_score, precision_recall_curve, roc_curve

from helpers import evaluation
from helpers.intervals import area_under_roc, number, percentile_interval, ratio, resamples, wilson


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


def reliability(confidence, correct, bins=10):
    """Return the reliability table of forecasts, one row per bin of confidence.

    Parameters
    ----------
    confidence : forecasts (n,), 0 to 1: ``outcomes(...)["confidence"]``, or a yes-or-no view's ``probability``.
    correct : bool (n,), whether they came true: ``outcomes(...)["correct"]``, or the view's ``truth``.
    bins : number of bins of equal width; a bin holds its upper edge, the first also 0.

    Returns
    -------
    DataFrame low, high (the bin's edges), n, accuracy (share that came true), accuracy_low, accuracy_high (Wilson,
    95 %), confidence (mean); NaN in an empty bin.
    """
    confidence, correct = np.asarray(confidence, float), np.asarray(correct, bool)
    edges = np.arange(bins + 1) / bins
    place = np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)
    n, right = np.bincount(place, minlength=bins), np.bincount(place[correct], minlength=bins)
    low, high = wilson(right, n)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": n, "accuracy": ratio(right, n), "accuracy_low": low,
                         "accuracy_high": high, "confidence": ratio(np.bincount(place, confidence, bins), n)})


def expected_calibration_error(table):
    """Return the mean gap of accuracy and confidence in a :func:`reliability` table, weighted by n: 0 to 1 (Guo 2017).

    It depends on the bins, so tell them with it. NaN without images.
    """
    gaps = (table["accuracy"] - table["confidence"]).abs() * table["n"]
    return float(ratio(gaps.sum(), table["n"].sum()))


def _log_softmax(probabilities, temperature):
    logits = np.log(np.clip(probabilities, np.finfo(float).eps, 1)) / temperature
    return logits - logsumexp(logits, axis=1, keepdims=True)


def apply_temperature(predictions, temperature):
    """Return the table with its probabilities softened (temperature > 1) or sharpened: softmax(log p / temperature)."""
    values = np.exp(_log_softmax(evaluation.probabilities(predictions), temperature))
    columns = [f"p_{name}" for name in evaluation.classes(predictions)]
    return predictions.assign(**dict(zip(columns, values.T)))


def fit_temperature(labelled):
    """Return the temperature (0.05 to 20) of the least log loss on a labelled table (Guo et al. 2017).

    Fit it on validation images, then :func:`apply_temperature`. Images of classes the model does not know are left
    out. Where no temperature changes the loss (a constant uniform model), it is 1. ValueError without images.
    """
    names = evaluation.classes(labelled)
    known = labelled[labelled["label"].isin(names)]
    if known.empty:
        raise ValueError("No image has a label that the model knows; pass labelled validation images.")
    chance, own = evaluation.probabilities(known), [names.index(label) for label in known["label"]]

    def loss(logarithm):
        return -_log_softmax(chance, np.exp(logarithm))[np.arange(len(own)), own].mean()

    best = minimize_scalar(loss, bounds=np.log([0.05, 20]), method="bounded")
    return float(np.exp(best.x)) if best.fun < loss(0) - 1e-9 else 1.0


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
        few = [f"only {n} images" if n < evaluation.FEW else "" for n in counts["n"]]
        parts.append(counts.assign(column=column, accuracy=ratio(counts["right"], counts["n"]), low=low, high=high,
                                   warning=few))
    return pd.concat(parts, ignore_index=True)[["column", "group", "n", "accuracy", "low", "high", "warning"]]
