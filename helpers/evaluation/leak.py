"""The leak: what a nearest neighbour scores when copies of one image lie on both sides of the split."""

import functools

import numpy as np
import pandas as pd
from sklearn.model_selection import GroupShuffleSplit, train_test_split
from sklearn.neighbors import KNeighborsClassifier

from helpers import augmentation, figures, messages
from helpers.data.images import open_rgb

COLOURS = [f"{channel} {level}" for channel in ("red", "green", "blue") for level in range(16)]  # dark to bright
WAYS = ["augmented, then split at random", "split by group first, then augmented"]
SIDE = 64  # pixels of the pictures that are compared


def pictures(rows, pipeline, copies, seed, most=2000):
    """Return a table of ``most`` images at most and ``copies`` augmented copies of each, one picture a row.

    ``rows`` are manifest rows with a column ``code``, the number of the class; ``pipeline`` is an Augmentor.Pipeline.
    The columns are ``image_id``, ``path``, ``group``, ``code``, ``copy`` (0: the original) and those of ``COLOURS``:
    shares of the pixels in 16 bins of each channel.
    """
    chosen = rows.sample(min(len(rows), most), random_state=seed)[["image_id", "path", "group", "code"]]
    table = chosen.loc[chosen.index.repeat(copies + 1)].reset_index(drop=True)
    table["copy"] = np.arange(len(table)) % (copies + 1)
    drawn = messages.progress(map(histogram, draw(table, pipeline, seed)), "Comparing colours", len(table))
    return table.join(pd.DataFrame(drawn, columns=COLOURS))


def draw(table, pipeline, seed):
    """Yield the pictures of such a table's rows, 64 pixels a side: the same for the same seed."""
    small = functools.lru_cache(1)(lambda path: open_rgb(path).resize((SIDE, SIDE)))  # its copies follow an image
    for row in table.itertuples():
        picture = small(row.path)
        yield augmentation.apply(pipeline, picture, f"{seed} {row.image_id} {row.copy}") if row.copy else picture


def histogram(image):
    """Return the shares of an RGB image's pixels in 16 bins of red, green and blue: 48 numbers."""
    counts = np.array(image.histogram())  # Pillow counts each of the 256 values of each channel
    return counts.reshape(48, 16).sum(axis=1) / (image.width * image.height)


def score(learned, checked):
    """Return the accuracy (0 to 1) of the nearest neighbour among the rows ``learned`` for the rows ``checked``."""
    nearest = KNeighborsClassifier(n_neighbors=1).fit(learned[COLOURS], learned["code"])
    return nearest.score(checked[COLOURS], checked["code"])


def compare(everything, test, seed):
    """Split ``everything`` in both ``WAYS``, with three seeds each, and score validation and Test.

    Returns a table of ``way``, ``seed``, ``validation`` and ``test`` (accuracies, 0 to 1).
    """
    rows = []
    for number in range(3):
        split_seed = (seed + number) % 2**32
        for way, (learned, checked) in zip(WAYS, _splits(everything, split_seed)):
            rows.append([way, split_seed, score(learned, checked), score(learned, test)])
    return pd.DataFrame(rows, columns=["way", "seed", "validation", "test"])


def shares(compared):
    """Return the accuracies of both ``WAYS`` as ``figures.shares`` takes them.

    ``value`` is the mean of three splits, ``low`` and ``high`` are the lowest and the highest of them; ``colour`` is
    that of validation or Test, and ``guessed`` is Test after the leak.
    """
    found = compared.groupby("way", sort=False)[["validation", "test"]].agg(["mean", "min", "max"])
    found = found.stack(0, future_stack=True).set_axis(["value", "low", "high"], axis=1)
    ways, splits = ("augmented, then split", "split first, then augmented"), ("validation", "Test")
    colours = [figures.SPLIT_COLOURS["val"], figures.SPLIT_COLOURS["test"]] * 2
    names = [f"{way}: {split}" for way in ways for split in splits]
    return found.set_axis(names).assign(colour=colours, guessed=[False, True, False, False])


def sentence(found, guess):
    """Say in words what :func:`shares` found, beside the reader's ``guess`` of Test (0 to 1)."""
    leaked, kept, honest, test = (100 * found["value"]).round().astype(int)
    return (
        f"You guessed {guess:.0%} of Test. With the leak, validation says {leaked}%, and Test {kept}%.\n"
        f"Without it, validation says {honest}%, and Test {test}%. So the leak changed what validation says by\n"
        f"{abs(leaked - honest)} percentage points, and what the classifier gets right on Test by {abs(kept - test)}."
    )


def pairs(nearest, learned, checked, number=6):
    """Return ``number`` rows of ``checked``, and below them the row of ``learned`` that is ``nearest`` to each.

    The column ``picture`` says which is which, ``same`` whether a nearest row is of the same original.
    """
    above = checked.head(number)
    below = learned.iloc[nearest.kneighbors(above[COLOURS], return_distance=False)[:, 0]]
    same = below["image_id"].to_numpy() == above["image_id"].to_numpy()
    return pd.concat([above.assign(picture="validation", same=False), below.assign(picture="nearest", same=same)])


def _splits(everything, seed):
    """Return (rows to learn from, rows to validate on), a fifth of the images, for each of the ``WAYS``."""
    originals = everything[everything["copy"] == 0]
    splitter = GroupShuffleSplit(n_splits=1, test_size=0.2, random_state=seed)
    learned, checked = next(splitter.split(originals, groups=originals["group"]))
    own = everything["group"].isin(originals["group"].iloc[learned])
    at_random = train_test_split(everything, test_size=0.2, random_state=seed)
    return [at_random, (everything[own], originals.iloc[checked])]
