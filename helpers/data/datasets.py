"""Find the images, or make the embedded sample, and list them as a manifest."""

import hashlib
import itertools
import json
import os
import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers import manifest
from helpers.data import classes, images, layouts, tables
from helpers.data.sample import make as sample

ROOT = Path(__file__).resolve().parents[2]
SAMPLE = ROOT / "data" / "sample"
TABLES = ("isic2019_labels.csv", "collections.csv", "public_scores.csv")
OURS = [SAMPLE, *(ROOT / "data" / name for name in TABLES)]  # not the user's
KAGGLE_SET = "nodoubttome/skin-cancer9-classesisic"
# An id that means the same lesion or patient wherever it stands; any other one is of its own table only.
PUBLIC_ID = r"(HAM|BCN|MSK\d*|IL|IP|PAT|SYN)_"


class Images(NamedTuple):
    """Images that :func:`find` found: their folder, how they were found, whether any are drawings, the sets in it."""

    root: Path
    source: str
    synthetic: bool
    sets: tuple  # of (name, folder)


class Listing(NamedTuple):
    """A set as it was read: its manifest, what its tables say of the images, and how all was understood, in words."""

    table: pd.DataFrame
    facts: pd.DataFrame
    understood: str


def find(data_dir=""):
    """Find the images to work on; the first of these that is there is taken.

    ``data_dir`` as given; what the environment variable ``ISIC9_DIR`` names; a set placed in ``data/``;
    in Colab the Kaggle set of the case study; else the embedded synthetic sample, made in ``data/sample``.

    Parameters
    ----------
    data_dir : "" to look for images, or a folder of images, "sample" for the embedded sample, "kaggle:owner/dataset"
        for a set of Kaggle (downloaded once, by kagglehub), or several of these, separated by ";", as one set.

    Raises
    ------
    FileNotFoundError, ValueError
        If ``data_dir`` or ``ISIC9_DIR`` is given and no images are there; if several sets lie in ``data/``.
    """
    for name, given in (("DATA_DIR", os.fspath(data_dir)), ("ISIC9_DIR", os.environ.get("ISIC9_DIR", ""))):
        if given:
            return _images([_named(name, part.strip()) for part in given.split(";") if part.strip()], name)
    data = ROOT / "data"
    placed = [place for place in sorted(data.glob("[!.]*")) if place not in OURS and place.is_dir() and _shows(place)]
    if any(layouts.split_in(place.name) or _shows(place, deep=False) for place in placed):
        placed = [data]
    if len(placed) > 1:
        names = ", ".join(place.name for place in placed)
        raise ValueError(f"data/ holds several sets ({names}); name one in DATA_DIR, or several, separated by ';'.")
    if placed:
        return _images([(placed[0].name, placed[0])], "a set placed in data/")
    if os.environ.get("COLAB_RELEASE_TAG"):
        try:
            return _images([_kaggle(KAGGLE_SET)], f"Kaggle {KAGGLE_SET}")
        except FileNotFoundError as error:
            print(f"{error} Going on with the embedded synthetic sample.")
    return _images([_named("DATA_DIR", "sample")], "embedded sample")


def list_images(found, labels_csv="", image_column="", label_column=""):
    """List every image of the sets that ``find`` found, as a manifest, in whatever layout they are.

    Understood are class folders, with or without folders of splits above them and folders below them, and images with
    a table of labels beside them: a column of image names and a column of labels, or one-hot columns. Columns of
    lesions and patients become groups, a column of splits is obeyed. Names of columns and of classes are known as
    columns.csv and classes.csv say.

    Parameters
    ----------
    found : Images, as :func:`find` returns it.
    labels_csv : path of the table of labels, absolute or in the set; "folders" for class folders; "": what fits alone.
    image_column, label_column : its columns of image names and of classes; "": known by their names.

    Returns
    -------
    Listing. ``table`` is a manifest whose pictures nobody has looked at yet, in the order of the paths; ``image_id`` is
    the file's stem, or ``<stem>@<split>-<class>`` for every file whose stem occurs more than once; ``group`` the
    patient, else the lesion. ``facts`` has the columns of ``labels.FACTS``, index ``image_id``. ``understood``: three
    lines for each set.

    Raises
    ------
    FileNotFoundError, ValueError
        If a set cannot be understood: with what was seen, and the parameter that settles it.
    """
    sets, understood, several = [], [], len(found.sets) > 1
    own = [folder for _, folder in found.sets]  # whose labels LABELS_CSV is about
    if several and labels_csv not in ("", "folders"):
        files = [Path(folder, labels_csv) for folder in own]
        own = [folder for folder, file in zip(own, files) if file.is_relative_to(folder) and file.is_file()]
    if not own:
        raise FileNotFoundError(
            f"LABELS_CSV is {labels_csv!r}, but no such file is in any of the {len(found.sets)} sets."
        )
    for name, folder in found.sets:
        rows, said = layouts.read_set(folder, OURS, labels_csv if folder in own else "", image_column, label_column)
        if several:
            for column in ("lesion_id", "patient_id"):
                local = (rows[column] != "") & ~rows[column].str.match(PUBLIC_ID)
                rows[column] = rows[column].mask(local, f"{name}:" + rows[column])
            said = f"{name}:\n{said}"
        sets.append(rows.assign(set=name if several else ""))
        understood.append(said)
    rows = pd.concat(sets, ignore_index=True)
    spelled = {classes.plain(name) or name: name for name in sorted(rows["published_label"], reverse=True)}
    label = rows["published_label"].map(lambda name: spelled[classes.plain(name) or name])
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
        for _, files, _ in layouts.walk(folder, OURS):
            for file in files:
                if file.suffix.lower() in images.SUFFIXES | tables.SUFFIXES and file.is_file():
                    facts, name = file.stat(), os.fsencode(file.relative_to(folder).as_posix())
                    seen.append([name.hex(), facts.st_size, facts.st_mtime_ns])
    return hashlib.sha256(json.dumps(seen).encode()).hexdigest()[:12]


