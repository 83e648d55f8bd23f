"""Find the images, or make the embedded sample, and list them as a manifest."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers import manifest
from helpers.data.sample import make as sample

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample"
KAGGLE_SET = "nodoubttome/skin-cancer9-classesisic"
SPLIT_FOLDERS = {"train": "train", "training": "train", "valid": "val", "val": "val", "validation": "val",
                 "test": "test"}
EXPECTED = "expected Train/ and Test/ (or train/, valid/, test/) of class folders, or class folders alone"


class Images(NamedTuple):
    """Where the images lie (``root``), how they were found (``source``), whether they are drawings (``synthetic``)."""

    root: Path
    source: str
    synthetic: bool


def _images(root, source):
    """Describe the set in ``root``; the sample is known by its file SYNTHETIC.txt, wherever it lies."""
    synthetic = (root / "SYNTHETIC.txt").exists()
    return Images(root, "embedded sample" if synthetic else source, synthetic)


def find(data_dir=""):
    """Find the images to work on; the first of these that is there is taken.

    ``data_dir`` as given; the folder in the environment variable ``ISIC9_DIR``; a set placed in ``data/``;
    in Colab the Kaggle set of the case study; else the embedded synthetic sample, made in ``data/sample``.

    Parameters
    ----------
    data_dir : folder of images, "" to look for one, or "sample" for the embedded sample.

    Returns
    -------
    Images

    Raises
    ------
    FileNotFoundError
        If ``data_dir`` or ``ISIC9_DIR`` is given and holds no class folders of images.
    """
    for name, given in (("DATA_DIR", data_dir), ("ISIC9_DIR", os.environ.get("ISIC9_DIR", ""))):
        if given and given != "sample":
            root = _image_root(Path(given).expanduser())
            if root is None:
                raise FileNotFoundError(f"{name} is {given!r}, but no class folders of images are there: {EXPECTED}.")
            return _images(root, name)
        if given == "sample":
            return _sample()
    placed = (_image_root(folder) for folder in [ROOT / "data", *_folders(ROOT / "data")])
    for root in placed:
        if root is not None and root != SAMPLE:
            return _images(root, "a set placed in data/")
    if os.environ.get("COLAB_RELEASE_TAG"):
        root = _kaggle()
        if root is not None:
            return _images(root, f"Kaggle {KAGGLE_SET}")
    return _sample()


def list_images(root):
    """List every image file of a folder of class folders.

    Parameters
    ----------
    root : folder with ``Train/`` and ``Test/`` (any case, also ``train``/``valid``/``test``) of class folders,
        or with class folders alone.

    Returns
    -------
    DataFrame, a manifest whose pictures nobody has looked at yet: ``image_id``, ``path``, ``published_label``,
    ``label`` (the published one) and ``split`` (empty for class folders alone) are filled, in the order of the paths.
    ``image_id`` is the file's stem, or ``<stem>@<split>-<class>`` for every file whose stem occurs more than once.

    Raises
    ------
    FileNotFoundError
        If there is no image in any class folder.
    """
    rows = []
    for split, folder in _split_folders(Path(root)):
        for file in _image_files(folder):
            rows.append({"image_id": file.stem, "path": str(file.absolute()), "published_label": file.parent.name,
                         "split": split})
    if not rows:
        raise FileNotFoundError(f"No image under {root}: {EXPECTED}.")
    table = pd.DataFrame(rows)
    places = table["split"] + "-" + table["published_label"].str.replace(r"\W+", "-", regex=True)
    doubled = table["image_id"].duplicated(keep=False)
    table["image_id"] = table["image_id"].mask(doubled, table["image_id"] + "@" + places)
    again = table.groupby("image_id").cumcount()
    table["image_id"] += again.map(lambda count: f"~{count}" if count else "")
    table["label"] = table["published_label"]
    table[["width", "height"]] = 0
    return table.reindex(columns=manifest.COLUMNS, fill_value="")


def state(images):
    """Return a digest that changes when an image file of the set is added, removed or replaced."""
    files = []
    for path in sorted(Path(images.root).rglob("*")):
        if path.suffix.lower() in manifest.IMAGE_SUFFIXES:
            facts = path.stat()
            files.append([path.relative_to(images.root).as_posix(), facts.st_size, facts.st_mtime_ns])
    return hashlib.sha256(json.dumps(files).encode()).hexdigest()[:12]


def counts(table):
    """Return a table of images by published class (rows) and split (columns), with a row and a column of totals."""
    return pd.crosstab(table["published_label"], table["split"].replace("", "all"), margins=True, margins_name="total")


def _folders(folder):
    return [place for place in sorted(folder.glob("*/")) if not place.name.startswith(".")]


def _image_files(folder):
    """Return the image files of the class folders in ``folder``, by path; hidden ones are passed over."""
    return [file for place in _folders(folder) for file in sorted(place.iterdir())
            if file.suffix.lower() in manifest.IMAGE_SUFFIXES and not file.name.startswith(".")]


def _split_folders(root):
    """Return (split, folder of class folders) pairs; one pair with split "" for class folders alone."""
    named = [(SPLIT_FOLDERS[place.name.lower()], place) for place in _folders(root)
             if place.name.lower() in SPLIT_FOLDERS]
    return named or [("", root)]


def _image_root(folder):
    """Return the folder that holds the set: ``folder``, or the only folder in it (as archives unpack), or None."""
    inner = _folders(folder) if folder.is_dir() else []
    for root in [folder, *inner] if len(inner) == 1 else [folder]:
        if any(_image_files(place) for _, place in _split_folders(root) if place.is_dir()):
            return root
    return None


def _sample():
    return _images(sample.make_sample(SAMPLE), "embedded sample")


def _kaggle():
    """Return the folder of the Kaggle set, downloaded once by kagglehub, or None with the reason printed."""
    try:
        import kagglehub

        return _image_root(Path(kagglehub.dataset_download(KAGGLE_SET)))
    except Exception as error:  # whatever the network or the hub answers, the lesson goes on with the sample
        reason = re.sub(r"\s+", " ", str(error))[:200]
        print(f"Kaggle's set could not be fetched ({reason}); going on with the embedded synthetic sample.")
        return None
