"""Decisions and calibration, in the room and in notebook 06, against scikit-learn, SciPy and cases by hand."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
import scipy.special
from conftest import cells
from sklearn import metrics
from sklearn.calibration import calibration_curve
from statsmodels.stats.proportion import proportion_confint

from helpers.evaluation import decisions, intervals, report, scores
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


@pytest.fixture(scope="module")
def notebook():
    """What the cells of notebook 06 define that turn probabilities into numbers."""
    starts = ["def softened", "def calibration_error", "def threshold_for"]
    tools = {"np": np, "scores": scores, "intervals": intervals, "report": report, "SEED": 3}
    tools |= {"softmax": scipy.special.softmax, "minimize_scalar": scipy.optimize.minimize_scalar}
    return SimpleNamespace(**cells("06_decisions", *starts, **tools, **vars(metrics)))


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


def test_area_is_scikit_learns_and_never_certain(notebook):
    found = decisions.binary(drawn(), ["melanoma"])
    auc = metrics.roc_auc_score(found["truth"], found["probability"])
    assert notebook.area(found).startswith(f"{auc:.2f} (")
    perfect = view([True] * 3 + [False] * 9, [0.9] * 3 + [0.1] * 9)
    low, lower = (
        float(notebook.area(rows).split()[1][1:]) for rows in (perfect, perfect.assign(group=["g"] * 3 + [""] * 9))
    )
    assert notebook.area(perfect).startswith("1.00") and lower < low < 0.9


@pytest.mark.parametrize("sensitivity, threshold", [(0.9, 0.2), (0.91, 0.1), (0.7, 0.4), (0.05, 0.9), (1, 0.1)])
def test_threshold_is_the_highest_that_finds_enough(notebook, sensitivity, threshold):
    found = [0.9, 0.8, 0.8, 0.6, 0.5, 0.4, 0.4, 0.3, 0.2, 0.1]  # 0.7 of 10 is 7, though 0.7 * 10 > 7 in floats
    data = view([True] * 10 + [False] * 5, [*found, 0.05, 0.15, 0.35, 0.85, 0.95])
    assert notebook.threshold_for(data, sensitivity) == threshold
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


def test_calibration_error_equals_scikit_learns_curve(notebook):
    data = scores.outcomes(drawn())
    accuracy, confidence = calibration_curve(data["correct"], data["confidence"], n_bins=10)
    n = np.histogram(data["confidence"], 10, (0, 1))[0]
    expected = (np.abs(accuracy - confidence) * n[n > 0]).sum() / len(data)
    assert notebook.calibration_error(data["confidence"].to_numpy(), data["correct"]) == pytest.approx(expected)
    by_hand = notebook.calibration_error(np.array([0.05, 0.71, 0.72, 1]), np.array([False, True, False, True]))
    assert by_hand == pytest.approx((0.05 + 0.43 + 0) / 4)


def test_calibration_error_by_chance_falls_with_the_number_of_images(notebook):
    confidence = scores.outcomes(drawn(60))["confidence"].to_numpy()
    draws = np.random.default_rng(3).random((1000, 60)) < confidence
    expected = np.percentile([notebook.calibration_error(confidence, draw) for draw in draws], 95)
    assert notebook.by_chance(confidence) == pytest.approx(expected)
    assert notebook.by_chance(np.tile(confidence, 100)) < 0.03 < expected


def test_temperature_is_that_of_the_least_log_loss(notebook):
    data = drawn(sharp=3.0)
    temperature, chance = notebook.best_temperature(data), scores.probabilities(data)

    def loss(value):
        powers = chance ** (1 / value[0])
        return metrics.log_loss(data["label"], powers / powers.sum(axis=1, keepdims=True), labels=NAMES)

    best = scipy.optimize.brute(loss, [(0.5, 10)], Ns=100)[0]
    assert temperature == pytest.approx(best, rel=1e-3) and temperature > 1.5
    cooled = notebook.softened(data, temperature)
    assert metrics.log_loss(data["label"], scores.probabilities(cooled), labels=NAMES) == pytest.approx(
        loss([temperature])
    )
    assert (scores.outcomes(cooled)["predicted"] == scores.outcomes(data)["predicted"]).all()
    np.testing.assert_allclose(scores.probabilities(notebook.softened(data, 1)), chance)


def test_temperature_of_a_sure_model(notebook):
    sure = drawn(20)
    sure[[f"p_{name}" for name in NAMES]] = np.eye(4)[[NAMES.index(name) for name in sure["label"]]]
    assert 0.05 <= notebook.best_temperature(sure) <= 20
    assert np.isfinite(scores.probabilities(notebook.softened(sure, 20))).all()


def test_every_model_has_a_colour_and_the_courses_networks_keep_theirs():
    names = ["mine", "baseline", "regularised", "a", "b", "c"]
    palette = model_colours(names)
    assert len({palette[name] for name in names}) == 6
    assert model_colours(["regularised"])["regularised"] == palette["regularised"] != palette["baseline"]
