"""Augmentation on disk: Augmentor's operations, drawn exactly, repeatably and on every core."""

import hashlib
import io
import json
import os
import sys
import warnings
from functools import partial
from inspect import getsource, isfunction
from pathlib import Path
from urllib.parse import quote

import Augmentor
import numpy as np
import pandas as pd
from PIL import Image, features
from tqdm import tqdm

from helpers import manifest
from helpers.augment_workers import apply, make, shared

__all__ = ["apply", "fill_classes"]
_TOO_FEW = 300  # fewer images are made here before other processes have started


def fill_classes(table, pipeline, target, out_dir, seed=0, quality=95, workers=None, progress=True):
    """Fill each class of the training split up to ``target`` images and return the manifest with the new rows.

    Only active training originals are augmented, each class by what it lacks, evenly: no original gets a second
    augmentation before every original of its class has one. The files are
    ``out_dir/<recipe>/<class>/<image_id>__aug<k>.jpg``, where <recipe> is a hash of the operations, the seed, the
    quality and the libraries' versions (written out in ``recipe.json``). A file depends on its original, its k and
    the recipe alone, so files that are there already are kept, and a stopped run goes on where it was.
    What belongs is what the table lists: a smaller target leaves files unlisted.

    Parameters
    ----------
    table : manifest. Augmented rows that it already has are replaced.
    pipeline : Augmentor.Pipeline without a source folder, for example with ``rotate`` and ``flip_left_right``.
    target : int, images a class, originals included; a class that has as many gets none.
    out_dir : folder for the files, outside the image folder.
    seed : int.
    quality : int, 1 to 100, of the JPEG files (libjpeg's scale).
    workers : int, processes; by default one a core.
    progress : bool, show a progress bar.

    Returns
    -------
    DataFrame: the manifest, with one row more for each augmented image.

    Raises
    ------
    ValueError
        If ``out_dir`` lies in the image folder, the pipeline cannot be described, or nothing is there to augment.
    manifest.ManifestError
        If the result breaks a rule of the manifest.
    """
    originals = table[table["parent"] == ""]
    _refuse_source(out_dir, originals)
    recipe, folder = _recipe(pipeline, seed, quality, out_dir)
    rows = _plan(originals, target, seed)
    rows["path"] = [str(folder / _name(label) / f"{_name(parent)}__aug{k}.jpg")
                    for label, parent, k in zip(rows["label"], rows["parent"], rows["k"])]
    facts = {path: _facts(path, draw) for path, draw in zip(rows["path"], rows["draw"])}
    missing = rows[[facts[path] is None for path in rows["path"]]]
    if len(missing):
        _prepare(folder, recipe, missing["label"].unique())
        facts.update(_make_all(missing, pipeline.operations, quality, workers, progress))
    found = pd.DataFrame([facts[path] for path in rows["path"]], columns=["sha256", "width", "height"])
    rows = rows.assign(**found, picture="", phash="")
    return manifest.check(pd.concat([originals, rows[list(originals.columns)]], ignore_index=True))


def _refuse_source(out_dir, originals):
    folders = {os.path.dirname(os.path.abspath(path)) for path in originals["path"]}
    source = Path(os.path.commonpath(folders)).resolve()
    if Path(out_dir).resolve().is_relative_to(source):
        raise ValueError(f"out_dir {str(out_dir)!r} lies in the image folder {str(source)!r}, where augmented images "
                         "would be taken for originals; choose a folder outside it, such as the run folder.")


def _recipe(pipeline, seed, quality, out_dir):
    """Return the text of recipe.json, which says all that a file depends on but its original, and its folder."""
    if not pipeline.operations:
        raise ValueError("The pipeline has no operations; add some first, for example pipeline.flip_left_right(0.5).")
    recipe = {"operations": [_describe(operation) for operation in pipeline.operations], "seed": seed,
              "quality": quality, "Augmentor": Augmentor.__version__, "Pillow": Image.__version__,
              "libjpeg": features.version("libjpeg_turbo") or features.version("jpg")}
    text = json.dumps(recipe, indent=1, sort_keys=True) + "\n"
    return text, Path(out_dir).absolute() / hashlib.sha256(text.encode()).hexdigest()[:12]


