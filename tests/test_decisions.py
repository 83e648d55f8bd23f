"""Decisions, calibration and subgroups against scikit-learn, SciPy and cases worked by hand; that the figures draw."""

import re

import numpy as np
import pandas as pd
import pytest
import scipy.optimize
from PIL import Image
from sklearn import metrics
from sklearn.calibration import calibration_curve
from statsmodels.stats.proportion import proportion_confint

from helpers.evaluation import calibration, decisions
from helpers.evaluation import figures as plots_evaluation
from helpers.evaluation import scores as evaluation

pytestmark = pytest.mark.filterwarnings("error")
NAMES = ["basal cell carcinoma", "melanoma", "nevus", "vascular lesion"]


def drawn(n=200, seed=0, sharp=1.0, names=NAMES):
    random = np.random.default_rng(seed)
    truth = random.integers(0, 4, n)
    chance = np.exp(sharp * (random.normal(size=(n, 4)) + 1.2 * np.eye(4)[truth]))
    rows = pd.DataFrame({"image_id": [f"i{k}" for k in range(n)], "split": "test",
                         "label": np.array(names, object)[truth]})
    return evaluation.predictions_table(rows, chance / chance.sum(axis=1, keepdims=True), names)


def view(truth, probability):
    return pd.DataFrame({"image_id": [f"i{k}" for k in range(len(truth))], "truth": np.array(truth, bool),
                         "probability": np.array(probability, float)})


def test_views_sum_the_classes_that_mean_yes():
    data = drawn(50).assign(group="")
    malignant, melanoma = decisions.binary(data), decisions.binary(data, ["melanoma"])
    assert (malignant["truth"] == data["label"].isin(["melanoma", "basal cell carcinoma"])).all()
    np.testing.assert_allclose(malignant["probability"], data["p_melanoma"] + data["p_basal cell carcinoma"])
    assert (melanoma["truth"] == (data["label"] == "melanoma")).all()
    assert list(melanoma) == ["image_id", "split", "group", "truth", "probability"]
    np.testing.assert_array_equal(melanoma["probability"], data["p_melanoma"])


def test_views_that_do_not_apply_are_refused():
    foreign = drawn(20, names=["wart", "melanoma", "nevus", "scar"])
    with pytest.raises(ValueError, match="Whether 'scar' is malignant is not known"):
        decisions.binary(foreign)
    assert decisions.binary(foreign, ["melanoma", "wart"])["truth"].any()
    with pytest.raises(ValueError, match="0 of the model's 4 classes mean yes"):
        decisions.binary(drawn(20), ["wart"])


def test_curves_and_ranking_equal_scikit_learn():
    data = decisions.binary(drawn())
    truth, chance = data["truth"], data["probability"]
    roc, both, rank = decisions.roc(data), decisions.precision_recall(data), decisions.ranking(data)
    area = metrics.auc(roc["false_positive_rate"], roc["sensitivity"])
    assert area == pytest.approx(metrics.roc_auc_score(truth, chance))
    assert rank["auc"] == pytest.approx(metrics.roc_auc_score(truth, chance))
    assert rank["average_precision"] == metrics.average_precision_score(truth, chance)
    assert rank["auc_interval"][0] < rank["auc"] < rank["auc_interval"][1]
    threshold, precision, recall = both.iloc[40]
    assert precision == metrics.precision_score(truth, chance >= threshold)
    assert recall == metrics.recall_score(truth, chance >= threshold)


@pytest.mark.parametrize("truth", [[], [True] * 3, [False] * 3])
def test_one_sided_views_have_no_curve(truth):
    data = view(truth, [0.5] * len(truth))
    for curve in (decisions.roc, decisions.precision_recall):
        with pytest.raises(ValueError, match="at least one positive and one negative image"):
            curve(data)
    rank = decisions.ranking(data)
    assert rank["auc"] is rank["auc_interval"] is rank["average_precision"] is None
    point = decisions.operating_point(data, 0.5)
    assert point["sensitivity"] == (1 if any(truth) else None)
    with pytest.raises(ValueError, match="prevalence"):
        decisions.per_thousand(point, 0.1)


