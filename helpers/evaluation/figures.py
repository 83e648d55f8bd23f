"""Figures of the evaluation: each takes a table, returns a Figure and shows nothing itself.

``synthetic=True`` names the embedded sample in the figure. What a colour says, a word or a shape says too.
"""

from textwrap import fill

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from sklearn.metrics import ConfusionMatrixDisplay

from helpers.evaluation import scores
from helpers.figures import MODEL_COLOURS, pixels, titled

ORANGE, GREEN, GREY = "#D55E00", "#009E73", "#999999"


def colours(names):
    """Return {name: colour}: the two networks of the course always have their own, other models one of the rest."""
    own = dict(zip(["baseline", "regularised"], MODEL_COLOURS))
    rest = [*MODEL_COLOURS[2:], "#E69F00", "#56B4E9", "#666666"]
    others = [name for name in names if name not in own]
    return {name: own[name] if name in own else rest[others.index(name) % len(rest)] for name in names}


def confusion_matrix(table, malignant=(), title="", synthetic=False):
    """Show a confusion matrix (:func:`helpers.evaluation.scores.confusion`): counts, shaded by the share of their row.

    A line parts the ``malignant`` classes, which come first, from the rest.
    """
    counts, size = table.to_numpy(), len(table)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(0.72 * size + 3, 0.58 * size + 2.3), layout="constrained")
    axes = figure.add_subplot()
    ConfusionMatrixDisplay(shares).plot(ax=axes, cmap="Blues", colorbar=False, include_values=False, im_kw={"vmax": 1})
    for row, column in np.argwhere(counts):
        dark = shares[row, column] > 0.5
        axes.text(column, row, counts[row, column], ha="center", va="center", color="white" if dark else "black")
    ends = {"rotation": 45, "ha": "right", "rotation_mode": "anchor", "fontsize": 10}
    axes.set_xticks(range(size), [fill(name, 16) for name in table.columns], **ends)
    names = [f"{fill(name, 20)} ({n})" for name, n in zip(table.index, counts.sum(axis=1))]
    axes.set_yticks(range(size), names, fontsize=10)
    edge = sum(name in malignant for name in table.index) - 0.5
    if 0 < edge < size - 1:
        axes.axhline(edge, color=ORANGE)
        axes.axvline(edge, color=ORANGE)
    axes.set(xlabel="predicted", ylabel="true (images)", aspect="auto", ylim=(size - 0.5, -0.5))
    return titled(figure, title, synthetic)


def intervals(table, panel="", line=None, title="", synthetic=False):
    """Show values with their 95 % intervals, one row a name and one panel for each value of the column ``panel``.

    Parameters
    ----------
    table : DataFrame with name, value, low, high (0 to 1; NaN is not drawn) and perhaps colour and ``panel``.
    panel : name of a column, or "": one panel.
    line : a value to compare with, drawn dashed; None: none.
    """
    table = table.assign(**({"colour": MODEL_COLOURS[0]} if "colour" not in table else {}))
    parts = list(table.groupby(panel, sort=False)) if panel else [("", table)]
    names = list(table["name"].unique())
    figure = Figure(figsize=(max(7, 2.6 * len(parts) + 2), 0.4 * len(names) + 1.5), layout="constrained")
    for axes, (label, part) in zip(figure.subplots(1, len(parts), sharey=True, squeeze=False)[0], parts):
        places = np.array([names.index(name) for name in part["name"]], int)
        axes.hlines(places, part["low"], part["high"], color=part["colour"], linewidth=2.5)
        axes.scatter(part["value"], places, color=part["colour"], s=40, zorder=3, clip_on=False)
        for place, value in zip(places, part["value"]):
            axes.text(value, place - 0.2, "" if np.isnan(value) else f"{value:.2f}", ha="center", va="bottom", fontsize=9)
        if line is not None:
            axes.axvline(line, color=GREY, linestyle="--", linewidth=1)
        axes.set_yticks(range(len(names)), [fill(name, 34) for name in names], fontsize=10)
        axes.set(xlim=(0, 1), ylim=(len(names) - 0.5, -0.9), xlabel=label)
        axes.spines[["top", "right"]].set_visible(False)
    return titled(figure, title, synthetic)


