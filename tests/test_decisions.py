"""Decisions and calibration against scikit-learn, SciPy and cases worked by hand; that the figures draw."""

import matplotlib.pyplot
import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from PIL import Image
from sklearn import metrics
from sklearn.calibration import calibration_curve
from statsmodels.stats.proportion import proportion_confint

from helpers.evaluation import calibration, decisions, figures, scores
from helpers.figures import model_colours

pytestmark = pytest.mark.filterwarnings("error")
NAMES = ["basal cell carcinoma", "melanoma", "nevus", "vascular lesion"]


def drawn(n=200, seed=0, sharp=1.0):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, n)
    chance = np.exp(sharp * (random.normal(size=(n, 4)) + 1.2 * np.eye(4)[truth]))
    ids = [f"i{k}" for k in range(n)]
    rows = pd.DataFrame({"image_id": ids, "split": "test", "label": np.array(NAMES, object)[truth]})
    return scores.predictions_table(rows, chance / chance.sum(axis=1, keepdims=True), NAMES)


def view(truth, probability):
    ids = [f"i{k}" for k in range(len(truth))]
    return pd.DataFrame({"image_id": ids, "truth": np.array(truth, bool), "probability": np.array(probability, float)})


def test_views_sum_the_classes_that_mean_yes():
    data = drawn(50).assign(group="")
    found = decisions.binary(data, ["melanoma", "basal cell carcinoma"])
    assert (found["truth"] == data["label"].isin(["melanoma", "basal cell carcinoma"])).all()
    np.testing.assert_allclose(found["probability"], data["p_melanoma"] + data["p_basal cell carcinoma"])
    assert list(found) == ["image_id", "group", "truth", "probability"]


def test_questions_that_cannot_be_asked_say_why():
    data = drawn(50)
    with pytest.raises(ValueError, match="0 of 4 classes mean yes"):
        decisions.binary(data, ["wart"])
    with pytest.raises(ValueError, match="4 of 4 classes mean yes"):
        decisions.binary(data, NAMES)
    benign = data[data["label"] != "melanoma"]
    with pytest.raises(ValueError, match=f"0 of {len(benign)} images mean yes"):
        decisions.binary(benign, ["melanoma"])
    with pytest.raises(ValueError, match="0 of 0 images"):
        decisions.binary(data[:0], ["melanoma"])


def test_ranking_equals_scikit_learn_and_is_never_certain():
    found = decisions.binary(drawn(), ["melanoma"])
    rank = decisions.ranking(found)
    assert rank["auc"] == metrics.roc_auc_score(found["truth"], found["probability"])
    assert rank["auc_interval"][0] < rank["auc"] < rank["auc_interval"][1]
    perfect = decisions.ranking(view([True] * 3 + [False] * 9, [0.9] * 3 + [0.1] * 9))
    assert perfect["auc"] == 1 and perfect["auc_interval"][0] < 0.9
    one_lesion = view([True] * 3 + [False] * 9, [0.9] * 3 + [0.1] * 9).assign(group=["g"] * 3 + [""] * 9)
    assert decisions.ranking(one_lesion)["auc_interval"][0] < perfect["auc_interval"][0]


@pytest.mark.parametrize("sensitivity, threshold", [(0.9, 0.2), (0.91, 0.1), (0.7, 0.4), (0.05, 0.9), (1, 0.1)])
def test_threshold_is_the_highest_that_finds_enough(sensitivity, threshold):
    found = [0.9, 0.8, 0.8, 0.6, 0.5, 0.4, 0.4, 0.3, 0.2, 0.1]  # 0.7 of 10 is 7, though 0.7 * 10 > 7 in floats
    data = view([True] * 10 + [False] * 5, [*found, 0.05, 0.15, 0.35, 0.85, 0.95])
    assert decisions.threshold_for_sensitivity(data, sensitivity) == threshold
    assert decisions.operating_point(data, threshold)["sensitivity"] >= sensitivity


def test_operating_point_and_thousand_patients_by_hand():
    data = view([True] * 10 + [False] * 20, [0.5] * 8 + [0.4] * 2 + [0.5] * 5 + [0.1] * 15)
    point = decisions.operating_point(data, 0.5)
    assert [point[name] for name in ("found", "missed", "needless", "left")] == [8, 2, 5, 15]
    assert (point["sensitivity"], point["specificity"]) == (0.8, 0.75)
    assert point["specificity_interval"] == pytest.approx(proportion_confint(15, 20, method="wilson"))
    low, high = proportion_confint(8, 10, method="wilson")
    table = decisions.per_thousand(point, 0.05)
    assert table["value"].to_dict() == {"found": 40, "missed": 10, "needless": 238, "left alone": 712}
    assert table.loc["found", ["low", "high"]].tolist() == [round(50 * low), round(50 * high)]
    assert table.loc["missed", ["low", "high"]].tolist() == [50 - round(50 * high), 50 - round(50 * low)]
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
    assert decisions.per_thousand(point, 0.0001)["value"].sum() == 1000


