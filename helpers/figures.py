"""Figures of the data, the augmentation and the training: each takes a table or arrays and returns a Figure.

No function shows anything itself: a Figure that ends a cell is shown by Jupyter. ``synthetic=True`` names the embedded
sample in the figure, so that nobody takes a drawing for a patient.
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from PIL import Image

SPLIT_COLOURS = {"train": "#0072B2", "val": "#E69F00", "test": "#009E73"}  # Okabe & Ito's colour-blind-safe palette
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
    """Show images in rows of ``columns``, each under its title.

    Parameters
    ----------
    images : list of file paths, PIL images or arrays (height, width, 3) of 0 to 255.
    titles : list of text, one an image.
    columns : images a row.
    title : title of the figure.
    synthetic : name the images as synthetic.
    """
    rows = -(-len(images) // columns)
    figure = Figure(figsize=(1.25 * columns, 1.45 * rows + 0.45), layout="constrained")
    for place, (image, text) in enumerate(zip(images, titles)):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(pixels(image))
        axes.set_title(text if "\n" in text or len(text) < 16 else wrap(text), fontsize=8)
        axes.axis("off")
    return titled(figure, title, synthetic)


def examples(table, per_class=1, columns=9, title="", seed=0, synthetic=False):
    """Show ``per_class`` randomly chosen images of each class of a manifest, named by class."""
    rows = table.sample(frac=1, random_state=seed).groupby("label").head(per_class).sort_values("label", kind="stable")
    return image_grid(rows["path"].tolist(), rows["label"].tolist(), columns, title, synthetic)


def pairs(first, second, title="", synthetic=False):
    """Show rows of one manifest above the matching rows of another, with split, published class and id of each.

    Parameters
    ----------
    first, second : manifest rows; row i of the one is shown above row i of the other.
    """
    both = pd.concat([first, second])
    titles = [f"{row.split}: {wrap(row.published_label)}\n{row.image_id.split('@')[0]}" for row in both.itertuples()]
    return image_grid(both["path"].tolist(), titles, len(first), title, synthetic)


def class_counts(table, column="label", title="", synthetic=False):
    """Show how many images each class has in each split, as horizontal bars, largest class first."""
    counts = pd.crosstab(table[column], table["split"].replace("", "all"))
    counts = counts.loc[counts.sum(axis=1).sort_values().index]
    figure = Figure(figsize=(8, 0.38 * len(counts) + 1.2), layout="constrained")
    axes = figure.add_subplot()
    left = np.zeros(len(counts))
    for split in [name for name in [*SPLIT_COLOURS, "all"] if name in counts]:
        axes.barh(counts.index, counts[split], left=left, label=split, color=SPLIT_COLOURS.get(split, "#56B4E9"))
        left += counts[split].to_numpy()
    axes.bar_label(axes.containers[-1], labels=[f"{total:.0f}" for total in left], padding=3, fontsize=9)
    axes.set_xlabel("images")
    axes.margins(x=0.1)
    axes.legend(frameon=False, loc="lower right")
    axes.spines[["top", "right"]].set_visible(False)
    return titled(figure, title, synthetic)


def before_after(before, after, names, title="", synthetic=False):
    """Show two counts by class side by side.

    Parameters
    ----------
    before, after : Series of counts by class; a class that only one of them has counts 0 in the other.
    names : the two names for the legend.
    """
    counts = pd.DataFrame({names[0]: before, names[1]: after}).fillna(0).sort_values(names[0], ascending=False)
    figure = Figure(figsize=(8, 0.5 * len(counts) + 1.2), layout="constrained")
    long = counts.rename_axis("class").reset_index().melt("class", var_name="", value_name="images")
    axes = figure.add_subplot()
    sns.barplot(long, y="class", x="images", hue="", palette=["#999999", "#0072B2"], ax=axes)
    for bars in axes.containers:
        axes.bar_label(bars, fmt="%.0f", padding=3, fontsize=8)
    axes.set_ylabel("")
    axes.legend(frameon=False, loc="upper left", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    return titled(figure, title, synthetic)


def boxes(table, columns, by="label", title="", synthetic=False):
    """Show the spread of some numeric columns by class, a panel a column.

    Parameters
    ----------
    table : DataFrame with the class in ``by`` and numbers in ``columns``.
    """
    figure = Figure(figsize=(3.2 * len(columns) + 1.5, 0.34 * table[by].nunique() + 1.4), layout="constrained")
    axes = figure.subplots(1, len(columns), sharey=True, squeeze=False)[0]
    for place, column in zip(axes, columns):
        sns.boxplot(
            table,
            y=by,
            x=column,
            order=sorted(table[by].unique()),
            color="#56B4E9",
            fliersize=1.5,
            linewidth=0.9,
            ax=place,
        )
        place.set_ylabel("")
        place.spines[["top", "right"]].set_visible(False)
    return titled(figure, title, synthetic)


def strips(table, column, by="label", title="", synthetic=False):
    """Show a number of every image as a dot, by class, coloured by split."""
    figure = Figure(figsize=(8.5, 0.36 * table[by].nunique() + 1.4), layout="constrained")
    axes = figure.add_subplot()
    splits = [name for name in SPLIT_COLOURS if name in set(table["split"])]
    sns.stripplot(
        table,
        x=column,
        y=by,
        hue="split",
        hue_order=splits,
        order=sorted(table[by].unique()),
        palette=SPLIT_COLOURS,
        size=2.5,
        jitter=0.3,
        ax=axes,
    )
    axes.set_ylabel("")
    axes.legend(frameon=False, title="", loc="upper left", bbox_to_anchor=(1, 1))
    axes.spines[["top", "right"]].set_visible(False)
    return titled(figure, title, synthetic)


def curves(histories, title="", synthetic=False):
    """Show loss and accuracy by epoch, training dashed and validation solid, for one or more trainings.

    Parameters
    ----------
    histories : dict of name -> history (``epoch``, ``loss``, ``accuracy``, ``val_loss``, ``val_accuracy``).
        The epoch with the lowest validation loss, whose weights are kept, is marked.
    """
    figure = Figure(figsize=(9.5, 3.8), layout="constrained")
    colours = model_colours(histories)
    for place, measure in zip(figure.subplots(1, 2), ("loss", "accuracy")):
        for name, history in histories.items():
            best = history["val_loss"].idxmin()
            place.plot(history["epoch"], history[measure], "--", color=colours[name], alpha=0.6)
            place.plot(history["epoch"], history[f"val_{measure}"], color=colours[name], label=name.replace("_", " "))
            place.plot(history["epoch"][best], history[f"val_{measure}"][best], "o", color=colours[name], clip_on=False)
        top = (
            1.02
            if measure == "accuracy"
            else 1.1 * max(history["val_loss"].quantile(0.95) for history in histories.values())
        )
        place.set(xlabel="epoch", ylabel=measure, ylim=(0, max(top, 1)))
        place.spines[["top", "right"]].set_visible(False)
    place.plot([], [], "--", color="#666666", label="training")
    place.plot([], [], "-", color="#666666", label="validation")
    figure.legend(*place.get_legend_handles_labels(), loc="outside lower center", ncols=6, frameon=False, fontsize=9)
    return titled(figure, title, synthetic)


def frequencies(table, title="", synthetic=False):
    """Show, per operation, the written probability beside the measured frequency with Augmentor and with the course.

    Parameters
    ----------
    table : DataFrame indexed by operation; each column is one series of probabilities, 0 to 1.
    """
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    axes = figure.add_subplot()
    table.plot.bar(ax=axes, color=["#999999", *MODEL_COLOURS.values()], rot=0)
    axes.set(xlabel="", ylabel="share of images", ylim=(0, 1.05))
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return titled(figure, title, synthetic)


def pixels(image):
    """Return an image (path, PIL image or array of 0 to 255) as a uint8 array (height, width, 3)."""
    if isinstance(image, (str, bytes)) or hasattr(image, "__fspath__"):
        with Image.open(image) as file:
            return np.asarray(file.convert("RGB"))
    return np.clip(np.asarray(image), 0, 255).astype("uint8")


def titled(figure, title, synthetic):
    """Give ``figure`` its title, with the note on the embedded sample where ``synthetic``; return it."""
    note = "synthetic sample: drawings, not patients" if synthetic else ""
    figure.suptitle("  ·  ".join(part for part in (title, note) if part), fontsize=10)
    return figure


def wrap(label):
    """Break a class name in two lines near its middle."""
    words = label.split()
    cut = -(-len(words) // 2)
    return "\n".join(" ".join(part) for part in (words[:cut], words[cut:]) if part)
