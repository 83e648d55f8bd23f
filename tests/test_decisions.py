"""Decisions and calibration against scikit-learn and cases worked by hand; the choices of notebook 07."""

from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from conftest import cells, rows
from sklearn import metrics
from sklearn.calibration import calibration_curve
from statsmodels.stats.proportion import proportion_confint

from helpers.evaluation import decisions, intervals, scores
from helpers.runs import RunError

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


def test_positive_are_the_malignant_classes_or_the_rarest_that_can_be_decided():
    label = drawn(50)["label"]
    table = rows(
        published_label=[*NAMES, "wart"], label=[*NAMES, ""], split="train", flag=[*[""] * 4, "class too small"]
    )
    assert decisions.positive(table[:4], label, label) == NAMES[:2]
    rarest = [label.value_counts().index[-1]]
    for given in ("wart", ",".join(NAMES)):  # none of the images, or all of them
        assert decisions.positive(table, label, label, given) == rarest
    assert decisions.positive(table, label, label) == rarest  # of a wart it is not known
    benign = label[label != "melanoma"]
    assert decisions.positive(table, label, benign, "melanoma") == [benign.value_counts().index[-1]]
    assert decisions.positive(table, label, label[label == "nevus"], "melanoma") == []
    with pytest.raises(RunError, match="nothing to decide"):
        decisions.places(SimpleNamespace(positive=[]), "n")


def test_the_network_that_decides_is_named_or_recommended():
    results = SimpleNamespace(places={"baseline": None, "mine": None}, recommended="mine")
    assert decisions.network(results, "") == "mine" and decisions.network(results, "baseline") == "baseline"
    with pytest.raises(RunError, match="NETWORK is 'theirs', but the run folder has baseline, mine"):
        decisions.network(results, "theirs")


def test_area_is_scikit_learns_and_never_certain():
    found = decisions.binary(drawn(), ["melanoma"])
    assert decisions.area(found)["auc"] == metrics.roc_auc_score(found["truth"], found["probability"])
    perfect = view([True] * 3 + [False] * 9, [0.9] * 3 + [0.1] * 9)
    of_one_lesion = perfect.assign(group=["g"] * 3 + [""] * 9)
    assert decisions.area(perfect)["auc"] == 1 and decisions.area(perfect[:3]) == {"auc": None}
    low, lower = (decisions.area(each)["auc_interval"][0] for each in (perfect, of_one_lesion))
    assert lower < low < 0.9


@pytest.mark.parametrize("sensitivity, threshold", [(0.9, 0.2), (0.91, 0.1), (0.7, 0.4), (0.05, 0.9), (1, 0.1)])
def test_threshold_is_the_highest_that_finds_enough(sensitivity, threshold):
    """As notebook 07 takes it from ``roc_curve``."""
    found = [0.9, 0.8, 0.8, 0.6, 0.5, 0.4, 0.4, 0.3, 0.2, 0.1]  # 0.7 of 10 is 7, though 0.7 * 10 > 7 in floats
    data = view([True] * 10 + [False] * 5, [*found, 0.05, 0.15, 0.35, 0.85, 0.95])
    tools = {"places": {"validation": data}, "SENSITIVITY": sensitivity, "np": np, "roc_curve": metrics.roc_curve}
    assert cells("07_decisions", 'val = places["validation"]', **tools)["threshold"] == threshold
    assert decisions.operating_point(data, threshold)["sensitivity"] >= sensitivity


def test_operating_point_and_thousand_patients_by_hand():
    data = view([True] * 10 + [False] * 20, [0.5] * 8 + [0.4] * 2 + [0.5] * 5 + [0.1] * 15)
    point = decisions.operating_point(data, 0.5)
    assert [point[name] for name in ("found", "missed", "false_alarms", "cleared")] == [8, 2, 5, 15]
    assert (point["sensitivity"], point["specificity"]) == (0.8, 0.75)
    assert point["specificity_interval"] == pytest.approx(proportion_confint(15, 20, method="wilson"))
    low, high = proportion_confint(8, 10, method="wilson")
    table = decisions.per_thousand(point, 0.05)
    assert table["value"].to_dict() == {"found": 40, "missed": 10, "false alarms": 238, "cleared": 712}
    assert table.loc["found", ["low", "high"]].tolist() == [round(50 * low), round(50 * high)]
    assert table.loc["missed", ["low", "high"]].tolist() == [50 - round(50 * high), 50 - round(50 * low)]
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()
    assert decisions.per_thousand(point, 0.0001)["value"].sum() == 1000


def test_patients_in_words_and_as_marks_beside_a_guess():
    point = decisions.operating_point(view([True] * 9 + [False] * 20, [1] * 8 + [0] + [1] * 5 + [0] * 15), 0.5)
    patients = decisions.per_thousand(point, 0.02)
    assert decisions.in_words(patients, 7).startswith(
        "You guessed 7 false alarms among 1,000; there are 245 (95% interval 110 to"
    )
    assert decisions.in_words(patients, 7).endswith(
        "Of the 20 assumed to be positive, 2 are missed; of the 263 who are referred, 245 are not positive."
    )
    figure = decisions.thousand(patients, 7, synthetic=True)
    drawn = [len(marks.get_offsets()) for marks in figure.axes[0].collections]
    assert sum(drawn) == 1000 and drawn[:3] == [18, 2, 245]
    assert figure.axes[0].lines[0].get_xdata()[0] == pytest.approx((20 + 7) / 25 - 0.5)
    assert "18 of 20 positives costs 245 false alarms (interval 110 to" in figure.alt


