"""Names of classes: the field's standard names, their abbreviations, official diagnoses, and which are cancers.

They stand in classes.csv, worst first: standard name; whether it is a cancer (actinic keratosis is a precursor of one);
code of the ISIC 2019 challenge; other names in the ISIC challenges, HAM10000 and PAD-UFES-20; and, as a regular
expression, what the ISIC Archive calls it on one of the levels of its diagnoses.
"""

import csv
import re
from pathlib import Path

_ROWS = list(csv.DictReader(Path(__file__).with_name("classes.csv").read_text("utf-8").splitlines()))
STANDARD = [row["name"] for row in _ROWS]
MALIGNANT = [*(row["name"] for row in _ROWS if row["malignant"] == "yes"), "malignant", "cancer"]
BENIGN = [*(row["name"] for row in _ROWS if row["malignant"] == "no"), "benign"]
# The classes that each ISIC 2019 diagnosis allows; the first is meant where none of them is claimed.
OFFICIAL = {
    row["isic_2019"]: [other["name"] for other in reversed(_ROWS) if other["isic_2019"] == row["isic_2019"]]
    for row in _ROWS
}
_NAMES = {name: row["name"] for row in _ROWS for name in [row["name"], *row["other_names"].split("; ")]}


def plain(name):
    """Return a name in lower case with single spaces for whatever is no letter or digit: spellings to be compared."""
    return re.sub(r"[\W_]+", " ", str(name)).strip().lower()


def standard(name):
    """Return the standard name that a class's name or abbreviation means ("MEL", "Melanocytic_nevi"), else ``name``."""
    return _NAMES.get(plain(name), " ".join(str(name).split()))


def is_known(name):
    """Say whether a class's name is a standard one, one of its abbreviations, "benign" or "malignant"."""
    return plain(standard(name)) in MALIGNANT + BENIGN


def code(name):
    """Return the ISIC 2019 code (a key of ``OFFICIAL``) of a diagnosis in anybody's words, "" if it has none."""
    meant, said = standard(name), name.strip().lower()
    codes = (
        row["isic_2019"] for row in _ROWS if row["name"] == meant or re.fullmatch(row["isic_archive"] or "-", said)
    )
    return next(codes, "")


def malignant(names, given=""):
    """Return which of the class ``names`` are malignant, in their order.

    Parameters
    ----------
    names : class names.
    given : names of the malignant classes, separated by commas; "": what is known of the standard names.

    Raises
    ------
    ValueError
        If ``given`` names a class that is not there, or nothing is given and a name is no standard one.
    """
    spelled = {plain(standard(name)): name for name in names}
    wanted = [plain(standard(part)) for part in given.split(",")] if given.strip() else MALIGNANT
    if given.strip() and (strange := [part for part in wanted if part not in spelled]):
        raise ValueError(f"MALIGNANT names {strange[0]!r}, but the classes are {', '.join(names)}.")
    if not given.strip() and (strange := [part for part in spelled if not is_known(part)]):
        raise ValueError(
            f"Whether {strange[0]!r} is malignant is not known here; name the malignant classes in MALIGNANT."
        )
    return [name for part, name in spelled.items() if part in wanted]
