"""How many pictures of another collection break the shortcut? Prepare the sweep whose result docs/results.md shows.

    python -m docs.more_pictures ISIC_DIR HAM_DIR FOLDER
    python -m helpers sweep FOLDER/sweep.yml --out-dir FOLDER/runs --jobs 2

For each of three seeds the nevi and melanomas of HAM_DIR are divided by lesion: one half is tested on, and 0, 5, 10
or 20 images of either class from the other half are added to those to learn from. Images are copied into FOLDER.
"""

import shutil
import sys
from pathlib import Path

import yaml

from helpers.data import datasets

ADDED, SEEDS, CLASSES = (0, 5, 10, 20), (0, 1, 2), ("melanoma", "nevus")


def copy(rows, folder):
    """Copy the images of manifest rows into a folder for each class."""
    for row in rows.itertuples():
        (folder / row.label).mkdir(parents=True, exist_ok=True)
        shutil.copy(row.path, folder / row.label)


def prepare(isic, ham, folder):
    """Write the images to add and to test on, and ``sweep.yml``, into ``folder``."""
    folder, runs = Path(folder).expanduser().absolute(), []
    table = datasets.list_images(datasets.find(ham)).table
    for seed in SEEDS:
        for label in CLASSES:
            own = table[table["label"] == label].groupby("group").head(1)
            lesions = own.sample(frac=1, random_state=seed)
            copy(lesions[len(lesions) // 2 :], folder / f"test{seed}")
            for added in ADDED[1:]:
                copy(lesions[: min(added, len(lesions) // 2)], folder / f"add{added}_{seed}" / "Train")
        sets = [f"{isic};{folder / f'add{added}_{seed}'}" if added else isic for added in ADDED]
        runs.append({"DATA_DIR": sets, "EXTERNAL_DIR": [str(folder / f"test{seed}")], "SEED": [seed]})
    sweep = {
        "notebooks": ["06_transfer_learning"],
        "parameters": {"BACKBONE": "EfficientNetLite0", "FEATURE_VIEWS": 1},
        "grid": runs,
        "record": [
            "transfer.fine-tuned.other set, recall of nevus",
            "transfer.fine-tuned.other set, recall of melanoma",
            "transfer.fine-tuned.other set, AUC",
            "transfer.fine-tuned.validation",
        ],
    }
    (folder / "sweep.yml").write_text(yaml.safe_dump(sweep, sort_keys=False), encoding="utf-8")


if __name__ == "__main__":
    prepare(*sys.argv[1:])
