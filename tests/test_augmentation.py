"""Augmentation on disk: the same bytes always, nothing twice, nothing half, the source untouched."""

import hashlib
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

from helpers import augmentation, manifest

SCRIPT = """
import os, signal, sys
from pathlib import Path
import Augmentor
from PIL.ImageFilter import GaussianBlur
from helpers import augmentation, manifest

class Blur(Augmentor.Operations.Operation):
    def perform_operation(self, images):
        if len(list(Path(os.environ["RUN"]).rglob("*.jpg"))) >= int(os.environ["KILL_AT"]):
            os.kill(int(os.environ["MAIN"]), signal.SIGKILL)
            os._exit(1)
        return [image.filter(GaussianBlur(3)) for image in images]

os.environ |= {"MAIN": str(os.getpid()), "RUN": sys.argv[2]}
pipeline = Augmentor.Pipeline()
pipeline.rotate(1.0, 20, 20)
pipeline.add_operation(Blur(0.8))
table = manifest.read(sys.argv[1], Path(sys.argv[1]).parent)
augmentation.fill_classes(table, pipeline, 120, sys.argv[2], workers=2)
"""
PROBABILITIES = [0.05, 0.1, 0.25, 0.5, 0.75, 0.95, 1.0]


def turns(probability=0.5, operation="flip_left_right"):
    pipeline = Augmentor.Pipeline()
    pipeline.rotate_random_90(probability=0.75)
    pipeline.random_brightness(probability=0.5, min_factor=0.8, max_factor=1.2)
    getattr(pipeline, operation)(probability=probability)
    return pipeline


def with_operation(operation):
    pipeline = Augmentor.Pipeline()
    pipeline.add_operation(operation)
    return pipeline


def row(file, label, split):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    facts = {"published_label": label, "label": label, "split": split, "group": file.stem, "sha256": digest}
    return {"image_id": file.stem, "path": str(file), "width": 24, "height": 16, **facts}


@pytest.fixture
def table(tmp_path, write_image):
    """12 nevi (one of them flagged) and 5 melanomas to learn from, and one image each of what must not be augmented."""
    rows, kinds = [], [("nevus", "train", 12), ("melanoma", "train", 5)]
    for label, split, count in kinds + [("melanoma", split, 1) for split in ("val", "test", "")]:
        for number in range(count):
            file = tmp_path / "images" / label / f"{label[0]}{split}{number}.png"
            rows.append(row(write_image(file, len(rows), size=(24, 16)), label, split))
    rows[0]["flag"] = "duplicate"
    return manifest.check(pd.DataFrame(rows, columns=manifest.COLUMNS).fillna(""))


@pytest.fixture
def fill(tmp_path):
    """``fill_classes`` into ``tmp_path / out``, in this process unless ``workers`` says otherwise."""

    def fill(table, pipeline=None, target=30, out="run", workers=1, **options):
        folder, pipeline = tmp_path / out, pipeline or turns()
        return augmentation.fill_classes(table, pipeline, target, folder, workers=workers, **options)

    return fill


def contents(folder, pattern="*"):
    return {str(file.relative_to(folder)): file.read_bytes() for file in Path(folder).rglob(pattern) if file.is_file()}


def times(folder, pattern="*"):
    return {file: file.stat().st_mtime_ns for file in [Path(folder), *Path(folder).rglob(pattern)]}


def test_same_bytes_for_any_workers_row_order_and_past(table, fill, tmp_path):
    one = fill(table, out="one")
    random.seed(5)
    np.random.seed(5)
    two = fill(table.sample(frac=1, random_state=1), out="two", workers=2)
    fill(table, out="four", workers=4)
    assert len(list((tmp_path / "one").rglob("*.jpg"))) == 19 + 25
    assert contents(tmp_path / "one") == contents(tmp_path / "two") == contents(tmp_path / "four")
    assert manifest.fingerprint(one) == manifest.fingerprint(two)


def test_copies_that_the_set_brought_are_not_augmented_again(table, fill, tmp_path, write_image):
    brought = [tmp_path / "images" / "melanoma" / "output" / f"mtrain{number}_flip.png" for number in range(3)]
    rows = [row(write_image(file, 50 + number), "melanoma", "train") for number, file in enumerate(brought)]
    table = pd.concat([table, pd.DataFrame(rows)], ignore_index=True).fillna("")
    made = fill(table, target=20).query("parent != '' and label == 'melanoma'")
    assert len(made) == 20 - 8 and set(made["parent"]) == {f"mtrain{number}" for number in range(5)}