def test_calibration_error_equals_scikit_learns_curve():
    data = scores.outcomes(drawn())
    accuracy, confidence = calibration_curve(data["correct"], data["confidence"], n_bins=10)
    places = np.minimum((data["confidence"] * 10).astype(int), 9)
    n = np.bincount(places)[np.unique(places)]
    expected = (np.abs(accuracy - confidence) * n).sum() / len(data)
    assert calibration.error(data["confidence"], data["correct"]) == pytest.approx(expected)
    by_hand = calibration.error([0, 0.7, 0.7, 1], [False, True, False, True])  # a bin holds its upper edge
    assert by_hand == pytest.approx((0 + 2 * 0.2 + 0) / 4)
    assert calibration.error([0.65, 0.7], [True, False]) == pytest.approx(abs(0.35 - 0.7) / 2)
    assert np.isnan(calibration.error([], []))


def test_calibration_error_by_chance_is_that_of_resampled_outcomes():
    confidence = scores.outcomes(drawn(60))["confidence"].to_numpy()
    draws = np.random.default_rng(3).random((1000, 60)) < confidence
    expected = np.percentile([calibration.error(confidence, draw) for draw in draws], 95)
    assert calibration.error_by_chance(confidence, seed=3) == pytest.approx(expected)
    assert calibration.error_by_chance(np.tile(confidence, 100)) < 0.03 < calibration.error_by_chance(confidence)
    assert np.isnan(calibration.error_by_chance([]))


def test_temperature_is_that_of_the_least_log_loss():
    data = drawn(sharp=3.0)
    temperature = calibration.fit_temperature(data)
    chance = scores.probabilities(data)

    def loss(value):
        powers = chance ** (1 / value[0])
        return metrics.log_loss(data["label"], powers / powers.sum(axis=1, keepdims=True), labels=NAMES)

    best = scipy.optimize.brute(loss, [(0.5, 10)], Ns=400)[0]
    assert temperature == pytest.approx(best, rel=1e-3) and temperature > 1.5
    cooled = calibration.apply_temperature(data, temperature)
    assert metrics.log_loss(data["label"], scores.probabilities(cooled), labels=NAMES) == pytest.approx(
        loss([temperature])
    )
    assert (scores.outcomes(cooled)["predicted"] == scores.outcomes(data)["predicted"]).all()
    np.testing.assert_allclose(scores.probabilities(calibration.apply_temperature(data, 1)), chance)


def test_temperature_of_sure_and_of_constant_models():
    columns = [f"p_{name}" for name in NAMES]
    constant = drawn(20).assign(**dict.fromkeys(columns, 0.25))
    assert calibration.fit_temperature(constant) == 1
    sure = constant.assign(**dict(zip(columns, np.eye(4)[[NAMES.index(name) for name in constant["label"]]].T)))
    assert 0.05 <= calibration.fit_temperature(sure) <= 20
    assert np.isfinite(scores.probabilities(calibration.apply_temperature(sure, 20))).all()
    with pytest.raises(ValueError, match="No image has a label"):
        calibration.fit_temperature(drawn(5).assign(label="wart"))


def test_figures_draw_and_name_the_sample(tmp_path):
    Image.new("RGB", (20, 20), "pink").save(tmp_path / "one.png")
    data = drawn(60)
    shown = scores.outcomes(data[:7]).assign(path=tmp_path / "one.png")
    note = {"title": "A title", "synthetic": True}
    classes = scores.per_class(data).rename(columns={"recall": "value", "recall_low": "low", "recall_high": "high"})
    rows = classes.assign(name=classes.index, colour="#000000", model="a")
    point = decisions.operating_point(decisions.binary(data, ["melanoma"]), 0.3)
    patients = decisions.per_thousand(point, 0.02)
    gallery = figures.gallery(shown, columns=3, **note)
    overlays = figures.overlay(np.full((7, 8, 8, 3), 200), np.ones((7, 8, 8)))
    drawings = [
        gallery,
        figures.gallery(shown, overlays, ["a note"] * 7, columns=3, **note),
        figures.gallery(shown[:0], **note),
    ]
    drawings += [figures.intervals(rows, "model", **note), figures.intervals(rows[:0], line=0.5, **note)]
    drawings += [figures.thousand({"a": patients, "b": patients}, **note), figures.thousand({}, **note)]
    for number, figure in enumerate(drawings):
        figure.savefig(tmp_path / f"{number}.png")
        assert figure.get_suptitle() == "A title  ·  synthetic sample: drawings, not patients"
    assert matplotlib.pyplot.get_fignums() == []
    dots = [len(part.get_offsets()) for part in drawings[5].axes[0].collections]
    assert dots == patients["value"].tolist() and sum(dots) == 1000


def test_every_model_has_a_colour_and_the_courses_networks_keep_theirs():
    names = ["mine", "baseline", "regularised", "a", "b", "c"]
    palette = model_colours(names)
    assert len({palette[name] for name in names}) == 6
    assert model_colours(["regularised"])["regularised"] == palette["regularised"] != palette["baseline"]
