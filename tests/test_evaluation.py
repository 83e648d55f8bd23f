"""Every score is checked against scikit-learn, statsmodels, SciPy or a case worked by hand."""

import json

import numpy as np
import pandas as pd
import pytest
import scipy.stats
from sklearn import metrics
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.proportion import proportion_confint

from helpers.evaluation import intervals
from helpers.evaluation import scores as evaluation

pytestmark = pytest.mark.filterwarnings("error")
NAMES = ["basal cell carcinoma", "melanoma", "nevus", "vascular lesion"]


def table(labels, chance, names=NAMES, **columns):
    rows = pd.DataFrame({"image_id": [f"i{n}" for n in range(len(labels))], "split": "test",
                         "label": np.array(labels, object)})
    return evaluation.predictions_table(rows, np.reshape(chance, (len(labels), len(names))), names).assign(**columns)


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
    labels, chance = data["label"], evaluation.probabilities(data)
    called = evaluation.outcomes(data)["predicted"]
    scores = evaluation.score(data, intervals=True)
    assert scores["n"] == 118 and scores["n_unknown_class"] == 0
    expected = {
        "accuracy": metrics.accuracy_score(labels, called),
        "balanced_accuracy": metrics.balanced_accuracy_score(labels, called),
        "macro_f1": metrics.f1_score(labels, called, average="macro"),
        "auc_ovr": metrics.roc_auc_score(labels, chance, multi_class="ovr", average="macro"),
        "top2_accuracy": metrics.top_k_accuracy_score(labels, chance, k=2, labels=NAMES),
        "log_loss": metrics.log_loss(labels, chance, labels=NAMES),
        "brier": ((chance - pd.get_dummies(labels)[NAMES].to_numpy(float)) ** 2).sum() / 118}
    assert {name: scores[name] for name in expected} == pytest.approx(expected, abs=1e-12)
    wilson = proportion_confint((labels == called).sum(), 118, method="wilson")
    assert scores["accuracy_interval"] == pytest.approx(wilson, abs=1e-12)
    plain = evaluation.score(data)
    assert plain == {name: scores[name] for name in ("n", "accuracy", "balanced_accuracy", "macro_f1")}


def test_wilson_worked_by_hand():
    z = scipy.stats.norm.ppf(0.975)
    centre, half = (56 + z**2 / 2) / (118 + z**2), z / (118 + z**2) * np.sqrt(56 * 62 / 118 + z**2 / 4)
    low, high = intervals.wilson([56, 0, 10, 0], [118, 10, 10, 0])
    assert (low[0], high[0]) == pytest.approx((centre - half, centre + half))
    assert low[1] == 0 and high[2] == 1 and np.isnan([low[3], high[3]]).all()


def test_bootstrap_intervals_equal_scipy():
    data = drawn()
    ours = evaluation.score(data, intervals=True)
    labels, called = data["label"].to_numpy(), evaluation.outcomes(data)["predicted"].to_numpy()

    def macro_f1(rows):
        return metrics.f1_score(labels[rows], called[rows], average="macro")

    theirs = scipy.stats.bootstrap((np.arange(118),), macro_f1, vectorized=False, n_resamples=600, method="percentile",
                                   random_state=1).confidence_interval
    assert ours["macro_f1_bootstrap_interval"] == pytest.approx(tuple(theirs), abs=0.02)
    assert evaluation.score(data, intervals=True) == ours
    assert evaluation.score(data, intervals=True, seed=1) != ours


def test_each_resample_is_scored_as_scikit_learn_would():
    data = drawn(60)
    labels, chance = data["label"].to_numpy(object), evaluation.probabilities(data)
    weights = intervals.resamples(data)[:20]
    assert (weights.sum(axis=1) == 60).all()
    scores = intervals.weighted_scores(labels, NAMES, chance, weights)
    for draw, weight in enumerate(weights.astype(int)):
        rows = np.repeat(np.arange(60), weight)
        called = np.array(NAMES, object)[chance[rows].argmax(axis=1)]
        assert scores["macro_f1"][draw] == pytest.approx(metrics.f1_score(labels[rows], called, average="macro"))
        recalls = [np.mean(called[labels[rows] == name] == name) for name in np.unique(labels[rows])]
        assert scores["balanced_accuracy"][draw] == pytest.approx(np.mean(recalls))
        areas = [metrics.roc_auc_score(labels[rows] == name, chance[rows, column])
                 for column, name in enumerate(NAMES) if name in labels[rows]]
        assert scores["auc_ovr"][draw] == pytest.approx(np.mean(areas))


