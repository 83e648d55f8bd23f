"""Pictures that belong to another one: masks of it, which are no photographs, and augmented copies of it."""

import itertools
import os
import re
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.data.images import UnreadableImage, open_rgb

UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
MADE = [  # names that a program gives to its copies, with the original's stem
    rf".*?_original_(.+)\.\w+_{UUID}",  # Augmentor
    r"(.+)[_-](?:jpe?g|png|bmp|tiff?|webp|gif)\.rf\.\w{6,}",  # Roboflow
]
NUMBERED = r"(aug[a-z]*)?_\d+_\d+"  # Keras's ImageDataGenerator does not say which original
DONE = (  # to a copy
    r"(?:(?:random)?(?:aug|dup|cop[yi]|kopi|[hv]?flip|horizontal|vertical|rotat|mirror|zoom|crop|shear|shift|trans[flp]"
    r"|(?:re)?scal[ei]|resiz|bright|contrast|saturat|colou?r|gr[ae]y|gamma|jitter|nois|gauss|blur|sharp|elastic|distort"
    r"|warp|affin|perspect|thumb|cutout|eras|invert|equali|clahe|solari|posteri|segment|albument|edit|enhanc)[^\W\d_]*)"
)
WORD = rf"(?:{DONE}|rot|hue|deg|lr|ud|of|de|von)"
WORDS = re.compile(rf"(?<![^\W_])\d*{WORD}\d*(?![^\W_])(?:[\W_]+\d+(?![^\W_]))*", re.IGNORECASE)
AUGMENTED = re.compile(r"(?<![^\W_])aug(ment[a-z]*)?(?![^\W_])", re.IGNORECASE)
COPIED = re.compile(rf"{AUGMENTED.pattern}| - (cop[iy]|kopi)[a-z]*( \(\d+\))?$| \(\d+\)$", re.IGNORECASE)  # of folders
FOLDER = re.compile(rf"{AUGMENTED.pattern}|^(outputs?|{DONE}([\W_]+({WORD}|\d+))*)$", re.IGNORECASE)
UNKNOWN = "unknown"  # stands for an original of which nothing is known
MASK = r"(?:mask|seg|truth|annot|label|lesion|roi|contour|binar|trimap|matte|silhouette|(?<![a-z])gt(?![a-z]))"
DRAWN = re.compile(r"superpixel|segmentation|contour|overlay|annotat|heat[\W_]?map|grad[\W_]?cam|saliency")
KIND = re.compile(rf"^(im(age|g)?s?|photo|scan|{MASK})[a-z]*[\W_]*(?=\d)")  # before a number


def masks(files):
    """Return those of the image ``files`` (Paths) that are drawn over another one: masks, segmentations, superpixels.

    The stem of such a file is, or begins with, that of another image, but for a word as in "mask_1" and "image_1"; and
    the rest of it says so ("_superpixels"), or it has two values, black and white (or a few grey levels), where the
    other image has more. Of each folder, and of each ending of names in it, three files are opened. If two folders side
    by side hold files of the same names, one is of masks only if it is called so: sketches may be a class.
    """
    subjects, by_subject, groups = {file: KIND.sub("", file.stem.casefold()) for file in files}, {}, {}
    for file, subject in subjects.items():
        by_subject.setdefault(subject, []).append(file)
    for file, subject in subjects.items():
        ends = (at for at, letter in enumerate(subject) if not letter.isalnum() and subject[:at] in by_subject)
        subject = subject[: next(ends, None)]
        if others := [other for other in by_subject[subject] if other != file]:
            rest = re.sub(r"\d+", "0", file.stem.casefold().replace(subject, "", 1))
            groups.setdefault((file.parent, rest), []).append((file, others))
    found = []
    for (folder, rest), members in groups.items():
        beside = not rest and any(other.parent.parent == folder.parent for other in members[0][1])
        if beside and not re.search(MASK, folder.name.casefold()):
            continue
        if DRAWN.search(rest) or all(
            _few_values(file) and not all(map(_few_values, others[:3])) for file, others in members[:3]
        ):
            found += [file for file, _ in members]
    return found


