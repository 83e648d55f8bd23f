"""A sweep is checked whole before it starts, loses only what is in flight, and makes one table of all its runs."""

import contextlib
import json
import re
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pandas as pd
import psutil
import pytest
import tiny

from helpers import __main__, processes, runs
from helpers.batch import results, sweep

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


@pytest.mark.parametrize(
    "old, new, words",
    [
        ("03_baseline_cnn", "06_magic", "No single notebook matches '06_magic'"),
        ("EPOCHS", "EPOHCS", "no parameter 'EPOHCS'.*EPOCHS"),
        ("EPOCHS: 2", "EPOCHS: two", "EPOCHS is 'two', but it takes a whole number"),
        ("EPOCHS: 2", "EPOCHS:", "EPOCHS is ''"),
        ("EPOCHS: 2", "EPOCHS: 010", "EPOCHS is '010', but it takes a whole number"),
        ("EPOCHS: 2", "EPOCHS: 1:30", "EPOCHS is '1:30', but it takes a whole number"),
        ("EPOCHS: 2", "EPOCHS: 2\n  EPOCHS: 3", "EPOCHS occurs twice, the second time in line 5"),
        ("seeds: [0, 1]", "seeds: [0]\nseeds: [1]", "seeds occurs twice"),
        ("seeds: [0, 1]", "record: [seconds]", "record lists seconds, which is in the table anyway"),
        ("seeds: [0, 1]", "record: [a, SEED, a]", "record lists a, which"),
        ("seeds: [0, 1]", "record: [LEARNING_RATE]", "record lists LEARNING_RATE, which"),
        (
            "  LEARNING_RATE: [1e-3, 0.003]",
            "  - {PATIENCE: [1]}\n  - {}\nrecord: [PATIENCE]",
            "record lists PATIENCE, which",
        ),
        ("seeds: [0, 1]", "seeds: &a [0, 1]\nrecord: *a", "aliases .* are not supported"),
        ("EPOCHS: 2", "OUT_DIR: here", "OUT_DIR .*--out-dir"),
        ("LEARNING_RATE", "OUT_DIR", "OUT_DIR .*--out-dir"),
        ("EPOCHS: 2", "LABELS: auditted", "LABELS is 'auditted'.*published"),
        ("EPOCHS: 2", "SEED: 3", "SEED takes one value in parameters, or one list in grid or seeds"),
        ("  LEARNING_RATE: [1e-3, 0.003]", "  SEED: [3]", "SEED takes one value"),
        ("[1e-3, 0.003]", "0.1", "each with a list of values; not {'LEARNING_RATE': '0.1'}"),
        ("[1e-3, 0.003]", "[]", "each with a list of values; not {'LEARNING_RATE': ..}"),
        ("  LEARNING_RATE: [1e-3, 0.003]", "  - {EPOCHS: [1]}\n  - 5", "EPOCHS takes one value"),
        ("  LEARNING_RATE: [1e-3, 0.003]", "  - {}\n  - 5", "each with a list of values; not '5'"),
        ("[1e-3, 0.003]", "[0.1, [1]]", "LEARNING_RATE is .*1.*, but it takes a number from"),
        ("seeds: [0, 1]", "seeds: 5", "'seeds' is '5', but a sweep takes lists of"),
        ("seeds: [0, 1]", "seed: [5]", "'seed' is .'5'., but a sweep takes lists of notebooks, seeds"),
        ("notebooks: [03_baseline_cnn]", "", "lists no notebooks"),
        ("seeds: [0, 1]", "seeds: [0, 1", "cannot be read as YAML"),
        ("EPOCHS: 2", "EPOCHS: !!python/object/apply:os.getcwd []", r"EPOCHS is \[\]"),
    ],
)
def test_a_wrong_file_is_refused_in_one_line(write, old, new, words, tmp_path):
    with pytest.raises(runs.RunError, match=words) as caught:
        sweep.plan(write(GOOD.replace(old, new)), tmp_path)
    assert "some.yml" in str(caught.value) and "\n" not in str(caught.value)


