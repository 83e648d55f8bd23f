"""The checks of the exercises: right answers pass; three that a student might give are refused, and said why."""

import Augmentor
import keras
import numpy as np
import pandas as pd
import pytest
from keras import layers
from scipy import ndimage
from sklearn.neighbors import KNeighborsClassifier
from test_lessons import corner_set, everything, turns  # noqa: F401  fixtures

from helpers.evaluation import corners, decisions
from notebooks.checks import compare, data, entry, networks, number, scores

RANDOM = np.random.default_rng(0)
KINDS = np.arange(60) % 3
TARGETS, VAL_TARGETS = np.eye(3)[KINDS], np.eye(3)[KINDS[:30]]
FEATURES = np.abs(RANDOM.normal(size=(60, 8)) + 2 * np.eye(8)[KINDS])
VAL_FEATURES = np.abs(RANDOM.normal(size=(30, 8)) + 2 * np.eye(8)[KINDS[:30]])
SPACE = FEATURES, TARGETS, VAL_FEATURES, VAL_TARGETS


def judge(check, right, wrong, *facts):
    """Check that the right answer (a tuple of what the check takes first) passes, and each wrong one is explained."""
    check(*right, *facts)
    assert len(wrong) >= 3
    for answer, reason in wrong:
        with pytest.raises(AssertionError, match=reason):
            check(*(answer if isinstance(answer, tuple) else (answer,)), *facts)


def refused(check, *given):
    try:
        check(*given)
    except AssertionError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("form", [float, np.float32, lambda n: [n], lambda n: pd.Series([n]), keras.ops.array])
def test_a_right_answer_may_have_another_form(form):
    assert number(form(0.25), "share", 1) == 0.25
    assert entry(pd.Series({"a": form(0.25)}), "kept", "a", 1) == 0.25


@pytest.mark.parametrize("form", [True, "0.25", {0.25}, [0.1, 0.2], pd.Series(dtype=float)])
def test_an_answer_that_is_no_number_is_named(form):
    assert "share is " in refused(number, form, "share") and "not a number" in refused(number, form, "share")
    assert "not a dictionary" in refused(entry, 0.25, "kept", "a")


def test_a_mistake_is_named_even_if_it_lies_near_the_truth():
    facts = 0.333, {"counted twice": 0.334}, "not it", 0.01
    assert refused(compare, 0.334, *facts) == "counted twice" and refused(compare, 0.4, *facts) == "not it"
    assert not refused(compare, 0.33, *facts)


def test_01_1_collection_rule(corner_set):  # noqa: F811
    table = corner_set.assign(collection=["north", "south", "south"] * 13 + ["north"], label=list("xxyz") * 10)
    table.loc[30:, "collection"] = ["north", "south"] * 5
    train, val = table[:30], table[30:]
    best = train.groupby("collection")["label"].agg(lambda names: names.mode()[0])
    on_train, on_val = ((rows["collection"].map(best) == rows["label"]).mean() for rows in (train, val))
    wrong = (None, "still None"), (on_train, "on training"), (0.99, "not the share"), (46, "a share and not a perc")
    judge(data.collection_rule, (on_val,), wrong, train, val)


