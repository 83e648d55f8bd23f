"""Augmentation on disk: the same bytes always, nothing twice, nothing half, the source untouched."""

import hashlib
import multiprocessing
import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import Augmentor
import numpy as np
import pandas as pd
import pytest
from Augmentor.Operations import Operation
from PIL import Image

from helpers import augment, manifest

RUN = """
import sys
from pathlib import Path
from helpers import augment, manifest
from tests.test_augment import turns
augment._TOO_FEW = 0
table = manifest.read(sys.argv[1], Path(sys.argv[1]).parent)
augment.fill_classes(table, turns(), 60, sys.argv[2], workers=2, progress=False)
"""


def turns(probability=0.5, operation="flip_left_right"):
    pipeline = Augmentor.Pipeline()
    pipeline.rotate_random_90(probability=0.75)
    pipeline.random_brightness(probability=0.5, min_factor=0.8, max_factor=1.2)
    getattr(pipeline, operation)(probability=probability)
    return pipeline


def row(file, label, split):
    return {"image_id": file.stem, "path": str(file), "published_label": label, "label": label, "split": split,
            "group": file.stem, "sha256": hashlib.sha256(file.read_bytes()).hexdigest(), "width": 24, "height": 16}


@pytest.fixture
def table(tmp_path):
    """12 nevi and 5 melanomas to learn from, and one image each of what must not be augmented."""
    rows, generator = [], np.random.default_rng(0)
    for label, split, count in (("nevus", "train", 12), ("melanoma", "train", 5), ("melanoma", "val", 1),
                                ("melanoma", "test", 1), ("melanoma", "", 1)):
        for number in range(count):
            file = tmp_path / "images" / label / f"{label[0]}{split}{number}.png"
            file.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(generator.integers(0, 256, (16, 24, 3), dtype=np.uint8)).save(file)
            rows.append(row(file, label, split))
    rows[0]["flag"] = "duplicate"
    rows = pd.DataFrame(rows, columns=manifest.COLUMNS).fillna({column: "" for column in manifest.COLUMNS})
    return manifest.check(rows.astype({"width": int, "height": int}))


@pytest.fixture
def fill(monkeypatch, tmp_path):
    """fill_classes into ``tmp_path / "run"``, with worker processes even for few images."""
    monkeypatch.setattr(augment, "_TOO_FEW", 0)

    def fill(table, pipeline=None, target=30, out="run", workers=1, **options):
        return augment.fill_classes(table, pipeline or turns(), target, tmp_path / out, workers=workers, progress=False,
                                    **options)
    return fill


def contents(folder):
    return {str(file.relative_to(folder)): file.read_bytes() for file in Path(folder).rglob("*") if file.is_file()}


def times(folder):
    return {file: file.stat().st_mtime_ns for file in [Path(folder), *Path(folder).rglob("*")]}


def test_same_bytes_for_any_workers_row_order_and_past(table, fill, tmp_path):
    one = fill(table, out="one")
    random.seed(5)
    np.random.seed(5)
    two = fill(table.sample(frac=1, random_state=1), out="two", workers=2)
    fill(table, out="four", workers=4)
    assert len(list((tmp_path / "one").rglob("*.jpg"))) == 19 + 25
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "four")
    assert manifest.fingerprint(one) == manifest.fingerprint(two)


