"""Augmentation on disk: Augmentor's own operations, drawn exactly, repeatably and on every core."""

import hashlib
import io
import json
import os
import random
import shutil
from concurrent.futures.process import BrokenProcessPool
from inspect import getsource, isfunction
from pathlib import Path
from urllib.parse import quote

import Augmentor
import joblib
import numpy as np
import pandas as pd
from PIL import Image, features

from helpers import manifest, messages
from helpers.data import families
from helpers.data.images import open_rgb

QUALITY = 95  # of the JPEG files, 1 to 100 on libjpeg's scale
_LONGEST = 100  # bytes of a class or image in a file's name; file systems stop at 255, or at 143


def apply(pipeline, image, seed):
    """Return one random draw of an Augmentor.Pipeline's operations on a PIL image: the same draw for the same seed.

    Each operation is applied with the probability that was written; ``Augmentor`` 0.2.12 compares it with a draw
    rounded to one decimal (``Pipeline._execute``), and so applies p = 0.5 in 55% of the cases. The states of
    ``random`` and ``numpy.random``, which the operations use, are left as they were; they belong to the whole process,
    so one thread at a time may call this. ``image`` may have any mode and is not changed; ``seed`` is an int or text.
    """
    digest = hashlib.sha256(str(seed).encode()).digest()
    states = random.getstate(), np.random.get_state()
    try:
        random.seed(int.from_bytes(digest[:16], "big"))
        np.random.seed(np.frombuffer(digest[16:], ">u4").astype(np.uint32))
        image = image.convert("RGB")  # a copy: some operations paint on the image that they are given
        for operation in pipeline.operations:
            if random.random() < operation.probability:
                image = operation.perform_operation([image])[0]
        return image
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])


def copy_some(rows, folder, classes=2, each=3):
    """Save ``each`` images of ``classes`` classes of ``rows`` in ``folder``, emptied before; return one's folder."""
    shutil.rmtree(folder, ignore_errors=True)
    names = sorted(rows["label"].unique())[:classes]
    for number, row in enumerate(rows[rows["label"].isin(names)].groupby("label").head(each).itertuples()):
        file = folder / _name(row.label) / f"image{number}.jpg"
        file.parent.mkdir(parents=True, exist_ok=True)
        open_rgb(row.path).save(file)
    return folder / _name(names[0])


def balance(table):
    """Return training originals, copies and "copies per original" of each class of :func:`fill_classes`' manifest."""
    train = manifest.active(table, "train")
    parents = train.groupby("label")["parent"]
    counts = parents.agg(originals=lambda each: (each == "").sum(), copies=lambda each: (each != "").sum())
    counts["copies per original"] = (counts["copies"] / counts["originals"]).round(1)
    return counts.sort_values("originals")


def fill_classes(table, pipeline, target, out_dir, seed=0, workers=None):
    """Fill each class of the training split up to ``target`` images and return the manifest with the new rows.

    Only active training originals are augmented, evenly: none gets a second augmentation before every original of its
    class has one. Copies that the set brought of another training image (:func:`families.originals`) count, but are not
    augmented again. The files are ``out_dir/<recipe>/<class>/<image_id>__aug<k>.jpg``, where <recipe> is a hash of the
    operations, the seed, the quality and the libraries' versions (``recipe.json``). A file depends on its original, its
    k and the recipe alone; what is there already is kept. Augmented rows that ``table`` has are replaced. ``target``
    counts originals, too; ``workers``: processes, by default one for few images, else one a core. ValueError if
    ``out_dir`` is inside the image folder, the pipeline cannot be described, or nothing is there to augment;
    RuntimeError if a worker process ends early.
    """
    originals = table[table["parent"] == ""]
    source = Path(os.path.commonpath([Path(path).absolute().parent for path in originals["path"]])).resolve()
    if Path(out_dir).resolve().is_relative_to(source):
        raise ValueError(f"out_dir {str(out_dir)!r} is inside the image folder {str(source)!r}; choose one outside it.")
    recipe = _recipe(pipeline, seed)
    folder = Path(out_dir).absolute() / hashlib.sha256(recipe.encode()).hexdigest()[:12]
    rows = _plan(originals, target, seed, folder)
    facts = {path: _facts(path, draw) for path, draw in zip(rows["path"], rows["draw"])}
    missing = rows[[facts[path] is None for path in rows["path"]]]
    if len(missing):
        for part in folder.glob("*/.*.part"):  # what a killed run had begun to write
            part.unlink(missing_ok=True)
        manifest.write_text(recipe, folder / "recipe.json")
        facts.update(_make_all(missing, pipeline, workers))
    found = pd.DataFrame([facts[path] for path in rows["path"]], columns=["sha256", "width", "height"])
    rows = rows.assign(**found, picture="", phash="")
    return manifest.check(pd.concat([originals, rows[list(originals.columns)]], ignore_index=True))


