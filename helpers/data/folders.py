"""Walk through the folders of a set of images, and say what their names mean: splits, classes, parts."""

import os
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from helpers.data import classes, families, images, matching, tables

# Folders that hold a part of the images of all classes, as "HAM10000_images_part_1", or copies of them.
PART = re.compile(
    r"\b(part|fold|images?|imgs?|input|jpe?gs?|pngs?|photos?|pictures?|data|outputs?|orig(inals?)?|augmented)( ?\d+)?$"
)


PATIENT = re.compile(
    r"(patients?|pat|subj|subjects?|participants?|cases?|persons?|probands?|donors?|pacientes?)[\W_]*\d[\w -]*",
    re.IGNORECASE,
)
FOREIGN = {"__MACOSX", "@eaDir", "$RECYCLE.BIN"}  # made by other programs


def walk(root, passed_over=(), refused=lambda error: None):
    """Yield (folder, its files, its folders) of all that is visible below ``root``; a loop of links ends.

    Of a folder that may not be opened, ``refused`` is called with the OSError.
    """
    seen = {os.path.realpath(root)}
    for place, folders, names in os.walk(root, followlinks=True, onerror=refused):
        here = Path(place)
        shown = [name for name in sorted(folders) if name[0] != "." and name not in FOREIGN]
        inside = {name: os.path.realpath(here / name) for name in shown if here / name not in passed_over}
        folders[:] = [name for name, real in inside.items() if real not in seen]
        seen.update(inside.values())
        yield here, sorted(here / name for name in names if name[0] != "." and here / name not in passed_over), folders


def is_image(file):
    """Say whether a file's name has the suffix of an image."""
    return file.suffix.lower() in images.SUFFIXES


def text(name):
    """Return a name from the file system as text that can be printed: undecodable bytes are taken as Latin-1."""
    return os.fsencode(name).decode("latin-1") if any("\ud800" <= letter <= "\udfff" for letter in name) else name


def place(file, root):
    """Return the path of a file of the set below ``root``, as text."""
    file = Path(file)
    return text((file.relative_to(root) if file.is_relative_to(root) else file).as_posix())


def sort_out(root, passed_over):
    """Return the paths of the images and of the tables below ``root``, and {what else is there: how many}."""
    files, found, other, left, refused = [], [], {}, {}, []
    for here, inside, folders in walk(root, passed_over, refused.append):
        for file in inside:
            if is_image(file):
                files.append(file)
            elif file.suffix.lower() not in tables.SUFFIXES:
                other.setdefault(file.suffix or file.name, []).append(place(file, root))
            elif file.is_file():
                found.append(file)
            else:  # a pipe would be waited for without end
                left[f"{place(file, root)}, which is no file or leads to none"] = 0
        if not inside and not folders and here != root:
            left[f"empty folder {place(here, root)}"] = 0
    for error in refused:
        left[f"folder {place(error.filename, root)}, which cannot be opened ({error.strerror})"] = 0
    left |= {f"{suffix} files, such as {names[0]}": len(names) for suffix, names in other.items()}
    if drawn := set(families.masks(files)):
        left[f"masks or other drawings over images, such as {place(min(drawn), root)}"] = len(drawn)
    return [file for file in files if file not in drawn], found, left


def read_folders(files, root, exactly):
    """Return one row per file: ``path``, split (``in``), class (``folder``) and patient (``who``) that folders name.

    ``exactly``: folders of parts are classes too. Of two levels of folders that may be the classes, ``folder`` is the
    upper one and ``below`` the lower one.
    """
    parts = [[text(part) for part in file.relative_to(root).parts[:-1]] for file in files]
    names = {part for p in parts for part in p}
    bare = {name: families.AUGMENTED.sub("", name).strip(" _-") for name in filter(families.AUGMENTED.search, names)}
    parts = [[bare[part] if bare.get(part) in names else part for part in p] for p in parts]  # beside their originals
    while len(parts[0]) > 1 and all(len(p) > 1 and p[0] == parts[0][0] for p in parts):
        if classes.plain(parts[0][0]) in matching.SPLITS or classes.is_known(parts[0][0]):
            break
        parts = [p[1:] for p in parts]  # a folder around the whole set, as archives unpack
    at = next((depth for depth in range(max(map(len, parts))) if _splits(parts, depth)), None)
    split = ["" if at is None or len(p) <= at else matching.split_of(p[at]) for p in parts]
    within = [p if at is None else p[:at] + p[at + 1 :] if split else [] for p, split in zip(parts, split)]
    if not exactly:
        inside = {}
        for p in within:
            for depth, part in enumerate(p):
                inside.setdefault(tuple(p[:depth]), {}).setdefault(part, set()).update(p[depth + 1 : depth + 2])
        part_of = {(*above, name) for above, names in inside.items() for name in names if _is_part(name, names)}
        kept = [[part for at, part in enumerate(p) if tuple(p[: at + 1]) not in part_of] for p in within]
        gone = {part for p, own in zip(within, kept) if own for part in p} - {part for own in kept for part in own}
        within = [own or [part for part in p if part not in gone] for p, own in zip(within, kept)]
    patients = [next(filter(PATIENT.fullmatch, p), "") for p in within]
    others = [tuple(part for part in p if part != who) for p, who in zip(within, patients)]
    of = pd.Series(others, dtype=object).groupby(pd.Series(patients, dtype=object)).agg(set)
    within = [
        list(rest) if rest and (p[-1] != who or len(of[who]) == 1) else p
        for p, rest, who in zip(within, others, patients)
    ]
    depths = Counter(depth for p in within for depth, part in enumerate(p) if classes.is_known(part))
    level = max(depths, key=depths.get, default=0)
    rows = pd.DataFrame({"path": [str(file.absolute()) for file in files], "in": split})
    rows["folder"] = [next(filter(classes.is_known, p), ["", *p][min(level + 1, len(p))]) for p in within]
    under = pd.Series([p[1] if not depths and len(p) > 1 else "" for p in within])
    spread = rows["folder"].groupby(under).nunique()
    crossed = [name for name in spread.index[spread > 1] if re.search(r"[^\W\d_]", name)]
    direct = set(rows["folder"]) <= set(rows["folder"][under == ""])  # images lie in all of the upper ones themselves
    rows["below"] = under if len(crossed) > 1 and not direct else ""
    rows["who"] = patients
    rows["place"] = [f"{p[0]}/" if p else "the set's folder" for p in parts]
    return rows.assign(**dict.fromkeys([*tables.FACTS, "split", "collection", "origin", "diagnosis"], ""))


def _is_part(name, beside):
    """Say whether a folder is of a part of all classes, or has the folders of one ``beside`` it, {name: folders}."""
    parts = [other for other in beside if PART.search(classes.plain(other))]
    return name in parts or any(beside[name] & beside[other] for other in parts)


def _splits(parts, depth):
    """Say whether the folders at a depth are splits: all or two of them, or the only one that has folders in it."""
    splits = {p[depth]: matching.split_of(p[depth]) for p in parts if len(p) > depth}
    deeper = {p[depth] for p in parts if len(p) > depth + 1}
    several = len(set(splits.values()) - {""}) > 1
    return any(splits.values()) and (several or all(splits.values()) or all(map(splits.get, deeper or {""})))
