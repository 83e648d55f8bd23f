"""The report: numbers that JSON can hold, sentences worked by hand, and a page that needs nothing but itself."""

import base64
import json
import re
from html.parser import HTMLParser
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from PIL import Image
from statsmodels.stats.proportion import proportion_confint

from helpers import manifest
from helpers.data import datasets
from helpers.evaluation import decisions, report
from helpers.evaluation import scores as evaluation

RECORD = {"name": "baseline", "parameters": {"DATA_DIR": "/secret/place", "OUT_DIR": "/secret/run", "EPOCHS": 3,
                                             "LEARNING_RATE": 0.001},
          "manifest": "abc123", "versions": {"keras": "3.13.2"}, "epochs_run": 3, "train_seconds": 4.5}


def run_folder(folder):
    (folder / "baseline").mkdir(parents=True)
    (folder / "baseline" / "run.json").write_text(json.dumps(RECORD))
    return folder


def scored(right, n):
    rows = pd.DataFrame({"image_id": [f"i{k}" for k in range(n)], "split": "test",
                         "label": np.array(["nevus"] * right + ["melanoma"] * (n - right), object)})
    answers = evaluation.predictions_table(rows, np.tile([0.1, 0.9], (n, 1)), ["melanoma", "nevus"])
    return evaluation.score(answers, intervals=True)


def figure(width=5):
    one = Figure(figsize=(width, 2))
    one.add_subplot().plot([1, 2])
    return one


class Page(HTMLParser):
    """The tags of a page, with their attributes, and its text."""

    def __init__(self, file):
        super().__init__()
        self.tags, self.text = [], ""
        self.feed(file.read_text(encoding="utf-8"))

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.text += data

    def all(self, tag):
        return [attributes for name, attributes in self.tags if name == tag]


def test_metrics_have_data_models_and_intervals(tmp_path, small_manifest):
    out = run_folder(tmp_path / "run")
    both = {"val": scored(3, 4), "test": {"published": scored(2, 4), "audited": scored(0, 0)}}
    images = datasets.Images(tmp_path, "DATA_DIR", False)
    file = report.write_metrics(out, images, small_manifest, "audited", {"baseline": both, "mine": both})
    metrics = json.loads(file.read_text(), parse_constant=pytest.fail)
    assert file == out / "report" / "metrics.json"
    assert metrics["data"] == {"source": "DATA_DIR", "synthetic": False, "labels": "audited",
                               "classes": ["melanoma", "nevus"], "n_train": 8, "n_val": 2, "n_test": 3,
                               "manifest": manifest.fingerprint(small_manifest)}
    assert metrics["models"]["baseline"]["epochs_run"] == 3 and metrics["models"]["baseline"]["train_seconds"] == 4.5
    assert metrics["models"]["mine"]["epochs_run"] == 0  # trained elsewhere
    assert metrics["models"]["baseline"]["val"]["accuracy_interval"] == pytest.approx(
        proportion_confint(3, 4, method="wilson"))
    assert metrics["models"]["mine"]["test"]["audited"]["accuracy"] is None
    with pytest.raises(ValueError, match="JSON"):
        report.write_metrics(out, images, small_manifest, "audited", {"baseline": {"val": {"accuracy": float("nan")}}})
    assert json.loads(file.read_text()) == metrics


def test_estimate_tells_value_and_interval():
    assert report.estimate({"auc": 0.5, "auc_interval": [0.25, 0.754]}, "auc") == "0.50 (0.25 to 0.75)"
    assert report.estimate({"f1": 0.5, "f1_bootstrap_interval": [0, 1]}, "f1") == "0.50 (0.00 to 1.00)"
    assert report.estimate({"brier": 0.123}, "brier") == "0.12"
    assert report.estimate({"f1": 0.5, "f1_interval": None}, "f1") == "0.50"
    assert report.estimate({"auc": None}, "auc") == report.estimate({}, "auc") == "not defined"


def test_others_are_quoted_with_an_interval_where_the_count_is_known():
    table = report.others()
    low, high = proportion_confint(56, 118, method="wilson")
    assert table.loc["the best of these 6, trained from scratch"].iloc[1] == f"0.475 ({low:.2f} to {high:.2f})"
    assert table.iloc[0, 0] == "0.66 to 0.91, leaked" and "0.449" in table.iloc[2, 1]