def test_whether_the_interval_of_test_includes_what_was_wanted():
    point = decisions.operating_point(view([True] * 10 + [False], [1] * 8 + [0] * 3), 0.5)
    said = decisions.as_wanted(point, 0.9)
    assert said.startswith("Chosen to find 90% of the positives of validation, the threshold finds 80% of")
    assert said.endswith("49% to 94%, includes 90%.")
    assert decisions.as_wanted(point, 0.95).endswith("excludes 95%.")


def test_at_a_threshold_what_is_not_defined_is_said():
    places = {"Test": view([True, False], [0.9, 0.1]), "another set": view([False], [0.9])}
    found = decisions.at_threshold(places, 0.5)
    assert found[["found", "missed", "false alarms", "cleared"]].to_numpy().tolist() == [[1, 0, 0, 1], [0, 0, 1, 0]]
    assert found["specificity"].tolist() == ["1.00 (0.21 to 1.00)", "0.00 (0.00 to 0.79)"]
    assert found.loc["another set", ["sensitivity", "AUC"]].tolist() == ["not defined"] * 2


def calibration_error(labelled):
    return decisions.calibration({"it": labelled})["calibration error"]["it"]


def test_calibration_error_equals_scikit_learns_curve():
    data = scores.outcomes(drawn())
    accuracy, confidence = calibration_curve(data["correct"], data["confidence"], n_bins=10)
    n = np.histogram(data["confidence"], 10, (0, 1))[0]
    assert calibration_error(drawn()) == pytest.approx((np.abs(accuracy - confidence) * n[n > 0]).sum() / len(data))


def test_calibration_error_by_chance_falls_with_the_number_of_images():
    few = drawn(60)
    found = decisions.calibration({"few": few, "many": pd.concat([few] * 100)})
    assert found["by chance, up to"]["many"] < 0.03 < found["by chance, up to"]["few"]


def test_temperature_is_that_of_the_least_log_loss():
    """As notebook 07 looks for it, on a grid."""
    data = drawn(sharp=3.0)
    tools = {"np": np, "scores": scores, "decisions": decisions, "log_loss": metrics.log_loss}
    found = cells("07_decisions", "CLASSES =", val=data, test=data, **tools)

    def loss(value):
        powers = scores.probabilities(data) ** (1 / value[0])
        return metrics.log_loss(data["label"], powers / powers.sum(axis=1, keepdims=True), labels=NAMES)

    best = scipy.optimize.brute(loss, [(0.5, 10)], Ns=100)[0]
    assert found["temperature"] == pytest.approx(best, rel=0.03) and found["temperature"] > 1.5
    assert min(found["losses"]) == pytest.approx(loss([found["temperature"]]))
    assert (scores.outcomes(found["test_scaled"])["predicted"] == scores.outcomes(data)["predicted"]).all()
    np.testing.assert_allclose(scores.probabilities(decisions.rescale(data, 1)), scores.probabilities(data))


def test_a_sure_network_can_be_made_less_sure():
    sure = drawn(20)
    sure[[f"p_{name}" for name in NAMES]] = np.eye(4)[[NAMES.index(name) for name in sure["label"]]]
    assert np.isfinite(scores.probabilities(decisions.rescale(sure, 20))).all()


def test_what_chance_gives_is_said_beside_the_calibration_errors_of_test():
    found = pd.DataFrame({"calibration error": [9, 9, 1, 2], "by chance, up to": [0, 0, 3, 4]})
    said = "on Test: 1.000, after scaling 2.000 (by chance, up to 4.000)"
    assert said in decisions.calibration_in_words(found)


def test_sets_of_classes_cover_what_they_promise():
    """Split conformal sets as notebook 07 makes them: on images like those of validation they hold the true class."""
    val, test = drawn(400, seed=1), drawn(4000, seed=2)
    tools = {"np": np, "scores": scores, "decisions": decisions}
    found = cells("07_decisions", "COVERAGE =", val=val, test=test, **tools)
    assert 0.87 < (decisions.of_truth(test) >= found["least"]).mean() < 0.93
    assert (decisions.of_truth(val) >= found["least"]).sum() == 361  # of 401 * 0.9, rounded up
    assert decisions.of_truth(test.assign(label="wart")).max() == 0


def test_subgroups_are_those_that_are_known():
    facts = {"age_approx": ["40", "", "90"], "sex": ["male", "female", ""], "anatom_site_general": ""}
    data = scores.outcomes(drawn(3)).assign(**facts, fitzpatrick_skin_type=["", "V", "V"])
    found = intervals.shares(decisions.subgroups(data), lambda part: part["correct"])
    assert list(found.index) == [
        "all (3)",
        "age: 40 to 59 (1)",
        "age: 60 and over (1)",
        "sex: female (1)",
        "sex: male (1)",
        "skin tone: V (2)",
    ]
    assert found["images"].tolist() == [3, 1, 1, 1, 1, 2] and (found["low"] <= found["value"]).all()
    assert "unknown" not in decisions.multiplicity(found)
    assert decisions.multiplicity(found[:-1]).endswith("; skin tones are unknown")


def test_of_many_groups_some_stand_out_by_chance():
    groups = pd.DataFrame({"value": [0.5, 0.9, 0.5, 0.2], "low": [0, 0.6, 0.1, 0], "high": [1, 1, 0.9, 0.4]}, [*"abcd"])
    said = "The overall 50% lies outside the interval of 2 of 3 groups (0.2 expected by chance); skin"
    assert decisions.multiplicity(groups).startswith(said)
    assert decisions.multiplicity(groups[:1]).startswith("Nothing is known")
