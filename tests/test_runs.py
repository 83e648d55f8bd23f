"""A run folder keeps its parameters, refuses what cannot work before work starts, and makes again only what it must."""

import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import manifest, parameters, processes, runs
from helpers.data import datasets


@pytest.fixture
def asked(monkeypatch):
    """What is to be run apart, as (notebook, parameters), in place of running it."""
    calls = []
    monkeypatch.setattr(processes, "apart", lambda names, values: calls.append((names[0], values)))
    return calls


@pytest.fixture
def begin(image_set, tmp_path, small_manifest):
    """Return a function that starts a notebook on ``image_set`` in one run folder, with parameters of its own."""

    def start(notebook, **values):
        defaults = {name: parameter.default for name, parameter in runs.declared(notebook).items()}
        return runs.start(notebook, defaults | {"DATA_DIR": image_set, "OUT_DIR": tmp_path / "out"} | values)

    return start


@pytest.fixture
def done(begin, image_set, small_manifest):
    """Return a function that pretends that notebooks have run, notebook 01 with its manifest."""

    def finish(notebook, **values):
        run = begin(notebook, **values)
        if notebook == "01_eda":
            manifest.write(small_manifest, run.folder / "manifest.csv", image_set)
        else:
            run.manifest()
        for file in runs.LEFT[notebook]:
            (run.folder / file).parent.mkdir(exist_ok=True)
            (run.folder / file).touch()
            if file.endswith("run.json"):
                (run.folder / file).write_text(json.dumps({"parameters": {}, "manifest": run.made_from}))
        run.done(GUESS=np.float64(0.25))
        return run

    return finish


@pytest.mark.parametrize(
    "name, value, words",
    [
        ("EPOCHS", -1, r"EPOCHS is -1, but it takes a whole number from 0 to 10000"),
        ("EPOCHS", "five", "EPOCHS is 'five', but it takes a whole number from 0 to 10000"),
        ("EPOCHS", 2.5, "EPOCHS is 2.5"),
        ("EPOCHS", True, "EPOCHS is True"),
        ("EPOCHS", None, "EPOCHS is None"),
        ("BATCH_SIZE", 0, "BATCH_SIZE is 0"),
        ("IMAGE_SIZE", 4, "from 16 to 1024"),
        ("SEED", -1, "SEED is -1"),
        ("SEED", 99999999999, "SEED is 99999999999"),
        ("LEARNING_RATE", 0, "LEARNING_RATE is 0"),
        ("LEARNING_RATE", float("nan"), "LEARNING_RATE is nan"),
        ("LEARNING_RATE", "fast", "LEARNING_RATE is 'fast'"),
        ("PATIENCE", -1, "PATIENCE is -1"),
        ("MIN_CLASS_SIZE", -5, "MIN_CLASS_SIZE is -5"),
        ("LABELS", "auditted", r"LABELS is 'auditted', but it takes one of \['audited', 'published'\]"),
        ("KEEP_ASPECT", "maybe", "KEEP_ASPECT is 'maybe', but it takes true or false"),
    ],
)
def test_a_wrong_value_is_refused_in_one_line(name, value, words):
    with pytest.raises(runs.RunError, match=words):
        runs.checked("03_baseline_cnn", {name: value})


@pytest.mark.parametrize(
    "name, value, typed",
    [
        ("EPOCHS", "5", 5),
        ("EPOCHS", np.int64(5), 5),
        ("LEARNING_RATE", 1, 1.0),
        ("LEARNING_RATE", "1e-3", 0.001),
        ("KEEP_ASPECT", "true", True),
        ("DATA_DIR", pathlib.Path("a/b"), str(pathlib.Path("a/b"))),
        ("LABELS", "published", "published"),
    ],
)
def test_a_right_value_gets_its_type(name, value, typed):
    result = runs.checked("03_baseline_cnn", {name: value})[name]
    assert result == typed and type(result) is type(typed)


def test_every_default_is_in_its_range():
    for notebook in runs.NOTEBOOKS:
        defaults = {name: parameter.default for name, parameter in runs.declared(notebook).items()}
        assert runs.checked(notebook, defaults) == defaults


