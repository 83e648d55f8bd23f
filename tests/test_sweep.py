"""A sweep is checked whole before it starts, loses only what is in flight, and makes one table of all its runs."""

import json
import os
from pathlib import Path

import pandas as pd
import pytest

from helpers import course, sweep, sweep_file, sweep_jobs, sweep_report

GOOD = """notebooks: [03_baseline_cnn]
parameters:
  DATA_DIR: sample
  EPOCHS: 2
grid:
  LEARNING_RATE: [1e-3, 0.003]
seeds: [0, 1]
"""


@pytest.fixture
def write(tmp_path):
    """Return a function that writes the text of a sweep to a file and returns its path."""
    def write(text=GOOD):
        (tmp_path / "some.yml").write_text(text)
        return tmp_path / "some.yml"

    return write


@pytest.mark.parametrize("old, new, words", [
    ("03_baseline_cnn", "06_magic", "line 1: There is no notebook '06_magic'.*01_eda"),
    ("EPOCHS", "EPOHCS", "line 4: .*no parameter 'EPOHCS'.*EPOCHS"),
    ("EPOCHS: 2", "EPOCHS: two", "line 4: EPOCHS is 'two', but it takes a int"),
    ("EPOCHS: 2", "EPOCHS:", "line 4: EPOCHS is None"),
    ("EPOCHS: 2", "OUT_DIR: here", "line 4: OUT_DIR .*--out-dir"),
    ("EPOCHS: 2", "LABELS: auditted", "line 4: LABELS is 'auditted'.*published"),
    ("EPOCHS: 2", "SEED: 3", "line 7: SEED is given twice"),
    ("EPOCHS: 2", "EPOCHS: 2\n  EPOCHS: 3", "line 5: 'EPOCHS' stands here for the second time"),
    ("[1e-3, 0.003]", "0.1", "line 6: LEARNING_RATE takes a list"),
    ("[1e-3, 0.003]", "[0.1, 1e-1]", "line 6: LEARNING_RATE has the value 0.1 twice"),
    ("[1e-3, 0.003]", "[0.1, [1]]", "line 6: LEARNING_RATE is .1., but it takes one number"),
    ("seeds: [0, 1]", "one_at_a_time: 3", "line 7: one_at_a_time takes true"),
    ("seeds: [0, 1]", "seeds: 5", "line 7: seeds takes a list"),
    ("seeds: [0, 1]", "seed: [5]", "line 7: seed is not one of notebooks, parameters, grid, one_at_a_time, seeds, record"),
    ("seeds: [0, 1]", "record: [baseline.acuracy]", "line 7: 'baseline.acuracy' is not .*baseline.val_accuracy"),
    ("seeds: [0, 1]", "record:\n- baseline.loss\n- baseline.val.accuracy", "line 9: .*needs 05_evaluation"),
    ("notebooks: [03_baseline_cnn]", "", "names no notebooks"),
    ("seeds: [0, 1]", "seeds: [0, 1", "cannot be read as YAML"),
    ("EPOCHS: 2", "EPOCHS: &a 2\n  BATCH_SIZE: *a", "alias"),
    ("EPOCHS: 2", "EPOCHS: !!python/object/apply:os.getcwd []", "cannot be read as YAML"),
])
def test_a_wrong_file_is_refused_with_its_line_and_what_is_allowed(write, old, new, words):
    with pytest.raises(course.CourseError, match=words):
        sweep_file.read(write(GOOD.replace(old, new)))


def test_values_take_the_types_of_the_notebooks_parameters(write):
    spec = sweep_file.read(write())
    assert spec["parameters"] == {"DATA_DIR": "sample", "EPOCHS": 2}
    assert spec["grid"] == {"LEARNING_RATE": [0.001, 0.003], "SEED": [0, 1]}
    assert spec["record"] == ["baseline.val_accuracy"]