def counts(table):
    """Return a table of images by published class (rows) and split (columns), with a row and a column of totals."""
    sizes = pd.crosstab(table["published_label"], table["split"].replace("", "all"))
    sizes = sizes.assign(total=sizes.sum(axis=1)).rename_axis(columns="split")
    return pd.concat([sizes, sizes.sum().rename("total").to_frame().T]).rename_axis("published_label")


def _images(sets, source):
    """Describe the sets; the sample is known by its file SYNTHETIC.txt, wherever it lies."""
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
    folder = Path(given).expanduser().absolute()
    if not folder.is_dir() or not _shows(folder):
        what = "holds no images" if folder.is_dir() else "is no folder"
        raise FileNotFoundError(
            f"{variable} is {given!r}, but that {what}; name a folder of class folders, or of images with "
            "a table of labels."
        )
    return layouts.text(folder.name), folder


def _shows(folder, deep=True):
    """Say whether images lie in a folder, or in one of its folders (``deep``)."""
    places = itertools.islice(layouts.walk(folder), None if deep else 1)
    return any(file.suffix.lower() in images.SUFFIXES for _, files, _ in places for file in files)


def _kaggle(handle):
    """Return (name, folder) of a Kaggle set; kagglehub downloads it once, and goes on with what was interrupted."""
    if not re.fullmatch(r"[\w-]+/[\w.-]+", handle):
        raise FileNotFoundError(f"'kaggle:{handle}' names no Kaggle set; give it so: kaggle:owner/dataset.")
    try:
        import kagglehub

        return handle, Path(kagglehub.dataset_download(handle))
    except Exception as error:  # whatever the network or the hub answers
        reason = re.sub(r"\s+", " ", str(error))[:200]
        raise FileNotFoundError(
            f"Kaggle's set {handle} could not be fetched ({reason}). Is kagglehub there (pip install kagglehub), the "
            "name right, and the network up? A private set needs the environment variable KAGGLE_API_TOKEN."
        ) from error


def _ids(rows):
    """Return a unique ``image_id`` for each row."""
    ids = rows["path"].map(
        lambda path: re.sub(r"[\0-\x1f]", " ", layouts.text(Path(path).stem))
    )  # not every CSV quotes
    places = rows["split"] + "-" + rows["published_label"].str.replace(r"\W+", "-", regex=True)
    ids = ids.mask(ids.duplicated(keep=False), ids + "@" + places)
    again = ids.groupby(ids).cumcount()
    return ids + again.map(lambda count: f"~{count}" if count else "")


def _collection(rows):
    """Return who took each picture, by a column "collection", public ids, another column or the set; else ""."""
    public = pd.read_csv(OURS[2], dtype=str, keep_default_na=False)
    ids = rows["path"].map(lambda path: tables.isic_id(Path(path).stem))
    number = pd.to_numeric(ids.str.extract(r"^ISIC_(\d{7})$")[0])
    found = rows["collection"]
    for known in public.itertuples():
        inside = rows["lesion_id"].str.match(known.lesions) if known.lesions else False
        if known.first_id:
            inside |= number.between(int(known.first_id), int(known.last_id))
        found = found.mask((found == "") & inside, known.collection)
    return found.mask(found == "", rows["origin"]).mask(lambda named: named == "", rows["set"])
