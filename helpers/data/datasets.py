"""Find the images, or make the embedded sample, and list them as a manifest."""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers import manifest
from helpers.data import archive, classes, folders, layouts, matching, tables
from helpers.data.sample import make as sample

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample"
COLLECTIONS = ROOT / "data" / "collections.csv"
TABLES = ["collections", "isic2019_labels", "other_clinics", "public_scores"]
OURS = [SAMPLE, *(ROOT / "data" / f"{name}.csv" for name in TABLES)]
KAGGLE_INPUT = Path("/kaggle/input")  # where Kaggle puts the sets that are attached to a notebook
KAGGLE_SET = "nodoubttome/skin-cancer9-classesisic"
# An id that means the same lesion or patient wherever it stands; any other one is of its own table only.
PUBLIC_ID = r"(HAM|BCN|MSK\d*|IL|IP|PAT|SYN)_"


class Images(NamedTuple):
    """Images that :func:`find` found."""

    root: Path  # the folder of all
    source: str  # how they were found
    synthetic: bool  # whether any are drawings
    sets: tuple  # of (name, folder)


class Listing(NamedTuple):
    """A set as it was read."""

    table: pd.DataFrame  # its manifest
    facts: pd.DataFrame  # what its tables say of the images
    understood: str  # how it was read, in words


def find(data_dir=""):
    """Find the images to work on, and return them as Images; the first of these that is there is taken.

    ``data_dir``; what the environment variable ``ISIC9_DIR`` names; a set placed in ``data/``; one attached on Kaggle;
    in Colab the Kaggle set of the case study; else the embedded synthetic sample, made in ``data/sample``. The first
    two take a folder of images, "sample", "kaggle:owner/dataset" (downloaded once, by kagglehub), "isic:clinics" or
    "isic:<search>" (``archive.fetch``), or several of these, separated by ";", as one set. FileNotFoundError if no
    images are there; ValueError if ``data/``, or what is attached, holds several folders of images.
    """
    for name, given in (("DATA_DIR", os.fspath(data_dir)), ("ISIC9_DIR", os.environ.get("ISIC9_DIR", ""))):
        if parts := [part.strip() for part in given.split(";") if part.strip()]:
            return _images([_named(name, part) for part in parts], name)
        if given:
            raise FileNotFoundError(f"{name} is {given!r}, which names no folder.")
    for data, how in ((ROOT / "data", "a set placed in data/"), (KAGGLE_INPUT, "a set attached on Kaggle")):
        placed = sorted({here.relative_to(data).parts[:1] for here in _places(data)})
        if len(placed) > 1:
            raise ValueError(
                f"{data} holds several folders of images ({', '.join('/'.join(place) or '.' for place in placed)}); "
                f"name one in DATA_DIR, or several, separated by ';', or {str(data)!r} if all are one set."
            )
        if placed:
            folder = data.joinpath(*placed[0])
            return _images([(folder.name, folder)], how)
    if os.environ.get("KAGGLE_KERNEL_RUN_TYPE"):  # Colab's variable is set there, too
        print(f"No set of images is attached (Add Input: {KAGGLE_SET}). Using the embedded synthetic sample.")
    elif os.environ.get("COLAB_RELEASE_TAG"):
        try:
            return _images([_kaggle(KAGGLE_SET)], f"Kaggle {KAGGLE_SET}")
        except FileNotFoundError as error:
            print(f"{error} Using the embedded synthetic sample.")
    return _images([_named("DATA_DIR", "sample")], "embedded sample")


def list_images(found, labels_csv="", image_column="", label_column="", draft=""):
    """List every image of the sets that ``find`` found, whatever their layout, and return a Listing.

    Understood are class folders, with or without folders of splits above them and folders below them, and images with
    a table of labels: a column of image names and a column of labels, or one-hot columns, named as columns.csv and
    classes.csv say. Columns of lesions and patients become groups, a column of splits is obeyed.

    ``labels_csv`` is the path of the table of labels, in the set or absolute, "folders" for class folders, "" for what
    fits alone; ``image_column`` and ``label_column`` are its columns of image names and of classes, "" if known by
    their names. FileNotFoundError or ValueError if a set cannot be understood: with what was seen, and the parameter
    that settles it; a draft of a table that would do is written to the file ``draft`` ("": none).

    Of the Listing, ``table`` has the pictures' own columns still empty, in the order of the paths; ``image_id`` is the
    file's stem, or ``<stem>@<split>-<class>`` where several files have it; ``group`` the patient, else the lesion.
    ``facts`` has the columns of ``labels.FACTS``, index ``image_id``.
    """
    sets, understood, several = [], [], len(found.sets) > 1
    own = [folder for _, folder in found.sets]  # whose labels LABELS_CSV is about
    if labels_csv not in ("", "folders"):
        inside = [folder for folder in own if (folder / labels_csv).is_relative_to(folder)] if several else own
        own = [folder for folder in inside if (folder / labels_csv).is_file()]
    if not own:
        raise FileNotFoundError(f"LABELS_CSV is {labels_csv!r}, but no such file is in {found.root}.")
    for name, folder in found.sets:
        rows, said = layouts.read_set(
            folder, OURS, labels_csv if folder in own else "", image_column, label_column, draft
        )
        if several:
            for column in ("lesion_id", "patient_id"):
                local = (rows[column] != "") & ~rows[column].str.match(PUBLIC_ID)
                rows[column] = rows[column].mask(local, f"{name}:" + rows[column])
            said = f"{name}:\n{said}"
        sets.append(rows.assign(set=name if several else ""))
        understood.append(said)
    rows = pd.concat(sets, ignore_index=True)
    label = rows.groupby(rows["published_label"].map(classes.key))["published_label"].transform("min")
    table = rows.assign(published_label=label, label=label, image_id=_ids(rows), collection=_collection(rows))
    table["group"] = rows["patient_id"].mask(rows["patient_id"] == "", rows["lesion_id"])
    table[["width", "height"]] = 0
    facts = table.set_index("image_id")[["diagnosis", *tables.FACTS]]
    return Listing(table.reindex(columns=manifest.COLUMNS, fill_value=""), facts, "\n".join(understood))