def test_a_file_that_grows_without_bounds_is_refused_in_one_line(write, tmp_path):
    many = list(range(101))
    with pytest.raises(runs.RunError, match="more than 10,000 runs; make it smaller"):
        sweep.plan(write(GOOD.replace("[0, 1]", str(many)).replace("[1e-3, 0.003]", str(many))), tmp_path)
    with pytest.raises(runs.RunError, match="cannot be read as YAML: maximum recursion") as caught:
        sweep.plan(write("notebooks: " + "[" * 3000 + "]" * 3000), tmp_path)
    assert len(str(caught.value)) < 500
    with pytest.raises(runs.RunError, match="more than 10,000 runs"):
        sweep.plan(
            write(f"notebooks: [03]\ngrid: {[{'SEED': [0]}, {'SEED': many[:100], 'EPOCHS': many[:100]}]}"), tmp_path
        )
    bomb = "\n".join(f"  A{n}: &a{n} [{','.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 30))
    with pytest.raises(runs.RunError) as caught:
        sweep.plan(write(f"notebooks: [01_eda]\nparameters:\n  A0: &a0 [1]\n{bomb}"), tmp_path)
    assert len(str(caught.value)) < 1000


@pytest.fixture
def plan(write, tmp_path):
    """Return a function that plans the runs of notebook 03 for a grid, given as YAML."""

    def plan(rest=""):
        return sweep.plan(write(f"notebooks: [03_baseline_cnn]\nparameters: {{EPOCHS: 2}}\n{rest}"), tmp_path / "out")[
            0
        ]

    return plan


def test_every_combination_has_a_folder_named_by_its_parameters(plan, tmp_path):
    jobs = plan("grid: {LEARNING_RATE: [1e-1, 0.2, 0.1]}\nseeds: [0, 1]")
    assert [job["name"] for job in jobs] == [
        "LEARNING_RATE=0.1,SEED=0", "LEARNING_RATE=0.1,SEED=1", "LEARNING_RATE=0.2,SEED=0", "LEARNING_RATE=0.2,SEED=1",
    ]  # fmt: skip
    assert jobs[1]["values"] == {"EPOCHS": 2, "LEARNING_RATE": 0.1, "SEED": 1}
    assert jobs[1]["folder"] == str(tmp_path / "out" / "LEARNING_RATE=0.1,SEED=1")
    assert [job["name"] for job in plan()] == ["run"]
    with pytest.raises(runs.RunError, match="share the folder 'METADATA=a-b'"):
        plan("grid: {METADATA: [a b, a-b]}")


def test_of_several_grids_what_two_ask_for_is_run_once(plan):
    jobs = plan("grid: [{}, {LEARNING_RATE: [0.1]}, {BATCH_SIZE: [8, 16]}, {BATCH_SIZE: [16, 32]}]\nseeds: [0, 1]")
    assert [job["name"] for job in jobs if job["values"]["SEED"] == 1] == [
        "SEED=1", "LEARNING_RATE=0.1,SEED=1", "BATCH_SIZE=8,SEED=1", "BATCH_SIZE=16,SEED=1", "BATCH_SIZE=32,SEED=1",
    ]  # fmt: skip
    assert len(jobs) == 10 and jobs[0]["values"] == {"EPOCHS": 2, "SEED": 0}


def test_every_sweep_that_comes_with_the_course_can_be_planned(tmp_path):
    files = sorted((runs.FOLDER.parent / "sweeps").glob("*.yml"))
    assert len(files) >= 3
    for file in files:
        assert len(sweep.plan(file, tmp_path)[0]) > 1, file


def test_what_a_run_found_is_read_from_its_folder(tmp_path):
    (tmp_path / "baseline").mkdir()
    (tmp_path / "report").mkdir()
    facts = {"best_epoch": 2, "parameters": {"SEED": 1}, "versions": {"keras": "3"}}
    (tmp_path / "baseline" / "run.json").write_text(json.dumps(facts))
    (tmp_path / "baseline" / "history.csv").write_text(
        "epoch,val_loss,val_accuracy,seconds\n1,3,.1,9\n2,1,.4,9\n3,,.5,9\n"
    )
    rows = "image_id,split,label,p_a,p_b\ni,val,a,.9,.1\nj,val,a,.2,.8\nk,val,b,.3,.7\nl,val,b,.1,.9\nm,test,b,.9,.1\n"
    (tmp_path / "baseline" / "predictions.csv").write_text(rows)
    metrics = {"data": {"n_test": 7}, "models": {"baseline": {"test": {"audited": {"accuracy": 0.25}}}}}
    (tmp_path / "report" / "metrics.json").write_text(json.dumps(metrics))
    assert results.found(tmp_path) == {
        "baseline.best_epoch": 2, "baseline.val_loss": 1, "baseline.val_accuracy": 0.4,
        "baseline.predicted_val_accuracy": 0.75, "baseline.test.audited.accuracy": 0.25, "data.n_test": 7,
    }  # fmt: skip
    assert results.found(tmp_path / "report") == {}


RECORD = ["baseline.val_accuracy"]
JOBS = [{"name": f"BATCH_SIZE={size},SEED={seed}", "values": {"BATCH_SIZE": size, "SEED": seed}}
        for size in (8, 16) for seed in (0, 1)]  # fmt: skip


def outcomes(scores, **other):
    found = {job["name"]: {"baseline.val_accuracy": score} for job, score in zip(JOBS, scores)}
    return {name: {"status": "finished", "seconds": 60.0, "images": "a set (synthetic)", "found": facts, **other}
            for name, facts in found.items()}  # fmt: skip


def test_the_spread_is_over_seeds_and_each_number_has_a_plot(tmp_path):
    results.write(JOBS, outcomes([0.5, 0.7, 0.2, 0.2]), RECORD, tmp_path)
    page = (tmp_path / "results.html").read_text()
    spread = re.findall("<td>(.*?)</td>", page.split("Spread over seeds</h2>")[1])[:6]
    assert spread == ["0.6", "0.1414", "2", "0.2", "0", "2"]
    assert page.count("data:image/png;base64,") == 1 and "a set (synthetic)" in page and "BATCH_SIZE=16<" in page


def test_a_sweep_whose_runs_have_all_failed_so_far_has_a_table(tmp_path):
    results.write(JOBS, {JOBS[0]["name"]: {"status": "failed", "error": "<no> memory"}}, RECORD, tmp_path)
    assert pd.read_csv(tmp_path / "results.csv")["error"].tolist() == ["<no> memory"]
    assert "&lt;no&gt; memory" in (tmp_path / "results.html").read_text()


def test_a_table_that_a_spreadsheet_keeps_open_ends_no_sweep(tmp_path, monkeypatch, capsys):
    def refuse(text, file):
        raise PermissionError(13, "Permission denied", str(file))

    monkeypatch.setattr(results.manifest, "write_text", refuse)
    outcome = {"status": "failed", "error": "no memory"}
    assert len(results.write(JOBS, {JOBS[0]["name"]: outcome}, RECORD, tmp_path)) == 1
    assert "results.csv cannot be written; is it open in another program?" in capsys.readouterr().err


def test_the_hours_left_are_those_of_the_finished_runs(tmp_path, write, capsys, monkeypatch):
    monkeypatch.setattr(results, "finished", lambda job: {"seconds": 3600} if "SEED=0" in job["name"] else None)
    assert __main__.main(["sweep", str(write()), "--out-dir", str(tmp_path), "--jobs", "1", "--dry-run"]) == 0
    assert "About 2.0 hours" in capsys.readouterr().out


def test_the_command_line_says_what_it_would_do_and_refuses_in_one_line(tmp_path, write, capsys, monkeypatch):
    out = ["--out-dir", str(tmp_path / "out")]
    assert __main__.main(["sweep", str(write()), *out, "--dry-run"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert "4 runs, 0 finished, 4 to do." in said[0] and said[1] == "  LEARNING_RATE=0.001,SEED=0" and len(said) == 6
    assert __main__.main(["sweep", str(tmp_path / "none.yml"), *out]) == 1
    assert __main__.main(["sweep", str(write(GOOD.replace("sample", "/nowhere"))), *out]) == 1
    assert not (tmp_path / "out").exists()
    monkeypatch.setitem(sys.modules, "dask", None)
    assert __main__.main(["sweep", str(write()), *out, "--scheduler", "tcp://127.0.0.1:1"]) == 1
    error = capsys.readouterr().err
    assert len(error.splitlines()) == 3 and "none.yml cannot be read: No such file" in error and "'/nowhere'" in error
    assert "pip install 'dask[distributed]'" in error


POISONED = """notebooks: [03_baseline_cnn]
parameters: {{DATA_DIR: {images}}}
grid: {{BATCH_SIZE: [8, {poison}]}}
seeds: [1]
"""


@pytest.fixture
def course(tmp_path):
    return tiny.course(tmp_path / "course", n03_baseline_cnn=tiny.TRAIN)


def rows(folder):
    return pd.read_csv(folder / "results.csv").set_index(["BATCH_SIZE", "SEED"]).sort_index()


def test_a_failed_run_keeps_its_error_and_the_others_go_on(tmp_path, course, image_set, here, capsys):
    file, out = tmp_path / "some.yml", tmp_path / "out"
    file.write_text(POISONED.format(images=image_set, poison=13))
    assert here(course, "sweep", file, "--out-dir", out, "--jobs", 2) == 1
    assert "1 runs finished, 1 failed" in capsys.readouterr().out
    table = rows(out)
    assert table["status"].tolist() == ["finished", "failed"]
    assert table["baseline.val_accuracy"].dropna().tolist() == [1.08]
    assert "MemoryError" in table["error"][13, 1] and "03_baseline_cnn failed in cell" in table["error"][13, 1]
    assert (out / "BATCH_SIZE=13,SEED=1" / "notebooks" / "03_baseline_cnn.ipynb").exists()
    assert "MemoryError" in (out / "results.html").read_text()

    done = (out / "BATCH_SIZE=8,SEED=1" / "log.txt").stat().st_mtime_ns
    file.write_text(
        POISONED.format(images=image_set, poison=16) + "record: [baseline.val_acuracy, baseline.best_epoch]"
    )
    status = here(course, "sweep", file, "--out-dir", out, "--jobs", 2)
    said, error = capsys.readouterr()
    assert status == 1 and "2 runs, 1 finished, 1 to do." in said and "2 runs finished, 0 failed" in said
    assert "No run has baseline.val_acuracy" in error and "baseline.predicted_val_accuracy, " in error
    assert rows(out)["baseline.best_epoch"].tolist() == [2] * 2
    assert (out / "BATCH_SIZE=8,SEED=1" / "log.txt").stat().st_mtime_ns == done


def test_a_finished_run_with_other_parameters_is_not_taken_for_this_one(plan):
    first, *_ = plan("seeds: [0, 1]")
    Path(first["folder"]).mkdir(parents=True)
    record = {"notebooks": first["notebooks"], "values": {"SEED": 0}, "seconds": 1, "images": "some"}
    (Path(first["folder"]) / "sweep.json").write_text(json.dumps(record))
    with pytest.raises(runs.RunError, match=r"with EPOCHS not given, but this sweep says 2: .*--out-dir"):
        results.finished(first)
    assert results.finished(first | {"values": {"SEED": 0}})["status"] == "finished"


def test_a_run_that_runs_out_of_memory_or_raises_nothing_to_read_fails_alone(tmp_path, monkeypatch, image_set, instead):
    job = {"name": "a", "folder": str(tmp_path / "a"), "notebooks": ["01_eda"], "values": {"DATA_DIR": str(image_set)}}
    instead("kill -9 $$")
    name, outcome = sweep.perform(job)
    assert name == "a" and outcome["status"] == "failed" and "status -9" in outcome["error"]

    def empty(*_, **__):
        raise MemoryError

    monkeypatch.setattr(processes.subprocess, "Popen", empty)
    assert sweep.perform(job)[1] == {"status": "failed", "error": "MemoryError()"}


def test_a_run_computes_with_one_thread_however_many_run(tmp_path, monkeypatch, image_set, instead):
    monkeypatch.delenv("TF_NUM_INTRAOP_THREADS", raising=False)
    instead("echo threads $TF_NUM_INTRAOP_THREADS")
    job = {"name": "a", "folder": str(tmp_path / "a"), "notebooks": ["01_eda"], "values": {"DATA_DIR": str(image_set)}}
    assert sweep.perform(job)[1]["status"] == "finished"
    assert (tmp_path / "a" / "log.txt").read_text() == "threads 1\n"


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGKILL, -9)])
def test_a_stopped_sweep_stops_its_runs(tmp_path, image_set, number, status):
    folder, file = tiny.course(tmp_path / "course", n03_baseline_cnn=tiny.WAIT), tmp_path / "a.yml"
    file.write_text(POISONED.format(images=image_set, poison=16))
    process = tiny.start(folder, "sweep", file, "--out-dir", tmp_path / "out", "--jobs", 1)
    kernel = tmp_path / "out" / "BATCH_SIZE=8,SEED=1" / "kernel.txt"
    tiny.wait_for(lambda: kernel.exists() or process.poll() is not None)
    process.send_signal(number)
    _, error = process.communicate(timeout=300)
    assert process.returncode == status and "Traceback" not in error
    numbers = list(map(int, kernel.read_text().split()))
    tiny.wait_for(lambda: all(map(tiny.ended, numbers)))


