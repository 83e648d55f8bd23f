"""Every score is checked against scikit-learn, statsmodels, SciPy or a case worked by hand."""

import json
import tracemalloc
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.ndimage
import scipy.stats
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image
from sklearn import metrics
from statsmodels.stats.proportion import proportion_confint

from helpers.data import datasets, duplicates, labels
from helpers.evaluation import evaluate, intervals, scores
from helpers.runs import RunError

NAMES = ["basal cell carcinoma", "melanoma", "nevus", "vascular lesion"]


def table(labels, chance, names=NAMES, **columns):
    ids = [f"i{n}" for n in range(len(labels))]
    rows = pd.DataFrame({"image_id": ids, "split": "test", "label": np.array(labels, object)})
    return scores.predictions_table(rows, np.reshape(chance, (len(labels), len(names))), names).assign(**columns)


def drawn(n=118, seed=0):
    """Labels and probabilities with some skill; the last class is rare."""
    random = np.random.default_rng(seed)
    truth = random.choice(4, n, p=[0.4, 0.3, 0.27, 0.03])
    chance = np.exp(random.normal(size=(n, 4)) + 1.2 * np.eye(4)[truth])
    return table(np.array(NAMES, object)[truth], chance / chance.sum(axis=1, keepdims=True))


def sure(labels, called, names=NAMES):
    """A table of a model that gives its class the probability 1."""
    return table(labels, np.eye(len(names))[[names.index(name) for name in called]], names)


def test_scores_equal_scikit_learn():
    data = drawn()
    labels, called = data["label"], scores.outcomes(data)["predicted"]
    found = scores.score(data)
    expected = {
        "accuracy": metrics.accuracy_score(labels, called),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, called),
        "macro_f1": metrics.f1_score(labels, called, average="macro"),
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    assert found["n"] == 118
    wilson = proportion_confint((labels == called).sum(), 118, method="wilson")
    assert found["accuracy_interval"] == pytest.approx(wilson, abs=1e-12)


def test_interval_equals_scipys():
    data = drawn()
    labels, called = data["label"].to_numpy(), scores.outcomes(data)["predicted"].to_numpy()

    def macro_f1(rows):
        return metrics.f1_score(labels[rows], called[rows], average="macro")

    theirs = scipy.stats.bootstrap(
        (np.arange(118),), macro_f1, vectorized=False, n_resamples=600, method="percentile", random_state=1
    ).confidence_interval
    ours = scores.score(data)
    assert ours["macro_f1_interval"] == pytest.approx(tuple(theirs), abs=0.02)
    assert scores.score(data) == ours != scores.score(data, seed=1)


def test_each_resample_is_scored_as_scikit_learn_would(monkeypatch):
    data, caught = drawn(60), []
    labels, called = data["label"].to_numpy(), scores.outcomes(data)["predicted"].to_numpy()
    monkeypatch.setattr(scores, "bootstrap", lambda statistic, *_: caught.append(statistic) or [None] * 2)
    scores.score(data)
    for weights in np.random.default_rng(0).multinomial(60, np.full(60, 1 / 60), 20):
        rows = np.repeat(np.arange(60), weights)
        recalls = [np.mean(called[rows][labels[rows] == name] == name) for name in np.unique(labels[rows])]
        f1 = metrics.f1_score(labels[rows], called[rows], average="macro")
        assert caught[0](weights[None].astype(float))[0] == pytest.approx([np.mean(recalls), f1])


def test_several_images_of_a_lesion_count_as_one():
    data = drawn(40)
    four = pd.concat([data] * 4).assign(image_id=[f"i{n}" for n in range(160)])
    lesions = four.assign(group=[f"g{n % 40}" for n in range(160)])
    once, as_images, as_lesions = scores.score(data), scores.score(four), scores.score(lesions)
    assert as_lesions["accuracy_interval"] == pytest.approx(once["accuracy_interval"])
    assert np.ptp(as_lesions["accuracy_interval"]) > 1.7 * np.ptp(as_images["accuracy_interval"])
    assert np.ptp(as_lesions["macro_f1_interval"]) > 1.6 * np.ptp(as_images["macro_f1_interval"])
    assert scores.score(four.assign(group="")) == as_images
    assert scores.score(lesions.assign(group="one"))["macro_f1_interval"] is None