def state(found):
    """Return a digest that changes when an image or a table of the sets is added, removed or replaced.

    It does not see a table that ``LABELS_CSV`` or ``METADATA`` names outside the sets.
    """
    seen = []
    for _, folder in found.sets:
        for _, files, _ in folders.walk(folder, OURS):
            for file in files:
                if (folders.is_image(file) or file.suffix.lower() in tables.SUFFIXES) and file.is_file():
                    facts, name = file.stat(), os.fsencode(file.relative_to(folder).as_posix())
                    seen.append([name.hex(), facts.st_size, facts.st_mtime_ns])
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:12]


def _images(sets, source):
    """Describe sets of (name, folder); the sample is known by its file SYNTHETIC.txt, wherever it lies."""
    drawn, names = [(folder / "SYNTHETIC.txt").exists() for _, folder in sets], [name for name, _ in sets]
    root = Path(os.path.commonpath([folder for _, folder in sets]))
    sets = [(name if names.count(name) == 1 else f"{folder.parent.name}/{name}", folder) for name, folder in sets]
    return Images(root, "embedded sample" if all(drawn) else source, any(drawn), tuple(sets))


def _named(variable, given):
    """Return (name, folder) of a set that a person named."""
    if given == "sample":
        return "sample", sample.make_sample(SAMPLE)
    if given.startswith("kaggle:"):
        return _kaggle(given.removeprefix("kaggle:"))
    if given.startswith("isic:"):
        return archive.fetch(given.removeprefix("isic:"))
    folder = Path(given).expanduser().absolute()
    if not any(_places(folder)):
        what = "holds no images" if any(folders.walk(folder)) else "is no folder"
        if files := [file.name for _, files, _ in folders.walk(folder) for file in files]:
            what += f", but {len(files)} other files, such as {files[0]}"
        raise FileNotFoundError(
            f"{variable} is {given!r}, but that {what}; name a folder of class folders, or of images with "
            "a table of labels. How to make image files of arrays or tables: docs/data.md."
        )
    return folders.text(folder.name), folder


def _places(folder):
    """Yield the folders below one, but for the course's own sample, in which images lie."""
    return (here for here, files, _ in folders.walk(folder, OURS) if any(map(folders.is_image, files)))


def _kaggle(handle):
    """Return (name, folder) of a Kaggle set; kagglehub downloads it once, and goes on with what was interrupted."""
    if not re.fullmatch(r"[\w-]+/[\w.-]+", handle):
        raise FileNotFoundError(f"'kaggle:{handle}' is not a Kaggle set; write kaggle:owner/dataset.")
    try:
        import kagglehub

        return handle, Path(kagglehub.dataset_download(handle))
    except Exception as error:  # whatever the network or the hub answers
        reason = re.sub(r"\s+", " ", str(error))[:200]
        raise FileNotFoundError(
            f"Kaggle's set {handle} could not be fetched ({reason}). Is kagglehub installed (pip install kagglehub), "
            "the name right, and the network up? A private set needs the environment variable KAGGLE_API_TOKEN."
        ) from error


def _ids(rows):
    """Return a unique ``image_id`` for each row; not every CSV quotes, so control characters become spaces."""
    ids = rows["path"].map(lambda path: re.sub(r"[\0-\x1f]", " ", folders.text(Path(path).stem)))
    places = rows["split"] + "-" + rows["published_label"].str.replace(r"\W+", "-", regex=True)
    ids = ids.mask(ids.duplicated(keep=False), ids + "@" + places)
    again = ids.groupby(ids).cumcount()
    return ids + again.map(lambda count: f"~{count}" if count else "")


def _collection(rows):
    """Return who took each picture, by a column "collection", public ids, another column or the set; else ""."""
    ids = rows["path"].map(lambda path: matching.isic_id(Path(path).stem))
    number = pd.to_numeric(ids.str.extract(r"^ISIC_(\d{7})$")[0])
    found = rows["collection"]
    for known in pd.read_csv(COLLECTIONS, dtype=str, keep_default_na=False).itertuples():
        inside = rows["lesion_id"].str.match(known.lesions) if known.lesions else False
        if known.first_id:
            inside |= number.between(int(known.first_id), int(known.last_id))
        found = found.mask((found == "") & inside, known.collection)
    return found.mask(found == "", rows["origin"]).mask(lambda named: named == "", rows["set"])
