"""The embedded sample: drawings that look like dermoscopy, so that the course runs without a network.

Every picture is drawn from numbers alone (see :mod:`helpers.drawings`). The published set's defects are planted on
purpose and recorded in ``defects.csv``. Run ``python -m helpers.sample [FOLDER]`` to make it.
"""

import argparse
import io
import os
import shutil
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from helpers.data.sample import drawings

NOTE = ("These images are generated drawings, not photographs of patients; they are for learning the course's methods "
        "only (helpers/sample.py, seed {seed}).\n")
SITES = ["head/neck", "anterior torso", "posterior torso", "upper extremity", "lower extremity"]
BROWN, PINK = ["#b08060", "#a8785a", "#98684e", "#b48c68", "#a87868"], ["#dc9c98", "#d48c88", "#e0a8a0", "#cc8c80"]
PURPLE = ["#b86c84", "#a86484", "#c87880", "#a87c94"]
# Each class: its official code, pictures drawn for Test and Train, mean age, and its lesions (see drawings.draw).
CLASSES = {
    "actinic keratosis": dict(
        code="AK", test=12, train=30, age=68, colours=PINK + BROWN[:2], wave=.30, jag=.08, bites=0, soft=.35,
        has={"strawberry": .95, "scale": .8, "network": .1}),
    "basal cell carcinoma": dict(
        code="BCC", test=12, train=100, age=66, colours=PINK + BROWN[:2], wave=.18, jag=.06, bites=0, soft=.20,
        has={"pearly sheen": .6, "ovoid nests": .8, "branching vessels": .95}),
    "dermatofibroma": dict(
        code="DF", test=12, train=25, age=50, colours=PINK + BROWN, wave=.08, jag=.04, bites=0, soft=.30,
        has={"delicate network": .95, "scar": .95}),
    "melanoma": dict(
        code="MEL", test=12, train=100, age=62, colours=BROWN + PINK[:1], wave=.34, jag=.14, bites=0, soft=.10,
        has={"red blotches": .5, "dark blotches": .75, "atypical network": .8, "network": .15, "blue-white veil": .6,
             "black dots": .6}),
    "nevus": dict(
        code="NV", test=12, train=84, age=44, colours=BROWN + PINK[:2], wave=.09, jag=.04, bites=0, soft=.18,
        has={"network": .9, "globules": .3}),
    "pigmented benign keratosis": dict(
        code="BKL", test=12, train=122, age=63, colours=BROWN + PINK[:1], wave=.20, jag=.10, bites=.6, soft=.10,
        has={"ridges": .95, "network": .1, "milia-like cysts": .15}),
    "seborrheic keratosis": dict(
        code="BKL", test=3, train=20, age=65, colours=BROWN + PINK[:1], wave=.12, jag=.05, bites=0, soft=.04,
        has={"ridges": .3, "comedo openings": .95, "milia-like cysts": .95}),
    "squamous cell carcinoma": dict(
        code="SCC", test=12, train=48, age=71, colours=PINK + BROWN[:2], wave=.18, jag=.08, bites=0, soft=.20,
        has={"scale": .2, "keratin mass": .9, "glomerular dots": .9, "hairpin vessels": .7}),
    "vascular lesion": dict(
        code="VASC", test=3, train=37, age=50, colours=PURPLE + PINK, wave=.14, jag=.04, bites=0, soft=.10,
        has={"pearly sheen": .2, "lacunae": .95, "red blotches": .2}),
}

