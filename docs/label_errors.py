"""Do out-of-sample probabilities find wrong labels? Confident learning (Northcutt and others, 2021), in ten lines.

    python -m docs.label_errors /path/to/images

The labels are the folders' names, outside Test. A logistic regression on the features of a frozen EfficientNet-Lite0
predicts each image from four fifths of the others (groups kept together). Printed is how many known errors are among
the first hundred suspects: those that official labels reveal, and labels that were changed at random to see it work.
"""

import os
import sys

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from sklearn.decomposition import PCA
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import StratifiedGroupKFold, cross_val_predict
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

FIRST = 100


def suspects(label, chances):
    """Return the places of images, the most suspect first.

    ``label`` (n,) are class numbers, ``chances`` (n, k) out-of-sample probabilities. A class is *confident* in an image
    if its probability is at least the mean of that class over its own images. Suspect is an image in which the most
    probable confident class is another than its label; those come first, by how far the label's probability lies below
    that of the best other class.
    """
    least = np.array([chances[label == each, each].mean() for each in range(chances.shape[1])])
    confident = np.where(chances >= least, chances, -1)
    suspect = (confident.max(axis=1) >= 0) & (confident.argmax(axis=1) != label)
    own = chances[np.arange(len(label)), label]
    others = chances.copy()
    others[np.arange(len(label)), label] = -1
    return np.lexsort([own - others.max(axis=1), ~suspect])


def out_of_sample(features, label, groups, seed=0):
    """Return the probabilities (n, k) that a model gives to images whose group it was not trained on."""
    model = make_pipeline(StandardScaler(), PCA(100, random_state=seed), LogisticRegression(C=0.1, max_iter=200))
    folds = StratifiedGroupKFold(5, shuffle=True, random_state=seed)
    return cross_val_predict(model, features, label, groups=groups, cv=folds, method="predict_proba")


def found(name, wrong, order):
    """Return a row for reading: how many of the ``wrong`` images are among the first hundred, and by chance."""
    return {"errors": name, "known": wrong.sum(), "found": wrong[order[:FIRST]].sum(), "chance": FIRST * wrong.mean()}


def main(folder):
    import tempfile

    from helpers.data import datasets, duplicates, labels
    from helpers.training import backbones, pipeline

    table, facts, _ = datasets.list_images(datasets.find(folder))
    table = duplicates.inspect(table)
    metadata = labels.official_labels(table, facts)
    table = duplicates.group(table, metadata, duplicates.near_duplicates(table))
    table = table[(table["flag"] == "") & (table["split"] != "test")].drop_duplicates(["picture", "published_label"])
    known, classes = metadata["diagnosis"].reindex(table["image_id"]), set(table["published_label"])
    truth = np.array(
        [
            labels.official_class(said, folder, classes) if said else folder
            for said, folder in zip(known, table["published_label"])
        ]
    )
    published, names = pd.factorize(table["published_label"], sort=True)
    with tempfile.TemporaryDirectory() as cache:
        pixels = pipeline.load(table, 128, cache)
    backbone = backbones.EfficientNetLite0((128, 128, 3))
    features = backbone.predict(pixels, batch_size=64, verbose=0)
    order = suspects(published, out_of_sample(features, published, table["group"]))
    wrong = truth != table["published_label"]
    rows = [found("official label differs", wrong.to_numpy(), order)]
    for (old, new), of in table[wrong].groupby(["published_label", truth[wrong]]):
        if len(of) >= 5:
            rows.append(found(f"{old}, officially {new}", table["image_id"].isin(of["image_id"]).to_numpy(), order))
    random = np.random.default_rng(0)
    planted = random.random(len(table)) < 0.05
    changed = np.where(planted, (published + random.integers(1, len(names), len(table))) % len(names), published)
    order = suspects(changed, out_of_sample(features, changed, table["group"]))
    rows.append(found("changed at random, one in twenty", planted, order))
    print(f"{len(table)} images, {len(names)} classes")
    print(pd.DataFrame(rows).round(1).to_string(index=False))


if __name__ == "__main__":
    main(sys.argv[1])
