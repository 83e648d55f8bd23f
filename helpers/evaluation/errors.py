"""Why images are misclassified: poor pictures, and the camera instead of the lesion."""

import numpy as np
import pandas as pd
from scipy.ndimage import laplace

from helpers.evaluation.intervals import share, units


def among(correct, questions):
    """Count of how many images each question is true, among the misclassified and among the others, as text "5 (31%)".

    ``correct`` is bool (n,), ``questions`` {question: bool (n,)}; returned is a DataFrame with a row for each question.
    """
    correct, result = np.asarray(correct, bool), pd.DataFrame(index=list(questions))
    for title, rows in (("misclassified", ~correct), ("classified correctly", correct)):
        counts = [np.sum(true & rows) for true in questions.values()]
        result[f"of {rows.sum()} {title}"] = [f"{n} ({n / max(rows.sum(), 1):.0%})" for n in counts]
    return result


def quality(pixels):
    """Return ``brightness`` (mean, 0 to 255) and ``sharpness`` (spread of the Laplacian) of images (n, h, w, 3)."""
    grey = np.asarray(pixels, np.float32).mean(axis=-1)
    edges = np.array([laplace(image).std() for image in grey], float)
    return pd.DataFrame({"brightness": grey.mean(axis=(1, 2)), "sharpness": edges})


def homes(train):
    """Return {class: the collection that most of its images come from} of manifest rows of the training split."""
    return train.groupby("label")["collection"].agg(lambda names: names.value_counts().idxmax()).to_dict()


def by_collection(shown, homes):
    """Return how images are classified by where they come from, and by where their class comes from in training.

    ``shown`` are outcomes (:func:`helpers.evaluation.scores.outcomes`) with ``collection``, ``homes`` those of
    :func:`homes`. Returned, with the index collection and home of the class ("this collection", "another", "none" if it
    was not learned): images, accuracy, and the share that is called a class at home in the image's own collection,
    whichever class it is; both with their 95 % interval, as text.
    """
    home = shown["label"].map(homes)
    kind = np.select([home.isna(), home == shown["collection"]], ["none", "this collection"], "another")
    table = shown.assign(kind=kind, own=shown["predicted"].map(homes) == shown["collection"])
    columns, rows = {"correct": "accuracy", "own": "called a class of its own collection"}, {}
    for keys, part in table[table["collection"] != ""].groupby(["collection", "kind"]):
        shares = {text: share(part[name], units(part)) for name, text in columns.items()}
        shares = {text: "{:.2f} ({:.2f} to {:.2f})".format(*values) for text, values in shares.items()}
        rows[keys] = {"images": len(part)} | shares
    return pd.DataFrame(rows).T.rename_axis(["collection", "class in Train mostly from"])


def exchange_colours(pixels, collections, same, seed=0):
    """Return images with the overall colour of another image: mean and spread of each channel, and nothing else.

    ``pixels`` are (n, h, w, 3), 0 to 255, as is the result (float32); ``collections`` says where each comes from (n).
    ``same`` takes the colour of another image of the same collection (the control: what the exchange itself costs),
    else of one of another collection; an image without such a partner keeps its own.
    """
    pixels, collections = np.asarray(pixels, np.float32), np.asarray(collections)
    random, places = np.random.default_rng(seed), np.arange(len(pixels))
    fits = [places[((collections == name) == same) & (places != place)] for place, name in enumerate(collections)]
    partner = np.array([random.choice(fit) if len(fit) else place for place, fit in enumerate(fits)], int)
    mean, spread = (part(pixels, axis=(1, 2), keepdims=True) for part in (np.mean, np.std))
    return np.clip((pixels - mean) / np.maximum(spread, 1) * spread[partner] + mean[partner], 0, 255)
