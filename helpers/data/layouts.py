"""Understand how a set of labelled images is laid out: class folders, or images with a table of labels."""

import csv
import os
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from helpers.data import classes, images, tables

# Folders that hold a part of the images of all classes, as "HAM10000_images_part_1".
PART = re.compile(r"\b(part|fold|images?|imgs?|input|jpe?gs?|pngs?|photos?|pictures?|data)( ?\d+)?$")


def read_set(root, passed_over=(), labels_csv="", image_column="", label_column=""):
    """List the images of one set, with all that its folders and tables say of them.

    Parameters
    ----------
    root : folder of the set, at any depth above the images.
    passed_over : paths below it that are no part of it.
    labels_csv, image_column, label_column : as in ``datasets.list_images``.

    Returns
    -------
    rows : DataFrame of text: ``path``, ``published_label`` (standard name), ``split``, ``collection`` (of the set's own
        tables), ``diagnosis`` (ISIC 2019 code, where a table says it beside the class folder) and ``tables.FACTS``.
    understood : text of three lines: the layout; labels, groups and classes; what is left aside and why.

    Raises
    ------
    FileNotFoundError, ValueError
        If there are no images, or their labels cannot be told; with what was seen and the parameter that settles it.
    """
    files, found, left = _walk(Path(root), {Path(path) for path in passed_over})
    if not files:
        raise FileNotFoundError(f"No images are in {root} ({', '.join(sorted(images.SUFFIXES))}); name another folder.")
    rows = _folders(files, Path(root))
    given = _given(root, labels_csv)
    linked = _link(dict.fromkeys([*given, *found]), rows["path"], image_column, left)
    chosen = _choose(root, rows, linked, given, labels_csv, label_column)
    for file in sorted(linked, key=lambda file: file not in chosen):
        facts = linked[file][1].drop(columns=["diagnosis"] * (file in chosen))
        for name in facts:
            rows[name] = rows[name].mask(rows[name] == "", facts[name].reindex(rows.index, fill_value=""))
    names, labels = [], rows["folder"]
    if chosen:
        names, labels = _labels({file: linked[file][0] for file in chosen}, rows, label_column)
    rows = rows.assign(published_label=labels.map(classes.standard), split=rows["split"].mask(rows["split"] == "", rows["in"]))
    without = rows.loc[rows["published_label"] == "", "place"].value_counts()
    why = f"without a label in {' or '.join(file.name for file in chosen)}" if chosen else "in no class folder"
    left = {f"images {why} in {place}": count for place, count in without.items()} | left
    rows = rows[rows["published_label"] != ""].drop(columns=["folder", "in", "place"]).reset_index(drop=True)
    if rows.empty:
        raise ValueError(f"None of the {len(files)} images in {root} has a label. Left aside: {_aside(left)}.")
    layout = f"images and {' and '.join(file.name for file in chosen)}" if chosen else "class folders"
    return rows, _understood(rows, layout, ", ".join(dict.fromkeys(names)) or "the folder's name", left)


def _understood(rows, layout, label, left):
    splits = [name for name in ("train", "val", "test") if (rows["split"] == name).any()]
    groups = [name for name in ("patient_id", "lesion_id") if (rows[name] != "").any()]
    sizes = rows["published_label"].value_counts()
    return (f"Layout: {layout}; given splits: {', '.join(splits) or 'none'}\n"
            f"Label: {label}; groups: {', '.join(groups) or 'none given'}; "
            f"classes: {', '.join(f'{name} {count}' for name, count in sizes.items())}\n"
            f"Left aside: {_aside(left)}")


def _aside(left):
    return "; ".join(f"{count} {what}" if count else what for what, count in left.items()) or "nothing"


