"""Understand how a set of labelled images is laid out: class folders, or images with a table of labels."""

import contextlib
import os
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from helpers import manifest
from helpers.data import classes, families, images, matching, tables

# Folders that hold a part of the images of all classes, as "HAM10000_images_part_1", or copies of them.
PART = re.compile(r"\b(part|fold|images?|imgs?|input|jpe?gs?|pngs?|photos?|pictures?|data|outputs?|augmented)( ?\d+)?$")
FORM = re.compile(r"submission", re.IGNORECASE)  # of an answer to a challenge: its labels are made up
MAKE = "Give image files, and their labels as folders or as a table; docs/data.md says how to make them."
SETTLE = "Name a table in LABELS_CSV, and its columns in IMAGE_COLUMN and LABEL_COLUMN"


def read_set(root, passed_over=(), labels_csv="", image_column="", label_column="", draft=""):
    """List the images of the set below the folder ``root``, but for the paths ``passed_over``.

    Parameters and errors are those of ``datasets.list_images``. Returns a DataFrame of text: ``path``,
    ``published_label`` (standard name), ``diagnosis`` (only where the folder is the label) and what else
    ``tables.about`` says; and three lines: the layout; labels, groups and classes; what is left aside and why.
    """
    files, found, left = _sorted_out(root, passed_over)
    if not files:
        raise FileNotFoundError(f"No images are in {root}. It has: {_aside(left)}. {MAKE}")
    rows, linked = _folders(files, root, labels_csv == "folders"), {}
    given = [] if labels_csv in ("", "folders") else [Path(root, labels_csv)]
    try:
        linked = _linked([*given, *found], matching.Files(rows["path"], root), given, image_column, left)
        said = _choose(rows, linked, given, labels_csv, label_column, left, root)
        labels = _agreed(said, rows, root)
    except ValueError as error:
        said = f"The labels of {root} are not clear: {error}\nBeside the images: {_aside(left)}."
        if draft and _write_draft(rows, linked, root, draft):
            said += (
                f"\nA draft of a table of labels is {Path(draft).absolute()}: correct it, and give it as LABELS_CSV."
            )
        raise ValueError(said) from error
    rows["published_label"] = labels.map(classes.standard)
    chosen = [file for file in said if file]
    for file in [*chosen, *(file for file in linked if file not in chosen)]:
        facts = linked[file].facts.reindex(rows.index, fill_value="")
        uncoded = [word for word in facts.pop("uncoded") if word and file not in chosen]
        facts = facts.drop(columns="diagnosis") if file in chosen else facts
        rows[facts.columns] = rows[facts.columns].mask(rows[facts.columns] == "", facts)
        left |= linked[file].notes
        if uncoded:
            left[f"diagnoses of {file.name} without an ISIC 2019 class, such as {uncoded[0]!r}"] = len(uncoded)
    rows["split"] = rows["split"].mask(rows["split"] == "", rows["in"])
    names = " and ".join(_place(file, root) for file in chosen)
    for place, count in rows.loc[rows["published_label"] == "", "place"].value_counts().items():
        left[f"images {f'without a label in {names}' if chosen else 'in no class folder'} in {place}"] = count
    kept = rows[rows["published_label"] != ""].drop(columns=["folder", "below", "in", "place"]).reset_index(drop=True)
    if kept.empty:
        raise ValueError(f"None of the {len(files)} images in {root} has a label. Left aside: {_aside(left)}.")
    layout = " and ".join(["class folders"] * (None in said) + [f"images and {names}"] * bool(chosen))
    column = ", ".join(dict.fromkeys(what for what, _ in said.values()))
    return kept, _understood(kept, layout, column + _merged(labels), left)


def _merged(labels):
    """Say which spellings of class names (a Series) were read as one: "; read as one: nevus = NV, nv"."""
    spelled = pd.Series(sorted(set(labels) - {""}), dtype=str)
    several = spelled.groupby(spelled.map(classes.standard).map(classes.plain)).agg(list)
    one = [f"{classes.standard(names[0])} = {', '.join(names)}" for names in several if len(names) > 1]
    return f"; read as one: {'; '.join(one)}" if one else ""


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


