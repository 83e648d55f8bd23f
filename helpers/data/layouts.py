"""Understand how a set of labelled images is laid out: class folders, or images with a table of labels."""

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
    labels_csv, image_column, label_column : as in ``datasets.list_images``, which tells the errors too.

    Returns
    -------
    rows : DataFrame of text: ``path``, ``published_label`` (standard name), ``split``, ``collection`` (of the set's own
        tables), ``diagnosis`` (ISIC 2019 code, where a table says it beside the class folder) and ``tables.FACTS``.
    understood : text of three lines: the layout; labels, groups and classes; what is left aside and why.
    """
    files, found, left = _sorted_out(Path(root), passed_over)
    if not files:
        raise FileNotFoundError(f"No images are in {root} ({', '.join(sorted(images.SUFFIXES))}); name another folder.")
    rows = _folders(files, Path(root))
    given = _given(root, labels_csv)
    linked = _link(dict.fromkeys([*given, *found]), rows["path"], image_column, left)
    try:
        chosen = _choose(rows, linked, given, labels_csv, label_column)
        names, labels = _labels({file: linked[file][0] for file in chosen}, rows, label_column)
    except ValueError as error:
        raise ValueError(f"The labels of {root} are not clear: {error} Seen beside them: {_aside(left)}.") from error
    for file in sorted(linked, key=lambda file: file not in chosen):
        facts = linked[file][1]
        if file in chosen:
            facts = facts.drop(columns="diagnosis")
        elif uncoded := facts["uncoded"][facts["uncoded"] != ""].tolist():
            left[f"diagnoses of {file.name} without an ISIC 2019 class, such as {uncoded[0]!r}"] = len(uncoded)
        for name in facts.drop(columns="uncoded"):
            rows[name] = rows[name].mask(rows[name] == "", facts[name].reindex(rows.index, fill_value=""))
    rows["published_label"] = labels.map(classes.standard)
    rows["split"] = rows["split"].mask(rows["split"] == "", rows["in"])
    without = rows.loc[rows["published_label"] == "", "place"].value_counts()
    why = f"without a label in {' or '.join(file.name for file in chosen)}" if chosen else "in no class folder"
    left = {f"images {why} in {place}": count for place, count in without.items()} | left
    rows = rows[rows["published_label"] != ""].drop(columns=["folder", "in", "place"]).reset_index(drop=True)
    if rows.empty:
        raise ValueError(f"None of the {len(files)} images in {root} has a label. Left aside: {_aside(left)}.")
    layout = f"images and {' and '.join(file.name for file in chosen)}" if chosen else "class folders"
    return rows, _understood(rows, layout, ", ".join(dict.fromkeys(names)), left)


def _understood(rows, layout, label, left):
    splits = [name for name in ("train", "val", "test") if (rows["split"] == name).any()]
    groups = [name for name in ("patient_id", "lesion_id") if (rows[name] != "").any()]
    sizes = rows["published_label"].value_counts()
    return (
        f"Layout: {layout}; given splits: {', '.join(splits) or 'none'}\n"
        f"Label: {label}; groups: {', '.join(groups) or 'none given'}; "
        f"classes: {', '.join(f'{name} {count}' for name, count in sizes.items())}\n"
        f"Left aside: {_aside(left)}"
    )


def _aside(left):
    return "; ".join(f"{count} {what}" if count else what for what, count in left.items()) or "nothing"


def walk(root, passed_over=()):
    """Yield (folder, its files, its folders) of all that is visible below ``root``; a loop of links ends."""
    seen = {os.path.realpath(root)}
    for place, folders, names in os.walk(root, followlinks=True):
        here = Path(place)
        inside = {
            name: os.path.realpath(here / name) for name in sorted(folders) if name[0] != "." and name != "__MACOSX"
        }
        folders[:] = [name for name, real in inside.items() if real not in seen and here / name not in passed_over]
        seen.update(inside.values())
        yield here, sorted(here / name for name in names if name[0] != "." and here / name not in passed_over), folders


def _sorted_out(root, passed_over):
    """Return the paths of the images and of the tables below ``root``, and {what else is there: how many}."""
    found, left = {True: [], False: []}, Counter()
    for here, files, folders in walk(root, passed_over):
        for file in files:
            if file.suffix.lower() in images.SUFFIXES | tables.SUFFIXES:
                found[file.suffix.lower() in images.SUFFIXES].append(file)
            else:
                left[f"{file.suffix or file.name} files"] += 1
        if not files and not folders and here != root:
            left[f"empty folder {here.relative_to(root).as_posix()}"] = 0
    return found[True], found[False], dict(left)


def _folders(files, root):
    """Return one row per file: ``path``, split (``in``) and class (``folder``) that its folders name, and ``place``."""
    parts = [[text(part) for part in file.relative_to(root).parts[:-1]] for file in files]
    while len(parts[0]) > 1 and all(len(p) > 1 and p[0] == parts[0][0] for p in parts) and not _says(parts[0][0]):
        parts = [p[1:] for p in parts]  # a folder around the whole set, as archives unpack
    placed = [_place(p) for p in parts]
    if any(split for split, _ in placed):
        placed = [(split, folder if split else "") for split, folder in placed]
    rows = pd.DataFrame(placed, columns=["in", "folder"]).assign(path=[str(file.absolute()) for file in files])
    rows["place"] = [f"{p[0]}/" if p else "the set's folder" for p in parts]
    return rows.assign(**dict.fromkeys([*tables.FACTS, "split", "collection", "origin", "diagnosis"], ""))


def _says(folder):
    return classes.plain(folder) in tables.SPLITS or classes.is_known(folder)


def _place(parts):
    """Return the split and the class that the names of a file's folders say, "" where they do not."""
    exact = [at for at, part in enumerate(parts) if classes.plain(part) in tables.SPLITS]
    at = next(iter(exact or [at for at, part in enumerate(parts) if split_in(part)]), -1)
    below = parts[at + 1 :]
    return split_in(parts[at]) if at >= 0 else "", next(filter(classes.is_known, below), "".join(below[:1]))


