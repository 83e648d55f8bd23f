"""Build the notebooks that people open from the sources that people edit.

    python -m helpers.build              build and execute every notebook on the embedded sample
    python -m helpers.build --check      say which notebooks differ from their sources

A source, ``notebooks/src/NN_name.py`` (jupytext's py:percent), may hold ``{{badge}}`` and ``{{setup}}``: the build puts
the Open-in-Colab badge and the set-up cell there, with the repository and the branch that stand in ``pyproject.toml``.
The links to Colab in ``README.md`` follow.
"""

import argparse
import base64
import io
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import jupytext
import nbformat
import papermill
from PIL import Image

from helpers import course, datasets, manifest

COLAB = "https://colab.research.google.com"
SOURCES = course.FOLDER / "src"
COURSE_FILES = ("helpers", "notebooks", "pyproject.toml", "colab_setup.sh", "requirements.txt")


def settings():
    """Return {"repository": "owner/name", "branch": ..., "name": ..., "clone": address} from ``pyproject.toml``."""
    text = (datasets.ROOT / "pyproject.toml").read_text()
    found = dict(re.findall(r'^(repository|branch) = "([^"]+)"$', text, flags=re.MULTILINE))
    return found | {"name": found["repository"].split("/")[1], "clone": f"https://github.com/{found['repository']}.git"}


def render(name):
    """Return the notebook made from a source, without outputs: cells, tags, badge, set-up cell and kernel.

    Parameters
    ----------
    name : name of a notebook of the course.
    """
    values = settings()
    values["badge"] = with_links(f"[![Open in Colab]({COLAB}/assets/colab-badge.svg)]({COLAB}/github//{name}.ipynb)")
    text = (SOURCES / f"{name}.py").read_text().replace("# {{setup}}\n", (SOURCES / "_setup.py").read_text())
    for key, value in values.items():
        text = text.replace(f"{{{{{key}}}}}", value)
    notebook = jupytext.reads(text, fmt="py:percent")
    for number, cell in enumerate(notebook.cells):
        cell["id"] = f"{name[:2]}-{number:02d}"
        cell["metadata"] = {key: value for key, value in cell["metadata"].items() if key == "tags"}
        if cell["source"].startswith("# @title Set-up"):
            cell["metadata"] |= {"tags": ["set-up"], "cellView": "form"}
    notebook["metadata"] = {
        "kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"},
        "language_info": {"name": "python"},
        "accelerator": "GPU",
        "colab": {"provenance": [], "gpuType": "T4"},
    }
    return notebook


def with_links(text):
    """Return ``text`` with its links to notebooks in Colab going to the repository and branch of ``pyproject.toml``."""
    values = settings()
    place = f"{COLAB}/github/{values['repository']}/blob/{values['branch']}/notebooks"
    return re.sub(rf"{COLAB}/github/[^)]*/(\w+\.ipynb)", rf"{place}/\1", text)


def build(names):
    """Render, execute and store notebooks, in a copy of the course, so that only the embedded sample can be seen.

    Parameters
    ----------
    names : names of notebooks of the course, in the order in which they are executed.
    """
    with tempfile.TemporaryDirectory() as folder:
        copy = copy_course(Path(folder) / "course")
        os.environ["ISIC9_DIR"] = str(copy / "data" / "sample")
        for name in course.NOTEBOOKS:
            nbformat.write(render(name), copy / "notebooks" / f"{name}.ipynb")
        for name in names:
            file = copy / "notebooks" / f"{name}.ipynb"
            papermill.execute_notebook(file, file, cwd=copy / "notebooks", kernel_name="python3", progress_bar=True)
            executed, notebook = nbformat.read(file, as_version=4), render(name)
            for cell, done in zip(notebook.cells, executed.cells, strict=True):
                if cell["cell_type"] == "code":
                    cell["outputs"], cell["execution_count"] = _merged(done["outputs"]), done["execution_count"]
            manifest.write_text(nbformat.writes(notebook) + "\n", course.FOLDER / f"{name}.ipynb")
    readme = datasets.ROOT / "README.md"
    manifest.write_text(with_links(readme.read_text()), readme)


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


def differences(name):
    """Return what differs between a stored notebook and its source: a list of sentences, empty if nothing does."""
    file = course.FOLDER / f"{name}.ipynb"
    if not file.exists():
        return [f"{name}.ipynb does not exist"]
    stored, fresh = nbformat.read(file, as_version=4), render(name)
    if len(stored.cells) != len(fresh.cells):
        return [f"{name}.ipynb has {len(stored.cells)} cells, its source has {len(fresh.cells)}"]
    pairs = enumerate(zip(stored.cells, fresh.cells))
    return [
        f"{name}.ipynb cell {number}: {part} differs from its source"
        for number, (old, new) in pairs
        for part in ("cell_type", "source", "metadata")
        if old[part] != new[part]
    ]


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


def main(arguments=None):
    """The command line; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m helpers.build", description="Build the notebooks from sources.")
    parser.add_argument("notebooks", nargs="*", metavar="NOTEBOOK", help="default: all")
    parser.add_argument("--check", action="store_true", help="build nothing; exit 1 if one differs from its source")
    options = parser.parse_args(arguments)
    names = options.notebooks or course.NOTEBOOKS
    if options.check:
        found = [sentence for name in names for sentence in differences(name)]
        print("\n".join(found) or "Every notebook equals its source.")
        return int(bool(found))
    build(names)
    return 0


if __name__ == "__main__":
    sys.exit(main())
