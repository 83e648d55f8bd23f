"""Names of classes: the field's standard names, their abbreviations, and which of them are cancers."""

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
BENIGN = [
    "actinic keratosis",
    "seborrheic keratosis",
    "pigmented benign keratosis",
    "dermatofibroma",
    "vascular lesion",
    "nevus",
    "benign",
]
_NAMES = {short: name for name, others in STANDARD.items() for short in [name, *others]}


def plain(name):
    """Return a name in lower case with single spaces for whatever is no letter or digit: spellings to be compared."""
    return re.sub(r"[\W_]+", " ", str(name)).strip().lower()


def standard(name):
    """Return the standard name that a class's name or abbreviation means ("MEL", "Melanocytic_nevi"), else ``name``."""
    return _NAMES.get(plain(name), " ".join(str(name).split()))


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
