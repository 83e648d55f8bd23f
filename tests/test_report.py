"""The report: numbers that JSON can hold, sentences worked by hand, and pages that need nothing but themselves."""

import json
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers import manifest, runs
from helpers.data import datasets
from helpers.evaluation import decisions, report, scores

RECORD = {"name": "baseline", "parameters": {"EPOCHS": 3}, "epochs_run": 3, "train_seconds": 4.5}


@pytest.fixture
def run(tmp_path):
    (tmp_path / "baseline").mkdir()
    (tmp_path / "baseline" / "run.json").write_text(json.dumps(RECORD))
    images = datasets.Images(tmp_path, "DATA_DIR", False, ())
    return SimpleNamespace(folder=tmp_path, images=images, parameters={"LABELS": "audited"})


def scored(right, n):
    labels = np.array(["nevus"] * right + ["melanoma"] * (n - right), object)
    rows = pd.DataFrame({"image_id": [f"i{k}" for k in range(n)], "split": "test", "label": labels})
    return scores.score(scores.predictions_table(rows, np.tile([0.1, 0.9], (n, 1)), ["melanoma", "nevus"]))


def test_metrics_have_data_models_and_intervals_and_are_summed_up(run, small_manifest):
    both = {"val": scored(3, 4), "test": {"published": scored(2, 4), "audited": scored(0, 0)}}
    file = report.write_metrics(run, small_manifest, {"baseline": both, "mine": both})
    found = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert file == run.folder / "report" / "metrics.json"
    assert found["data"] == {
        "source": "DATA_DIR",
        "synthetic": False,
        "labels": "audited",
        "classes": ["melanoma", "nevus"],
        "n_train": 8,
        "n_val": 2,
        "n_test": 3,
        "manifest": manifest.fingerprint(small_manifest),
    }
    assert found["models"]["baseline"]["epochs_run"] == 3 and found["models"]["baseline"]["train_seconds"] == 4.5
    assert found["models"]["mine"]["epochs_run"] == 0  # trained elsewhere: it has no run.json
    assert found["models"]["mine"]["val"] == both["val"]
    away = {"unseen_at_clinic": {"n": 4, "accuracy": 0.5, "accuracy_interval": [0.1, 0.9]}}
    report.write_metrics(run, small_manifest, {"baseline": both, "mine": both | away})
    text = report.summary(run.folder)
    assert text.index("validation") < text.index("Test, published labels") < text.index("Test, unseen pair")
    assert "0.50 (0.10 to 0.90)" in text
    assert "8 train, 2 val, 3 test" in text and "0.75 (0.30 to 0.95)" in text and str(file) in text
    assert str(run.folder / "notebooks") in text
    before = file.read_text()
    with pytest.raises(ValueError, match="JSON"):
        report.write_metrics(run, small_manifest, {"baseline": {"val": {"accuracy": float("nan")}}})
    assert file.read_text() == before


@pytest.mark.parametrize("content", ['{"data": {"sour', "[1, 2]", "\x00\x01", ""])
def test_broken_files_name_themselves_and_the_way_out(tmp_path, content):
    file = tmp_path / "metrics.json"
    file.write_text(content)
    with pytest.raises(runs.RunError, match=r"metrics\.json cannot be read.*run its notebook again"):
        report.read_json(file)


def test_nothing_written_yet_is_no_fault(tmp_path):
    assert report.read_json(tmp_path / "run.json") == {}


def test_estimate_tells_value_and_interval_and_no_false_certainty():
    assert report.estimate({"auc": 0.5, "auc_interval": [0.25, 0.754]}, "auc") == "0.50 (0.25 to 0.75)"
    assert report.estimate({"f1": 0.5, "f1_interval": [0, 1]}, "f1") == "0.50 (0.00 to 1.00)"
    assert report.estimate({"f1": 1.0, "f1_interval": [1, 1]}, "f1") == "1.00 (interval unknown)"
    assert report.estimate({"f1": 0.5, "f1_interval": None}, "f1") == "0.50 (interval unknown)"
    assert report.estimate({"auc": None}, "auc") == report.estimate({}, "auc") == "not defined"


