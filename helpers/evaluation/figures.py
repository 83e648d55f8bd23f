"""Figures of the evaluation: each takes a table, returns a Figure and shows nothing itself.

``synthetic=True`` names the embedded sample in the figure. What a colour says, a word or a shape says too.
"""

from textwrap import fill

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from helpers.evaluation import scores
from helpers.figures import pixels, titled

GREY = "#999999"


def intervals(table, panel="", line=None, title="", synthetic=False):
    """Show values with their 95 % intervals, one row a name and one panel for each value of the column ``panel``.

    ``table`` has name, value, low, high (0 to 1; NaN is not drawn), colour and ``panel`` ("": one panel for all);
    ``line`` is a value to compare with, drawn dashed.
    """
    parts = list(table.groupby(panel, sort=False)) if panel else [("", table)]
    names = list(table["name"].unique())
    figure = Figure(figsize=(max(7, 2.6 * len(parts) + 2), 0.4 * len(names) + 1.5), layout="constrained")
    for axes, (label, part) in zip(figure.subplots(1, len(parts), sharey=True, squeeze=False)[0], parts):
        places = np.array([names.index(name) for name in part["name"]], int)
        axes.hlines(places, part["low"], part["high"], color=part["colour"], linewidth=2.5)
        axes.scatter(part["value"], places, color=part["colour"], s=40, zorder=3, clip_on=False)
        for place, value in zip(places, part["value"]):
            axes.text(value, place - 0.2, f"{value:.2f}".replace("nan", ""), ha="center", va="bottom", fontsize=9)
        if line is not None:
            axes.axvline(line, color=GREY, linestyle="--", linewidth=1)
        axes.set_yticks(range(len(names)), [fill(name, 34) for name in names], fontsize=10)
        axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.9), xlabel=label)
        axes.spines[["top", "right"]].set_visible(False)
    return titled(figure, title, synthetic)


def gallery(table, below=None, notes=None, columns=4, title="", synthetic=False):
    """Show images of outcomes (:func:`helpers.evaluation.scores.outcomes` with ``path``), each above something else.

    An image stands under its true and, where that is another, its predicted class, and above ``below`` (n paths or
    arrays of images) with its ``notes`` (n texts); None: above the three most probable classes, the true one in bold.
    """
    lines = max(1, -(-len(table) // columns))
    ratio = 0.42 if below is None else 1
    figure = Figure(figsize=(2.5 * columns, 2.9 * lines * (1 + 0.85 * ratio)), layout="constrained")
    grid = figure.add_gridspec(2 * lines, columns, height_ratios=[1, ratio] * lines)
    chances, names = scores.probabilities(table), scores.classes(table)
    for place, row in enumerate(table.itertuples()):
        spots = [grid[place // columns * 2 + step, place % columns] for step in (0, 1)]
        top, bottom = (figure.add_subplot(spot) for spot in spots)
        top.imshow(pixels(row.path))
        wrong = "" if row.correct else "\n" + fill(f"✗ called {row.predicted}, {row.confidence:.0%}", 26)
        top.set_title(fill(row.label, 26) + wrong, fontsize=9, color="black" if row.correct else "#B34700")
        if below is None:
            _bars(bottom, chances[place], names, row.label)
        else:
            bottom.imshow(pixels(below[place]))
            bottom.set_title(fill(notes[place], 26), fontsize=9)
        top.axis("off")
        bottom.axis("off")
    return titled(figure, title, synthetic)


def _bars(axes, chances, names, label):
    best = np.argsort(-chances, kind="stable")[:3]
    for line, number in enumerate(best):
        colour, weight = ("#8FD3BF", "bold") if names[number] == label else ("#D9D9D9", "normal")
        axes.barh(line, chances[number], color=colour)
        text = axes.text(0.02, line, f"{chances[number]:.0%} {names[number]}", va="center", fontsize=8, weight=weight)
        text.set_in_layout(False)
    axes.set(xlim=(0, 1), ylim=(len(best) - 0.5, -0.5))


def overlay(images, heatmaps):
    """Return images (n, h, w, 3; 0 to 255) in grey under their heatmaps (n, h, w; 0 to 1): bright is high."""
    grey = np.asarray(images, float).mean(axis=-1, keepdims=True)
    share = 0.7 * np.asarray(heatmaps)[..., None]
    return share * 255 * matplotlib.colormaps["inferno"](np.asarray(heatmaps))[..., :3] + (1 - share) * grey


def thousand(named, title="", synthetic=False):
    """Show what 1,000 patients would see as 1,000 dots, a panel for each table of ``decisions.per_thousand``."""
    kinds = {"found": "#D55E00", "missed": "black", "needless": "#56B4E9", "left alone": "#DDDDDD"}
    figure = Figure(figsize=(5.2 * max(len(named), 1), 4.6), layout="constrained")
    for axes, (name, table) in zip(figure.subplots(1, max(len(named), 1), squeeze=False)[0], named.items()):
        owner = np.repeat(list(kinds), table["value"].reindex(kinds).astype(int))
        x, y = np.divmod(np.arange(1000), 25)
        for (kind, colour), marker in zip(kinds.items(), "oXs."):
            rows = owner == kind
            axes.scatter(x[rows], -y[rows], s=26, c=colour, marker=marker, linewidth=0, label=f"{rows.sum()} {kind}")
        axes.set_title(name, fontsize=11)
        axes.axis("off")
        place = {"loc": "upper center", "bbox_to_anchor": (0.5, 0), "columnspacing": 1, "handletextpad": 0.2}
        axes.legend(ncols=4, frameon=False, fontsize=10, markerscale=1.6, **place)
    return titled(figure, title, synthetic)