def originals(table):
    """Return the ``image_id`` of the original of each augmented copy in a manifest, "" for all other rows (a Series).

    A copy is known by its name: what Augmentor and Roboflow call their files; the stem of another image of the same
    class with words such as "aug", "flip" or "copy" and numbers around it, with what stands around half of all stems,
    or with anything in a folder "augmented" or "output". If the original itself is not there, one of its copies stands
    for it: one of Test, else of validation. Of files as Keras's ImageDataGenerator names them, "aug_0_8431", and of
    other names in a folder "augmented" the original is ``UNKNOWN``.
    """
    root = os.path.commonpath([Path(path).parent for path in table["path"]]) if len(table) else ""
    paths, rank = [Path(path) for path in table["path"]], table["split"].map({"test": 0, "val": 1}).fillna(2)
    inside = np.array([any(map(FOLDER.search, path.relative_to(root).parts[:-1])) for path in paths], bool)
    order = table.assign(stem=[path.stem.strip() for path in paths], inside=inside, rank=rank)
    order = order.sort_values(["inside", "rank", "image_id"])
    named = order.groupby(["stem", "published_label"])["image_id"].first().to_dict()
    without = set(table["published_label"][~inside])
    labels, found, stands = order.groupby("stem")["published_label"].agg(set).to_dict(), {}, {}
    parts = {stem: _parts(stem, labels) for stem in labels}
    usual = _usual(parts.values())
    for row in order.itertuples():
        made = next((match[1] for known in MADE if (match := re.fullmatch(known, row.stem, re.I))), "")
        base = Path(made).name or _base(row.stem, parts, usual, row.inside)
        label = min(labels.get(base, {row.published_label})) if row.inside else row.published_label
        if row.inside and named[row.stem, row.published_label] != row.image_id:
            found[row.Index] = named[row.stem, row.published_label]
        elif base:
            found[row.Index] = named.get((base, label)) or stands.setdefault((base, label), row.image_id)
        elif re.fullmatch(NUMBERED, row.stem, re.IGNORECASE) or (row.inside and row.published_label in without):
            found[row.Index] = UNKNOWN
    found = pd.Series(found, dtype=str).reindex(table.index, fill_value="")
    parent = dict(zip(table["image_id"], found))
    for _ in range(9):  # copies of copies
        found = found.map(lambda name: parent.get(name) or name)
    return found.mask(found == table["image_id"], "")


def _parts(stem, stems):
    """Return (stem, what is before it, what is behind it) of the ``stems`` that a stem has in it, the longest first."""
    cuts = [0, *(at for at in range(1, len(stem)) if not stem[at - 1 : at + 1].isalnum()), len(stem)]
    spans = sorted(itertools.combinations(cuts, 2), key=lambda span: span[0] - span[1])[1:]
    return [(stem[a:b], stem[:a], stem[b:]) for a, b in spans if stem[a:b] in stems]


def _usual(parts):
    """Return those of (before, behind), "0" for any number, that at least half of the stems are met with in others.

    ``parts`` are the :func:`_parts` of all stems. A number in front of which something stands may be another's number.
    """
    found = {(base, *_plain(*around)) for (base, *around), *_ in filter(None, parts)}
    counts = Counter(tuple(around) for base, *around in found if not around[0] or re.search(r"[^\W\d]", base))
    least = max(3, sum(not part for part in parts) / 2)
    return {around for around, count in counts.items() if count >= least}


def _plain(*texts):
    return tuple(re.sub(r"\d+", "0", text) for text in texts)


def _base(stem, parts, usual, augmented):
    """Return the stem that one is a copy of by its :func:`_parts`, of words of augmentation or ``usual`` ones.

    If there is none, return the stem without such words if there are any and a number is left, else "".
    """
    for base, *around in parts[stem]:
        rest = re.sub(UUID, " ", " ".join(around).lower())
        words = [word for word in re.findall(r"[^\W\d_]+", rest) if len(word) > 1]
        said = words and all(re.fullmatch(WORD, word) for word in words)
        again = re.fullmatch(r" +\(\d\)", rest) and f"{base} (4)" not in parts  # else they are numbered
        if augmented or said or again or _plain(*around) in usual:
            return base
    bare = re.sub(r"^[\W_]+|(?:[\W_]+\d+){2,}$|[\W_]+$", "", WORDS.sub("", stem))
    return bare if WORDS.search(stem) and re.search(r"\d", bare) else ""


def _few_values(file):
    """Say whether a picture is black and white, or has a few grey levels only."""
    try:
        counts = np.bincount(np.asarray(open_rgb(file, (128, 128)).convert("L")).ravel(), minlength=256)
    except UnreadableImage:
        return False
    return (counts > 0).sum() <= 8 or counts[:24].sum() + counts[-24:].sum() > 0.97 * counts.sum()
