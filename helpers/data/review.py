"""What notebook 01 shows: examples, counts and mean colours, pictures filed under two classes, the ledger in words."""

import numpy as np
import pandas as pd

from helpers import manifest
from helpers.data import splits
from helpers.data.images import open_rgb, read_files

MEANINGS = {  # of the ledger's columns, short enough for a table
    "unreadable": "the file cannot be read",
    "contradiction": "one picture in two classes, and no official label",
    "duplicate": "another file of the same picture is kept",
    "augmented copy": "a changed version of another picture",
    "test twin": "one of its group is in Test or a given validation",
    "class too small": "its class has too few training images left",
    "moved out": "an official label gives it another class",
    "moved in": "an official label gives it this class",
}
NAMES = {"test twin": "also in Test"}  # a flag's name in tables for reading, where it is another


def examples(table, seed, each=2):
    """Return up to ``each`` usable rows of each ``label``, drawn at random, in the order of the labels.

    ValueError if the manifest leaves nothing to learn from (see ``splits.require``).
    """
    splits.require(table.assign(group=table["image_id"]))
    rows = manifest.active(table).sample(frac=1, random_state=seed)
    return rows.groupby("label").head(each).sort_values("label")


def counts(table):
    """Return the images of each label (rows, the smallest first) in each split (columns; "" counts as Train)."""
    found = pd.crosstab(table["label"], table["split"].replace("", "train"))
    found = found.reindex(columns=[name for name in ("train", "val", "test") if name in found])
    return found.loc[found.sum(axis=1).sort_values().index]


def thumbnails(paths):
    """Return images as float32 (n, 32, 32, 3), 0 to 255."""
    small = read_files(lambda path: np.asarray(open_rgb(path, (32, 32)).resize((32, 32))), list(paths))
    return np.stack(small).astype("float32")


def mean_images(pixels, labels):
    """Return {label: mean of its images}, in the order of the labels."""
    labels = np.asarray(labels)
    return {name: pixels[labels == name].mean(axis=0) for name in sorted(set(labels))}


def blue_of_edge(image):
    """Return how much of the light of the outermost pixels is blue, in percent, of an image (height, width, 3)."""
    edge = np.concatenate([image[0], image[-1], image[:, 0], image[:, -1]])
    return 100 * edge[:, 2].sum() / max(edge.sum(), 1)


def ends(values, unit=""):
    """Return the smallest and the largest of a Series in words, such as "69 (nevus) to 125 (melanoma)"; one alone."""
    rows = values.sort_values(kind="stable").iloc[[0, -1]][: len(values)]
    return " to ".join(f"{value:.0f}{unit} ({name})" for name, value in rows.items())


def contradictions(table, most=6):
    """Return the rows of up to ``most`` pictures that are filed under two classes, two neighbouring rows each."""
    rows = table[table["flag"] != "unreadable"].drop_duplicates(["picture", "published_label"])
    rows = rows[rows.duplicated("picture", keep=False)].sort_values(["picture", "published_label"])
    rows = rows.groupby("picture").head(2)
    return rows[rows.groupby("picture").ngroup() < most]


def contradictions_in_words(shown, found):
    """Say how many pictures :func:`contradictions` shows, of how many that ``audit.findings`` found."""
    every = found["lists"]["contradictory_images"]
    if not every:
        return "No picture is filed under two classes"
    files, here = sum(map(len, every)), shown["picture"].nunique()
    return f"Pictures filed under two classes: {len(every)} (in {files} files); shown here: {here}"


def reasons(ledger):
    """Return what happened to images, one row per column of ``labels.ledger`` that is not zero throughout.

    Columns: ``what it means``, and the number of images (0 or more) of each split. If there is none, a row says so.
    """
    moves = ledger.drop(columns=["published", "audited"]).abs()
    counts = moves.groupby("split").sum().rename(index={"": "all"}).T
    meanings = pd.Series(MEANINGS, name="what it means").reindex(counts.index).to_frame()
    found = meanings.join(counts)[counts.any(axis=1)].rename(index=NAMES)
    if found.empty:
        found.loc["none"] = ["every file is used, under its own label", *[0] * counts.shape[1]]
    return found.rename_axis("reason")


def changes(ledger):
    """Return published, left out, moved and audited files of the classes of ``labels.ledger`` that change (else all).

    Each row adds up: what is taken away is below 0.
    """
    book = ledger.groupby("class").sum()
    moves = book[["moved out", "moved in"]]
    book.insert(1, "left out", book["audited"] - book["published"] - moves.sum(axis=1))
    changed = moves.any(axis=1) | (book["left out"] != 0)
    return book.loc[changed | (not changed.any()), ["published", "left out", *moves, "audited"]]
