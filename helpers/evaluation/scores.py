"""Scores of a predictions table, any model's: one row per image, with image_id, split, label and ``p_<class>``.

The probabilities of a row lie between 0 and 1 and sum to 1. The class that is predicted is the most probable one; of
equals, the first column.
"""

import numpy as np
import pandas as pd
from scipy.stats import binom
from sklearn.metrics import precision_recall_fscore_support
from statsmodels.stats.contingency_tables import mcnemar

from helpers import manifest as manifests
from helpers.data import classes as names_of
from helpers.evaluation.intervals import bootstrap, number, ratio, share, units

FEW = 10  # a class or subgroup with fewer images gets a plain warning
REMADE = "If the course wrote it, delete it: its notebook then runs again."


class PredictionsError(ValueError):
    """A predictions file or table that cannot be scored; the message names the file, the line and what to do."""


def classes(table):
    """Return the class names of a predictions table, in the order of its ``p_`` columns."""
    return [column[2:] for column in table.columns if column.startswith("p_")]


def probabilities(table):
    """Return the ``p_`` columns as an array (n images, n classes) of floats."""
    return table[[f"p_{name}" for name in classes(table)]].to_numpy(float)


def by_malignancy(names, malignant=()):
    """Return ``names`` in the order of tables: the malignant ones, then the standard order, then the alphabet."""
    rank = {name: place for place, name in enumerate(row["name"] for row in names_of.known())}
    known = {name: rank.get(names_of.standard(name), len(rank)) for name in names}
    return sorted(known, key=lambda name: (name not in malignant, known[name], name))


