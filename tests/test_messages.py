"""Long work says how far it is, and a cell that fails says in a sentence why, where the course knows."""

import itertools

import nbformat
import pytest
from nbclient import NotebookClient

from helpers import messages, runs
from helpers.data import datasets

START = f"import sys\nsys.path.insert(0, {str(datasets.ROOT)!r})\nfrom helpers import manifest, runs, messages"
NAMES = 'DATA_DIR, OUT_DIR, SEED, MIN_CLASS_SIZE, EPOCHS = "sample", "out", "7", 20, {}'
BEGIN = 'run = runs.start("03_baseline_cnn", globals())'
FAILING = {
    "parameters": (BEGIN, f"The parameters are not defined: {messages.ABOVE}."),
    "value": (f"{NAMES.format(-1)}\n{BEGIN}", "EPOCHS is -1, but it takes a whole number from 0 to 10000."),
    "images": (f'{NAMES.format(2)}\nDATA_DIR = "none"\n{BEGIN}', "DATA_DIR is 'none', but that is no folder; name"),
    "name": ("1\nprint(table)", "Line 2: name 'table' is not defined. If a cell above defines it, run the cells above"),
    "interrupt": ("raise KeyboardInterrupt", messages.INTERRUPTED),
}


@pytest.fixture(scope="module")
def failed(tmp_path_factory):
    """What the cells of ``FAILING`` and one with a fault of its own give in a kernel: {name: their last output}."""
    texts = {"start": START} | {name: text for name, (text, _) in FAILING.items()}
    texts |= {"fault": "int('x')", "inside": "runs.checked('01_eda', 5)", "fine": f"{NAMES.format('2')}\n{BEGIN}\nSEED"}
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(text) for text in texts.values()])
    folder = tmp_path_factory.mktemp("notebook")
    NotebookClient(
        notebook,
        allow_errors=True,
        kernel_name="python3",
        startup_timeout=300,
        resources={"metadata": {"path": folder}},
    ).execute()
    return {name: cell["outputs"][-1:] for name, cell in zip(texts, notebook.cells)}


@pytest.mark.parametrize("name", FAILING)
def test_a_cell_that_fails_shows_one_sentence(failed, name):
    (output,) = failed[name]
    assert output["output_type"] == "error"  # for papermill and nbval the cell failed
    (line,) = output["traceback"]
    assert line.startswith(FAILING[name][1]) and "\n" not in line


def test_a_fault_keeps_its_traceback(failed):
    for name in ("fault", "inside"):
        assert "Traceback" in "".join(failed[name][0]["traceback"]), failed[name]


def test_what_was_checked_is_what_the_notebook_uses(failed):
    assert failed["fine"][0]["data"]["text/plain"] == "7"


def test_progress_is_said_at_growing_intervals_and_then_each_minute(monkeypatch, capsys):
    clock = itertools.count()
    monkeypatch.setattr(messages.time, "monotonic", lambda: next(clock))
    assert list(messages.progress(range(1200), "Reading")) == list(range(1200))
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == ["Reading: 3 of 1,200, 3 s", "Reading: 6 of 1,200, 6 s", "Reading: 12 of 1,200, 12 s"]
    assert [int(line.split()[-2]) for line in lines[:8]] == [3, 6, 12, 24, 48, 96, 156, 216]


def test_text_becomes_a_number_in_the_notebooks_own_names(image_set, tmp_path):
    names = {name: parameter.default for name, parameter in runs.declared("03_baseline_cnn").items()}
    names |= {"EPOCHS": "5", "KEEP_ASPECT": "false", "DATA_DIR": str(image_set), "OUT_DIR": str(tmp_path / "out")}
    run = runs.start("03_baseline_cnn", names)
    assert names["EPOCHS"] == 5 and names["KEEP_ASPECT"] is False and run.parameters["EPOCHS"] == 5
