"""Use a trained network on pictures of one's own: what it calls them, and whether it has seen anything like them."""

import hashlib
import io
import sys
from pathlib import Path

import numpy as np
import pandas as pd
from sklearn.neighbors import NearestNeighbors

from helpers import manifest, runs
from helpers.data import datasets, images
from helpers.evaluation import explain, report, scores


def predict(run_dir, pictures, model="colours_exchanged"):
    """Return what the network ``model`` of a run folder says of pictures, and a list of why some are unreadable.

    The table has a row for each other picture: ``image`` (its path), ``predicted`` (class), ``probability``,
    ``p_<class>`` of each class; ``nearest``, ``nearest_label`` and ``distance`` of the training image that it is most
    similar to; and ``like_training``, "yes" or "unlike the training images": farther off than 99% of the validation
    images. Distances are cosine distances, 0 to 2, of the features that the last layer receives (after Sun et al. 2022,
    Out-of-distribution detection with deep nearest neighbors).

    RunError if the folder has no such network, or one that learned from another split or other labels, or if no picture
    can be read; OSError if its images are gone.
    """
    folder = runs.existing(run_dir)
    run = runs.Run("predict", folder, {}, datasets.find(runs.begun_with(folder)))
    table = manifest.read(folder / "manifest.csv", run.images.root)
    models = {name: place for name, place in run.networks(table).items() if (place / "model.keras").is_file()}
    if model not in models:
        raise runs.RunError(f"{run_dir} has no network {model!r} to use; it has {', '.join(models) or 'none'}.")
    train = manifest.active(table, "train")
    network, load = explain.open_network(models[model])
    names = scores.classes(scores.read_predictions(models[model] / "predictions.csv"))
    if names != sorted(train["label"].unique()):
        raise runs.RunError(f"{models[model]} was trained on other classes than its run now has; train it again.")
    readable, reasons = _readable(pictures)
    if not readable:
        raise runs.RunError("\n".join(reasons))
    contents = [hashlib.sha256(Path(path).read_bytes()).hexdigest() for path in readable]
    pixels = load(pd.DataFrame({"path": readable, "sha256": contents}))
    chances = explain.predict(network, pixels)
    memory, limit = _memory(network, load, models[model], table)
    distances, places = (part[:, 0] for part in memory.kneighbors(explain.features(network, pixels)))
    found = pd.DataFrame({"image": readable, "predicted": np.array(names)[chances.argmax(axis=1)]})
    found["probability"] = chances.max(axis=1)
    found[[f"p_{name}" for name in names]] = chances
    found["nearest"], found["nearest_label"] = train[["image_id", "label"]].to_numpy()[places].T
    found["distance"] = distances
    found["like_training"] = np.where(distances > limit, "unlike the training images", "yes")
    return found, reasons


def command(run_dir, pictures, model, csv):
    """Write what :func:`predict` returns to the file ``csv``, or print it; return 1 if a picture cannot be read."""
    found, reasons = predict(run_dir, pictures, model)
    text = found.round(4).to_csv(index=False, lineterminator="\n")
    if csv:
        manifest.write_text(text, csv)
    print("\n".join([*reasons, report.NOTICE]), file=sys.stderr)
    print(f"{len(found)} of {len(pictures)} pictures: {csv}" if csv else text.rstrip("\n"))
    return int(bool(reasons))


def _memory(network, load, folder, table):
    """Return what finds the nearest training image, and how far off 99% of validation are; keep the features."""
    file = explain.cached(folder, "features-{}.npz", manifest.fingerprint(table))
    if not file.exists():
        kept, known = io.BytesIO(), manifest.active(table).query("split != 'test'")
        np.savez(kept, learned=known["split"] == "train", features=explain.features(network, load(known)))
        manifest.write_bytes(kept.getvalue(), file)
    learned, features = np.load(file).values()
    memory = NearestNeighbors(n_neighbors=1, metric="cosine").fit(features[learned])
    return memory, np.quantile(memory.kneighbors(features[~learned])[0], 0.99)


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
