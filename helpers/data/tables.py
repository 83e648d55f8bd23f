"""Read tables about images as people bring them: any delimiter and encoding, and the column names of the field."""

import csv
import io
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from helpers.data import classes, images

SUFFIXES = {".csv", ".tsv", ".tab"}
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(["val", "valid", "validation"], "val")
# Names of columns in HAM10000, the ISIC challenges and Archive, PAD-UFES-20 and tables made by hand; the first is
# taken.
NAMES = {
    "image": "image image_id isic_id img_id image_name filename file_name image_file file img image_path file_path "
    "filepath path id name",
    "label": "label labels dx diagnosis diagnostic target class class_name category benign_malignant diagnosis_1 "
    "diagnosis_2 diagnosis_3 diagnosis_4 diagnosis_5",
    "split": "split subset set partition",
    "lesion_id": "lesion_id lesion",
    "patient_id": "patient_id patient",
    "age_approx": "age_approx age age_approximate age_years",
    "sex": "sex gender",
    "anatom_site_general": "anatom_site_general anatom_site_general_challenge localization localisation region "
    "anatom_site site location",
    "collection": "collection",
    "origin": "dataset attribution hospital clinic centre center device",
}
FACTS = ["lesion_id", "patient_id", "age_approx", "sex", "anatom_site_general"]
AGE = r"^(?:about|ca\.?|~|>=?|<=?)?\s*(\d{1,3}(?:\.\d+)?)\s*(?:\+|years?|y)?$"
NOTHING = {"", "na", "n/a", "nan", "none", "null", "unknown", "unk", "-", "?"}


def isic_id(name):
    """Return the ISIC Archive's id (or the sample's) that a file's stem begins with, else the stem."""
    match = re.match(r"(ISIC|SYN)_\d{7}(?!\d)", name)
    return match[0] if match else name


def header(file):
    """Return the names of a table's columns, [] if it is empty or binary; its rows are not read."""
    with Path(file).open("rb") as stream:
        try:
            return _cells(_text(stream.read(2**16)))[0][1]
        except (csv.Error, ValueError):
            return []


def read(file):
    """Read a table.

    Parameters
    ----------
    file : path of a table whose first line names the columns: delimited by comma, semicolon, tab or "|", in UTF-8,
        UTF-16 or Latin-1.

    Returns
    -------
    DataFrame of text without outer blanks, "" where nothing is known; the index is the line in the file.

    Raises
    ------
    ValueError
        If it is empty or binary, a line has other cells than the first line names, or a column stands there twice; the
        message names file and line.
    """
    try:
        (_, names), *lines = _cells(_text(Path(file).read_bytes()))
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"{file} cannot be read as a table ({error}); give a CSV whose first line names columns."
        ) from error
    if len(set(names)) < len(names):
        raise ValueError(f"{file} names the column {next(n for n in names if names.count(n) > 1)!r} twice; rename one.")
    for number, cells in lines:
        if len(cells) < len(names) or any(cells[len(names) :]):
            raise ValueError(
                f"{file}, line {number}: {len(cells)} cells, where the first line names {len(names)} columns; "
                "mend the line (a text with a delimiter in it needs quotes)."
            )
    rows = [["" if cell.lower() in NOTHING else cell for cell in cells[: len(names)]] for _, cells in lines]
    return pd.DataFrame(rows, [number for number, _ in lines], names, dtype=str)


def columns(names, kind):
    """Return those of a table's column names that mean ``kind`` (a key of ``NAMES``), the most usual first."""
    spelled = {classes.plain(name).replace(" ", "_"): name for name in reversed(names)}
    return [spelled[name] for name in NAMES[kind].split() if name in spelled]


def match(values, paths):
    """Return which line of a table is about which file.

    Parameters
    ----------
    values : Series of text: names of images with or without folder and suffix.
    paths : list of paths of the files.

    Returns
    -------
    DataFrame of ``file`` (position in ``paths``) and ``line`` (index of ``values``). A file is also known by the ISIC
    id that its name begins with ("ISIC_0000001_downsampled"), if no line names it in full.
    """
    stems, pairs = {}, []
    for position, path in enumerate(map(Path, paths)):
        for name in {path.stem.strip(), isic_id(path.stem)}:
            stems.setdefault(name, []).append(position)
    for line, value in values.items():
        name = PurePosixPath(value.replace("\\", "/"))
        stem = name.stem if name.suffix.lower() in {*images.SUFFIXES, ".dcm"} else name.name
        folders = name.parts[:-1]
        pairs += [
            (position, line, Path(paths[position]).stem.strip() != stem)
            for position in stems.get(stem, [])
            if not folders or Path(paths[position]).parts[-1 - len(folders) : -1] == folders
        ]
    pairs = pd.DataFrame(pairs, columns=["file", "line", "by_id"])
    best = pairs.groupby("file")["by_id"].transform("min")
    return pairs.loc[pairs["by_id"] == best, ["file", "line"]].reset_index(drop=True)


def facts(table, file):
    """Return what a table (as :func:`read` gives it) says of images, lesions and patients.

    Returns
    -------
    DataFrame of text, index as ``table``: the columns of ``FACTS``, ``split`` ("train", "val" or "test"),
    ``collection``, ``origin`` (what else may tell who took the picture) and ``diagnosis`` (a key of
    ``classes.OFFICIAL``).

    Raises
    ------
    ValueError
        If an age is no number of years, or a column named "split" names no splits; the message names file and line.
    """
    kinds = [*FACTS, "split", "collection", "origin"]
    known = pd.DataFrame(
        {kind: table[found[0]] if (found := columns(table.columns, kind)) else "" for kind in kinds}, table.index
    )
    age = known["age_approx"].str.extract(AGE, re.IGNORECASE)[0].fillna("")
    _refuse(known["age_approx"], age, file, "age", "a number of years")
    split = known["split"].map(classes.plain).map(SPLITS).fillna("")
    if columns(table.columns, "split")[:1] == ["split"]:
        _refuse(known["split"], split, file, "split", "train, val or test")
    elif (split == "").any():
        split = ""  # a column "set" or "subset" that means something else
    ids = {name: known[name].str.replace(r"\s+", "_", regex=True) for name in ("lesion_id", "patient_id")}
    levels = table[[name for name in columns(table.columns, "label") if name != "benign_malignant"]]
    return known.assign(
        age_approx=age.str.removesuffix(".0"),
        sex=known["sex"].str.lower().replace({"m": "male", "f": "female"}),
        split=split,
        **ids,
        diagnosis=[next(filter(None, map(classes.code, row)), "") for row in levels.to_numpy()],
    )


def _refuse(given, understood, file, name, expected):
    wrong = given[(given != "") & (understood == "")]
    if len(wrong):
        raise ValueError(
            f"{file}, line {wrong.index[0]}: the {name} {wrong.iloc[0]!r} is not {expected}; "
            "correct it, or leave it empty."
        )


def _text(data):
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text or not text.strip():
        raise ValueError("it is empty, or no text in UTF-8, UTF-16 or Latin-1")
    return text


def _cells(text):
    """Return (line number, cells) of every row that is not blank; the first row names the columns."""
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, delimiter=max(",;\t|", key=next(filter(str.strip, lines)).count))
    return [(reader.line_num, cells) for row in reader if any(cells := [cell.strip() for cell in row])]
