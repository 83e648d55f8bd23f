"""The runner refuses what cannot work before it starts, says what failed, and runs what is missing."""

import pytest

from helpers import course


@pytest.mark.parametrize("notebooks, given, words", [
    (["06_magic"], [], "no notebook '06_magic'.*01_eda"),
    ([], [("EPOHCS", "5")], "no parameter 'EPOHCS'.*EPOCHS"),
    (["01_eda"], [("EPOCHS", "5")], "no parameter 'EPOCHS'"),
    ([], [("EPOCHS", "five")], "EPOCHS is 'five', but it takes a int"),
    ([], [("EPOCHS", "2.5")], "EPOCHS is '2.5'"),
    ([], [("LEARNING_RATE", "fast")], "LEARNING_RATE is 'fast', but it takes a float"),
    ([], [("LABELS", "auditted")], "LABELS is 'auditted'.*audited.*published"),
])
def test_a_wrong_plan_is_refused_before_anything_starts(notebooks, given, words):
    with pytest.raises(course.CourseError, match=words):
        course.plan(notebooks, given)


def test_a_plan_gives_each_notebook_the_parameters_it_has():
    steps = dict(course.plan([], [("EPOCHS", "5"), ("LEARNING_RATE", "1"), ("LABELS", "published")]))
    assert list(steps) == course.NOTEBOOKS
    assert steps["01_eda"] == {"LABELS": "published"}
    assert steps["03_baseline_cnn"] == {"EPOCHS": 5, "LEARNING_RATE": 1.0, "LABELS": "published"}
    assert list(dict(course.plan(["05_evaluation", "01_eda.ipynb"], []))) == ["01_eda", "05_evaluation"]


@pytest.mark.parametrize("arguments, words", [
    (["run", "06_magic"], "no notebook"), (["run", "-p", "EPOCHS", "x"], "EPOCHS is 'x'"),
    (["run", "--data-dir", "/nowhere/at/all"], "DATA_DIR is '/nowhere/at/all'"),
])
def test_the_command_line_refuses_in_one_line(arguments, words, tmp_path, capsys):
    assert course.main([*arguments, "--out-dir", str(tmp_path / "out")]) == 1
    error = capsys.readouterr().err
    assert words in error and "Traceback" not in error and not (tmp_path / "out").exists()


def test_one_name_means_the_same_in_every_notebook():
    defaults, texts = {}, {}
    for notebook in course.NOTEBOOKS:
        for name, value in course.declared(notebook).items():
            assert defaults.setdefault(name, value) == value, f"{name} in {notebook}"
        for line in (course.FOLDER / "src" / f"{notebook}.py").read_text().splitlines():
            if "# @param" in line:
                assert texts.setdefault(line.split(" = ")[0], line) == line, notebook
    assert set(defaults) == set(texts)


@pytest.fixture
def executed(monkeypatch):
    """The notebooks that were asked for, with their parameters, in place of running them."""
    calls = []
    monkeypatch.setattr(course, "execute", lambda name, values, out_dir, **_: calls.append((name, values)))
    return calls


def test_what_is_there_with_the_same_parameters_is_not_made_again(tmp_path, executed, monkeypatch):
    monkeypatch.setattr(course, "_fingerprint", lambda out_dir: "abc")
    asking = {"OUT_DIR": str(tmp_path), "DATA_DIR": "", "LABELS": "audited", "SEED": 0, "DROPOUT": 0.3}
    course.ensure("03_baseline_cnn", asking)
    assert executed.pop() == ("03_baseline_cnn", {name: asking[name] for name in ("OUT_DIR", "DATA_DIR", "LABELS", "SEED")})
    course.done("03_baseline_cnn", asking)
    course.ensure("03_baseline_cnn", asking)
    assert not executed
    course.ensure("03_baseline_cnn", asking | {"SEED": 1})
    assert executed.pop()[1]["SEED"] == 1
    monkeypatch.setattr(course, "_fingerprint", lambda out_dir: "other images")
    course.ensure("03_baseline_cnn", asking)
    assert executed.pop()[0] == "03_baseline_cnn"


def test_a_failing_cell_is_reported_with_notebook_cell_and_last_lines(tmp_path, image_set):
    with pytest.raises(course.CourseError) as caught:
        course.execute("01_eda", {"DATA_DIR": str(image_set / "nothing"), "OUT_DIR": str(tmp_path / "out")}, tmp_path / "out",
                       progress=False)
    message = str(caught.value)
    assert message.startswith("01_eda failed in cell ") and "FileNotFoundError" in message and "\x1b" not in message
    assert (tmp_path / "out" / "notebooks" / "01_eda.ipynb").exists()
