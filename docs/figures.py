"""Draw the pictures of README and docs/, and the tables in docs/results.md, from the numbers in docs/results/.

    python -m docs.figures                    # from the numbers stored there
    python -m docs.figures RUN_DIR [RUN_DIR]  # first store the numbers of finished run folders, one per seed

No picture shows an image of a patient, and no file here names one.
"""

import io
import json
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import PercentFormatter

from helpers import figures, manifest
from helpers.data import classes
from helpers.evaluation import scores

DOCS = Path(__file__).parent
RESULTS, PICTURES, PAGE = DOCS / "results", DOCS / "figures", DOCS / "results.md"
RECALLED = ["nevus", "melanoma"]
CALLED = ["nevi", "melanomas"]  # recognised, of those that another collection took
SHOWN = "colours_exchanged"  # the network of the confusion matrix and the reliability diagram
NETWORKS = ["baseline", "colours_kept", "colours_exchanged", "transfer"]
GREY, VALIDATION, TEST = "#999999", figures.SPLIT_COLOURS["val"], figures.SPLIT_COLOURS["test"]


def take(folders):
    """Store what the pictures need: of the first run folder its curves, confusion matrix and reliability diagram's
    bins, of every one the scores of its networks.
    """
    folder, rows = Path(folders[0]), []
    for place in map(Path, folders):
        found = json.loads((place / "report" / "metrics.json").read_text(encoding="utf-8"))["models"]
        rows += [_reveal(place, name, scored) for name, scored in found.items()]
    manifest.write_text(pd.DataFrame(rows).round(4).to_csv(index=False), RESULTS / "reveal.csv")
    histories = {file.parent.name: pd.read_csv(file) for file in sorted(folder.glob("*/history.csv"))}
    curves = pd.concat(histories, names=["model"]).reset_index("model").round(4)
    rows = scores.read_predictions(folder / SHOWN / "predictions.csv")
    test = scores.labelled(rows[rows["split"] == "test"])
    called = scores.outcomes(test)
    bins = called.groupby(np.minimum((called["confidence"] * 10).astype(int), 9))
    bins = bins.agg(confidence=("confidence", "mean"), correct=("correct", "mean"), images=("correct", "size"))
    manifest.write_text(curves.to_csv(index=False), RESULTS / "curves.csv")
    counts = scores.confusion(test, classes.malignant(scores.classes(rows)))
    manifest.write_text(counts.rename_axis("true").to_csv(), RESULTS / "confusion.csv")
    manifest.write_text(bins.round(4).to_csv(index=False), RESULTS / "reliability.csv")


def _reveal(folder, name, scored):
    """Return a row of reveal.csv: a network's scores on validation, Test and another set."""
    record = json.loads((folder / name / "run.json").read_text(encoding="utf-8"))
    found = {"network": name, "seed": record["parameters"]["SEED"], "validation": scored["val"]["accuracy"]}
    found |= scored.get("colours", {}) | {"Test": scored["test"]["audited"]["accuracy"]}
    external = scored.get("external", {})
    found |= {f"other {label}": value for label, value in external.get("recall", {}).items() if label in RECALLED}
    return found | {"other AUC": external.get("auc_melanoma_nevus", np.nan)}


