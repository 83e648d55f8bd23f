"""Choose what says the labels of a set of images, its folders or its tables, or say why that is not clear."""

import re
from pathlib import Path

import pandas as pd

from helpers.data import classes, folders, tables

SETTLE = "Name a table in LABELS_CSV, and its columns in IMAGE_COLUMN and LABEL_COLUMN"


def choose(rows, linked, given, labels_csv, label_column, left, root):
    """Return {table, or None for the folders: (what says the label, the labels)}; ValueError where it is not clear."""
    names, by_folder = sorted(set(rows["folder"]) - {""}), {None: ("the folder's name", rows["folder"])}
    if labels_csv == "folders":
        return by_folder
    if given and given[0] not in linked:
        raise ValueError(
            f"LABELS_CSV is {labels_csv!r}, but none of its columns {', '.join(tables.read(given[0]))} names images "
            f"such as {Path(rows['path'][0]).name!r}; name the column of image names in IMAGE_COLUMN."
        )
    able = {file: labels for file in given or linked if (labels := candidates(linked[file], label_column)) or given}
    dull = [file for file, labels in able.items() if all(map(_constant, labels.values()))]
    for file in dull if len(dull) < len(able) else []:
        left[f"{folders.place(file, root)} (one label for all of its images)"] = 0
        del able[file]
    known, parts = any(map(classes.is_known, names)), all(folders.PART.search(classes.plain(name)) for name in names)
    single = not known and len(names) > len(rows) / 2 > 1
    if len(names) > (bool(linked) and not known) and not parts and not single and not given:
        other = [file for file, labels in able.items() if not known and not _agree(labels, rows["folder"])]
        if not other:
            return by_folder | _not_in_folders(able, rows)
        if not all(linked[file].by_folder for file in other):
            table = folders.place(other[0], root)
            raise ValueError(
                f"both the folders ({', '.join(names[:3])}) and {table} may give them. Set LABELS_CSV to 'folders' or "
                f"{table!r}."
            )
    if not able:
        able = {file: labels for file in linked if (labels := _only_other(linked[file]))}
    if not able:
        raise ValueError(_missing(rows, linked, names, parts, label_column, root))
    for file, labels in able.items():
        if len(labels) != 1:
            what = f"several columns of labels: {', '.join(labels)}" if labels else "no column of labels"
            columns = ", ".join(linked[file].rows)
            raise ValueError(
                f"{folders.place(file, root)} has {what}. Name the right one of {columns} in LABEL_COLUMN."
            )
        if linked[file].doubt:
            raise ValueError(f"of {folders.place(file, root)}, {linked[file].doubt}.")
    return {file: next(iter(labels.items())) for file, labels in able.items()}


def _not_in_folders(able, rows):
    """Return {table: (what says the label, the labels)} of tables that use the folders' classes for other images.

    ValueError if two levels of folders may be the classes.
    """
    if lower := sorted(set(rows["below"]) - {""}):
        upper = ", ".join(sorted(set(rows["folder"]) - {""})[:3])
        raise ValueError(f"folders of two levels may be the classes: {upper}; or {', '.join(lower[:3])}. {SETTLE}.")
    said = {file: next(iter(labels.items())) for file, labels in able.items() if len(labels) == 1}
    return {
        file: (what, labels)
        for file, (what, labels) in said.items()
        if (rows["folder"][labels.index] == "").any() and _agree({what: labels}, rows["folder"])
    }


def _missing(rows, linked, names, parts, label_column, root):
    """Return what is missing where neither folders nor tables say the labels, and what settles it."""
    columns = {file: ", ".join(about.rows.columns[:12]) for file, about in linked.items()}
    if label_column and linked:
        return f"LABEL_COLUMN names no column {label_column!r}: {'; '.join(columns.values())}."
    for file, about in linked.items():
        flags = _flags(about)
        if flags.shape[1] > 1 and (flags.sum(axis=1) > 1).any():
            return (
                f"{folders.place(file, root)} says several classes of {(flags.sum(axis=1) > 1).sum()} images (columns "
                f"{', '.join(flags.columns[:6])}), but the course learns one class per image. {SETTLE}."
            )
    if linked:
        file = next(iter(linked))
        return (
            f"{folders.place(file, root)} names the images, but none of its columns {columns[file]} is known as that "
            f"of the labels. {SETTLE}."
        )
    seen = f"the folders {', '.join(names[:3])} look like parts of one set" if names else "there are no class folders"
    if names and not parts:
        seen = f"there is a folder for each picture ({names[0]}, ...)"
    return f"{seen}, and no table lists images and classes. {SETTLE}; LABELS_CSV = 'folders' takes folders as classes."


