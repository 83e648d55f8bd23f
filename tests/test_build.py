"""The build makes of a source a notebook, a learner's copy and links, and notices when one of them drifts."""

import shutil

import nbformat
import pytest

from helpers import __main__, runs
from helpers.batch import build
from helpers.data import datasets

SOURCE = """# %% [markdown]
# # 1 · A title
#
# {{badge}}

# %%
# {{setup}}

# %% tags=["parameters"]
OUT_DIR = "runs/course"

# %% tags=["solution"]
# @title Solution 1
def area(side):
    ### BEGIN SOLUTION
    square = side**2
    return square
    ### END SOLUTION


assert area(3) == 9
"""


@pytest.fixture
def course(tmp_path, monkeypatch):
    """A course of one built notebook, whose set-up cell and badges are the real ones."""
    (tmp_path / "notebooks" / "src").mkdir(parents=True)
    for part in ("_setup.py", "_badge.py"):
        shutil.copy(runs.FOLDER / "src" / part, tmp_path / "notebooks" / "src")
    (tmp_path / "notebooks" / "src" / "01_eda.py").write_text(SOURCE)
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs" / "quiz.md").write_text("# Quiz\n\n## 1 · One\n\nWhy?\n\n## 3 · Three\n\nHow?\n")
    (tmp_path / "docs" / "glossary.md").write_text('- <a id="title"></a>**A title** (01): one. **Other** (02).\n')
    (tmp_path / "pyproject.toml").write_text(
        '[tool.course]\nrepository = "old/one"\nbranch = "main"\n[tool.x]\na = 1\n'
    )
    link = "https://colab.research.google.com/github/old/one/blob/main/notebooks/01_eda.ipynb"
    (tmp_path / "CITATION.cff").write_text('repository-code: "https://github.com/old/one"\n')
    (tmp_path / "README.md").write_text(f"Before [Colab]({link}) after; [other](https://github.com/some/main).\n")
    monkeypatch.setattr(datasets, "ROOT", tmp_path)
    monkeypatch.setattr(runs, "FOLDER", tmp_path / "notebooks")
    monkeypatch.setattr(runs, "NOTEBOOKS", ["01_eda"])
    monkeypatch.setattr(build, "copy_course", lambda folder: shutil.copytree(tmp_path, folder))
    monkeypatch.setattr(build.papermill, "execute_notebook", execute)
    monkeypatch.setenv("ISIC9_DIR", "")
    build.build([])
    return tmp_path


def execute(file, *_, **__):
    """Give every code cell an output, in place of executing it."""
    notebook = nbformat.read(file, as_version=4)
    for number, cell in enumerate(notebook.cells):
        if cell["cell_type"] == "code":
            said = nbformat.v4.new_output("stream", name="stderr", text=f"{number}\n")
            cell["outputs"], cell["execution_count"] = [said], number
    return notebook


def read(course, name):
    return nbformat.read(course / "notebooks" / name, as_version=4)


def test_a_build_equals_its_source_and_collapses_what_is_not_for_the_first_look(course, capsys):
    cells = read(course, "01_eda.ipynb").cells
    assert [cell["metadata"].get("cellView") for cell in cells] == [None, "form", None, "form"]
    assert cells[3]["metadata"]["jupyter"] == {"source_hidden": True} and cells[3]["metadata"]["tags"] == ["solution"]
    assert [output["text"] for output in cells[3]["outputs"]] == ["3\n"]
    assert "https://github.com/old/one.git" in cells[1]["source"]
    assert __main__.main(["build", "--check"]) == 0 and "Every notebook equals" in capsys.readouterr().out


def test_a_notebook_asks_for_the_colab_runtime_that_is_named(course):
    assert "runtime_attributes" not in build.render("01_eda")["metadata"]["colab"]
    settings = course / "pyproject.toml"
    settings.write_text(settings.read_text() + 'colab_runtime = "2026.07"\n')
    assert build.render("01_eda")["metadata"]["colab"]["runtime_attributes"] == {"runtime_version": "2026.07"}


def test_a_notebook_has_its_own_part_of_the_quiz(course):
    source = course / "notebooks" / "src" / "01_eda.py"
    source.write_text(source.read_text() + "\n# %% [markdown]\n# {{quiz}}\n")
    assert build.render("01_eda").cells[-1]["source"] == "## Quiz\n\nWhy?"


def test_a_gpu_is_asked_for_only_where_networks_are_trained(course):
    source = course / "notebooks" / "src" / "01_eda.py"
    shutil.copy(source, source.with_name("03_baseline_cnn.py"))
    assert "accelerator" not in build.render("01_eda")["metadata"]
    assert build.render("03_baseline_cnn")["metadata"]["accelerator"] == "GPU"


