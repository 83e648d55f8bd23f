"""The camera or the lesion? Test images of another clinic, validation with other colours, and another set.

A network that predicts the class from the collection is right wherever the two go together, so validation prefers it.
It is found out by images whose class training has from other collections only.
"""

import numpy as np
import pandas as pd
from sklearn.metrics import roc_auc_score

from helpers import figures, manifest
from helpers.evaluation import scores
from helpers.evaluation.intervals import share, units
from helpers.evaluation.report import plain

FEWEST = 10  # with fewer Test images from elsewhere, validation with swapped colours is shown beside them
SURVIVES = 0.5  # a network that keeps less of its accuracy with another collection's colours relies on them
DRAWS = 3  # partners of each image whose colours are swapped
PLACES = {  # where a network is scored: the colour and the marker of the place
    "validation": (figures.SPLIT_COLOURS["val"], "o"),
    "Test": (figures.SPLIT_COLOURS["test"], "s"),
    "Test, another clinic": ("#D55E00", "D"),
    "validation, colours of another clinic": ("#CC79A7", "v"),
    "another set": ("#000000", "^"),
}
WORDS = {  # the images of a place, in a sentence
    "validation": "validation images",
    "Test": "Test images",
    "Test, another clinic": "Test images whose class was never seen from their clinic",
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


def melanoma_auc(rows):
    """Return how well melanomas and nevi are ranked, the area under the ROC curve (AUC); NaN unless there are both."""
    pair = rows[rows["label"].isin(["melanoma", "nevus"])]
    if pair["label"].nunique() < 2:
        return np.nan
    chance = pair["p_melanoma"] / (pair["p_melanoma"] + pair["p_nevus"])
    return float(roc_auc_score(pair["label"] == "melanoma", chance))


def reveal(table, predictions, swapped, outside):
    """Return what each network gets right on validation, on Test, and where its class comes from another clinic.

    ``predictions`` {network: predictions of the manifest ``table``}, ``swapped`` {network: :func:`colours`} and
    ``outside`` {network: labelled predictions of another set}. The DataFrame has a row for each network and place:
    right and images (counts; right is NaN for swapped colours), value (accuracy), low, high (95 %, by lesion).
    """
    away, rows = elsewhere(table), {}
    for name, predicted in predictions.items():
        known = scores.outcomes(scores.labelled(predicted))
        parts = {"validation": known[known["split"] == "val"], "Test": known[known["split"] == "test"]}
        parts["Test, another clinic"] = known[known["image_id"].isin(away)]
        if name in outside:
            parts["another set"] = scores.outcomes(outside[name])
        for place, part in parts.items():
            if len(part):
                value, low, high = share(part["correct"], units(part))
                rows[name, place] = [part["correct"].sum(), len(part), value, low, high]
        if len(away) < FEWEST and swapped.get(name):
            place = "validation, colours of another clinic"
            rows[name, place] = [np.nan, np.nan, swapped[name]["other_collection"], np.nan, np.nan]
    columns = ["right", "images", "value", "low", "high"]
    return pd.DataFrame.from_dict(rows, "index", columns=columns).set_index(
        pd.MultiIndex.from_tuples(rows, names=["network", "place"])
    )


def hard_place(found):
    """Return the place of :func:`reveal` that is most telling: another clinic, another set, swapped colours, Test."""
    counts = found["images"].groupby("place").max()
    places = found.index.get_level_values("place")
    if counts.get("Test, another clinic", 0) >= FEWEST:
        return "Test, another clinic"
    order = ["another set", "validation, colours of another clinic", "Test, another clinic", "Test", "validation"]
    return next(place for place in order if place in places)


def answer(found, choice):
    """Return one or two sentences: whether validation agrees with a choice, and what it gets right in the hard place.

    ``found`` comes from :func:`reveal`, ``choice`` is one of its networks. It is set against the other network of
    notebook 04.
    """
    place, values = hard_place(found), found["value"].unstack()
    pair = [name for name in (choice, *PAIR) if name in values.index]
    best, other = values.loc[pair, "validation"].idxmax(), next((name for name in pair if name != choice), None)
    said = f"You chose {plain(choice)}, " + ("as validation did" if best == choice else "unlike validation")
    right, images = found["right"].unstack()[place], found["images"].unstack()[place].max()
    if right.isna().any():  # colours were swapped three times: a mean, no count
        score = {name: f"{values.loc[name, place]:.2f}" for name in pair}
        said += f". With the colours of another clinic it is right on {score[choice]} of validation"
    else:
        score = {name: f"{right[name]:.0f}" for name in pair}
        said += f". Of the {images:.0f} {WORDS[place]} it gets {score[choice]} right"
    return f"{said}, {plain(other)} {score[other]}." if other else f"{said}."


def headline(found, choice, guess):
    """Return the title of :func:`figure`: a choice on validation, in the hard place, and the reader's guess."""
    place = hard_place(found)
    promised, kept = (found.loc[(choice, name), "value"] for name in ("validation", place))
    return f"{plain(choice).capitalize()}: {promised:.2f} on validation; {place}: {kept:.2f}; you guessed {guess:.2f}"


def of_colours(scored, choice):
    """Return a sentence of what is left of a network's accuracy with other colours; ``scored`` are its numbers."""
    if not (found := scored.get("colours")):
        return "No two collections are known on validation, so no colours were swapped."
    own, same, other = (f"{found[name]:.2f}" for name in ("own", "same_collection", "other_collection"))
    start = f"{plain(choice).capitalize()} is right on {own} with the images' own colours"
    return f"{start}, on {same} with others of the same collection, on {other} with those of another one."


def figure(found, title="", guess=None, synthetic=False):
    """Show :func:`reveal`: a row for each network, a mark for each place with its interval, and the ``guess``."""
    names = list(found.index.unique("network"))
    shown = [place for place in PLACES if place in found.index.unique("place")]
    box = {"facecolor": "white", "edgecolor": "none", "pad": 1}  # over the line of the guess
    picture, axes = figures.new(9, 1.8 + 0.32 * len(names) * len(shown))
    for row, name in enumerate(names):
        for step, place in enumerate(shown):
            if (name, place) in found.index:
                each, height = found.loc[name, place], row + (step - (len(shown) - 1) / 2) * 0.8 / len(shown)
                colour, marker = PLACES[place]
                label = place if name == names[0] else None
                axes.hlines(height, each["low"], each["high"], color=colour, linewidth=2)
                axes.plot(each["value"], height, marker, color=colour, markersize=9, label=label)
                count = "" if np.isnan(each["right"]) else f"  ({each['right']:.0f} of {each['images']:.0f})"
                end = np.nanmax([each["value"], each["high"]])
                axes.text(end + 0.02, height, f"{each['value']:.2f}{count}", va="center", fontsize=10, bbox=box)
    if guess is not None:
        axes.axvline(guess, label=f"your guess: {guess:.2f}", zorder=0, **figures.GUESS)
    axes.set_yticks(range(len(names)), [plain(name) for name in names], fontsize=12)
    axes.set(xlim=(0, 1.18), ylim=(len(names) - 0.5, -0.5), xlabel="accuracy, with its 95 % interval")
    axes.set_xticks(np.linspace(0, 1, 6))
    picture.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=10)
    values = "; ".join(f"{plain(name)}, {place}: {value:.2f}" for (name, place), value in found["value"].items())
    return figures.titled(picture, title, synthetic, values)


def error_kinds(labelled, table):
    """Count what the misclassified images of a labelled Test table have in common, beside those that are right.

    A kind explains something only if it is rarer among the latter. A label is doubtful where the audit changed or
    contradicted it. ``table`` is the manifest.
    """
    shown = scores.outcomes(labelled).merge(table[["image_id", "published_label", "flag"]], on="image_id")
    kinds = pd.DataFrame(
        {
            "doubtful label": (shown["label"] != shown["published_label"]) | (shown["flag"] == "contradiction"),
            "class never learned": ~shown["label"].isin(scores.classes(labelled)),
            "class never seen from this clinic": shown["image_id"].isin(elsewhere(table)),
            "surer than 0.9": shown["confidence"] > 0.9,
        }
    )
    sides = {"misclassified": ~shown["correct"], "classified correctly": shown["correct"]}
    return pd.DataFrame({f"of {side.sum()} {name}": kinds[side].sum() for name, side in sides.items()})
