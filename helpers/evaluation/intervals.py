"""95 % intervals that know which images belong together: Wilson's for a share, Newcombe's for an AUC, the bootstrap."""

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm
from statsmodels.stats.proportion import proportion_confint

RESAMPLES = 2000
BLOCK = 100  # resamples held in memory at once


def units(table):
    """Return what is independent in a predictions table: each image's ``group`` (lesion), else its ``image_id``."""
    if "group" not in table:
        return table["image_id"]
    return table["image_id"].where(table["group"] == "", "group " + table["group"])


def share(hits, units):
    """Return the share of ``hits`` (bool, n) and the ends of its Wilson (1927) interval: three floats, NaN if n is 0.

    Where several images are of one unit (n values), the interval is as wide as if each unit had one image: images of
    one lesion tell hardly more than one of them.
    """
    hits, count = np.asarray(hits, bool), len(set(units))
    if not len(hits):
        return np.nan, np.nan, np.nan
    low, high = proportion_confint(hits.mean() * count, count, method="wilson")
    return float(hits.mean()), max(float(low), 0.0), min(float(high), 1.0)


def area(value, positives, negatives):
    """Return the ends of the interval of an area under the ROC curve (Newcombe 2006, method 5).

    Parameters
    ----------
    value : the area, 0 to 1; unlike a bootstrap, the interval has a width even where it is 0 or 1.
    positives, negatives : how many independent units (lesions) of either kind it was measured on, 1 or more.
    """

    def lower(value):
        def gap(true):
            mean = (positives + negatives) / 2 - 1
            spread = true * (1 - true) * (1 + mean * (1 - true) / (2 - true) + mean * true / (1 + true))
            return value - true - norm.ppf(0.975) * np.sqrt(spread / (positives * negatives))

        return brentq(gap, 0, value - 1e-9) if value > 1e-6 else 0.0

    return float(lower(value)), float(1 - lower(1 - value))


def bootstrap(statistic, units, seed=0):
    """Return the percentile intervals of a statistic over 2,000 resamples of whole units (Efron & Tibshirani 1993).

    Parameters
    ----------
    statistic : function of weights (resamples, n), how often each image counts, to values (resamples, k).
    units : the unit of each of n images.

    Returns
    -------
    list of k intervals [low, high]; each is None where nothing can vary or be computed: fewer than two units.
    """
    codes, count = np.unique(np.asarray(units, str), return_inverse=True)[1], len(set(units))
    random, drawn = np.random.default_rng(seed), []
    for _ in range(RESAMPLES // BLOCK):
        weights = random.multinomial(count, np.full(count, 1 / max(count, 1)), size=BLOCK)[:, codes]
        drawn.append(statistic(weights.astype(float)))
    values = np.concatenate(drawn)
    return [
        np.nanpercentile(column, [2.5, 97.5]).tolist() if count > 1 and not np.isnan(column).all() else None
        for column in values.T
    ]


def ratio(part, whole):
    """Return ``part / whole`` as an array of floats; NaN where ``whole`` is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def number(value):
    """Return a float, or None for NaN, as JSON wants it."""
    return None if np.isnan(value) else float(value)
