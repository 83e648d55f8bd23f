"""Understand how a set of labelled images is laid out: class folders, or images with a table of labels."""

import contextlib
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from helpers import manifest
from helpers.data import choices, classes, folders, matching, tables

# Of answers to a challenge: their labels are made up.
FORM = re.compile(r"submission|predict(ed|ion)|template|dummy|(example|sample)_?(answer|label|solution)", re.IGNORECASE)
REST = r"misc[a-z]*|(all[\W_]*)?others?|unknowns?|unclear|unsure|not[\W_]?sure|unspecified|various|rest"
ASK = " (one class? If not, take it out of the set)"
MAKE = "Give image files, and their labels as folders or as a table; docs/data.md says how to make them."


def read_set(root, passed_over=(), labels_csv="", image_column="", label_column="", draft=""):
    """List the images of the set below the folder ``root``, but for the paths ``passed_over``.

    Parameters and errors are those of ``datasets.list_images``. Returns a DataFrame of text: ``path``,
    ``published_label`` (standard name), ``diagnosis`` (only where the folder is the label) and what else
    ``tables.about`` says; and in words: the layout; labels and groups; a line for each class; what is not used and why.
    """
    files, found, left = folders.sort_out(root, passed_over)
    if not files:
        raise FileNotFoundError(f"No images are in {root}. It has: {_in_words(left, 4)}. {MAKE}")
    rows, linked = folders.read_folders(files, root), {}
    given = [] if labels_csv in ("", "folders") else [Path(root, labels_csv)]
    try:
        linked = _linked([*given, *found], root, given, matching.Files(rows["path"], root), image_column, left)
        said = choices.choose(rows, linked, labels_csv, label_column, left)
        labels = choices.agreed(said, rows)
    except ValueError as error:
        question = f"The labels of {root} are not clear: {error}\nBeside the images: {_in_words(left, 4)}."
        if draft and _write_draft(rows, linked, root, draft):
            draft = Path(draft).absolute()
            question += f"\nA draft of a table of labels is {draft}: correct it, and give it as LABELS_CSV."
        raise ValueError(question) from error
    rows["published_label"] = labels.map(classes.standard)
    for file in sorted(linked, key=lambda file: file not in said):  # the labels' table knows best
        facts = linked[file].facts.reindex(rows.index, fill_value="")
        uncoded = [word for word in facts.pop("uncoded") if word]
        left |= linked[file].notes
        if file in said:
            facts["diagnosis"] = ""
        elif uncoded and facts["diagnosis"].any():  # else it is about something else than skin
            left[f"diagnoses of {file.name} without an ISIC 2019 class, such as {uncoded[0]!r}"] = len(uncoded)
        rows[facts.columns] = rows[facts.columns].mask(rows[facts.columns] == "", facts)
    rows.loc[(rows["patient_id"] != "") | (None in said) & (rows["who"] == rows["folder"]), "who"] = ""
    rows["patient_id"] = rows["patient_id"].mask(rows["patient_id"] == "", rows["who"].replace(r"\s+", "_", regex=True))
    listed = {file: matching.split_of(re.sub("list|set", " ", file.stem)) for file in linked}
    if {"train"} < set(listed.values()) - {""}:  # train.csv and test.csv, of one folder
        for file in sorted(listed, key=lambda file: ["test", "val", "train", ""].index(listed[file])):
            own = rows.index.isin(linked[file].rows.index) & (rows["in"] == "")
            rows["split"] = rows["split"].mask((rows["split"] == "") & own, listed[file])
    rows["split"] = rows["split"].mask(rows["split"] == "", rows["in"])
    names = " and ".join(str(file) for file in said if file)
    for place, count in rows.loc[rows["published_label"] == "", "place"].value_counts().items():
        left[f"images {f'without a label in {names}' if names else 'in no class folder'} in {place}"] = count
    kept = rows[rows["published_label"] != ""].reset_index(drop=True)
    if kept.empty:
        raise ValueError(f"None of the {len(files)} images in {root} has a label. Not used: {_in_words(left, 4)}.")
    layout = " and ".join(["class folders"] * (None in said) + [f"images and {names}"] * bool(names))
    what = ", ".join(dict.fromkeys(what for what, _ in said.values()))
    return kept, _understood(kept, layout, what, labels[labels != ""], left)


def _understood(rows, layout, what, labels, left):
    """Say how a set was read; ``labels`` are the classes as they were spelled."""
    spelled = labels.groupby(labels.map(classes.key)).unique().map(sorted)
    one = [f"{classes.standard(names[0])} = {', '.join(names)}" for names in spelled if len(names) > 1]
    merged = f"; read as one: {'; '.join(one)}" if one else ""
    splits = [name for name in manifest.SPLITS if (rows["split"] == name).any()]
    groups = [name for name in ("patient_id", "lesion_id") if (rows[name] != "").any()]
    groups += ["by names of folders or files"] * any(rows["who"])
    label = rows["published_label"]
    asked = label.mask(label.str.fullmatch(REST, case=False), label + ASK)
    sizes = "".join(f"{count:8d} {name}\n" for name, count in asked.value_counts().items())
    return (
        f"Layout: {layout}; given splits: {', '.join(splits) or 'none'}\n"
        f"Label: {what}{merged}; groups: {', '.join(groups) or 'none given'}; classes:\n{sizes}"
        f"Not used: {_in_words(left)}"
    )


def _in_words(left, most=20):
    said = [f"{count} {what}" if count else what for what, count in left.items()]
    return "; ".join(said[:most] + [f"and {len(said) - most} more"] * (len(said) > most)) or "nothing"


def _linked(found, root, given, files, image_column, left):
    """Return {path of a table in the set: what it says about the images}; others are put into ``left``.

    ValueError if a ``given`` table says nothing about them.
    """
    linked = {}
    for file in dict.fromkeys(found):
        name, about = PurePosixPath(folders.place(file, root)), tables.about(file, files, image_column)
        if FORM.search(file.stem) and file not in given:
            left[f"{file.name} (a form for answers, no labels)"] = 0
        elif about.image_column or about.doubt:
            linked[name] = about
        elif file in given:
            raise ValueError(
                f"LABELS_CSV is {str(name)!r}, but none of its columns {', '.join(tables.read(file))} names images "
                f"such as {files.paths[0].name!r}; name the column of image names in IMAGE_COLUMN."
            )
        else:
            left |= about.notes
    return linked


def _write_draft(rows, linked, root, file):
    """Write a draft of a plain table of the set, with what could be understood; say whether that is possible."""
    facts = pd.concat([about.facts for about in linked.values()] or [rows[:0]]).groupby(level=0).first()
    facts = facts.reindex(rows.index).reindex(columns=["lesion_id", "patient_id", "collection"]).fillna("")
    said = [next(iter(choices.candidates(about, "").values()), pd.Series(dtype=str)) for about in linked.values()]
    labels = pd.concat([pd.Series(dtype=str), *said]).groupby(level=0).first().reindex(rows.index, fill_value="")
    label = rows["below"].mask(rows["below"] == "", rows["folder"]).mask(lambda named: named == "", labels)
    path = [folders.place(path, root) for path in rows["path"]]
    table = pd.DataFrame({"path": path, "label": label, "split": rows["in"]}).join(facts)
    with contextlib.suppress(OSError):
        manifest.write_text(table.to_csv(index=False, lineterminator="\n"), file)
    return Path(file).is_file()