def test_lost_broken_and_half_files_are_made_again_and_the_others_kept(table, fill, tmp_path):
    result = fill(table)
    files, reference = result.loc[result["parent"] != "", "path"].map(Path), contents(tmp_path / "run")
    lost, broken, half = files.iloc[[0, 20, 40]]
    lost.unlink()
    broken.write_bytes(broken.read_bytes()[:-100])
    half.replace(half.with_name(f".{half.name}.123.part"))
    before = times(tmp_path / "run", "*.jpg")
    again = fill(table, workers=2)
    assert contents(tmp_path / "run") == reference
    assert {file for file, time in times(tmp_path / "run", "*.jpg").items() if before.get(file) != time} >= {lost, half}
    assert all(times(tmp_path / "run")[file] == before[file] for file in files.drop(files.index[[0, 20, 40]]))
    pd.testing.assert_frame_equal(result, again)


def test_a_changed_original_is_augmented_anew(table, fill):
    result = fill(table)
    child = result[result["image_id"].str.endswith("__aug1")].iloc[-1]
    before = Path(child["path"]).read_bytes()
    parent = table["image_id"] == child["parent"]
    Image.new("RGB", (24, 16), "red").save(table.loc[parent, "path"].iloc[0])
    table.loc[parent, "sha256"] = "another"
    fill(table)
    assert Path(child["path"]).read_bytes() != before


def test_a_killed_run_leaves_no_half_file_and_goes_on(table, tmp_path):
    manifest.write(table, tmp_path / "manifest.csv", tmp_path)
    (tmp_path / "script.py").write_text(SCRIPT)
    command = [sys.executable, tmp_path / "script.py", tmp_path / "manifest.csv", tmp_path / "run"]
    path = os.pathsep.join([str(Path.cwd()), os.environ.get("PYTHONPATH", "")])

    def run(kill_at):
        return subprocess.call(command, env=os.environ | {"PYTHONPATH": path, "KILL_AT": str(kill_at)})

    assert run(kill_at=40) == -signal.SIGKILL
    left = contents(tmp_path / "run", "*.jpg")
    assert run(kill_at=1000) == 0
    done = contents(tmp_path / "run")
    assert 40 <= len(left) < len(done) == 109 + 115 + 1
    assert left.items() <= done.items()


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
    recipes = [{}, {"seed": 1}, {"pipeline": turns(0.6)}, {"pipeline": turns(operation="flip_random")}]
    folders = {Path(fill(table, **recipe)["path"].iloc[-1]).parent.parent for recipe in recipes}
    assert len(folders) == len(recipes) and all((folder / "recipe.json").is_file() for folder in folders)
    before = times(tmp_path / "run", "*.jpg")
    small, large = fill(table), fill(table, target=40)
    assert len(list((tmp_path / "run").iterdir())) == len(recipes)
    assert set(small["path"]) < set(large["path"])
    assert before.items() <= times(tmp_path / "run", "*.jpg").items()


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


def test_grey_and_transparent_files_and_odd_names(table, fill, tmp_path):
    ids = ["a/b", "a_b", 'a:b*?"<>|', "..", "Läsion 1"]
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


def test_long_names_are_shortened_and_stay_different(table, fill, tmp_path):
    label = "плоскоклеточная карцинома кожи"
    table["label"] = table["label"].replace("melanoma", label)
    table["image_id"] = label * 4 + table["image_id"]  # they differ only where the name is cut
    new = fill(table, target=40).query("parent != ''")
    assert new["path"].nunique() == len(new) == len(list((tmp_path / "run").rglob("*.jpg"))) == 29 + 35
    assert max(len(part.encode()) for path in new["path"] for part in Path(path).parts) <= 200


@pytest.mark.parametrize("out", ["images", "images/nevus/augmented", "images/augmented", "link/augmented"])
def test_refuses_the_image_folder(table, fill, tmp_path, out):
    (tmp_path / "link").symlink_to(tmp_path / "images")
    before = times(tmp_path / "images")
    with pytest.raises(ValueError, match="is inside the image folder"):
        fill(table, out=out)
    assert times(tmp_path / "images") == before


def test_refuses_what_it_cannot_do(table, fill):
    with pytest.raises(ValueError, match="no operations"):
        fill(table, Augmentor.Pipeline())
    with pytest.raises(ValueError, match="0 training originals"):
        fill(table.assign(split=""))
    with pytest.raises(ValueError, match="target 0"):
        fill(table, target=0)
    with pytest.raises(ValueError, match="Custom with"):
        fill(table, with_operation(Augmentor.Operations.Custom(0.5, print)))


def own_operation(level):
    """Return a pipeline of an operation that no other process can import; two have one name and another source."""
    if level > 128:

        class Own(Operation):
            def perform_operation(self, images):
                return [image.point(lambda value: max(value, 200)) for image in images]
    else:

        class Own(Operation):
            def perform_operation(self, images):
                return [image.point(lambda value: min(value, 100)) for image in images]

    return with_operation(Own(1.0))