def _describe(operation):
    kind = type(operation)
    described = {"operation": f"{kind.__module__}.{kind.__qualname__}", **vars(operation)}
    if kind.__module__ != Augmentor.Operations.__name__:  # an edited operation is another one
        described["source"] = [getsource(part) for part in vars(kind).values() if isfunction(part)]
    try:
        return json.loads(json.dumps(described, default=lambda value: value.tolist()))
    except (AttributeError, TypeError) as error:
        raise ValueError(f"Operation {kind.__name__} holds {vars(operation)}, which cannot be written to recipe.json; "
                         "give it numbers, text and lists only.") from error


def _plan(originals, target, seed):
    """Return one row per augmented image: its original's row, with ``source``, ``k`` (1, 2, ...) and ``draw``."""
    train = manifest.active(originals, "train")
    if not len(train) or target < 1:
        raise ValueError(f"Nothing to fill: {len(train)} training originals and a target of {target} images a class; "
                         "split the manifest first and give a positive target.")
    draws = [f"{seed} {image_id} {digest}" for image_id, digest in zip(train["image_id"], train["sha256"])]
    order = [hashlib.sha256(draw.encode()).hexdigest() for draw in draws]
    train = train.assign(draw=draws, order=order).sort_values(["label", "order"])
    plan = []
    for _, members in train.groupby("label"):
        place = np.arange(max(0, target - len(members)))
        plan.append(members.iloc[place % len(members)].assign(k=place // len(members) + 1))
    plan = pd.concat(plan, ignore_index=True)
    numbers = plan["k"].astype(str)
    return plan.assign(source=plan["path"], parent=plan["image_id"], draw=plan["draw"] + " " + numbers,
                       image_id=plan["image_id"] + "__aug" + numbers)


def _name(text):
    """Return ``text`` with what some file system forbids percent-encoded; other texts give other names."""
    return quote(text, safe=" ()").replace(".", "%2E")


def _facts(path, draw):
    """Return (sha256, width, height) of the whole JPEG file of that ``draw``, None if it is not there."""
    try:
        data = Path(path).read_bytes()
    except FileNotFoundError:
        return None
    if draw.encode() not in data[:4096] or not data.endswith(b"\xff\xd9"):
        return None
    with Image.open(io.BytesIO(data)) as image:
        return hashlib.sha256(data).hexdigest(), *image.size


def _prepare(folder, recipe, labels):
    """Make the folders, write recipe.json, and clear what a killed run had begun to write."""
    for label in labels:
        (folder / _name(label)).mkdir(parents=True, exist_ok=True)
    for part in folder.glob("*/*.part"):
        part.unlink(missing_ok=True)
    if not (folder / "recipe.json").is_file():
        manifest.write_text(recipe, folder / "recipe.json")


def _make_all(missing, operations, quality, workers, progress):
    """Make the ``missing`` images, all of one original together, and return {path: (sha256, width, height)}."""
    tasks = [(source, list(zip(rows["path"], rows["draw"]))) for source, rows in missing.groupby("source", sort=False)]
    workers = 1 if len(missing) < _TOO_FEW else min(workers or os.cpu_count(), len(tasks))
    local = sorted({type(operation).__name__ for operation in operations if type(operation).__module__ == "__main__"
                    or "<locals>" in type(operation).__qualname__})
    if local and workers > 1:
        warnings.warn(f"Other processes cannot import {', '.join(local)}, which the notebook defines, so one core does "
                      "the work; define it in a module to use all.", stacklevel=3)
        workers = 1
    size = max(1, min(8, len(tasks) // (8 * workers)))
    chunks = [tasks[start:start + size] for start in range(0, len(tasks), size)]
    function = partial(make, operations, quality)
    facts = {}
    with tqdm(total=len(missing), desc="Augmenting", unit=" images", mininterval=0.5, disable=not progress,
              file=sys.stdout) as bar:
        for made in shared(function, chunks, workers) if workers > 1 else map(function, chunks):
            facts.update(made)
            bar.update(len(made))
    return facts
