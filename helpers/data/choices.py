"""Choose what says the labels of a set of images, its folders or its tables, or say why that is not clear."""

import re
from pathlib import Path

import pandas as pd

from helpers.data import classes, folders, tables

SETTLE = "Name a table in LABELS_CSV, and its columns in IMAGE_COLUMN and LABEL_COLUMN"
SEVERAL = f"{{}} says several classes of {{}} images ({{}}), but the course learns one class per image. {SETTLE}."


def choose(rows, linked, labels_csv, label_column, left):
    """Return {table, or None for the folders: (what says the label, the labels)}; ValueError where it is not clear."""
    names, by_folder = sorted(set(rows["folder"]) - {""}), {None: ("the folder's name", rows["folder"])}
    if labels_csv == "folders":
        return by_folder
    linked = dict([*linked.items()][: 1 if labels_csv else None])
    able = {file: labels for file in linked if (labels := candidates(linked[file], label_column))}
    alike = [file for file in able if not linked[file].doubt and all(one.nunique() < 2 for one in able[file].values())]
    if len(alike) < len(able):
        left |= {f"{file} (one label for all of its images)": 0 for file in alike}
        able = {file: able[file] for file in able if file not in alike}
    known, parts = any(map(classes.is_known, names)), all(folders.PART.search(classes.plain(name)) for name in names)
    numbered = len({re.sub(r"(?<=\D)\d+$", "", name) for name in names}) == 1 < len(names)
    parts |= numbered and not known and any(re.match(r"\.(xlsx?|ods|mat) ", what) for what in left)
    single = not known and len(names) > max(len(rows) / 5, min(len(rows) / 2, 9)) > 1
    for about in linked.values():  # folders of lesions or patients are no classes
        ids, named = about.facts[["lesion_id", "patient_id"]], rows["folder"][about.facts.index].replace("", None)
        single |= ids.eq(named, axis=0).any(axis=1).mean() > 0.5
    if len(names) > (bool(linked or left) and not known) and not parts and not single and not labels_csv:
        other = [file for file, labels in able.items() if not known and not _agree(labels, rows["folder"])]
        least = (rows["folder"] != "").sum() / 10
        few = [file for file in other if len(linked[file].rows) < least and not linked[file].doubt]
        left |= {f"{file} (labels of few images)": 0 for file in few}
        other = [file for file in other if file not in few]
        other = other or [file for file in linked if not known and file not in able and _rivals(linked[file], rows)]
        upper, lower = ", ".join(names[:3]), ", ".join(sorted(set(rows["below"]) - {""})[:3])
        if lower and not other:
            raise ValueError(f"folders of two levels may be the classes: {upper}; or {lower}. {SETTLE}.")
        if not other:  # a table may label the images that are in no class folder
            bare = (rows["folder"] == "") & ((rows["in"] != "") | (rows["in"] == "").all())
            files = [file for file in linked if file not in alike and bare[linked[file].rows.index].any()]
            more = {file: candidates(linked[file], label_column, names) for file in files}
            agreed_on = [file for file, labels in more.items() if len(labels) == 1 and _agree(labels, rows["folder"])]
            return by_folder | {file: next(iter(more[file].items())) for file in agreed_on}
        if not all(linked[file].by_folder and file in able for file in other):
            raise ValueError(
                f"both the folders ({upper}) and {other[0]} may give them. "
                f"Set LABELS_CSV to 'folders' or {str(other[0])!r}."
            )
    able = able or {file: labels for file in linked if (labels := _only_other(linked[file]))}
    if not able:
        raise ValueError(_missing(linked, names, parts, label_column))
    for file, labels in able.items():
        if len(labels) != 1:
            columns = f"{', '.join(labels)}. Name the right one of {', '.join(linked[file].rows)} in LABEL_COLUMN."
            raise ValueError(f"{file} has several columns of labels: {columns}")
        if linked[file].doubt:
            raise ValueError(f"of {file}, {linked[file].doubt}.")
        if several := _several(set(next(iter(labels.values()))) - {""}):
            count = next(iter(labels.values())).isin(several).sum()
            raise ValueError(SEVERAL.format(file, count, f"such as {min(several)!r}"))
    return {file: next(iter(labels.items())) for file, labels in able.items()}


def candidates(about, label_column, names=()):
    """Return {what it is: labels} of all that may say the class in a table: columns of labels, else one-hot columns.

    A column of any name whose words are classes of folders (``names``), or of a column of labels, is one of labels.

    Of columns that say the same of every image one is taken, rather in words than in numbers; one that says the class
    of far fewer images than another is none.
    """
    table = about.rows
    called = [label_column] if label_column else tables.columns(table, "label")
    labels = {name: _labels(table, name) for name in called if name in table}
    if not label_column:  # a second opinion: some other column that has the classes of this one
        flag = rf"{tables.NUMBER}|y(es)?|no?|true|false|positive|negative|present|absent"  # may be about anything
        own = [{*names}, *(set(said) for said in labels.values() if not said.str.fullmatch(flag, case=False).any())]
        others = {name: set(tables.known(table[name])) - {""} for name in table if name not in labels}
        more = [name for name, said in others.items() if len(said) > 1 and any(said <= one for one in own)]
        labels |= {name: _labels(table, name) for name in more}
    if not label_column and "diagnosis_3" in labels:  # of the levels of the ISIC Archive, this one is the class
        labels = {name: said for name, said in labels.items() if not re.fullmatch(r"diagnosis_[1245]", name)}
    most = max(((said != "").sum() for said in labels.values()), default=0)
    labels = {name: said for name, said in labels.items() if (said != "").sum() > 0.9 * most}
    in_words = sorted(labels, key=lambda name: labels[name].str.isdigit().all())
    different = pd.DataFrame({name: pd.factorize(labels[name])[0] for name in in_words}).T.drop_duplicates()
    hot = _flags(about)
    if set(map(classes.plain, hot)) == {"melanoma", "seborrheic keratosis"}:  # ISIC 2017: neither is a nevus
        hot["nevus"] = ~hot.any(axis=1)
    if labels or label_column or hot.shape[1] < 2 or not (hot.sum(axis=1) == 1).all():
        return {name: labels[name] for name in different.index}
    return {f"the one of {', '.join(hot)} that is 1": hot.idxmax(axis=1)}


