"""The embedded sample: drawings that look like dermoscopy, so that the course runs without a network.

Every picture is drawn from numbers alone (see :mod:`helpers.data.sample.drawings`). The published set's defects are
planted on purpose and recorded in ``defects.csv``; the largest is a shortcut: in Train, the clinic tells the class.
"""

import functools
import io
import os
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageOps

from helpers import messages
from helpers.data.sample import drawings

MARK = "SYNTHETIC.txt"
NOTE = "Generated drawings, not photographs of patients; to try methods on (seed 0, edition 2).\n"
SITES = ["head/neck", "anterior torso", "posterior torso", "upper extremity", "lower extremity"]
# Planted defects. kind, split, class, what it really is, also filed under (same bytes), pictures, share with metadata.
PLANTED = [
    ("contradiction", "Train", "seborrheic keratosis", "melanoma", "melanoma", 14, 0.5),
    ("contradiction", "Train", "actinic keratosis", "actinic keratosis", "nevus", 8, 0.5),
    ("test twin", "Test", "actinic keratosis", "actinic keratosis", "nevus", 3, 0.33),
    ("test twin", "Test", "seborrheic keratosis", "melanoma", "melanoma", 1, 0),
    ("wrong label", "Train", "nevus", "actinic keratosis", "", 4, 1),
    ("unreadable", "Train", "pigmented benign keratosis", "pigmented benign keratosis", "", 1, 0),
]
# Second copies of a Train picture in the same class, under another name: kind, class, what was done to it.
COPIES = [
    ("duplicate", "melanoma", "same bytes"),
    ("duplicate", "nevus", "same bytes"),
    ("near-duplicate", "melanoma", "mirrored"),
    ("near-duplicate", "nevus", "shrunk and enlarged"),
    ("near-duplicate", "basal cell carcinoma", "turned by 90 degrees"),
    ("near-duplicate", "vascular lesion", "compressed again"),
]
SHARED_LESIONS = ["basal cell carcinoma", "melanoma", "nevus", "pigmented benign keratosis"]  # in Test and in Train
# The shortcut: in Train a class comes from its own clinic only. The last six Test pictures of these do not.
OTHER_CLINIC = ["actinic keratosis", "dermatofibroma", "melanoma", "nevus", "squamous cell carcinoma"]


@functools.cache
def recipes():
    """Return {class: what classes.csv says of it}; colours, outline and structures are those of ``drawings.draw``."""

    def chances(text):
        return {name: float(chance) for name, chance in (part.rsplit(" ", 1) for part in text.split("; "))}

    converters = {"colours": str.split, "found": chances}
    table = pd.read_csv(Path(__file__).with_name("classes.csv"), converters=converters)
    return {row.name: row for row in table.itertuples(index=False, name="Recipe")}