@pytest.mark.parametrize("sensitivity, threshold", [(0.9, 0.2), (0.91, 0.1), (0.7, 0.4), (0.05, 0.9), (1, 0.1)])
def test_threshold_is_the_highest_that_finds_enough(sensitivity, threshold):
    found = [0.9, 0.8, 0.8, 0.6, 0.5, 0.4, 0.4, 0.3, 0.2, 0.1]  # 0.7 of 10 is 7, though 0.7 * 10 > 7 in floats
    data = view([True] * 10 + [False] * 5, found + [0.05, 0.15, 0.35, 0.85, 0.95])
    assert decisions.threshold_for_sensitivity(data, sensitivity) == threshold
    assert decisions.operating_point(data, threshold)["sensitivity"] >= sensitivity
    with pytest.raises(ValueError, match="0 positive images"):
        decisions.threshold_for_sensitivity(data[10:], sensitivity)


def test_operating_point_and_thousand_patients_by_hand():
    data = view([True] * 10 + [False] * 20, [0.5] * 8 + [0.4] * 2 + [0.5] * 5 + [0.1] * 15)
    point = decisions.operating_point(data, 0.5)
    assert [point[f"{name}s"] for name in ("true_positive", "false_positive", "false_negative", "true_negative")] \
        == [8, 5, 2, 15]
    assert (point["sensitivity"], point["specificity"]) == (0.8, 0.75)
    assert (point["ppv"], point["npv"]) == (pytest.approx(8 / 13), pytest.approx(15 / 17))
    assert point["specificity_interval"] == pytest.approx(proportion_confint(15, 20, method="wilson"))
    low, high = proportion_confint(8, 10, method="wilson")
    table = decisions.per_thousand(point, 0.05)
    assert table["value"].to_dict() == pytest.approx({"flagged": 40 + 237.5, "missed": 10, "needless": 237.5})
    assert table.loc["missed", ["low", "high"]].tolist() == pytest.approx([50 * (1 - high), 50 * (1 - low)])
    assert (table["low"] <= table["value"]).all() and (table["value"] <= table["high"]).all()


def test_net_benefit_by_hand():
    curve = decisions.decision_curve(view([True, True, False, False], [0.9, 0.2, 0.5, 0.1])).set_index("threshold")
    assert curve.loc[0.2].tolist() == pytest.approx([2 / 4 - 1 / 4 * 0.25, 2 / 4 - 2 / 4 * 0.25, 0])
    assert curve.loc[0.6, "model"] == 0.25 and curve.loc[0.5, "treat_all"] == 0 and curve.loc[0.95, "model"] == 0
    assert curve.loc[0.5, "model"] == 0  # a probability equal to the threshold is flagged
    assert decisions.decision_curve(view([], []))["model"].isna().all()


def test_reliability_equals_scikit_learn_and_tells_empty_bins():
    data = decisions.binary(drawn())
    table = calibration.reliability(data["probability"], data["truth"])
    accuracy, confidence = calibration_curve(data["truth"], data["probability"], n_bins=10)
    used = table[table["n"] > 0]
    np.testing.assert_allclose(used["accuracy"], accuracy)
    np.testing.assert_allclose(used["confidence"], confidence)
    by_hand = calibration.reliability([0, 0.7, 0.7, 1], [False, True, False, True])
    assert by_hand["n"].tolist() == [1, 0, 0, 0, 0, 0, 2, 0, 0, 1]  # a bin holds its upper edge
    assert by_hand["accuracy"].dropna().tolist() == [0, 0.5, 1]
    assert calibration.expected_calibration_error(by_hand) == pytest.approx((0 + 2 * 0.2 + 0) / 4)
    assert np.isnan(calibration.expected_calibration_error(calibration.reliability([], [])))