def test_plain_words_by_hand():
    called = [0.9] * 8 + [0.1] * 2 + [0.9] * 5 + [0.1] * 15
    view = pd.DataFrame({"image_id": range(30), "truth": [True] * 10 + [False] * 20, "probability": called})
    patients = decisions.per_thousand(decisions.operating_point(view, 0.5), 0.05)
    numbers = {"test": {"audited": scored(15, 30)}, "majority": {"class": "nevus", "audited": 0.4}}
    first, *words = report.in_words(numbers, patients, 0.05)
    assert [number for number, _ in first["cards"]] == ["50%", "40%", "40", "10", "238"]
    texts = [text for _, text in first["cards"]]
    assert "of 30 Test images" in texts[0] and "33% to 67%" in texts[0] and "always predicting nevus" in texts[1]
    assert (
        texts[2:4] == ["cancers found (25 to 47)", "cancers missed (3 to 25)"]
        and "of whom 50 are assumed to have cancer" in words[0]
    )
    assert "cameras" in words[-1]
    _, *words = report.in_words(numbers | {"external": {"n": 9, "accuracy": 0.2}}, None, 0.05)
    assert "was not evaluated" in words[0] and "9 images, 20%" in words[1] and "cameras" not in words[-1]
    assert "skin" not in "".join(report.in_words(numbers, None, 0.05, skin=False)[1:])
    tried = numbers | {"external": {"n": 9, "accuracy": 0.2}}
    assert report.in_words(tried, None, 0.05, skin=False)[-1] == "Not tried: whether an expert does better with it."


def test_page_holds_everything_and_escapes_what_is_hostile(run):
    figure = Figure(figsize=(5, 2))
    figure.add_subplot().plot([1, 2])
    table = pd.DataFrame({"<script>alert(1)</script>": ["<b>"]}, index=["a & b"])
    cards = {"cards": [("51%", "<i>of all</i>")]}
    sections = {f"Part {n}": [figure, "a <caption>", table] for n in range(4)}
    file = report.write(run, "report", "Title & co", {"In plain words": [cards, "two < three"], **sections})
    text = file.read_text(encoding="utf-8")
    assert file == run.folder / "report" / "report.html"
    assert "<script" not in text and "<i>" not in text and "<b>" not in text and "<caption>" not in text
    assert "Title &amp; co" in text and "two &lt; three" in text and report.NOTICE.split("'")[0] in text
    assert text.count("data:image/png;base64,") == 4 and "http" not in text
    assert text.count('<div class="wide" tabindex="0">') == 8  # on a phone it is scrolled, by keyboard too
    assert text.index("51%") < text.index("Contents") < text.index('id="part-2"') and report.REAL in text


def test_page_of_drawings_says_so(run):
    run.images = run.images._replace(synthetic=True)
    text = report.write(run, "decisions", "T", {}).read_text(encoding="utf-8")
    assert report.SYNTHETIC in text and report.REAL not in text


def test_networks_that_differ_in_a_parameter_of_training_are_named(tmp_path):
    four = {"IMAGE_SIZE": 64, "SEED": 0, "BALANCE": 0.5, "TTA": True}
    for name, given in (
        ("baseline", {"IMAGE_SIZE": 64, "SEED": 0, "PATIENCE": 5}),
        ("colours_kept", four),
        ("colours_exchanged", four | {"BALANCE": 1.0, "TTA": False}),  # stopped between the two, and changed
        ("transfer", {"TRANSFER_SIZE": 128, "SEED": 1, "BALANCE": 0.5}),
    ):
        facts = {"weights": 5, "epochs_run": 2, "best_epoch": 1, "parameters": given}
        manifest.write_text(json.dumps(facts), tmp_path / name / "run.json")
    manifest.write_text(json.dumps({"parameters": {"EPOCHS": 2}}), tmp_path / "03_baseline_cnn.json")
    table = report.networks(tmp_path, ["baseline", "colours_kept", "colours_exchanged", "transfer", "theirs"])
    assert table["other parameters"].to_dict() == {
        "baseline": "–",
        "colours kept": "EPOCHS",
        "colours exchanged": "BALANCE, EPOCHS",
        "transfer": "EPOCHS, IMAGE_SIZE, SEED",
        "theirs": "EPOCHS, IMAGE_SIZE",
    }
    assert table.loc["transfer", "image size"] == 128 and table.loc["theirs", "weights"] == "unknown"
