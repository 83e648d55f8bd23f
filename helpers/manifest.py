"""The manifest: one table, one row per image, that every step of the course takes and returns."""

import csv
import hashlib
import os
import tempfile
from pathlib import Path

import pandas as pd

COLUMNS = [
    "image_id",
    "path",
    "published_label",
    "label",
    "split",
    "group",
    "collection",
    "sha256",
    "picture",
    "phash",
    "width",
    "height",
    "flag",
    "parent",
]
SPLITS = ["train", "val", "test"]
FLAGS = ["unreadable", "contradiction", "duplicate", "test twin", "class too small"]


class ManifestError(ValueError):
    """A manifest that breaks one of its rules; the message names the rule, the rows and what to do."""


def check(table):
    """Return ``table`` if it keeps the manifest's rules, else raise.

    The rules: exactly the columns of ``COLUMNS``; no path and no image_id twice; known splits and flags;
    among rows that take part (``flag`` is empty), no group in two splits, no row without a label,
    and an augmented image (``parent`` is set) only in the training split, beside its parent.

    Parameters
    ----------
    table : DataFrame, one row per image.

    Raises
    ------
    ManifestError
        With the rule, the first offending values and what to do.
    """
    if sorted(table.columns) != sorted(COLUMNS):
        odd = sorted(set(table.columns) ^ set(COLUMNS))
        raise ManifestError(
            f"The manifest's columns differ from what is known in {odd}; it is an older one, or changed by "
            "hand: run notebook 01 again."
        )
    for column in ("path", "image_id"):
        twice = table.loc[table[column].duplicated(), column]
        if len(twice):
            raise ManifestError(
                f"{len(twice)} {column} values stand in the manifest twice, first {twice.iloc[0]!r}; "
                "keep one row per image."
            )
    for column, known in (("split", SPLITS), ("flag", FLAGS)):
        odd = sorted(set(table[column]) - {*known, ""})
        if odd:
            raise ManifestError(f"The manifest's {column} has {odd}; the known values are {known} or empty.")
    used = active(table)
    if (used["label"] == "").any():
        raise ManifestError(
            f"{used.loc[used['label'] == '', 'image_id'].iloc[0]!r} takes part but has no label; flag it or label it."
        )
    placed = used[(used["split"] != "") & (used["group"] != "")]
    splits = placed.groupby("group")["split"].nunique()
    if (splits > 1).any():
        group = splits.index[splits > 1][0]
        raise ManifestError(
            f"{(splits > 1).sum()} groups cross splits, first {group!r}: one lesion or picture would "
            "be learned and tested; make the manifest again with notebook 01."
        )
    children = used[used["parent"] != ""]
    orphans = children[
        (children["split"] != "train") | ~children["parent"].isin(used.loc[used["split"] == "train", "image_id"])
    ]
    if len(orphans):
        raise ManifestError(
            f"Augmented image {orphans['image_id'].iloc[0]!r} is not in train beside its original; "
            "only training originals may be augmented."
        )
    return table


def active(table, split=None):
    """Return the rows that take part (``flag`` is empty), of one split ("train", "val", "test") or of all."""
    rows = table[table["flag"] == ""]
    return rows if split is None else rows[rows["split"] == split]


def fingerprint(table):
    """Return 12 hexadecimal digits that change with any image's bytes, label, split, group, collection, flag or parent.

    Paths are left out: the same images in another folder, or on another machine, have the same fingerprint.
    """
    columns = ["image_id", "published_label", "label", "split", "group", "collection", "sha256", "flag", "parent"]
    text = table[columns].sort_values("image_id").to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_text(text, file):
    """Write ``text`` to ``file`` atomically: a temporary file beside it, then a rename.

    Names of files that are not UTF-8 (Python reads their bytes as lone surrogates) come out as they were.
    """
    file = Path(file)
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, temporary = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
            stream.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(file)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def write(table, file, root):
    """Check ``table`` and write it to the CSV ``file`` atomically.

    Paths under ``root`` (the image folder) are stored relative to it, paths of augmented images relative to the
    file's own folder, so that a run folder still reads where the images lie elsewhere.
    """
    check(table)
    homes = table["parent"].map(lambda parent: Path(file).absolute().parent if parent else Path(root).absolute())
    stored = [_relative(path, home) for path, home in zip(table["path"], homes)]
    write_text(_csv(table.assign(path=stored)[COLUMNS]), file)


def read(file, root):
    """Read and check a manifest that :func:`write` made.

    Parameters
    ----------
    file : path of the CSV.
    root : folder of the images, as ``datasets.find`` returns it.

    Returns
    -------
    DataFrame with the columns of ``COLUMNS``: text, empty where unknown, but ``width`` and ``height`` in pixels
    (int, 0 where the file is unreadable). ``path`` is absolute.

    Raises
    ------
    ManifestError
        If the file breaks a rule (see :func:`check`).
    """
    try:
        table = pd.read_csv(file, dtype=str, keep_default_na=False, encoding_errors="surrogateescape")
    except ValueError as error:  # empty, cut off, binary
        raise ManifestError(f"{file} cannot be read as a manifest ({error}); run notebook 01 again.") from error
    if sorted(table.columns) == sorted(COLUMNS):
        homes = table["parent"].map(lambda parent: Path(file).absolute().parent if parent else Path(root).absolute())
        table["path"] = [str(home / path) for path, home in zip(table["path"], homes)]
        sizes = table[["width", "height"]]
        if not sizes.apply(lambda column: column.str.fullmatch(r"\d{1,9}")).all(axis=None):
            raise ManifestError(f"{file} has a width or height that is no number of pixels; run notebook 01 again.")
        table = table.astype({"width": int, "height": int})[COLUMNS]
    return check(table)


def _csv(table):
    return table.to_csv(
        index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC
    )  # a name may hold a carriage return


def _relative(path, home):
    path = Path(path).absolute()
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else path.as_posix()
