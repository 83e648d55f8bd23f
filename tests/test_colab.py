"""The set-up cell and colab_setup.sh in a stand-in for Colab: a fresh folder, its variables, its package list."""

import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import pytest

from helpers import runs
from helpers.batch import build
from helpers.data import datasets

CELL = next(cell["source"] for cell in build.render("01_eda").cells if "set-up" in cell["metadata"].get("tags", []))
ENDING = "\nimport helpers.manifest\nprint('AT', Path.cwd(), 'helpers from', Path(helpers.__file__).parent)"


@pytest.fixture
def colab(tmp_path):
    """Return a function that runs code as Colab would, in an empty folder; ``git clone`` copies this course instead."""
    tools = tmp_path / "tools"
    tools.mkdir()
    (tools / "git").write_text(
        f'#!/bin/bash\necho "$@" >> {tmp_path}/git.log\nfor last; do :; done\nmkdir "$last"\n'
        f'cp -r {datasets.ROOT}/{{helpers,notebooks,colab_setup.sh,requirements.txt}} "$last"\n'
    )
    (tools / "git").chmod(0o755)
    (tmp_path / "content").mkdir()

    def run(code, **variables):
        elsewhere = {name: value for name, value in os.environ.items() if not name.startswith(("COLAB", "KAGGLE"))}
        environment = {**elsewhere, "PATH": f"{tools}:{os.environ['PATH']}", "PYTHON": sys.executable, **variables}
        return subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path / "content", env=environment, text=True, capture_output=True
        )

    return run


@pytest.mark.parametrize("place", ["COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"])
def test_the_set_up_cell_fetches_the_course_once(colab, tmp_path, place):
    name = build.settings()["name"]
    for _ in range(2):
        done = colab(CELL + ENDING, **{place: "here"})
        assert done.returncode == 0, done.stderr
        assert f"AT {tmp_path / 'content' / name} helpers from {tmp_path / 'content' / name / 'helpers'}" in done.stdout
        assert "tensorflow" in done.stdout and "(new)" not in done.stdout
    calls = (tmp_path / "git.log").read_text().splitlines()
    assert len(calls) == 1 and build.settings()["clone"] in calls[0] and f"-b {build.settings()['branch']}" in calls[0]


def test_outside_colab_the_cell_only_finds_the_course(colab, tmp_path):
    done = colab(CELL + ENDING)
    assert done.returncode != 0 and "inside the course's folder" in done.stderr
    found = subprocess.run(
        [sys.executable, "-c", CELL + ENDING], cwd=datasets.ROOT / "notebooks", capture_output=True, text=True
    )
    assert f"AT {datasets.ROOT} " in found.stdout and not (tmp_path / "git.log").exists()


@pytest.mark.parametrize("broken", ["git", "bash"])
def test_without_internet_a_sentence_says_what_to_switch_on(colab, tmp_path, broken):
    (tmp_path / "tools" / broken).write_text("#!/bin/sh\necho no network >&2\nexit 128\n")
    (tmp_path / "tools" / broken).chmod(0o755)
    done = colab(CELL, KAGGLE_KERNEL_RUN_TYPE="Interactive", COLAB_RELEASE_TAG="release")
    assert done.returncode and "CalledProcessError" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith(
        "AssertionError: The course was not fetched. On Kaggle, switch Inter"
    )


def test_kaggle_is_not_taken_for_colab_and_an_attached_set_is_found(monkeypatch, tmp_path, write_image, capsys):
    for name in ("COLAB_RELEASE_TAG", "KAGGLE_KERNEL_RUN_TYPE"):
        monkeypatch.setenv(name, "here")
    monkeypatch.delenv("ISIC9_DIR", raising=False)
    monkeypatch.setattr(datasets, "ROOT", tmp_path)
    monkeypatch.setattr(datasets, "KAGGLE_INPUT", tmp_path / "input")
    monkeypatch.setattr(datasets, "_kaggle", lambda handle: pytest.fail("asked for a download"))
    assert datasets.find().source == "embedded sample" and "Add Input: nodoubttome/" in capsys.readouterr().out
    write_image(tmp_path / "input" / "mine" / "Train" / "nevus" / "a.png", 1)
    assert datasets.find().root == tmp_path / "input" / "mine"


