"""Labels: what is officially known of the images, the label policies, and the ledger that accounts for every image."""

import os
import re
from pathlib import Path

import pandas as pd

from helpers import manifest

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "isic2019_labels.csv"
FACTS = ["diagnosis", "lesion_id", "age_approx", "sex", "anatom_site_general"]
# The published classes that each ISIC 2019 diagnosis allows; the first is meant where none of them is claimed.
CLASSES = {"MEL": ["melanoma"], "NV": ["nevus"], "BCC": ["basal cell carcinoma"], "AK": ["actinic keratosis"],
           "SCC": ["squamous cell carcinoma"], "DF": ["dermatofibroma"], "VASC": ["vascular lesion"],
           "BKL": ["pigmented benign keratosis", "seborrheic keratosis"]}
# What the ISIC Archive calls them, on one of the levels of its diagnoses.
ARCHIVE_NAMES = {"MEL": r"melanoma\b.*", "NV": r"nevus(,.*)?", "BCC": r"basal cell carcinoma\b.*",
                 "AK": r"(solar or )?actinic keratosis", "SCC": r"squamous cell carcinoma\b.*", "DF": "dermatofibroma",
                 "VASC": r"vascular lesion|.* - vascular|angioma|angiokeratoma|pyogenic granuloma",
                 "BKL": r"pigmented benign keratosis|seborrheic keratosis|solar lentigo|lichen.* keratosis"}


def isic_id(image_id):
    """Return the ISIC Archive's id (or the sample's) in an ``image_id``, else the file's stem."""
    match = re.search(r"(ISIC|SYN)_\d+", image_id)
    return match[0] if match else image_id.split("@")[0]


def official_labels(file="", root=""):
    """Read what is officially known of the images.

    Every fact is taken from the first of these tables that knows it: ``file``, the ``metadata.csv`` in ``root``, the
    ISIC 2019 facts that come with the course. The lesion ids of all tables are kept: each ties images together.

    Parameters
    ----------
    file : path of a table, a list of paths, or "". A table has the columns of ``data/isic2019_labels.csv``, or is the
        ``metadata.csv`` that the ISIC Archive's own ``isic image download`` writes.
    root : folder of the images, or "".

    Returns
    -------
    DataFrame, index ``isic_id``, text, empty where unknown: ``diagnosis`` (MEL, NV, BCC, AK, BKL, DF, VASC or SCC),
    ``lesion_id`` (several are separated by spaces), ``age_approx`` (years), ``sex``, ``anatom_site_general``.

    Raises
    ------
    FileNotFoundError, ValueError
        If ``file`` is not there, or a table has no column ``isic_id``.
    """
    files = [file] if isinstance(file, (str, os.PathLike)) else list(file)
    beside = Path(root, "metadata.csv")
    tables = pd.concat([_read(one) for one in [*filter(None, files), *[beside] * beside.is_file(), SHIPPED]])
    lesions = tables["lesion_id"].groupby(level=0).agg(lambda ids: " ".join(sorted(set(ids) - {""})))
    return tables.mask(tables == "").groupby(level=0).first().assign(lesion_id=lesions).fillna("")


def with_metadata(table, metadata):
    """Return ``table`` (a manifest) with the columns of ``metadata``, empty where nothing is known of an image."""
    facts = metadata.reindex(table["image_id"].map(isic_id)).fillna("")
    return table.assign(**{name: facts[name].to_numpy() for name in facts})


def official_class(diagnosis, published, classes):
    """Return the class that ``diagnosis`` means for an image filed under ``published``, "" if there is none in the set.

    The published class stays where the diagnosis allows it (BKL allows two classes), and where neither can be told:
    it is not the name of a diagnosis, and the set has no class for the official one.

    Parameters
    ----------
    diagnosis : a key of ``CLASSES``.
    published : a class name of the set.
    classes : the class names of the set; case, spaces and underscores do not matter, codes as "BCC" will do.
    """
    names = {_plain(name): name for name in sorted(classes, reverse=True)}
    said = {code for code, known in CLASSES.items() if _plain(published) in (*known, code.lower())}
    meant = [names[name] for name in (CLASSES[diagnosis][0], diagnosis.lower()) if name in names]
    return published if diagnosis in said or not (said or meant) else meant[0] if meant else ""


