"""Pictures with what a network predicts of them."""

from helpers import figures
from helpers.evaluation import explain, scores, shortcut
from helpers.evaluation.report import plain


def examples(shown, name, synthetic, seed=0):
    """Return a Figure of images of a place: four that were classified correctly, and the four surest errors.

    ``shown`` are its rows of the network ``name`` (see ``evaluate.Results``). Above each image: the true class, and the
    two most probable ones.
    """
    right = shown[shown["correct"]].sample(frac=1, random_state=seed).head(4)
    wrong = shown[~shown["correct"]].nlargest(4, "confidence")
    titles = []
    for row in [*right.to_dict("records"), *wrong.to_dict("records")]:
        best = sorted(scores.classes(shown), key=lambda label: -row[f"p_{label}"])[:2]
        lines = [f"{row[f'p_{label}']:.0%} {label}" for label in best]
        titles.append("\n".join([f"{'✓' if row['correct'] else '✗'} {row['label']}", *lines]))
    sure = f"; the surest of its mistakes at {wrong['confidence'].max():.0%}" if len(wrong) else ""
    title = f"{plain(name).capitalize()} is wrong on {len(shown) - shown['correct'].sum()} of {len(shown)}{sure}"
    return figures.image_grid([*right["path"], *wrong["path"]], titles, 4, title, synthetic, inches=2.2)


def heatmaps(shown, pixels, heat, title, synthetic):
    """Return a Figure of images above their heatmaps: the surest three that are right, and that are wrong.

    ``shown`` are outcomes (see ``scores.outcomes``), ``pixels`` their images, ``heat`` their ``explain.grad_cam``.
    """
    shown = shown.reset_index(drop=True)
    surest = shown.sort_values("confidence", ascending=False).drop_duplicates(["correct", "label"])
    best = surest.groupby("correct").head(3).sort_values("correct", ascending=False).index
    marks = shown["correct"].map({True: "✓ ", False: "✗ "}) + shown["label"]
    titles = [*marks[best], *("for " + shown["predicted"][best])]
    images = [*pixels[best], *explain.overlay(pixels[best], heat[best])]
    return figures.image_grid(images, titles, len(best), title, synthetic, inches=1.6)


def swapped(folder, rows, found, synthetic, seed=0):
    """Return a Figure of validation images: as they are, and with colours of the same and of another collection.

    ``folder`` is that of a network, whose size they have; ``rows`` are those of validation, ``found`` its accuracies on
    them (see ``shortcut.colours``). Without two collections, only the images as they are.
    """
    _, load = explain.open_network(folder)
    rows = rows[rows["collection"] != ""]
    some = rows.drop_duplicates(["collection", "label"]).groupby("collection").head(2)[:4]
    kinds = {"own colours": load(some)}
    if found:
        pixels, place = load(rows), rows.index.get_indexer(some.index)
        for name, same in (("same collection", True), ("another collection", False)):
            kinds[name] = shortcut.swap_colours(pixels, rows["collection"], same, seed)[place]
    titles = [f"{label},\n{kind}" for kind in kinds for label in some["label"]]
    scored = ", ".join(f"{kind} {value:.0%}" for kind, value in zip(kinds, found.values()))
    title = f"{plain(folder.name).capitalize()}: {scored or 'other colours unknown'}"
    images = [image for images in kinds.values() for image in images]
    return figures.image_grid(images, titles, max(len(some), 1), title, synthetic, inches=1.8)


def own(given, default):
    """Return the path of a picture: ``given``, in Colab what is uploaded if that is "upload", or the ``default``."""
    if given != "upload":
        return given or default
    from google.colab import files

    return next(iter(files.upload()))