def test_groups_are_drawn_whole_and_widen_the_interval():
    data = drawn(40)
    lesions = pd.concat([data] * 4)
    lesions = lesions.assign(group="g" + lesions["image_id"], image_id=[f"i{n}" for n in range(160)])
    weights = intervals.resamples(lesions)
    assert (weights.reshape(-1, 4, 40) == weights[:, None, :40]).all()
    width = {name: np.ptp(evaluation.score(part, intervals=True)["accuracy_bootstrap_interval"])
             for name, part in {"lesions": lesions, "images": lesions.drop(columns="group")}.items()}
    assert width["lesions"] > 1.6 * width["images"]
    assert (intervals.resamples(lesions.assign(group="")) == intervals.resamples(lesions.drop(columns="group"))).all()
    assert evaluation.score(lesions.assign(group="one"), intervals=True)["accuracy_bootstrap_interval"] is None


def test_area_under_roc_counts_ties_half():
    random = np.random.default_rng(0)
    positive, scores = random.random(80) < 0.3, random.integers(0, 5, 80) / 4
    area = intervals.area_under_roc(positive, scores, np.ones((1, 80)))
    assert area == pytest.approx([metrics.roc_auc_score(positive, scores)])
    assert intervals.area_under_roc(positive, np.full(80, 0.5), np.ones((1, 80))) == [0.5]
    assert np.isnan(intervals.area_under_roc(np.ones(80, bool), scores, np.ones((1, 80)))).all()


def test_perfect_model():
    labels = NAMES * 5
    scores = evaluation.score(sure(labels, labels), intervals=True)
    best = ("accuracy", "balanced_accuracy", "macro_f1", "auc_ovr", "top2_accuracy")
    assert [scores[name] for name in best] == [1] * 5
    assert scores["log_loss"] == scores["brier"] == 0
    assert scores["accuracy_interval"][0] < 0.9 and scores["macro_f1_bootstrap_interval"] == [1, 1]
    assert evaluation.costliest(sure(labels, labels)).empty


def test_constant_model():
    data = table(["nevus"] * 6 + ["melanoma"] * 2, np.full((8, 4), 0.25))
    scores = evaluation.score(data, intervals=True)
    assert set(evaluation.outcomes(data)["predicted"]) == {NAMES[0]}  # of equals, the first column
    assert scores["accuracy"] == scores["macro_f1"] == scores["balanced_accuracy"] == 0
    assert scores["auc_ovr"] == 0.5 and scores["log_loss"] == pytest.approx(np.log(4))
    assert scores["brier"] == pytest.approx(0.75) and scores["top2_accuracy"] == pytest.approx(2 / 8)


@pytest.mark.parametrize("labels", [[], ["nevus"] * 3])
def test_scores_without_images_or_with_one_class_are_json(labels):
    scores = json.loads(json.dumps(evaluation.score(table(labels, [[0.1, 0.2, 0.3, 0.4]] * len(labels)), True),
                                   allow_nan=False))
    assert scores["auc_ovr"] is None and scores["auc_ovr_bootstrap_interval"] is None
    assert scores["n"] == len(labels) and scores["accuracy"] == (0 if labels else None)
    assert (scores["accuracy_interval"] is None) == (not labels)


def test_class_that_the_model_does_not_know_counts_as_an_error():
    data = drawn(30).assign(group="")
    data.loc[:4, "label"] = "dermatofibroma"
    scores = evaluation.score(data, intervals=True)
    called = evaluation.outcomes(data)["predicted"]
    assert scores["n_unknown_class"] == 5 and scores["log_loss"] is None
    assert scores["accuracy"] == metrics.accuracy_score(data["label"], called)
    assert scores["macro_f1"] == pytest.approx(metrics.f1_score(data["label"], called, average="macro"))
    gaps = evaluation.probabilities(data) - pd.get_dummies(data["label"])[NAMES].to_numpy(float)
    assert scores["brier"] == pytest.approx((gaps ** 2).sum() / 30 + 5 / 30)
    row = evaluation.per_class(data).loc["dermatofibroma"]
    assert row["recall"] == 0 and np.isnan(row["precision"]) and "does not know" in row["warning"]


def test_per_class_equals_scikit_learn_and_warns_of_small_classes():
    data = drawn()
    data = data[data["label"] != "vascular lesion"]
    called = evaluation.outcomes(data)["predicted"]
    result = evaluation.per_class(data).loc[NAMES]
    expected = metrics.precision_recall_fscore_support(data["label"], called, labels=NAMES, zero_division=np.nan)
    for name, column in zip(("precision", "recall", "f1", "support"), expected):
        np.testing.assert_allclose(result[name].astype(float), column)
    assert result["warning"].tolist() == ["", "", "", "no images"]
    assert evaluation.per_class(data[data["label"] == "nevus"][:4]).loc["nevus", "warning"] == "only 4 images"
    assert evaluation.per_class(data[data["label"] == "nevus"][:1]).loc["nevus", "warning"] == "only 1 image"


