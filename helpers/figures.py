"""Figures that several notebooks share: each takes a table or arrays and returns a Figure, which Jupyter shows.

A figure's title states its finding; its alternative text is stored beside the picture and arrives in HTML.
``synthetic=True`` names the embedded sample in both, so that nobody takes a drawing for a patient.
"""

from pathlib import Path
from textwrap import fill

import matplotlib.figure
import numpy as np
from matplotlib.ticker import PercentFormatter

from helpers.data.images import open_rgb

# Okabe & Ito's colour-blind-safe palette
SPLIT_COLOURS = {"train": "#0072B2", "val": "#E69F00", "test": "#009E73"}
GREY = "#767676"
GUESS = {"color": "black", "linestyle": "--", "linewidth": 2.5}  # the line of the reader's guess


class Figure(matplotlib.figure.Figure):
    """A Figure with an alternative text, ``alt``, which Jupyter stores as metadata of the picture."""

    alt = ""

    def _repr_mimebundle_(self, **_):
        return {}, {"image/png": {"alt": self.alt}}


def new(width, height, rows=1, columns=1, **options):
    """Return an empty Figure of so many inches, and its axes: one, or an array of ``rows`` and ``columns``."""
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots(rows, columns, **options)
    for place in np.ravel(axes):
        place.spines[["top", "right"]].set_visible(False)
    return figure, axes


def titled(figure, title, synthetic, alt=""):
    """Return ``figure`` with its title and its alternative text: the title, ``alt``, and a note if ``synthetic``."""
    note = "synthetic sample: drawings, not patients" if synthetic else ""
    width = int(11 * figure.get_figwidth())
    text = "\n".join(fill(line, width) for line in (title, note) if line)
    figure.suptitle(text, fontsize=12)
    figure.set_figheight(figure.get_figheight() + 0.2 * max(text.count("\n") - 1, 0))  # sizes leave room for two lines
    figure.alt = " ".join(part if part[-1] in ".?" else f"{part}." for part in (title, alt, note) if part)
    return figure


def image_grid(images, titles, columns, title="", synthetic=False, inches=1.3):
    """Show images in rows of ``columns``, each ``inches`` wide under its title, in a Figure with its own ``title``.

    ``images`` are paths, PIL images or arrays (height, width, 3) of 0 to 255; ``titles`` as many texts.
    """
    images, titles = list(images), list(titles)
    rows = max(-(-len(images) // columns), 1)
    lines = max((len(_wrapped(text, inches).splitlines()) for text in titles), default=1)
    width = max(inches * columns, 5)  # a narrower title would take more room than the pictures
    figure = Figure(figsize=(width, (inches + 0.16 * lines) * rows + 0.75), layout="constrained")
    figure.get_layout_engine().set(h_pad=0.08)
    if not images:
        figure.add_subplot().axis("off")  # a figure without axes is not shown
    for place, (image, text) in enumerate(zip(images, titles)):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(pixels(image))
        axes.set_title(_wrapped(text, inches), fontsize=9)
        axes.set(xticks=[], yticks=[])  # else each is placed before it is left out, which takes most of the time
        axes.axis("off")
    named = "; ".join(filter(None, (" ".join(str(text).split()) for text in titles)))
    return titled(figure, title, synthetic, f"{len(images)} pictures" + (f": {named}" if named else ""))


def shares(table, guess=None, title="", xlabel="", synthetic=False):
    """Show shares from 0 to 1 as dots, one row each, with intervals and the reader's ``guess`` as a dashed line.

    ``table`` has a row for each share, named by its index, with the columns ``value`` and, where there are any, ``low``
    and ``high`` (ends of the interval, NaN: none), ``colour``, and ``guessed`` (bool: the guess is about it; else all).
    """
    colours, guessed = table.get("colour", SPLIT_COLOURS["train"]), list(table.get("guessed", [True] * len(table)))
    table = table.reindex(columns=["value", "low", "high"]).astype(float)
    names, places = [fill(str(name), 40) for name in table.index], np.arange(len(table))
    figure, axes = new(8, 1.3 + 0.5 * min(len(table), 8) + 0.35 * max(len(table) - 8, 0))
    axes.hlines(places, table["low"], table["high"], color="black", linewidth=2, zorder=1)
    axes.scatter(table["value"], places, s=120, c=colours, clip_on=False, zorder=3)
    for place, value in zip(places, table["value"]):
        axes.text(1.02, place, f"{value:.0%}", va="center", fontsize=11)
    if guess is not None:
        about = places[guessed]
        axes.vlines(guess, about[0] - 0.5, about[-1] + 0.5, label=f"your guess: {guess:.0%}", **GUESS)
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), fontsize=11)
    axes.set_yticks(places, names, fontsize=11)
    axes.set(xlim=(0, 1), ylim=(len(table) - 0.5, -0.5), xlabel=xlabel)
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    values = "; ".join(f"{name} {value:.0%}" for name, value in table["value"].items())
    return titled(figure, title, synthetic, values + (f"; your guess {guess:.0%}" if guess is not None else ""))


