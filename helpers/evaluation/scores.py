"""Evaluation from one table, the predictions: any model's, with intervals, against any set of true labels.

A predictions table has one row per image: image_id, split, label and a probability ``p_<class>`` per class (0 to 1,
sum 1). The class a model calls is the most probable one; of equals, the first column.
"""

import numpy as np
import pandas as pd
from statsmodels.stats.contingency_tables import mcnemar

from helpers import manifest as manifests
from helpers.evaluation.intervals import number, percentile_interval, ratio, resamples, weighted_scores, wilson

# Worst first; True: a cancer. Actinic keratosis is a precursor of squamous cell carcinoma, not yet a cancer.
MALIGNANT = {"melanoma": True, "squamous cell carcinoma": True, "basal cell carcinoma": True,
             "actinic keratosis": False, "seborrheic keratosis": False, "pigmented benign keratosis": False,
             "dermatofibroma": False, "vascular lesion": False, "nevus": False}
FEW = 10  # a class or group with fewer images gets a plain warning


class PredictionsError(ValueError):
    """A predictions file or table that cannot be scored; the message names the line and what to do."""


def classes(table):
    """Return the class names of a predictions table, in the order of its ``p_`` columns."""
    return [column[2:] for column in table.columns if column.startswith("p_")]


def probabilities(table):
    """Return the ``p_`` columns as an array (n images, n classes) of floats."""
    return table[[f"p_{name}" for name in classes(table)]].to_numpy(float)


def by_malignancy(names):
    """Return ``names`` worst first (the order of ``MALIGNANT``), unknown names last in alphabetical order."""
    rank = {name: place for place, name in enumerate(MALIGNANT)}
    return sorted(set(names), key=lambda name: (rank.get(name, len(rank)), name))


def read_predictions(file, manifest=None):
    """Read and check a predictions CSV, this course's or another tool's.

    Parameters
    ----------
    file : path of a CSV with image_id and the p_<class> columns, in any order; other columns are left out.
    manifest : manifest table or None. If given, it must hold every image, every label of its active rows must have
        a column, and split, label and group come from it, whatever the file says.

    Returns
    -------
    DataFrame image_id, split, label ("" where unknown), group (only with a manifest), p_<class> in alphabetical order.

    Raises
    ------
    PredictionsError
        With the line and what to do: a class column is missing; a probability is no number or outside [0, 1]; a row's
        sum is more than 0.001 off 1; an image is unknown or stands twice.
    """
    table = pd.read_csv(file, dtype=str, keep_default_na=False, skip_blank_lines=False)
    table.columns = table.columns.str.strip()
    table = table.reset_index(drop=True)[(table != "").any(axis=1).to_numpy()]
    known = [] if manifest is None else sorted(set(manifests.active(manifest)["label"]))
    _refuse_header(file, table, ["image_id", *(f"p_{label}" for label in known)])
    columns = [f"p_{name}" for name in sorted(classes(table))]
    values = table[columns].apply(pd.to_numeric, errors="coerce").astype(float)
    outside = ((values < 0) | (values > 1)).any(axis=1)
    _refuse(file, table, values.isna().any(axis=1), "a probability is missing or no number; write a number from 0 to 1")
    _refuse(file, table, outside, "a probability lies outside 0 to 1; write softmax outputs, not logits or per cent")
    _refuse(file, table, (values.sum(axis=1) - 1).abs() > 1e-3,
            "the probabilities do not sum to 1; write softmax outputs of all classes")
    _refuse(file, table, table["image_id"].duplicated(), "the image stands above already; keep one row per image")
    facts = table.reindex(columns=["split", "label"], fill_value="")
    if manifest is not None:
        _refuse(file, table, ~table["image_id"].isin(manifest["image_id"]),
                "the manifest has no such image; write its image_id (the file name without suffix) or drop the row")
        facts = manifest.set_index("image_id").loc[table["image_id"], ["split", "label", "group"]]
    parts = [table[["image_id"]], facts, values]
    return pd.concat([part.reset_index(drop=True) for part in parts], axis=1)


def _refuse_header(file, table, needed):
    missing = [name for name in needed if name not in table.columns] or ["p_<class>"] * (len(classes(table)) < 2)
    if missing:
        raise PredictionsError(f"{file}, line 1: column {missing[0]!r} is missing; the header must name image_id and "
                               "one p_<class> column per class, separated by commas.")


def _refuse(file, table, bad, reason):
    if bad.any():
        row = table.index[bad][0]
        raise PredictionsError(f"{file}, line {row + 2}, image {table['image_id'][row]!r}: {reason} "
                               f"(so in {bad.sum()} of {len(table)} rows).")