def apply_labels(table, labels, metadata, min_class_size=20):
    """Decide which label each image is learned and tested under, and which images take no part.

    ``published``: the folder is the label; only unreadable files are left out. As one picture may then stand in Test
    and in Train, the rows of a published test (or validation) folder get groups of their own: "test/<group>",
    "val/<group>".

    ``audited``: the official label where one is known of any file of the picture. A picture whose official, or else
    published, labels contradict each other is left out ("contradiction"), also if the set has no class for the official
    one. What shares a group with Test leaves Train and validation, what shares one with validation leaves Train
    ("test twin"). One copy of each picture stays ("duplicate"); near-duplicates stay, in one group. A class with too
    few training images is left out of every split ("class too small").

    Parameters
    ----------
    table : manifest with groups; flags and labels of an earlier policy are forgotten.
    labels : "published" or "audited".
    metadata : as :func:`official_labels` returns it.
    min_class_size : int, images that an audited class must have to be learned.

    Returns
    -------
    manifest with ``label`` (empty where flagged), ``flag`` and ``group``.

    Raises
    ------
    ValueError
        If ``labels`` is neither policy, or the rows have no groups yet.
    """
    if labels not in ("published", "audited"):
        raise ValueError(f"LABELS is {labels!r}; choose 'published' or 'audited'.")
    if (table["group"] == "").any():
        raise ValueError("The images have no groups yet; call audit.group first.")
    readable, group = table["flag"] != "unreadable", table["group"].str.replace("^(test|val)/", "", regex=True)
    if labels == "published":
        own = table["split"].isin(["test", "val"])
        return table.assign(label=table["published_label"].where(readable, ""), flag=table["flag"].where(~readable, ""),
                            group=group.where(~own, table["split"] + "/" + group))
    table = table.assign(label=_settled(table, metadata), flag=table["flag"].where(~readable, ""), group=group)
    _flag(table, table["label"] == "", "contradiction")
    for held, leaving in (("test", ["val", "train"]), ("val", ["train"])):
        groups = manifest.active(table, held)["group"]
        _flag(table, table["split"].isin(leaving) & table["group"].isin(groups), "test twin")
    used = manifest.active(table).assign(moved=table["label"] != table["published_label"])
    copies = used.sort_values(["moved", "image_id"]).duplicated("picture")
    _flag(table, copies.reindex(table.index, fill_value=False), "duplicate")
    used = manifest.active(table)
    sizes = used["split"].isin(["train", ""]).groupby(used["label"]).sum()
    _flag(table, table["label"].isin(sizes.index[sizes < min_class_size]), "class too small")
    return table.assign(label=table["label"].where(table["flag"] == "", ""))


def ledger(table):
    """Account for every image from the published to the audited count, class by class.

    Returns
    -------
    DataFrame of images (int), index (``split``, ``class``): ``published`` (images in the class's folders), one column
    per flag of ``manifest.FLAGS`` and "relabelled away" (0 or less), "relabelled here" (0 or more), and ``audited``,
    their sum: the images that are learned or tested under the class. A class that is left out has none.
    """
    moved = (table["flag"] == "") & (table["label"] != table["published_label"])
    left = pd.crosstab([table["split"], table["published_label"]], table["flag"].mask(moved, "relabelled away"))
    here = table[moved].groupby(["split", "label"]).size()
    index = left.index.union(here.index)
    left = left.reindex(index, fill_value=0)
    book = -left.reindex(columns=[*manifest.FLAGS, "relabelled away"], fill_value=0)
    book.insert(0, "published", left.sum(axis=1))
    book["relabelled here"] = here.reindex(index, fill_value=0)
    return book.assign(audited=book.sum(axis=1)).rename_axis(index=["split", "class"], columns=None)


def _read(file):
    table = pd.read_csv(file, dtype=str, keep_default_na=False)
    if "isic_id" not in table:
        raise ValueError(f"{file} has no column isic_id but {list(table.columns)[:6]}; give a table like "
                         f"data/{SHIPPED.name} or the ISIC Archive's metadata.csv.")
    levels = table[[name for name in table if re.fullmatch(r"diagnosis(_\d)?", name)]].to_numpy()
    table["diagnosis"] = [next(filter(None, map(_code, names)), "") for names in levels]
    return table.set_index("isic_id").reindex(columns=FACTS, fill_value="")


def _code(name):
    codes = (code for code, names in ARCHIVE_NAMES.items() if name == code or re.fullmatch(names, name.lower()))
    return next(codes, "")


def _settled(table, metadata):
    """Return the label of each row: what is officially, or else unanimously, said of its picture; "" if nothing is."""
    said = with_metadata(table[table["picture"] != ""], metadata)
    said = said.groupby("picture")[["published_label", "diagnosis"]].agg(set)
    classes, labels = set(table["published_label"]), {}
    for picture, published, diagnoses in said.itertuples():
        official = {official_class(diagnosis, label, classes) for diagnosis in diagnoses - {""} for label in published}
        one = len(diagnoses - {""}) == 1
        kept = (official & published or official) if one else official | published
        labels[picture] = min(kept) if len(kept) == 1 else ""
    return table["picture"].map(labels).fillna("")


def _flag(table, rows, flag):
    """Give the chosen rows ``flag`` where they have none, in place."""
    table.loc[rows & (table["flag"] == ""), "flag"] = flag


def _plain(name):
    return re.sub(r"[\W_]+", " ", name).strip().lower()
