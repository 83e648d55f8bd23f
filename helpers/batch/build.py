"""Build the notebooks that people open from the sources that people edit.

A source, ``notebooks/src/NN_name.py`` (jupytext's py:percent), may hold ``{{badge}}`` and ``{{setup}}``: the build puts
the badges and the set-up cell there, with the repository and the branch that stand in ``pyproject.toml``; the links in
``README.md`` follow. A learner's copy, without outputs and solutions, goes to ``notebooks/exercises``.
"""

import base64
import copy
import io
import os
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

import jupytext
import nbformat
import papermill
from PIL import Image

from helpers import manifest, runs
from helpers.data import datasets

COLAB, KAGGLE, BINDER = "https://colab.research.google.com", "https://kaggle.com", "https://mybinder.org"
COURSE_FILES = ("helpers", "notebooks", "pyproject.toml", "colab_setup.sh", "requirements.txt")
SOLUTION = re.compile(r"^([ \t]*)### BEGIN SOLUTION.*?### END SOLUTION", re.MULTILINE | re.DOTALL)
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def settings():
    """Return {"repository": "owner/name", "branch": ..., "name": ..., "clone": address} from ``pyproject.toml``."""
    text = (datasets.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    found = dict(re.findall(r'^(repository|branch) = "([^"]+)"$', text, flags=re.MULTILINE))
    return found | {"name": found["repository"].split("/")[1], "clone": f"https://github.com/{found['repository']}.git"}


def render(name):
    """Return the notebook made from a source, without outputs: cells, tags, badges, set-up cell and kernel."""
    sources = runs.FOLDER / "src"
    text = (sources / f"{name}.py").read_text(encoding="utf-8")
    text = text.replace("# {{setup}}\n", (sources / "_setup.py").read_text(encoding="utf-8"))
    for key, value in (settings() | {"badge": badges(name)}).items():
        text = text.replace(f"{{{{{key}}}}}", value)
    notebook = jupytext.reads(text, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        tags = ["set-up"] if cell["source"].startswith("# @title Set-up") else cell["metadata"].get("tags", [])
        cell["id"], cell["metadata"] = f"{name[:2]}-{number:02d}", {"tags": tags} if tags else {}
        if {"set-up", "solution"} & {*tags}:  # collapsed in Colab, and in Jupyter
            cell["metadata"] |= {"cellView": "form", "jupyter": {"source_hidden": True}}
    colab = {"accelerator": "GPU", "colab": {"provenance": [], "gpuType": "T4"}}
    notebook["metadata"] = {"kernelspec": KERNEL, "language_info": {"name": "python"}, **colab}
    return notebook


def exercises(notebook):
    """Return the learner's copy of a notebook: no outputs, solutions replaced by a comment and their cells open.

    Raises
    ------
    RunError
        If a cell tagged ``solution`` lacks ``### BEGIN SOLUTION`` or ``### END SOLUTION``, or another cell has them.
    """
    learners = copy.deepcopy(notebook)
    for cell in learners.cells:
        if cell["cell_type"] == "code":
            cell["outputs"], cell["execution_count"] = [], None
        cell["source"], count = SOLUTION.subn(r"\1# your code here", cell["source"])
        if bool(count) != ("solution" in cell["metadata"].get("tags", [])) or "SOLUTION\n" in f"{cell['source']}\n":
            raise runs.RunError(
                f"Cell {cell['id']}: a cell tagged solution needs a line ### BEGIN SOLUTION and a line "
                f"### END SOLUTION, and no other cell may have them:\n{cell['source'][:200]}"
            )
        if count:
            cell["metadata"] = {"tags": cell["metadata"]["tags"]}
    return learners


def badges(name):
    """Return the badges of a notebook as Markdown: links that open it in Colab, Kaggle and Binder."""
    file = f"notebooks/{name}.ipynb"
    return with_links(
        f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({COLAB}/github/{file})\n"
        f"[![Open in Kaggle]({KAGGLE}/static/images/open-in-kaggle.svg)]({KAGGLE}/kernels/welcome?src={file})\n"
        f"[![Open in Binder]({BINDER}/badge_logo.svg)]({BINDER}/v2/gh/{file.replace('/', '%2F')})"
    ).replace("\n", "\n# ")


def with_links(text):
    """Return ``text`` with its links to Colab, Kaggle and Binder going to the repository of ``pyproject.toml``."""
    repository, branch = settings()["repository"], settings()["branch"]
    file = r"[^)\s]*?notebooks(?:/|%2F)((?:exercises(?:/|%2F))?\w+\.ipynb)"
    place = rf"{repository}/blob/{branch}/notebooks/\1"
    text = re.sub(rf"{COLAB}/github/{file}", rf"{COLAB}/github/{place}", text)
    kaggle = rf"{KAGGLE}/kernels/welcome?src=https://github.com/{place}"
    text = re.sub(rf"{KAGGLE}/kernels/welcome\?src={file}", kaggle, text)
    binder = rf"{BINDER}/v2/gh/{repository}/{branch.replace('/', '%2F')}?labpath=notebooks%2F\1"
    return re.sub(rf"{BINDER}/v2/gh/{file}", binder, text)


def build(names):
    """Render, execute and store notebooks, in a copy of the course, so that only the embedded sample can be seen.

    Parameters
    ----------
    names : names of notebooks of the course, in the order in which they are executed; [] means all.
    """
    with tempfile.TemporaryDirectory() as folder:
        course = copy_course(Path(folder) / "course")
        os.environ["ISIC9_DIR"] = str(course / "data" / "sample")
        for name in runs.NOTEBOOKS:
            nbformat.write(render(name), course / "notebooks" / f"{name}.ipynb")
        for name in names or runs.NOTEBOOKS:
            file, notebook = course / "notebooks" / f"{name}.ipynb", render(name)
            learners = exercises(notebook)
            papermill.execute_notebook(file, file, cwd=course / "notebooks", kernel_name="python3", progress_bar=True)
            for cell, done in zip(notebook.cells, nbformat.read(file, as_version=4).cells, strict=True):
                if cell["cell_type"] == "code":
                    cell["outputs"], cell["execution_count"] = _merged(done["outputs"]), done["execution_count"]
            _store(notebook, runs.FOLDER / f"{name}.ipynb")
            _store(learners, runs.FOLDER / "exercises" / f"{name}.ipynb")
    _link_readme()


def remote():
    """Return "owner/name" of the GitHub repository that git knows as origin; raise RunError if it knows none."""
    asked = ["git", "remote", "get-url", "origin"]
    said = subprocess.run(asked, cwd=datasets.ROOT, capture_output=True, text=True).stdout.strip()
    found = re.search(r"github\.com[:/]([\w.-]+/[\w.-]+?)(\.git)?/?$", said)
    if not found:
        raise runs.RunError(f"git's origin is {said!r}, no GitHub repository; name one: --repository owner/name.")
    return found[1]


def rename(repository, branch):
    """Let notebooks, set-up cells, README and CITATION.cff name another repository; execute nothing, keep outputs.

    Raises
    ------
    RunError
        If ``repository`` is not "owner/name", or ``branch`` is no branch's name.
    """
    if not re.fullmatch(r"[\w.-]+/[\w.-]+", repository) or not re.fullmatch(r"[\w./-]+", branch):
        raise runs.RunError(
            f"{repository!r}, branch {branch!r}: expected a repository such as owner/name and a branch."
        )
    old, file = settings()["repository"], datasets.ROOT / "pyproject.toml"
    text = re.sub(r'^repository = ".*"$', f'repository = "{repository}"', file.read_text(encoding="utf-8"), flags=re.M)
    manifest.write_text(re.sub(r'^branch = ".*"$', f'branch = "{branch}"', text, flags=re.M), file)
    for file in [file for name in runs.NOTEBOOKS for file in sorted(runs.FOLDER.rglob(f"{name}.ipynb"))]:
        notebook = nbformat.read(file, as_version=4)
        setup = next(cell["source"] for cell in render(file.stem).cells if _is_setup(cell))
        for cell in notebook.cells:
            cell["source"] = setup if _is_setup(cell) else with_links(cell["source"])
        _store(notebook, file)
    for file in (datasets.ROOT / "README.md", datasets.ROOT / "CITATION.cff"):
        manifest.write_text(file.read_text(encoding="utf-8").replace(old, repository), file)
    _link_readme()


def check(names):
    """Say which notebooks and learners' copies differ from their sources; return the exit status, 1 if one does."""
    found = [sentence for name in names or runs.NOTEBOOKS for sentence in differences(name)]
    print("\n".join(found) or "Every notebook equals its source.")
    return int(bool(found))


def differences(name):
    """Return what differs between a stored notebook or its learner's copy and the source: a list of sentences."""
    fresh, found = render(name), []
    for place, wanted in ((f"{name}.ipynb", fresh), (f"exercises/{name}.ipynb", exercises(fresh))):
        if not (runs.FOLDER / place).exists():
            found.append(f"{place} does not exist")
            continue
        stored = nbformat.read(runs.FOLDER / place, as_version=4)
        if len(stored.cells) != len(wanted.cells):
            found.append(f"{place} has {len(stored.cells)} cells, its source has {len(wanted.cells)}")
            continue
        parts = ("cell_type", "source", "metadata", *(["outputs"] if "/" in place else []))
        for number, (old, new) in enumerate(zip(stored.cells, wanted.cells)):
            odd = [part for part in parts if old.get(part) != new.get(part)]
            found += [f"{place} cell {number}: {part} differs from its source" for part in odd]
    return found


def copy_course(folder):
    """Copy what the notebooks need, and the embedded sample, into ``folder``; return it.

    With the environment variable ``ISIC9_DIR`` set to ``folder/data/sample``, a notebook that is executed there with
    its defaults shows the sample alone, whatever images lie on this machine.
    """
    for name in COURSE_FILES:
        place = datasets.ROOT / name
        if place.is_dir():
            shutil.copytree(place, folder / name, ignore=shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints"))
        else:
            shutil.copy(place, folder / name)
    shutil.copytree(datasets.find("sample").root, folder / "data" / "sample")
    for file in (datasets.ROOT / "data").glob("*.csv"):
        shutil.copy(file, folder / "data")
    return folder


def _is_setup(cell):
    return "set-up" in cell["metadata"].get("tags", [])


def _store(notebook, file):
    manifest.write_text(nbformat.writes(notebook) + "\n", file)


def _link_readme():
    readme = datasets.ROOT / "README.md"
    manifest.write_text(with_links(readme.read_text(encoding="utf-8")), readme)


def _merged(outputs):
    """Join neighbouring pieces of one stream, and keep of a progress bar its last state, as a page would show it."""
    merged = []
    for output in outputs:
        last = merged[-1] if merged else {}
        if output["output_type"] == "stream" == last.get("output_type") and last["name"] == output["name"]:
            last["text"] += output["text"]
        else:
            merged.append(output)
    for output in merged:
        if output["output_type"] == "stream":
            output["text"] = re.sub(r"[^\n]*\r(?=[^\n])", "", output["text"])
        elif "image/png" in output.get("data", {}):
            output["data"]["image/png"] = _smaller(output["data"]["image/png"])
    return merged


def _smaller(picture):
    """Return a base64 PNG with a palette of 256 colours, a third of the size: the notebooks live in git."""
    with Image.open(io.BytesIO(base64.b64decode(picture))) as image:
        palette = image.convert("RGB").quantize(256)
    file = io.BytesIO()
    palette.save(file, "PNG", optimize=True)
    return base64.b64encode(file.getvalue()).decode()