def test_plain_words_by_hand():
    truth, chance = [True] * 10 + [False] * 20, [0.9] * 8 + [0.1] * 2 + [0.9] * 5 + [0.1] * 15
    view = pd.DataFrame({"image_id": range(30), "truth": truth, "probability": chance})
    point = decisions.operating_point(view, 0.5)
    counts = pd.Series({"melanoma": 10, "nevus": 9, "wart": 0})
    words = report.in_words("plain", scored(15, 30), counts, point, decisions.per_thousand(point, 0.05), 0.05, False)
    assert len(words) == 3
    assert "Of 30 test images the plain network named 50 % (95 % interval 33 to 67 %) rightly; 2 of 3" in words[0]
    assert "found 8 of 10 cancers, 80 % (95 % interval 49 to 94 %), and flagged 5 of 20 other" in words[1]
    assert "if 50 of 1,000 patients had cancer, which is assumed, it would miss 10 (3 to 25) of them" in words[1]
    assert "flag 238 (106 to 445) of the others" in words[1]
    assert "must not be used to judge" in words[2] and "drawings" not in words[2]


def test_plain_words_of_drawings_and_of_nothing():
    words = report.in_words("plain", scored(0, 0), pd.Series({"wart": 0}), None, None, 0.05, True)
    assert "named none rightly" in words[0] and "was not asked" in words[1] and words[2] == report.SYNTHETIC


def test_run_record_shows_what_was_done_and_no_paths(tmp_path):
    table = report.run_record(run_folder(tmp_path), ["baseline", "mine"])
    assert table["baseline"].to_dict() == {"manifest": "abc123", "epochs run": "3", "train seconds": "4.5",
                                           "keras": "3.13.2", "EPOCHS": "3", "LEARNING_RATE": "0.001"}
    assert (table["mine"] == "").all()


def test_page_holds_everything_itself(tmp_path):
    own = tmp_path / "report" / "figures" / "mine.png"
    own.parent.mkdir(parents=True)
    own.write_bytes(b"mine")
    (own.parent / "07-of-an-earlier-page.png").write_bytes(b"old")
    table = pd.DataFrame({"score": [0.123456, np.nan], "who": ["<b>", "x"]}, index=["a & b", "c"])
    sections = {"Words": ["one", "two < three"], "A table": table, "A figure: <i>": figure(), "Line": "only one"}
    file = report.write_page(tmp_path, "Title & co", sections, synthetic=False)
    page = Page(file)
    assert file == tmp_path / "report" / "report.html"
    assert [place.name for place in sorted(own.parent.iterdir())] == ["03-a-figure-i.png", "mine.png"]
    assert own.read_bytes() == b"mine"
    assert {"name": "viewport", "content": "width=device-width, initial-scale=1"} in page.all("meta")
    assert not page.all("link") and not page.all("script") and not page.all("i") and not page.all("b")
    assert re.search(r"url\(|@import", file.read_text()) is None
    pictures = page.all("img")
    assert len(pictures) == 1 and pictures[0]["alt"] == "A figure: <i>" and pictures[0]["width"] == "500"
    kind, data = pictures[0]["src"].split(",")
    assert kind == "data:image/png;base64"
    assert base64.b64decode(data) == (own.parent / "03-a-figure-i.png").read_bytes()
    assert Image.open(BytesIO(base64.b64decode(data))).size == (550, 220)
    for text in ("Title & co", "two < three", "a & b", "0.12", "<b>", "only one", report.NOTICE, report.REAL):
        assert text in page.text, text
    assert "nan" not in page.text.lower() and report.SYNTHETIC not in page.text


def test_page_of_drawings_says_so(tmp_path):
    text = Page(report.write_page(tmp_path, "T", {}, synthetic=True)).text
    assert report.SYNTHETIC in text and report.REAL not in text and report.NOTICE in text


def test_the_summary_names_the_scores_and_where_to_look(tmp_path):
    score = {"accuracy": 0.5}
    model = {"epochs_run": 3, "train_seconds": 9.6, "val": score, "test": {"audited": {"accuracy": None}, "published": score}}
    data = {"source": "embedded sample", "synthetic": True, "labels": "audited", "n_train": 1, "n_val": 2, "n_test": 3}
    (tmp_path / "report").mkdir()
    (tmp_path / "report" / "metrics.json").write_text(json.dumps({"data": data, "models": {"baseline": model}}))
    text = report.summary(tmp_path)
    assert "embedded sample (synthetic)" in text and "0.500" in text and str(tmp_path / "notebooks") in text
