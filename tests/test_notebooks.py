"""The notebooks are what their sources say, have the promised form, and run: as stored, otherwise, and alone."""

import json
import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec

import nbformat
import pytest
from conftest import sources

from helpers import __main__, manifest, runs
from helpers.batch import build
from helpers.data import datasets
from helpers.training import backbones

NETWORKS = {"baseline", "colours_kept", "colours_exchanged"}  # and transfer, where there are weights
EVERY = pytest.mark.parametrize("name", runs.NOTEBOOKS)


def stored(name):
    return nbformat.read(runs.FOLDER / f"{name}.ipynb", as_version=4)


def code(name):
    return [cell for cell in stored(name).cells if cell["cell_type"] == "code"]


def tagged(cell, tag):
    return tag in cell["metadata"].get("tags", [])


@EVERY
def test_the_notebook_and_its_learners_copy_equal_the_source(name):
    assert build.differences(name) == []


@EVERY
def test_no_stored_figure_is_older_than_the_code_that_draws_it(name):
    assert stored(name).metadata["drawn_by"] == build.drawing_code(stored(name)), "run: make notebooks"


@EVERY
def test_the_badges_open_the_copy_and_the_full_notebook_is_one_click_further(name):
    readme = (runs.FOLDER.parent / "README.md").read_text()
    opening = stored(name).cells[0]["source"]
    colab, full = (re.search(rf"\((https://{place}\S+)\)", opening)[1] for place in ("colab", "github.com"))
    assert colab in readme and f"](notebooks/{name}.ipynb)" in readme
    assert colab.endswith(f"/notebooks/exercises/{name}.ipynb") and full.endswith(f"/notebooks/{name}.ipynb")
    copy = nbformat.read(runs.FOLDER / "exercises" / f"{name}.ipynb", as_version=4)
    assert copy.cells[0]["source"] == opening


def test_one_name_means_the_same_in_every_notebook():
    known = {}
    for notebook in runs.NOTEBOOKS:
        text = (runs.FOLDER / "src" / f"{notebook}.py").read_text()
        found = re.findall(r"^(.*)\n(([A-Z]\w*) = .*# @param.*)$", text, re.MULTILINE)
        names = [name for *_, name in found]
        assert sorted(names) == sorted(runs.declared(notebook)), f"a line of {notebook} is not read as a parameter"
        for meaning, line, name in found:
            assert known.setdefault(name, (meaning, line)) == (meaning, line), notebook
            assert len(meaning) <= 100, f"{name}: JupyterLab cuts it on a screen of 1,280 pixels"


@EVERY
def test_no_parameter_is_used_before_it_is_checked(name):
    before = (runs.FOLDER / "src" / f"{name}.py").read_text().partition("runs.start(")[0]
    code = re.sub(r"^#.*", "", re.split(r"# @param.*\n", before)[-1], flags=re.MULTILINE)
    assert not {*re.findall(r"[A-Z]\w+", code)} & {*runs.declared(name)}


@EVERY
def test_a_cell_that_trains_can_be_run_again_after_an_interrupt(name):
    for source in sources(name):
        if "callbacks.upkeep(" in source:
            assert "callbacks.begin(" in source  # which brings the network back to the last epoch that ended


@EVERY
def test_opening_and_close(name):
    cells = stored(name).cells
    opening = cells[0]["source"]
    assert re.match(r"# \d · .+\n\n\*\*.+\*\*\n\n\[!\[Open in Colab\]\(https://colab", opening, flags=re.DOTALL)
    assert f"/notebooks/{name}.ipynb)" in opening and "{{" not in json.dumps(cells)
    assert cells[1]["source"].startswith("You will\n\n- **")
    first = code(name)
    assert tagged(first[0], "set-up") and tagged(first[1], "parameters") and "import" in first[2]["source"]
    close = [number for number, cell in enumerate(cells) if cell["source"].startswith("## What you saw\n\n- **")]
    assert len(close) == 1 and "\n## Exercises" in "\n".join(cell["source"] for cell in cells[close[0] :])
    promised, seen = (re.findall(r"^- \*\*(\w+)", cells[place]["source"], re.MULTILINE) for place in (1, close[0]))
    assert [word.lower() for word in promised] == [word.lower() for word in seen]


