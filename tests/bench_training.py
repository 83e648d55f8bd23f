"""Speed and memory of decoding and of an epoch's batches, beside Keras's own loader, measured in one run.

    python tests/bench_training.py DATA_DIR|sample [--size 64] [--images N]

Each figure comes from a process of its own. The reference is the one of Keras's documentation,
``image_dataset_from_directory(...).cache()``. ``--images`` takes the first images, or repeats them, up to that number.
Other load on the machine makes the figures worthless.
"""

import argparse
import itertools
import multiprocessing
import os
import resource
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pandas as pd

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

BATCH_SIZE = 16
PARTS = ["decode or list, s", "first epoch, s", "second epoch, s"]


def in_child(function, *arguments):
    """Return (seconds of each part, peak memory in MB) that ``function`` measures in a fresh process."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, context, initializer=os.dup2, initargs=(2, 1)) as pool:
        return pool.submit(function, *arguments).result()


def ours(paths, labels, size, folder):
    """Decode with the course's pipeline, then make the batches of two epochs."""
    from helpers.training import pipeline

    base, marks = memory(), [time.perf_counter()]
    table = pd.DataFrame({"path": paths, "label": labels, "sha256": [str(place) for place in range(len(paths))]})
    pixels = pipeline.load(table, size, folder)
    marks.append(time.perf_counter())
    data = pipeline.batches(pixels, pipeline.one_hot(table, sorted(set(labels))), BATCH_SIZE, seed=0)
    for _ in range(2):
        sum(1 for _ in data)
        marks.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(marks)], memory() - base


def reference(paths, labels, size, folder):
    """Do the same with Keras's loader; it decodes in its first epoch."""
    import keras

    for place, (path, label) in enumerate(zip(paths, labels)):
        target = Path(folder, "classes", label, f"{place}{Path(path).suffix}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path)
    base, marks = memory(), [time.perf_counter()]
    data = keras.utils.image_dataset_from_directory(
        Path(folder, "classes"), image_size=(size, size), batch_size=BATCH_SIZE, label_mode="categorical", verbose=False
    ).cache()
    marks.append(time.perf_counter())
    for _ in range(2):
        sum(1 for _ in data)
        marks.append(time.perf_counter())
    return [after - before for before, after in itertools.pairwise(marks)], memory() - base


def memory():
    """Return the peak memory of this process in MB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def main():
    """Measure and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data_dir")
    parser.add_argument("--size", type=int, default=64)
    parser.add_argument("--images", type=int, default=0, help="0: as many as the set has")
    given = parser.parse_args()
    from helpers.data import datasets, duplicates

    table = duplicates.inspect(datasets.list_images(datasets.find(given.data_dir)).table).query("flag == ''")
    places = list(itertools.islice(itertools.cycle(range(len(table))), given.images or len(table)))
    paths, labels = (table[column].iloc[places].tolist() for column in ("path", "published_label"))
    rows = {}
    for name, function in (("the course", ours), ("image_dataset_from_directory().cache()", reference)):
        with tempfile.TemporaryDirectory() as folder:
            seconds, peak = in_child(function, paths, labels, given.size, folder)
        rows[name] = dict(zip(PARTS, seconds)) | {"peak, MB more": peak}
    print(f"{len(paths)} images at {given.size} pixels, batches of {BATCH_SIZE}")
    print(pd.DataFrame(rows).T.round(1).to_string())


if __name__ == "__main__":
    main()
