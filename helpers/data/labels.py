"""Labels: what is officially known of the images, the label policies, and the ledger that accounts for every image."""

import warnings
from functools import reduce
from pathlib import Path

import pandas as pd

from helpers import manifest
from helpers.data import classes, families, matching, tables

SHIPPED = Path(__file__).resolve().parents[2] / "data" / "isic2019_labels.csv"
FACTS = ["diagnosis", *tables.FACTS]


def official_labels(table, facts=None, file=""):
    """Collect what is known of the images of ``table``, a manifest.

    Every fact is taken from the first source that knows it: the table ``file`` ("": none); the set's own ``facts``, as
    ``datasets.list_images`` returns them (or None); the course's ISIC 2019 facts, for names that begin with an ISIC id.
    The lesion ids of all are kept: each ties images together. Diagnoses without an ISIC 2019 class are unknown, and
    warned of if ``file`` has them.

    Returns a DataFrame of text, index ``image_id``, empty where unknown, columns ``FACTS``: ``diagnosis`` (ISIC 2019
    code), ``lesion_id`` (several are separated by spaces), ``age_approx`` (years) and so on. FileNotFoundError or
    ValueError if ``file`` is not there, cannot be read, or names none of the images.
    """
    sources = [facts, _said(SHIPPED, table)]
    if file:
        sources.insert(0, _said(file, table))
        if sources[0].empty:
            given, name = tables.read(file), Path(table["path"].iloc[0]).stem
            raise ValueError(
                f"{file} lists none of the images: it has {len(given)} rows and the columns "
                f"{', '.join(given.columns[:6])}; give a table with their names, such as {name!r}, in a column image."
            )
        if uncoded := sources[0]["uncoded"][sources[0]["uncoded"] != ""].tolist():
            said = f"{len(uncoded)} diagnoses of {file} have no ISIC 2019 class, such as {uncoded[0]!r}"
            warnings.warn(f"{said}; they count as unknown.", stacklevel=2)
    sources = [source.reindex(table["image_id"])[FACTS] for source in sources if source is not None]
    sources = [source.astype(object).fillna("") for source in sources]  # an empty column is one of floats
    known = reduce(lambda first, next_one: first.mask(first == "", next_one), sources)
    ids = [sorted(set(" ".join(names).split())) for names in zip(*(source["lesion_id"] for source in sources))]
    return known.assign(lesion_id=list(map(" ".join, ids)))


def official_class(diagnosis, published, names):
    """Return the class that ``diagnosis`` means for an image filed under ``published``, "" if there is none in the set.

    The published class stays where the diagnosis allows it (BKL allows two classes), and where neither can be told:
    it is not the name of a diagnosis, and none of the classes of the set (``names``) is the official one.
    """
    meant, said = classes.coded(diagnosis), classes.diagnosed(published).get("isic_2019")
    return published if said == diagnosis or not (said or meant in names) else meant if meant in names else ""