# Planted defects. kind, split, class, what it really is, also filed under (same bytes), pictures, share with metadata.
PLANTED = [
    ("contradiction", "Train", "seborrheic keratosis", "melanoma", "melanoma", 14, .5),
    ("contradiction", "Train", "actinic keratosis", "actinic keratosis", "nevus", 8, .5),
    ("test twin", "Test", "actinic keratosis", "actinic keratosis", "nevus", 3, .33),
    ("test twin", "Test", "seborrheic keratosis", "melanoma", "melanoma", 1, 0),
    ("wrong label", "Train", "nevus", "actinic keratosis", "", 4, 1),
    ("unreadable", "Train", "pigmented benign keratosis", "pigmented benign keratosis", "", 1, 0),
]
# Second copies of a Train picture in the same class, under another name: kind, class, what was done to it.
COPIES = [
    ("duplicate", "melanoma", "same bytes"), ("duplicate", "nevus", "same bytes"),
    ("near-duplicate", "melanoma", "mirrored"), ("near-duplicate", "nevus", "shrunk and enlarged"),
    ("near-duplicate", "basal cell carcinoma", "turned by 90 degrees"),
    ("near-duplicate", "vascular lesion", "compressed again"),
]
SHARED_LESIONS = ["basal cell carcinoma", "melanoma", "nevus", "pigmented benign keratosis"]  # in Test and in Train


def make_sample(folder, seed=0, workers=None):
    """Make the sample in ``folder`` unless it is complete there, and return the folder.

    Parameters
    ----------
    folder : path of the folder to make; it appears complete or not at all.
    seed : int; the same seed gives the same files with the same NumPy and Pillow, whatever ``workers`` is.
    workers : int, threads that draw; None: as many as there are processors.

    Returns
    -------
    Path of the folder. In it: ``Train/<class>/*.jpg`` and ``Test/<class>/*.jpg`` (RGB, 180 x 180 px),
    ``SYNTHETIC.txt``, ``metadata.csv`` (official label, lesion and patient of most images), ``defects.csv`` and
    ``artefacts.csv`` (0/1 for each of ``drawings.ARTEFACTS``).

    Raises
    ------
    FileExistsError
        If ``folder`` holds anything but this complete sample; nothing in it is touched.
    """
    folder, photos = Path(folder), _plan(seed)
    if _complete(folder, photos, seed):
        return folder
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder} holds files but no complete sample of seed {seed}; "
                              "delete it or name another folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(dir=folder.parent, prefix=f".{folder.name}."))
    try:
        _build(building, photos, seed, workers)
        building.chmod(0o755)
        if folder.exists():
            folder.rmdir()  # empty: Windows cannot rename onto it
        os.replace(building, folder)
    except OSError:
        if not _complete(folder, photos, seed):  # else another process was faster
            raise
    finally:
        shutil.rmtree(building, ignore_errors=True)
    return folder


def _complete(folder, photos, seed):
    note = folder / "SYNTHETIC.txt"
    files = [path for photo in photos for path in photo["paths"]] + ["metadata.csv", "defects.csv", "artefacts.csv"]
    return (note.is_file() and note.read_text(encoding="utf-8") == NOTE.format(seed=seed)
            and all((folder / file).is_file() for file in files))


def _build(folder, photos, seed, workers):
    (folder / "SYNTHETIC.txt").write_text(NOTE.format(seed=seed), encoding="utf-8")
    for place in {(folder / path).parent for photo in photos for path in photo["paths"]}:
        place.mkdir(parents=True, exist_ok=True)

    def save(photo):
        data, artefacts = _jpeg(photo, seed)
        for path in photo["paths"]:
            (folder / path).write_bytes(data)
        return [{"path": path, **artefacts} for path in photo["paths"]]

    with ThreadPoolExecutor(workers or os.cpu_count()) as pool:  # threads: forking after TensorFlow's import may hang
        artefacts = [row for rows in pool.map(save, photos) for row in rows]
    defects = [dict(kind=photo["kind"], path=photo["paths"][0], other_path=(*photo["paths"], photo["of"])[1],
                    detail=photo["detail"]) for photo in photos if photo["kind"]]
    for name, rows in (("artefacts", artefacts), ("defects", defects), ("metadata", _metadata(photos, seed))):
        pd.DataFrame(rows).to_csv(folder / f"{name}.csv", index=False, lineterminator="\n")