def plan(tmp_path, notebooks, one=False, **grid):
    return sweep.plan({"notebooks": notebooks, "parameters": {"LABELS": "audited"}, "grid": grid, "one_at_a_time": one}, tmp_path / "out")


def test_every_combination_has_a_folder_named_by_its_parameters(tmp_path):
    runs = plan(tmp_path, ["03_baseline_cnn"], LEARNING_RATE=[0.1, 0.2], SEED=[0, 1])[-1]
    assert [job["name"] for job in runs] == ["LEARNING_RATE=0.1,SEED=0", "LEARNING_RATE=0.1,SEED=1",
                                             "LEARNING_RATE=0.2,SEED=0", "LEARNING_RATE=0.2,SEED=1"]
    assert runs[1]["values"] == {"LABELS": "audited", "LEARNING_RATE": 0.1, "SEED": 1}
    assert runs[1]["folder"] == str(tmp_path / "out" / "LEARNING_RATE=0.1,SEED=1")
    assert [job["name"] for job in plan(tmp_path, ["03_baseline_cnn"])[-1]] == ["run"]
    with pytest.raises(course.CourseError, match="share the folder 'METADATA=a-b'"):
        plan(tmp_path, ["03_baseline_cnn"], METADATA=["a b", "a-b"])


def test_an_ablation_changes_one_parameter_at_a_time(tmp_path):
    runs = plan(tmp_path, ["03_baseline_cnn"], True, LEARNING_RATE=[0.1, 0.2], BATCH_SIZE=[8, 16, 32], SEED=[0, 1])[-1]
    assert sorted(job["name"] for job in runs if job["values"]["SEED"] == 1) == [
        "BATCH_SIZE=16,SEED=1", "BATCH_SIZE=32,SEED=1", "LEARNING_RATE=0.2,SEED=1", "SEED=1"]
    assert len(runs) == 8 and runs[0]["values"] == {"LABELS": "audited", "LEARNING_RATE": 0.1, "BATCH_SIZE": 8, "SEED": 0}


def test_what_runs_share_is_made_once(tmp_path):
    first, second, runs = plan(tmp_path, ["04_dropout_augmented_cnn"], SEED=[0, 1], DROPOUT=[0.1, 0.2, 0.3],
                               AUGMENTATION=["none", "both"])
    assert len(runs) == 12 and all(job["notebooks"] == ["04_dropout_augmented_cnn"] for job in runs)
    assert [job["notebooks"] for job in first] == [["01_eda"]] * 2
    assert sorted(job["notebooks"][0] for job in second) == ["02_augmentation"] * 2 + ["03_baseline_cnn"] * 2
    taken = [[Path(folder).name.split("-")[0] for folder in job["takes"]] for job in runs[:2]]
    assert taken == [["01_eda", "03_baseline_cnn"], ["01_eda", "02_augmentation", "03_baseline_cnn"]]
    assert all(job["takes"] in ([first[0]["folder"]], [first[1]["folder"]]) for job in second)


def test_what_differs_upstream_is_not_shared(tmp_path):
    first, second, runs = plan(tmp_path, ["01_eda", "02_augmentation", "03_baseline_cnn"], VAL_FRACTION=[0.1, 0.3])
    assert len(first) == len(second) == len({tuple(job["takes"]) for job in runs}) == 2
    assert [job["notebooks"] for job in runs] == [["03_baseline_cnn"]] * 2


def finish(job, accuracy=0.5):
    """Leave in a job's folder what a finished one leaves; return its outcome."""
    record = {"notebooks": job["notebooks"], "values": job["values"], "seconds": 60.0, "images": "a set (synthetic)",
              "found": {"baseline": {"val_accuracy": accuracy}}}
    Path(job["folder"]).mkdir(parents=True)
    (Path(job["folder"]) / "sweep.json").write_text(json.dumps(record))
    return {"status": "finished", **record}