def gallery(table, below=None, notes=None, columns=4, title="", synthetic=False):
    """Show images of outcomes (:func:`helpers.evaluation.scores.outcomes` with ``path``), each above something else.

    Parameters
    ----------
    table : outcomes; an image stands under its true and, where that is another, its predicted class.
    below : n images (paths or arrays) to stand under them, with their ``notes`` (n texts); None: the three most
        probable classes, the true one in bold.
    columns : images a row.
    """
    lines = max(1, -(-len(table) // columns))
    ratio = 0.42 if below is None else 1.12
    figure = Figure(figsize=(2.5 * columns, 2.9 * lines * (1 + 0.85 * ratio)), layout="constrained")
    grid = figure.add_gridspec(2 * lines, columns, height_ratios=[1, ratio] * lines)
    chances, names = scores.probabilities(table), scores.classes(table)
    for place, row in enumerate(table.itertuples()):
        spots = [grid[place // columns * 2 + step, place % columns] for step in (0, 1)]
        top, bottom = (figure.add_subplot(spot) for spot in spots)
        top.imshow(pixels(row.path))
        wrong = "" if row.correct else f"\ncalled {row.predicted}, {row.confidence:.0%}"
        top.set_title(fill(row.label, 24) + wrong.replace("called", "✗ called"), fontsize=9, color="black" if row.correct else "#B34700")
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
    axes.barh(range(len(best)), chances[best], color=["#8FD3BF" if names[number] == label else "#D9D9D9" for number in best])
    for line, number in enumerate(best):
        weight = "bold" if names[number] == label else "normal"
        axes.text(0.02, line, f"{chances[number]:.0%} {names[number]}", va="center", fontsize=8, fontweight=weight, in_layout=False)
    axes.set(xlim=(0, 1), ylim=(len(best) - 0.5, -0.5))


def overlay(images, heatmaps):
    """Return images (n, h, w, 3; 0 to 255) in grey under their heatmaps (n, h, w; 0 to 1), bright where they are high."""
    grey = np.asarray(images, float).mean(axis=-1, keepdims=True)
    share = 0.7 * np.asarray(heatmaps)[..., None]
    return share * 255 * matplotlib.colormaps["inferno"](np.asarray(heatmaps))[..., :3] + (1 - share) * grey


def thousand(named, title="", synthetic=False):
    """Show what 1,000 patients would see as 1,000 dots, a panel for each table of ``decisions.per_thousand``."""
    kinds = {"found": (ORANGE, "o"), "missed": ("black", "X"), "needless": ("#56B4E9", "s"), "left alone": ("#DDDDDD", ".")}
    figure = Figure(figsize=(5.2 * len(named), 4.6), layout="constrained")
    for axes, (name, table) in zip(figure.subplots(1, len(named), squeeze=False)[0], named.items()):
        owner = np.repeat(list(kinds), table["value"].reindex(kinds).astype(int))
        x, y = np.divmod(np.arange(1000), 25)
        for kind, (colour, marker) in kinds.items():
            rows = owner == kind
            axes.scatter(x[rows], -y[rows], s=26, c=colour, marker=marker, linewidth=0, label=f"{rows.sum()} {kind}")
        axes.set_title(name, fontsize=11)
        axes.axis("off")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, 0), ncols=4, frameon=False, fontsize=10, markerscale=1.6,
                    columnspacing=1, handletextpad=0.2)
    return titled(figure, title, synthetic)


def comparison(scored, measures, title="", synthetic=False):
    """Show scores (``{name: {row: scores.score(...)}}``) of models, a panel for each of the ``measures``."""
    palette, rows = colours(list(scored)), []
    for model, places in scored.items():
        for place, values in places.items():
            for measure in measures:
                ends = values.get(f"{measure}_interval") or values.get(f"{measure}_bootstrap_interval") or [np.nan] * 2
                rows.append((f"{model}, {place}", measure.replace("_", " "), values[measure], *ends, palette[model]))
    table = pd.DataFrame(rows, columns=["name", "measure", "value", "low", "high", "colour"])
    return intervals(table.astype({"value": float}), "measure", title=title, synthetic=synthetic)
