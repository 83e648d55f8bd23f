"""Scores of a predictions table, any model's: one row per image, with image_id, split, label and ``p_<class>``.

The probabilities of a row lie between 0 and 1 and sum to 1. The class that is predicted is the most probable one; of
equals, the first column.
"""

import numpy as np
import pandas as pd

from helpers import manifest as manifests
from helpers.data import classes as names_of
from helpers.data import datasets, duplicates, families, labels, matching
from helpers.evaluation.intervals import bootstrap, number, ratio, share, units
from helpers.runs import RunError

FEW = 10  # a class or subgroup with fewer images gets a plain warning


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
    label of its active rows must have a column, every readable image of its validation and Test a row, and split, label
    and group come from it; without it there is no group. RunError if the file is no such table, or a row's values are
    no probabilities (0 to 1, with a sum of 1 within 0.001).
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, skip_blank_lines=False, encoding="utf-8-sig")
    except (OSError, ValueError) as error:  # not there, empty, not a table, not text
        out = "run the notebook that makes it (03 or 04), or write image_id and one p_<class> column per class"
        raise RunError(f"{file} cannot be read as a table ({error!s:.200}); {out}.") from error
    table.columns = table.columns.astype(str).str.strip()
    table = table.reset_index(drop=True)[(table != "").any(axis=1).to_numpy()]
    known = [] if manifest is None else sorted(set(manifests.active(manifest)["label"]))
    missing = [name for name in ["image_id", *(f"p_{label}" for label in known)] if name not in table.columns]
    missing += ["p_<class>"] * (len(classes(table)) < 2)
    remade = "If the course wrote it, delete it: its notebook then runs again."
    if missing or table.empty:
        odd = f"column {missing[0]!r} is missing" if missing else "there are no images below it"
        needed = "a header of image_id and one p_<class> column per class, separated by commas, then a row per image"
        raise RunError(f"{file}, line 1: {odd}; write {needed}. {remade}")
    names = [f"p_{name}" for name in sorted(classes(table))]
    values = table[names].apply(pd.to_numeric, errors="coerce").astype(float)
    right = values.ge(0).all(axis=1) & values.le(1).all(axis=1) & values.sum(axis=1).sub(1).abs().le(1e-3)
    strange = [] if manifest is None else ~table["image_id"].isin(manifest["image_id"])
    for bad, reason in (
        (~right, "its values are not probabilities from 0 to 1 that sum to 1; write softmax outputs of all classes"),
        (table["image_id"].duplicated(), "the image is already in a row above; keep one row per image"),
        (strange, "the manifest has no such image; write its image_id (file name without suffix)"),
    ):
        if any(bad):
            place = f"line {table.index[bad][0] + 2}, image {table['image_id'][bad].iloc[0]!r}"
            raise RunError(f"{file}, {place}: {reason} (so in {sum(bad)} of {len(table)} rows). {remade}")
    facts = table.reindex(columns=["split", "label"], fill_value="")
    if manifest is not None:
        scored = manifest[(manifest["split"] == "test") & (manifest["flag"] != "unreadable")]
        scored = pd.concat([manifests.active(manifest, "val"), scored])["image_id"]
        absent = scored[~scored.isin(table["image_id"])]
        if len(absent):
            every = f"{len(absent)} of the {len(scored)} images of validation and Test are missing"
            raise RunError(f"{file}: {every}, such as {absent.iloc[0]!r}; write a row for each. {remade}")
        facts = manifest.set_index("image_id").loc[table["image_id"], ["split", "label", "group"]]
    return pd.concat([part.reset_index(drop=True) for part in (table[["image_id"]], facts, values)], axis=1)


def predictions_table(rows, probabilities, classes):
    """Return the predictions table of n manifest ``rows`` from an array (n, k) of the k ``classes``, in their order."""
    values = pd.DataFrame(np.asarray(probabilities, float), columns=[f"p_{name}" for name in classes])
    return pd.concat([rows[["image_id", "split", "label"]].reset_index(drop=True), values], axis=1)


