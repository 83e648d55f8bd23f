"""Walk through the folders of a set of images, and say what their names mean: splits, classes, parts."""

import itertools
import os
import re
from collections import Counter
from pathlib import Path

import pandas as pd

from helpers.data import classes, families, images, matching, tables

# Folders that hold a part of the images of all classes, as "HAM10000_images_part_1", or copies of them.
PART = re.compile(
    r"\b(part|fold|batch|images?|imgs?|input|jpe?gs?|pngs?|photos?|pictures?|data(set)?|output|orig(inals?)?)( ?\d+)?$"
)
WHO = "patients?|pat|subj|subjects?|participants?|cases?|persons?|probands?|donors?|pacientes?"
PATIENT = re.compile(rf"({WHO})[\W_]*\d[\w -]*", re.IGNORECASE)
# What of a file's name says the patient, or another source of several pictures: person1_virus_3, 10_left, s7_patch_0
SOURCE = re.compile(
    rf"^(?:((?:{WHO})[\W_]*\d+)[\W_]+\w.*|(.*\d[a-z]?)[\W_]+(?:left|right|frame|patch|tile|slice|view|cell)[\d\W_]*)$",
    re.IGNORECASE,
)
# a bare number before a running one, if it is no day or year: CNV-1016042-1
NUMBER = re.compile(r"^[^\W\d_]+[\W_]+((?!(?:19|20)\d\d(?:[01]\d[0-3]\d)?\D)\d{3,})[\W_]+\d{1,3}$")
UNSORTED = re.compile(r"(un|not |to ?)(label|sort|annotat|classif|categori|do\b)[a-z]*|new folder( \(\d+\))?")
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


def read_folders(files, root):
    """Return one row per file: ``path``, split (``in``), class (``folder``) and patient (``who``) that folders name.

    Of two levels of folders that may be the classes, ``folder`` is the upper one and ``below`` the lower one.
    """
    parts = _unwrapped([[text(part) for part in file.relative_to(root).parts[:-1]] for file in files])
    split, within = _apart(parts)
    within = [[] if any(UNSORTED.fullmatch(classes.plain(name)) for name in p) else p for p in within]
    patients, within = _patients(_without_parts(within))
    depths = Counter(depth for p in within for depth, part in enumerate(p) if classes.is_known(part))
    level = max(depths, key=depths.get, default=0)
    rows = pd.DataFrame({"path": [str(file.absolute()) for file in files], "in": split})
    rows["folder"] = [next(filter(classes.is_known, p), ["", *p][min(level + 1, len(p))]) for p in within]
    under = pd.Series([p[1] if not depths and len(p) > 1 else "" for p in within])
    spread = rows["folder"].groupby(under).nunique()
    crossed = [name for name in spread.index[spread > 1] if re.search(r"[^\W\d_]", name)]
    direct = set(rows["folder"]) <= set(rows["folder"][under == ""])  # images lie in all of the upper ones themselves
    rows["below"] = under if len(crossed) > 1 and not direct else ""
    deeper = [p[p.index(name) + 1 :] if name in p else [] for p, name in zip(within, rows["folder"])]
    rows["who"] = _sources(files, patients, deeper)
    rows["place"] = [f"{p[0]}/" if p else "the set's folder" for p in parts]
    return rows.assign(**dict.fromkeys([*tables.FACTS, "split", "collection", "origin", "diagnosis"], ""))


def _unwrapped(parts):
    """Return paths without the folders around the whole set, or around it once more; copies are beside their originals.

    As archives unpack: ``set/set/oak``, or ``oak`` and ``set/oak``.
    """
    below = _below(parts)
    again = {path for path in below if path and below[path] and below[path] <= below[path[:-1]] - {path[-1]}}
    again = {path for path in again if not matching.split_of(path[-1])}
    again |= {path for path in below if len(path) > 1 and below[path[:-1]] == {path[-2]}}
    parts = [[name for at, name in enumerate(p, 1) if tuple(p[:at]) not in again] for p in parts]
    names = set(itertools.chain(*parts))
    bare = {name: families.COPIED.sub("", name).strip(" _-") for name in filter(families.COPIED.search, names)}
    parts = [[bare[part] if bare.get(part) in names else part for part in p] for p in parts]
    levels = itertools.takewhile(lambda level: len(set(level)) == 1, zip(*(p[:-1] for p in parts)))
    said = [classes.plain(name) in matching.SPLITS or classes.is_known(name) for name, *_ in levels]
    return [p[[*said, True].index(True) :] for p in parts]