def test_the_learners_copy_lacks_the_solution_and_has_a_run_folder_of_its_own(course):
    built, learners = read(course, "01_eda.ipynb").cells, read(course, "exercises/01_eda.ipynb").cells
    assert [cell["source"] for cell in built[:2]] == [cell["source"] for cell in learners[:2]]
    assert [built[2]["source"], learners[2]["source"]] == ['OUT_DIR = "runs/course"', 'OUT_DIR = "runs/exercises"']
    assert learners[3]["source"] == (
        "# @title Your answer 1\ndef area(side):\n    # your code here\n\n\nassert area(3) == 9"
    )
    assert learners[3]["metadata"] == {"tags": ["solution"]} and not any(cell.get("outputs") for cell in learners)


@pytest.mark.parametrize(
    "old, new", [("    ### END SOLUTION\n", ""), ("### BEGIN", "## BEGIN"), (' tags=["solution"]', "")]
)
def test_a_solution_without_its_marks_is_refused(course, old, new):
    source = course / "notebooks" / "src" / "01_eda.py"
    source.write_text(source.read_text().replace(old, new))
    with pytest.raises(runs.RunError, match="Cell 01-03: a cell tagged solution needs a line ### BEGIN SOLUTION"):
        build.exercises(build.render("01_eda"))


@pytest.mark.parametrize("name", ["01_eda.ipynb", "exercises/01_eda.ipynb"])
def test_drift_is_noticed(course, name, capsys):
    fresh = read(course, name)
    for change in ("source", "tags", "cell_type", "fewer", "none"):
        notebook = nbformat.from_dict(fresh)
        cell = notebook.cells[2] = nbformat.from_dict(fresh.cells[2])
        cell |= {"source": {"source": "OUT_DIR = 1"}, "cell_type": {"cell_type": "raw"}}.get(change, {})
        cell["metadata"] = {} if change == "tags" else cell["metadata"]
        notebook.cells = notebook.cells[: 3 if change == "fewer" else None]
        (course / "notebooks" / name).unlink()
        if change != "none":
            (course / "notebooks" / name).write_text(nbformat.writes(notebook))
        assert __main__.main(["build", "01_eda", "--check"]) == 1
        said = capsys.readouterr().out
        assert said == f"{name} differs from its source\n"


def test_a_fork_is_named_everywhere_without_executing_anything(course, monkeypatch):
    before = read(course, "01_eda.ipynb")
    monkeypatch.setattr(build.papermill, "execute_notebook", lambda *_, **__: pytest.fail("executed"))
    assert __main__.main(["build", "--repository", "me/notebooks", "--branch", "new/idea"]) == 0
    settings = '[tool.course]\nrepository = "me/notebooks"\nbranch = "new/idea"\n[tool.x]\na = 1\n'
    assert (course / "pyproject.toml").read_text() == settings
    after = read(course, "01_eda.ipynb")
    assert [cell.get("outputs") for cell in after.cells] == [cell.get("outputs") for cell in before.cells]
    assert build.differences("01_eda") == []
    for place in (
        "https://colab.research.google.com/github/me/notebooks/blob/new/idea/notebooks/exercises/01_eda.ipynb)",
        "https://kaggle.com/kernels/welcome?src=https://github.com/me/notebooks/blob/new/idea/notebooks/exercises/01_eda.ipynb)",
        "https://mybinder.org/v2/gh/me/notebooks/new/idea?labpath=notebooks%2Fexercises%2F01_eda.ipynb)",
    ):
        assert place in after.cells[0]["source"]
    link = "https://colab.research.google.com/github/me/notebooks/blob/new/idea/notebooks/01_eda.ipynb"
    readme = f"Before [Colab]({link}) after; [other](https://github.com/some/main).\n"
    assert (course / "README.md").read_text() == readme
    assert '"new/idea", "https://github.com/me/notebooks.git"' in after.cells[1]["source"]
    assert "https://github.com/me/notebooks" in (course / "CITATION.cff").read_text()


@pytest.mark.parametrize("arguments", [["--repository", "me"], ["--repository", "me/x", "--branch", 'a"b']])
def test_what_is_no_repository_is_refused(course, arguments, capsys):
    before = (course / "pyproject.toml").read_text()
    assert __main__.main(["build", *arguments]) == 1
    assert capsys.readouterr().err.count("\n") == 1 and (course / "pyproject.toml").read_text() == before
