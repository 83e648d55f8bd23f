"""The command line refuses what cannot work before it starts, says what failed, and leaves no process behind."""

import ctypes
import os
import signal
import subprocess
import sys

import pytest
import tiny

from helpers import __main__, runs
from helpers.batch import execute


@pytest.mark.parametrize(
    "notebooks, given, words",
    [
        (["06_magic"], {}, "No single notebook matches '06_magic'; did you mean 06_[a-z_]+\\?"),
        (["baselin_cnn"], {}, "did you mean 03_baseline_cnn\\?"),
        (["0"], {}, "No single notebook matches '0'; did you mean 01_eda, 02_augmentation, "),
        ([], {"EPOHCS": "5"}, "no parameter 'EPOHCS'; did you mean EPOCHS.*run --help"),
        (["01_eda"], {"EPOCHS": "5"}, "no parameter 'EPOCHS'"),
        ([], {"EPOCHS": "five"}, "EPOCHS is 'five', but it takes a whole number"),
        ([], {"LABELS": "auditted"}, "LABELS is 'auditted'.*audited.*published"),
    ],
)
def test_a_wrong_plan_is_refused(notebooks, given, words):
    with pytest.raises(runs.RunError, match=words):
        execute.plan(notebooks, given)


def test_a_plan_gives_each_notebook_the_parameters_it_has():
    steps = dict(execute.plan([], {"EPOCHS": "5", "LEARNING_RATE": "1", "LABELS": "published"}))
    assert list(steps) == runs.NOTEBOOKS
    assert steps["01_eda"] == {"LABELS": "published"}
    assert steps["03_baseline_cnn"] == {"EPOCHS": 5, "LEARNING_RATE": 1.0, "LABELS": "published"}
    for names in (["05_evaluation", "01_eda.ipynb"], ["05", "notebooks/01_eda.ipynb"], ["01_e", "05_eval"]):
        assert list(dict(execute.plan(names, {}))) == ["01_eda", "05_evaluation"]


