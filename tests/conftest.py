"""What several tests share: small folders of images, and manifests of them."""

import os
from types import SimpleNamespace

import filelock
import hypothesis
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from helpers import messages
from helpers.data import datasets

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
hypothesis.settings.register_profile(
    "any speed", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("any speed")


def pytest_collection_modifyitems(items):
    """Let one of two workers begin with the stored notebooks, the other with the short courses: both take minutes."""
    stored = [item for item in items if item.name == "test_the_stored_outputs_come_back"]
    courses = ("test_a_short_course", "test_notebooks_alone", "test_class_folders_alone")
    courses = [item for item in items if item.name.startswith(courses)]
    rest = [item for item in items if item not in stored + courses]
    items[:] = stored + rest[: len(rest) // 2] + courses + rest[len(rest) // 2 :]


@pytest.fixture(autouse=True)
def stopped_clock(monkeypatch):
    """Keep the lines that say how far long work is out of what a test reads, however slow the machine."""
    monkeypatch.setattr(messages, "time", SimpleNamespace(monotonic=lambda: 0))


def draw(file, seed, size=(20, 16), mode="RGB"):
    """Write an image of random colours, the same for the same seed; return its path."""
    file.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8)
    Image.fromarray(pixels).convert(mode).save(file)
    return file


def draw_set(root):
    """Draw Train/ and Test/ of the classes nevus (6 + 2 images) and melanoma (4 + 1) into a folder; return it."""
    seed = 0
    for split, label, count in [
        ("Train", "nevus", 6),
        ("Train", "melanoma", 4),
        ("Test", "nevus", 2),
        ("Test", "melanoma", 1),
    ]:
        for _ in range(count):
            seed += 1
            draw(root / split / label / f"ISIC_{seed:07d}.png", seed)
    return root


@pytest.fixture
def write_image():
    """The function :func:`draw`."""
    return draw


@pytest.fixture
def image_set(tmp_path):
    """A folder with Train/ and Test/ (see :func:`draw_set`)."""
    return draw_set(tmp_path / "set")


@pytest.fixture
def small_manifest(image_set):
    """The manifest of ``image_set`` with validation rows, groups and hashes that keep every rule."""
    table = datasets.list_images(datasets.find(image_set)).table
    table = table.assign(group=table["image_id"], sha256=[f"{number:064x}" for number in range(len(table))])
    val = table[table["split"] == "train"].groupby("label").head(1).index
    table.loc[val, "split"] = "val"
    return table


@pytest.fixture
def instead(tmp_path, monkeypatch):
    """Return a function that lets a shell command run wherever the course would start a Python of its own."""

    def run(command):
        script = tmp_path / "python"
        script.write_text(f"#!/bin/sh\n{command}\n")
        script.chmod(0o755)
        monkeypatch.setattr("sys.executable", str(script))

    return run


@pytest.fixture
def here(monkeypatch):
    """Return a function that does a command of the course in a folder, in this process; return its exit status."""
    from helpers import __main__, runs

    def call(folder, *arguments):
        monkeypatch.setattr(datasets, "ROOT", folder)
        monkeypatch.setattr(runs, "FOLDER", folder / "notebooks")
        return __main__.main([*map(str, arguments)])

    return call


@pytest.fixture(scope="session")
def sample_root():
    """The embedded synthetic sample, made once if it is not there yet, though several processes run tests."""
    with filelock.FileLock(datasets.SAMPLE.with_name(".sample.lock")):
        return datasets.find("sample").root


@pytest.fixture(scope="session")
def isic9():
    """The folder of real images that ``ISIC9_DIR`` names; the test is skipped where it is not set."""
    if not os.environ.get("ISIC9_DIR"):
        pytest.skip("ISIC9_DIR is not set")
    return os.environ["ISIC9_DIR"]


def sources(notebook):
    """Return the cells of a notebook's source, as text."""
    import jupytext

    from helpers import runs

    return [cell["source"] for cell in jupytext.read(runs.FOLDER / "src" / f"{notebook}.py").cells]


def cells(notebook, *starts, **names):
    """Run the cells of a notebook's source that begin with these texts; return all ``names`` then defined."""
    for start in starts:
        exec(next(source for source in sources(notebook) if source.startswith(start)), names)
    return names


def rows(**columns):
    """Return a manifest with the given columns, the others empty."""
    from helpers import manifest

    table = pd.DataFrame(columns)
    return table.reindex(columns=manifest.COLUMNS, fill_value="")