@given(st.lists(st.booleans(), min_size=1, max_size=60), st.integers(1, 5))
@settings(max_examples=60)
def test_a_share_lies_in_its_interval_and_lesions_widen_it(hits, per_lesion):
    value, low, high = intervals.share(hits, range(len(hits)))
    assert 0 <= low <= value + 1e-9 and value <= high + 1e-9 and high <= 1 and low < high
    _, wide_low, wide_high = intervals.share(hits, np.arange(len(hits)) // per_lesion)
    assert wide_low <= low + 1e-9 and wide_high >= high - 1e-9


def test_area_interval_has_a_width_at_one_and_covers():
    low, high = intervals.area(1.0, 12, 73)
    assert 0.7 < low < 0.95 and high == 1.0
    assert intervals.area(0.0, 12, 73) == pytest.approx((0.0, 1 - low))
    random, hits = np.random.default_rng(0), 0
    for _ in range(300):  # normal scores 1 apart: the true area is Phi(1 / sqrt 2)
        sick, well = random.normal(1, 1, 20), random.normal(0, 1, 40)
        value = (sick[:, None] > well).mean()
        low, high = intervals.area(value, 20, 40)
        assert low <= value <= high
        hits += low <= scipy.stats.norm.cdf(0.5**0.5) <= high
    assert 0.91 < hits / 300 < 0.99


@pytest.mark.parametrize("labels", [[], ["nevus"] * 3])
def test_scores_without_images_or_with_one_class_are_json(labels):
    data = table(labels, [[0.1, 0.2, 0.3, 0.4]] * len(labels))
    found = json.loads(json.dumps(scores.score(data), allow_nan=False))
    assert found["n"] == len(labels) and found["accuracy"] == (0 if labels else None)
    assert (found["accuracy_interval"] is None) == (not labels)
    assert len(scores.per_class(data)) == 4


def test_class_that_the_model_does_not_know_counts_as_an_error():
    data = drawn(30)
    data.loc[:4, "label"] = "dermatofibroma"
    found, called = scores.score(data), scores.outcomes(data)["predicted"]
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(data["label"], called, average="macro"))
    row = scores.per_class(data).loc["dermatofibroma"]
    assert row["recall"] == 0 and np.isnan(row["precision"]) and row["warning"] == "not learned"


def test_per_class_has_intervals_by_lesion_and_warns_of_small_classes():
    data = drawn().assign(group="g")
    data["group"] = [f"g{n // 2}" for n in range(118)]
    data = data[data["label"] != "vascular lesion"]
    result = scores.per_class(data, ["melanoma"])
    assert list(result.index) == ["melanoma", "basal cell carcinoma", "vascular lesion", "nevus"]
    own = scores.outcomes(data).query("label == 'melanoma'")
    lesions = own["group"].nunique()
    wilson = proportion_confint(own["correct"].mean() * lesions, lesions, method="wilson")
    assert result.loc["melanoma", ["recall_low", "recall_high"]].tolist() == pytest.approx(list(wilson))
    assert result["warning"].tolist() == ["", "", "few images", ""]
    nevi = data[data["label"] == "nevus"]
    assert [scores.per_class(nevi[:n]).loc["nevus", "warning"] for n in (9, 10)] == ["few images", ""]


def test_confusion_equals_scikit_learn_malignant_first():
    data = drawn()
    result = scores.confusion(data, ["melanoma", "basal cell carcinoma"])
    assert (
        list(result.index) == list(result.columns) == ["melanoma", "basal cell carcinoma", "vascular lesion", "nevus"]
    )
    called = scores.outcomes(data)["predicted"]
    assert (result.to_numpy() == metrics.confusion_matrix(data["label"], called, labels=list(result.index))).all()
    assert scores.by_malignancy(["zebra", "NV", "apple", "MEL"], ["zebra"]) == ["zebra", "MEL", "NV", "apple"]
    assert scores.by_malignancy(["0", "1"], ["1"]) == ["1", "0"]


def test_compare_equals_scipy():
    a, b = drawn(seed=0), drawn(seed=0)
    columns = [f"p_{name}" for name in NAMES]
    b.loc[:59, columns] = np.roll(b.loc[:59, columns], 1, axis=1)
    result = scores.compare(a, b.sample(frac=1, random_state=0))
    right_a, right_b = scores.outcomes(a)["correct"], scores.outcomes(b)["correct"]
    counts = pd.crosstab(right_a, right_b).to_numpy()
    assert (result["only_a_right"], result["only_b_right"]) == (counts[1, 0], counts[0, 1])
    assert result["difference"] == pytest.approx(right_a.mean() - right_b.mean())
    gain = (right_a.astype(float) - right_b,)
    theirs = scipy.stats.bootstrap(gain, np.mean, method="percentile", random_state=1).confidence_interval
    assert result["difference_interval"] == pytest.approx(tuple(theirs), abs=0.012)


def test_compare_of_equal_of_no_and_of_other_images():
    data = drawn(20)
    same = scores.compare(data, data)
    assert (same["difference"], same["difference_interval"]) == (0, [0, 0])
    assert scores.compare(data[:0], data[:0])["difference"] is None
    with pytest.raises(RunError, match="other images or labels"):
        scores.compare(data, data[:19])


def blots(seed, size=(96, 72)):
    """A soft-edged random picture."""
    pixels = np.random.default_rng(seed).integers(0, 256, (9, 12, 3), dtype=np.uint8)
    return Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC)