def _below(parts):
    """Return {a folder, as a tuple of names: the names of the folders in it}; () is the top."""
    below = {}
    for p in parts:
        for depth in range(len(p) + 1):
            below.setdefault(tuple(p[:depth]), set()).update(p[depth : depth + 1])
    return below


def _apart(parts):
    """Return the split that each path names, and the paths without its folder: empty beside the splits.

    The folders at one depth are splits if all or two of them say so, or those that hold no part of all classes, or the
    only one that has folders in it; and folders in them that all say the same once more.
    """
    for depth in range(max(map(len, parts))):
        splits = {p[depth]: matching.split_of(p[depth]) for p in parts if len(p) > depth}
        deeper = {p[depth] for p in parts if len(p) > depth + 1}
        kept = {name for name, said in splits.items() if said or PART.search(classes.plain(name))}
        several = len(set(splits.values()) - {""}) > 1
        if any(splits.values()) and (several or kept == {*splits} or all(map(splits.get, deeper or {""}))):
            split = [next(filter(None, map(matching.split_of, p[depth:])), "") for p in parts]
            inside = {p[depth + 1] for p in parts if len(p) > depth + 1 and p[depth] in kept}  # oak beside test/oak
            rest = [p[:depth] + p[depth + 1 :] if kept & {*p[depth : depth + 1]} else p for p in parts]
            rest = [own if own != p or inside & {*p[depth:]} else [] for p, own in zip(parts, rest)]
            again, within = _apart(rest)
            return split, within if any(again) and again == [said * bool(p) for said, p in zip(split, rest)] else rest
    return [""] * len(parts), parts


def _without_parts(paths):
    """Return paths without the folders of a part of all classes, known by name or by folders as one beside it has."""
    below = {path: names for path, names in _below(paths).items() if path}
    named = [path for path in below if PART.search(classes.plain(path[-1])) or families.FOLDER.search(path[-1])]
    beside = {(path[:-1], folder) for path in named for folder in below[path]}
    part = {path for path in below if any((path[:-1], folder) in beside for folder in below[path])} | {*named}
    kept = [[name for at, name in enumerate(p, 1) if tuple(p[:at]) not in part] for p in paths]
    gone = {name for p, own in zip(paths, kept) if own for name in p} - {*itertools.chain(*kept)}
    return [own or [name for name in p if name not in gone] for p, own in zip(paths, kept)]


def _patients(paths):
    """Return the patient that each path names, and the paths without these folders, unless they hold the classes."""
    patients = [next(filter(PATIENT.fullmatch, p), "") for p in paths]
    others, of = [[name for name in p if name != who] for p, who in zip(paths, patients)], {}
    for who, rest in zip(patients, others):
        of.setdefault(who, set()).add(tuple(rest))
    every = zip(paths, patients, others)
    return patients, [rest if rest and (p[-1] != who or len(of[who]) == 1) else p for p, who, rest in every]


def _sources(files, patients, below):
    """Return the patient of each file, as folders say, else its name, or a folder with a number ``below`` the class.

    Of the names none may stand for a fifth of all files, of these folders for a tenth. A bare number is a name only if
    all files have one, and half of the numbers stand in several.
    """
    stems = pd.Series([text(file.stem) for file in files])
    named, numbers = (stems.str.extract(pattern).fillna("").agg("".join, axis=1) for pattern in (SOURCE, NUMBER))
    if (numbers != "").all() and (numbers.value_counts() > 1).mean() >= 0.5:
        named = numbers
    if named[named != ""].value_counts().max() > len(files) / 5:
        named[:] = ""
    counts = Counter(itertools.chain(*below))
    own = [[n for n in reversed(p) if re.search(r"\d", n) and 1 < counts[n] <= len(files) / 10] for p in below]
    return [who or name or next(iter(numbered), "") for who, name, numbered in zip(patients, named, own)]