def test_temperature_is_that_of_the_least_log_loss():
    data = drawn(sharp=3.0)
    temperature = calibration.fit_temperature(data)
    chance = evaluation.probabilities(data)

    def loss(value):
        powers = chance ** (1 / value)
        return metrics.log_loss(data["label"], powers / powers.sum(axis=1, keepdims=True), labels=NAMES)

    best = scipy.optimize.brute(lambda value: loss(value[0]), [(0.5, 10)], Ns=400)[0]
    assert temperature == pytest.approx(best, rel=1e-3) and temperature > 1.5
    cooled = calibration.apply_temperature(data, temperature)
    assert evaluation.score(cooled, True)["log_loss"] == pytest.approx(loss(temperature))
    assert (evaluation.outcomes(cooled)["predicted"] == evaluation.outcomes(data)["predicted"]).all()
    assert calibration.fit_temperature(cooled) == pytest.approx(1, abs=1e-3)
    np.testing.assert_allclose(evaluation.probabilities(calibration.apply_temperature(data, 1)), chance)


def test_temperature_of_sure_and_of_constant_models():
    columns = [f"p_{name}" for name in NAMES]
    constant = drawn(20).assign(**dict.fromkeys(columns, 0.25))
    assert calibration.fit_temperature(constant) == 1
    sure = constant.assign(**dict(zip(columns, np.eye(4)[[NAMES.index(name) for name in constant["label"]]].T)))
    assert 0.05 <= calibration.fit_temperature(sure) <= 20
    assert np.isfinite(evaluation.probabilities(calibration.apply_temperature(sure, 20))).all()
    with pytest.raises(ValueError, match="No image has a label"):
        calibration.fit_temperature(drawn(5).assign(label="wart"))


def test_subgroups_by_hand():
    data = drawn(30).assign(sex=["female"] * 12 + ["male"] * 15 + ["", None, np.nan], hairs=[True] * 5 + [False] * 25)
    correct = evaluation.outcomes(data)["correct"]
    table = decisions.subgroups(data, ["sex", "hairs"]).set_index(["column", "group"])
    assert table["n"].to_dict() == {("sex", "female"): 12, ("sex", "male"): 15, ("sex", "unknown"): 3,
                                    ("hairs", "False"): 25, ("hairs", "True"): 5}
    row = table.loc[("sex", "female")]
    assert row["accuracy"] == correct[:12].mean() and row["warning"] == ""
    assert (row["low"], row["high"]) == pytest.approx(proportion_confint(correct[:12].sum(), 12, method="wilson"))
    assert table.loc[("hairs", "True"), "warning"] == "only 5 images"
    assert decisions.subgroups(data[:0], ["sex"]).empty


def test_questions_that_cannot_be_asked_say_why():
    data = drawn()
    assert decisions.unanswerable(data, data) == decisions.unanswerable(data, data, ["melanoma"]) == ""
    benign = data[~data["label"].isin(["melanoma", "basal cell carcinoma"])]
    assert decisions.unanswerable(benign, data).startswith("no validation image is positive")
    assert decisions.unanswerable(data, benign).startswith(f"0 of {len(benign)} images are positive")
    assert decisions.unanswerable(data, data[:0]).startswith("0 of 0 images")
    assert "0 of the model's 4 classes mean yes" in decisions.unanswerable(data, data, ["wart"])


def test_artefacts_are_joined_by_path(tmp_path):
    data = drawn(3).assign(path=[str(tmp_path / "Test" / name) for name in ("a.jpg", "b.jpg", "c.jpg")])
    assert decisions.artefacts(data, tmp_path)[1] == []
    (tmp_path / "artefacts.csv").write_text("path,hair,ruler\nTest/b.jpg,1,0\nTest/a.jpg,0,0\nTrain/c.jpg,1,1\n")
    marked, names = decisions.artefacts(data, tmp_path)
    assert names == ["hair", "ruler"] and marked["path"].equals(data["path"])
    assert marked[names].to_numpy().tolist() == [["without", "without"], ["with", "without"], ["", ""]]
    assert decisions.subgroups(marked, names)["group"].tolist() == ["unknown", "with", "without", "unknown", "without"]


