"""The audit: what is wrong with a folder of labelled images.

``python -m helpers.audit DATA_DIR [--json FILE] [--html FILE] [--metadata FILE]`` prints and writes the findings.
"""

import argparse
import hashlib
import io
import json
import os
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from helpers import manifest
from helpers.data import audit_report, datasets
from helpers.data.duplicates import near_duplicates, read_files
from helpers.data.labels import CLASSES, apply_labels, ledger, official_class, official_labels, with_metadata

LISTED = ["image_id", "file", "published_label", "split"]  # what is said of a file in a list

__all__ = ["inspect", "group", "near_duplicates", "findings", "contradictory_pairs", "official_labels", "with_metadata",
           "official_class", "apply_labels", "ledger"]


def inspect(table, workers=None):
    """Decode every image once and fill in what the pictures say.

    Parameters
    ----------
    table : manifest, as ``datasets.list_images`` makes it.
    workers : int, threads that decode; None: as many as there are processors.

    Returns
    -------
    manifest with ``sha256`` (of the file's bytes), ``picture`` (SHA-256 of the size and the decoded RGB pixels),
    ``phash`` (64-bit, 16 hexadecimal digits), ``width`` and ``height`` (px). A file that cannot be decoded has the flag
    "unreadable", an empty ``label`` and no picture.
    """
    facts = pd.DataFrame(read_files(_inspect_file, table["path"], workers), index=table.index,
                         columns=["sha256", "picture", "phash", "width", "height"])
    unreadable = facts["picture"] == ""
    return table.assign(**facts, label=table["label"].mask(unreadable, ""),
                        flag=table["flag"].mask(unreadable, "unreadable"))


def group(table, metadata, pairs=None):
    """Tie together what must not be separated: one lesion, one file's bytes, one picture, near-duplicates.

    Parameters
    ----------
    table : manifest that :func:`inspect` has filled.
    metadata : as :func:`official_labels` returns it.
    pairs : as :func:`near_duplicates` returns them; None: they are searched.

    Returns
    -------
    manifest with ``group``: the smallest ``image_id`` of the connected component, whatever the order of the rows.
    """
    pairs = near_duplicates(table) if pairs is None else pairs
    number = pd.Series(range(len(table)), table["image_id"])
    lesions = with_metadata(table, metadata)["lesion_id"].str.split()
    keys = pd.concat([column.set_axis(number.index) for column in (lesions, table["sha256"], table["picture"])])
    keys = keys.explode().replace("", None).dropna()
    left = np.concatenate([number[keys.index], number[pairs["image_id"]]])
    right = np.concatenate([len(table) + pd.factorize(keys)[0], number[pairs["other_id"]]])
    nodes = len(table) + len(keys)
    graph = coo_array((np.ones(len(left)), (left, right)), shape=(nodes, nodes))
    component = connected_components(graph, directed=False)[1][:len(table)]
    return table.assign(group=table["image_id"].groupby(component).transform("min"))


def findings(table, metadata, pairs=None):
    """Count what is wrong with a set of images, and list it.

    The counters are exact: two files are one picture if they decode to the same pixels, and each picture counts once.
    Pictures that are only nearly the same are counted in ``near_duplicate_pairs`` and nowhere else.

    Parameters
    ----------
    table : manifest that :func:`inspect` has filled.
    metadata : as :func:`official_labels` returns it.
    pairs : as :func:`near_duplicates` returns them; None: they are searched.

    Returns
    -------
    dict for ``json.dumps``. Counts: ``images`` and ``unreadable`` (files), ``contradictory_images`` (pictures under two
    classes), ``train_test_twins`` (pictures in Train and in Test), ``validation_twins`` (pictures in a published
    validation folder and in another split), ``same_class_duplicates`` (pictures twice in one class folder),
    ``near_duplicate_pairs``. By pair of labels, with the number of pictures (``images``): ``contradictory_folders``
    and ``official_label_disagreements``. ``lists``: the files behind each of them.
    """
    pairs = near_duplicates(table) if pairs is None else pairs
    table = with_metadata(table, metadata).sort_values("image_id")
    root = os.path.commonpath([Path(path).parent for path in table["path"]])
    table["file"] = [Path(path).relative_to(root).as_posix() for path in table["path"]]
    known = table[table["picture"] != ""]
    at = known.groupby("picture")["split"].agg(set)
    twice = known[known.groupby("picture")["published_label"].transform("nunique") > 1]
    folders = (twice["split"] + " " + twice["published_label"]).str.strip().groupby(twice["picture"])
    folders = folders.agg(lambda places: " / ".join(sorted(set(places))))
    again = known.duplicated(["picture", "split", "published_label"])
    disagreements = _disagreements(known)
    lists = {"unreadable": table.loc[table["flag"] == "unreadable", LISTED].to_dict("records"),
             "contradictory_images": _pictures(known, twice["picture"]),
             "train_test_twins": _pictures(known, at.index[at.map({"train", "test"}.issubset)]),
             "validation_twins": _pictures(known, at.index[at.map(lambda splits: "val" in splits and len(splits) > 1)]),
             "same_class_duplicates": _pictures(known, known.loc[again, "picture"]),
             "near_duplicate_pairs": pairs.round({"similarity": 3}).to_dict("records")}
    return {"images": len(table), **{name: len(rows) for name, rows in lists.items()},
            "contradictory_folders": _counted(folders.rename("folders").to_frame()),
            "official_label_disagreements": _counted(disagreements[["published", "official"]]),
            "lists": {**lists, "official_label_disagreements": disagreements.to_dict("records")}}


