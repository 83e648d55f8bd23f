"""What the pictures say: hashes, near-duplicates (one picture under other bytes), and groups that belong together."""

import hashlib
import itertools
from pathlib import Path

import imagehash
import numpy as np
import pandas as pd
from PIL import Image
from scipy.cluster.hierarchy import DisjointSet

from helpers import manifest, messages
from helpers.data import families
from helpers.data.images import UnreadableImage, open_rgb, read_files

SIDE = 32  # px: the size at which ImageHash takes the 64-bit pHash, and at which pairs are compared
BLOCK = 256  # rows compared at once: memory grows with BLOCK x images, not with images x images
MANY = 50  # pairs a picture in such a block, from which on only those are kept that tie the pictures together


def inspect(table):
    """Decode every image of a manifest once and fill in what the pictures say.

    Returns the manifest with ``sha256`` (of the file's bytes), ``picture`` (SHA-256 of the size and the decoded RGB
    pixels), ``phash`` (64-bit, 16 hexadecimal digits), ``width`` and ``height`` (px). A file that cannot be decoded has
    the flag "unreadable", an empty ``label`` and no picture. UnreadableImage if none can be decoded.
    """
    table = table.assign(**pd.DataFrame(read_files(_inspect_file, table["path"]), table.index, manifest.PICTURE))
    unreadable = table["picture"] == ""
    if unreadable.all() and len(table) > 1:
        try:
            open_rgb(table["path"].iloc[0])
        except UnreadableImage as error:
            raise UnreadableImage(f"All {len(table)} images are unreadable; the first: {error}") from error
    return table.assign(label=table["label"].mask(unreadable, ""), flag=table["flag"].mask(unreadable, "unreadable"))


def near_duplicates(table, max_distance=8, min_similarity=0.88):
    """Find the pairs of different pictures that are one picture re-encoded, resized, mirrored or turned.

    Of candidates, one has in any of eight orientations a 64-bit pHash within ``max_distance`` bits (0 to 64) of the
    other's (ImageHash, after Zauner 2010, "Implementation and benchmarking of perceptual image hash functions"). They
    are confirmed if edges lie in the same places: if the brightness steps between neighbouring pixels of 32 x 32 px
    grey copies correlate (-1 to 1) by at least ``min_similarity``, whatever brightness, contrast and white balance.

    Takes a manifest that :func:`inspect` has filled, and reads the files once more. Returns a DataFrame, one row per
    pair of pictures (each under its first ``image_id``): ``image_id``, ``other_id``, ``distance`` (bits),
    ``similarity`` (correlation), ``how``: what was done to the image to make the other ("same view", "turned 90"
    counter-clockwise, "mirrored, turned 90", ...). Of pictures alike by the hundred, only the pairs are listed that tie
    all together.
    """
    columns = ["distance", "similarity", "how"]
    rows = table[table["picture"] != ""].sort_values("image_id").drop_duplicates("picture")
    grey = np.array(read_files(_thumbnail, rows["path"]), np.uint8).reshape(-1, SIDE, SIDE)
    ids, hashes = rows["image_id"].to_numpy(), _hashes(grey)
    found, steps, joined = [pd.DataFrame(columns=["i", "j", *columns])], _steps(grey), DisjointSet(range(len(grey)))
    for mirrored, turns in messages.progress([*itertools.product((False, True), range(4))], "Comparing pictures, view"):
        view = np.rot90(grey[:, :, ::-1] if mirrored else grey, turns, axes=(1, 2))
        how = ", ".join(["mirrored"] * mirrored + [f"turned {90 * turns}"] * (turns > 0)) or "same view"
        for i, j, distance in _close(_hashes(view), hashes, max_distance):
            similarity = _similarity(view, steps, i, j)
            pairs = pd.DataFrame({"i": i, "j": j, "distance": distance, "similarity": similarity, "how": how})
            pairs = pairs[similarity >= min_similarity].sort_values("similarity", ascending=False, kind="stable")
            found.append(_forest(pairs, joined) if len(pairs) > MANY * BLOCK else pairs)
    pairs = pd.concat([part for part in found if len(part)] or found)
    pairs = pairs.sort_values("similarity", ascending=False, kind="stable").drop_duplicates(["i", "j"])
    pairs = pairs.assign(image_id=ids[pairs["i"].to_numpy(int)], other_id=ids[pairs["j"].to_numpy(int)])
    return pairs[["image_id", "other_id", *columns]].sort_values(["image_id", "other_id"], ignore_index=True)


