"""Read tables about images as people bring them: any delimiter and encoding, and the column names of the field.

The names (regular expressions), those of HAM10000, the ISIC challenges and Archive, PAD-UFES-20 and others, stand in
columns.csv; of several that mean the same, the first is taken.
"""

import csv
import functools
import io
import itertools
import re
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from helpers.data import classes, matching

SUFFIXES = {".csv", ".tsv", ".tab", ".txt", ""}  # HAM10000 comes as "HAM10000_metadata", without a suffix
FACTS = ["lesion_id", "patient_id", "age_approx", "sex", "anatom_site_general", "fitzpatrick_skin_type"]
AGE = r"^(?:about|ca\.?|~|>=?|<=?)?\s*(\d{1,3}(?:\.\d+)?)\s*(?:\+|years?|y)?$"
NOTHING = {"", "na", "n/a", "nan", "none", "null", "unknown", "unk", "-", "?", "anonymous"}
NUMBER = r"[-+]?\d+(\.\d+)?(e[-+]?\d+)?"
TITLE = r"""(?:\s*[^\s,;\t|][^,;\t|\n]*[,;\t| \r]*\n){1,5}(?=[^\n]*[^\s,;|"][^\n]*[,;\t|][^\n]*[^\s,;|"])"""  # "sep=;"
HEAD = 100  # rows that are looked at before a table of any size is read


class About(NamedTuple):
    """What a table says of image files; the index of ``rows`` and ``facts`` is the file's position among them."""

    notes: dict  # {what is not used: how many, 0 where it is one}
    rows: pd.DataFrame = pd.DataFrame()  # the table's rows about the files that they name best
    facts: pd.DataFrame = pd.DataFrame(columns=["diagnosis", "uncoded", *FACTS], dtype=str)  # also of the same ISIC id
    image_column: str = ""  # "" if no column names images
    by_folder: bool = False  # whether it names the folders of the images, or lies in the only one
    doubt: str = ""  # why it is not clear which images are meant; "" if it is


def columns(names, meaning):
    """Return those of a table's column names that mean so (a ``meaning`` in columns.csv), the most usual first."""
    spelled = [(re.sub(r"\.\d+$|[\W_]", "", name.lower()), name) for name in names]
    wanted = [name.replace("_", "") for name in _names()[meaning].split()]
    return list(dict.fromkeys(name for want in wanted for key, name in spelled if re.fullmatch(want, key)))


def read(file):
    """Read a table: a first line of names, delimited by comma, semicolon, tab or "|", in UTF-8, UTF-16 or Latin-1.

    Returns a DataFrame of text without outer blanks; the index is the line in the file. Columns without a name (pandas
    saves its row numbers so) are dropped; a name that stands there again gets ".1". ValueError, with file and line, if
    the file is empty or binary, a line has other cells than the first line names, or a quote is not closed.
    """
    try:
        (_, names), *lines = _rows(file)
    except (csv.Error, ValueError) as error:
        raise ValueError(
            f"{file} cannot be read as a table ({error}); give a CSV whose first line names columns."
        ) from error
    width = max(place for place, name in enumerate(names, 1) if name)
    for number, cells in lines:
        if len(cells) < width or any(cells[width:]):
            raise ValueError(
                f"{file}, line {number}: {len(cells)} cells, where the first line names {width} columns; "
                "correct the line (a text with a delimiter in it needs quotes)."
            )
    again = pd.Series(names).groupby(names).cumcount()
    named = [f"{name}.{count}" if count else name for name, count in zip(names[:width], again)]
    table = pd.DataFrame([cells[:width] for _, cells in lines], [number for number, _ in lines], named, dtype=str)
    return table[[name for name in named if not re.fullmatch(r"(Unnamed: \d.*)?(\.\d+)?", name)]]