def read_predictions(file, manifest=None):
    """Return a predictions CSV, this course's or another tool's: image_id, split, label, group, p_<class> by alphabet.

    Columns may come in any order; other ones are left out. If a ``manifest`` is given, it must hold every image, every
    label of its active rows must have a column, and split, label and group come from it; without it there is no group.
    PredictionsError if the file is no such table, if a probability is not in [0, 1], if a row does not sum to 1 within
    0.001, or if an image is unknown or there twice.
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, skip_blank_lines=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # not there, empty, not a table, not text
        out = "run the notebook that makes it (03 or 04), or write image_id and one p_<class> column per class"
        raise PredictionsError(f"{file} cannot be read as a table ({error!s:.200}); {out}.") from error
    table.columns = table.columns.astype(str).str.strip()
    table = table.reset_index(drop=True)[(table != "").any(axis=1).to_numpy()]
    known = [] if manifest is None else sorted(set(manifests.active(manifest)["label"]))
    missing = [name for name in ["image_id", *(f"p_{label}" for label in known)] if name not in table.columns]
    missing += ["p_<class>"] * (len(classes(table)) < 2)
    if missing or table.empty:
        odd = f"column {missing[0]!r} is missing" if missing else "there are no images below it"
        needed = "a header of image_id and one p_<class> column per class, separated by commas, then a row per image"
        raise PredictionsError(f"{file}, line 1: {odd}; write {needed}. {REMADE}")
    columns = [f"p_{name}" for name in sorted(classes(table))]
    values = table[columns].apply(pd.to_numeric, errors="coerce").astype(float)
    outside = ((values < 0) | (values > 1)).any(axis=1)
    _refuse(file, table, values.isna().any(axis=1), "a probability is missing or no number; write a number from 0 to 1")
    _refuse(file, table, outside, "a probability lies outside 0 to 1; write softmax outputs, not logits or per cent")
    off = (values.sum(axis=1) - 1).abs() > 1e-3
    _refuse(file, table, off, "the probabilities do not sum to 1; write softmax outputs of all classes")
    _refuse(file, table, table["image_id"].duplicated(), "the image stands above already; keep one row per image")
    facts = table.reindex(columns=["split", "label"], fill_value="")
    if manifest is not None:
        strange = ~table["image_id"].isin(manifest["image_id"])
        _refuse(file, table, strange, "the manifest has no such image; write its image_id (file name without suffix)")
        facts = manifest.set_index("image_id").loc[table["image_id"], ["split", "label", "group"]]
    parts = [table[["image_id"]], facts, values]
    return pd.concat([part.reset_index(drop=True) for part in parts], axis=1)


def _refuse(file, table, bad, reason):
    if bad.any():
        place = f"line {table.index[bad][0] + 2}, image {table['image_id'][bad].iloc[0]!r}"
        raise PredictionsError(f"{file}, {place}: {reason} (so in {bad.sum()} of {len(table)} rows). {REMADE}")


def predictions_table(rows, probabilities, classes):
    """Return the predictions table of n manifest ``rows`` from an array (n, k) of the k ``classes``, in their order."""
    values = pd.DataFrame(np.asarray(probabilities, float), columns=[f"p_{name}" for name in classes])
    return pd.concat([rows[["image_id", "split", "label"]].reset_index(drop=True), values], axis=1)


def labelled(predictions, truth=None):
    """Return the predictions that have a true label, in ``label``; other columns stay as they are.

    ``truth`` is a Series of labels with image_id as its index, for instance a manifest's ``published_label``; None: the
    table's own labels. An image without a label (missing or "") is left out; one of a class that the model does not
    know stays in, as an error.
    """
    label = predictions["label"] if truth is None else predictions["image_id"].map(truth).fillna("")
    return predictions.assign(label=label)[label != ""].reset_index(drop=True)


def matched(rows, classes):
    """Return the manifest rows whose class is among ``classes`` by its standard name, labelled with that class's name.

    "MEL", "Melanoma" and "melanoma" are one class (:func:`helpers.data.classes.standard`); rows of others are left out.
    """
    own = {names_of.plain(names_of.standard(name)): name for name in classes}
    label = rows["label"].map(lambda name: own.get(names_of.plain(names_of.standard(name)), ""))
    return rows.assign(label=label)[label != ""].reset_index(drop=True)


def outcomes(labelled):
    """Return the table with ``predicted`` (class), ``confidence`` (its probability) and ``correct`` (bool) added."""
    values = probabilities(labelled)
    predicted = np.array(classes(labelled), object)[values.argmax(axis=1)]
    return labelled.assign(predicted=predicted, confidence=values.max(axis=1), correct=predicted == labelled["label"])


def confusion(labelled, malignant=()):
    """Return the confusion matrix, a DataFrame of counts: true classes down, predicted across, malignant first."""
    names = by_malignancy([*classes(labelled), *labelled["label"]], malignant)
    table = pd.crosstab(labelled["label"], outcomes(labelled)["predicted"])
    return table.reindex(index=names, columns=names, fill_value=0).rename_axis(index="true", columns="predicted")


def per_class(labelled, malignant=()):
    """Return precision, recall (with its Wilson 95 % interval), F1, support (images) and a warning per class.

    The malignant come first. NaN: the precision of a class never predicted, the recall of a class without images.
    """
    table, names = outcomes(labelled), by_malignancy([*classes(labelled), *labelled["label"]], malignant)
    values = precision_recall_fscore_support(table["label"], table["predicted"], labels=names, zero_division=np.nan)
    result = pd.DataFrame(dict(zip(["precision", "recall", "f1", "support"], values)), pd.Index(names, name="class"))
    own = [table[table["label"] == name] for name in names]
    result[["recall_low", "recall_high"]] = [share(rows["correct"], units(rows))[1:] for rows in own]
    known = classes(labelled)
    few = {0: "no images", 1: "only 1 image"} | {n: f"only {n} images" for n in range(2, FEW)}
    result["warning"] = [few.get(len(rows), "") if name in known else "not learned" for name, rows in zip(names, own)]
    return result[["precision", "recall", "recall_low", "recall_high", "f1", "support", "warning"]]


def score(labelled, seed=0):
    """Return the scores of a labelled table as a dictionary that JSON can hold; None where a score is undefined.

    n (images), n_unknown_class (images of a class that the model does not know), accuracy, balanced_accuracy (mean
    recall of the classes that have images), macro_f1 (mean F1 of the classes that have images or are predicted),
    accuracy_interval (Wilson) and <score>_bootstrap_interval of the three: 95 %, [low, high], by lesion (``group``).
    """
    names, table = classes(labelled), outcomes(labelled)
    every = sorted({*names, *table["label"]})
    codes = [pd.Categorical(table[column], every).codes for column in ("label", "predicted")]
    cells = np.eye(len(every) ** 2)[codes[0].astype(int) * len(every) + codes[1]]

    def three(weights):
        counts = (weights @ cells).reshape(len(weights), len(every), len(every))
        right, support = np.diagonal(counts, axis1=1, axis2=2), counts.sum(axis=2)
        recall, f1 = ratio(right, support), ratio(2 * right, support + counts.sum(axis=1))
        means = [ratio(np.nansum(part, axis=1), (~np.isnan(part)).sum(axis=1)) for part in (recall, f1)]
        return np.stack([ratio(right.sum(axis=1), weights.sum(axis=1)), *means], axis=1)

    keys, ends = ["accuracy", "balanced_accuracy", "macro_f1"], share(table["correct"], units(table))[1:]
    result = {"n": len(table), "n_unknown_class": int((~table["label"].isin(names)).sum())}
    result |= dict(zip(keys, map(number, three(np.ones((1, len(table))))[0])))
    result["accuracy_interval"] = list(ends) if len(table) else None
    return result | dict(zip([f"{key}_bootstrap_interval" for key in keys], bootstrap(three, units(table), seed)))


def compare(a, b, seed=0):
    """Compare two models on the same labelled images, else raise PredictionsError; return a dictionary.

    n, only_a_right, only_b_right (images); mcnemar_p (exact, two-sided; McNemar 1947; it takes images as independent);
    difference (accuracy of ``a`` less that of ``b``; None with no image) and difference_interval (95 % percentile
    interval of a paired bootstrap over the groups where known, else the images; None with fewer than two).
    """
    first, second = (outcomes(table).set_index("image_id", drop=False).sort_index() for table in (a, b))
    if not first["label"].equals(second["label"]):
        raise PredictionsError("The two models were scored on other images or labels; give labelled() the same truth.")
    gain = first["correct"].astype(int) - second["correct"].astype(int)
    only_a, only_b = int((gain == 1).sum()), int((gain == -1).sum())

    def mean(weights):
        return ratio(weights @ gain, weights.sum(axis=1))[:, None]

    p = float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)
    result = {"n": len(gain), "only_a_right": only_a, "only_b_right": only_b, "mcnemar_p": p}
    difference = {"difference": number(ratio(gain.sum(), len(gain)))}
    return result | difference | {"difference_interval": bootstrap(mean, units(first), seed)[0]}


def smallest_difference(n, discordant, seed=0):
    """Return the smallest difference in accuracy that McNemar's test (p < 0.05) finds with a power of 0.8 on n images.

    ``discordant`` is the share of them, 0 to 1, on which exactly one of the two networks is right. Found in steps of
    0.01 by 4,000 simulated tests a step; None if even a difference of 1 would not be found.
    """
    random = np.random.default_rng(seed)
    for gap in np.arange(1, 101) / 100:
        either = max(discordant, gap)
        a, b, _ = random.multinomial(n, [(either + gap) / 2, (either - gap) / 2, max(1 - either, 0)], 4000).T
        p = np.minimum(2 * binom.cdf(np.minimum(a, b), a + b, 0.5), 1)
        if (p < 0.05).mean() >= 0.8:
            return float(gap)
    return None