@pytest.mark.parametrize("header, named", [("file,hair", "it has ['file', 'hair']"), ("path,label", "use ['label']")])
def test_an_artefacts_file_of_other_columns_is_refused(tmp_path, header, named):
    (tmp_path / "artefacts.csv").write_text(f"{header}\nTest/a.jpg,1\n")
    with pytest.raises(ValueError, match=re.escape(named)):
        decisions.artefacts(drawn(1).assign(path=str(tmp_path / "Test" / "a.jpg")), tmp_path)


def test_calibration_error_by_chance_is_that_of_resampled_outcomes():
    confidence = evaluation.outcomes(drawn(60))["confidence"].to_numpy()
    draws = np.random.default_rng(3).random((1000, 60)) < confidence
    errors = [calibration.expected_calibration_error(calibration.reliability(confidence, draw, 5)) for draw in draws]
    assert calibration.error_by_chance(confidence, 5, seed=3) == pytest.approx(np.percentile(errors, 95))
    many = np.tile(confidence, 100)
    assert calibration.error_by_chance(many) < 0.03 < calibration.error_by_chance(confidence)
    assert np.isnan(calibration.error_by_chance([]))


def test_age_bands():
    bands = decisions.age_bands(pd.Series([0, 39, 40, 59, 60, 90, np.nan]))
    assert bands.tolist() == ["0 to 39"] * 2 + ["40 to 59"] * 2 + ["60 and over"] * 2 + ["unknown"]


def figures(data, folder):
    Image.new("RGB", (20, 20), "pink").save(folder / "one.png")
    shown = evaluation.outcomes(data[:7]).assign(path=folder / "one.png", nearest_path=folder / "one.png",
                                                 nearest_label="nevus", sex="male")
    forecast = evaluation.outcomes(data)
    yes = decisions.binary(data)
    plots = plots_evaluation
    kind = {"title": "A title", "synthetic": True}
    yield plots.confusion_matrix(evaluation.confusion(data), **kind)
    yield plots.class_bars(evaluation.per_class(data), **kind)
    yield plots.reliability_diagram({"a": calibration.reliability(forecast["confidence"], forecast["correct"])}, **kind)
    yield plots.decision_curves({"a": decisions.decision_curve(yes)}, **kind)
    yield plots.gallery(shown, columns=3, **kind)
    yield plots.mistakes(shown, columns=3, **kind)
    yield plots.heatmap_overlays(np.full((len(shown), 8, 8, 3), 200, "uint8"), np.ones((len(shown), 8, 8)),
                                 shown["label"], **kind)
    yield plots.forest(decisions.subgroups(shown, ["sex"]), overall=0.5, **kind)
    yield plots.comparison(evaluation.scores_table({"a": data, "b": data[:0]}), **kind)
    if len(data):
        yield plots.roc_and_precision_recall({"a": yes}, {"a": decisions.operating_point(yes, 0.5)}, **kind)


@pytest.mark.parametrize("n", [0, 60])
def test_figures_draw_and_name_the_sample(tmp_path, n):
    import matplotlib.pyplot

    for figure in figures(drawn(n), tmp_path):
        figure.savefig(tmp_path / "figure.png")
        assert figure.get_suptitle() == "A title  ·  synthetic sample: drawings, not patients"
    assert matplotlib.pyplot.get_fignums() == []


def test_confusion_figure_shows_counts_and_shares():
    data = drawn(60)
    counts = evaluation.confusion(data)
    texts = {text.get_text() for text in plots_evaluation.confusion_matrix(counts).axes[0].texts}
    assert f"{counts.iloc[0, 0]}\n{counts.iloc[0, 0] / counts.iloc[0].sum():.0%}" in texts