def reveal(table):
    """README's picture: accuracy of each network on validation and elsewhere, seed by seed."""
    places = {
        "validation": ("validation", VALIDATION, "o"),
        "other_collection": ("validation, colours of another clinic", "#CC79A7", "v"),
        "other": ("nevi and melanomas of another clinic (HAM10000)", "#D55E00", "D"),
    }
    table = table.assign(other=table[["other nevus", "other melanoma"]].mean(axis=1))
    names = [name for name in NETWORKS if name in set(table["network"])]
    figure, axes = figures.new(9.5, 1.6 + 0.95 * len(names))
    for row, name in enumerate(names):
        for step, (column, (label, colour, marker)) in enumerate(places.items()):
            values, height = table.loc[table["network"] == name, column], row + 0.26 * (step - 1)
            shown = label if row == 0 else None
            axes.plot(values, [height] * len(values), marker, color=colour, markersize=10, alpha=0.75, label=shown)
            axes.text(values.max() + 0.025, height, f"{values.mean():.0%}", va="center", fontsize=12)
    axes.set_yticks(range(len(names)), [name.replace("_", " ") for name in names], fontsize=13)
    axes.set(
        xlim=(0, 0.85), ylim=(len(names) - 0.5, -0.5), xlabel="share classified correctly, each seed and the mean"
    )
    axes.xaxis.set_major_formatter(PercentFormatter(1))
    kept, exchanged = (
        table[table["network"] == f"colours_{how}"].mean(numeric_only=True) for how in ("kept", "exchanged")
    )
    axes.set_title(
        f"Validation prefers the network that knows its clinics ({kept['validation']:.0%} to "
        f"{exchanged['validation']:.0%});\nin another clinic it is right on {kept['other']:.0%}, the other on "
        f"{exchanged['other']:.0%}",
        fontsize=13,
        fontweight="bold",
        loc="left",
    )
    figure.legend(loc="outside lower center", ncols=3, frameon=False, fontsize=11)
    return figure


