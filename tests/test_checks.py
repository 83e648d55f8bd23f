"""The checks of the exercises of notebooks 06 and 07: right answers pass, likely wrong ones are explained."""

import keras
import numpy as np
import pandas as pd
import pytest

from helpers.evaluation import decisions
from notebooks import checks

RANDOM = np.random.default_rng(0)
KINDS = np.arange(60) % 3
TARGETS, VAL_TARGETS = np.eye(3)[KINDS], np.eye(3)[KINDS[:30]]
FEATURES = np.abs(RANDOM.normal(size=(60, 8)) + 2 * np.eye(8)[KINDS])
VAL_FEATURES = np.abs(RANDOM.normal(size=(30, 8)) + 2 * np.eye(8)[KINDS[:30]])
SPACE = FEATURES, TARGETS, VAL_FEATURES, VAL_TARGETS


def accuracy_of(predicted):
    return (predicted == VAL_TARGETS.argmax(axis=1)).mean()


def by_neighbours(count, metric="cosine"):
    from sklearn.neighbors import KNeighborsClassifier

    return accuracy_of(KNeighborsClassifier(count, metric=metric).fit(FEATURES, KINDS).predict(VAL_FEATURES))


def from_views(count):
    means = np.array([FEATURES[kind == KINDS][:count].mean(axis=0) for kind in range(3)])
    means /= np.linalg.norm(means, axis=1, keepdims=True)
    return accuracy_of((VAL_FEATURES @ means.T).argmax(axis=1))


def test_weights_of_a_head(capsys):
    head = keras.Sequential([keras.Input((8,)), keras.layers.Dense(3)])
    checks.weights_of_a_head(27, head)
    for wrong, reason in ((None, "still None"), (24, "bias"), (30, "does not count 30")):
        with pytest.raises(AssertionError, match=reason):
            checks.weights_of_a_head(wrong, head)
    assert "Right: 27" in capsys.readouterr().out


def test_neighbours():
    checks.neighbours(by_neighbours(5), *SPACE)
    assert by_neighbours(1) != by_neighbours(5)
    for wrong, reason in ((None, "still None"), (by_neighbours(1), "one neighbour"), (0.99, "validation features")):
        with pytest.raises(AssertionError, match=reason):
            checks.neighbours(wrong, *SPACE)


def test_prototypes():
    checks.prototypes(from_views(5), *SPACE)
    assert from_views(60) != from_views(5)
    for wrong, reason in ((None, "still None"), (from_views(60), "all views"), (0.01, "first five")):
        with pytest.raises(AssertionError, match=reason):
            checks.prototypes(wrong, *SPACE)


def view(truth, probability):
    ids = [f"i{n}" for n in range(len(truth))]
    return pd.DataFrame({"image_id": ids, "truth": np.array(truth, bool), "probability": probability})


def test_more_false_alarms():
    places = {
        "validation": view([1, 1, 0], [0.9, 0.4, 0.1]),
        "Test": view([1, 1, 0, 0, 0, 0], [0.8, 0.3, 0.9, 0.5, 0.35, 0.1]),
    }
    checks.more_false_alarms(1, places, threshold=0.9)  # 0.9 alone is flagged; from 0.4 on, 0.5 as well
    for wrong, reason in ((None, "still None"), (2, "chosen on Test|all false alarms"), (7, "lowest probability")):
        with pytest.raises(AssertionError, match=reason):
            checks.more_false_alarms(wrong, places, threshold=0.9)


def test_half_are_right():
    point = decisions.operating_point(view([1] * 10 + [0] * 20, [1.0] * 8 + [0.0] * 2 + [1.0] * 5 + [0.0] * 15), 0.5)
    low = 1 - point["specificity_interval"][0]
    checks.half_are_right(low / (low + 0.8), point)
    for wrong, reason in ((None, "still None"), (50, "from 0 to 1"), (0.25 / 1.05, "lower end"), (0.02, "not as many")):
        with pytest.raises(AssertionError, match=reason):
            checks.half_are_right(wrong, point)


def test_covered_lesions():
    pixels = RANDOM.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    network = keras.Sequential([keras.Input((16, 16, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    names = np.array(["a", "b"])
    rows = pd.DataFrame({"p_a": 0.5, "p_b": 0.5, "label": names[np.arange(12) % 2]}, index=range(12))
    rows["predicted"] = names[network.predict(pixels, verbose=0).argmax(axis=1)]
    covered = pixels.copy()
    covered[:, 4:-4, 4:-4] = 128
    truth = (names[network.predict(covered, verbose=0).argmax(axis=1)] == rows["label"]).mean()
    checks.covered_lesions(truth, covered, pixels, rows, network)
    small = pixels.copy()
    small[:, 7:9, 7:9] = 128
    for wrong, images, reason in (
        (None, covered, "still None"),
        (truth, pixels, "as they are"),
        (truth, small, "not the middle half"),
        (truth + 0.2, covered, "not the accuracy on the covered|uncovered"),
    ):
        with pytest.raises(AssertionError, match=reason):
            checks.covered_lesions(wrong, images, pixels, rows, network)