def test_01_2_groups_on_both_sides(corner_set):  # noqa: F811
    table = corner_set.assign(group=[str(number // 4) for number in range(38)] + ["x", "y"])
    right = [given for given in range(41) if not refused(data.groups_on_both_sides, given, table, 0.5, 0)]
    assert len(right) == 1
    wrong = (
        (None, "still None"),
        (0, "None are divided"),
        (3, "does not divide 3"),
        (10, "all groups of several"),
        (12, "all groups;"),
    )
    judge(data.groups_on_both_sides, right, wrong, table, 0.5, 0)


def test_01_3_corners_in_grey_whatever_the_learner_made_of_the_corners(corner_set, monkeypatch):  # noqa: F811
    forest_of = data.RandomForestClassifier
    monkeypatch.setattr(data, "RandomForestClassifier", lambda trees, **how: forest_of(trees // 10, **how))
    train, val = corner_set[:30], corner_set[30:]
    colour = [corners.cut(rows["path"]) for rows in (train, val)]
    grey = [blocks.mean(axis=3, keepdims=True).repeat(3, axis=3) for blocks in colour]

    def predicted(first, second):
        forest = data.RandomForestClassifier(300, min_samples_leaf=2, n_jobs=-1, random_state=0)
        return forest.fit(corners.describe(first), train["label"]).predict(corners.describe(second))

    half = predicted(colour[0], grey[1])
    wrong = [(None, "still None"), (0.4, "shape"), (predicted(*colour), "in colour"), (half, "learn from grey")]
    wrong += [(["north"] * 10, "is not a class"), (["tulip", "rose"] * 5, "not what a forest")]
    judge(data.corners_in_grey, (predicted(*grey),), wrong, train, val, 0)
    assert not refused(data.corners_in_grey, pd.Series(predicted(*grey)), train, val, 0)


def test_02_1_unchanged():
    pipeline = Augmentor.Pipeline()
    pipeline.flip_left_right(probability=0.5)
    pipeline.zoom(probability=0.2, min_factor=1.1, max_factor=1.2)
    wrong = [(None, "still None"), (0.1, "all operations"), (0.6, "is changed"), (0.65, "multiply"), (40, "percentage")]
    wrong += [(0.9, "not true that all"), (0.25, "not one half"), (0.5, "not the probability")]
    judge(data.unchanged, (0.4,), wrong, pipeline)
    assert not refused(data.unchanged, 0.39, pipeline)  # simulated


def test_02_2_twice_the_largest():
    names = pd.Series(["a"] * 5 + ["b"] * 2)
    wrong = [((None, 4), "new_images is still None"), ((20, 4), "originals as well"), ((3, 4), "twice as much")]
    wrong += [((13, 5), "not its own copy"), ((6, 4), "doubles"), ((12, 4), "altogether"), ((13, 1.5), "once the la")]
    wrong += [((13, 8), "for each original"), ((13, 13 / 7), "over all classes"), ((13, 1), "the smallest needs most")]
    judge(data.twice_the_largest, (13, 4), wrong, names)


def test_02_3_without_a_leak(everything):  # noqa: F811
    held, other = (everything[column].isin(["1", "2", "3"]) for column in ("group", "image_id"))
    originals = everything["copy"] == 0
    wrong = [
        ((everything[held], everything[held & originals]), "is in training"),
        ((everything[~other], everything[other & originals]), "both sides"),
        ((everything[~held], everything[held]), "Validation holds copies"),
        ((everything[~held & originals], everything[held & originals]), "lost its copies"),
        ((everything[~held].head(100), everything[held & originals]), "neither side"),
        ((everything[~held], everything[:0]), "empty"),
        (
            (everything[everything["code"] != 0], everything[(everything["code"] == 0) & originals]),
            "No class is on both",
        ),
        ((everything, everything[originals].assign(image_id="of Test")), "rows from `everything`"),
    ]
    judge(data.without_a_leak, (everything[~held], everything[held & originals]), wrong, everything)


def test_03_1_horizontal_edges():
    lesion = RANDOM.random((12, 12))
    slope = ndimage.sobel(lesion, axis=0, mode="reflect")
    wrong = [(None, "still None"), (slope, "ReLU"), (lesion, "not what a kernel"), (lesion[0], "has the shape")]
    vertical = np.maximum(ndimage.sobel(lesion, axis=1, mode="reflect"), 0)
    wrong += [(vertical, "for vertical edges"), (np.abs(slope), "absolute values"), (vertical.T, "to be turned")]
    wrong += [(np.maximum(ndimage.sobel(lesion, axis=0, mode="constant"), 0), "border of the image")]
    judge(networks.horizontal_edges, (np.maximum(slope, 0),), wrong, lesion)
    for right in (np.maximum(-slope, 0).tolist(), np.maximum(ndimage.prewitt(lesion, axis=0), 0).astype("float32")):
        assert not refused(networks.horizontal_edges, right, lesion)


@pytest.fixture(scope="module")
def baseline():
    blocks = [each for n in (16, 32, 64) for each in (layers.Conv2D(n, 3, padding="same"), layers.MaxPooling2D())]
    last = [layers.Flatten(), layers.Dense(128), layers.Dense(5)]
    return keras.Sequential([keras.Input((16, 16, 3)), layers.Rescaling(1 / 255), *blocks, *last])


def test_03_2_weights_after_global_pooling(baseline):
    convolutions = 28 * 16 + (9 * 16 + 1) * 32 + (9 * 32 + 1) * 64
    right = convolutions + 65 * 128 + 129 * 5
    whole = baseline.count_params()
    wrong = [(None, "still None"), (whole, "unchanged"), (convolutions, "alone"), (right - 245, "bias as well")]
    wrong += [(whole - right, "saves"), (65 * 128, "first Dense layer alone"), (1000, "another number than 1,000")]
    wrong += [(whole - 257 * 128, "still there")]
    judge(networks.weights_after_global_pooling, (right,), wrong, baseline)


def test_03_3_surest_error():
    rows = pd.DataFrame({"image_id": list("abcd"), "split": ["val"] * 3 + ["test"], "label": list("xxyy")})
    rows = rows.assign(p_x=[0.9, 0.3, 0.6, 1.0], p_y=[0.1, 0.7, 0.4, 0.0])
    wrong = [
        (None, "still None"),
        ("d", "validation image"),
        ("a", "is right on a"),
        ("c", "Wrong, but at 0.60"),
        (1, "not one"),
    ]
    judge(networks.surest_error, ("b",), wrong, rows)
    assert not refused(networks.surest_error, pd.Series(["b"]), rows)


def looks_at_colour():
    """Return a network that calls red images a and blue ones b, and twenty red or blue images."""
    pixels = np.zeros((20, 8, 8, 3), "uint8")
    pixels[::2, ..., 0], pixels[1::2, ..., 2] = 200, 200
    looks = keras.Sequential([keras.Input((8, 8, 3)), layers.GlobalAveragePooling2D(), layers.Dense(2)], name="looks")
    looks.set_weights([np.array([[1, 0], [0, 0], [0, 1]], float), np.zeros(2)])
    return [looks], pixels, np.array(["a", "b"] * 10), ["a", "b"]


WRONG_ACCURACIES = [
    ({}, "no entry"),
    ({"looks": 1.0}, "as they are"),
    ({"looks": 50}, "percentage"),
    ({"looks": 0.7}, "not 0.7"),
    (0.5, "not a dictionary"),
]


def test_04_1_accuracy_without_middle():
    networks_, pixels, labels, classes = looks_at_colour()
    pixels[:, :2] = pixels[:, 6:] = pixels[:, :, :2] = pixels[:, :, 6:] = 0  # only the middle has a colour
    judge(networks.accuracy_without_middle, ({"looks": 0.5},), WRONG_ACCURACIES, networks_, pixels, labels, classes)


def test_04_2_accuracy_in_grey(capsys):
    networks_, pixels, labels, classes = looks_at_colour()
    judge(networks.accuracy_in_grey, ({"looks": 0.5},), WRONG_ACCURACIES, networks_, pixels, labels, classes)
    networks.accuracy_in_grey({"looks": 3 / 5}, networks_, pixels[:5], labels[:5], classes)
    assert "Always predicting the largest class would give 0.60." in capsys.readouterr().out


def test_04_3_weights_with_flatten():
    inputs = keras.Input((32, 32, 3))
    x = layers.MaxPooling2D()(layers.Conv2D(6, 3, strides=2, padding="same")(inputs))
    network = keras.Model(inputs, layers.Dense(4)(layers.GlobalAveragePooling2D()(x)))
    right = (16 * 16 * 6 + 1) * 4
    wrong = [(None, "still None"), (7 * 4, "after global average pooling"), ((64 * 6 + 1) * 4, "of 32 pixels a side")]
    wrong += [(right - 4, "bias"), (2 * 64 * 6 * 4 + 4, "how many times"), (network.count_params(), "whole network")]
    judge(networks.weights_with_flatten, (right,), [*wrong, (9, "does not count 9")], network)


LABELLED = pd.DataFrame({"image_id": list("abcdef"), "label": list("xxyyxy"), "p_x": [0.9, 0.2, 0.7, 0.1, 0.65, 0.95]})
LABELLED["p_y"] = 1 - LABELLED["p_x"]


def test_05_1_doubtful_labels():
    p_x = np.append(np.linspace(0.99, 0.6, 19), 0.1)  # the last is misclassified, and rightly labelled
    p_x[10] = 0.55
    known = pd.DataFrame({"image_id": [f"i{n}" for n in range(20)], "label": "x", "p_x": p_x, "p_y": 1 - p_x})
    typed = known.assign(label=known["label"].mask(known.index.isin([0, 10]), "y"))
    wrong = [(None, "still None"), (2, "not a list"), (["i0", "i99"], "'i99' is not"), (["i0"], "are 1 images")]
    wrong += [
        (["i1", "i2"], "most probable ones"),
        (["i0", "i10"], "go by the prob"),
        (["i4", "i5"], "Some other labels"),
    ]
    wrong += [(["i10", "i19"], "before they were mistyped"), (["i10", "i18"], "unsure of any class")]
    judge(scores.doubtful_labels, (["i0", "i19"],), wrong, typed, known)
    assert (scores.mistype(known, 0)["label"] == "y").sum() == 2 and (known["label"] == "x").all()


def test_05_2_ratio_of_widths():
    from statsmodels.stats.proportion import proportion_confint

    one, four = (np.diff(proportion_confint(3 * n, 6 * n, method="wilson")).item() for n in (1, 4))
    wrong = [(None, "still None"), (0.25, "quarter"), (one / four, "old to new"), (0.5, "thumb"), (four, "divide it")]
    wrong += [(1 - four / one, "how much narrower")]
    judge(scores.ratio_of_widths, (four / one,), wrong, LABELLED)
    assert not refused(scores.ratio_of_widths, round(four / one, 2), LABELLED)


def test_05_3_kept_with_other_colours():
    found = {"colours": {"own": 0.8, "same_collection": 0.7, "other_collection": 0.35}}
    scored = {"colours_kept": found, "colours_exchanged": {"colours": {}}}
    both = {"colours_kept": 0.5, "colours_exchanged": 1.0}
    wrong = [
        ({}, "no entry"),
        (both | {"colours_kept": 0.35 / 0.8}, "own colours"),
        (both | {"colours_kept": 0.35}, "its"),
    ]
    wrong += [(both | {"colours_kept": 0.9}, "not what is left"), (both | {"colours_kept": "half"}, "not a number")]
    wrong += [(0.5, "not a dictionary"), (both | {"colours_kept": 2}, "upside down")]
    judge(scores.kept_with_other_colours, (both,), wrong, scored)


def test_06_1_weights_of_a_head():
    head = keras.Sequential([keras.Input((8,)), layers.Dense(3)])
    wrong = [
        (None, "still None"),
        (24, "bias as well"),
        (25, "One bias per class"),
        (32, "not to a feature"),
        (30, "does not count 30"),
    ]
    judge(scores.weights_of_a_head, (27,), wrong, head)


def accuracy_of(predicted):
    return (predicted == VAL_TARGETS.argmax(axis=1)).mean()


def test_06_2_neighbours():
    one, five = (
        accuracy_of(KNeighborsClassifier(count, metric="cosine").fit(FEATURES, KINDS).predict(VAL_FEATURES))
        for count in (1, 5)
    )
    wrong = [(None, "still None"), (one, "one neighbour"), (0.99, "validation features"), (90, "percentage")]
    judge(scores.neighbours, (five,), wrong, *SPACE)


def test_06_3_prototypes():
    def from_views(count):
        means = np.array([FEATURES[kind == KINDS][:count].mean(axis=0) for kind in range(3)])
        return accuracy_of((VAL_FEATURES @ (means / np.linalg.norm(means, axis=1, keepdims=True)).T).argmax(axis=1))

    wrong = [
        (None, "still None"),
        (from_views(60), "all views"),
        (from_views(1), "one view per class"),
        (0.01, "first five"),
    ]
    judge(scores.prototypes, (from_views(5),), wrong, *SPACE)


def view(truth, probability):
    ids = [f"i{n}" for n in range(len(truth))]
    return pd.DataFrame({"image_id": ids, "truth": np.array(truth, bool), "probability": probability})


def test_07_1_more_false_alarms():
    places = {
        "validation": view([1, 1, 0], [0.9, 0.4, 0.1]),
        "Test": view([1, 1, 0, 0, 0, 0], [0.8, 0.3, 0.95, 0.5, 0.35, 0.1]),
    }  # to find half: from .9 on, one false alarm; to find all: from .4 on, two; chosen on Test: from .3 on, three
    wrong = [(None, "still None"), (-1, "other way round"), (0, "on validation"), (3, "refers everybody"), (7, "Not 7")]
    judge(scores.more_false_alarms, (1,), wrong, places, 0.5)
    places["Test"].loc[3, "probability"] = 0.2
    assert refused(scores.more_false_alarms, 1, places, 0.5) and not refused(scores.more_false_alarms, 0, places, 0.5)


def test_07_2_half_are_right():
    point = decisions.operating_point(view([1] * 10 + [0] * 20, [1.0] * 8 + [0.0] * 2 + [1.0] * 5 + [0.0] * 15), 0.5)
    low = 1 - point["specificity_interval"][0]
    wrong = [
        (None, "still None"),
        (50, "percentage"),
        (0.25 / 1.05, "lower end"),
        (0.02, "not half"),
        (0, "0% of those"),
    ]
    judge(scores.half_are_right, (low / (low + 0.8),), wrong, point)


def test_07_3_covered_middle():
    pixels = RANDOM.integers(0, 256, (12, 16, 16, 3), dtype=np.uint8)
    network = keras.Sequential([keras.Input((16, 16, 3)), layers.Flatten(), layers.Dense(2)])
    names = np.array(["a", "b"])
    rows = pd.DataFrame({"p_a": 0.5, "p_b": 0.5, "label": names[np.arange(12) % 2]}, index=range(12))
    rows["predicted"] = names[network.predict(pixels, verbose=0).argmax(axis=1)]
    covered, small = pixels.copy(), pixels.copy()
    covered[:, 4:-4, 4:-4], small[:, 7:9, 7:9] = 128, 128
    truth = (names[network.predict(covered, verbose=0).argmax(axis=1)] == rows["label"]).mean()
    wrong = [
        ((None, covered), "still None"),
        ((truth, pixels), "as they are"),
        ((truth, small), "not the middle half"),
        (((truth + 0.2) % 1, covered), "not the accuracy on the covered|uncovered|errors"),
    ]
    judge(scores.covered_middle, (truth, covered), wrong, pixels, rows, network)
