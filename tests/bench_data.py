"""The audit and the split at scale, and what the near-duplicate search misses.

    python tests/bench_data.py [N ...]             seconds and peak memory of a set of N images in HAM10000's layout
    python tests/bench_data.py --copies DATA_DIR   planted copies that are missed, and false alarms, in a set

The set is made of the images of ISIC9_DIR, or of the sample: turned, cut, recoloured, enlarged to 600 x 450 pixels; of
every four images, two are further pictures of one lesion. A planted copy is mirrored or turned or neither, resized to
0.5 to 2 times, and compressed again with JPEG quality 40 to 95; a pair among the originals is a false alarm unless
looking at it shows one picture.
"""

import io
import os
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from helpers import manifest
from helpers.data import audit, datasets, duplicates, images, labels, splits

ROOT = Path(__file__).resolve().parent.parent
SIZES = [10_000, 25_000]
CODES = {"nevus": "nv", "melanoma": "mel", "pigmented benign keratosis": "bkl", "basal cell carcinoma": "bcc"}


def generate(folder, number, seed=0):
    """Write ``number`` different images of 600 x 450 px into ``folder``, in HAM10000's layout."""
    given = datasets.list_images(datasets.find(os.environ.get("ISIC9_DIR") or "sample")).table
    given = given[given["published_label"].isin(CODES)].drop_duplicates("image_id")
    for part in (1, 2):
        (folder / f"HAM10000_images_part_{part}").mkdir(parents=True)

    def make(index):
        rng = np.random.default_rng([seed, index])
        row = given.iloc[index // 4 * 3 % len(given) if index % 4 < 2 else int(rng.integers(len(given)))]
        try:
            image = images.open_rgb(row["path"])
        except OSError:
            image = Image.new("RGB", (180, 180), "tan")
        left, top = rng.uniform(0, 0.3, 2) * image.size
        image = image.crop((left, top, left + 0.7 * image.width, top + 0.7 * image.height)).rotate(
            int(rng.integers(4)) * 90
        )
        values = np.asarray(image.resize((600, 450), Image.Resampling.BICUBIC), np.float32) * rng.uniform(0.8, 1.1, 3)
        name = f"ISIC_{1_000_000 + index}"
        file = folder / f"HAM10000_images_part_{1 + (index >= number // 2)}" / f"{name}.jpg"
        Image.fromarray(values.clip(0, 255).astype(np.uint8)).save(file, quality=90)
        lesion = index if index % 4 > 1 else index // 4 * 4
        return f"HAM_{lesion:07d},{name},{CODES[row['published_label']]},histo,50.0,male,back,vidir_modern\n"

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        lines = list(pool.map(make, range(number)))
    text = "lesion_id,image_id,dx,dx_type,age,sex,localization,dataset\n"
    (folder / "HAM10000_metadata.csv").write_text(text + "".join(lines))


def work(folder):
    """Audit and split the set; print the seconds of each step."""
    start = time.perf_counter()

    def step(name):
        nonlocal start
        print(f"{name} {time.perf_counter() - start:.1f} s", end=", ", flush=True)
        start = time.perf_counter()

    table, facts, _ = datasets.list_images(datasets.find(folder))
    known = labels.official_labels(table, facts)
    step("list")
    table = duplicates.inspect(table)
    step("inspect")
    pairs = duplicates.near_duplicates(table)
    step("near-duplicates")
    audit.findings(table, known, pairs)
    table = labels.apply_labels(duplicates.group(table, known, pairs), "audited", known)
    step("findings, groups and labels")
    table = splits.split(table)
    manifest.write(table, Path(folder) / "run" / "manifest.csv", folder)
    step("split")


def measure(folder):
    """Do the work in a process of its own; print its peak memory."""
    process = subprocess.Popen([sys.executable, __file__, "--work", folder], cwd=ROOT)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, KiB elsewhere
    print(f"peak memory {usage.ru_maxrss * unit / 2**20:.0f} MiB", flush=True)
    if process.returncode:
        raise SystemExit(f"the work ended with {process.returncode}")


def plant(originals, folder, seed=0):
    """Write one changed copy of each original into ``folder``; return a manifest of them, named "<image_id> copy"."""
    rng, rows = np.random.default_rng(seed), []
    for row in originals.itertuples():
        (folder / f"{row.image_id}.jpg").write_bytes(_changed(images.open_rgb(row.path), rng))
        rows.append({"image_id": f"{row.image_id} copy", "path": str(folder / f"{row.image_id}.jpg")})
    return pd.DataFrame(rows).reindex(columns=manifest.COLUMNS, fill_value="")


def _changed(image, rng):
    turn = [None, *Image.Transpose][rng.integers(8)]
    copy = image.transpose(turn) if turn is not None else image
    scale, stream = rng.uniform(0.5, 2), io.BytesIO()
    copy.resize([round(side * scale) for side in copy.size]).save(stream, "JPEG", quality=int(rng.integers(40, 96)))
    return stream.getvalue()


def copies_found(data_dir):
    """Print how many planted copies of a set's pictures are missed, and the pairs among the originals."""
    originals = duplicates.inspect(datasets.list_images(datasets.find(data_dir)).table)
    originals = originals[originals["flag"] == ""].drop_duplicates("picture")
    with tempfile.TemporaryDirectory() as folder:
        copies = plant(originals, Path(folder))
        pairs = duplicates.near_duplicates(duplicates.inspect(pd.concat([originals, copies], ignore_index=True)))
    own = set(zip(originals["image_id"], copies["image_id"]))
    found = own & set(zip(pairs["image_id"], pairs["other_id"]))
    among = pairs[~pairs["image_id"].str.endswith(" copy") & ~pairs["other_id"].str.endswith(" copy")]
    print(f"planted {len(own)} copies, missed {len(own - found)}")
    print(f"{len(among)} pairs reported among {len(originals) * (len(originals) - 1) // 2:,} pairs of originals:")
    print(among.round(3).to_string(index=False))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--work"]:
        work(sys.argv[2])
    elif sys.argv[1:2] == ["--copies"]:
        copies_found(sys.argv[2])
    else:
        for size in [int(argument) for argument in sys.argv[1:]] or SIZES:
            with tempfile.TemporaryDirectory() as place:
                generate(Path(place), size)
                print(f"{size:,} images: ", end="", flush=True)
                measure(place)