def split_in(name):
    """Return the split that is a word of a folder's name ("ISIC_2019_Training_Input"), "" for none or two."""
    said = {tables.SPLITS[word] for word in classes.plain(name).split() if word in tables.SPLITS}
    return said.pop() if len(said) == 1 else ""


def text(name):
    """Return a name from the file system as text that can be printed: undecodable bytes are taken as Latin-1."""
    return os.fsencode(name).decode("latin-1") if any("\ud800" <= letter <= "\udfff" for letter in name) else name


def _given(root, labels_csv):
    """Return [path of the table that ``LABELS_CSV`` names], [] where it names none."""
    if labels_csv in ("", "folders"):
        return []
    given = [place for place in (Path(root, labels_csv), Path(labels_csv).expanduser()) if place.is_file()][:1]
    if not given:
        raise FileNotFoundError(f"LABELS_CSV is {labels_csv!r}, but no such file is in {root} or the working folder.")
    return given


def _link(found, paths, image_column, left):
    """Return {file: (its rows, their facts)} of the tables about the images, as ``tables.about``; others go to left."""
    linked = {}
    for file in found:
        names = tables.header(file)
        if image_column not in names and not tables.columns(names, "image"):
            left[f"{file.name} (no column of image names among {', '.join(names[:4]) or 'none'})"] = 0
            continue
        rows, facts, unused = tables.about(file, paths, image_column)
        left.update({f"rows of {file.name} without an image": unused} if unused else {})
        if len(rows):
            linked[file] = rows, facts
    return linked


def _choose(rows, linked, given, labels_csv, label_column):
    """Return the tables that say the labels, [] if the folders do; refuse where neither or both might."""
    if given and given[0] not in linked:
        raise ValueError(
            f"LABELS_CSV is {labels_csv!r}, but none of its columns {list(tables.read(given[0]))} names images "
            f"such as {Path(rows['path'][0]).name!r}; name the column of image names in IMAGE_COLUMN."
        )
    able = given or [file for file, (table, _) in linked.items() if label_column in table or _candidates(table)]
    said = {label for file in able for labels in _candidates(linked[file][0]).values() for label in labels}
    names = sorted(set(rows["folder"]) - {""})
    some, parts = ", ".join(names[:3]), all(PART.search(classes.plain(name)) for name in names)
    folders = len(names) > bool(able) and not parts
    named = any(map(classes.is_known, names)) or said.issuperset(names)
    if labels_csv == "folders" or (folders and not given and (named or not able)):
        return []
    if given or (able and not folders):
        return able
    if able:
        table = able[0].name
        raise ValueError(
            f"both the folders ({some}) and {table} may say them; set LABELS_CSV to 'folders' or {table!r}."
        )
    seen = f"the folders {some} look like parts of one set" if names else "there are no class folders"
    raise ValueError(
        f"{seen}, and no table names images and classes. Name one in LABELS_CSV, and its columns in IMAGE_COLUMN and "
        "LABEL_COLUMN; LABELS_CSV = 'folders' takes folders as classes."
    )


def _candidates(table):
    """Return {what it is: labels} of all that may say the class in a table: columns of labels, else one-hot columns."""
    found = [name for name in tables.columns(table.columns, "label") if (table[name] != "").any()]
    if {"benign_malignant", "target"} <= set(found):
        found = ["benign_malignant"]  # as ISIC 2020 has them; its diagnosis is unknown for most
    found.sort(key=lambda name: table[name].str.isdigit().all())  # of two that say the same, the one in words
    labels = {tuple(pd.factorize(table[name])[0]): name for name in reversed(found)}
    labels = {name: table[name] for name in reversed(labels.values())}
    flags = [name for name in table if table[name].str.fullmatch(r"([01](\.0*)?)?").all()]
    hot = table[flags].apply(lambda column: column.str.startswith("1"))
    if not labels and hot.shape[1] > 1 and (hot.sum(axis=1) == 1).all():
        labels = {f"the one of {', '.join(hot)} that is 1": hot.idxmax(axis=1)}
    return labels


def _labels(chosen, rows, label_column):
    """Return what the labels of the ``chosen`` {file: table} were read from, and the labels, index as ``rows``."""
    if not chosen:
        return ["the folder's name"], rows["folder"]
    names, found = [], []
    for file, table in chosen.items():
        labels = _candidates(table)
        if label_column:
            labels = {label_column: table[label_column]} if label_column in table else {}
        if len(labels) != 1:
            what = f"no column {label_column!r}" if label_column else "no column of labels"
            what = "several columns of labels" if labels else what
            raise ValueError(
                f"{file.name} has {what}: {', '.join(labels or table)}. Name the right one in LABEL_COLUMN."
            )
        names += labels
        found += labels.values()
    labels = pd.concat(found)
    labels = labels[labels != ""]
    meant = labels.map(classes.standard).groupby(level=0).unique()
    two = meant[meant.map(len) > 1]
    if len(two):
        raise ValueError(
            f"{len(two)} images have two labels in {' and '.join(file.name for file in chosen)}, first "
            f"{Path(rows['path'][two.index[0]]).name}: {' and '.join(two.iloc[0])}. Correct the rows, or name one "
            "table in LABELS_CSV."
        )
    return names, labels.groupby(level=0).first().reindex(rows.index, fill_value="")
