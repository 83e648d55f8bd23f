"""Whether probabilities mean what they say: reliability, calibration error, and temperature scaling."""

import numpy as np
import pandas as pd
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from helpers.evaluation import scores as evaluation
from helpers.evaluation.intervals import ratio, wilson


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
    edges, place = np.arange(bins + 1) / bins, _bins(confidence, bins)
    n, right = np.bincount(place, minlength=bins), np.bincount(place[correct], minlength=bins)
    low, high = wilson(right, n)
    return pd.DataFrame({"low": edges[:-1], "high": edges[1:], "n": n, "accuracy": ratio(right, n), "accuracy_low": low,
                         "accuracy_high": high, "confidence": ratio(np.bincount(place, confidence, bins), n)})


def _bins(confidence, bins):
    edges = np.arange(bins + 1) / bins
    return np.clip(np.searchsorted(edges, confidence, side="left") - 1, 0, bins - 1)


def expected_calibration_error(table):
    """Return the mean gap of accuracy and confidence in a :func:`reliability` table, weighted by n: 0 to 1 (Guo 2017).

    It depends on the bins, so tell them with it. NaN without images.
    """
    gaps = (table["accuracy"] - table["confidence"]).abs() * table["n"]
    return float(ratio(gaps.sum(), table["n"].sum()))


def error_by_chance(confidence, bins=10, seed=0):
    """Return the 95th percentile of the calibration error that a perfectly calibrated model would show.

    In each of 1,000 draws every forecast comes true with just the probability ``confidence`` (n,) that it was given
    (consistency resampling, Bröcker & Smith 2007). On few images the error is far above 0 even then; NaN on none.
    """
    confidence = np.asarray(confidence, float)
    if not len(confidence):
        return float("nan")
    draws = np.random.default_rng(seed).random((1000, len(confidence))) < confidence
    gaps = (draws - confidence) @ np.eye(bins)[_bins(confidence, bins)]
    return float(np.percentile(np.abs(gaps).sum(axis=1) / len(confidence), 95))


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