@pytest.mark.parametrize("folder", ["notebooks", "notebooks/exercises"])
def test_after_a_restart_the_imports_say_to_run_the_cells_above(folder):
    notebooks = datasets.ROOT / folder
    for name in runs.NOTEBOOKS:  # the course's own come first, or TensorFlow's log stands above the sentence
        imports = next(cell.source for cell in build.render(name).cells if cell.source.startswith("%matplotlib inline"))
        code = "import sys; sys.path.insert(0, '')\n" + imports.removeprefix("%matplotlib inline")
        done = subprocess.run([sys.executable, "-c", code], cwd=notebooks, capture_output=True, text=True)
        assert done.stderr.splitlines()[-1].startswith("ImportError: Run the cells above first: Run > Run All Above")
        assert '"<string>", line 3, in <module>\n' in done.stderr, name
    done = subprocess.run([sys.executable, "-c", CELL + ENDING], cwd=notebooks, capture_output=True, text=True)
    assert done.returncode == 0 and f"helpers from {datasets.ROOT / 'helpers'}" in done.stdout


@pytest.fixture
def stand_in(tmp_path):
    """Run colab_setup.sh where two packages seem to be missing, with a pip that only writes down its arguments."""
    course = tmp_path / "course"
    (course / "site" / "pip").mkdir(parents=True)
    for name in ("colab_setup.sh", "requirements.txt"):
        shutil.copy(datasets.ROOT / name, course)
    (course / "site" / "pip" / "__init__.py").touch()
    (course / "site" / "pip" / "__main__.py").write_text(
        "import sys\nfrom pathlib import Path\nPath('pip.log').write_text('\\n'.join(sys.argv[1:]))\n"
        "Path('kept.log').write_text(Path(sys.argv[sys.argv.index('-c') + 1]).read_text())\n"
    )
    (course / "site" / "sitecustomize.py").write_text(
        "import importlib.metadata as metadata\nreal = metadata.version\ndef version(name):\n"
        "    if name in ('Augmentor', 'papermill'):\n        raise metadata.PackageNotFoundError(name)\n"
        "    return real(name)\nmetadata.version = version\n"
    )
    done = subprocess.run(
        ["bash", "colab_setup.sh"],
        cwd=course,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(course / "site")},
    )
    assert done.returncode == 0, done.stderr
    return course, done.stdout


def test_only_what_is_missing_is_installed_and_nothing_is_replaced(stand_in):
    course, printed = stand_in
    wanted = [line for line in (course / "pip.log").read_text().splitlines() if "==" in line]
    assert [line.split("==")[0] for line in wanted] == ["Augmentor", "papermill"]
    kept = (course / "kept.log").read_text()
    for name in ("tensorflow", "keras", "numpy", "Pillow"):
        assert f"\n{name}==" in f"\n{kept}"
    assert "--upgrade" not in (course / "pip.log").read_text() and "tensorflow     2." in printed


def test_a_run_folder_in_drive_is_mounted_first(monkeypatch):
    mounted = []

    def mount(place):
        mounted.append(place)
        raise InterruptedError  # before anything is written there

    for name, module in {"google": {}, "google.colab": {"drive": types.SimpleNamespace(mount=mount)}}.items():
        monkeypatch.setitem(sys.modules, name, types.SimpleNamespace(**module))
    with pytest.raises(InterruptedError):
        runs.open_folder("/content/drive/MyDrive/skin")
    assert mounted == ["/content/drive"]


def test_the_script_can_be_run_from_anywhere(tmp_path):
    done = subprocess.run(
        ["bash", str(Path(datasets.ROOT) / "colab_setup.sh")],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHON": sys.executable},
    )
    assert done.returncode == 0 and "Installing" not in done.stdout