@EVERY
def test_a_collapsed_cells_title_is_seen_whole_in_a_small_window(name):
    titles = [cell["source"].splitlines()[0] for cell in build.render(name).cells if cell["source"][:8] == "# @title"]
    assert len(titles) == 4 and max(map(len, titles)) <= 105


@EVERY
def test_no_number_in_a_paragraph_begins_a_list(name):
    for cell in build.render(name).cells:
        for paragraph in re.split(r"\n\s*\n", cell["source"] if cell["cell_type"] == "markdown" else ""):
            first, *others = (bool(re.match(r"\d+\. ", line)) for line in paragraph.strip().split("\n"))
            assert first or not any(others), paragraph


@EVERY
def test_three_exercises_each_with_its_solution(name):
    cells = stored(name).cells
    places = [number for number, cell in enumerate(cells) if cell["source"].startswith("### Exercise ")]
    assert [cells[place]["source"].splitlines()[0] for place in places] == [f"### Exercise {n}" for n in (1, 2, 3)]
    for number, place in enumerate(places, 1):
        assert cells[place + 1]["source"].startswith(f"# @title Solution {number}\n")
        assert tagged(cells[place + 1], "solution")
    assert sum(tagged(cell, "solution") for cell in cells) == 3


@EVERY
def test_form(name):
    assert stored(name)["metadata"]["kernelspec"]["name"] == "python3"
    assert (runs.FOLDER / f"{name}.ipynb").stat().st_size < 2_000_000
    for cell in code(name):
        assert len(cell["source"].splitlines()) <= 20 or tagged(cell, "parameters"), cell["id"]
        assert cell["execution_count"], cell["id"]
        assert not any(output["output_type"] == "error" for output in cell["outputs"]), cell["id"]
        said = json.dumps(cell["outputs"])
        assert not re.search(r"/tmp/|/home/|/root/|/work/|/Users/|object at 0x", said), cell["id"]
    text = "\n".join(cell["source"] for cell in code(name))
    assert text.count("globals()") == 1 and not re.search(r"helpers\.batch|from helpers import .*\bbatch\b", text)


@EVERY
def test_every_figure_names_the_sample_as_synthetic(name):
    calls = [cell for cell in code(name) if re.search(r"\b\w*figures\w*\.\w+\(", cell["source"])]
    assert calls
    for cell in calls:
        assert re.search(r"\bSYNTHETIC\b|synthetic=False", cell["source"]), cell["id"]


def test_the_stored_outputs_come_back(tmp_path, sample_root):
    """Run every notebook as stored, with nbval: no cell fails, and the cells marked for it give what is stored."""
    folder = build.copy_course(tmp_path / "course")
    progress = folder / "helpers" / "messages.py"  # of which a slow machine shows more
    progress.write_text(progress.read_text().replace("time.monotonic(), 3\n", "time.monotonic(), float('inf')\n"))
    assert "inf" in progress.read_text()
    marked = [cell for name in runs.NOTEBOOKS for cell in code(name) if tagged(cell, "nbval-check-output")]
    assert sum(bool(cell["outputs"]) for cell in marked) >= 2 * len(runs.NOTEBOOKS)
    options = [
        "--nbval-lax",
        "--nbval-cell-timeout=900",
        "--nbval-kernel-startup-timeout=300",
        "-q",
        "-p",
        "no:cacheprovider",
    ]
    files = [f"notebooks/{name}.ipynb" for name in runs.NOTEBOOKS]
    if not find_spec(backbones.PACKAGE):  # without weights, 06 ends with a sentence
        files = [file for file in files if "06_" not in file]
    run = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *files],
        env=os.environ | {"ISIC9_DIR": str(folder / "data" / "sample")},
        cwd=folder,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout[-3000:]


SHORT = {"EPOCHS": 1, "IMAGE_SIZE": 24}
SHORT_WITH_06 = SHORT | {"TRANSFER_SIZE": 32, "FEATURE_VIEWS": 1, "FINE_TUNE_EPOCHS": 1}