SPEC = {"notebooks": ["03_baseline_cnn"], "parameters": {}, "one_at_a_time": False, "grid": {"BATCH_SIZE": [8, 16], "SEED": [0, 1]},
        "record": ["baseline.val_accuracy"]}


def test_only_what_is_missing_is_run_after_a_stop(tmp_path, capsys):
    stages, asked = sweep.plan(SPEC, tmp_path), []

    def perform(jobs, stop=99):
        for job in jobs:
            if len(asked) == stop:
                raise KeyboardInterrupt
            asked.append(job["name"])
            yield job, finish(job)

    with pytest.raises(KeyboardInterrupt):
        sweep.run(SPEC, stages, tmp_path, lambda jobs: perform(jobs, stop=5))  # two of 01, three runs
    assert len(pd.read_csv(tmp_path / "results.csv")) == 3 and (tmp_path / "results.html").exists()
    assert "4 runs, 3 finished, 1 to do (about 0.5 min with 2 at once)" in sweep.estimate(stages, 2)
    asked.clear()
    table, absent = sweep.run(SPEC, stages, tmp_path, perform)
    assert asked == ["BATCH_SIZE=16,SEED=1"] and absent == ""
    assert table["status"].tolist() == ["finished"] * 4 and len(pd.read_csv(tmp_path / "results.csv")) == 4
    assert "4/4  BATCH_SIZE=16,SEED=1  finished in 60 s  baseline.val_accuracy 0.500" in capsys.readouterr().out
    sweep.run({**SPEC, "record": ["baseline.val_loss"]}, stages, tmp_path, perform)
    assert asked == ["BATCH_SIZE=16,SEED=1"] and "baseline.val_loss" in pd.read_csv(tmp_path / "results.csv")


def test_a_failed_run_stands_in_the_table_and_is_tried_again(tmp_path, capsys):
    stages, poison = sweep.plan(SPEC, tmp_path), {"BATCH_SIZE=8,SEED=1"}

    def perform(jobs):
        for job in jobs:
            failed = {"status": "failed", "error": "in cell 5:\nValueError: <poison>"}
            yield job, failed if job["name"] in poison else finish(job)

    table, _ = sweep.run(SPEC, stages, tmp_path, perform)
    assert table["status"].tolist() == ["finished", "failed", "finished", "finished"]
    assert table["run"].tolist()[1] in poison and "ValueError: <poison>" in table["error"][1]
    assert "BATCH_SIZE=8,SEED=1  FAILED: ValueError: <poison>" in capsys.readouterr().out
    assert "ValueError: &lt;poison&gt;" in (tmp_path / "results.html").read_text()
    poison.clear()
    table, _ = sweep.run(SPEC, stages, tmp_path, perform)
    assert table["status"].tolist() == ["finished"] * 4


def test_a_finished_run_with_other_parameters_is_not_taken_for_this_one(tmp_path):
    for job in sweep.plan(SPEC, tmp_path)[-1]:
        finish(job)
    other = sweep.plan({**SPEC, "parameters": {"EPOCHS": 3}}, tmp_path)
    with pytest.raises(course.CourseError, match="with EPOCHS 'not given', but this sweep says 3.*--out-dir"):
        sweep.estimate(other, 1)


def test_the_spread_is_over_seeds_and_each_number_has_a_plot(tmp_path):
    runs, scores = sweep.plan(SPEC, tmp_path)[-1], [0.5, 0.7, 0.2, 0.2]
    outcomes = {job["name"]: finish(job, score) for job, score in zip(runs, scores)}
    table = sweep_report.table(runs, outcomes, SPEC["record"])
    spread = sweep_report.spread(table, SPEC["record"])["baseline.val_accuracy"]
    assert spread.index.tolist() == ["BATCH_SIZE=8", "BATCH_SIZE=16"]
    assert spread["mean"].tolist() == pytest.approx([0.6, 0.2]) and spread["n"].tolist() == [2, 2]
    assert spread["std"].tolist() == pytest.approx([0.1 * 2 ** 0.5, 0])
    sweep_report.write_html(table, SPEC, tmp_path)
    page = (tmp_path / "results.html").read_text()
    assert page.count("data:image/png;base64,") == 1 and "width=device-width" in page and "a set (synthetic)" in page


