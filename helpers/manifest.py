"""The manifest: one table, one row per image, that every step of the course takes and returns."""

import csv
import glob
import hashlib
import os
import tempfile
import time
from pathlib import Path

import pandas as pd

SET = ["image_id", "path", "published_label", "label", "split", "group", "collection"]  # what the set says
PICTURE = ["sha256", "picture", "phash", "width", "height"]  # what audit.inspect finds in the file
COLUMNS = [*SET, *PICTURE, "flag", "parent"]
SPLITS = ["train", "val", "test"]
FLAGS = ["unreadable", "contradiction", "duplicate", "test twin", "class too small"]


class ManifestError(ValueError):
    """A manifest that breaks one of its rules; the message names the rule, the rows and what to do."""


def check(table):
    """Return ``table`` if it keeps the manifest's rules, else raise.

    The rules: exactly the columns of ``COLUMNS``; no path and no image_id twice; known splits and flags;
    among rows that take part (``flag`` is empty), no group in two splits, no row without a label,
    and an augmented image (``parent`` is set) only in the training split, beside its parent.

    Raises
    ------
    ManifestError
        With the rule, the first offending value and what to do.
    """
    if odd := sorted(set(table.columns) ^ set(COLUMNS)):
        raise ManifestError(
            f"The manifest's columns differ from what is known in {odd}; it is an older one, or changed by "
            "hand: run notebook 01 again."
        )
    used = active(table)
    train = used.loc[used["split"] == "train", "image_id"]
    added = used[used["parent"] != ""]
    orphans = added.loc[~(added["image_id"].isin(train) & added["parent"].isin(train)), "image_id"]
    splits = used[(used["split"] != "") & (used["group"] != "")].groupby("group")["split"].nunique()
    broken = {
        "path values stand in it twice; keep one row per image": table["path"][table["path"].duplicated()],
        "image_id values stand in it twice; keep one row per image": table["image_id"][table["image_id"].duplicated()],
        f"values of split are not known; choose from {SPLITS}": table["split"][~table["split"].isin([*SPLITS, ""])],
        f"values of flag are not known; choose from {FLAGS}": table["flag"][~table["flag"].isin([*FLAGS, ""])],
        "images take part but have no label; flag or label them": used["image_id"][used["label"] == ""],
        "groups cross splits: one lesion or picture would be learned and tested; make the manifest again with "
        "notebook 01": splits.index[splits > 1],
        "augmented images are not in train beside their original; augment training originals only": orphans,
    }
    for rule, values in broken.items():
        if len(values):
            raise ManifestError(f"The manifest is broken at {values[:1].item()!r}: {len(values)} {rule}.")
    return table


def active(table, split=None):
    """Return the rows that take part (``flag`` is empty), of one split ("train", "val", "test") or of all."""
    rows = table[table["flag"] == ""]
    return rows if split is None else rows[rows["split"] == split]


def fingerprint(table):
    """Return 12 hexadecimal digits that change with any image's bytes, label, split, group, collection, flag or parent.

    Paths are left out: the same images in another folder, or on another machine, have the same fingerprint.
    """
    facts = table[COLUMNS].drop(columns=["path", "picture", "phash", "width", "height"])
    text = facts.sort_values("image_id").to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_text(text, file):
    """Write ``text`` to ``file`` atomically: a temporary file beside it, then a rename.

    Names of files that are not UTF-8 (Python reads their bytes as lone surrogates) come out as they were. An OSError
    names ``file``. Temporary files that a killed run left a minute ago or more are removed.
    """
    file, temporary = Path(file), None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        for old in file.parent.glob(f".{glob.escape(file.name)}.*.part"):
            if time.time() - old.stat().st_mtime > 60:
                old.unlink(missing_ok=True)
        handle, temporary = tempfile.mkstemp(".part", f".{file.name}.", file.parent)
        with os.fdopen(handle, "w", encoding="utf-8", errors="surrogateescape", newline="\n") as stream:
            stream.write(text)
        Path(temporary).chmod(0o644)
        Path(temporary).replace(file)
    except BaseException as error:
        if temporary:
            Path(temporary).unlink(missing_ok=True)
        if isinstance(error, OSError):
            raise OSError(error.errno, error.strerror, str(file)) from error
        raise


def write(table, file, root):
    """Check ``table`` and write it to the CSV ``file`` atomically.

    Paths under ``root`` (the image folder) are stored relative to it, paths of augmented images relative to the
    file's own folder, so that a run folder still reads where the images lie elsewhere.
    """
    stored = []
    for path, home in zip(check(table)["path"], _homes(table, file, root)):
        path = Path(path).absolute()
        stored.append((path.relative_to(home) if path.is_relative_to(home) else path).as_posix())
    table = table.assign(path=stored)[COLUMNS]  # quoted: a name may hold a carriage return
    write_text(table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC), file)


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
        If the file cannot be read, or breaks a rule (see :func:`check`).
    """
    types = dict.fromkeys(COLUMNS, str) | {"width": int, "height": int}
    try:
        table = pd.read_csv(file, dtype=types, keep_default_na=False, encoding_errors="surrogateescape")
    except (ValueError, OverflowError) as error:  # empty, cut off, binary, a size that is no number
        raise ManifestError(f"{file} cannot be read as a manifest ({error}); run notebook 01 again.") from error
    if {"path", "parent"} <= set(table):
        table["path"] = [str(home / path) for path, home in zip(table["path"], _homes(table, file, root))]
    return check(table)[COLUMNS]


def _homes(table, file, root):
    """Return the folder that each row's stored path is relative to."""
    return [Path(file).absolute().parent if parent else Path(root).absolute() for parent in table["parent"]]