def _walk(root, passed_over):
    """Return the paths of the images and of the tables below ``root``, and {what else is there: how many}."""
    files, found, left, seen = [], [], Counter(), set()
    for place, folders, names in os.walk(root, followlinks=True):
        here = Path(place)
        folders[:] = sorted(name for name in folders if name[0] != "." and name != "__MACOSX" and here / name not in passed_over
                            and (real := os.path.realpath(here / name)) not in seen and not seen.add(real))
        visible = sorted(here / name for name in names if name[0] != "." and here / name not in passed_over)
        files += [file for file in visible if file.suffix.lower() in images.SUFFIXES]
        found += [file for file in visible if file.suffix.lower() in tables.SUFFIXES]
        left.update(f"{file.suffix or file.name} files" for file in visible
                    if file.suffix.lower() not in images.SUFFIXES | tables.SUFFIXES)
        if not visible and not folders and here != root:
            left[f"empty folder {here.relative_to(root).as_posix()}"] = 0
    return files, found, dict(left)


def _folders(files, root):
    """Return one row per file: ``path``, split (``in``) and class (``folder``) that its folders name, and ``place``."""
    parts = [[text(part) for part in file.relative_to(root).parts[:-1]] for file in files]
    while parts[0][1:] and all(p[1:] and p[0] == parts[0][0] for p in parts) and not split_in(parts[0][0]) \
            and not classes.is_known(parts[0][0]):
        parts = [p[1:] for p in parts]  # a folder around the whole set, as archives unpack
    placed = [_place(p) for p in parts]
    if any(split for split, _ in placed):
        placed = [(split, folder if split else "") for split, folder in placed]
    rows = pd.DataFrame(placed, columns=["in", "folder"]).assign(
        path=[str(file.absolute()) for file in files], place=[p[0] + "/" if p else "the set's folder" for p in parts])
    return rows.assign(**dict.fromkeys([*tables.FACTS, "split", "collection", "origin", "diagnosis"], ""))


def _place(parts):
    """Return the split and the class that the names of a file's folders say, "" where they do not."""
    exact = [at for at, part in enumerate(parts) if classes.plain(part) in tables.SPLITS]
    at = next(iter(exact or [at for at, part in enumerate(parts) if split_in(part)]), -1)
    below = parts[at + 1:]
    return split_in(parts[at]) if at >= 0 else "", next(filter(classes.is_known, below), below[0] if below else "")


def split_in(name):
    """Return the split that a folder's name has as one of its words ("ISIC_2019_Training_Input"), "" for none or two."""
    said = {tables.SPLITS[word] for word in classes.plain(name).split() if word in tables.SPLITS}
    return said.pop() if len(said) == 1 else ""


def text(name):
    """Return a name from the file system as text that can be printed: undecodable bytes are taken as Latin-1."""
    return os.fsencode(name).decode("latin-1") if any("\ud800" <= letter <= "\udfff" for letter in name) else name


def _given(root, labels_csv):
    """Return [path of the table that ``LABELS_CSV`` names], [] where it names none."""
    if labels_csv in ("", "folders"):
        return []
    places = [Path(root, labels_csv), Path(labels_csv).expanduser()]
    if not any(place.is_file() for place in places):
        raise FileNotFoundError(f"LABELS_CSV is {labels_csv!r}, but no such file is in {root} or the working folder.")
    return [next(place for place in places if place.is_file())]


def _link(found, paths, image_column, left):
    """Return {file: (its rows, their facts)} of the tables about the images, indexed by image; others go to ``left``."""
    linked = {}
    for file in found:
        try:
            names = tables.header(file)
        except (csv.Error, ValueError):
            names = []
        candidates = [image_column] if image_column in names else tables.columns(names, "image")
        if not candidates:
            left[f"{file.name} (no column of image names among {', '.join(names[:4])})"] = 0
            continue
        table = tables.read(file)
        pairs = max((tables.match(table[name], paths.tolist()) for name in candidates), key=len)
        unused = len(table) - pairs["line"].nunique()
        left.update({f"rows of {file.name} without an image": unused} if unused else {})
        if len(pairs):
            aligned = [part.loc[pairs["line"]].set_axis(pairs["file"]) for part in (table, tables.facts(table, file))]
            linked[file] = aligned[0], aligned[1][~aligned[1].index.duplicated()]
    return linked