def predictions_table(rows, probabilities, classes):
    """Return the predictions table of manifest ``rows``, in the order in which they were predicted.

    ``probabilities`` is an array (n rows, n classes), its columns in the order of the names ``classes``; another
    shape raises PredictionsError.
    """
    if np.shape(probabilities) != (len(rows), len(classes)):
        raise PredictionsError(f"The probabilities have the shape {np.shape(probabilities)}; {len(rows)} images and "
                               f"{len(classes)} classes need ({len(rows)}, {len(classes)}).")
    values = pd.DataFrame(np.asarray(probabilities, float), columns=[f"p_{name}" for name in classes])
    return pd.concat([rows[["image_id", "split", "label"]].reset_index(drop=True), values], axis=1)


def labelled(predictions, truth=None):
    """Return the predictions that have a true label, in ``label``; other columns stay as they are.

    An image without a label (missing or "") is left out. An image of a class that the model does not know stays in:
    the model can never name it, so it is an error, the class has a recall of 0 and a probability of 0.

    Parameters
    ----------
    predictions : predictions table.
    truth : Series of labels with image_id as its index, for instance a manifest's ``published_label``;
        None: the table's own labels.

    Raises
    ------
    PredictionsError
        If ``truth`` names an image twice, or none of the images.
    """
    if truth is None:
        return predictions[predictions["label"] != ""].reset_index(drop=True)
    if truth.index.has_duplicates:
        twice = truth.index[truth.index.duplicated()][0]
        raise PredictionsError(f"The true labels name {twice!r} twice; keep one label per image.")
    if len(predictions) and not predictions["image_id"].isin(truth.index).any():
        raise PredictionsError("The true labels name none of the images; their index must be image_id.")
    label = predictions["image_id"].map(truth).fillna("")
    return predictions.assign(label=label)[label != ""].reset_index(drop=True)


def outcomes(labelled):
    """Return the table with ``predicted`` (class), ``confidence`` (its probability) and ``correct`` (bool) added."""
    values = probabilities(labelled)
    called = np.array(classes(labelled), object)[values.argmax(axis=1)]
    return labelled.assign(predicted=called, confidence=values.max(axis=1), correct=called == labelled["label"])


def confusion(labelled, order=None):
    """Return the confusion matrix, a DataFrame of counts: true classes down, predicted across, in the given order.

    ``order`` names all classes; by default the worst come first (see :func:`by_malignancy`).
    """
    names = by_malignancy([*classes(labelled), *labelled["label"]]) if order is None else list(order)
    table = pd.crosstab(labelled["label"], outcomes(labelled)["predicted"])
    return table.reindex(index=names, columns=names, fill_value=0).rename_axis(index="true", columns="predicted")


def per_class(labelled):
    """Return precision, recall (with its Wilson 95 % interval), F1 and support (images) per class, worst class first.

    NaN: the precision of a class never called, the recall of a class without images. ``warning`` says where to beware.
    """
    counts = confusion(labelled)
    right, support, called = np.diag(counts), counts.sum(axis=1).to_numpy(), counts.sum(axis=0).to_numpy()
    low, high = wilson(right, support)
    warnings = ["the model does not know this class" if name not in classes(labelled) else "no images" if n == 0
                else "only 1 image" if n == 1 else f"only {n} images" if n < FEW else ""
                for name, n in zip(counts.index, support)]
    return pd.DataFrame({"precision": ratio(right, called), "recall": ratio(right, support), "recall_low": low,
                         "recall_high": high, "f1": ratio(2 * right, support + called), "support": support,
                         "warning": warnings}, index=counts.index.rename("class"))


def costliest(labelled):
    """Return the confusions, the costliest first: label, predicted, count, share of the label's images, kind.

    Kind is "missed cancer" (malignant called not malignant; first), "false alarm" (the reverse; second) or "" (also
    for classes unknown to ``MALIGNANT``). Within a kind the worse class comes first, then the larger count.
    """
    table = outcomes(labelled).query("not correct").groupby(["label", "predicted"]).size().reset_index(name="count")
    table["share"] = table["count"] / table["label"].map(labelled["label"].value_counts())
    kinds = {(True, False): "missed cancer", (False, True): "false alarm"}
    table["kind"] = [kinds.get((MALIGNANT.get(true), MALIGNANT.get(called)), "")
                     for true, called in zip(table["label"], table["predicted"])]
    costs = [[*kinds.values(), ""], by_malignancy(labelled["label"])]
    rank = pd.DataFrame({"kind": table["kind"].map(costs[0].index), "label": table["label"].map(costs[1].index),
                         "count": -table["count"], "predicted": table["predicted"]})
    return table.loc[rank.sort_values(list(rank)).index].reset_index(drop=True)


