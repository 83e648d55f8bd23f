"""What the four corners of an image reveal of its class: the idea of Bissoto and others (2019, arXiv 1904.08818)."""

import numpy as np
import pandas as pd

from helpers import figures
from helpers.data.images import open_rgb, read_files
from helpers.evaluation import intervals

SIDE, CORNER = 96, 12  # pixels a side: of the image that is cut, and of each corner


def cut(paths):
    """Return the four corners of n images, each 12 of 96 pixels a side: uint8 (n, 4, 144, 3)."""
    return np.stack(read_files(_corners, list(paths)))


def covered(blocks):
    """Return grey images, uint8 (n, 96, 96, 3), on which only the corners that :func:`cut` returned are left."""
    images = np.full((len(blocks), SIDE, SIDE, 3), 128, np.uint8)
    for number, (rows, columns) in enumerate(_places()):
        images[:, rows, columns] = blocks[:, number].reshape(-1, CORNER, CORNER, 3)
    return images


def describe(blocks):
    """Return mean, spread and five percentiles of each channel of each corner: (n, 4, pixels, 3) becomes (n, 84)."""
    levels = np.moveaxis(np.percentile(blocks, [5, 25, 50, 75, 95], axis=2), 0, 2)
    facts = [blocks.mean(axis=2, keepdims=True), blocks.std(axis=2, keepdims=True), levels]
    return np.concatenate(facts, axis=2).reshape(len(blocks), -1)


def shares(train, val, classes, collections):
    """Return the shares of validation images that are right: always the largest class of training, and four corners.

    ``train`` and ``val`` are manifest rows, ``classes`` and ``collections`` what was predicted for ``val``. Returned
    are value, low and high (see ``intervals.share``), colour and guessed, as ``figures.shares`` takes them; two more
    rows for the collection, where training has several.
    """
    kinds = {"class": ("label", classes)}
    if len(set(train["collection"]) - {""}) > 1:
        kinds["collection"] = "collection", collections
    rows = {}
    for kind, (column, predicted) in kinds.items():
        largest = train[column].mode()[0]
        rows[f"always {largest or 'unknown'}"] = intervals.share(val[column] == largest, val["group"])
        rows[f"the {kind}, from four corners"] = intervals.share(val[column] == predicted, val["group"])
    colours = [figures.GREY, figures.SPLIT_COLOURS["train"]] * len(kinds)
    return pd.DataFrame(rows, ["value", "low", "high"]).T.assign(colour=colours, guessed=np.arange(len(rows)) < 2)


def sentence(found, guess):
    """Say in words what :func:`shares` found, beside the reader's ``guess`` (0 to 1)."""
    found = found[["value", "low", "high"]]
    always, (value, low, high) = found["value"].iloc[0], found.iloc[1]
    said, more = "reveal something" if low > always else "do not clearly reveal anything", ""
    if len(found) > 2:
        largest, (seen, *ends) = found["value"].iloc[2], found.iloc[3]
        more = "They predict the collection correctly for {:.0%} ({:.0%} to {:.0%}); ".format(seen, *ends)
        more += f'"{found.index[2]}" is right for {largest:.0%}.\n'
    return (
        f"You guessed {guess:.0%}. Four corners alone classify {value:.0%} of the validation images correctly\n"
        f'(95% interval {low:.0%} to {high:.0%}); "{found.index[0]}" is right for {always:.0%}.\n'
        f"{more}So the corners {said} about the class."
    )


def _corners(path):
    image = np.asarray(open_rgb(path, (SIDE, SIDE)).resize((SIDE, SIDE)))
    return np.stack([image[rows, columns].reshape(-1, 3) for rows, columns in _places()])


def _places():
    ends = slice(0, CORNER), slice(SIDE - CORNER, SIDE)
    return [(rows, columns) for rows in ends for columns in ends]