@pytest.mark.parametrize(
    "folder", ["", " ", datasets.ROOT, datasets.ROOT.parent, datasets.ROOT / "notebooks" / "x", datasets.ROOT / "data"]
)
def test_no_run_folder_where_the_courses_own_files_are(folder):
    with pytest.raises(runs.RunError, match="OUT_DIR is .*runs/course"):
        runs.open_folder(folder)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(runs.RunError, match="nothing can be written there"):
        runs.open_folder(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "mine"


def test_every_spelling_of_the_folder_is_one_folder(tmp_path, monkeypatch, begin):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    folders = {begin("03_baseline_cnn", OUT_DIR=spelled).folder for spelled in ("~/x", "x", tmp_path / "x")}
    assert (folders == {tmp_path / "x"} and list(tmp_path.glob("*")) == [tmp_path / "x"]) or (tmp_path / "set").exists()
    assert not (tmp_path / "~").exists()


def test_what_is_there_and_fits_is_not_made_again(begin, done, asked):
    begin("03_baseline_cnn").need("01_eda")
    assert asked.pop()[0] == "01_eda"
    done("01_eda")
    begin("03_baseline_cnn").need("01_eda")
    assert not asked


def test_other_parameters_make_it_again_and_keep_those_that_only_it_has(begin, done, asked):
    done("01_eda", VAL_FRACTION=0.3)
    begin("03_baseline_cnn", SEED=1).need("01_eda")
    notebook, given = asked.pop()
    assert notebook == "01_eda" and (given["VAL_FRACTION"], given["SEED"]) == (0.3, 1)


def test_a_network_trained_otherwise_is_left_as_it_is(begin, done, asked):
    done("01_eda")
    done("03_baseline_cnn", IMAGE_SIZE=180)
    begin("04_dropout_augmented_cnn", IMAGE_SIZE=32).need("03_baseline_cnn")
    assert not asked


def test_another_split_trains_again_as_before(begin, done, asked, small_manifest, image_set):
    done("01_eda")
    run = done("03_baseline_cnn", IMAGE_SIZE=180)
    manifest.write(small_manifest.assign(label="nevus"), run.folder / "manifest.csv", image_set)
    begin("04_dropout_augmented_cnn", IMAGE_SIZE=32).need("03_baseline_cnn")
    assert asked.pop()[1]["IMAGE_SIZE"] == 180


def test_a_split_that_changed_while_a_network_was_trained_is_noticed(begin, done, asked, small_manifest, image_set):
    done("01_eda")
    run = begin("03_baseline_cnn")
    run.manifest()
    manifest.write(small_manifest.assign(label="nevus"), run.folder / "manifest.csv", image_set)
    run.done()
    done("03_baseline_cnn")
    (run.folder / "03_baseline_cnn.json").write_text(json.dumps({"parameters": {}, "manifest": run.made_from}))
    begin("04_dropout_augmented_cnn").need("03_baseline_cnn")
    assert asked.pop()[0] == "03_baseline_cnn"


def test_a_network_of_another_split_is_left_out(begin, done, small_manifest, image_set, capsys):
    done("01_eda")
    run = done("03_baseline_cnn")
    (run.folder / "mine").mkdir()
    (run.folder / "mine" / "predictions.csv").touch()
    table = run.manifest()
    assert list(run.networks(table)) == ["baseline", "mine"]
    for name in ("a", "colours_exchanged", "colours_kept"):
        manifest.write_text("", run.folder / name / "predictions.csv")
    assert list(run.networks(table)) == ["baseline", "colours_kept", "colours_exchanged", "a", "mine"]
    for name in ("a", "colours_exchanged", "colours_kept"):
        (run.folder / name / "predictions.csv").unlink()
    added = table.head(1).assign(parent=table["image_id"].iloc[0], image_id="added")
    assert list(run.networks(pd.concat([table, added]))) == ["baseline", "mine"]
    assert list(run.networks(table.assign(label="nevus"))) == ["mine"]
    assert capsys.readouterr().out.count("baseline is left out: it was trained on another split") == 1


def test_augmented_images_that_were_deleted_are_made_again(begin, done, asked, small_manifest, image_set):
    done("01_eda")
    run = done("02_augmentation")
    row = small_manifest[small_manifest["split"] == "train"].head(1)
    added = row.assign(parent=row["image_id"], image_id="added", path=str(run.folder / "added.jpg"))
    manifest.write(pd.concat([small_manifest, added]), run.folder / "augmented.csv", image_set)
    begin("04_dropout_augmented_cnn").need("02_augmentation")
    assert asked.pop()[0] == "02_augmentation"
    (run.folder / "added.jpg").touch()
    begin("04_dropout_augmented_cnn").need("02_augmentation")
    assert not asked


@pytest.mark.parametrize("name", ["DATA_DIR", "EXTERNAL_DIR"])
def test_no_run_folder_among_the_images(begin, image_set, tmp_path, name):
    begin("05_evaluation", OUT_DIR=tmp_path)
    for folder in (image_set, image_set / "runs" / "a"):
        with pytest.raises(runs.RunError, match="OUT_DIR is .*lies in the images' folder"):
            begin("05_evaluation", **{"DATA_DIR": tmp_path / "set"} | {name: image_set, "OUT_DIR": folder})


def test_what_was_found_is_recorded_as_found(begin, done, image_set, monkeypatch, capsys):
    monkeypatch.setenv("ISIC9_DIR", str(image_set))
    done("01_eda", DATA_DIR="")
    monkeypatch.delenv("ISIC9_DIR")
    assert begin("03_baseline_cnn", DATA_DIR="").images.root == image_set
    assert begin("01_eda", DATA_DIR="").images.root == image_set
    assert "continues with the images in" in capsys.readouterr().out


def test_a_notebook_has_one_writer_which_is_named(begin, done, tmp_path):
    done("01_eda")
    code = "import sys, pathlib; from helpers import processes as p; held = p.claim(pathlib.Path(sys.argv[1]), 'run')"
    other = [sys.executable, "-c", f"{code}; print('held', flush=True); input()", str(tmp_path)]
    with subprocess.Popen(other, cwd=datasets.ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"held\n"
        with pytest.raises(runs.RunError, match=f"run is already running in .*process {process.pid} on"):
            processes.claim(tmp_path, "run")
        process.kill()
    assert processes.claim(tmp_path, "run") is processes.claim(tmp_path, "run")


def test_an_answer_is_read_in_another_notebook(begin, done):
    done("01_eda")
    run = begin("03_baseline_cnn")
    assert (run.answer("01_eda", "GUESS", 0.5), run.answer("02_augmentation", "GUESS", 0.5)) == (0.25, 0.5)


def test_an_image_replaced_under_its_name_is_noticed(begin, done, asked, image_set):
    done("01_eda")
    Image.new("RGB", (21, 17)).save(next(image_set.rglob("*.png")))
    begin("03_baseline_cnn").need("01_eda")
    assert asked.pop()[0] == "01_eda"


@pytest.mark.parametrize("broken", ["", "{", "[1]", "\x00\x01"])
def test_a_broken_record_is_no_record(begin, done, asked, broken):
    run = done("01_eda")
    (run.folder / "01_eda.json").write_text(broken)
    begin("03_baseline_cnn").need("01_eda")
    assert asked.pop()[0] == "01_eda"


def test_a_run_folder_keeps_to_its_images(begin, done, image_set, asked):
    done("01_eda")
    run = begin("03_baseline_cnn", DATA_DIR="")
    assert pathlib.Path(run.images.root) == image_set and run.parameters["DATA_DIR"] == str(image_set)


def test_what_another_notebook_says_is_said_here(begin, instead, capsys):
    instead("echo epoch 1/2; echo It is raining. >&2; exit 1")
    with pytest.raises(runs.RunError, match="^It is raining.$"):
        begin("03_baseline_cnn").need("01_eda")
    assert capsys.readouterr().out.endswith("\n    epoch 1/2\n")


def test_the_record_says_what_was_done(done):
    run = done("01_eda", VAL_FRACTION=0.25)
    record = json.loads((run.folder / "01_eda.json").read_text())
    assert record["parameters"]["VAL_FRACTION"] == 0.25 and record["images"] == datasets.state(run.images)
    assert record["manifest"] == manifest.fingerprint(manifest.read(run.folder / "manifest.csv", ""))


def test_the_ends_of_a_range_are_known_in_any_order():
    declared = parameters.declared('# what it is\nA = 2  # @param {type:"integer", max:9, min:1}\n')
    assert (declared["A"].low, declared["A"].high) == (1, 9)