def _plan(seed):
    """Return one dict per file name: what it shows (look, lesion, index), its paths, what is wrong with it (kind)."""
    rng = np.random.default_rng([seed, 0])
    photos = [dict(split=split, home=name, look=name, also="", known=rng.random() < .8, kind="", detail="", of="")
              for split in ("Test", "Train") for name, recipe in CLASSES.items() for _ in range(recipe[split.lower()])]
    for kind, split, home, look, also, number, share in PLANTED:
        for i, photo in enumerate(_sound(photos, split, home)[:number]):
            known = i < share * number
            detail = "cut off" if kind == "unreadable" else f"metadata: {CLASSES[look]['code'] if known else 'none'}"
            photo.update(kind=kind, look=look, also=also, known=known, detail=detail)
    _choose_lesions(photos, rng)
    for number, (kind, home, detail) in enumerate(COPIES):
        original = _sound(photos, "Train", home)[number]
        photos.append(dict(original, kind=kind, detail=detail, known=False, of=original))
    return _number(photos, rng)


def _sound(photos, split, home):
    return [photo for photo in photos if (photo["split"], photo["home"], photo["kind"]) == (split, home, "")]


def _choose_lesions(photos, rng):
    """Give every photo a lesion, in place: most have one of their own, some show one that is in Train already."""
    for index, photo in enumerate(photos):
        photo.update(index=index, lesion=index)
    for name in CLASSES:
        train = _sound(photos, "Train", name)
        pairs = [pair for pair in zip(train[1:], train) if rng.random() < .15]
        if name in SHARED_LESIONS:
            pairs.append((_sound(photos, "Test", name)[0], train[-1]))
        for photo, earlier in pairs:
            photo.update(lesion=earlier["lesion"], known=True)
            earlier["known"] = True


def _number(photos, rng):
    """Return the photos in the order of their numbers: Test before Train, each in random order."""
    early = ("melanoma", "nevus")  # they stand before the Test images that Train files under them
    photos = [photos[i] for i in rng.permutation(len(photos))]
    photos.sort(key=lambda photo: (photo["split"], photo["split"] == "Test" and photo["home"] not in early))
    for number, photo in enumerate(photos, start=1):
        homes = [f"{photo['split']}/{photo['home']}"] + [f"Train/{photo['also']}"] * bool(photo["also"])
        photo.update(id=f"SYN_{number:07d}", paths=[f"{home}/SYN_{number:07d}.jpg" for home in homes])
    return [dict(photo, of=photo["of"] and photo["of"]["paths"][0]) for photo in photos]


def _metadata(photos, seed):
    rows = []
    for photo in (p for p in photos if p["known"]):
        rng, recipe = np.random.default_rng([seed, 3, photo["lesion"]]), CLASSES[photo["look"]]
        rows.append(dict(isic_id=photo["id"], diagnosis=recipe["code"], lesion_id=f"SYN_L{photo['lesion']:06d}",
                         age_approx=int(np.clip(5 * round(rng.normal(recipe["age"], 14) / 5), 15, 85)),
                         sex=str(rng.choice(["female", "male"])), anatom_site_general=str(rng.choice(SITES))))
    return rows


def _jpeg(photo, seed):
    """Return the bytes of one file and its artefacts: a pure function of the plan's row, so any order is right."""
    pixels, artefacts = drawings.draw(CLASSES[photo["look"]], np.random.default_rng([seed, 1, photo["lesion"]]),
                                      np.random.default_rng([seed, 2, photo["index"]]), photo["split"] == "Test")
    image, detail = Image.fromarray(pixels), photo["detail"]
    if detail == "mirrored":
        image = ImageOps.mirror(image)
    elif detail == "turned by 90 degrees":
        image = image.transpose(Image.Transpose.ROTATE_90)
    elif detail == "shrunk and enlarged":
        image = image.resize((120, 120)).resize(image.size)
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=60 if detail == "compressed again" else 90)
    data = stream.getvalue()
    return data[:len(data) // 3] if detail == "cut off" else data, artefacts


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m helpers.sample", description="Make the embedded sample.")
    parser.add_argument("folder", nargs="?", default="data/sample", help="folder to make (default: %(default)s)")
    made = make_sample(parser.parse_args().folder)
    for name in ("Train", "Test"):
        print(f"{made / name}: {len(list((made / name).glob('*/*.jpg')))} images in {len(CLASSES)} classes")