def _recipe(pipeline, seed):
    if not pipeline.operations:
        raise ValueError("The pipeline has no operations; add some first, for example pipeline.flip_left_right(0.5).")
    recipe = {"operations": [], "seed": seed, "quality": QUALITY, "Augmentor": Augmentor.__version__}
    recipe |= {"Pillow": Image.__version__, "libjpeg": features.version("libjpeg_turbo") or features.version("jpg")}
    for operation in pipeline.operations:
        kind = type(operation)
        described = {"operation": f"{kind.__module__}.{kind.__qualname__}", **vars(operation)}
        try:
            if kind.__module__ != Augmentor.Operations.__name__:  # an edited operation is another one
                described["source"] = [getsource(part) for part in vars(kind).values() if isfunction(part)]
            recipe["operations"].append(json.loads(json.dumps(described, default=lambda value: value.tolist())))
        except (AttributeError, TypeError, OSError) as error:
            raise ValueError(
                f"Operation {kind.__name__} with {vars(operation)} cannot be written to recipe.json; give it numbers, "
                "text and lists only, in a class of a file or cell."
            ) from error
    return json.dumps(recipe, indent=1, sort_keys=True) + "\n"


def _plan(originals, target, seed, folder):
    """Return one row per augmented image: its original's row, with ``source``, ``path`` and ``draw`` (its seed)."""
    train = manifest.active(originals, "train")
    if not len(train) or target < 1:
        raise ValueError(f"{len(train)} training originals and target {target}: split first; give a target over 0.")
    train = train.assign(source=train["path"], draw=f"{seed} " + train["image_id"] + " " + train["sha256"])
    order = np.argsort([hashlib.sha256(draw.encode()).hexdigest() for draw in train["draw"]])
    plan = []
    copies = families.originals(train).isin(train["image_id"])
    for _, images in train.iloc[order].groupby("label"):
        again = copies[images.index]
        members = images[~again | again.all()]
        place = np.arange(max(0, target - len(images)))
        plan.append(members.iloc[place % len(members)].assign(k=(place // len(members) + 1).astype(str)))
    plan = pd.concat(plan, ignore_index=True)
    parent, suffix = plan["image_id"], "__aug" + plan["k"]
    paths = f"{folder}{os.sep}" + plan["label"].map(_name) + os.sep + parent.map(_name) + suffix + ".jpg"
    return plan.assign(path=paths, draw=plan["draw"] + " " + plan["k"], image_id=parent + suffix, parent=parent)


def _name(text):
    """Return ``text`` as a part of a file name: what some file system forbids encoded, the end of a long one hashed."""
    name = quote(text, safe=" ()").replace(".", "%2E")
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return name if len(name) <= _LONGEST else f"{name[: _LONGEST - 17]}+{digest}"


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


def _make_all(missing, pipeline, workers):
    """Make the ``missing`` images in any order, in processes, as the draws use each interpreter's one random state."""
    workers = workers or (1 if len(missing) < 1000 else joblib.cpu_count())  # fewer are made before others have started
    # Processes without work, also those whose parent was killed, end after 30 seconds.
    parallel = joblib.Parallel(workers, "loky", return_as="generator_unordered", idle_worker_timeout=30)
    rows = zip(missing["source"], missing["path"], missing["draw"])
    made = parallel(joblib.delayed(_make)(pipeline, *row) for row in rows)
    try:
        return dict(messages.progress(made, "Augmenting", len(missing)))
    except BrokenProcessPool as error:
        raise RuntimeError(
            "A worker process ended early, perhaps out of memory. Call again to resume, with workers=1 if necessary."
        ) from error


def _make(pipeline, source, path, draw):
    image, buffer = apply(pipeline, open_rgb(source), draw).convert("RGB"), io.BytesIO()
    image.save(buffer, "JPEG", quality=QUALITY, comment=draw.encode())
    manifest.write_bytes(buffer.getvalue(), path)
    return path, _facts(path, draw)
