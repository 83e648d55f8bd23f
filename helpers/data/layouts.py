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
    """List the images of the set below the folder ``root``, but for the paths ``passed_over``.

    Parameters and errors are those of ``datasets.list_images``. Returns a DataFrame of text: ``path``,
    ``published_label`` (standard name), ``diagnosis`` (only where the folder is the label) and what else
    ``tables.about`` says; and three lines: the layout; labels, groups and classes; what is left aside and why.
    """
    files, found, left = _sorted_out(root, passed_over)
    if not files:
        raise FileNotFoundError(f"No images are in {root} ({', '.join(sorted(images.SUFFIXES))}); name another folder.")
    rows = _folders(files, root)
    given = [] if labels_csv in ("", "folders") else [Path(root, labels_csv)]
    linked = _linked([*given, *found], rows["path"], image_column, left)
    try:
        chosen = _choose(rows, {file: about for file, (about, _) in linked.items()}, given, labels_csv, label_column)
        rows["published_label"] = _agreed(chosen, rows) if chosen else rows["folder"].map(classes.standard)
    except ValueError as error:
        raise ValueError(f"The labels of {root} are not clear: {error} Seen beside them: {_aside(left)}.") from error
    for file in [*chosen, *(file for file in linked if file not in chosen)]:
        facts = linked[file][1].drop(columns="uncoded").reindex(rows.index, fill_value="")
        facts = facts.drop(columns="diagnosis") if file in chosen else facts
        rows[facts.columns] = rows[facts.columns].mask(rows[facts.columns] == "", facts)
        uncoded = [word for word in linked[file][1]["uncoded"] if word and file not in chosen]
        if uncoded:
            left[f"diagnoses of {file.name} without an ISIC 2019 class, such as {uncoded[0]!r}"] = len(uncoded)
    rows["split"] = rows["split"].mask(rows["split"] == "", rows["in"])
    names = " and ".join(file.name for file in chosen)
    for place, count in rows.loc[rows["published_label"] == "", "place"].value_counts().items():
        left[f"images {f'without a label in {names}' if chosen else 'in no class folder'} in {place}"] = count
    rows = rows[rows["published_label"] != ""].drop(columns=["folder", "in", "place"]).reset_index(drop=True)
    if rows.empty:
        raise ValueError(f"None of the {len(files)} images in {root} has a label. Left aside: {_aside(left)}.")
    label = ", ".join(dict.fromkeys(column for column, _ in chosen.values())) or "the folder's name"
    return rows, _understood(rows, f"images and {names}" if chosen else "class folders", label, left)


def _linked(found, paths, image_column, left):
    """Return {table: (its rows about the images, what they say)}; what no table links is put into ``left``."""
    linked = {}
    for file in dict.fromkeys(found):
        names = tables.header(file)
        if image_column not in names and not tables.columns(names, "image"):
            left[f"{file.name} (no column of image names among {', '.join(names[:4]) or 'none'})"] = 0
            continue
        rows, facts, unused = tables.about(file, paths, image_column)
        if len(rows):
            linked[file] = rows, facts
        if unused or rows.empty:
            left[f"rows of {file.name} without an image" if unused else f"{file.name} (no rows)"] = unused
    return linked


