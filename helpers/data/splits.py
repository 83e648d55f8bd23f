"""Splits that do not leak: stratified by class, whole groups (lesion, picture) on one side, seeded."""

import warnings

import numpy as np
import pandas as pd
from sklearn.model_selection import StratifiedGroupKFold

from helpers import manifest
from helpers.data import families


def split(table, val_fraction=0.2, test_fraction=0.15, seed=0, val_cut="at random"):
    """Assign the images that take part to train, validation and test.

    A given Test (or validation) is kept as it is. What is missing is held out of the rest, in whole groups, by
    scikit-learn's StratifiedGroupKFold. Unless groups mix classes, a class of two or more groups is on both sides,
    and a class of one group in train. The fractions (0.05 to 0.5) are of the images left at that point, as near as
    whole groups allow; augmented copies (see ``families.originals``) are flagged where they are held out. The same
    ``seed`` gives the same split whatever the order of the rows. ``val_cut`` is "at random", or "first", which
    validates on each class's first groups by ``image_id``: the fairer rehearsal for a published Test cut so.

    Takes a manifest after ``labels.apply_labels``; returns it with ``split`` filled in every row that takes part.
    ValueError if a value is out of range, or too little is left to divide.
    """
    if val_cut not in ("at random", "first"):
        raise ValueError(f"val_cut is {val_cut!r}; choose 'at random' or 'first'.")
    fractions = {"test": test_fraction, "val": val_fraction}
    for name, fraction in fractions.items():
        if not 0.05 <= fraction <= 0.5:
            raise ValueError(f"{name}_fraction is {fraction}; choose one from 0.05 to 0.5.")
    require(table)
    table = table.copy()
    for name, fraction in fractions.items():
        rows = table[(table["flag"] == "") & table["split"].isin(["", "train"])].sort_values("image_id")
        if manifest.active(table, name).empty:
            first = name == "val" and val_cut == "first"
            table.loc[_first(rows, fraction) if first else _held_out(rows, fraction, seed), "split"] = name
            copies = (table["split"] == name) & (table["flag"] == "") & (families.originals(table) != "")
            table.loc[copies, ["flag", "label"]] = ["augmented copy", ""]
    table.loc[(table["flag"] == "") & (table["split"] == ""), "split"] = "train"
    if missing := [name for name in manifest.SPLITS if manifest.active(table, name).empty]:
        raise ValueError(f"{_size(table)} are too few to keep some for {' and '.join(missing)}; give more images.")
    return manifest.check(table)


def require(table):
    """Raise ValueError for a manifest that leaves nothing to learn, and say what is missing; rows have groups."""
    open_rows = table[table["split"].isin(["", "train"])]
    if open_rows.empty:
        raise ValueError(
            f"All {len(table)} images are in {' and '.join(sorted(set(table['split'])))}, none in Train: put images "
            "for training beside them, or rename the folders so that none is named after a split."
        )
    rows, flags = manifest.active(open_rows), table.loc[table["flag"] != "", "flag"].value_counts()
    left = f" Left out: {', '.join(f'{count} as {flag!r}' for flag, count in flags.items())}." if len(flags) else ""
    if rows["label"].nunique() < 2:
        small = open_rows.loc[open_rows["flag"] == "class too small", "published_label"].value_counts()
        if len(small):
            left += f" MIN_CLASS_SIZE leaves out classes with fewer training images; the largest has {small.iloc[0]}."
        there = f"Only the class {rows['label'].iloc[0]!r}" if len(rows) else "No image"
        ask = "If a folder names no class, give a table of labels in LABELS_CSV."
        raise ValueError(f"{there} is left to train on, but a classifier needs two classes. {ask}{left}")
    if rows["group"].nunique() < 2:
        raise ValueError(f"{_size(rows)} cannot be divided into training and validation; give more images.{left}")


def _size(rows):
    used = manifest.active(rows)
    return f"{len(used)} images in {used['group'].nunique()} groups (each of pictures that belong together)"


def _held_out(rows, fraction, seed):
    """Return the index of the rows to hold out: about ``fraction`` of each class, in whole groups."""
    rng = np.random.default_rng(seed)
    groups, names = pd.factorize(rows["group"])
    # Few folds divide small classes best: the fewest that give the fraction to within 0.008.
    near = {k: abs(round(fraction * k) / k - fraction) for k in range(2, 21)}
    k = min(next((k for k in near if near[k] <= 0.008), min(near, key=near.get)), len(names))
    # The splitter refuses more folds than the largest class has images; so few images are divided as one class.
    classes = rows["label"] if rows["label"].value_counts().max() >= k else np.zeros(len(rows))
    # Its own shuffling spoils the stratification before scikit-learn 1.8 (pull request 32540); shuffled numbers do not.
    groups = rng.permutation(len(names))[groups]
    fold = pd.Series(0, rows.index)
    with warnings.catch_warnings():  # it warns of classes smaller than k, which the docstrings promise to take
        warnings.simplefilter("ignore", UserWarning)
        for number, (_, held) in enumerate(StratifiedGroupKFold(k).split(rows, classes, groups)):
            fold.iloc[held] = number
    held = fold.isin(rng.permutation(k)[: max(round(fraction * k), 1)])
    for _, groups in rows.groupby("label")["group"]:
        inside, smallest = held[groups.index], rows["group"] == groups.value_counts(sort=False).idxmin()
        if inside.all():
            held[smallest] = False
        elif not inside.any() and groups.nunique() > 1:
            held[smallest] = True
    return held.index[held]


def _first(rows, fraction):
    """Return the index of the first ``fraction`` of each class by image_id, with the rest of their groups."""
    groups = rows.groupby(["label", "group"], sort=False).size().rename("images").reset_index()
    before = groups.groupby("label")["images"].cumsum() - groups["images"]
    early = before < fraction * groups.groupby("label")["images"].transform("sum")
    last = ~groups["label"].duplicated(keep="last")
    return rows.index[rows["group"].isin(groups.loc[early & ~last, "group"])]