def make_sample(folder):
    """Make the sample in ``folder``, which may hold a part of one, and return the folder's Path.

    In it: ``Train/<class>/*.jpg`` and ``Test/<class>/*.jpg`` (RGB, 180 x 180 px), the same on every machine with the
    same NumPy and Pillow; ``metadata.csv`` (the collection of every image, and official label and lesion of most);
    ``defects.csv`` (what is planted: kind, path, the other file, detail); and, put in last, ``SYNTHETIC.txt``.
    FileExistsError if the folder holds other files than the sample's; nothing in it is touched.
    """
    folder, photos = Path(folder), _plan()
    ours = ["defects.csv", "metadata.csv", *(path for photo in photos for path in photo["paths"]), MARK]
    there = {path.relative_to(folder).as_posix() for path in folder.rglob("[!.]*") if not path.is_dir()}
    if there >= set(ours) and (folder / MARK).read_text("utf-8") == NOTE:
        return folder
    if other := there - set(ours):
        raise FileExistsError(f"{folder} holds {min(other)}, not of the sample; move it away, or delete the folder.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as building:
        _build(Path(building), photos)
        for file in ours:
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            Path(building, file).replace(folder / file)
    return folder


def _build(folder, photos):
    with ThreadPoolExecutor(os.cpu_count()) as pool:  # threads: forking after TensorFlow's import may hang
        drawn = messages.progress(pool.map(_jpeg, photos), "Drawing the synthetic sample, once", len(photos))
        for photo, data in zip(photos, drawn):
            for path in photo["paths"]:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_bytes(data)
    defects = pd.DataFrame(photos).query("kind != ''")[["kind", "path", "other_path", "detail"]]
    for name, table in (("defects.csv", defects), ("metadata.csv", _metadata(photos))):
        table.to_csv(folder / name, index=False, lineterminator="\n")
    (folder / MARK).write_text(NOTE, encoding="utf-8", newline="\n")


def _plan():
    """Return one dict per file name: what it shows (look, lesion, index), its paths, what is wrong with it (kind)."""
    rng = np.random.default_rng([0, 0])
    photos = [
        {"split": split, "home": name, "look": name, "also": "", "known": rng.random() < 0.8, "kind": "", "detail": ""}
        for split in ("Test", "Train")
        for name, recipe in recipes().items()
        for _ in range(recipe.test if split == "Test" else recipe.train)
    ]
    for kind, split, home, look, also, number, share in PLANTED:
        for i, photo in enumerate(_sound(photos, split, home)[:number]):
            known = i < share * number
            detail = "cut off" if kind == "unreadable" else f"metadata: {recipes()[look].code if known else 'none'}"
            photo.update(kind=kind, look=look, also=also, known=known, detail=detail)
    for index, photo in enumerate(photos):
        photo.update(index=index, lesion=index, clinic=recipes()[photo["look"]].clinic)
    for name in recipes():  # some show a lesion that is in Train already
        train = _sound(photos, "Train", name)
        pairs = [pair for pair in zip(train[1:], train) if rng.random() < 0.15]
        if name in SHARED_LESIONS:
            pairs.append((_sound(photos, "Test", name)[0], train[-1]))
        for photo, earlier in pairs:
            photo.update(lesion=earlier["lesion"], known=True)
            earlier["known"] = True
    for photo in [photo for name in OTHER_CLINIC for photo in _sound(photos, "Test", name)[-6:]]:
        (other,) = set(drawings.CLINICS) - {photo["clinic"]}
        photo.update(clinic=other, kind="other collection", detail=f"{other}, from which Train has no {photo['home']}")
    for number, (kind, home, detail) in enumerate(COPIES):
        original = _sound(photos, "Train", home)[number]
        photos.append({**original, "kind": kind, "detail": detail, "known": False, "of": original})
    photos = [photos[i] for i in rng.permutation(len(photos))]
    early = ("melanoma", "nevus")  # they stand before the Test images that Train files under them
    photos.sort(key=lambda photo: (photo["split"], photo["split"] == "Test" and photo["home"] not in early))
    for number, photo in enumerate(photos, start=1):
        photo["id"] = f"SYN_{number:07d}"
        photo["path"] = f"{photo['split']}/{photo['home']}/{photo['id']}.jpg"
        photo["other_path"] = f"Train/{photo['also']}/{photo['id']}.jpg" if photo["also"] else ""
        photo["paths"] = [path for path in (photo["path"], photo["other_path"]) if path]
    for photo in photos:
        photo["other_path"] = photo["of"]["path"] if "of" in photo else photo["other_path"]
    return photos


def _sound(photos, split, home):
    return [photo for photo in photos if (photo["split"], photo["home"], photo["kind"]) == (split, home, "")]


def _metadata(photos):
    """Return the table of what is officially known: the collection of every photo, the other facts of most."""
    rows = []
    for photo in photos:
        rng, shown = np.random.default_rng([0, 3, photo["lesion"]]), recipes()[photo["look"]]
        age = int(np.clip(5 * round(rng.normal(shown.age, 14) / 5), 15, 85))
        facts = (shown.code, f"SYN_L{photo['lesion']:06d}", age, *map(rng.choice, (["female", "male"], SITES)))
        rows.append((photo["id"], photo["clinic"], *(facts if photo["known"] else [""] * len(facts))))
    facts = ["diagnosis", "lesion_id", "age_approx", "sex", "anatom_site_general"]
    return pd.DataFrame(rows, columns=["isic_id", "collection", *facts])


def _jpeg(photo):
    """Return the bytes of one file: a pure function of the plan's row, so any order is right."""
    lesion, angle = (np.random.default_rng([0, *key]) for key in ((1, photo["lesion"]), (2, photo["index"])))
    image = Image.fromarray(drawings.draw(recipes()[photo["look"]], lesion, angle, photo["clinic"]))
    detail, stream = photo["detail"], io.BytesIO()
    if detail == "mirrored":
        image = ImageOps.mirror(image)
    elif detail == "turned by 90 degrees":
        image = image.transpose(Image.Transpose.ROTATE_90)
    elif detail == "shrunk and enlarged":
        image = image.resize((120, 120)).resize(image.size)
    image.save(stream, "JPEG", quality=60 if detail == "compressed again" else 90)
    data = stream.getvalue()
    return data[: len(data) // 3] if detail == "cut off" else data
