"""Figures of the evaluation: each takes tables of evaluation, decisions or explain and returns a Figure.

As in helpers.plots, no function shows anything itself, and ``synthetic=True`` names the embedded sample in the figure.
Colours are Okabe & Ito's colour-blind-safe palette; what a colour says, a word or a shape says too.
"""

from textwrap import fill

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.evaluation import calibration, decisions
from helpers.evaluation import scores as evaluation
from helpers.figures import image_grid, pixels, titled

COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
GREY = "#666666"


def confusion_matrix(table, title="", synthetic=False):
    """Show a confusion matrix: counts, under them the share of the true class's images (row), which is also the shade.

    ``table`` is that of :func:`helpers.evaluation.confusion`. A line parts cancers from the rest where both occur.
    """
    counts = table.to_numpy()
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    figure = Figure(figsize=(0.78 * len(counts) + 2.6, 0.68 * len(counts) + 2), layout="constrained")
    axes = figure.add_subplot()
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
    for row, column in np.argwhere(counts > 0):
        share = shares[row, column]
        axes.text(column, row, f"{counts[row, column]}\n{share:.0%}", ha="center", va="center", fontsize=9,
                  color="white" if share > 0.5 else "black")
    axes.set_xticks(range(len(counts)), [fill(name, 14) for name in table.columns], rotation=45, ha="right",
                    rotation_mode="anchor", fontsize=9)
    names = [f"{fill(name, 18)} ({n})" for name, n in zip(table.index, counts.sum(axis=1))]
    axes.set_yticks(range(len(counts)), names, fontsize=9)
    cancers = [evaluation.MALIGNANT.get(name, False) for name in table.index]
    if any(cancers) and cancers == sorted(cancers, reverse=True) and not all(cancers):
        axes.axhline(sum(cancers) - 0.5, color=COLOURS[1])
        axes.axvline(sum(cancers) - 0.5, color=COLOURS[1])
    axes.set(xlabel="predicted", ylabel="true (images)")
    figure.colorbar(image, label="share of the true class", shrink=0.7)
    return _finished(figure, title, synthetic)


def class_bars(table, title="", synthetic=False):
    """Show precision, recall (with its 95 % interval) and F1 per class; classes under 10 images carry their warning.

    ``table`` is that of :func:`helpers.evaluation.per_class`. A value that is not defined has no bar.
    """
    figure = Figure(figsize=(8, 0.62 * len(table) + 1.3), layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(table))
    for shift, name, colour in ((-0.27, "precision", 5), (0, "recall", 0), (0.27, "f1", 4)):
        axes.barh(places + shift, table[name], 0.25, color=COLOURS[colour], label=name.replace("f1", "F1"))
    axes.hlines(places, table["recall_low"], table["recall_high"], color="black", linewidth=1.2,
                label="95 % interval of recall")
    labels = [fill(name, 22) + "\n" + fill(warning or f"{n} images", 22)
              for name, n, warning in zip(table.index, table["support"], table["warning"])]
    axes.set_yticks(places, labels, fontsize=9)
    axes.invert_yaxis()
    axes.set_xlim(0, 1)
    figure.legend(loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return _finished(figure, title, synthetic)


def reliability_diagram(named, title="", synthetic=False):
    """Show, per bin of confidence, how often it came true, with 95 % intervals, above the number of images per bin.

    ``named`` maps a name to a table of :func:`helpers.calibration.reliability`.
    """
    figure = Figure(figsize=(6, 6.4), layout="constrained")
    axes, counts = figure.subplots(2, 1, sharex=True, height_ratios=[3, 1])
    axes.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1, label="well calibrated")
    for place, (name, table) in enumerate(named.items()):
        used = table[table["n"] > 0]
        error = calibration.expected_calibration_error(table)
        ends = [used["accuracy"] - used["accuracy_low"], used["accuracy_high"] - used["accuracy"]]
        axes.errorbar(used["confidence"], used["accuracy"], np.maximum(ends, 0), fmt=f"{'osD^'[place % 4]}-", capsize=3,
                      color=COLOURS[place % 6], label=f"{name}: calibration error {error:.3f} ({len(table)} bins)")
        width = (table["high"] - table["low"]) / len(named)
        counts.bar(table["low"] + width * (place + 0.5), table["n"], width * 0.9, color=COLOURS[place % 6])
    axes.set(ylabel="came true (share)", ylim=(0, 1))
    figure.legend(fontsize=9, frameon=False, loc="outside lower center")
    counts.set(xlabel="probability the model gave", ylabel="images", xlim=(0, 1))
    return _finished(figure, title, synthetic)