def score(labelled, intervals=False, seed=0):
    """Return the scores of a labelled table as a dictionary that JSON can hold; None where a score is undefined.

    n (images), accuracy, balanced_accuracy (mean recall of the classes that have images) and macro_f1 (mean F1 of the
    classes that have images or are called). With ``intervals`` also: n_unknown_class (images of a class the model does
    not know), auc_ovr (mean one-vs-rest area under the ROC curve of the classes where it is defined), top2_accuracy,
    log_loss (nats; probabilities below 2e-16 count as 2e-16; None if a class is unknown), brier (summed over classes:
    0 to 2), accuracy_interval (Wilson 1927) and <score>_bootstrap_interval for the first four scores: 95 % percentile
    intervals (Efron & Tibshirani 1993) over 2,000 resamples of the groups (lesions) where there is a ``group`` column,
    else of the images. They are [low, high]; None with fewer than two groups.
    """
    n, names, chance = len(labelled), classes(labelled), probabilities(labelled)
    labels = labelled["label"].to_numpy(object)
    once = weighted_scores(labels, names, chance, np.ones((1, n)))
    values = {name: number(value[0]) for name, value in once.items()}
    if not intervals:
        return {"n": n, **{name: values[name] for name in ("accuracy", "balanced_accuracy", "macro_f1")}}
    drawn = weighted_scores(labels, names, chance, resamples(labelled, seed))
    hit = labels[:, None] == np.array(names, object)
    unknown = int(n - hit.any(axis=1).sum())
    top2 = np.take_along_axis(hit, np.argsort(-chance, axis=1, kind="stable")[:, :2], axis=1).any(axis=1)
    surprise = -np.log(np.clip((chance * hit).sum(axis=1), np.finfo(float).eps, 1))
    brier = ((chance - hit) ** 2).sum(axis=1) + ~hit.any(axis=1)
    low, high = wilson(outcomes(labelled)["correct"].sum(), n)
    return {"n": n, "n_unknown_class": unknown, **values, "top2_accuracy": number(ratio(top2.sum(), n)),
            "log_loss": None if unknown else number(ratio(surprise.sum(), n)), "brier": number(ratio(brier.sum(), n)),
            "accuracy_interval": [float(low), float(high)] if n else None,
            **{f"{name}_bootstrap_interval": percentile_interval(value) for name, value in drawn.items()}}


def scores_table(named, seed=0):
    """Return the scores of ``named`` labelled tables (models, seeds, sets of labels): one row per name and score.

    Columns: name, score, value, low, high (Wilson for accuracy, else bootstrap, see :func:`score`; or NaN), n.
    """
    rows = []
    for name, table in named.items():
        scores = score(table, intervals=True, seed=seed)
        for key in ("accuracy", "balanced_accuracy", "macro_f1", "auc_ovr", "top2_accuracy", "log_loss", "brier"):
            interval = scores["accuracy_interval"] if key == "accuracy" else scores.get(f"{key}_bootstrap_interval")
            rows.append((name, key, scores[key], *(interval or (None, None)), scores["n"]))
    table = pd.DataFrame(rows, columns=["name", "score", "value", "low", "high", "n"])
    return table.astype({"value": float, "low": float, "high": float})


def compare(a, b, seed=0):
    """Compare two models on the same labelled images; return a dictionary.

    n, only_a_right, only_b_right (images); mcnemar_p (exact, two-sided; McNemar 1947; 1 where they never differ);
    difference (accuracy of ``a`` less that of ``b``; None with no image) and difference_interval (95 % percentile
    interval of a paired bootstrap over the groups where known, else the images; None with fewer than two).
    Tables of other images or other labels raise PredictionsError.
    """
    first, second = (outcomes(table).set_index("image_id").sort_index() for table in (a, b))
    if not first["label"].equals(second["label"]):
        raise PredictionsError(f"The two models were scored on other images or labels ({len(a)} and {len(b)} rows); "
                               "pass both tables through labelled() with the same true labels.")
    right_a, right_b = first["correct"].to_numpy(bool), second["correct"].to_numpy(bool)
    only_a, only_b = int((right_a & ~right_b).sum()), int((right_b & ~right_a).sum())
    gain, weights = right_a.astype(float) - right_b, resamples(first.reset_index(), seed)
    return {"n": len(gain), "only_a_right": only_a, "only_b_right": only_b,
            "mcnemar_p": float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue),
            "difference": number(ratio(gain.sum(), len(gain))),
            "difference_interval": percentile_interval(weights @ gain / weights.sum(axis=1))}