def write_predictions(folder, table, classes, predict):
    """Write predictions.csv of a network into its ``folder``: the validation and the readable Test images; return it.

    ``table`` is the manifest; ``predict`` takes manifest rows and returns probabilities (n, k) of the k ``classes``.
    """
    test = table[(table["split"] == "test") & (table["flag"] != "unreadable")]
    parts = [predictions_table(rows, predict(rows), classes) for rows in (manifests.active(table, "val"), test)]
    found = pd.concat(parts, ignore_index=True)
    manifests.write_text(found.to_csv(index=False), folder / "predictions.csv")
    return found


def labelled(predictions, truth=None):
    """Return the predictions with the true label of ``truth``, a Series by image_id; None: with the table's own.

    An image without a label (missing or "") is left out; one of a class that the model does not know is an error.
    """
    label = predictions["label"] if truth is None else predictions["image_id"].map(truth).fillna("")
    return predictions.assign(label=label)[label != ""].reset_index(drop=True)


def external(data_dir, table, classes, metadata):
    """Return the readable images of another set that are new to the manifest ``table`` and of one of ``classes``.

    Not new is an image that is in the table, or nearly (see ``duplicates.near_duplicates``), or of one of its lesions
    or patients, as public ids in ``metadata`` (``labels.official_labels`` of the table) and the other set say. Returned
    are manifest rows with groups, labelled with the name in ``classes``, and what is officially known of them;
    printed is how many of how many, and what is missing. Errors are those of ``datasets.find`` and
    ``datasets.list_images``.
    """
    own = {names_of.key(name): name for name in classes}
    listed, facts, _ = datasets.list_images(datasets.find(data_dir))
    rows = duplicates.inspect(listed).query("flag == ''").reset_index(drop=True)
    rows = rows.join(labels.official_labels(rows, facts), on="image_id")
    table = table[(table["parent"] == "") & (table["picture"] != "")].join(metadata, on="image_id")
    known, group = _groups(table, rows)
    label = rows["label"].map(lambda name: own.get(names_of.key(name), ""))
    others = sorted(rows["label"][label == ""].unique())
    left = {f"are of other classes ({', '.join(others)})": label == ""}
    left |= {"show what the images of the course show already": group.isin(known)}
    left |= {"are augmented copies": families.originals(rows) != ""}
    found = rows.assign(label=label, group=group)[~np.any([*left.values()], axis=0)].reset_index(drop=True)
    print(f"{len(found)} of {len(rows)} images are new and of classes that the networks learned.")
    if missing := sorted(set(classes) - set(found["label"])):
        print(f"None is of {', '.join(missing)}.")
    if alike := sum(found[name].isin(set(table[name]) - {""}) for name in ("lesion_id", "patient_id")).gt(0).sum():
        print(f"{alike} of them have a lesion or patient id that the course's images have too; they count as others.")
    if said := [f"{out.sum()} {what}" for what, out in left.items() if out.any()]:
        print(f"Left out: {', '.join(said)}.")
    return found


def _groups(table, rows):
    """Return the groups of a manifest's images and of another set's, both with what is officially known of them."""
    both = pd.concat([table.assign(image_id="own " + table["image_id"]), rows], ignore_index=True)
    both = both[manifests.COLUMNS].assign(group="")
    local = rf"(?<!\S)(?=\S)(?!{datasets.PUBLIC_ID})"  # before an id that means nothing in another set
    ids = (part[["lesion_id", "patient_id"]] for part in (table, rows))
    ties = pd.concat([each.replace(local, mark, regex=True) for each, mark in zip(ids, ("own:", "new:"))])
    ties = ties.set_axis(both["image_id"])
    named = both["path"].str.extract(rf"({matching.ID})(?!\d)[^/]*$")[0].fillna("")
    ties["lesion_id"] += " " + named.to_numpy()  # a public id in a file's name ties as a lesion does
    group = duplicates.group(both, ties, duplicates.near_duplicates(both))["group"].to_numpy()
    return group[: len(table)], pd.Series(group[len(table) :])


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


