"""Use a trained network on pictures of one's own: what it calls them, and whether it has seen anything like them."""

import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from helpers import manifest, runs
from helpers.data import images
from helpers.evaluation import explain, scores

NOTICE = "This is teaching material, not a medical device: nothing here may be used to judge anybody's skin."
LIMIT = 0.99  # share of validation images that count as like the training images


def predict(run_dir, pictures, model="regularised"):
    """Return what the network ``model`` of a run folder says of pictures, and the reasons why some cannot be read.

    Returned are a table and a list of text. The table has a row for each readable picture: ``image`` (its path),
    ``predicted`` (class), ``probability``, ``p_<class>`` of each class; ``nearest``, ``nearest_label`` and ``distance``
    of the training image that it is most similar to; ``percentile`` of the training images, 0 to 100, that are nearer
    than that to the nearest other one; and ``like_training``, "yes" or "not like what I learned from": farther off than
    99 % of the validation images. Distances are cosine distances, 0 to 2, of the features that the last layer receives
    (Papernot & McDaniel 2018, arXiv 1803.04765, judge by neighbours in them likewise).

    RunError, ReportError or PredictionsError if the folder has no such run or network, OSError if its images are gone.
    """
    folder, table = _open(run_dir, model)
    train = manifest.active(table, "train").reset_index(drop=True)
    network, load = explain.open_network(folder)
    names = scores.classes(scores.read_predictions(folder / "predictions.csv"))
    if names != sorted(train["label"].unique()):
        raise runs.RunError(f"{folder} was trained on other classes than its run has by now; train it again.")
    readable, reasons = _readable(pictures)
    asked = pd.DataFrame(
        {"image_id": readable, "path": readable, "sha256": readable, "split": "", "label": ""}, dtype=str
    )
    parts = [train, manifest.active(table, "val"), asked]
    features, chances = explain.features(network, load(pd.concat(parts)))
    own, known, new = np.split(features, np.cumsum([len(part) for part in parts])[:-1])
    memory = NearestNeighbors(n_neighbors=1, metric="cosine").fit(own)
    apart = memory.kneighbors()[0][:, 0]  # of each training image to the nearest other one
    limit = np.quantile(memory.kneighbors(known)[0] if len(known) else apart, LIMIT)
    found = scores.predictions_table(asked, chances[len(features) - len(asked) :], names)
    if readable:
        distances, places = (part[:, 0] for part in memory.kneighbors(new))
        found = scores.outcomes(found)
        nearest = train.iloc[places]
        found["nearest"], found["nearest_label"] = nearest["image_id"].to_numpy(), nearest["label"].to_numpy()
        found["distance"], found["percentile"] = distances, [100 * (apart < distance).mean() for distance in distances]
        found["like_training"] = np.where(distances > limit, "not like what I learned from", "yes")
    found = found.rename(columns={"image_id": "image", "confidence": "probability"})
    columns = ["image", "predicted", "probability", *(f"p_{name}" for name in names), "nearest", "nearest_label"]
    return found.reindex(columns=[*columns, "distance", "percentile", "like_training"]), reasons


def command(run_dir, pictures, model, csv):
    """Write what :func:`predict` returns to the file ``csv``, or print it; return 1 if a picture cannot be read."""
    found, reasons = predict(run_dir, pictures, model)
    text = found.round(4).to_csv(index=False, lineterminator="\n")
    if csv:
        manifest.write_text(text, csv)
    print("\n".join([*reasons, NOTICE]), file=sys.stderr)
    print(f"{len(found)} pictures: {csv}" if csv else text.rstrip("\n"))
    return int(bool(reasons))


def _open(run_dir, model):
    """Return the folder of a network, and its run's manifest; a folder that is none is not made one."""
    file = Path(run_dir).expanduser() / "manifest.csv"
    if not file.is_file():
        raise runs.RunError(f"{run_dir} is no run folder (it has no manifest.csv); name one, such as runs/course.")
    run = runs.start("05_evaluation", {"DATA_DIR": "", "OUT_DIR": str(file.parent)})
    models = sorted(found.parent.name for found in run.folder.glob("*/model.keras"))
    if model not in models:
        raise runs.RunError(f"{run_dir} has no network {model!r}; it has {', '.join(models) or 'none'}.")
    table = manifest.read(run.folder / "manifest.csv", run.images.root)
    return run.folder / model, table


def _readable(pictures):
    """Return the paths of the pictures that can be read, and why the others cannot."""
    readable, reasons = [], []
    for picture in map(str, pictures):
        try:
            images.open_rgb(picture)
            readable.append(picture)
        except images.UnreadableImage as error:
            reasons.append(f"Not a picture that can be read: {error}")
    return readable, reasons