def about(file, files, image_column=""):
    """Read what the table ``file`` says about image files (a matching.Files) and return an About; errors as in read.

    The column of image names is ``image_column`` or, if the table has none of that name, the one whose values name the
    most files; plain numbers are taken for names only if the column is called as such columns are, and, where that is
    "id" or "name", if they name nearly all images. A table whose beginning names no image is not read on. ``facts`` are
    text in the columns of ``FACTS``, ``split`` ("train", "val" or "test"), ``collection``, ``origin`` (what else may
    say who took the picture), ``diagnosis`` (ISIC 2019 code) and ``uncoded`` (a diagnosis that has no such code).
    """
    named, name = False, Path(file).name
    try:
        (_, names), *head = itertools.islice(_rows(file), HEAD)
        called = image_column in names or set(columns(names, "image")) - set(columns(names, "generic"))
        cells = itertools.chain(names, *(cells for _, cells in head))
        named = any(cell in files for cell in cells if called or not re.fullmatch(NUMBER, cell))
        if not named and not (head and columns(names, "image")):
            none = "no rows" if columns(names, "image") else "no table of labels"
            why = f"no column of image names among {', '.join(names[:4])}" if head else none
            return About({f"{name} ({why})": 0})
        table = read(file)
    except (csv.Error, ValueError) as error:
        if named:
            raise
        return About({f"{name} ({error})": 0})
    if any(column in files and not columns([column], "image") for column in table):  # the line of names is missing
        table = pd.concat([pd.DataFrame([list(table)], [1], table.columns), table])
        table.columns = [f"column {number}" for number in range(1, table.shape[1] + 1)]
    wanted = [image_column] if image_column in table else table
    found = {column: _images_in(table, column, image_column, files, file) for column in wanted}
    most = max(len(pairs) for pairs, _ in found.values())
    full = {column: meant for column, meant in found.items() if (meant[0]["level"] == 0).sum() > most / 2}
    found = full or found  # a full name says more than a number
    column = max(found, key=lambda column: list(map(len, found[column])))
    pairs, twice = found.pop(column)
    as_good = {other: some for other, (some, _) in found.items() if len(some) >= len(pairs) / 2 > 0}
    both = {other: pairs.merge(some, on="line") for other, some in as_good.items()}
    others = [other for other, pair in both.items() if (pair["file_x"] != pair["file_y"]).mean() > 0.5]
    doubt = f"{len(twice)} names, such as {twice[0]!r}, stand for several images each; give paths" if twice else ""
    if others:
        doubt = f"its columns {', '.join([column, *others])} name different images; choose one in IMAGE_COLUMN"
    facts, notes = _facts(table.loc[pairs["line"].unique()], file)
    if unused := len(table) - pairs["line"].nunique():
        notes[f"rows of {name} without an image"] = unused
    facts = facts.loc[pairs["line"]].set_axis(pairs["file"])
    exact = pairs[pairs["level"] == pairs.groupby("line")["level"].transform("min")]
    rows = table.loc[exact["line"]].set_axis(exact["file"])
    by_folder = rows[column].str.contains(r"\w[/\\]").all() or set(rows.index) <= set(files.inside(file))
    return About(notes, rows, facts[~facts.index.duplicated()], column if len(pairs) else "", by_folder, doubt)


def known(values):
    """Return text with "" where it says that nothing is known ("N/A", "unknown")."""
    return values.mask(values.str.lower().isin(NOTHING), "")


@functools.cache
def _names():
    """Return {meaning: names of columns} of columns.csv."""
    return dict(csv.reader(Path(__file__).with_name("columns.csv").read_text("utf-8").splitlines()))


def _images_in(table, name, image_column, files, file):
    """Return which files a column names, as Files.match does; none if it is not to be taken for image names."""
    values = known(table[name])
    values = values[values != ""]
    numbers, named = values.str.fullmatch(NUMBER), name == image_column or bool(columns([name], "image"))
    pairs, twice = files.match(values if named else values[~numbers], file)
    share = pairs["line"].nunique() / max(len(values), 1)
    if named and columns([name], "generic") and name != image_column and numbers.all():
        named, share = False, min(share, pairs["file"].nunique() / max(len(files.own(file)), 1)) - 0.4
    return (pairs, twice) if named or share >= 0.5 else (pairs[:0], [])


