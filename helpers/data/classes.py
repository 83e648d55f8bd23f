"""Names of classes: the field's standard names, their abbreviations, official diagnoses, and which are cancers.

They stand in classes.csv, worst first: standard name; whether it is a cancer (actinic keratosis is a precursor of one);
code of the ISIC 2019 challenge; other names in the ISIC challenges, HAM10000 and PAD-UFES-20; and, as a regular
expression, what the ISIC Archive calls it on one of the levels of its diagnoses.
"""

import csv
import functools
import re
import unicodedata
from pathlib import Path


@functools.cache
def known():
    """Return the rows of classes.csv, worst class first, as a list of dicts; ``other_names`` is a list."""
    rows = csv.DictReader(Path(__file__).with_name("classes.csv").read_text("utf-8").splitlines())
    return [row | {"other_names": row["other_names"].split("; ")} for row in rows]


def plain(name):
    """Return a name so that its spellings are equal: without regard to case, and to blanks, "_" and "-" between words.

    Every other character counts: "-1" is not "1", "HER2+" not "HER2-", "C++" not "C".
    """
    name = unicodedata.normalize("NFC", str(name)).strip()
    return re.sub(r"(?<=[^\W_])(?:[\s_]+|-|\s+-\s+)(?=[^\W_])", " ", name).lower()


def standard(name):
    """Return the standard name that a class's name or abbreviation means ("MEL", "Melanocytic_nevi"), else ``name``."""
    said = plain(name)
    meant = (row["name"] for row in known() if said in [row["name"], *row["other_names"]])
    return next(meant, " ".join(str(name).split()))


def key(name):
    """Return what all names and spellings of one class have in common."""
    return plain(standard(name))


def is_known(name):
    """Say whether a class's name is a standard one, one of its abbreviations, "benign", "malignant" or "cancer"."""
    return key(name) in ["benign", "malignant", "cancer", *(row["name"] for row in known())]


def subject(names):
    """Return "skin-lesion" if at least half of the class ``names`` mean lesions of the skin, else "image"."""
    lesions = [row["name"] for row in known()]
    return "skin-lesion" if 2 * sum(key(name) in lesions for name in names) >= max(len(names), 1) else "image"


def diagnosed(diagnosis):
    """Return the row of classes.csv that a diagnosis in anybody's words means ("Melanoma, NOS"), {} if none."""
    meant, said = key(diagnosis), diagnosis.strip().lower()
    rows = (row for row in known() if row["name"] == meant or re.fullmatch(row["isic_archive"] or "-", said))
    return next(rows, {})


def coded(diagnosis):
    """Return the class that an ISIC 2019 code means: of two that it allows, the one that nobody claims by name."""
    return [row["name"] for row in known() if row["isic_2019"] == diagnosis][-1]


def kind(positive):
    """Return what images of the ``positive`` classes are, in words: malignant lesions if all are known to be that."""
    return "malignant lesions" if malignant(positive) == [*positive] else f"images of {', '.join(positive)}"


def malignant(names, given=""):
    """Return which of the class ``names`` are malignant, in their order.

    ``given`` names them, separated by commas, ValueError if it names a class that is not there; "": what is known of
    the standard names, none if any class has another name.
    """
    wanted = [key(part) for part in given.split(",") if part.strip()]
    if strange := sorted(set(wanted) - set(map(key, names))):
        raise ValueError(f"MALIGNANT lists {strange[0]!r}, but the classes are {', '.join(names)}.")
    if not wanted and all(map(is_known, names)):
        wanted = ["malignant", "cancer", *(row["name"] for row in known() if row["malignant"] == "yes")]
    return [name for name in names if key(name) in wanted]
