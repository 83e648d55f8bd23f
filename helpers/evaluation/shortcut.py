"""The camera or the lesion? Test images of an unseen pair of class and collection, swapped colours, and another set.

A network that predicts the class from the collection is right wherever the two go together, so validation prefers it.
It is found out by images whose class training has from other collections only.
"""

import numpy as np
import pandas as pd
from matplotlib.ticker import PercentFormatter

from helpers import figures, manifest
from helpers.evaluation import intervals, scores
from helpers.evaluation.report import UNSEEN, plain

FEWEST = 10  # with fewer images there, validation with swapped colours is shown beside them
SURVIVES = 0.5  # a network that keeps less of its accuracy with another collection's colours relies on them
DRAWS = 3  # partners of each image whose colours are swapped
PLACES = {  # where a network is scored, and the colour and mark of the place in figures
    "validation": (figures.SPLIT_COLOURS["val"], "o"),
    "Test": (figures.SPLIT_COLOURS["test"], "^"),
    UNSEEN: ("#D55E00", "D"),
    "validation, colours of another collection": ("#CC79A7", "v"),
    "another set": ("#000000", "s"),
}
WORDS = {  # the images of a place, in a sentence
    "validation": "validation images",
    "Test": "Test images",
    UNSEEN: "Test images whose class and collection training never saw together",
    "validation, colours of another collection": "validation images with the colours of another collection",
    "another set": "images of another set",
}
PAIR = ["colours_kept", "colours_exchanged"]  # what notebook 04 lets the learner choose from


def elsewhere(table):
    """Return the image_id of the Test images whose class training has, but from other collections only."""
    train, test = (manifest.active(table, split) for split in ("train", "test"))
    sources = train.groupby("label")["collection"].agg(set)
    known = {label: names for label, names in sources.items() if "" not in names}
    away = [row.collection not in known.get(row.label, {row.collection}) for row in test.itertuples()]
    return test.loc[np.array(away, bool) & (test["collection"] != ""), "image_id"]


def swap_colours(pixels, collections, same, seed):
    """Return images, float32 (n, h, w, 3) in [0, 255], with the mean and spread of each channel of other images.

    The other image is drawn from the same of the ``collections`` (n names, at least two of them) if ``same``, else from
    another one.
    """
    random, partner = np.random.default_rng(seed), np.zeros(len(pixels), int)
    pixels, collections = np.asarray(pixels, "float32"), np.asarray(collections)
    for name in np.unique(collections):
        own = collections == name
        partner[own] = random.choice(np.flatnonzero(own == same), own.sum())
    mean, spread = (part(pixels, axis=(1, 2), keepdims=True) for part in (np.mean, np.std))
    return np.clip((pixels - mean) / np.maximum(spread, 1) * spread[partner] + mean[partner], 0, 255)


def colours(predict, pixels, rows, classes, seed=0):
    """Return a network's accuracy on validation by the colours that it is shown, {} with fewer than two collections.

    ``predict`` takes pixels and returns probabilities (n, k) of the ``classes``; ``pixels`` (n, h, w, 3) are those of
    the manifest ``rows``. "own" colours, those of an image of the "same_collection" (the control: what the swap itself
    costs), and those of an image of the "other_collection"; each of the latter is the mean of three draws.
    """
    known = (rows["collection"] != "").to_numpy()
    pixels, rows = pixels[known], rows[known]
    if rows["collection"].nunique() < 2:
        return {}

    def accuracy(images):
        return float((np.array(classes)[predict(images).argmax(axis=1)] == rows["label"].to_numpy()).mean())

    found = {"own": accuracy(pixels)}
    for name, same in (("same_collection", True), ("other_collection", False)):
        draws = [accuracy(swap_colours(pixels, rows["collection"], same, seed + draw)) for draw in range(DRAWS)]
        found[name] = float(np.mean(draws))
    return found


def kept(found):
    """Return how much of a network's accuracy is left when :func:`colours` come from another collection: 1 is all.

    The control, colours of the same collection, is what it is compared with; 1 where nothing is known.
    """
    return found["other_collection"] / max(found["same_collection"], 1e-9) if found else 1.0


def cost(name, found):
    """Say what the colours of the same and of another collection cost a network, by what :func:`colours` found."""
    if not found:
        return "Colours cannot be swapped: there is one collection only, or the network itself is not here."
    own, same, other = (100 * found[key] for key in ("own", "same_collection", "other_collection"))
    return (
        f"Any swap of colours costs {plain(name)} {own - same:.0f} percentage points; those of another collection cost "
        f"{same - other:.0f} more."
    )


def reveal(places, swapped):
    """Return what each network gets right in each of its ``places`` (see ``evaluate.Results``).

    ``swapped`` are {network: :func:`colours`}, shown where Test has few images of ``UNSEEN``. The DataFrame has a
    row for each network and place: images and right (counts; NaN for swapped colours), value (accuracy), low, high
    (95%, by lesion).
    """
    parts = {(name, place): rows for name, of_network in places.items() for place, rows in of_network.items()}
    found = intervals.shares(parts, lambda rows: rows["correct"])
    found.index = pd.MultiIndex.from_tuples(parts, names=["network", "place"])
    found["right"] = (found["value"] * found["images"]).round()
    for name, accuracies in swapped.items():
        if accuracies and len(places[name].get(UNSEEN, [])) < FEWEST:
            found.loc[(name, "validation, colours of another collection"), "value"] = accuracies["other_collection"]
    return found