def group(table, metadata, pairs=None):
    """Tie together what must not be separated: one patient, lesion or picture, augmented copies, near-duplicates.

    Takes a manifest that :func:`inspect` has filled, ``metadata`` as ``labels.official_labels`` returns it, and
    ``pairs`` as :func:`near_duplicates` does (None: they are searched). Returns the manifest with ``group``: the
    smallest ``image_id`` of the connected component, whatever the order of the rows.
    """
    pairs = near_duplicates(table) if pairs is None else pairs
    ties = table.join(metadata, on="image_id").set_index("image_id")
    ties["lesion_id"] = ties["lesion_id"].str.split()
    names = ["group", "lesion_id", "patient_id", "sha256", "picture"]
    keys = pd.concat([ties[name].explode().replace("", None).dropna().radd(f"{name} ") for name in names])
    first = keys.index.to_series().groupby(keys.to_numpy()).transform("first")
    copies = families.originals(table).set_axis(table["image_id"]).loc[lambda original: original.isin(ties.index)]
    sets = DisjointSet(table["image_id"])
    for one, other in [*zip(keys.index, first), *zip(pairs["image_id"], pairs["other_id"]), *copies.items()]:
        sets.merge(one, other)
    smallest = {image_id: min(together) for together in sets.subsets() for image_id in together}
    return table.assign(group=table["image_id"].map(smallest))


def _inspect_file(path):
    digest = ""
    try:
        if Path(path).is_file():  # a named pipe would be waited for without end
            digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
        image = open_rgb(path)
    except OSError:  # of a disk, too
        return digest, "", "", 0, 0
    picture = hashlib.sha256(f"{image.width}x{image.height}".encode())
    for top in range(0, image.height, 512):  # in strips: a copy of a large picture would fill the memory
        picture.update(image.crop((0, top, image.width, min(top + 512, image.height))).tobytes())
    return digest, picture.hexdigest(), str(imagehash.phash(image)), image.width, image.height


def _thumbnail(path):
    grey = open_rgb(path, (4 * SIDE, 4 * SIDE)).convert("L")
    return np.asarray(grey.resize((SIDE, SIDE), Image.Resampling.LANCZOS))


def _hashes(grey):
    """Return the 64-bit pHash of each grey copy (n x 32 x 32, uint8) as n unsigned integers."""
    bits = [imagehash.phash(Image.fromarray(copy)).hash.ravel() for copy in grey]
    return np.packbits(np.array(bits, bool).reshape(-1, 64), axis=1).view(np.uint64).ravel()


def _close(hashes, others, max_distance):
    """Yield (i, j, distance) arrays of the pairs i < j whose hashes differ in at most ``max_distance`` bits."""
    for start in range(0, len(hashes), BLOCK):
        distances = np.bitwise_count(hashes[start : start + BLOCK, None] ^ others[None, start:])
        i, j = np.nonzero(np.triu(distances <= max_distance, 1))
        yield i + start, j + start, distances[i, j].astype(int)


def _steps(grey):
    """Return the brightness steps of grey copies (n x 32 x 32, uint8) as vectors of length 1, or 0 where it is flat."""
    flat = [np.diff(grey.astype(np.float32), axis=axis).reshape(-1, SIDE * (SIDE - 1)) for axis in (1, 2)]
    steps = np.concatenate(flat, axis=1)
    return steps / np.maximum(np.linalg.norm(steps, axis=1, keepdims=True), 1)  # steps are whole numbers


def _similarity(view, steps, i, j):
    """Correlate the brightness steps of the pictures ``i`` of a view with the ``steps`` of the pictures ``j``."""
    rows, row = np.unique(i, return_inverse=True)
    columns, column = np.unique(j, return_inverse=True)
    return (_steps(view[rows]) @ steps[columns].T)[row, column]


def _forest(pairs, joined):
    """Return those of the ``pairs``, best first, that tie together what is not ``joined`` yet, and join it."""
    roots = np.array([joined[picture] for picture in joined])
    pairs = pairs[roots[pairs["i"]] != roots[pairs["j"]]]
    return pairs[[joined.merge(i, j) for i, j in zip(pairs["i"], pairs["j"])]]