def test_a_run_that_was_written_to_another_disk_has_failed(tmp_path, write, monkeypatch, image_set, capsys):
    record = {"status": "finished", "notebooks": [], "values": {}, "seconds": 1, "images": "a set", "found": {}}
    monkeypatch.setattr(sweep, "on_cluster", lambda jobs, _: ((job["name"], dict(record)) for job in jobs))
    assert sweep.sweep(write(), tmp_path / "out", scheduler="tcp://there") == 1
    said = capsys.readouterr().out
    assert "0 runs finished, 4 failed" in said and "LEARNING_RATE=0.001,SEED=0 on another disk: share one" in said


def test_finished_runs_of_other_images_are_not_taken(tmp_path, write, image_set, instead, write_image):
    instead("true")
    file = write(GOOD.replace("sample", str(image_set)))
    assert sweep.sweep(file, tmp_path / "out") == 0
    write_image(image_set / "Train" / "nevus" / "another.png", 99)
    with pytest.raises(runs.RunError, match="holds a finished run on other images than those found now"):
        sweep.sweep(file, tmp_path / "out")


def test_one_process_works_on_a_sweep(tmp_path, write, image_set, monkeypatch):
    def refuse(folder, what):
        raise runs.RunError(f"{what} is already running in {folder}")

    monkeypatch.setattr(processes, "claim", refuse)
    with pytest.raises(runs.RunError, match="sweep is already running in .*out"):
        sweep.sweep(write(GOOD.replace("sample", str(image_set))), tmp_path / "out")