def leak(table):
    """The leak and the corners: a nearest neighbour after both ways of splitting, and a forest that sees four corners."""
    figure = Figure(figsize=(9.5, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2, width_ratios=[1.35, 1])
    table = table[table["images"] == "real"]
    ways = list(table["way"].unique())
    for split, colour, shift in (("validation", VALIDATION, -0.14), ("test", TEST, 0.14)):
        places = table["way"].map(ways.index) + shift
        left.plot(
            table[split], places, "o", color=colour, markersize=10, alpha=0.75, label=split.replace("test", "Test")
        )
        for place, rows in table.groupby(places):
            side = rows[split].max() + 0.03 if rows[split].max() < 0.9 else 0.83
            left.text(side, place, f"{rows[split].mean():.0%}", va="center", fontsize=11)
    left.set_yticks(range(len(ways)), [way.replace(", ", ",\n") for way in ways], fontsize=11)
    left.set(xlim=(0, 1), ylim=(len(ways) - 0.5, -0.5), xlabel="accuracy, three seeds")
    left.set_title("With copies: 97% on validation, 37% on Test", fontsize=12, fontweight="bold", loc="left")
    left.legend(frameon=False, loc="lower right", fontsize=11)
    corners = pd.read_csv(RESULTS / "corners.csv")
    right.barh(corners["what"], corners["value"], color=[GREY, "#0072B2", "#D55E00"], height=0.55)
    right.hlines(corners["what"], corners["low"], corners["high"], color="black", linewidth=2)
    for place, row in enumerate(corners.itertuples()):
        right.text(np.nanmax([row.value, row.high]) + 0.02, place, f"{row.value:.0%}", va="center", fontsize=11)
    right.tick_params(axis="y", labelsize=11)
    right.set(xlim=(0, 1), ylim=(len(corners) - 0.5, -0.5), xlabel="accuracy on validation")
    right.set_title("Four corners, and no lesion", fontsize=12, fontweight="bold", loc="left")
    for axes in (left, right):
        axes.xaxis.set_major_formatter(PercentFormatter(1))
    return figure


def collections(table):
    """Which collection the training images of each class come from, and those of the published Test."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    for axes, split, title in zip(figure.subplots(1, 2, sharey=True), ("train", "test"), ("Train", "Test")):
        earlier, ham = table[f"{split}_earlier"], table[f"{split}_ham10000"]
        axes.barh(table["class"], earlier, color="#D55E00", label="earlier ISIC contributions")
        axes.barh(table["class"], ham, left=earlier, color="#56B4E9", label="HAM10000")
        axes.set(xlabel="images", title=f"published {title}")
    axes.invert_yaxis()
    handles = axes.get_legend_handles_labels()
    figure.legend(*handles, loc="outside lower center", ncols=2, frameon=False)
    both = ((table["train_earlier"] > 0) & (table["train_ham10000"] > 0)).sum()
    figure.suptitle(f"In Train, {len(table) - both} of {len(table)} classes come from one source only", fontsize=13)
    return figure


def added(table):
    """Recall on the other half of another collection's images, by how many of its images were learned from."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.add_subplot()
    for name, colour in (("nevi", "#0072B2"), ("melanomas", "#D55E00"), ("validation", GREY)):
        axes.plot(table["added"], table[name], "o", color=colour, alpha=0.4)
        axes.plot(table.groupby("added")[name].mean(), color=colour, linewidth=2.5, label=name)
    axes.set(
        xlabel="images added of each, nevi and melanomas", ylabel="recall (grey: validation accuracy)", ylim=(0, 1)
    )
    axes.set_xticks(sorted(set(table["added"])))
    axes.legend(frameon=False)
    mean = table.groupby("added")[CALLED].mean().mean(axis=1)
    axes.set_title(f"Five pictures of each lift the mean recall from {mean[0]:.0%} to {mean[5]:.0%}")
    return figure


def confusion(table):
    """The confusion matrix of one network on Test."""
    table = table.set_index("true")
    figure = Figure(figsize=(7.5, 6), layout="constrained")
    axes = figure.add_subplot()
    axes.imshow(table, cmap="Blues")
    for (row, column), count in np.ndenumerate(table.to_numpy()):
        colour = "white" if count > table.to_numpy().max() / 2 else "black"
        axes.text(column, row, count or "", ha="center", va="center", color=colour)
    axes.set_xticks(range(len(table)), table.columns, rotation=40, ha="right")
    axes.set_yticks(range(len(table)), table.index)
    axes.set(xlabel="predicted", ylabel="true")
    right, images = np.trace(table.loc[table.columns]), table.to_numpy().sum()
    axes.set_title(f"{SHOWN.replace('_', ' ')}: {right} of {images} Test images on the diagonal")
    return figure


def reliability(table):
    """The reliability diagram of one network on Test, with the number of images in each bin."""
    figure = Figure(figsize=(5.5, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.plot([0, 1], [0, 1], "--", color=GREY)
    axes.plot(table["confidence"], table["correct"], "o-", color=figures.SPLIT_COLOURS["test"])
    for row in table.itertuples():
        axes.annotate(row.images, (row.confidence, row.correct), (6, -12), textcoords="offset points", fontsize=9)
    axes.set(xlim=(0, 1), ylim=(0, 1), xlabel="probability of the predicted class", ylabel="share correct")
    gap = np.average(table["confidence"] - table["correct"], weights=table["images"])
    kind = "too sure" if gap > 0 else "not sure enough"
    axes.set_title(f"{SHOWN.replace('_', ' ')}, Test: {kind} by {abs(gap):.2f} on average")
    return figure


def curves(table):
    """The curves of every network of the run."""
    histories = {name: rows.reset_index(drop=True) for name, rows in table.groupby("model", sort=False)}
    best = {name: rows["epoch"][rows["val_loss"].idxmin()] for name, rows in histories.items()}
    kept = ", ".join(f"{name.replace('_', ' ')} {epoch}" for name, epoch in best.items())
    return figures.curves(histories, f"Epoch with the lowest validation loss: {kept}")


def _of_seeds(values):
    """Return the mean, lowest and highest of a Series with a value for each seed, NaN where it was not kept."""
    ends = f"{values.min():.2f} to {values.max():.2f}" if values.notna().sum() > 1 else "one seed"
    return f"{values.mean():.2f} ({ends})"


def reveal_table():
    """The scores of each network, as docs/results.md shows them: mean, lowest to highest of the seeds."""
    table = pd.read_csv(RESULTS / "reveal.csv")
    columns = {
        "validation": "validation",
        "other_collection": "other-collection colours",
        "other nevus": "HAM10000 nevi",
        "other melanoma": "HAM10000 melanomas",
        "other AUC": "AUC",
        "Test": "working Test",
    }
    groups = table.groupby("network", sort=False)
    shown = groups[list(columns)].agg(_of_seeds)
    return shown.rename(columns=columns, index=lambda name: name.replace("_", " ")).reset_index()


def leak_table():
    """The leak, as docs/results.md shows it."""
    ways = pd.read_csv(RESULTS / "leak.csv").groupby(["images", "way"], sort=False)
    shown = ways[["validation", "test"]].agg(lambda values: " ".join(f"{value:.2f}" for value in values))
    return shown.set_axis(["validation, three seeds", "Test, three seeds"], axis=1).reset_index()


def recipes_table():
    """The training set-ups, as docs/results.md shows them."""
    shown = pd.read_csv(RESULTS / "recipes.csv").rename(
        columns={
            "same": "same-collection colours",
            "other": "other-collection colours",
            "nevi": "HAM10000 nevi",
            "auc": "AUC",
        }
    )
    shown.insert(0, "row", range(1, len(shown) + 1))
    return shown.map(lambda value: f"{value:.2f}" if isinstance(value, float) else value)


def amounts_table():
    """Three seeds for each amount of exchanged colour, as docs/results.md shows them: mean, lowest to highest."""
    found = pd.read_csv(RESULTS / "amounts.csv").drop(columns="seed").groupby("network and COLOUR_EXCHANGE", sort=False)
    return found.agg(lambda seen: f"{seen.mean():.2f} ({seen.min():.2f} to {seen.max():.2f})").reset_index()


def added_table():
    """Scores with images added from another collection, as docs/results.md shows it: mean, lowest to highest."""
    table = pd.read_csv(RESULTS / "added.csv").drop(columns="seed").assign(mean=lambda rows: rows[CALLED].mean(axis=1))
    found = table.groupby("added")[[*CALLED, "mean", "auc", "validation"]]
    shown = found.agg(lambda seen: f"{seen.mean():.2f} ({seen.min():.2f} to {seen.max():.2f})").reset_index()
    return shown.set_axis(["added of each", *CALLED, "mean of both", "AUC", "validation"], axis=1)


def public_table():
    """Published scores, as docs/results.md shows it."""
    known = pd.read_csv(DOCS.parent / "data" / "public_scores.csv")
    counted = known["n"].notna()
    return pd.DataFrame(
        {
            "report": ("[" + known["report"] + "](" + known["address"] + ")").fillna(known["report"]),
            "accuracy": known["accuracy"].map("{:.3f}".format),
            "scored on": known["test_or_validation"].mask(
                counted,
                known["test_or_validation"] + known.apply(lambda row: f", {row['k']:.0f} of {row['n']:.0f}", axis=1),
            ),
            "95% interval": known.apply(lambda row: f"{row['low']:.2f} to {row['high']:.2f}", axis=1).where(
                counted, ""
            ),
            "verdict": known["verdict"],
        }
    )


def written(text):
    """Return the text of docs/results.md with each table between its comments, made from the stored numbers."""
    for name, table in (
        ("reveal", reveal_table()),
        ("leak", leak_table()),
        ("recipes", recipes_table()),
        ("amounts", amounts_table()),
        ("added", added_table()),
        ("public", public_table()),
    ):
        rows = [table.columns, ["---"] * table.shape[1], *table.to_numpy()]
        lines = [f"<!-- table {name} -->", *(f"| {' | '.join(map(str, row))} |" for row in rows), "<!-- end -->"]
        start, end = text.index(lines[0]), text.index(lines[-1], text.index(lines[0]))
        text = text[:start] + "\n".join(lines) + text[end + len(lines[-1]) :]
    return text


DRAWN = (reveal, leak, collections, added, curves, confusion, reliability)


def picture(draw):
    """Return the PNG that a function of ``DRAWN`` makes of its numbers in docs/results/, as bytes."""
    figure, file = draw(pd.read_csv(RESULTS / f"{draw.__name__}.csv")), io.BytesIO()
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(file, dpi=130, metadata={"Software": None})
    return file.getvalue()


def main(arguments):
    """Store the numbers of run folders, if any are given; draw every picture; write the tables."""
    if arguments:
        take(arguments)
    PICTURES.mkdir(exist_ok=True)
    for draw in DRAWN:
        manifest.write_bytes(picture(draw), PICTURES / f"{draw.__name__}.png")
    manifest.write_text(written(PAGE.read_text(encoding="utf-8")), PAGE)


if __name__ == "__main__":
    main(sys.argv[1:])
