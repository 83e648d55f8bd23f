"""The manifest: one table, one row per image, that every step of the course takes and returns."""

import contextlib
import csv
import glob
import hashlib
import os
import secrets
import time
from pathlib import Path

import pandas as pd

SET = ["image_id", "path", "published_label", "label", "split", "group", "collection"]  # what the set says
PICTURE = ["sha256", "picture", "phash", "width", "height"]  # what audit.inspect finds in the file
COLUMNS = [*SET, *PICTURE, "flag", "parent"]
SPLITS = ["train", "val", "test"]
FLAGS = ["unreadable", "contradiction", "augmented copy", "duplicate", "test twin", "class too small"]


class ManifestError(ValueError):
    """A manifest that breaks one of its rules; the message names the rule, the rows and what to do."""


def check(table):
    """Return ``table`` if it keeps the manifest's rules, else raise a ManifestError that names the first broken one.

    They are below; those of labels, groups and augmented images (``parent`` is set) are of rows with an empty ``flag``.
    """
    if odd := sorted(set(table.columns) ^ set(COLUMNS)):
        raise ManifestError(f"The manifest's columns differ from what is known in {odd}; run notebook 01 again.")
    used = active(table)
    train = used.loc[used["split"] == "train", "image_id"]
    added = used[used["parent"] != ""]
    orphans = added.loc[~(added["image_id"].isin(train) & added["parent"].isin(train)), "image_id"]
    splits = used[(used["split"] != "") & (used["group"] != "")].groupby("group")["split"].nunique()
    broken = {
        "path values occur twice; keep one row per image": table["path"][table["path"].duplicated()],
        "image_id values occur twice; keep one row per image": table["image_id"][table["image_id"].duplicated()],
        f"values of split are not known; choose from {SPLITS}": table["split"][~table["split"].isin([*SPLITS, ""])],
        f"values of flag are not known; choose from {FLAGS}": table["flag"][~table["flag"].isin([*FLAGS, ""])],
        "images are used but have no label; flag or label them": used["image_id"][used["label"] == ""],
        "groups cross splits, so training would see what is tested; run notebook 01 again": splits.index[splits > 1],
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
    """Return 12 hexadecimal digits that change with any image's bytes, file name, label, split, group, flag and so on.

    Folders are left out: the same images in another folder, or on another machine, have the same fingerprint.
    """
    facts = table[COLUMNS].drop(columns=["picture", "phash", "width", "height"])
    facts = facts.assign(path=facts["path"].map(os.path.basename))
    text = facts.sort_values("image_id").to_csv(index=False, lineterminator="\n")
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def write_text(text, file):
    """Write ``text`` to ``file`` as :func:`write_bytes` does; remove what a killed run began a minute ago or more.

    Names of files that are not UTF-8 come out as they were.
    """
    for old in Path(file).parent.glob(f".{glob.escape(Path(file).name)}.*.part"):
        with contextlib.suppress(FileNotFoundError):  # another process was quicker
            if time.time() - old.stat().st_mtime > 60:
                old.unlink()
    write_bytes(text.encode("utf-8", "surrogateescape"), file)


def write_bytes(data, file):
    """Write bytes to ``file`` atomically: a temporary file beside it, then a rename. An OSError names ``file``."""
    file = Path(file)
    part = file.with_name(f".{file.name}.{secrets.token_hex(4)}.part")
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        try:
            part.write_bytes(data)
            part.replace(file)
        finally:
            part.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(file)) from error


def write(table, file, root):
    """Check ``table`` and write it to the CSV ``file`` atomically.

    Paths are stored relative to ``root`` (the image folder), of augmented images relative to the file's own folder, so
    that a run folder still reads where the images lie elsewhere.
    """
    stored = []
    for path, home in zip(check(table)["path"], _homes(table, file, root)):
        path = Path(path).absolute()
        stored.append((path.relative_to(home) if path.is_relative_to(home) else path).as_posix())
    table = table.assign(path=stored)[COLUMNS]  # quoted: a name may hold a carriage return
    write_text(table.to_csv(index=False, lineterminator="\n", quoting=csv.QUOTE_NONNUMERIC), file)


def read(file, root):
    """Read a manifest that :func:`write` made of images in the folder ``root``, check it and return it.

    Its columns, ``COLUMNS``, are text, empty where unknown, but ``width`` and ``height`` in pixels (int, 0 where the
    file is unreadable). ``path`` is absolute. ManifestError if it cannot be read or breaks a rule (:func:`check`).
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
