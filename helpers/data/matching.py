"""Which image file a name in a table means: the longest match of its path, a full name before a part of it."""

import itertools
import re
import unicodedata
from pathlib import Path, PurePath
from urllib.parse import unquote

import pandas as pd

from helpers.data import images

SPLITS = {"train": "train", "training": "train", "test": "test", "testing": "test"}
SPLITS |= dict.fromkeys(["val", "valid", "validation"], "val")
ID = r"(?:ISIC|SYN)_\d{7}"  # means one picture wherever it stands


def isic_id(name):
    """Return the ISIC Archive's id (or the sample's) that a file's stem begins with, else the stem."""
    match = re.match(rf"{ID}(?!\d)", name)
    return match[0] if match else name


def split_of(name):
    """Return the split that is a word of a name ("ISIC_2019_Training_Input"), "" for none or two."""
    words = re.findall(r"[A-Z]*[^\W\d_A-Z]+|[A-Z]+", name)
    said = {SPLITS[word.lower()] for word in words if word.lower() in SPLITS}
    return said.pop() if len(said) == 1 else ""


class Files:
    """Image files, to be found by the names that a table gives them; ``name in files`` says whether one is named so."""

    def __init__(self, paths, root=None):
        """Take the ``paths`` of the files; those of the set in the folder ``root`` are compared below it only."""
        self.root, self.by_key = root and Path(root), {}
        self.paths = [Path(path).relative_to(root) if root else Path(path) for path in paths]
        self.splits = [next(filter(None, map(split_of, path.parts[:-1])), "") for path in self.paths]
        for position, path in enumerate(self.paths):
            for key in {_key(path.stem.strip()), _key(isic_id(path.stem.strip()))}:
                self.by_key.setdefault(key, []).append(position)

    def __contains__(self, name):
        return any(level < 2 for level, *_ in self._meant(_parts(name)[-1:]))

    def own(self, table):
        """Return the positions of the files that a table speaks of, by the split or folder that its path names."""
        if not self.root or not Path(table).is_relative_to(self.root):
            return range(len(self.paths))
        place = Path(table).relative_to(self.root)
        split = next(filter(None, map(split_of, [place.stem, *place.parts[:-1]])), "")
        if split:
            return [at for at, said in enumerate(self.splits) if said == (split if split in self.splits else "")]
        return self.inside(table) or range(len(self.paths))

    def inside(self, table):
        """Return the positions of the files in a table's folder, if that is one below the top of the set."""
        place = Path(table).parent
        below = self.root and place != self.root and place.is_relative_to(self.root)
        return [at for at, path in enumerate(self.paths) if below and (self.root / path).is_relative_to(place)]

    def match(self, values, table):
        """Find the files that the ``values`` of a column of ``table`` name (a Series of text by line).

        Paths of other systems are compared without the folders that all of them share. A name that stands in several
        folders means the file in the table's own folder or split; an ISIC id means one picture wherever it stands.
        Returns the pairs, a DataFrame (``file``: position, ``line``, ``level`` as in ``_meant``, 0 is best), and the
        values that mean several files still.
        """
        named = {line: parts for line, value in values.items() if (parts := _parts(value))}
        levels = zip(*(parts[:-1] for parts in named.values()))
        shared = len(list(itertools.takewhile(lambda level: len(set(level)) == 1, levels)))
        ends = [named, {line: parts[shared:] for line, parts in named.items()}]
        if len({parts[-1] for parts in named.values()}) == len(named):
            ends.append({line: parts[-1:] for line, parts in named.items()})
        found = next(filter(len, map(self._pairs, ends)), self._pairs({}))
        found["id"] = [bool(re.fullmatch(ID, _stem(named[line][-1]))) for line in found["line"]]
        found = found[found["id"] | (found["level"] == found.groupby("line")["level"].transform("min"))]
        found = found[found["level"] == found.groupby("file")["level"].transform("min")]
        own, twice = self.own(table), found.duplicated("line", keep=False) & ~found["id"]
        if twice.any() or (len(found) and not found["file"].isin(own).any()):
            found = found[found["file"].isin(own)]
            twice = found.duplicated("line", keep=False) & ~found["id"]
        return found.loc[~twice, ["file", "line", "level"]], values[found.loc[twice, "line"].unique()].tolist()

    def _pairs(self, named):
        pairs = [(at, line, level, common) for line, parts in named.items() for level, at, common in self._meant(parts)]
        found = pd.DataFrame(pairs, columns=["file", "line", "level", "common"])
        return found[found["common"] == found.groupby("line")["common"].transform("max")]

    def _meant(self, parts):
        """Yield (level, position, common folders) of files that a path's parts mean, if one path is the other's end.

        The level is 0 by full name, 1 stem, 2 spelling, 3 ISIC id.
        """
        if not parts:
            return
        stem, folders = _stem(parts[-1]), [_key(part) for part in reversed(parts[:-1])]
        for at in self.by_key.get(_key(stem), []):
            path, own = self.paths[at], self.paths[at].stem.strip()
            theirs = [_key(part) for part in reversed(path.parts[:-1])]
            if all(map(str.__eq__, folders, theirs)):
                level = [parts[-1] == path.name, stem == own, _key(stem) == _key(own), True].index(True)
                yield level, at, min(len(folders), len(theirs))


def _parts(name):
    """Return the folders and the name of a path of any system as a list, without "..", drives and queries."""
    name = re.sub(r"^(\w+://[^?#]*).*", r"\1", name.strip("'"))
    return [part for part in re.split(r"[/\\]+", name) if part.strip(". ") and not part.endswith(":")]


def _stem(name):
    name = PurePath(name)
    return name.stem if name.suffix.lower() in {*images.SUFFIXES, ".dcm"} else name.name


def _key(stem):
    """Return what spellings of a stem have in common: spreadsheets take the zeros of 007, links say %20."""
    return re.sub(r"^0+(?=\d+$)", "", unicodedata.normalize("NFC", unquote(stem)).casefold())