def walk(root, passed_over=(), refused=lambda error: None):
    """Yield (folder, its files, its folders) of all that is visible below ``root``; a loop of links ends.

    Of a folder that may not be opened, ``refused`` is called with the OSError.
    """
    seen = {os.path.realpath(root)}
    for place, folders, names in os.walk(root, followlinks=True, onerror=refused):
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
    files, found, other, left, refused = [], [], {}, {}, []
    for here, inside, folders in walk(root, passed_over, refused.append):
        files += filter(is_image, inside)
        for file in inside:
            if file.suffix.lower() in tables.SUFFIXES and not file.is_file():  # a pipe would be waited for without end
                left[f"{_place(file, root)}, which is no file or leads to none"] = 0
            elif file.suffix.lower() in tables.SUFFIXES:
                found.append(file)
            elif not is_image(file):
                other.setdefault(file.suffix or file.name, []).append(_place(file, root))
        if not inside and not folders and here != root:
            left[f"empty folder {_place(here, root)}"] = 0
    for error in refused:
        left[f"folder {_place(error.filename, root)}, which cannot be opened ({error.strerror})"] = 0
    left |= {f"{suffix} files, such as {names[0]}": len(names) for suffix, names in other.items()}
    if drawn := set(families.masks(files)):
        left[f"masks or other drawings over images, such as {_place(min(drawn), root)}"] = len(drawn)
    return [file for file in files if file not in drawn], found, left


def _place(file, root):
    """Return the path of a file of the set below ``root``, as text."""
    file = Path(file)
    return text((file.relative_to(root) if file.is_relative_to(root) else file).as_posix())


def _linked(found, files, given, image_column, left):
    """Return {table: what it says about the images}; what says nothing of them is put into ``left``."""
    linked, silent = {}, {}
    for file in dict.fromkeys(found):
        about = tables.about(file, files, image_column)
        if FORM.search(file.stem) and file not in given:
            silent[file] = {f"{file.name} (a submission template, no labels)": 0}
        elif about.image_column or about.doubt:
            linked[file] = about
        else:
            silent[file] = about.notes
    for notes in list(silent.values())[: 3 if len(silent) < 4 else 1]:
        left |= notes
    if len(silent) > 3:
        left["other tables that do not list the images"] = len(silent) - 1
    return linked


def _folders(files, root, exactly):
    """Return one row per file: ``path``, split (``in``) and class (``folder``) that its folders name, and ``place``.

    ``exactly``: folders of parts are classes too. Of two levels of folders that may be the classes, ``folder`` is the
    upper one and ``below`` the lower one.
    """
    parts = [[text(part) for part in file.relative_to(root).parts[:-1]] for file in files]
    while len(parts[0]) > 1 and all(len(p) > 1 and p[0] == parts[0][0] for p in parts):
        if classes.plain(parts[0][0]) in matching.SPLITS or classes.is_known(parts[0][0]):
            break
        parts = [p[1:] for p in parts]  # a folder around the whole set, as archives unpack
    at = next(filter(lambda depth: _splits(parts, depth), range(max(map(len, parts)))), None)
    split = ["" if at is None or len(p) <= at else matching.split_of(p[at]) for p in parts]
    within = [p if at is None else p[:at] + p[at + 1 :] if split else [] for p, split in zip(parts, split)]
    if not exactly:
        within = [[part for part in p if not PART.search(classes.plain(part))] or p for p in within]
    depths = Counter(depth for p in within for depth, part in enumerate(p) if classes.is_known(part))
    level = max(depths, key=depths.get, default=0)
    rows = pd.DataFrame({"path": [str(file.absolute()) for file in files], "in": split})
    rows["folder"] = [next(filter(classes.is_known, p), ["", *p][min(level + 1, len(p))]) for p in within]
    under = pd.Series([p[1] if not depths and len(p) > 1 else "" for p in within])
    spread = rows["folder"].groupby(under).nunique()
    crossed = [name for name in spread.index[spread > 1] if re.search(r"[^\W\d_]", name)]
    rows["below"] = under if len(crossed) > 1 else ""
    rows["place"] = [f"{p[0]}/" if p else "the set's folder" for p in parts]
    return rows.assign(**dict.fromkeys([*tables.FACTS, "split", "collection", "origin", "diagnosis"], ""))


def _splits(parts, depth):
    """Say whether the folders at a depth are splits: all or two of them, or the only one that has folders in it."""
    here = {p[depth] for p in parts if len(p) > depth}
    deeper = {p[depth] for p in parts if len(p) > depth + 1}
    splits = {name: matching.split_of(name) for name in here if matching.split_of(name)}
    alone = splits and deeper and deeper <= set(splits)
    return bool(splits) and (len(splits) == len(here) or len(set(splits.values())) > 1 or alone)


