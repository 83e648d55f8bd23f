"""Intervals and the few statistics that need them, vectorised over resamples."""

import numpy as np
from statsmodels.stats.proportion import proportion_confint

RESAMPLES = 2000


def wilson(count, n):
    """Return the ends of the Wilson (1927) 95 % interval of ``count`` in ``n`` as two arrays; NaN where ``n`` is 0."""
    count, n = np.asarray(count, float), np.asarray(n, float)
    low, high = proportion_confint(count, np.where(n > 0, n, 1), method="wilson")
    return np.where(n > 0, np.clip(low, 0, 1), np.nan), np.where(n > 0, np.clip(high, 0, 1), np.nan)


def ratio(part, whole):
    """Return ``part / whole`` as an array of floats; NaN where ``whole`` is 0."""
    part, whole = np.broadcast_arrays(np.asarray(part, float), np.asarray(whole, float))
    return np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole != 0)


def mean_known(values):
    """Return the mean over the last axis without the NaN; NaN where all are."""
    return ratio(np.nansum(values, axis=-1), (~np.isnan(values)).sum(axis=-1))


def area_under_roc(positive, scores, weights):
    """Return the area under the ROC curve once per row of ``weights``; ties count half.

    Parameters
    ----------
    positive : bool array (n,), the images that should score high.
    scores : float array (n,).
    weights : array (resamples, n), how often each image counts.

    Returns
    -------
    Array (resamples,), 0 to 1; NaN where all images that count are positive, or none is.
    """
    order = np.argsort(scores, kind="stable")
    starts = np.unique(scores[order], return_index=True)[1]
    won = np.add.reduceat(weights[:, order] * positive[order], starts, axis=1)
    lost = np.add.reduceat(weights[:, order] * ~positive[order], starts, axis=1)
    below = np.cumsum(lost, axis=1) - lost / 2
    return ratio((won * below).sum(axis=1), won.sum(axis=1) * lost.sum(axis=1))


def weighted_scores(labels, names, probabilities, weights):
    """Return accuracy, balanced accuracy, macro-F1 and one-vs-rest AUC, each an array with one value per resample.

    Parameters
    ----------
    labels : true classes (n,), also such as are not in ``names``.
    names : the model's classes (k,).
    probabilities : array (n, k).
    weights : array (resamples, n), how often each image counts.
    """
    labels = np.asarray(labels, object)
    every = sorted({*names, *labels})
    place = {name: number for number, name in enumerate(every)}
    true = np.array([place[label] for label in labels], int)
    called = np.array([place[name] for name in names])[probabilities.argmax(axis=1)]
    cells = np.eye(len(every) ** 2)[true * len(every) + called]
    counts = (weights @ cells).reshape(len(weights), len(every), len(every))
    right, support = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2)
    areas = [area_under_roc(labels == name, probabilities[:, column], weights) for column, name in enumerate(names)]
    return {"accuracy": ratio(right.sum(axis=1), weights.sum(axis=1)),
            "balanced_accuracy": mean_known(ratio(right, support)),
            "macro_f1": mean_known(ratio(2 * right, support + counts.sum(axis=1))),
            "auc_ovr": mean_known(np.transpose(areas))}


def resamples(table, seed=0):
    """Return how often each image counts in each of 2,000 bootstrap resamples, an array (2000, n images).

    Whole groups are drawn, with replacement, where the table has a ``group`` column ("": the image is its own group),
    else images. With fewer than two groups nothing can vary: the array is (0, n images).
    """
    units = table["image_id"]
    if "group" in table:
        units = units.where(table["group"] == "", "group " + table["group"])
    codes, names = units.factorize()
    if len(names) < 2:
        return np.zeros((0, len(table)))
    drawn = np.random.default_rng(seed).multinomial(len(names), np.full(len(names), 1 / len(names)), size=RESAMPLES)
    return drawn[:, codes].astype(float)


def percentile_interval(values):
    """Return [low, high], the 95 % percentile interval of bootstrap values without the NaN; None if there is none."""
    known = values[~np.isnan(values)]
    return np.percentile(known, [2.5, 97.5]).tolist() if len(known) else None


def number(value):
    """Return a float, or None for NaN, as JSON wants it."""
    return None if np.isnan(value) else float(value)
