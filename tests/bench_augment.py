"""Images per second of helpers.augment against Augmentor's own multi-threaded sample().

Both make the same number of images from the same originals with the same operations and the same JPEG quality, in
turns, each time into an empty folder. Run from the project's folder, without a main file, as in a notebook:

    python -c "from tests import bench_augment; bench_augment.main(rounds=5)"

ISIC9_DIR names the images; without it random ones are made. Set TMPDIR to a folder in memory (/dev/shm) to keep the
time that a disk takes to make a file, the same for both, out of the ratio; other load makes it worthless.
"""

import contextlib
import hashlib
import io
import os
import tempfile
import time
from pathlib import Path

import Augmentor
import numpy as np
import pandas as pd
from PIL import Image

from helpers import augment, manifest

PILLOW_QUALITY = 75  # Pillow's default, which sample() uses


def main(rounds=5):
    with tempfile.TemporaryDirectory() as scratch:
        source = Path(os.environ.get("ISIC9_DIR") or random_images(Path(scratch) / "images")) / "Train"
        table = originals(source)
        for operations in (turns_and_light, notebook_02, with_rotation_and_zoom):
            ratios = [compare(source, table, operations, scratch) for _ in range(rounds)]
            print(f"{operations.__name__}: ratio min {min(ratios):.2f}, median {np.median(ratios):.2f}, "
                  f"max {max(ratios):.2f} on {os.cpu_count()} cores", flush=True)


def compare(source, table, operations, scratch):
    """Run both once, print their rates and return the ratio."""
    target = int(table["label"].value_counts().max())
    with tempfile.TemporaryDirectory(dir=scratch) as ours, tempfile.TemporaryDirectory(dir=scratch) as theirs:
        result, seconds = timed(augment.fill_classes, table, operations(Augmentor.Pipeline()), target, ours,
                                quality=PILLOW_QUALITY, progress=False)
        count = int((result["parent"] != "").sum())
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            pipeline = operations(Augmentor.Pipeline(str(source), theirs))
            _, their_seconds = timed(pipeline.sample, count)
        made = [sum(file.suffix in (".jpg", ".JPEG") for file in Path(out).rglob("*.*")) for out in (ours, theirs)]
    if made != [count, count]:
        raise SystemExit(f"{made} files were made, not {count} each.")
    print(f"{count} images; fill_classes {count / seconds:.0f}/s, sample() {count / their_seconds:.0f}/s, "
          f"ratio {their_seconds / seconds:.2f}", flush=True)
    return their_seconds / seconds


def timed(function, *args, **kwargs):
    start = time.perf_counter()
    return function(*args, **kwargs), time.perf_counter() - start


def turns_and_light(pipeline):
    pipeline.rotate_random_90(probability=0.75)
    pipeline.flip_left_right(probability=0.5)
    pipeline.random_brightness(probability=0.5, min_factor=0.9, max_factor=1.1)
    pipeline.random_contrast(probability=0.5, min_factor=0.9, max_factor=1.1)
    pipeline.random_color(probability=0.5, min_factor=0.9, max_factor=1.1)
    return pipeline


def notebook_02(pipeline):
    pipeline.rotate_random_90(probability=0.75)
    pipeline.rotate(probability=0.7, max_left_rotation=15, max_right_rotation=15)
    pipeline.flip_left_right(probability=0.5)
    pipeline.flip_top_bottom(probability=0.5)
    pipeline.zoom(probability=0.5, min_factor=1.05, max_factor=1.25)
    pipeline.random_brightness(probability=0.3, min_factor=0.9, max_factor=1.1)
    pipeline.random_contrast(probability=0.3, min_factor=0.9, max_factor=1.1)
    pipeline.random_color(probability=0.3, min_factor=0.9, max_factor=1.1)
    return pipeline


def with_rotation_and_zoom(pipeline):
    pipeline.rotate(probability=0.7, max_left_rotation=10, max_right_rotation=10)
    pipeline.zoom(probability=0.5, min_factor=1.05, max_factor=1.25)
    return turns_and_light(pipeline)


def originals(folder):
    rows = []
    for file in sorted(folder.glob("*/*.jpg")):
        with Image.open(file) as image:
            width, height = image.size
        label = file.parent.name
        rows.append({"image_id": f"{label}/{file.stem}", "path": str(file), "published_label": label, "label": label,
                     "split": "train", "sha256": hashlib.sha256(file.read_bytes()).hexdigest(),
                     "width": width, "height": height})
    return manifest.check(pd.DataFrame(rows, columns=manifest.COLUMNS).fillna(""))


def random_images(folder, size=180):
    generator = np.random.default_rng(0)
    for label, count in (("few", 60), ("some", 200), ("many", 1000)):
        (folder / "Train" / label).mkdir(parents=True)
        for number in range(count):
            blobs = Image.fromarray(generator.integers(0, 256, (12, 12, 3), dtype=np.uint8))
            blobs.resize((size, size), Image.Resampling.BICUBIC).save(folder / "Train" / label / f"{number:04d}.jpg")
    return folder