def missed(labelled, positive):
    """Return a sentence that counts the images of ``positive`` classes predicted as another kind, and the reverse."""
    table = outcomes(labelled)
    true, predicted = (table[column].isin(positive) for column in ("label", "predicted"))
    missed, alarms, kind = (true & ~predicted).sum(), (~true & predicted).sum(), names_of.kind(positive)
    return f"{missed} of {true.sum()} {kind} are missed; {alarms} of {(~true).sum()} others are false alarms"


def per_class(labelled, malignant=()):
    """Return precision, recall (with its Wilson 95% interval), F1, support (images) and a warning per class.

    The malignant come first. NaN: the precision of a class never predicted, the recall of a class without images.
    """
    table, counts = outcomes(labelled), confusion(labelled, malignant)
    names, right = counts.index.rename("class"), np.diag(counts)
    support, predicted = counts.sum(axis=1).to_numpy(), counts.sum(axis=0).to_numpy()
    result = pd.DataFrame({"precision": ratio(right, predicted), "recall": ratio(right, support)}, names)
    result = result.assign(f1=ratio(2 * right, support + predicted), support=support)
    own = [table[table["label"] == name] for name in names]
    result[["recall_low", "recall_high"]] = [share(rows["correct"], units(rows))[1:] for rows in own]
    result["warning"] = np.where(result["support"] < FEW, "few images", "")
    result.loc[~result.index.isin(classes(labelled)), "warning"] = "not learned"
    return result[["precision", "recall", "recall_low", "recall_high", "f1", "support", "warning"]]


def score(labelled, seed=0):
    """Return the scores of a labelled table as a dictionary that JSON can hold; None where a score is undefined.

    n (images), accuracy, balanced_accuracy (mean recall of the classes that have images), macro_f1 (mean F1 of those
    and of the predicted ones), and <score>_interval: 95%, [low, high], by lesion (``group``); Wilson's, bootstraps'.
    """
    table = outcomes(labelled)
    every = np.array(sorted({*classes(labelled), *table["label"]}), object)
    is_of, is_called = ((table[column].to_numpy()[:, None] == every).astype(float) for column in ("label", "predicted"))

    def means(weights):
        right, support = weights @ (is_of * is_called), weights @ is_of
        recall, f1 = ratio(right, support), ratio(2 * right, support + weights @ is_called)
        return np.stack([ratio(np.nansum(part, 1), (~np.isnan(part)).sum(1)) for part in (recall, f1)], axis=1)

    accuracy, *ends = share(table["correct"], units(table))
    result = {"n": len(table), "accuracy": number(accuracy), "accuracy_interval": ends if len(table) else None}
    values, intervals = means(np.ones((1, len(table))))[0], bootstrap(means, units(table), seed)
    for name, value, interval in zip(("balanced_accuracy", "macro_f1"), values, intervals):
        result |= {name: number(value), f"{name}_interval": interval}
    return result


def compare(a, b, seed=0):
    """Compare two models on the same labelled images; RunError if they are not the same.

    Returns a dictionary: only_a_right, only_b_right (images), difference (accuracy of ``a`` less that of ``b``; None
    with no image) and difference_interval (95%, of a paired bootstrap by lesion; None with fewer than two).
    """
    first, second = (outcomes(table).set_index("image_id", drop=False).sort_index() for table in (a, b))
    if not first["label"].equals(second["label"]):
        raise RunError("The two models were scored on other images or labels; give labelled() the same truth.")
    gain = first["correct"].astype(int) - second["correct"].astype(int)
    interval = bootstrap(lambda weights: ratio(weights @ gain, weights.sum(axis=1))[:, None], units(first), seed)[0]
    found = {"only_a_right": int((gain == 1).sum()), "only_b_right": int((gain == -1).sum())}
    return found | {"difference": number(gain.mean()), "difference_interval": interval}