@pytest.mark.parametrize(
    "arguments, words",
    [
        (["run", "06_magic"], "No single notebook"),
        (["run", "-p", "EPOCHS", "x"], "EPOCHS is 'x'"),
        (["run", "--data-dir", "/nowhere/at/all"], "'/nowhere/at/all'"),
    ],
)
def test_the_command_line_refuses_in_one_line_before_anything_starts(arguments, words, tmp_path, capsys):
    assert __main__.main([*arguments, "--out-dir", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert words in error and error.count("\n") == 1 and not (tmp_path / "out").exists()


@pytest.mark.parametrize("out_dir", [".", "", "notebooks", "helpers/x"])
def test_no_run_overwrites_the_course(out_dir, capsys, monkeypatch):
    monkeypatch.chdir(runs.FOLDER.parent)
    monkeypatch.setattr(execute, "execute", lambda *_: pytest.fail("a notebook was started"))
    assert __main__.main(["run", "03_baseline_cnn", "--out-dir", out_dir]) == 1
    assert "OUT_DIR is" in capsys.readouterr().err


def test_a_wrong_use_ends_with_status_2(capsys):
    for arguments in ([], ["walk"], ["sweep"], ["sweep", "a.yml", "--jobs", "x"]):
        with pytest.raises(SystemExit) as caught:
            __main__.main(arguments)
        assert caught.value.code == 2


def test_a_parameter_given_as_an_option_is_answered_with_p(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["run", "03", "--batch-size", "5"])
    assert "error: set a notebook's parameter with -p BATCH_SIZE VALUE" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        __main__.main(["sweep", "a.yml", "--colour", "red"])
    assert "unrecognized arguments: --colour red" in capsys.readouterr().err


def test_a_run_says_a_word_before_its_long_imports(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "helpers.batch.execute", None)  # which then cannot be imported
    monkeypatch.delattr("helpers.batch.execute")
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True)
    with pytest.raises(ImportError):
        __main__.main(["run", "01"])
    assert capsys.readouterr().out == "Opening the course\n"


def test_the_help_of_run_lists_every_parameter_and_nothing_internal(capsys):
    with pytest.raises(SystemExit):
        __main__.main(["run", "--help"])
    said = capsys.readouterr().out
    names = {name for notebook in runs.NOTEBOOKS for name in runs.declared(notebook)}
    assert names <= {*said.split()} and "--with-parent" not in said


def test_predict_refuses_at_once_where_nothing_was_run(tmp_path):
    call = f"__main__.main(['predict', {str(tmp_path)!r}, 'a.jpg'])"
    code = f"import sys; from helpers import __main__; {call}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=runs.FOLDER.parent, capture_output=True, text=True)
    assert f"{tmp_path} is not a run folder (no manifest.csv): python -m helpers run --out-dir" in done.stderr
    assert "keras" not in done.stdout.split()


def test_a_notebook_that_was_changed_is_named_and_runs_as_it_is(tmp_path, here, capsys):
    magic = "# %%\n# %matplotlib inline\nx = SEED"
    folder = tiny.course(tmp_path / "course", n01_eda=magic, n03_baseline_cnn=magic)
    file = folder / "notebooks" / "01_eda.ipynb"
    file.write_text(file.read_text().replace("SEED = 0", "SEED = 6").replace("x = SEED", "x = 2"))
    assert here(folder, "run", "01", "03", "--out-dir", tmp_path / "out") == 0
    said = capsys.readouterr().out
    assert said.count("was changed") == 1
    assert said.startswith(
        "notebooks/01_eda.ipynb was changed (SEED is 6, not 0, cell 3) and runs as changed. To undo it: git restore"
    )


def test_epochs_and_cells_of_a_notebook_are_said_as_it_runs(capsys):
    sieve = execute.Sieve()
    for text in ("epoch 1/", "3  loss 0.1\nloss\n", "    Reading: 5 of 1,000, 3 s\n01_eda runs first, because x.\nend"):
        sieve.write(text)
    lines = ["epoch 1/3  loss 0.1", "    Reading: 5 of 1,000, 3 s", "01_eda runs first, because x."]
    assert capsys.readouterr().out.splitlines() == lines


def test_the_help_and_the_audit_load_neither_papermill_nor_tensorflow():
    code = "import sys; from helpers import __main__, runs; from helpers.data import audit; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=runs.FOLDER.parent, capture_output=True, text=True)
    assert "helpers.data.audit" in done.stdout.split(), done.stderr
    assert not {"papermill", "tensorflow", "keras", "dask"} & {*done.stdout.split()}


def test_the_audit_is_printed_or_refused_in_one_line(monkeypatch, capsys):
    from helpers.data import audit

    def command(data_dir, json_file, html_file, metadata, draft):
        if data_dir == "none":
            raise FileNotFoundError("no images in none")
        return f"{data_dir} {json_file} {html_file}"

    monkeypatch.setattr(audit, "command", command, raising=False)
    assert __main__.main(["audit", "some", "--json", "a.json"]) == 0
    assert capsys.readouterr() == ("some a.json None\n", "Reading the images of some\n")  # before anything is read
    assert __main__.main(["audit", "none"]) == 1
    assert capsys.readouterr().err == "Reading the images of none\nno images in none\n"


def test_the_summary_is_of_what_was_run(tmp_path, monkeypatch, capsys):
    from helpers.evaluation import report

    monkeypatch.setattr(execute, "execute", lambda *_: None)
    monkeypatch.setattr(report, "summary", lambda folder: "an older run's Test table")
    for notebook, summed in (("03_baseline_cnn", False), ("05_evaluation", True)):
        assert __main__.main(["run", notebook, "--out-dir", str(tmp_path / "out")]) == 0
        assert ("an older run's Test table" in capsys.readouterr().out) == summed


def test_a_failing_cell_is_reported_with_what_the_reader_needs(tmp_path, here, capsys):
    folder = tiny.course(
        tmp_path / "course",
        n01_eda="from helpers import messages, runs\nmessages.shorten_errors()\nruns.datasets.find('/nowhere')",
        n02_augmentation="int('x')",
        n03_baseline_cnn="import os\nos.kill(os.getpid(), 9)",
    )

    status, _, baseline = tiny.call(folder, "run", "03", "--out-dir", tmp_path / "out")
    failed = [here(folder, "run", "01", "--out-dir", tmp_path / "01_eda")]
    eda = capsys.readouterr().err
    failed += [here(folder, "run", "02", "--out-dir", tmp_path / "02_augmentation")]
    augmentation = capsys.readouterr().err
    assert [status, *failed] == [1, 1, 1]
    assert len(eda.splitlines()) == 3 and "01_eda/notebooks/01_eda.ipynb" in eda
    assert eda.startswith("01_eda failed in cell 3:\nDATA_DIR is '/nowhere'")
    assert "----> 1 int('x')" in augmentation and "ValueError: invalid literal" in augmentation
    assert "\x1b" not in augmentation and len(baseline.splitlines()) == 2
    assert "03_baseline_cnn: its kernel died" in baseline and "out of memory" in baseline and "BATCH_SIZE" in baseline


def test_a_folder_of_any_name_is_taken_as_it_is(tmp_path):
    folder = tiny.course(tmp_path / "a {course}", n03_baseline_cnn=tiny.TRAIN)
    out = tmp_path / '{x} {} {SEED} a\'b "c" #%25 ü;'
    status, _, error = tiny.call(folder, "run", "03_baseline_cnn", "--out-dir", out, "-p", "SEED", 3)
    assert status == 0, error
    assert (out / "notebooks" / "03_baseline_cnn.ipynb").exists() and (out / "baseline" / "run.json").exists()


@pytest.fixture
def waiting(tmp_path):
    """Return a run that waits in its notebook: its Popen, and the numbers of its kernel and of the kernel's parent.

    Orphans come to the tests' process, and not to process 1, as they come to systemd on many a desktop.
    """
    if sys.platform != "linux":
        pytest.skip("orphans can be adopted on Linux only")
    adopt = 36  # PR_SET_CHILD_SUBREAPER
    ctypes.CDLL(None).prctl(adopt, 1, 0, 0, 0)
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as in a shell's background jobs, and what they start
        signal.signal(signal.SIGINT, signal.default_int_handler)
    folder, out = tiny.course(tmp_path / "course", n03_baseline_cnn=tiny.WAIT), tmp_path / "out"
    process = tiny.start(folder, "run", "03_baseline_cnn", "--out-dir", out)
    tiny.wait_for(lambda: (out / "kernel.txt").exists() or process.poll() is not None)
    kernel, parent = map(int, (out / "kernel.txt").read_text().split())
    assert parent == process.pid and not tiny.ended(kernel)
    yield process, kernel
    for number in (process.pid, kernel):
        if not tiny.ended(number):
            os.kill(number, signal.SIGKILL)
    ctypes.CDLL(None).prctl(adopt, 0, 0, 0, 0)


@pytest.mark.parametrize("number, status", [(signal.SIGTERM, 143), (signal.SIGINT, 130), (signal.SIGKILL, -9)])
def test_a_killed_run_leaves_no_kernel_behind(waiting, number, status):
    process, kernel = waiting
    process.send_signal(number)
    _, error = process.communicate(timeout=300)
    assert process.returncode == status and "Traceback" not in error
    tiny.wait_for(lambda: tiny.ended(kernel))


def test_a_run_ends_with_its_parent_if_it_is_told_to(tmp_path):
    folder, out = tiny.course(tmp_path / "course", n03_baseline_cnn=tiny.WAIT), tmp_path / "out"
    command = [sys.executable, "-m", "helpers", "run", "03_baseline_cnn", "--out-dir", str(out), "--with-parent"]
    code = f"import os, subprocess; subprocess.run([*{command}, str(os.getpid())])"
    parent = subprocess.Popen([sys.executable, "-c", code], cwd=folder)
    tiny.wait_for(lambda: (out / "kernel.txt").exists() or parent.poll() is not None)
    kernel, run = map(int, (out / "kernel.txt").read_text().split())
    parent.kill()
    parent.wait()
    tiny.wait_for(lambda: tiny.ended(kernel) and tiny.ended(run))


@pytest.mark.skipif(os.name == "nt", reason="Windows does not say whose parent has ended")
def test_a_run_whose_parent_has_ended_before_it_begins_ends_too(tmp_path):
    folder = tiny.course(tmp_path / "course", n03_baseline_cnn=tiny.WAIT)
    process = tiny.start(folder, "run", "03_baseline_cnn", "--out-dir", tmp_path / "out", "--with-parent", 2**22)
    assert process.communicate(timeout=300)[1] == "" and process.returncode == 1