def run(*arguments, **values):
    """Run the command line with parameters of notebooks; return its exit status."""
    given = [text for name, value in values.items() for text in ("-p", name, str(value))]
    return __main__.main(["run", *map(str, arguments), *given])


@pytest.fixture
def images(tmp_path):
    """The sample or, where ``ISIC9_DIR`` names real images, their Test and a fifth of their Train.

    It is the fifth whose numbers end in 0 or 5, as a picture that was filed twice has one number.
    """
    if not (real := os.environ.get("ISIC9_DIR")):
        return "sample"
    for folder in datasets.find(real).root.glob("T*/*"):
        place = tmp_path / "real" / folder.parent.name / folder.name
        place.mkdir(parents=True)
        for file in folder.glob("*" if folder.parent.name == "Test" else "ISIC_??????[05]*"):
            shutil.copy(file, place)
    return tmp_path / "real"


def test_a_short_course_with_other_parameters_in_an_empty_folder(tmp_path, images, capsys):
    """On real images where there are some, else on the sample, which the stored notebooks run on, too."""
    out = tmp_path / "out"
    other = SHORT_WITH_06 | {"IMAGE_SIZE": 32, "SEED": 3, "MIN_CLASS_SIZE": 2, "TTA": False}
    assert run("--data-dir", images, "--out-dir", out, **other) == 0
    metrics = json.loads((out / "report" / "metrics.json").read_text())
    data = metrics["data"]
    assert data["synthetic"] == (images == "sample") and data["n_test"] > 60
    assert len(data["classes"]) == (9 if images == "sample" else 8)  # of a real class every label is contradicted
    assert set(metrics["models"]) - {"transfer"} == NETWORKS
    for name, model in ((name, metrics["models"][name]) for name in NETWORKS):
        assert model["epochs_run"] == 1 and set(model["test"]) == {"published", "audited"}
        assert {"n", "accuracy", "balanced_accuracy", "macro_f1"} <= set(model["test"]["published"])
        assert model["test"]["published"]["n"] > model["test"]["audited"]["n"] > 0
        assert model["test"]["published"]["n"] == 118 or images == "sample"
        assert json.loads((out / name / "run.json").read_text())["parameters"]["SEED"] == 3
    assert sorted(file.stem for file in (out / "notebooks").iterdir()) == runs.NOTEBOOKS
    assert "colours exchanged" in capsys.readouterr().out


def test_notebooks_alone_make_what_they_need(tmp_path, sample_root):
    """On a table of labels with small classes where ``HAM_DIR`` names one, else on class folders alone."""
    images, out = os.environ.get("HAM_DIR"), tmp_path / "out"
    names = "04_dropout_augmented_cnn", "05_evaluation", "06_transfer_learning"
    other = SHORT_WITH_06 | {"EXTERNAL_DIR": sample_root / "Test"}
    assert run(*names, "--data-dir", images or sample_root / "Train", "--out-dir", out, **other) == 0
    metrics = json.loads((out / "report" / "metrics.json").read_text())
    data, scored = metrics["data"], metrics["models"]
    assert data["labels"] == "audited" and data["n_test"] > 10
    assert data["classes"] == ["melanoma", "nevus"] or not images  # the others are too small
    assert set(scored) - {"transfer"} == NETWORKS and all(each["external"]["n"] > 20 for each in scored.values())
    record = json.loads((out / "colours_kept" / "run.json").read_text())
    assert record["parameters"]["EPOCHS"] == 1 and record["parameters"]["IMAGE_SIZE"] == 24
    assert sorted(file.stem[:2] for file in (out / "notebooks").iterdir()) == ["01", "03", "04", "05", "06"]


def test_class_folders_alone_are_divided_with_their_published_labels(tmp_path, sample_root):
    out, images = tmp_path / "out", sample_root / "Train"
    assert run("01_eda", "--data-dir", images, "--out-dir", out, LABELS="published") == 0
    used = manifest.active(manifest.read(out / "manifest.csv", images))
    assert set(used["split"]) == {"train", "val", "test"} and (used["label"] == used["published_label"]).all()
    assert used["label"].nunique() == 9