def bars(table, colours, title="", synthetic=False):
    """Show counts of images as bars, one a row of ``table``, its columns end to end in ``colours``, and their sum."""
    figure, axes = new(8, 1.2 + 0.38 * len(table))
    table.plot.barh(stacked=True, color=colours, width=0.8, xlabel="images", ylabel="", ax=axes)
    for place, total in enumerate(table.sum(axis=1)):
        axes.text(total, place, f" {total}", va="center")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    rows = "; ".join(f"{name} {' + '.join(map(str, counts))}" for name, counts in zip(table.index, table.to_numpy()))
    return titled(figure, title, synthetic, f"Images ({' + '.join(table.columns)}): {rows}")


def curves(histories, title="", synthetic=False):
    """Show loss and accuracy by epoch, training dashed and validation solid, a row for each training.

    ``histories`` is {name: DataFrame of epoch, loss, accuracy, val_loss, val_accuracy}. The epoch with the lowest
    validation loss, whose weights are saved, is marked.
    """
    figure, places = new(9, 0.9 + 2.4 * len(histories), len(histories), 2, sharex=True, sharey="col", squeeze=False)
    for row, (name, history) in zip(places, histories.items()):
        best, line = history.loc[[history["val_loss"].idxmin()]], {"data": history, "linewidth": 2}
        for axes, measure in zip(row, ("loss", "accuracy")):
            val = f"val_{measure}"
            axes.plot("epoch", measure, "--", color=SPLIT_COLOURS["train"], label="training (dashed)", **line)
            axes.plot("epoch", val, "-", color=SPLIT_COLOURS["val"], label="validation (solid)", **line)
            axes.plot("epoch", val, "o", data=best, color="black", label="saved epoch")
            axes.xaxis.get_major_locator().set_params(integer=True)
            axes.set_ylabel(measure)
        row[0].set_title(name.replace("_", " "), loc="left", fontsize=12)
    for axes in places[-1]:
        axes.set(xlabel="epoch", ylim=(0, None))
    figure.legend(*places[0, 0].get_legend_handles_labels(), loc="outside lower center", ncols=3, frameon=False)
    return titled(figure, title, synthetic, "Loss and accuracy by epoch of " + ", ".join(histories).replace("_", " "))


def pixels(image):
    """Return an image (path, PIL image or array of 0 to 255) as a uint8 array (height, width, 3)."""
    image = open_rgb(image) if isinstance(image, (str, Path)) else image
    return np.clip(np.asarray(image), 0, 255).astype("uint8")


def _wrapped(text, inches):
    return "\n".join(fill(line, max(int(13 * inches), 8)) for line in str(text).splitlines())


def shades(values):
    """Return a map of numbers (height, width) as a grey picture (height, width, 3), its largest value white."""
    values = np.asarray(values)
    height = np.ptp(values)
    grey = 255 * (values - values.min()) / height if height else np.zeros_like(values)
    return np.repeat(grey[..., None], 3, axis=-1)


def maps(values):
    """Return the channels of n maps (n, height, width, channels) as grey pictures, map by map: see :func:`shades`."""
    return [shades(channel) for each in np.asarray(values) for channel in np.moveaxis(each, -1, 0)]