def test_what_no_run_has_is_named_with_what_there_is(tmp_path):
    runs = sweep.plan(SPEC, tmp_path)[-1]
    outcomes, record = {runs[0]["name"]: finish(runs[0])}, ["baseline.test.acuracy"]
    table = sweep_report.table(runs, outcomes, record)
    assert "No run has baseline.test.acuracy" in sweep_report.absent(table, record, outcomes)
    assert "there are: baseline.val_accuracy" in sweep_report.absent(table, record, outcomes)


def test_two_sweeps_do_not_work_in_one_folder(tmp_path, write, capsys, monkeypatch):
    monkeypatch.setattr(sweep, "run", lambda *_: (pd.DataFrame({"status": []}), ""))
    arguments = ["sweep", str(write()), "--out-dir", str(tmp_path / "out")]
    with sweep_jobs.sole_use(tmp_path / "out"):
        assert course.main(arguments) == 1
    error = capsys.readouterr().err
    assert "Another sweep works in" in error and f"process {os.getpid()} on" in error
    assert course.main(arguments) == 0


def test_the_command_line_says_what_it_would_do_and_refuses_in_one_line(tmp_path, write, capsys, monkeypatch):
    out = ["--out-dir", str(tmp_path / "out")]
    assert course.main(["sweep", str(write()), *out, "--dry-run"]) == 0
    assert "4 runs, 0 finished, 4 to do (time known once one has ended)" in capsys.readouterr().out
    assert course.main(["sweep", str(tmp_path / "none.yml"), *out]) == 1
    assert course.main(["sweep", str(write(GOOD.replace("sample", "/nowhere"))), *out]) == 1
    assert not (tmp_path / "out").exists()
    monkeypatch.setitem(__import__("sys").modules, "dask", None)
    assert course.main(["sweep", str(write()), *out, "--scheduler", "tcp://127.0.0.1:1"]) == 1
    error = capsys.readouterr().err
    assert "Traceback" not in error and "none.yml cannot be read" in error and "'/nowhere'" in error
    assert "pip install 'dask[distributed]'" in error


def test_every_sweep_that_comes_with_the_course_can_be_planned(tmp_path):
    files = sorted((course.FOLDER.parent / "sweeps").glob("*.yml"))
    assert len(files) >= 3
    for file in files:
        assert len(sweep.plan(sweep_file.read(file), tmp_path)[-1]) > 1, file


def test_a_sweep_of_real_runs_one_of_them_poisoned(tmp_path, sample_root, capsys):
    text = """notebooks: [03_baseline_cnn]
parameters: {DATA_DIR: sample, EPOCHS: 1, IMAGE_SIZE: 24}
grid: {BATCH_SIZE: [64, 0]}
"""
    (tmp_path / "small.yml").write_text(text)
    assert course.main(["sweep", str(tmp_path / "small.yml"), "--out-dir", str(tmp_path / "out"), "--jobs", "2"]) == 1
    table = pd.read_csv(tmp_path / "out" / "results.csv").set_index("BATCH_SIZE")
    assert table["status"].to_dict() == {64: "finished", 0: "failed"}
    assert 0 < table.loc[64, "baseline.val_accuracy"] < 1 and table.loc[64, "images"] == "embedded sample (synthetic)"
    assert table.loc[0, "error"].startswith("03_baseline_cnn failed in cell ")
    assert (tmp_path / "out" / "BATCH_SIZE=0" / "notebooks" / "03_baseline_cnn.ipynb").exists()
    assert len(list((tmp_path / "out" / "shared").iterdir())) == 1
    assert "1 runs finished, 1 failed" in capsys.readouterr().out