def _understood(rows, layout, label, left):
    splits = [name for name in ("train", "val", "test") if (rows["split"] == name).any()]
    groups = [name for name in ("patient_id", "lesion_id") if (rows[name] != "").any()]
    sizes = [f"{name} {count}" for name, count in rows["published_label"].value_counts().items()]
    return (
        f"Layout: {layout}; given splits: {', '.join(splits) or 'none'}\n"
        f"Label: {label}; groups: {', '.join(groups) or 'none given'}; classes: {', '.join(sizes)}\n"
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


def is_image(file):
    """Say whether a file's name has the suffix of an image."""
    return file.suffix.lower() in images.SUFFIXES


def text(name):
    """Return a name from the file system as text that can be printed: undecodable bytes are taken as Latin-1."""
    return os.fsencode(name).decode("latin-1") if any("\ud800" <= letter <= "\udfff" for letter in name) else name


def _sorted_out(root, passed_over):
    """Return the paths of the images and of the tables below ``root``, and {what else is there: how many}."""
    files, found, left = [], [], Counter()
    for here, inside, folders in walk(root, passed_over):
        files += filter(is_image, inside)
        for file in inside:
            if file.suffix.lower() in tables.SUFFIXES:
                found.append(file)
            elif not is_image(file):
                left[f"{file.suffix or file.name} files"] += 1
        if not inside and not folders and here != root:
            left[f"empty folder {here.relative_to(root).as_posix()}"] = 0
    return files, found, dict(left)


def _folders(files, root):
    """Return one row per file: ``path``, split (``in``) and class (``folder``) that its folders name, and ``place``."""
    parts = [[text(part) for part in file.relative_to(root).parts[:-1]] for file in files]
    while len(parts[0]) > 1 and all(len(p) > 1 and p[0] == parts[0][0] for p in parts):
        if classes.plain(parts[0][0]) in tables.SPLITS or classes.is_known(parts[0][0]):
            break
        parts = [p[1:] for p in parts]  # a folder around the whole set, as archives unpack
    placed = [_place(p) for p in parts]
    if any(split for split, _ in placed):
        placed = [(split, folder if split else "") for split, folder in placed]
    rows = pd.DataFrame(placed, columns=["in", "folder"]).assign(path=[str(file.absolute()) for file in files])
    rows["place"] = [f"{p[0]}/" if p else "the set's folder" for p in parts]
    return rows.assign(**dict.fromkeys([*tables.FACTS, "split", "collection", "origin", "diagnosis"], ""))


def _place(parts):
    """Return the split and the class that the names of a file's folders say, "" where they do not."""
    at = next((at for at, part in enumerate(parts) if _split_in(part)), -1)
    below = parts[at + 1 :]
    return _split_in(parts[at]) if at >= 0 else "", next(filter(classes.is_known, below), "".join(below[:1]))


def _split_in(name):
    """Return the split that is a word of a folder's name ("ISIC_2019_Training_Input"), "" for none or two."""
    said = {tables.SPLITS[word] for word in classes.plain(name).split() if word in tables.SPLITS}
    return said.pop() if len(said) == 1 else ""


def _choose(rows, linked, given, labels_csv, label_column):
    """Return {table: (column, its labels)} of the tables that say the labels, {} if the folders do.

    ValueError where neither or both might, or a table has no column of labels, or several.
    """
    if given and given[0] not in linked:
        raise ValueError(
            f"LABELS_CSV is {labels_csv!r}, but none of its columns {list(tables.read(given[0]))} names images "
            f"such as {Path(rows['path'][0]).name!r}; name the column of image names in IMAGE_COLUMN."
        )
    said = {file: _candidates(linked[file], label_column) for file in given or linked}
    able = {file: labels for file, labels in said.items() if labels or given}
    names = sorted(set(rows["folder"]) - {""})
    some, parts = ", ".join(names[:3]), all(PART.search(classes.plain(name)) for name in names)
    folders = len(names) > bool(able) and not parts
    values = {label for labels in able.values() for column in labels.values() for label in column}
    named = any(map(classes.is_known, names)) or values.issuperset(names)
    if labels_csv == "folders" or (folders and not given and (named or not able)):
        return {}
    if able and folders and not given:
        table = next(iter(able)).name
        raise ValueError(
            f"both the folders ({some}) and {table} may say them; set LABELS_CSV to 'folders' or {table!r}."
        )
    if not able and label_column and linked:
        seen = dict.fromkeys(name for table in linked.values() for name in table)
        raise ValueError(f"LABEL_COLUMN names no column {label_column!r}: {', '.join(seen)}.")
    if not able:
        seen = f"the folders {some} look like parts of one set" if names else "there are no class folders"
        raise ValueError(
            f"{seen}, and no table names images and classes. Name one in LABELS_CSV, and its columns in IMAGE_COLUMN "
            "and LABEL_COLUMN; LABELS_CSV = 'folders' takes folders as classes."
        )
    for file, labels in able.items():
        if len(labels) != 1:
            what = f"several columns of labels: {', '.join(labels)}" if labels else "no column of labels"
            raise ValueError(f"{file.name} has {what}. Name the right one of {list(linked[file])} in LABEL_COLUMN.")
    return {file: next(iter(labels.items())) for file, labels in able.items()}


def _candidates(table, label_column):
    """Return {what it is: labels} of all that may say the class in a table: columns of labels, else one-hot columns."""
    if label_column:
        return {label_column: table[label_column]} if label_column in table else {}
    found = [name for name in tables.columns(table.columns, "label") if (table[name] != "").any()]
    if {"benign_malignant", "target"} <= set(found):
        found = ["benign_malignant"]  # as ISIC 2020 has them; its diagnosis is unknown for most
    found.sort(key=lambda name: table[name].str.isdigit().all())  # of two that say the same, the one in words
    different = pd.DataFrame({name: pd.factorize(table[name])[0] for name in found}).T.drop_duplicates()
    labels = {name: table[name] for name in different.index}
    flags = [name for name in table if table[name].str.fullmatch(r"([01](\.0*)?)?").all()]
    hot = table[flags].apply(lambda column: column.str.startswith("1"))
    if not labels and hot.shape[1] > 1 and (hot.sum(axis=1) == 1).all():
        labels = {f"the one of {', '.join(hot)} that is 1": hot.idxmax(axis=1)}
    return labels


def _agreed(chosen, rows):
    """Return the class that the chosen tables say of each row, "" where nothing; ValueError if they say two."""
    labels = pd.concat([column for _, column in chosen.values()])
    labels = labels[labels != ""]
    meant = labels.map(classes.standard).groupby(level=0).unique()
    two = meant[meant.map(len) > 1]
    if len(two):
        raise ValueError(
            f"{len(two)} images have two labels in {' and '.join(file.name for file in chosen)}, first "
            f"{Path(rows['path'][two.index[0]]).name}: {' and '.join(two.iloc[0])}. Correct the rows, or name one "
            "table in LABELS_CSV."
        )
    return meant.str[0].reindex(rows.index, fill_value="")