def _facts(table, file):
    """Return what the rows of a table say (see :func:`about`), and what of it is not used.

    ValueError, with the line, if a few words of a column of splits are none.
    """
    found = {meaning: columns(table, meaning) for meaning in [*FACTS, "split", "collection", "origin"]}
    given = pd.DataFrame({name: known(table[names[0]]) if names else "" for name, names in found.items()}, table.index)
    if set(given["split"]) == {"0", "1", "2"}:
        given["split"] = given["split"].map(dict(zip("012", ("train", "val", "test"))))
    for name in () if found["split"] else table:  # a column of any name may say the split, in words or by a flag
        words, flag = table[name], re.fullmatch(r"is[\W_]*(train|val|test)\w*", name.lower())
        if flag and words.str.lower().isin(["0", "1", "true", "false"]).all():
            truth = words.str.lower().isin(["1", "true"])
            words = truth.map({True: flag[1], False: "test" if flag[1] == "train" else "train"})
        if all(map(matching.split_of, words)) and words.map(matching.split_of).nunique() > 1:
            given["split"] = words
    age = given["age_approx"].str.extract(AGE, re.IGNORECASE)[0].fillna("")
    split = given["split"].map(matching.split_of)
    odd = {"ages": given["age_approx"][(given["age_approx"] != "") & (age == "")]}
    odd["splits"] = given["split"][(given["split"] != "") & (split == "")]
    if len(odd["splits"]) and (split != "").any() and found["split"][0].lower() == "split":
        raise ValueError(
            f"{file}, line {odd['splits'].index[0]}: the split {odd['splits'].iloc[0]!r} is not train, val or test; "
            "correct it, or leave it empty."
        )
    notes = {}
    for what, values in odd.items():
        if len(values):
            notes[f"values of {Path(file).name} that are no {what}, such as {values.iloc[0]!r}"] = len(values)
    for name in [name for name in columns(table, "use") if 1 < table[name].nunique() < 5]:
        marks = ", ".join(f"{count} {mark!r}" for mark, count in table[name].value_counts().items())
        notes[f"column {name!r} of {Path(file).name} ({marks}; take what is not wanted out of the set)"] = 0
    for name in ("collection", "origin"):  # what differs from image to image is no collection
        said = given[name][given[name] != ""]
        several = said.nunique() > max(1, len(said) / 2) or all(map(matching.split_of, said))
        given[name] = "" if several else given[name]
    levels = [known(table[name]) for name in columns(table, "label") if name != "benign_malignant"]
    said = list(zip(*levels)) or [()] * len(table)
    codes = [next((code for word in row if (code := classes.diagnosed(word).get("isic_2019"))), "") for row in said]
    spoken = [next((word for word in reversed(row) if word.strip("01")), "") for row in said]
    return given.assign(
        **{name: given[name].str.replace(r"\s+", "_", regex=True) for name in ("lesion_id", "patient_id")},
        age_approx=age.str.removesuffix(".0"),
        fitzpatrick_skin_type=given["fitzpatrick_skin_type"].str.removesuffix(".0"),
        sex=given["sex"].str.lower().replace({"m": "male", "f": "female"}),
        split="" if len(odd["splits"]) else split,
        diagnosis=codes,
        uncoded=["" if code else word for code, word in zip(codes, spoken)],
    ), notes


def _rows(file):
    """Yield (line number, cells) of every row of a table that is not blank; the first row names the columns."""
    data = Path(file).read_bytes()
    try:
        text = data.decode("utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        text = data.decode("latin-1")
    if "\0" in text or not text.strip():
        raise ValueError("it is empty, or not text in UTF-8, UTF-16 or Latin-1")
    if title := re.match(TITLE, text):
        text = "\n" * title[0].count("\n") + text[title.end() :]
    first = next(filter(str.strip, io.StringIO(text)))
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t|", key=first.count))
    for row in reader:
        cells = [cell.strip() for cell in row]
        swallowed = [line for cell in cells for line in cell.splitlines()[1:]]
        if any(line.count(reader.dialect.delimiter) >= max(len(cells), 2) - 1 for line in swallowed):
            raise ValueError(f"a quote that is opened before line {reader.line_num} is not closed in its line")
        if any(cells):
            yield reader.line_num, cells