def _choose(rows, linked, given, labels_csv, label_column, left, root):
    """Return {table, or None for the folders: (what says the label, the labels)}; ValueError where it is not clear."""
    names, folders = sorted(set(rows["folder"]) - {""}), {None: ("the folder's name", rows["folder"])}
    if labels_csv == "folders":
        return folders
    if given and given[0] not in linked:
        raise ValueError(
            f"LABELS_CSV is {labels_csv!r}, but none of its columns {', '.join(tables.read(given[0]))} names images "
            f"such as {Path(rows['path'][0]).name!r}; name the column of image names in IMAGE_COLUMN."
        )
    able = {file: labels for file in given or linked if (labels := _candidates(linked[file], label_column)) or given}
    dull = [file for file, labels in able.items() if all(map(_constant, labels.values()))]
    for file in dull if len(dull) < len(able) else []:
        left[f"{_place(file, root)} (one label for all of its images)"] = 0
        del able[file]
    known, parts = any(map(classes.is_known, names)), all(PART.search(classes.plain(name)) for name in names)
    single = not known and len(names) > len(rows) / 2 > 1
    if len(names) > bool(able) and not parts and not single and not given:
        other = [file for file, labels in able.items() if not known and not _agree(labels, rows["folder"])]
        if not other:
            return folders | _not_in_folders(able, rows)
        if not all(linked[file].by_folder for file in other):
            table = _place(other[0], root)
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
            raise ValueError(f"{_place(file, root)} has {what}. Name the right one of {columns} in LABEL_COLUMN.")
        if linked[file].doubt:
            raise ValueError(f"of {_place(file, root)}, {linked[file].doubt}.")
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
                f"{_place(file, root)} says several classes of {(flags.sum(axis=1) > 1).sum()} images (columns "
                f"{', '.join(flags.columns[:6])}), but the course learns one class per image. {SETTLE}."
            )
    if linked:
        file = next(iter(linked))
        return (
            f"{_place(file, root)} names the images, but none of its columns {columns[file]} is known as that of the "
            f"labels. {SETTLE}."
        )
    seen = f"the folders {', '.join(names[:3])} look like parts of one set" if names else "there are no class folders"
    if names and not parts:
        seen = f"there is a folder for each picture ({names[0]}, ...)"
    return f"{seen}, and no table lists images and classes. {SETTLE}; LABELS_CSV = 'folders' takes folders as classes."


def _candidates(about, label_column):
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


def _agree(labels, folders):
    """Say whether a table's labels (candidates) use the classes of the folders, and say the same of each image."""
    for column in labels.values():
        both = pd.DataFrame({"table": column, "folder": folders.reindex(column.index)}).map(classes.standard)
        both = both.map(classes.plain)
        two = both[(both["table"] != "") & (both["folder"] != "")]
        if not set(both["table"]) & set(folders.map(classes.standard).map(classes.plain)) - {""}:
            return False
        if (two["table"] != two["folder"]).any():
            return False
    return True


def _agreed(said, rows, root):
    """Return the class that the chosen sources say of each row, "" where nothing; ValueError if tables say two."""
    labels = pd.concat([column for file, (_, column) in said.items() if file] or [pd.Series(dtype=str)])
    labels = labels[labels != ""]
    meant = labels.map(classes.standard).map(classes.plain).groupby(level=0).nunique()
    if len(two := meant.index[meant > 1]):
        names = " and ".join(_place(file, root) for file in said if file)
        raise ValueError(
            f"{len(two)} images have two labels in {names}, first {Path(rows['path'][two[0]]).name}: "
            f"{' and '.join(labels[[two[0]]].unique())}. Correct the rows, or name one table in LABELS_CSV."
        )
    labels = labels[~labels.index.duplicated()].reindex(rows.index, fill_value="")
    return rows["folder"].mask(rows["folder"] == "", labels) if None in said else labels


def _write_draft(rows, linked, root, file):
    """Write a draft of a plain table of the set, with what could be understood; say whether that is possible."""
    facts = pd.concat([about.facts for about in linked.values()] or [rows[:0]]).groupby(level=0).first()
    facts = facts.reindex(rows.index).reindex(columns=["lesion_id", "patient_id", "collection"]).fillna("")
    said = [next(iter(_candidates(about, "").values()), pd.Series(dtype=str)) for about in linked.values()]
    labels = pd.concat([pd.Series(dtype=str), *said]).groupby(level=0).first().reindex(rows.index, fill_value="")
    label = rows["below"].mask(rows["below"] == "", rows["folder"]).mask(lambda named: named == "", labels)
    path = [_place(path, root) for path in rows["path"]]
    table = pd.DataFrame({"path": path, "label": label, "split": rows["in"]}).join(facts)
    with contextlib.suppress(OSError):
        manifest.write_text(table.to_csv(index=False, lineterminator="\n"), file)
    return Path(file).is_file()