def _choose(root, rows, linked, given, labels_csv, label_column):
    """Return the tables that say the labels, [] if the folders do; refuse where neither or both might."""
    names = sorted(set(rows["folder"]) - {""})
    parts = all(PART.search(classes.plain(name)) for name in names)
    if given and given[0] not in linked:
        raise ValueError(f"LABELS_CSV is {labels_csv!r}, but none of its columns {tables.header(given[0])} names images such as "
                         f"{Path(rows['path'][0]).name!r}; name the column of image names in IMAGE_COLUMN.")
    able = given or [file for file, (table, _) in linked.items() if label_column in table or _candidates(table)]
    said = {label for file in able for labels in _candidates(linked[file][0]).values() for label in labels}
    if labels_csv == "folders" or (not able and names and not parts):
        return []
    if not able:
        seen = f"the folders {', '.join(names[:3])} look like parts of one set" if names else "there are no class folders"
        raise ValueError(f"The labels of the images in {root} are nowhere: {seen}, and no table beside them names images and "
                         "classes. Name the table in LABELS_CSV and its columns in IMAGE_COLUMN and LABEL_COLUMN"
                         + ("; LABELS_CSV = 'folders' takes the folders as classes." if names else "."))
    if given or len(names) < 2 or parts:
        return able
    if any(map(classes.is_known, names)) or said.issuperset(names):
        return []
    raise ValueError(f"Both the folders ({', '.join(names[:3])}, ...) and {able[0].name} "
                     f"may be the labels of {root}; set LABELS_CSV to 'folders' or to {able[0].name!r}.")


def _candidates(table):
    """Return {what it is: labels} of all that may say the class in a table: columns of labels, else one-hot columns."""
    found = [name for name in tables.columns(table.columns, "label") if (table[name] != "").any()]
    if {"benign_malignant", "target"} <= set(found):
        found = ["benign_malignant"]  # as ISIC 2020 has them; its diagnosis is unknown for most
    found.sort(key=lambda name: table[name].str.isdigit().all())  # of two that say the same, the one in words
    labels = {name: table[name] for at, name in enumerate(found)
              if not any(_same(table[name], table[other]) for other in found[:at])}
    hot = pd.DataFrame({name: table[name].str.fullmatch(r"1(\.0*)?") for name in table
                        if table[name].str.fullmatch(r"([01](\.0*)?)?").all()})
    if not labels and hot.shape[1] > 1 and (hot.sum(axis=1) == 1).all():
        labels = {f"the one of {', '.join(hot)} that is 1": hot.idxmax(axis=1)}
    return labels


def _same(labels, others):
    pairs = pd.DataFrame({"a": labels, "b": others}).drop_duplicates()
    return pairs["a"].is_unique and pairs["b"].is_unique


def _labels(chosen, rows, label_column):
    """Return what the labels of the ``chosen`` {file: table} were read from, and them as a Series, index as ``rows``."""
    names, found = [], []
    for file, table in chosen.items():
        labels = {label_column: table[label_column]} if label_column in table else {} if label_column else _candidates(table)
        if len(labels) != 1:
            raise ValueError(f"{file.name} has {'no column' if not labels else 'several columns'} of labels"
                             f"{f' {label_column!r}' * bool(label_column)}: {', '.join(labels or table)}. "
                             "Name the right one in LABEL_COLUMN.")
        names += labels
        found += labels.values()
    labels = pd.concat(found)
    two = labels[labels != ""].map(classes.standard).groupby(level=0).agg(["nunique", "unique"])
    if (two["nunique"] > 1).any():
        image, (_, said) = Path(rows["path"][two["nunique"].idxmax()]).name, two.loc[two["nunique"].idxmax()]
        raise ValueError(f"{(two['nunique'] > 1).sum()} images have two labels in {' and '.join(file.name for file in chosen)}, "
                         f"first {image}: {' and '.join(said)}. Correct the rows, or name one table in LABELS_CSV.")
    return names, labels.mask(labels == "").groupby(level=0).first().reindex(rows.index).fillna("")
