"""Whether probabilities mean what they say: calibration error and temperature scaling."""

import numpy as np
from scipy.optimize import minimize_scalar
from scipy.special import logsumexp

from helpers.evaluation import scores

BINS = 10


def error(confidence, correct):
    """Return the expected calibration error (Guo et al. 2017) in ten bins of equal width, 0 to 1, or NaN."""
    confidence = np.asarray(confidence, float)
    gaps = (np.asarray(correct, float) - confidence) @ _bins(confidence)
    return float(np.abs(gaps).sum() / len(confidence)) if len(confidence) else float("nan")


def error_by_chance(confidence, seed=0):
    """Return the 95th percentile of the :func:`error` that a perfectly calibrated model would show.

    In each of 1,000 draws every forecast comes true with just the probability ``confidence`` (n,) that it was given
    (consistency resampling, Bröcker & Smith 2007). On few images the error is far above 0 even then; NaN on none.
    """
    confidence = np.asarray(confidence, float)
    draws = np.random.default_rng(seed).random((1000, len(confidence))) < confidence
    gaps = np.abs((draws - confidence) @ _bins(confidence)).sum(axis=1)
    return float(np.percentile(gaps / len(confidence), 95)) if len(confidence) else float("nan")


def _bins(confidence):
    return np.eye(BINS)[np.clip(np.ceil(confidence * BINS).astype(int) - 1, 0, BINS - 1)]


def fit_temperature(labelled):
    """Return the temperature (0.05 to 20) of the least log loss on a labelled table (Guo et al. 2017).

    Fit it on validation images, then :func:`apply_temperature`. Images of classes the model does not know are left
    out. Where no temperature changes the loss (a constant uniform model), it is 1. ValueError without images.
    """
    names = scores.classes(labelled)
    known = labelled[labelled["label"].isin(names)]
    if known.empty:
        raise ValueError("No image has a label that the model knows; pass labelled validation images.")
    chance, own = scores.probabilities(known), [names.index(label) for label in known["label"]]

    def loss(logarithm):
        return -_log_softmax(chance, np.exp(logarithm))[np.arange(len(own)), own].mean()

    best = minimize_scalar(loss, bounds=np.log([0.05, 20]), method="bounded")
    return float(np.exp(best.x)) if best.fun < loss(0) - 1e-9 else 1.0


def apply_temperature(predictions, temperature):
    """Return the table with its probabilities softened (temperature > 1) or sharpened: softmax(log p / temperature)."""
    values = np.exp(_log_softmax(scores.probabilities(predictions), temperature))
    columns = [f"p_{name}" for name in scores.classes(predictions)]
    return predictions.assign(**dict(zip(columns, values.T)))


def _log_softmax(probabilities, temperature):
    logits = np.log(np.clip(probabilities, np.finfo(float).eps, 1)) / temperature
    return logits - logsumexp(logits, axis=1, keepdims=True)
