"""Build the notebooks that people open from the sources that people edit.

In a source, ``notebooks/src/NN_name.py`` (jupytext's py:percent), ``{{badge}}`` and ``{{setup}}`` stand for
``_badge.py`` and ``_setup.py`` beside it, which name the repository and the branch of ``pyproject.toml``, and
``{{quiz}}`` for the notebook's part of ``docs/quiz.md``. A term of ``docs/glossary.md`` is linked where the notebook
that it names first has it in bold. Learners' copies go to ``notebooks/exercises``.
"""

import base64
import copy
import hashlib
import io
import os
import re
import shutil
import tempfile
from pathlib import Path

import jupytext
import nbformat
import papermill
from PIL import Image

from helpers import manifest, runs
from helpers.batch import execute
from helpers.data import datasets

COURSE_FILES = ("helpers", "notebooks", "pyproject.toml", "colab_setup.sh", "requirements.txt")
SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION.*?### END SOLUTION", re.MULTILINE | re.DOTALL)
RUN_FOLDERS = ('"runs/course"', '"runs/exercises"')  # of a notebook, and of a learner's copy
TRAINED = ("03_baseline_cnn", "04_dropout_augmented_cnn", "06_transfer_learning")  # these ask Colab for a GPU
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def settings():
    """Return repository ("owner/name"), branch and colab_runtime of pyproject.toml, and name and clone (address)."""
    text = (datasets.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = dict(re.findall(r'^(repository|branch|colab_runtime) = "([^"]*)"$', text, flags=re.MULTILINE))
    return found | {"name": found["repository"].split("/")[1], "clone": f"https://github.com/{found['repository']}.git"}


def render(name):
    """Return the notebook made from a source, without outputs: cells, tags, badges, set-up cell and kernel."""
    source = runs.FOLDER / "src"
    text = _linked((source / f"{name}.py").read_text(encoding="utf-8"), name[:2])
    for part in ("badge", "setup"):
        text = text.replace(f"# {{{{{part}}}}}\n", (source / f"_{part}.py").read_text(encoding="utf-8"))
    for key, value in (settings() | {"notebook": name, "quiz": _quiz(name)}).items():
        text = text.replace(f"{{{{{key}}}}}", value)
    notebook = jupytext.reads(text, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        tags = ["set-up"] if cell["source"].startswith("# @title Set-up") else cell["metadata"].get("tags", [])
        cell["id"], cell["metadata"] = f"{name[:2]}-{number:02d}", {"tags": tags} if tags else {}
        if {"set-up", "solution"} & {*tags}:  # collapsed in Colab, and in Jupyter
            cell["metadata"] |= {"cellView": "form", "jupyter": {"source_hidden": True}}
    colab = {"colab": {"provenance": []}}
    if name in TRAINED:
        colab = {"accelerator": "GPU", "colab": {"provenance": [], "gpuType": "T4"}}
    if runtime := settings().get("colab_runtime"):
        colab["colab"]["runtime_attributes"] = {"runtime_version": runtime}
    notebook["metadata"] = {"kernelspec": KERNEL, "language_info": {"name": "python"}, **colab}
    return notebook


def exercises(notebook):
    """Return the learner's copy of a notebook: no outputs, solutions replaced by a comment and their cells open.

    What a learner tries there goes to a run folder of its own. RunError if a cell tagged ``solution`` lacks
    ``### BEGIN SOLUTION`` or ``### END SOLUTION``, or another has them.
    """
    learners = copy.deepcopy(notebook)
    for cell in learners.cells:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        if "parameters" in cell["metadata"].get("tags", []):
            cell["source"] = cell["source"].replace(*RUN_FOLDERS)
        cell["source"], count = SOLUTION.subn(r"\1# your code here", cell["source"])
        if bool(count) != ("solution" in cell["metadata"].get("tags", [])) or "SOLUTION\n" in f"{cell['source']}\n":
            raise runs.RunError(
                f"Cell {cell['id']}: a cell tagged solution needs a line ### BEGIN SOLUTION and a line "
                f"### END SOLUTION, and no other cell may have them:\n{cell['source'][:200]}"
            )
        if count:
            cell["source"] = cell["source"].replace("# @title Solution", "# @title Your answer", 1)
            cell["metadata"] = {"tags": cell["metadata"]["tags"]}
    return learners


def build(names):
    """Execute and store notebooks ([]: all), after those before them, in a copy of the course with the sample alone."""
    wanted = [name for name, _ in execute.plan(names, {})]
    with tempfile.TemporaryDirectory() as folder:
        course = copy_course(Path(folder) / "course")
        os.environ["ISIC9_DIR"] = str(course / "data" / "sample")
        for name in runs.NOTEBOOKS[: runs.NOTEBOOKS.index(wanted[-1]) + 1]:
            file = course / "notebooks" / f"{name}.ipynb"
            nbformat.write(render(name), file)
            print(name, flush=True)
            how = {"kernel_name": "python3", "progress_bar": False, "coalesce_streams": True}
            executed = papermill.execute_notebook(file, file, cwd=file.parent, **how)
            for output in [output for cell in executed.cells for output in cell.get("outputs", [])]:
                if "image/png" in output.get("data", {}):
                    output["data"]["image/png"] = _smaller(output["data"]["image/png"])
            executed.metadata["drawn_by"] = drawing_code(executed)
            if name in wanted:
                _store(name, executed)


def drawing_code(notebook):
    """Return 12 hexadecimal digits of the code that draws a notebook's figures: its cells, and what imports figures."""
    code = [cell["source"] for cell in notebook.cells if "SYNTHETIC" in cell["source"] and cell["cell_type"] == "code"]
    for file in sorted((datasets.ROOT / "helpers").rglob("*.py")):
        text = file.read_text(encoding="utf-8")
        if file.name == "figures.py" or re.search(r"^from helpers import .*\bfigures\b", text, re.MULTILINE):
            code.append(text)
    return hashlib.sha256("\n".join(code).encode()).hexdigest()[:12]


def rename(repository, branch):
    """Let notebooks, set-up cells, README and CITATION.cff name another repository; execute nothing, keep outputs.

    RunError if ``repository`` is not "owner/name", ``branch`` is no branch's name, or a notebook is not as its source.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository) or not re.fullmatch(r"[\w./-]+", branch):
        raise runs.RunError(f"{repository!r}, branch {branch!r}: expected a repository, owner/name, and a branch.")
    if check([]):
        raise runs.RunError("Build the notebooks first: python -m helpers build")
    old = settings()
    for file in [datasets.ROOT / name for name in ("pyproject.toml", "README.md", "CITATION.cff")]:
        text = file.read_text(encoding="utf-8").replace(old["repository"], repository)
        text = text.replace(f"/blob/{old['branch']}/", f"/blob/{branch}/")
        manifest.write_text(text.replace(f'branch = "{old["branch"]}"', f'branch = "{branch}"'), file)
    for name in runs.NOTEBOOKS:
        _store(name, nbformat.read(runs.FOLDER / f"{name}.ipynb", as_version=4))


def check(names):
    """Say which notebooks and learners' copies differ from their sources; return the exit status, 1 if one does."""
    found = [sentence for name, _ in execute.plan(names, {}) for sentence in differences(name)]
    print("\n".join(found) or "Every notebook equals its source.")
    return int(bool(found))


def differences(name):
    """Return a sentence for the stored notebook, and for its learner's copy, if it differs from the source: a list."""
    fresh, found, parts = render(name), [], ["cell_type", "source", "metadata"]
    for place, wanted, also in (
        (f"{name}.ipynb", fresh, []),
        (f"exercises/{name}.ipynb", exercises(fresh), ["outputs"]),
    ):
        file = runs.FOLDER / place
        stored = nbformat.read(file, as_version=4).cells if file.exists() else []
        old, new = ([[cell.get(part) for part in parts + also] for cell in cells] for cells in (stored, wanted.cells))
        found += [f"{place} differs from its source"] * (old != new)
    return found


def copy_course(folder):
    """Copy what the notebooks need, and the embedded sample (to ``data/sample``), into ``folder``; return it."""
    shutil.copytree(datasets.find("sample").root, folder / "data" / "sample")
    for place in [*(datasets.ROOT / name for name in COURSE_FILES), *(datasets.ROOT / "data").glob("*.csv")]:
        target = folder / place.relative_to(datasets.ROOT)
        if place.is_dir():
            shutil.copytree(place, target, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        else:
            shutil.copy(place, target)
    return folder


def _quiz(name):
    """Return the questions of ``docs/quiz.md`` about a notebook, as a comment after "# "."""
    text = (datasets.ROOT / "docs" / "quiz.md").read_text(encoding="utf-8")
    questions = re.search(rf"^## {int(name[:2])} ·[^\n]*\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)[1]
    return "## Quiz\n" + "".join(f"# {line}".rstrip() + "\n" for line in questions.rstrip().split("\n"))


def _linked(text, number):
    """Return a notebook's source with links to the terms of ``docs/glossary.md`` that bear its number, "01" to "07"."""
    glossary = (datasets.ROOT / "docs" / "glossary.md").read_text(encoding="utf-8")
    for anchor, terms in re.findall(rf'<a id="([\w-]+)"></a>\*\*([^*]+)\*\*\s+\({number}\)', glossary):
        for term in terms.split(", "):
            bold = re.escape(term).replace(r"\ ", r"[\s#]+")
            link = rf"[\g<0>](https://github.com/{{{{repository}}}}/blob/{{{{branch}}}}/docs/glossary.md#{anchor})"
            text = re.sub(rf"\*\*{bold}s?\*\*", link, text, count=1, flags=re.IGNORECASE)
    return text


def _store(name, executed):
    notebook = render(name)
    notebook.metadata["drawn_by"] = executed.metadata.get("drawn_by", "")
    for cell, done in zip(notebook.cells, executed.cells, strict=True):
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = done["outputs"], done["execution_count"]
    for place, content in ((f"{name}.ipynb", notebook), (f"exercises/{name}.ipynb", exercises(notebook))):
        manifest.write_text(nbformat.writes(content) + "\n", runs.FOLDER / place)


def _smaller(picture):
    """Return a base64 PNG whose values are rounded to multiples of 6, so by at most 3: half the size, for git."""
    image, file = Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"), io.BytesIO()
    image.point([min((value + 3) // 6 * 6, 255) for value in range(256)] * 3).save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