def test_on_a_cluster_the_run_of_a_lost_worker_is_done_elsewhere(tmp_path, course, image_set):
    distributed = pytest.importorskip("dask.distributed")
    file, there = tmp_path / "some.yml", tmp_path / "there"
    file.write_text(POISONED.format(images=image_set, poison=13))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{free.getsockname()[1]}"
    with contextlib.ExitStack() as stack:

        def start(*command):
            process = subprocess.Popen([sys.executable, "-m", "dask", *command], cwd=course, stderr=subprocess.DEVNULL)
            stack.callback(process.wait)
            stack.callback(process.terminate)
            return process

        start("scheduler", "--host", "127.0.0.1", "--port", address.split(":")[-1], "--no-dashboard")
        workers = [start("worker", address, "--nthreads", "1", "--no-nanny", "--no-dashboard") for _ in range(2)]
        with distributed.Client(address, timeout=300) as client:
            client.wait_for_workers(2, timeout=300)
        sweeping = tiny.start(course, "sweep", file, "--out-dir", there, "--scheduler", address)

        def kill_a_busy_worker():
            for worker in workers:
                if any(there.glob("*/log.txt")) and psutil.Process(worker.pid).children():
                    worker.kill()
                    return True
            return sweeping.poll() is not None

        tiny.wait_for(kill_a_busy_worker)
        said, error = sweeping.communicate(timeout=300)
    assert sweeping.returncode == 1 and "1 runs finished, 1 failed" in said, error
    table = rows(there)
    assert table["status"].tolist() == ["finished", "failed"] and table["baseline.val_accuracy"][8, 1] == 1.08


def test_what_notebook_07_asked_of_its_network_can_be_recorded(tmp_path):
    folder = tmp_path / "transfer"
    folder.mkdir()
    (folder / "run.json").write_text('{"epochs_run": 1}')
    (folder / "numbers.json").write_text('{"frozen": {"validation": 0.5}}')
    (folder / "history.csv").write_text("epoch,val_loss,val_accuracy,seconds\n1,3,.1,9\n")
    (folder / "predictions.csv").write_text("image_id,split,label,p_a,p_b\ni,val,a,.9,.1\n")
    assert results.found(tmp_path)["transfer.frozen.validation"] == 0.5
