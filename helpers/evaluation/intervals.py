"""95% intervals that take a lesion as one: Wilson's for a share, Newcombe's for an AUC, and the bootstrap."""

import numpy as np
import pandas as pd
from scipy.optimize import brentq
from statsmodels.stats.proportion import proportion_confint

RESAMPLES, BLOCK = 2000, 100  # drawn in all; held in memory at once


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
    if not count:
        return np.nan, np.nan, np.nan
    low, high = proportion_confint(hits.mean() * count, count, method="wilson")
    return float(hits.mean()), max(float(low), 0.0), min(float(high), 1.0)


def shares(parts, hit):
    """Return for each of ``parts``, {name: table}, the :func:`share` of its images for which ``hit`` holds.

    ``hit`` takes such a table (image_id, group) and returns a bool for each row. A DataFrame with a row for each part:
    images, value, low, high (as ``figures.shares`` shows it).
    """
    rows = {name: [len(part), *share(hit(part), units(part))] for name, part in parts.items()}
    return pd.DataFrame.from_dict(rows, "index", columns=["images", "value", "low", "high"])


def area(value, positives, negatives):
    """Return the ends of the interval of an area under the ROC curve (Newcombe 2006, method 5).

    ``value`` is 0 to 1; unlike a bootstrap, the interval has a width even at 0 and 1. ``positives`` and ``negatives``
    (1 or more) count the independent units of either kind.
    """
    mean = (positives + negatives) / 2 - 1

    def gap(true, value):
        spread = true * (1 - true) * (1 + mean * (1 - true) / (2 - true) + mean * true / (1 + true))
        return value - true - 1.959964 * np.sqrt(spread / (positives * negatives))

    low, high = (brentq(gap, 0, end - 1e-9, (end,)) if end > 1e-6 else 0.0 for end in (value, 1 - value))
    return float(low), float(1 - high)


def bootstrap(statistic, units, seed=0):
    """Return the percentile intervals of a statistic over 2,000 resamples of whole units (Efron & Tibshirani 1993).

    ``statistic`` takes weights (resamples, n), how often each of n images counts, and returns values (resamples, k).
    Returned are k intervals [low, high]; None where nothing varies (fewer than two units) or nothing is defined.
    """
    names, codes = np.unique(np.asarray(units, str), return_inverse=True)
    random, n, drawn = np.random.default_rng(seed), max(len(names), 1), []
    for _ in range(RESAMPLES // BLOCK):
        drawn.append(statistic(random.multinomial(n, np.full(n, 1 / n), BLOCK)[:, codes].astype(float)))
    known = [values[~np.isnan(values)] if len(names) > 1 else [] for values in np.concatenate(drawn).T]
    return [np.percentile(values, [2.5, 97.5]).tolist() if len(values) else None for values in known]


def ratio(part, whole):
    """Return ``part / whole`` as an array of floats; NaN where ``whole`` is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def number(value):
    """Return a float, or None for NaN, as JSON wants it."""
    return None if np.isnan(value) else float(value)