def test_confusion_equals_scikit_learn_worst_class_first():
    data = drawn()
    result = evaluation.confusion(data)
    assert list(result.index) == ["melanoma", "basal cell carcinoma", "vascular lesion", "nevus"]
    assert list(result.columns) == list(result.index)
    called = evaluation.outcomes(data)["predicted"]
    assert (result.to_numpy() == metrics.confusion_matrix(data["label"], called, labels=list(result.index))).all()
    assert list(evaluation.confusion(data, order=NAMES).columns) == NAMES
    assert evaluation.by_malignancy(["zebra", "nevus", "apple", "melanoma"]) == ["melanoma", "nevus", "apple", "zebra"]


def test_costliest_names_missed_cancers_first():
    names = [*NAMES, "wart"]
    labels = ["nevus"] * 4 + ["melanoma"] * 6 + ["basal cell carcinoma"] * 3 + ["wart"]
    called = ["melanoma"] * 3 + ["nevus"] + ["nevus", "basal cell carcinoma", "basal cell carcinoma", "melanoma"] \
        + ["vascular lesion"] * 2 + ["vascular lesion"] * 2 + ["wart", "nevus"]
    result = evaluation.costliest(sure(labels, called, names))
    assert result[["label", "predicted", "count", "kind"]].to_numpy().tolist() == [
        ["melanoma", "vascular lesion", 2, "missed cancer"], ["melanoma", "nevus", 1, "missed cancer"],
        ["basal cell carcinoma", "vascular lesion", 2, "missed cancer"], ["nevus", "melanoma", 3, "false alarm"],
        ["melanoma", "basal cell carcinoma", 2, ""],
        ["basal cell carcinoma", "wart", 1, ""], ["wart", "nevus", 1, ""]]
    assert result["share"].tolist() == pytest.approx([2 / 6, 1 / 6, 2 / 3, 3 / 4, 2 / 6, 1 / 3, 1])


def test_compare_equals_statsmodels_and_scipy():
    a, b = drawn(seed=0), drawn(seed=0)
    columns = [f"p_{name}" for name in NAMES]
    b.loc[:59, columns] = np.roll(b.loc[:59, columns], 1, axis=1)
    result = evaluation.compare(a, b.sample(frac=1, random_state=0))
    right_a, right_b = evaluation.outcomes(a)["correct"], evaluation.outcomes(b)["correct"]
    counts = pd.crosstab(right_a, right_b).to_numpy()
    assert (result["n"], result["only_a_right"], result["only_b_right"]) == (118, counts[1, 0], counts[0, 1])
    assert result["mcnemar_p"] == pytest.approx(mcnemar(counts, exact=True).pvalue)
    assert result["mcnemar_p"] == pytest.approx(scipy.stats.binomtest(counts[1, 0], counts[1, 0] + counts[0, 1]).pvalue)
    assert result["difference"] == pytest.approx(right_a.mean() - right_b.mean())
    theirs = scipy.stats.bootstrap((right_a.astype(float) - right_b,), np.mean, method="percentile",
                                   random_state=1).confidence_interval
    assert result["difference_interval"] == pytest.approx(tuple(theirs), abs=0.012)


def test_compare_of_equal_of_no_and_of_other_images():
    data = drawn(20)
    same = evaluation.compare(data, data)
    assert (same["mcnemar_p"], same["difference"], same["difference_interval"]) == (1, 0, [0, 0])
    assert evaluation.compare(data[:0], data[:0])["difference"] is None
    with pytest.raises(evaluation.PredictionsError, match="other images or labels"):
        evaluation.compare(data, data[:19])


def test_scores_table_has_every_score_and_interval():
    data = drawn()
    result = evaluation.scores_table({"one": data, "none": data[:0]}).set_index(["name", "score"])
    scores = evaluation.score(data, intervals=True)
    row = result.loc[("one", "macro_f1")]
    assert [row["value"], row["low"], row["high"]] == [scores["macro_f1"], *scores["macro_f1_bootstrap_interval"]]
    assert result.loc[("one", "accuracy"), "low"] == scores["accuracy_interval"][0]
    assert np.isnan(result.loc[("one", "brier"), "low"])
    assert result.loc["none"][["value", "low", "high"]].isna().all(axis=None)