def candidates(about, label_column):
    """Return {what it is: labels} of all that may say the class in a table: columns of labels, else one-hot columns."""
    table = about.rows
    if label_column:
        return {label_column: _labels(table, label_column)} if label_column in table else {}
    found = [name for name in tables.columns(table.columns, "label") if (_labels(table, name) != "").any()]
    if {"benign_malignant", "target"} <= set(found):
        found = ["benign_malignant"]  # as ISIC 2020 has them; its diagnosis is unknown for most
    levels = [name for name in found if re.fullmatch(r"diagnosis_\d", name)]  # of the ISIC Archive: 3 is the class
    found = [name for name in found if name not in levels] + (["diagnosis_3"] if "diagnosis_3" in levels else levels)
    found.sort(key=lambda name: table[name].str.isdigit().all())  # of two that say the same, the one in words
    labels = {name: _labels(table, name) for name in found}
    different = pd.DataFrame({name: pd.factorize(column)[0] for name, column in labels.items()}).T.drop_duplicates()
    hot = _flags(about)
    if set(map(classes.plain, hot)) == {"melanoma", "seborrheic keratosis"}:  # ISIC 2017: neither is a nevus
        hot["nevus"] = ~hot.any(axis=1)
    if found or hot.shape[1] < 2 or not (hot.sum(axis=1) == 1).all():
        return {name: labels[name] for name in different.index}
    return {f"the one of {', '.join(hot)} that is 1": hot.idxmax(axis=1)}


def _labels(table, name):
    """Return a column's labels, "" where it says that nothing is known; "none" may be a class."""
    labels = tables.known(table[name].mask(table[name].str.lower() == "none", "none ")).str.strip()
    return labels.map(classes.from_archive) if re.fullmatch(r"diagnosis_\d", name) else labels


def _flags(about):
    """Return the columns of a table that are 0 or 1 (or False or True) in every row, as booleans."""
    text = about.rows.apply(lambda column: column.str.lower())
    flags = [name for name in text if text[name].str.fullmatch(r"([01](\.0*)?|true|false)?").all()]
    return text[flags].apply(lambda column: column.str.startswith(("1", "true")))


def _only_other(about):
    """Return {name: labels} of the only column that is not about something else, if it has few values."""
    meant = [about.image_column, *(name for what in tables.FACTS for name in tables.columns(about.rows.columns, what))]
    others = [name for name in about.rows if name not in meant]
    few = len(others) == 1 and 1 < about.rows[others[0]].nunique() <= max(2, len(about.rows) / 4)
    return {others[0]: _labels(about.rows, others[0])} if few else {}


def _constant(labels):
    """Say whether labels are all the same number, or all of one one-hot column, as forms of answers have them."""
    return labels.nunique() == 1 and (labels.iloc[0].replace(".", "", 1).isdigit() or "that is 1" in str(labels.name))


def _agree(labels, named):
    """Say whether a table's labels (candidates) use the classes of the folders, and say the same of each image."""
    for column in labels.values():
        both = pd.DataFrame({"table": column, "folder": named.reindex(column.index)}).map(classes.standard)
        both = both.map(classes.plain)
        two = both[(both["table"] != "") & (both["folder"] != "")]
        if not set(both["table"]) & set(named.map(classes.standard).map(classes.plain)) - {""}:
            return False
        if (two["table"] != two["folder"]).any():
            return False
    return True


def agreed(said, rows, root):
    """Return the class that the chosen sources say of each row, "" where nothing; ValueError if tables say two."""
    labels = pd.concat([column for file, (_, column) in said.items() if file] or [pd.Series(dtype=str)])
    labels = labels[labels != ""]
    meant = labels.map(classes.standard).map(classes.plain).groupby(level=0).nunique()
    if len(two := meant.index[meant > 1]):
        names = " and ".join(folders.place(file, root) for file in said if file)
        raise ValueError(
            f"{len(two)} images have two labels in {names}, first {Path(rows['path'][two[0]]).name}: "
            f"{' and '.join(labels[[two[0]]].unique())}. Correct the rows, or name one table in LABELS_CSV."
        )
    labels = labels[~labels.index.duplicated()].reindex(rows.index, fill_value="")
    return rows["folder"].mask(rows["folder"] == "", labels) if None in said else labels