def contradictory_pairs(table):
    """Return two manifests of equal length: row i of each is one picture, under two different published classes."""
    rows = table[table["picture"] != ""].sort_values(["published_label", "image_id"])
    rows = rows.drop_duplicates(["picture", "published_label"])
    nth = rows.groupby("picture").cumcount()
    first = rows[(nth == 0) & rows.duplicated("picture", keep=False)].sort_values("image_id")
    second = rows[nth == 1].set_index("picture", drop=False).loc[first["picture"]]
    return first.reset_index(drop=True), second.reset_index(drop=True)


def main(arguments=None):
    """Run the command line; returns nothing, exits with a message if there are no images."""
    parser = argparse.ArgumentParser("python -m helpers.audit", description="Find what is wrong with labelled images.")
    parser.add_argument("data_dir", help="folder with Train/ and Test/ of class folders, or of class folders alone")
    parser.add_argument("--json", metavar="FILE", help="write the findings, with the files behind each count")
    parser.add_argument("--html", metavar="FILE", help="write a page that shows the pictures side by side")
    parser.add_argument("--metadata", metavar="FILE", default="", help="CSV of official labels and lesions")
    given = parser.parse_args(arguments)
    try:
        root = datasets.find(given.data_dir).root
        table, metadata = datasets.list_images(root), official_labels(given.metadata, root)
    except (FileNotFoundError, ValueError) as error:
        parser.exit(2, f"{error}\n")
    table = inspect(table)
    found = findings(table, metadata)
    print(audit_report.text(found))
    if given.json:
        manifest.write_text(json.dumps(found, indent=1) + "\n", given.json)
    if given.html:
        manifest.write_text(audit_report.page(found, table), given.html)


def _inspect_file(path):
    try:
        data = Path(path).read_bytes()
    except OSError:
        return "", "", "", 0, 0
    digest = hashlib.sha256(data).hexdigest()
    try:
        with Image.open(io.BytesIO(data)) as file:
            image = file.convert("RGB")
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):  # what Pillow raises on broken files
        return digest, "", "", 0, 0
    picture = hashlib.sha256(f"{image.width}x{image.height}".encode() + image.tobytes()).hexdigest()
    return digest, picture, str(imagehash.phash(image)), image.width, image.height


def _pictures(known, pictures):
    """Return the files of each picture, as a list of lists."""
    rows = known[known["picture"].isin(pictures)]
    return [files[LISTED].to_dict("records") for _, files in rows.groupby("picture", sort=False)]


def _disagreements(known):
    """Return one row per picture and class whose official label is another: published, official and the file."""
    rows = known[known["diagnosis"] != ""].drop_duplicates(["picture", "published_label"])
    classes = set(known["published_label"])
    official = [official_class(diagnosis, label, classes) or CLASSES[diagnosis][0]
                for diagnosis, label in zip(rows["diagnosis"], rows["published_label"])]
    rows = rows.rename(columns={"published_label": "published"}).assign(official=official)
    return rows.loc[rows["official"] != rows["published"], ["published", "official", "image_id", "file", "split"]]


def _counted(table):
    """Return the different rows of ``table`` as dicts, most frequent first, with their number as ``images``."""
    counts = table.value_counts().rename("images").reset_index()
    return counts.sort_values(["images", *table], ascending=[False] + [True] * table.shape[1]).to_dict("records")


if __name__ == "__main__":
    main()