def agreed(said, rows):
    """Return the class that the chosen sources say of each row, "" where nothing; ValueError if tables say two."""
    labels = pd.concat([column for file, (_, column) in said.items() if file] or [pd.Series(dtype=str)])
    labels = labels[labels != ""]
    meant = labels.map(classes.key).groupby(level=0).nunique()
    if len(two := meant.index[meant > 1]):
        raise ValueError(
            f"{len(two)} images have two labels in {' and '.join(str(file) for file in said if file)}, "
            f"first {Path(rows['path'][two[0]]).name}: {' and '.join(labels[[two[0]]].unique())}. "
            "Correct the rows, or name one table in LABELS_CSV."
        )
    labels = labels[~labels.index.duplicated()].reindex(rows.index, fill_value="")
    return rows["folder"].mask(rows["folder"] == "", labels) if None in said else labels


def _several(names):
    """Return those of the names of classes in which two or more others are listed ("rust|rot", "rust rot")."""
    found = []
    for between in (r"[|;,+&/'\"\[\]{}()]", r"[\s|;,+&/'\"\[\]{}()]"):
        parts = {name: {part.strip() for part in re.split(between, name)} - {""} for name in names}
        single = {part for own in parts.values() if len(own) == 1 for part in own}
        found += [name for name in names if len(parts[name] & single) > 1]
    return found


def _missing(linked, names, parts, label_column):
    """Return what is missing where neither folders nor tables say the labels, and what settles it."""
    for file, about in linked.items():
        flags, columns = _flags(about), ", ".join(about.rows.columns[:12])
        if label_column:
            return f"of {file}, LABEL_COLUMN names no column {label_column!r}: {columns}."
        if flags.shape[1] > 1 and (several := (flags.sum(axis=1) > 1).sum()):
            return SEVERAL.format(file, several, f"columns {', '.join(flags.columns[:6])}")
    if linked:
        return f"{file} names the images, but none of its columns {columns} is known as that of the labels. {SETTLE}."
    seen = f"there is a folder for each picture ({names[0]}, ...)" if len(names) > 1 else "there are no class folders"
    if names and parts:
        seen = f"the folders {', '.join(names[:3])} look like parts of one set"
    return f"{seen}, and no table lists images and classes. {SETTLE}; LABELS_CSV = 'folders' takes folders as classes."


def _labels(table, name):
    """Return a column's labels, "" where it says that nothing is known; "none" may be a class."""
    labels = tables.known(table[name].mask(table[name].str.lower() == "none", "none ")).str.strip()
    if re.fullmatch(r"diagnosis_\d", name):  # in the words of the ISIC Archive
        labels = labels.map(lambda said: classes.diagnosed(said).get("name", said))
    return labels


def _flags(about):
    """Return the columns of a table that are 0 or 1 (or False or True) in every row, as booleans."""
    text = about.rows.apply(lambda column: column.str.lower())
    flags = [name for name in text if text[name].str.fullmatch(r"([01](\.0*)?|true|false)?").all()]
    return text[flags].apply(lambda column: column.str.startswith(("1", "true")))


def _only_other(about):
    """Return {name: labels} of the only column that is not about something else, if it has few values."""
    others = _others(about, tables.FACTS)
    few = others.shape[1] == 1 and 1 < others.iloc[:, 0].nunique() <= max(2, len(others) / 4)
    ids = few and others.iloc[:, 0].str.fullmatch(r"[A-Za-z]{1,3}[\W_]?\d+").all()  # of what another table tells
    return {name: _labels(others, name) for name in others} if few and not ids else {}


def _others(about, meanings):
    """Return the columns of a table that neither name the images nor mean something else than the class."""
    meant = [name for what in meanings for name in tables.columns(about.rows, what)]
    return about.rows.drop(columns=[about.image_column, *meant])


def _rivals(about, rows):
    """Say whether a table of the paths of most images has a column of a few words that differ within a folder."""
    others = _others(about, [*tables.FACTS, "split", "collection", "origin"])
    few = [name for name in others if others[name].nunique() <= len(others) / 4]
    words = [name for name in few if not others[name].str.fullmatch(rf"{tables.NUMBER}|").any()]
    differ = others[words].groupby(rows["folder"]).nunique() > 1
    paths = about.image_column and about.rows[about.image_column].str.contains(r"\w[/\\]").all()
    return paths and len(others) >= len(rows) / 2 and differ.any(axis=None)


def _agree(labels, named):
    """Say whether a table's labels (candidates) use the classes of the folders, and say the same of each image."""
    own = set(named.map(classes.key)) - {""}
    both = [(column.map(classes.key), named.reindex(column.index).map(classes.key)) for column in labels.values()]
    return all(own & {*said} and not ((said != at) & (said != "") & (at != "")).any() for said, at in both)
