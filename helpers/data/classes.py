"""Names of classes: the field's standard names, their abbreviations, official diagnoses, and which are cancers."""

import re

# Worst first; the abbreviations are those of the ISIC challenges, HAM10000 and PAD-UFES-20.
STANDARD = {
    "melanoma": ["mel"],
    "squamous cell carcinoma": ["scc"],
    "basal cell carcinoma": ["bcc"],
    "actinic keratosis": ["akiec", "ak", "ack", "actinic keratoses", "actinic keratoses and intraepithelial carcinoma"],
    "seborrheic keratosis": ["sek"],
    "pigmented benign keratosis": ["bkl", "benign keratosis", "benign keratosis like lesions"],
    "dermatofibroma": ["df"],
    "vascular lesion": ["vasc", "vascular lesions"],
    "nevus": ["nv", "nev", "naevus", "melanocytic nevus", "melanocytic nevi"],
}
# Actinic keratosis is a precursor of squamous cell carcinoma, treated, and not yet a cancer.
MALIGNANT = ["melanoma", "squamous cell carcinoma", "basal cell carcinoma", "malignant", "cancer"]
BENIGN = [*(name for name in STANDARD if name not in MALIGNANT), "benign"]
# The classes that each ISIC 2019 diagnosis allows; the first is meant where none of them is claimed.
OFFICIAL = {
    "MEL": ["melanoma"],
    "NV": ["nevus"],
    "BCC": ["basal cell carcinoma"],
    "AK": ["actinic keratosis"],
    "SCC": ["squamous cell carcinoma"],
    "DF": ["dermatofibroma"],
    "VASC": ["vascular lesion"],
    "BKL": ["pigmented benign keratosis", "seborrheic keratosis"],
}
# What the ISIC Archive calls them beside the standard names, on one of the levels of its diagnoses.
ARCHIVE = {
    "MEL": r"melanoma\b.*",
    "NV": r"nevus(,.*)?",
    "BCC": r"basal cell carcinoma\b.*",
    "AK": r"(solar or )?actinic keratosis",
    "SCC": r"squamous cell carcinoma\b.*",
    "VASC": r"vascular lesion|.* - vascular|angioma|angiokeratoma|pyogenic granuloma",
    "BKL": r"solar lentigo|lichen.* keratosis",
}
_NAMES = {short: name for name, others in STANDARD.items() for short in [name, *others]}


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
    codes = (
        code
        for code, names in OFFICIAL.items()
        if standard(name) in names or re.fullmatch(ARCHIVE.get(code, "-"), name.strip().lower())
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
    if given.strip():
        wanted = [plain(standard(part)) for part in given.split(",")]
        strange = [part for part in wanted if part not in spelled]
        if strange:
            raise ValueError(f"MALIGNANT names {strange[0]!r}, but the classes are {', '.join(names)}.")
        return [name for part, name in spelled.items() if part in wanted]
    strange = [name for part, name in spelled.items() if part not in MALIGNANT + BENIGN]
    if strange:
        raise ValueError(
            f"Whether {strange[0]!r} is malignant is not known here; name the malignant classes in MALIGNANT."
        )
    return [name for part, name in spelled.items() if part in MALIGNANT]
