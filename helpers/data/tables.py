"""Read tables about images as people bring them: any delimiter and encoding, and the column names of the field.

The names, those of HAM10000, the ISIC challenges and Archive, PAD-UFES-20 and tables made by hand, stand in
columns.csv; of several that mean the same, the first is taken.
"""

import csv
import functools
import io
import re
from pathlib import Path, PurePosixPath

import pandas as pd

from helpers.data import classes, images

SUFFIXES = {".csv", ".tsv", ".tab"}
SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(["val", "valid", "validation"], "val")
FACTS = ["lesion_id", "patient_id", "age_approx", "sex", "anatom_site_general"]
AGE = r"^(?:about|ca\.?|~|>=?|<=?)?\s*(\d{1,3}(?:\.\d+)?)\s*(?:\+|years?|y)?$"
NOTHING = {"", "na", "n/a", "nan", "none", "null", "unknown", "unk", "-", "?"}


def isic_id(name):
    """Return the ISIC Archive's id (or the sample's) that a file's stem begins with, else the stem."""
    match = re.match(r"(ISIC|SYN)_\d{7}(?!\d)", name)
    return match[0] if match else name


@functools.cache
def _names():
    """Return {meaning: names of columns} of columns.csv."""
    return dict(csv.reader(Path(__file__).with_name("columns.csv").read_text("utf-8").splitlines()))


def columns(names, meaning):
    """Return those of a table's column names that mean so (a ``meaning`` in columns.csv), the most usual first."""
    spelled = {classes.plain(name).replace(" ", "_"): name for name in reversed(names)}
    return [spelled[name] for name in _names()[meaning].split() if name in spelled]


def header(file):
    """Return the names of a table's columns, [] if it is empty or binary; its rows are not read."""
    try:
        with Path(file).open("rb") as stream:
            return _cells(stream.read(2**16))[0][1]
    except (csv.Error, ValueError):
        return []


def read(file):
    """Read a table: a first line of names, delimited by comma, semicolon, tab or "|", in UTF-8, UTF-16 or Latin-1.

    Returns a DataFrame of text without outer blanks, "" where nothing is known; the index is the line in the file.
    ValueError, with file and line, if it is empty or binary, a line has other cells than the first line names, or a
    column stands there twice.
    """
    try:
        (_, names), *lines = _cells(Path(file).read_bytes())
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"{file} cannot be read as a table ({error}); give a CSV whose first line names columns."
        ) from error
    if len(set(names)) < len(names):
        raise ValueError(f"{file} names the column {max(names, key=names.count)!r} twice; rename one.")
    for number, cells in lines:
        if len(cells) < len(names) or any(cells[len(names) :]):
            raise ValueError(
                f"{file}, line {number}: {len(cells)} cells, where the first line names {len(names)} columns; "
                "mend the line (a text with a delimiter in it needs quotes)."
            )
    rows = [["" if cell.lower() in NOTHING else cell for cell in cells[: len(names)]] for _, cells in lines]
    return pd.DataFrame(rows, [number for number, _ in lines], names, dtype=str)


def about(file, paths, image_column=""):
    """Read what the table ``file`` says about the image files ``paths``; errors are those of :func:`read`.

    ``image_column`` is its column of image names; "", or no column of it: known by its name. Returns three things: the
    table's rows about the files; what the first row about each file says, text in the columns of ``FACTS``, ``split``
    ("train", "val" or "test"), ``collection``, ``origin`` (what else may tell who took the picture), ``diagnosis``
    (ISIC 2019 code) and ``uncoded`` (a diagnosis that has no such code); and the number of rows about no file. The
    index of both tables is the file's position in ``paths``.
    """
    table = read(file)
    names = [image_column] if image_column in table else columns(table.columns, "image")
    none = pd.DataFrame(columns=["file", "line"])
    pairs = max((_match(table[name], paths) for name in names), key=len, default=none)
    rows, facts = table.loc[pairs["line"]], _facts(table.loc[pairs["line"].unique()], file).loc[pairs["line"]]
    rows, facts = rows.set_axis(pairs["file"]), facts.set_axis(pairs["file"])
    return rows, facts[~facts.index.duplicated()], len(table) - pairs["line"].nunique()


def _match(values, paths):
    """Return which line of a table (index of ``values``) names which file (position in ``paths``).

    A name may have folders and a suffix. A file is also known by the ISIC id that its name begins with
    ("ISIC_0000001_downsampled"), if no line names it in full.
    """
    stems, pairs = {}, []
    for position, path in enumerate(map(Path, paths)):
        for name in {path.stem.strip(), isic_id(path.stem)}:
            stems.setdefault(name, []).append(position)
    for line, value in values.items():
        name = PurePosixPath(value.replace("\\", "/"))
        stem = name.stem if name.suffix.lower() in {*images.SUFFIXES, ".dcm"} else name.name
        for position in stems.get(stem, []):
            path, folders = Path(paths[position]), name.parts[:-1]
            if not folders or path.parts[-1 - len(folders) : -1] == folders:
                pairs.append((position, line, path.stem.strip() != stem))
    pairs = pd.DataFrame(pairs, columns=["file", "line", "by_id"])
    return pairs[pairs["by_id"] == pairs.groupby("file")["by_id"].transform("min")]


def _facts(table, file):
    """Return what the rows of a table say (see :func:`about`); refuse odd ages, and odd names of splits, by line."""
    meanings = [*FACTS, "split", "collection", "origin"]
    found = {meaning: columns(table.columns, meaning) for meaning in meanings}
    given = pd.DataFrame({meaning: table[names[0]] if names else "" for meaning, names in found.items()}, table.index)
    age = given["age_approx"].str.extract(AGE, re.IGNORECASE)[0].fillna("")
    split = given["split"].map(classes.plain).map(SPLITS).fillna("")
    if found["split"][:1] != ["split"] and (split == "").any():
        given["split"] = split = ""  # a column "set" or "subset" that means something else
    for name, read_as, expected in (("age_approx", age, "a number of years"), ("split", split, "train, val or test")):
        if (wrong := given[(given[name] != "") & (read_as == "")]).size:
            raise ValueError(
                f"{file}, line {wrong.index[0]}: the {name.split('_')[0]} {wrong[name].iloc[0]!r} is not {expected}; "
                "correct it, or leave it empty."
            )
    said = table[[name for name in columns(table.columns, "label") if name != "benign_malignant"]].to_numpy()
    codes = [next(filter(None, map(classes.code, levels)), "") for levels in said]
    words = [next((word for word in reversed(levels) if word.strip("01")), "") for levels in said]
    return given.assign(
        **{name: given[name].str.replace(r"\s+", "_", regex=True) for name in ("lesion_id", "patient_id")},
        age_approx=age.str.removesuffix(".0"),
        sex=given["sex"].str.lower().replace({"m": "male", "f": "female"}),
        split=split,
        diagnosis=codes,
        uncoded=["" if code else word for code, word in zip(codes, words)],
    )


def _cells(data):
    """Return (line number, cells) of every row of a table that is not blank; the first row names the columns."""
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text or not text.strip():
        raise ValueError("it is empty, or no text in UTF-8, UTF-16 or Latin-1")
    lines = list(io.StringIO(text, newline=""))
    reader = csv.reader(lines, delimiter=max(",;\t|", key=next(filter(str.strip, lines)).count))
    return [(reader.line_num, cells) for row in reader if any(cells := [cell.strip() for cell in row])]