def test_an_operation_of_the_notebook_runs_in_other_processes_and_its_edit_counts(table, fill):
    dark, light = fill(table, own_operation(0), workers=2), fill(table, own_operation(255))
    means = [np.asarray(Image.open(result["path"].iloc[-1])).mean() for result in (dark, light)]
    assert means[0] < 130 < means[1]


def test_a_worker_that_ends_early_is_one_clear_error_and_nothing_is_lost(table, fill, tmp_path):
    class EndsWorker(Operation):
        process = os.getpid()

        def perform_operation(self, images):
            if os.getpid() != self.process and len(list((tmp_path / "run").rglob("*.jpg"))) > 10:
                os._exit(1)
            return images

    pipeline = with_operation(EndsWorker(1.0))
    with pytest.raises(RuntimeError, match="ended early"):
        fill(table, pipeline, workers=2)
    made = times(tmp_path / "run", "*.jpg")
    assert len(made) > 10
    fill(table, pipeline)
    assert all(file.is_dir() or times(tmp_path / "run")[file] == time for file, time in made.items())


def test_a_failing_operation_says_so_and_the_random_states_are_kept(table, fill):
    pipeline, state = with_operation(Operation(1.0)), random.getstate()
    with pytest.raises(RuntimeError, match="base class"):
        augmentation.apply(pipeline, Image.new("RGB", (4, 4)), 0)
    with pytest.raises(RuntimeError, match="base class"):
        fill(table, pipeline, workers=2)
    assert random.getstate() == state


def test_apply_repeats_and_leaves_random_states_and_image():
    pipeline = Augmentor.Pipeline()
    pipeline.random_erasing(1.0, 0.5)  # paints on the image that it is given
    pipeline.random_brightness(1.0, 0.8, 1.2)
    image = Image.effect_mandelbrot((20, 20), (-2, -1, 1, 1), 50).convert("RGB")
    pixels = image.tobytes()
    states = random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2]
    draws = [augmentation.apply(pipeline, image, seed).tobytes() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2])
    assert image.tobytes() == pixels


class Count(Operation):
    """Leaves the images as they are, and counts how often it was asked to change them."""

    applied = 0

    def perform_operation(self, images):
        self.applied += 1
        return images


def counting():
    pipeline = Augmentor.DataPipeline([[np.zeros((1, 1, 3), "uint8")]])
    for probability in PROBABILITIES:
        pipeline.add_operation(Count(probability))
    return pipeline


def deviations(pipeline, draws):
    """How far each operation's count is from what its probability says, in standard deviations."""
    p, applied = np.array([(operation.probability, operation.applied) for operation in pipeline.operations]).T
    return np.abs(applied - draws * p) / np.maximum((draws * p * (1 - p)) ** 0.5, 1e-9)


def test_operations_apply_with_the_written_probability():
    ours, theirs, image, draws = counting(), counting(), Image.new("RGB", (1, 1)), 10_000
    for number in range(draws):
        augmentation.apply(ours, image, number)
    assert deviations(ours, draws).max() < 4
    random.seed(0)
    theirs.sample(draws)
    assert (deviations(theirs, draws)[[1, 3]] > 4).all(), "Augmentor no longer rounds its draw"


def test_augmentors_own_operations_are_performed_as_they_are():
    pipeline = Augmentor.Pipeline()
    for operation, settings in [("rotate", (25, 25)), ("zoom", (1.1, 1.4)), ("random_brightness", (0.5, 1.5))]:
        getattr(pipeline, operation)(1.0, *settings)
    image = Image.effect_mandelbrot((40, 30), (-2, -1, 1, 1), 50).convert("RGB")
    expected = image
    ours = augmentation.apply(pipeline, image, 7)
    digest = hashlib.sha256(b"7").digest()
    random.seed(int.from_bytes(digest[:16], "big"))
    np.random.seed(np.frombuffer(digest[16:], ">u4").astype(np.uint32))
    for operation in pipeline.operations:
        random.random()
        expected = operation.perform_operation([expected])[0]
    assert ours.tobytes() == expected.tobytes() != image.tobytes()


def test_augmentor_finds_the_images_of_a_class_with_brackets_in_its_name(table, tmp_path):
    table["label"] = table["label"].replace("melanoma", "a [l]")
    train = manifest.active(table, "train")
    pipeline = Augmentor.Pipeline(str(augmentation.copy_some(train, tmp_path / "some")), "../../augmented")
    pipeline.flip_left_right(1)
    pipeline.sample(2)
    assert len(pipeline.augmentor_images) == 3 and len(list((tmp_path / "augmented").iterdir())) == 2