@pytest.fixture
def elsewhere(tmp_path):
    """Another set of four images, and the manifest of a set that has none of them."""
    for seed, name in enumerate(["MEL", "Melanocytic_nevi", "VASC", "wart"]):
        (tmp_path / "new" / name).mkdir(parents=True)
        blots(seed).save(tmp_path / "new" / name / f"{name}.png")
    (tmp_path / "own" / "nevus").mkdir(parents=True)
    blots(9).save(tmp_path / "own" / "nevus" / "VASC.png")  # the name alone means nothing
    return tmp_path / "new", tmp_path / "own"


def external(new, own, **facts):
    """The new images of a set, where all that is known of the own one is given."""
    table = duplicates.inspect(datasets.list_images(datasets.find(own)).table)
    return scores.external(new, table, NAMES, pd.DataFrame("", table["image_id"], labels.FACTS).assign(**facts))


def test_classes_of_another_set_are_matched_by_their_standard_names(elsewhere, capsys):
    found = external(*elsewhere)
    assert dict(zip(found["image_id"], found["label"])) == {
        "MEL": "melanoma",
        "Melanocytic_nevi": "nevus",
        "VASC": "vascular lesion",
    }
    said = "3 of 4 images are new and of classes that the networks learned.\nNone is of basal cell carcinoma.\n"
    assert capsys.readouterr().out == f"{said}Left out: 1 are of other classes (wart).\n"


def test_pictures_of_another_set_that_are_known_under_other_names_are_left_out(elsewhere, capsys):
    new, own = elsewhere
    blots(0).resize((48, 36)).save(own / "nevus" / "smaller.jpg", quality=70)
    blots(1).save(own / "nevus" / "again.bmp")
    assert external(new, own)["image_id"].tolist() == ["VASC"]
    assert "2 show what the images of the course show already" in capsys.readouterr().out


@pytest.mark.parametrize(
    "column, name, left",
    [
        ("lesion_id", "HAM_1", ["Melanocytic_nevi", "VASC"]),
        ("patient_id", "IP_2", ["MEL", "VASC"]),
        ("lesion_id", "7", ["MEL", "Melanocytic_nevi", "VASC"]),  # the 7 of one set is not that of the other
    ],
)
def test_lesions_patients_and_copies_of_another_set_are_left_out(elsewhere, capsys, column, name, left):
    new, own = elsewhere
    text = "image,lesion_id,patient_id,fitzpatrick\nMEL,HAM_1,,V\nMelanocytic_nevi,,IP_2,V\nVASC,7,,V\n"
    (new / "m.csv").write_text(text)
    blots(7).save(new / "VASC" / "VASC_flip.png")
    found = external(new, own, **{column: name})
    assert found["image_id"].tolist() == left and set(found["fitzpatrick_skin_type"]) == {"V"}
    said = capsys.readouterr().out
    assert ("1 show what the images" in said) == (name != "7") and "1 are augmented copies" in said
    assert ("1 of them have a lesion or patient id that the course's images have" in said) == (name == "7")


def test_another_set_has_no_lesion_that_the_metadata_of_the_run_names(elsewhere, tmp_path):
    new, own = elsewhere
    (new / "m.csv").write_text("image,lesion_id\nMEL,HAM_1\nMelanocytic_nevi,HAM_2\nVASC,HAM_3\n")
    blots(8).save(own / "nevus" / "other.png")
    table = duplicates.inspect(datasets.list_images(datasets.find(own)).table)
    (tmp_path / "metadata.csv").write_text("image_id,lesion_id\nother,HAM_2\n")
    run = SimpleNamespace(folder=tmp_path, parameters={"EXTERNAL_DIR": str(new)})
    found = evaluate.other_set(run, table.assign(label=["melanoma", "nevus"], split="train"))
    assert found["image_id"].tolist() == ["MEL"]


def test_missed_and_false_alarms_are_counted_in_a_sentence():
    predicted = ["melanoma", "nevus", "vascular lesion", "melanoma", "nevus", "nevus", "nevus"]
    data = sure(["melanoma"] * 3 + ["nevus"] * 4, predicted)
    assert scores.missed(data, ["melanoma"]) == "2 of 3 malignant lesions are missed; 1 of 4 others are false alarms"


def test_many_classes_are_scored_in_little_memory():
    names, many = [f"c{number:03d}" for number in range(250)], np.eye(250)[np.arange(500) % 250]
    table = pd.DataFrame(many, columns=[f"p_{name}" for name in names])
    table.insert(0, "label", np.resize(names, 500))
    tracemalloc.start()
    assert scores.score(table.assign(image_id=table.index.astype(str), group=""))["macro_f1"] == 1
    assert tracemalloc.get_traced_memory()[1] < 2e8
    tracemalloc.stop()