def hard_place(found):
    """Return the place of :func:`reveal` that says most: ``UNSEEN``, another set, swapped colours, Test."""
    counts = found["images"].groupby("place").max()
    order = ["another set", "validation, colours of another collection", UNSEEN, "Test", "validation"]
    if counts.get(UNSEEN, 0) >= FEWEST:
        order = [UNSEEN]
    return next(place for place in order if place in counts)


def answer(found, choice=""):
    """Return two sentences: what validation prefers, and what the networks get right in the hard place.

    ``found`` comes from :func:`reveal`. The networks are those that notebook 04 trains, and the reader's ``choice``
    ("": nobody has chosen), which comes first.
    """
    place, promised = hard_place(found), found["value"].xs("validation", level="place")
    names = [name for name in dict.fromkeys([choice, *PAIR]) if name in promised] or list(promised.index)
    best, seen = promised[names].idxmax(), found.xs(place, level="place")
    said = f"Validation prefers {plain(best)}."
    if choice:  # of equals on validation, the first is best
        said = f"You chose {plain(choice)}" + (", as validation did." if choice == best else f"; v{said[1:]}")
    count = "" if seen["right"].isna().any() else f"{seen['images'].max():.0f} "  # of swapped colours a mean is known
    right = seen["right"].map("{:.0f}".format) if count else seen["value"].map("{:.0%}".format)
    first, *others = [name for name in names if name in right]
    others = "".join(f", {plain(name)} {right[name]}" for name in others)
    return f"{said}\nOf the {count}{WORDS[place]},\n{plain(first)} gets {right[first]} right{others}."


def figure(found, title="", guess=None, synthetic=False, choice=""):
    """Show :func:`reveal` network by network, with a mark for each place.

    ``guess``, from 0 to 1, is what the reader expects of the network ``choice`` in the :func:`hard_place`.
    """
    found = found.assign(text=found["value"].map("{:.0%}".format))
    for key, row in found.dropna(subset="right").iterrows():
        found.loc[key, "text"] += f" ({row['right']:.0f} of {row['images']:.0f})"
    names, given = found.index.unique("network"), found.index.unique("place")
    places = [place for place in PLACES if place in given]
    heights = {place: 0.8 * ((step + 0.5) / len(places) - 0.5) for step, place in enumerate(places)}
    plot, axes = figures.new(9, 1.6 + 0.4 * len(found))
    for place, height in heights.items():
        rows, (colour, mark) = found.xs(place, level="place"), PLACES[place]
        at = names.get_indexer(rows.index) + height
        axes.hlines(at, rows["low"], rows["high"], color="black", linewidth=2, zorder=1)
        axes.scatter(rows["value"], at, s=110, c=colour, marker=mark, label=place, clip_on=False, zorder=3)
        for y, text in zip(at, rows["text"]):
            axes.text(1.02, y, text, va="center", fontsize=11)
    values = [f"{plain(name)}, {place}: {text}" for (name, place), text in found["text"].items()]
    if guess is not None:
        y = names.get_loc(choice) + heights[hard_place(found)]
        axes.vlines(guess, y - 0.13, y + 0.13, label=f"your guess: {guess:.0%}", **figures.GUESS)
        values.append(f"your guess {guess:.0%}")
    labels = [plain(name) + "\nyour choice" * (name == choice) for name in names]
    axes.set_yticks(range(len(names)), labels, fontsize=12)
    axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.5), xlabel="share classified correctly, with its 95% interval")
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    plot.legend(loc="outside lower center", ncols=2, frameon=False, fontsize=11)
    return figures.titled(plot, title, synthetic, "; ".join(values))


def errors(rows, table):
    """Return the misclassified images among ``rows`` (of Test, see ``evaluate.Results``), the surest first.

    They are those of an unseen pair of class and collection; all where there is none. ``own_clinic`` (bool):
    training has the predicted class from the image's own collection; ``by_chance``: of what share of the other classes
    that holds. ``table`` is the manifest.
    """
    wrong = rows[~rows["correct"]].sort_values("confidence", ascending=False)
    away, train = wrong["image_id"].isin(elsewhere(table)), manifest.active(table, "train")
    wrong, classes = wrong[away] if away.any() else wrong, np.array(scores.classes(rows))
    from_there = [set(train.loc[(train["collection"] == name) & (name != ""), "label"]) for name in wrong["collection"]]
    own = [name in there for name, there in zip(wrong["predicted"], from_there)]
    chance = [np.isin(classes[classes != name], [*there]).mean() for name, there in zip(wrong["label"], from_there)]
    return wrong.assign(own_clinic=np.array(own, bool), by_chance=np.array(chance, float))
