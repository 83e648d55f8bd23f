"""The notebooks are what their sources say, have the promised form, and run: as stored, otherwise, and alone."""

import json
import os
import re
import subprocess
import sys

import nbformat
import pytest

from helpers import build, course, manifest

EVERY = pytest.mark.parametrize("name", course.NOTEBOOKS)


def stored(name):
    return nbformat.read(course.FOLDER / f"{name}.ipynb", as_version=4)


@EVERY
def test_the_notebook_equals_its_source(name):
    assert build.differences(name) == []


def test_the_readme_links_where_the_notebooks_do():
    text = (course.FOLDER.parent / "README.md").read_text()
    assert build.with_links(text) == text
    for name in course.NOTEBOOKS:
        assert f"notebooks/{name}.ipynb)" in text


def test_a_drifted_notebook_is_noticed(tmp_path, monkeypatch):
    for change in ("source", "tags", "cell_type"):
        notebook = stored("01_eda")
        cell = next(cell for cell in notebook.cells if cell["metadata"].get("tags") == ["parameters"])
        if change == "source":
            cell["source"] += "\n"
        elif change == "tags":
            cell["metadata"]["tags"] = []
        else:
            cell["cell_type"] = "raw"
        nbformat.write(notebook, tmp_path / "01_eda.ipynb")
        monkeypatch.setattr(course, "FOLDER", tmp_path)
        assert len(build.differences("01_eda")) == 1
        monkeypatch.undo()


@EVERY
def test_opening_and_close(name):
    cells = stored(name).cells
    opening = cells[0]["source"]
    assert re.match(r"# \d · .+\n\n\*\*.+\*\*\n\n\[!\[Open in Colab\]\(https://colab", opening, flags=re.DOTALL)
    assert f"/notebooks/{name}.ipynb)" in opening and "{{" not in json.dumps(cells)
    assert cells[1]["source"].startswith("You will\n\n- **")
    assert cells[2]["metadata"]["tags"] == ["set-up"] and cells[3]["metadata"]["tags"] == ["parameters"]
    assert "import" in cells[4]["source"]
    close = cells[-1]["source"]
    assert close.startswith("## What you saw\n\n- **") and "## Exercises\n\n1. " in close
    promised, seen = ([line for line in text.splitlines() if line.startswith("- **")]
                      for text in (cells[1]["source"], close))
    first = [re.match(r"- \*\*(\w+)", line)[1].lower() for line in promised]
    assert first == [re.match(r"- \*\*(\w+)", line)[1].lower() for line in seen]


@EVERY
def test_form(name):
    notebook = stored(name)
    assert notebook["metadata"]["kernelspec"]["name"] == "python3"
    assert (course.FOLDER / f"{name}.ipynb").stat().st_size < 2_000_000
    for number, cell in enumerate(notebook.cells):
        if cell["cell_type"] == "code":
            where = f"{name} cell {number}"
            assert len(cell["source"].splitlines()) <= 20, where
            assert cell["execution_count"], where
            assert not any(output["output_type"] == "error" for output in cell["outputs"]), where
            assert not re.search(r"/tmp/|/home/|/root/|object at 0x", json.dumps(cell["outputs"])), where


@EVERY
def test_every_figure_names_the_sample_as_synthetic(name):
    calls = [cell["source"] for cell in stored(name).cells if re.search(r"\bplots\w*\.\w+\(", cell["source"])]
    assert calls or name == "none"
    for source in calls:
        assert "synthetic=images.synthetic" in source or "plots.frequencies(" in source, source


def test_the_stored_outputs_come_back(tmp_path):
    """Run every notebook as stored, with nbval: no cell fails, and the cells marked for it give what is stored."""
    folder = build.copy_course(tmp_path / "course")
    marked = sum("nbval-check-output" in cell["metadata"].get("tags", []) and bool(cell["outputs"])
                 for name in course.NOTEBOOKS for cell in stored(name).cells)
    assert marked >= 15
    options = ["--nbval-lax", "--nbval-cell-timeout=900", "-q", "-p", "no:cacheprovider"]
    run = subprocess.run([sys.executable, "-m", "pytest", *options, *(f"notebooks/{name}.ipynb" for name in course.NOTEBOOKS)],
                         env=os.environ | {"ISIC9_DIR": str(folder / "data" / "sample")}, cwd=folder, capture_output=True,
                         text=True)
    assert run.returncode == 0, run.stdout[-3000:]


def test_a_course_with_other_parameters_in_an_empty_folder(tmp_path, capsys):
    given = {"EPOCHS": 1, "IMAGE_SIZE": 32, "SEED": 3, "LABELS": "published", "MIN_CLASS_SIZE": 2}
    arguments = [text for name, value in given.items() for text in ("-p", name, str(value))]
    assert course.main(["run", "--data-dir", "sample", "--out-dir", str(tmp_path / "out"), *arguments]) == 0
    metrics = json.loads((tmp_path / "out" / "report" / "metrics.json").read_text())
    data = metrics["data"]
    assert data["labels"] == "published" and data["synthetic"] and len(data["classes"]) == 9
    assert set(metrics["models"]) == {"baseline", "regularised"}
    for name, model in metrics["models"].items():
        assert model["epochs_run"] == 1 and set(model["test"]) == {"published", "audited"}
        assert {"n", "accuracy", "balanced_accuracy", "macro_f1"} <= set(model["test"]["published"])
        assert model["test"]["published"]["n"] > model["test"]["audited"]["n"] > 0
        assert json.loads((tmp_path / "out" / name / "run.json").read_text())["parameters"]["SEED"] == 3
    assert sorted(file.stem for file in (tmp_path / "out" / "notebooks").iterdir()) == course.NOTEBOOKS
    assert "regularised" in capsys.readouterr().out


def test_a_notebook_alone_makes_what_it_needs_also_from_class_folders_alone(tmp_path, sample_root):
    out = tmp_path / "out"
    arguments = ["-p", "EPOCHS", "1", "-p", "IMAGE_SIZE", "24", "-p", "AUGMENTATION", "both"]
    folders = ["--data-dir", str(sample_root / "Train"), "--out-dir", str(out)]
    assert course.main(["run", "04_dropout_augmented_cnn", *folders, *arguments]) == 0
    record = json.loads((out / "baseline" / "run.json").read_text())
    assert record["parameters"]["EPOCHS"] == 1 and record["parameters"]["IMAGE_SIZE"] == 24
    table = manifest.read(out / "augmented.csv", sample_root / "Train")
    assert set(manifest.active(table)["split"]) == {"train", "val", "test"}
    new = table[table["parent"] != ""]
    assert len(new) > 100 and set(new["split"]) == {"train"}


def test_a_short_course_on_the_real_images(tmp_path, isic9, capsys):
    arguments = ["-p", "EPOCHS", "2", "-p", "IMAGE_SIZE", "48"]
    assert course.main(["run", "--data-dir", isic9, "--out-dir", str(tmp_path / "out"), *arguments]) == 0
    metrics = json.loads((tmp_path / "out" / "report" / "metrics.json").read_text())
    assert not metrics["data"]["synthetic"] and metrics["data"]["n_test"] > 100
    assert metrics["models"]["regularised"]["test"]["published"]["n"] == 118
