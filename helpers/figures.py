"""Figures that several notebooks share: each takes a table or arrays and returns a Figure, which Jupyter shows.

``synthetic=True`` names the embedded sample in the figure, so that nobody takes a drawing for a patient.
"""

from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from helpers.data.images import open_rgb

# Okabe & Ito's colour-blind-safe palette
SPLIT_COLOURS = {"train": "#0072B2", "val": "#E69F00", "test": "#009E73"}
MODEL_COLOURS = {
    "baseline": "#0072B2",
    "regularised": "#D55E00",
    "dropout_augmented": "#009E73",
    "normalised": "#CC79A7",
}
OTHER_COLOURS = ["#E69F00", "#56B4E9", "#000000", "#999999"]


def model_colours(names):
    """Return {name: colour} for networks: the course's own have theirs in every figure, others take what is left."""
    others = [name for name in names if name not in MODEL_COLOURS]
    return MODEL_COLOURS | {name: OTHER_COLOURS[place % len(OTHER_COLOURS)] for place, name in enumerate(others)}


def image_grid(images, titles, columns, title="", synthetic=False):
    """Show images in rows of ``columns``, each under its title, in a Figure with a ``title`` of its own.

    ``images`` are paths, PIL images or arrays (height, width, 3) of 0 to 255; ``titles`` as many texts.
    """
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.25 * columns, 1.45 * rows + 0.45), layout="constrained")
    for place, (image, text) in enumerate(zip(images, titles)):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(pixels(image))
        axes.set_title("\n".join(fill(line, 18) for line in text.splitlines()), fontsize=8)
        axes.axis("off")
    return titled(figure, title, synthetic)


def curves(histories, title="", synthetic=False):
    """Show loss and accuracy by epoch, training dashed and validation solid, for one or more trainings.

    ``histories`` is {name: DataFrame of epoch, loss, accuracy, val_loss, val_accuracy}. The epoch with the lowest
    validation loss, whose weights are kept, is marked.
    """
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    colours = model_colours(histories)
    for place, measure in zip(figure.subplots(1, 2), ("loss", "accuracy")):
        for name, history in histories.items():
            best = history["val_loss"].idxmin()
            place.plot(history["epoch"], history[measure], "--", color=colours[name], alpha=0.6)
            place.plot(history["epoch"], history[f"val_{measure}"], color=colours[name], label=name.replace("_", " "))
            place.plot(history["epoch"][best], history[f"val_{measure}"][best], "o", color=colours[name], clip_on=False)
        usual = max(history[f"val_{measure}"].quantile(0.95) for history in histories.values())
        place.set(xlabel="epoch", ylabel=measure, ylim=(0, max(1.02, 1.1 * usual if measure == "loss" else 0)))
        place.xaxis.get_major_locator().set_params(integer=True)
        place.spines[["top", "right"]].set_visible(False)
    place.plot([], [], "--", color="#666666", label="training")
    place.plot([], [], "-", color="#666666", label="validation")
    figure.legend(*place.get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    return titled(figure, title, synthetic)


def pixels(image):
    """Return an image (path, PIL image or array of 0 to 255) as a uint8 array (height, width, 3)."""
    image = open_rgb(image) if isinstance(image, (str, Path)) else image
    return np.clip(np.asarray(image), 0, 255).astype("uint8")


def titled(figure, title, synthetic):
    """Give ``figure`` its title, with the note on the embedded sample where ``synthetic``; return it."""
    note = "synthetic sample: drawings, not patients" if synthetic else ""
    figure.suptitle("  ·  ".join(part for part in (title, note) if part), fontsize=10)
    return figure