def roc_and_precision_recall(named, points=None, title="", synthetic=False):
    """Show ROC and precision-recall curves side by side.

    Parameters
    ----------
    named : maps a name to a yes-or-no view (:func:`helpers.decisions.binary`).
    points : maps some of the names to an operating point (:func:`helpers.decisions.operating_point`) to mark.
    """
    figure = Figure(figsize=(9.5, 5), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot([0, 1], [0, 1], color=GREY, linestyle="--", linewidth=1)
    for place, (name, view) in enumerate(named.items()):
        style = {"color": COLOURS[place % 6], "linestyle": ["-", "--", "-.", ":"][place % 4]}
        roc, both, rank = decisions.roc(view), decisions.precision_recall(view), decisions.ranking(view)
        left.plot(roc["false_positive_rate"], roc["sensitivity"], label=f"{name}: area {rank['auc']:.2f}", **style)
        average = f"average {rank['average_precision']:.2f} (chance {view['truth'].mean():.2f})"
        right.step(both["recall"], both["precision"], where="post", label=f"{name}: {average}", **style)
        if point := (points or {}).get(name):
            left.plot(1 - point["specificity"], point["sensitivity"], "o", markersize=9, color=style["color"])
            right.plot(point["sensitivity"], point["ppv"] or 0, "o", markersize=9, color=style["color"])
    left.set(xlabel="false positive rate (1 - specificity)", ylabel="sensitivity", title="ROC")
    right.set(xlabel="recall (sensitivity)", ylabel="precision", title="precision and recall", ylim=(0, 1.03))
    for axes in (left, right):
        axes.legend(fontsize=9, frameon=False, loc="upper center", bbox_to_anchor=(0.5, -0.14))
    return _finished(figure, title, synthetic)


def decision_curves(named, title="", synthetic=False):
    """Show net benefit over the threshold of acting, beside acting on all and on none.

    ``named`` maps a name to a table of :func:`helpers.decisions.decision_curve`; all are of the same images.
    """
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    first = next(iter(named.values()))
    axes.plot(first["threshold"], first["treat_all"], color=GREY, linestyle="--", label="flag all")
    axes.axhline(0, color="black", linewidth=1, label="flag none")
    for place, (name, table) in enumerate(named.items()):
        axes.plot(table["threshold"], table["model"], color=COLOURS[place % 6], linewidth=2,
                  linestyle=["-", "-.", ":"][place % 3], label=name)
    top = np.nanmax([0.05, first["treat_all"].max(), *(table["model"].max() for table in named.values())])
    axes.set(xlabel="threshold probability (the risk at which you would act)", ylabel="net benefit (per image)",
             xlim=(0, 1), ylim=(-0.25 * top, 1.1 * top))
    axes.legend(fontsize=9, frameon=False)
    return _finished(figure, title, synthetic)


def gallery(table, columns=6, title="", synthetic=False):
    """Show images, each over its three most probable classes; the true class is bold and its bar green.

    ``table`` is a labelled table with ``path`` joined; all its rows are shown.
    """
    lines = max(1, -(-len(table) // columns))
    figure = Figure(figsize=(1.95 * columns, 2.8 * lines + 0.4), layout="constrained")
    grid = figure.add_gridspec(2 * lines, columns, height_ratios=[2, 1] * lines)
    values, names = evaluation.probabilities(table), evaluation.classes(table)
    for place, (path, label, chance) in enumerate(zip(table["path"], table["label"], values)):
        axes = figure.add_subplot(grid[place // columns * 2, place % columns])
        bars = figure.add_subplot(grid[place // columns * 2 + 1, place % columns])
        axes.imshow(pixels(path))
        best = np.argsort(-chance, kind="stable")[:3]
        right = names[best[0]] == label
        axes.set_title(fill(label, 24) + ("\ncalled right" if right else "\ncalled WRONG"), fontsize=8,
                       color="black" if right else "#B34700")
        for line, number in enumerate(best):
            own = names[number] == label
            bars.barh(line, chance[number], color="#8FD3BF" if own else "#D9D9D9")
            bars.text(0.02, line, f"{chance[number]:.0%} {names[number]}", va="center", fontsize=7,
                      fontweight="bold" if own else "normal", in_layout=False)
        bars.set(xlim=(0, 1), ylim=(len(best) - 0.5, -0.5))
        axes.axis("off")
        bars.axis("off")
    return _finished(figure, title, synthetic)


def mistakes(table, columns=6, title="", synthetic=False):
    """Show wrongly called images, each above its nearest correctly classified training image.

    ``table`` has path, label, predicted, confidence (0 to 1), nearest_path and nearest_label; all rows are shown.
    """
    images, titles = [], []
    for start in range(0, len(table), columns):
        part = table.iloc[start:start + columns]
        gap = columns - len(part)
        blank = [np.full((2, 2, 3), 255)] * gap
        images += [*part["path"], *blank, *part["nearest_path"], *blank]
        titles += [fill(row.label, 19) + "\n" + fill(f"called {row.predicted}, {row.confidence:.0%}", 19)
                   for row in part.itertuples()] + [""] * gap
        titles += [fill(f"nearest in train: {name}", 19) for name in part["nearest_label"]] + [""] * gap
    return image_grid(images, titles, columns, title, synthetic)


def heatmap_overlays(images, heatmaps, titles, pairs=3, title="", synthetic=False):
    """Show each image beside itself under its Grad-CAM heatmap (bright: evidence for the class).

    Parameters
    ----------
    images : array (n, h, w, 3), 0 to 255.
    heatmaps : array (n, h, w), 0 to 1, see :func:`helpers.explain.grad_cam`.
    titles : text (n), which stands above the image.
    pairs : image and heatmap pairs a row.
    """
    grey = np.asarray(images, float).mean(axis=-1, keepdims=True)
    colour = 255 * matplotlib.colormaps["inferno"](np.asarray(heatmaps))[..., :3]
    share = 0.7 * np.asarray(heatmaps)[..., None]
    shown = [picture for pair in zip(np.asarray(images), share * colour + (1 - share) * grey) for picture in pair]
    texts = [text for name in titles for text in (fill(name, 19), "Grad-CAM")]
    return image_grid(shown, texts, 2 * pairs, title, synthetic)


def forest(table, overall=None, title="", synthetic=False):
    """Show the accuracy of subgroups with 95 % intervals; small groups in grey.

    ``table`` is that of :func:`helpers.decisions.subgroups`; ``overall`` (0 to 1) is drawn as a line for comparison.
    """
    names = [f"{column}: {group} ({n})" for column, group, n in zip(table["column"], table["group"], table["n"])]
    shown = table.assign(name=names, value=table["accuracy"],
                         colour=np.where(table["warning"] == "", COLOURS[0], "#999999"))
    return _intervals([("accuracy (95 % interval); images in brackets", shown)], overall, title, synthetic)


def comparison(table, title="", synthetic=False):
    """Show models, or seeds of one model, one under the other with their 95 % intervals, a panel a score.

    ``table`` is that of :func:`helpers.evaluation.scores_table`.
    """
    colours = {name: COLOURS[place % 6] for place, name in enumerate(table["name"].unique())}
    shown = table.assign(colour=table["name"].map(colours))
    scores = {"accuracy": "accuracy", "balanced_accuracy": "balanced accuracy", "macro_f1": "macro F1",
              "auc_ovr": "AUC, one versus rest"}
    panels = [(label, shown[shown["score"] == score]) for score, label in scores.items()]
    return _intervals(panels, None, title, synthetic)


def _intervals(panels, line, title, synthetic):
    """Draw tables of name, value, low, high and colour as points with intervals, a panel each."""
    rows = len(panels[0][1])
    figure = Figure(figsize=(max(7, 2.7 * len(panels) + 1), 0.36 * rows + 1.5), layout="constrained")
    for axes, (label, table) in zip(figure.subplots(1, len(panels), sharey=True, squeeze=False)[0], panels):
        places = np.arange(len(table))
        axes.hlines(places, table["low"], table["high"], color=table["colour"], linewidth=2)
        axes.scatter(table["value"], places, color=table["colour"], s=36, zorder=3)
        for place, value in zip(places, table["value"]):
            if pd.notna(value):
                axes.text(value, place - 0.18, f"{value:.2f}", ha="center", va="bottom", fontsize=8)
        if line is not None:
            axes.axvline(line, color=GREY, linestyle="--", linewidth=1)
        axes.set_yticks(places, table["name"], fontsize=9)
        axes.set(xlim=(0, 1), ylim=(rows - 0.5, -0.8), xlabel=label)
    return _finished(figure, title, synthetic)


def _finished(figure, title, synthetic):
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    return titled(figure, title, synthetic)