def apply_labels(table, labels, metadata, min_class_size=20):
    """Decide which label each image is learned and tested under, and which images take no part.

    ``labels`` is the policy. "published": the folder is the label; only unreadable files are left out. As one picture
    may then stand in Test and in Train, the rows of a given Test (or validation) get own groups, "test/<group>".

    "audited": the official label where one is known of any file of the picture. These flags are given, in this order:
    "contradiction": the official, or else published, labels of a picture differ, or the set has no class for them.
    "augmented copy" (see ``families.originals``): in Test and validation; in Train it stays, with its original's label,
    if that is known. "test twin": shares a group with Test, or, in Train, with validation. "duplicate": one copy of
    each picture stays. "class too small": fewer than ``min_class_size`` training images, in every split.

    Takes a manifest with groups, of which flags and labels of an earlier policy are forgotten, and ``metadata`` as
    :func:`official_labels` returns it. Returns a manifest with ``label`` (empty where flagged), ``flag`` and ``group``.
    ValueError if ``labels`` is neither policy, or the rows have no groups yet.
    """
    if labels not in ("published", "audited"):
        raise ValueError(f"LABELS is {labels!r}; choose 'published' or 'audited'.")
    if (table["group"] == "").any():
        raise ValueError("The images have no groups yet; call duplicates.group first.")
    readable, group = table["flag"] != "unreadable", table["group"].str.replace("^(test|val)/", "", regex=True)
    if labels == "published":
        label, flag = table["published_label"].where(readable, ""), table["flag"].where(~readable, "")
        own = table["split"].isin(["test", "val"])
        return table.assign(label=label, flag=flag, group=group.where(~own, table["split"] + "/" + group))
    original, settled = families.originals(table), _settled(table, metadata)
    of_original = original.map(dict(zip(table["image_id"], settled))).fillna(settled)
    settled = settled.mask(settled != "", of_original)
    table = table.assign(label=settled, flag=table["flag"].where(~readable, ""), group=group)

    def flag(rows, reason):
        table.loc[rows & (table["flag"] == ""), "flag"] = reason

    flag(table["label"] == "", "contradiction")
    flag((original == families.UNKNOWN) | (original != "") & table["split"].isin(["test", "val"]), "augmented copy")
    for held, leaving in (("test", ["val", "train"]), ("val", ["train"])):
        groups = manifest.active(table, held)["group"]
        flag(table["split"].isin(leaving) & table["group"].isin(groups), "test twin")
    used = manifest.active(table).assign(moved=table["label"] != table["published_label"])
    copies = used.sort_values(["moved", "image_id"]).duplicated("picture")
    flag(copies.reindex(table.index, fill_value=False), "duplicate")
    used = manifest.active(table)
    sizes = used["split"].isin(["train", ""]).groupby(used["label"]).sum()
    flag(table["label"].isin(sizes.index[sizes < min_class_size]), "class too small")
    return table.assign(label=table["label"].where(table["flag"] == "", ""))


def ledger(table):
    """Account for every image from the published to the audited count, class by class.

    Returns a DataFrame of images (int), index (``split``, ``class``): ``published`` (images in the class's folders),
    one column per flag of ``manifest.FLAGS`` and "moved out" (0 or less), "moved in" (0 or more), and
    ``audited``, their sum: the images that are learned or tested under the class. A class that is left out has none.
    """
    moved = (table["flag"] == "") & (table["label"] != table["published_label"])
    away = pd.crosstab([table["split"], table["published_label"]], table["flag"].mask(moved, "moved out"))
    here = table[moved].groupby(["split", "label"]).size()
    away = away.reindex(away.index.union(here.index), fill_value=0)
    book = -away.reindex(columns=[*manifest.FLAGS, "moved out"], fill_value=0)
    book.insert(0, "published", away.sum(axis=1))
    book["moved in"] = here.reindex(book.index, fill_value=0)
    return book.assign(audited=book.sum(axis=1)).rename_axis(index=["split", "class"], columns=None)


def _said(file, table):
    """Return what a table says of images (see ``tables.about``), index ``image_id``."""
    facts = tables.about(file, matching.Files(table["path"])).facts
    return facts.set_axis(table["image_id"].iloc[facts.index])


def _settled(table, metadata):
    """Return the label of each row: what is officially, or else unanimously, said of its picture; "" if nothing is."""
    said = table[table["picture"] != ""].join(metadata["diagnosis"], on="image_id")
    said = said.groupby("picture")[["published_label", "diagnosis"]].agg(set)
    names, labels = set(table["published_label"]), {}
    for picture, published, diagnoses in said.itertuples():
        diagnoses -= {""}
        official = {official_class(diagnosis, label, names) for diagnosis in diagnoses for label in published}
        kept = (official & published or official) if len(diagnoses) == 1 else official | published
        labels[picture] = min(kept) if len(kept) == 1 else ""
    return table["picture"].map(labels).fillna("")