def test_killed_runs_leave_no_half_file_and_go_on(table, fill, tmp_path):
    fill(table, target=60, out="reference")
    reference = contents(tmp_path / "reference")
    manifest.write(table, tmp_path / "manifest.csv", tmp_path)
    killed, generator = 0, random.Random(3)
    for limit in sorted(generator.sample(range(90), 4)):
        run = subprocess.Popen([sys.executable, "-c", RUN, tmp_path / "manifest.csv", tmp_path / "run"],
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        while run.poll() is None and len(list((tmp_path / "run").rglob("*.jpg"))) < limit:
            pass
        run.kill()
        output, _ = run.communicate(timeout=60)  # returns when the workers have let go of the pipe, too
        killed += run.returncode == -signal.SIGKILL
        left = contents(tmp_path / "run")
        assert not any(name.endswith(".jpg") and reference[name] != data for name, data in left.items()), output
    assert killed, output
    before = {name: time for name, time in times(tmp_path / "run").items() if name.suffix == ".jpg"}
    fill(table, target=60)
    assert contents(tmp_path / "run") == reference
    assert before and before.items() <= times(tmp_path / "run").items()


def test_source_and_second_run_untouched(table, fill, tmp_path):
    for folder in [tmp_path / "images", *(tmp_path / "images").iterdir()]:
        folder.chmod(0o555)
    source = contents(tmp_path / "images"), times(tmp_path / "images")
    first = fill(table)
    written = times(tmp_path / "run")
    second = fill(first, workers=2)
    for folder in [tmp_path / "images", *(tmp_path / "images").iterdir()]:
        folder.chmod(0o755)
    assert times(tmp_path / "run") == written
    pd.testing.assert_frame_equal(first, second)
    assert (contents(tmp_path / "images"), times(tmp_path / "images")) == source


def test_other_recipes_do_not_mix_and_a_larger_target_reuses(table, fill, tmp_path):
    recipes = [{}, {"seed": 1}, {"quality": 90}, {"pipeline": turns(0.6)}, {"pipeline": turns(operation="flip_random")}]
    folders = {Path(fill(table, **recipe)["path"].iloc[-1]).parent.parent for recipe in recipes}
    assert len(folders) == len(recipes) and all((folder / "recipe.json").is_file() for folder in folders)
    before = times(tmp_path / "run")
    small, large = fill(table), fill(table, target=40)
    assert len(list((tmp_path / "run").iterdir())) == len(recipes)
    assert set(small["path"]) < set(large["path"])
    assert all(file.is_dir() or times(tmp_path / "run")[file] == time for file, time in before.items())


def test_fills_up_to_target_evenly_from_training_originals(table, fill):
    result = fill(table, target=17)
    new = result[result["parent"] != ""]
    assert manifest.active(result, "train")["label"].value_counts().to_dict() == {"nevus": 17, "melanoma": 17}
    assert new["parent"].value_counts().loc[lambda counts: counts.index.str.startswith("m")].tolist() == [3, 3, 2, 2, 2]
    assert new["parent"].value_counts().loc[lambda counts: counts.index.str.startswith("n")].tolist() == [1] * 6
    assert "ntrain0" not in set(new["parent"]) and set(new["parent"].str.slice(0, 6)) == {"ntrain", "mtrain"}
    parents = table.set_index("image_id").loc[new["parent"]]
    for column in ("label", "published_label", "group", "split"):
        assert new[column].tolist() == parents[column].tolist()
    for child in new.itertuples():
        assert Path(child.path).stem == child.image_id and child.image_id.startswith(f"{child.parent}__aug")
        assert hashlib.sha256(Path(child.path).read_bytes()).hexdigest() == child.sha256
        with Image.open(child.path) as image:
            assert (image.size, image.mode) == ((child.width, child.height), "RGB")
    assert len(new["sha256"].unique()) == len(new)
    assert len(fill(table, target=5)) == len(table), "classes that have as many get none"


def test_changed_original_and_broken_file_are_made_again(table, fill):
    result = fill(table)
    good = {path: Path(path).read_bytes() for path in result.loc[result["parent"] != "", "path"]}
    broken, changed = list(good)[0], list(good)[-1]
    Path(broken).write_bytes(good[broken][:-100])
    parent = table["image_id"] == result.loc[result["path"] == changed, "parent"].iloc[0]
    Image.new("RGB", (24, 16), "red").save(table.loc[parent, "path"].iloc[0])
    table.loc[parent, "sha256"] = "another"
    fill(table)
    assert Path(broken).read_bytes() == good[broken]
    assert Path(changed).read_bytes() != good[changed]


def test_random_states_are_kept_when_an_operation_fails(table, fill):
    pipeline = Augmentor.Pipeline()
    pipeline.add_operation(Operation(1.0))
    state = random.getstate()
    with pytest.raises(RuntimeError, match="base class"):
        augment.apply(pipeline, Image.new("RGB", (4, 4)), 0)
    with pytest.raises(RuntimeError, match="base class"):
        fill(table, pipeline, workers=2)
    assert random.getstate() == state


def test_grey_and_transparent_files_and_odd_names(table, fill, tmp_path):
    ids = ["a/b", "a_b", "a:b*?\"<>|", "..", "Läsion 1"]
    for number, (mode, image_id) in enumerate(zip(["L", "RGBA", "P", "1", "CMYK"], ids)):
        place = table.index[table["image_id"] == f"mtrain{number}"][0]
        file = tmp_path / "images" / "melanoma" / f"odd{number}.tif"
        Image.open(table.loc[place, "path"]).convert(mode).save(file)
        table.loc[place, ["image_id", "path"]] = image_id, str(file)
    table["label"] = table["label"].replace("nevus", "..")
    result = fill(table, target=14)
    new = result[result["parent"] != ""]
    assert set(new.loc[new["label"] == "melanoma", "image_id"]) >= {f"{image_id}__aug1" for image_id in ids}
    assert {Path(path).resolve().parents[2] for path in new["path"]} == {(tmp_path / "run").resolve()}
    assert not any(set(':*?"<>|\\') & set(part) for path in new["path"] for part in Path(path).parts)
    assert {Image.open(path).mode for path in new["path"]} == {"RGB"}


@pytest.mark.parametrize("out", ["images", "images/nevus/augmented", "images/augmented", "link/augmented"])
def test_refuses_the_image_folder(table, fill, tmp_path, out):
    (tmp_path / "link").symlink_to(tmp_path / "images")
    before = times(tmp_path / "images")
    with pytest.raises(ValueError, match="lies in the image folder"):
        fill(table, out=out)
    assert times(tmp_path / "images") == before


def test_refuses_what_it_cannot_do(table, fill):
    with pytest.raises(ValueError, match="no operations"):
        fill(table, Augmentor.Pipeline())
    with pytest.raises(ValueError, match="0 training originals"):
        fill(table.assign(split=""))
    pipeline = Augmentor.Pipeline()
    pipeline.add_operation(Augmentor.Operations.Custom(0.5, print))
    with pytest.raises(ValueError, match="Custom holds"):
        fill(table, pipeline)


class EndsWorker(Operation):
    def perform_operation(self, images):
        if multiprocessing.parent_process():
            os._exit(1)
        return images


def test_a_worker_that_ends_early_is_an_error_that_says_so(table, fill):
    pipeline = Augmentor.Pipeline()
    pipeline.add_operation(EndsWorker(1.0))
    with pytest.raises(RuntimeError, match="ended early"):
        fill(table, pipeline, workers=2)


def own_operation(level):
    if level > 128:
        class Own(Operation):
            def perform_operation(self, images):
                return [image.point(lambda value: max(value, 200)) for image in images]
    else:
        class Own(Operation):
            def perform_operation(self, images):
                return [image.point(lambda value: min(value, 100)) for image in images]
    pipeline = Augmentor.Pipeline()
    pipeline.add_operation(Own(1.0))
    return pipeline


def test_an_operation_of_the_notebook_runs_here_and_its_edit_counts(table, fill):
    with pytest.warns(UserWarning, match="cannot import Own"):
        dark = fill(table, own_operation(0), workers=2)
    light = fill(table, own_operation(255))
    means = [np.asarray(Image.open(result["path"].iloc[-1])).mean() for result in (dark, light)]
    assert means[0] < 130 < means[1]
