"""What stands in the docs holds: links, tables made from numbers, parameters, public scores, Colab's list."""

import io
import json
import re
import subprocess
import sys
from urllib.parse import unquote

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image
from statsmodels.stats.proportion import proportion_confint

from docs import figures, parameters
from helpers import runs
from helpers.batch import build
from helpers.data.datasets import ROOT

PAGES = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("*.md")), ROOT / "data" / "README.md"]


def anchors(page):
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).strip().lower().replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_goes_somewhere(page):
    text = re.sub(r"<!--.*?-->", "", page.read_text(encoding="utf-8"), flags=re.DOTALL)
    links = [link for link in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in link]
    for file, _, anchor in (link.partition("#") for link in links):
        target = page.parent / file if file else page
        assert target.exists(), f"{page.name} links to {file}, which does not exist"
        assert not anchor or anchor in anchors(target), f"{page.name} links to {file}#{anchor}, which does not exist"


def test_every_term_of_the_glossary_is_linked_once_from_the_notebook_that_introduces_it():
    glossary = (ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    of = build.settings()
    page = f"https://github.com/{of['repository']}/blob/{of['branch']}/docs/glossary.md#"
    found = [
        (name[:2], anchor, re.sub(r"\s+", " ", term).lower())
        for name in runs.NOTEBOOKS
        for cell in build.render(name).cells
        for term, anchor in re.findall(rf"\[\*\*([^*]+)\*\*\]\({re.escape(page)}([^)]+)\)", cell["source"])
    ]
    assert glossary.count("**") // 2 == len(re.findall(r'<a id="[\w-]+"></a>\*\*[^*]+\*\*\s+\(\d\d\)', glossary))
    for anchor, terms, number in re.findall(r'<a id="([\w-]+)"></a>\*\*([^*]+)\*\*\s+\((\d\d)\)', glossary):
        for term in terms.lower().split(", "):
            links = [link for link in found if link[2] in (term, f"{term}s")]
            assert links == [(number, anchor, links[0][2])] if links else False, f"{term}: set it in bold in {number}"
    anchors = re.findall(r'<a id="(.+?)">', glossary)
    assert len(set(anchors)) == len(anchors) and {anchor for _, anchor, _ in found} == set(anchors)


def test_the_readme_is_short_and_names_every_notebook():
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 120
    assert set(re.findall(r"^\| \[(\w+)\]\(notebooks/", text, re.MULTILINE)) == set(runs.NOTEBOOKS)


def test_the_pages_that_are_made_are_up_to_date():
    assert parameters.PAGE.read_text(encoding="utf-8") == parameters.page(), "run: python -m docs.parameters"
    stored = figures.PAGE.read_text(encoding="utf-8")
    assert figures.written(stored) == stored, "run: python -m docs.figures"
    assert figures.written(stored.replace("| 0.97 ", "| 0.96 ")) == stored


def test_public_scores_are_possible_and_leaked_ones_have_no_name():
    table = pd.read_csv(ROOT / "data" / "public_scores.csv")
    assert set(table["verdict"]) <= {"clean", "leaked", "not comparable"}
    assert table.loc[table["verdict"] == "leaked", "address"].isna().all()
    assert table.loc[table["verdict"] == "clean", "address"].notna().all()
    for row in table.dropna(subset="n").itertuples():
        digits = len(f"{row.accuracy:g}") - 2
        assert (round(row.k / row.n, digits) == row.accuracy) == (row.feasible == "yes"), row.report
        interval = proportion_confint(row.k, row.n, method="wilson")
        assert (row.low, row.high) == tuple(round(float(end), 2) for end in interval), row.report


def colab(what, folder):
    done = subprocess.run([sys.executable, ROOT / ".github" / "colab.py", what, folder], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout.split("\n")[:-1]


def test_colabs_list_becomes_requirements(tmp_path):
    (tmp_path / "os-info.txt").write_text("# made by hand\nUbuntu 22.04.5 LTS\nPython 3.13.3\nR version 4.5.1\n")
    (tmp_path / "pip-freeze.txt").write_text(
        "# $ pip freeze\nabsl-py==2.0.0\ngoogle-colab @ file:///x.tar.gz\npillow==11.3.0\ntensorflow==2.20.0\ntorch==2.9.0+cu1\n"
    )
    assert sorted(colab("packages", tmp_path)) == ["pillow==11.3.0", "tensorflow==2.20.0"]
    assert colab("constraints", tmp_path) == ["absl-py==2.0.0", "pillow==11.3.0", "tensorflow==2.20.0"]
    assert colab("python", tmp_path) == ["3.13"]
    assert "Python 3.13, TensorFlow 2.20.0" in json.loads(colab("badge", tmp_path)[0])["message"]


PINNED = f"matplotlib=={matplotlib.__version__}\n" in (ROOT / "requirements.txt").read_text()


@pytest.mark.skipif(not PINNED, reason="another matplotlib than the stored pictures were drawn with")
@pytest.mark.parametrize("draw", figures.DRAWN, ids=lambda draw: draw.__name__)
def test_a_stored_picture_is_what_its_code_draws(draw):
    stored = Image.open(figures.PICTURES / f"{draw.__name__}.png").convert("L")
    drawn = Image.open(io.BytesIO(figures.picture(draw))).convert("L")
    assert stored.size == drawn.size, "run: python -m docs.figures"
    difference = np.abs(np.asarray(stored, float) - np.asarray(drawn, float)).mean()
    assert difference < 0.5, "run: python -m docs.figures"


def test_a_runs_numbers_become_pictures(tmp_path, monkeypatch):
    run, results = tmp_path / "run", tmp_path / "results"
    models = {}
    for name, right in (("colours_kept", 0.8), ("colours_exchanged", 0.6)):
        (run / name).mkdir(parents=True)
        (run / name / "run.json").write_text(json.dumps({"parameters": {"SEED": 3}}))
        (run / name / "history.csv").write_text(
            "epoch,accuracy,loss,val_accuracy,val_loss,seconds\n1,0.5,1.0,0.4,1.1,2\n2,0.6,0.9,0.5,1.0,2\n"
        )
        (run / name / "predictions.csv").write_text(
            "image_id,split,label,group,p_melanoma,p_nevus\na,test,nevus,1,0.2,0.8\nb,test,melanoma,2,0.4,0.6\nc,val,nevus,3,0.1,0.9\n"
        )
        models[name] = {"val": {"accuracy": right}, "test": {"audited": {"accuracy": 0.5}}}
        models[name]["colours"] = {"own": right, "same_collection": right, "other_collection": 0.2}
        models[name]["external"] = {"recall": {"nevus": 0.1, "melanoma": 0.3, "wart": 1}, "auc_melanoma_nevus": 0.7}
    (run / "report").mkdir()
    (run / "report" / "metrics.json").write_text(json.dumps({"models": models}))
    results.mkdir()
    monkeypatch.setattr(figures, "RESULTS", results)
    figures.take([run, run])
    assert pd.read_csv(results / "confusion.csv").to_numpy().tolist() == [["melanoma", 0, 1], ["nevus", 0, 1]]
    bins = pd.read_csv(results / "reliability.csv")
    assert bins["images"].tolist() == [1, 1] and bins["correct"].tolist() == [0, 1]
    rows = pd.read_csv(results / "reveal.csv")
    assert rows["network"].tolist() == ["colours_kept", "colours_exchanged"] * 2 and (rows["seed"] == 3).all()
    assert rows.loc[0, ["other nevus", "other melanoma", "Test"]].tolist() == [0.1, 0.3, 0.5]
    for draw in (figures.reveal, figures.curves, figures.confusion, figures.reliability):
        assert figures.picture(draw).startswith(b"\x89PNG")
    assert not any("image_id" in file.read_text() for file in results.iterdir())


def test_every_click_on_the_courses_own_addresses_leads_to_a_file():
    """Badges (Colab, Kaggle, Binder) and links to GitHub, of README, the notebooks and the copies."""
    of = build.settings()
    pages = [ROOT / "README.md", *sorted(runs.FOLDER.glob("*.ipynb")), *sorted(runs.FOLDER.glob("exercises/*.ipynb"))]
    for page in pages:
        text = page.read_text(encoding="utf-8")
        paths = re.findall(rf"{of['repository']}/blob/{of['branch']}/([^)#\s\"\\]+)", text)
        paths += re.findall(rf"{of['repository']}/{of['branch']}\?labpath=([^)\s\"\\]+)", text)
        assert len(paths) >= (5 if page.suffix == ".ipynb" else 8), page
        for path in map(unquote, paths):
            assert (ROOT / path).is_file(), f"{page.name} leads to {path}, which is not there"


def test_a_learner_walks_from_the_readme_through_every_notebook():
    """README's badge, the copy of 01, its own badge, its solutions, the next notebook; by a local stand-in of Colab."""
    of = build.settings()
    github = f"github.com/{of['repository']}/blob/{of['branch']}"
    colab = f"https://colab.research.google.com/{github.replace('.com', '')}"
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| \[(\w+)\]\(notebooks/\w+\.ipynb\) .* \| (\d+) \| ", readme, re.MULTILINE))
    place = re.search(rf"open \[01_eda\]\({colab}/([^)]+)\)", readme)[1]
    for name, after in zip(runs.NOTEBOOKS, [*runs.NOTEBOOKS[1:], ""]):
        assert place == f"notebooks/exercises/{name}.ipynb" and (ROOT / place).is_file()
        text = [cell["source"] for cell in build.exercises(build.render(name)).cells]
        assert f"({colab}/{place})" in text[0]  # its own badge opens itself
        assert f"({table[name]} minutes)" in re.sub(r"In ([\w-]+) minutes", _minutes, text[0]), name
        assert f"[the notebook in full](https://{github}/notebooks/{name}.ipynb)" in text[-1]
        if not after:
            assert re.search(rf"https://{github}/docs/teaching.md#project\)", text[-1])
            break
        assert f"Next: [{after}]({after}.ipynb)" in text[-1]  # beside it, in JupyterLab and on the site
        place = re.search(rf"\[here\]\({colab}/([^)]+)\)", text[-1])[1]


def _minutes(words):
    said = {"fifteen": 15, "twenty": 20, "twenty-five": 25}
    return f"({said[words[1]]} minutes)"
