"""Pictures that belong to another one: masks of it, which are no photographs, and augmented copies of it."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.data.images import UnreadableImage, open_rgb

UUID = r"[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
MADE = [  # names that a program gives to its copies, with the original's stem
    rf".*?_original_(.+)\.\w+_{UUID}",  # Augmentor
    r"(.+)_(?:jpe?g|png|bmp|tiff?|webp|gif)\.rf\.\w{6,}",  # Roboflow
]
WORDS = r"""(?x)(aug(ment(ed|ation)?)? | cop(y|ies|ie) | of | kopie | [hv]?flip(ped|lr|ud)? | (horizontal|vertical)(ly)?
    | rot(at(e|ed|ion))? | deg | mirror(ed)? | zoom(ed)? | crop(ped)? | shear(ed)? | shift(ed)? | translat(e|ed|ion)
    | (re)?(scale|size)d? | bright(ness)? | contrast | saturation | hue | colou?r | gamma | jitter | nois(e|y)
    | gaussian | blur(red)? | sharpen(ed)? | elastic | distort(ed|ion)? | transform(ed)?)"""
FOLDER = re.compile(r"augment|^(aug|output|outputs|copies)$", re.IGNORECASE)
DRAWN = re.compile(r"superpixel|segment|contour|overlay|annotat|heat ?map", re.IGNORECASE)


def masks(files):
    """Return those of the image ``files`` (Paths) that are drawn over another one: masks, segmentations, superpixels.

    The stem of such a file is, or begins with, that of another image; and the rest of it says so ("_superpixels"), or
    it has two values, black and white (or a few grey levels), where the other image has more. Of each folder, and of
    each ending of names in it, three files are opened.
    """
    stems = {}
    for file in files:
        stems.setdefault(file.stem.casefold(), []).append(file)
    groups = {}
    for file in files:
        stem = file.stem.casefold()
        ends = [at for at in range(1, len(stem)) if not stem[at].isalnum() and stem[:at] in stems]
        end = ends[0] if ends else len(stem)
        others = [other for other in stems[stem[:end]] if other != file]
        if others:
            groups.setdefault((file.parent, re.sub(r"\d+", "0", stem[end:])), []).append((file, others))
    found = []
    for (_, rest), members in groups.items():
        drawn = DRAWN.search(rest) or all(
            _few_values(file) and not all(map(_few_values, others[:3])) for file, others in members[:3]
        )
        found += [file for file, _ in members] if drawn else []
    return found


def originals(table):
    """Return the ``image_id`` of the original of each augmented copy in a manifest, "" for all other rows (a Series).

    A copy is known by its name: what Augmentor and Roboflow call their files; the stem of another image of the same
    class with words such as "aug", "flip" or "copy" and numbers around it, or with numbers alone in a folder
    "augmented" or "output". If the original itself is not there, one of its copies stands for it: one of Test, else of
    validation.
    """
    files = [Path(path) for path in table["path"]]
    root = os.path.commonpath([file.parent for file in files]) if files else ""
    rank = table["split"].map({"test": 0, "val": 1}).fillna(2)
    order = table.assign(rank=rank).sort_values(["rank", "image_id"])
    named, first = {}, {}
    for row in order.itertuples():
        stem = Path(row.path).stem.strip()
        named.setdefault((stem, row.published_label), row.image_id)
        first.setdefault(stem, set()).add(row.published_label)
    found, stands = {}, {}
    for row in order.itertuples():
        file = Path(row.path)
        stem = file.stem.strip()
        made = next((match[1] for match in (re.fullmatch(known, stem) for known in MADE) if match), "")
        augmented = any(map(FOLDER.search, file.relative_to(root).parts[:-1]))
        base = Path(made).name or _base(stem, first, augmented)
        labels = first.get(base, {row.published_label})
        label = min(labels) if augmented and len(labels) == 1 else row.published_label
        key = (base, label)
        if base and base != stem and (made or key in named):
            found[row.Index] = named.get(key) or stands.setdefault(key, row.image_id)
    found = pd.Series(found, dtype=str).reindex(table.index, fill_value="")
    parent = dict(zip(table["image_id"], found))
    for _ in range(9):  # copies of copies
        found = found.map(lambda name: parent.get(name) or name)
    return found.mask(found == table["image_id"], "")


def _base(stem, stems, augmented):
    """Return the longest of ``stems`` that a stem consists of, but for words of augmentation and numbers; else ""."""
    tokens = [(match.start(), match.end()) for match in re.finditer(r"[^\W_]+", stem)]
    spans = [(a, b) for a, _ in tokens for _, b in tokens if a < b and (a > 0 or b < len(stem))]
    spans += [(a, len(stem)) for a, _ in tokens] + [(0, at) for at in range(1, len(stem)) if not stem[at].isalnum()]
    for a, b in sorted(set(spans), key=lambda span: span[0] - span[1]):
        rest = stem[:a] + " " + stem[b:]
        words = re.findall(r"[^\W_\d]+", re.sub(UUID, " ", rest.lower()))
        said = augmented or words or re.fullmatch(r" +\(\d+\)", rest)
        if stem[a:b] != stem and stem[a:b] in stems and said and all(re.fullmatch(WORDS, word) for word in words):
            return stem[a:b]
    return ""


def _few_values(file):
    """Say whether a picture is black and white, or has a few grey levels only."""
    try:
        counts = np.bincount(np.asarray(open_rgb(file, (128, 128)).convert("L")).ravel(), minlength=256)
    except UnreadableImage:
        return False
    return (counts > 0).sum() <= 8 or counts[:24].sum() + counts[-24:].sum() > 0.97 * counts.sum()
