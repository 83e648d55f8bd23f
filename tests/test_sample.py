import hashlib
import os
import shutil
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.ensemble import RandomForestClassifier
from sklearn.model_selection import cross_val_score

from helpers.data.sample import drawings
from helpers.data.sample import make as sample


@pytest.fixture(scope="module")
def folder(sample_root):
    """The course's own sample, whole; a test says if it is not what the code draws now."""
    return sample_root


@pytest.fixture(scope="module")
def few():
    """The recipes of all classes, cut down to what the planted defects need, so that a sample takes a second."""
    few = {
        "melanoma": 4,
        "nevus": 8,
        "basal cell carcinoma": 5,
        "vascular lesion": 6,
        "seborrheic keratosis": 14,
        "actinic keratosis": 9,
    }
    return {name: which._replace(test=3, train=few.get(name, 2)) for name, which in sample.recipes().items()}


@pytest.fixture
def small(few, monkeypatch):
    """Let samples be of :func:`few`."""
    monkeypatch.setattr(sample, "recipes", lambda: few)


@pytest.fixture(scope="module")
def made(few, tmp_path_factory):
    """A small sample, made by several workers; no test changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "recipes", lambda: few)
        return sample.make_sample(tmp_path_factory.mktemp("small") / "made")


def _hashes(folder):
    return {
        file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }


def _images(folder):
    return {path: digest for path, digest in _hashes(folder).items() if path.endswith(".jpg")}


def _table(folder, name):
    return pd.read_csv(folder / f"{name}.csv", dtype=str, keep_default_na=False)


def _defects(folder, kind):
    table = _table(folder, "defects")
    return table[table["kind"] == kind]


def _pixels(file):
    with Image.open(file) as image:
        return np.asarray(image.convert("RGB")).astype(float)


def test_layout_and_counts(folder):
    counts = pd.Series([Path(path).parent.as_posix() for path in _images(folder)]).value_counts()
    assert set(counts.index) == {f"{split}/{name}" for split in ("Train", "Test") for name in sample.recipes()}
    train, test = counts[counts.index.str.startswith("Train")], counts[counts.index.str.startswith("Test")]
    assert 560 <= train.sum() <= 640 and test.sum() == 90
    published = {
        "actinic keratosis": 114,
        "basal cell carcinoma": 376,
        "dermatofibroma": 95,
        "melanoma": 438,
        "nevus": 357,
        "pigmented benign keratosis": 462,
        "seborrheic keratosis": 77,
        "squamous cell carcinoma": 181,
        "vascular lesion": 139,
    }
    for name, number in published.items():
        assert train[f"Train/{name}"] / train.sum() == pytest.approx(number / 2239, abs=0.01)
    assert "not photographs of patients" in (folder / "SYNTHETIC.txt").read_text()


def test_images_are_small_rgb_jpegs(folder):
    broken = set(_defects(folder, "unreadable")["path"])
    for path in set(_images(folder)) - broken:
        with Image.open(folder / path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (180, 180))
            image.load()


def test_test_images_have_the_first_numbers_of_their_class(folder):
    for name in sample.recipes():
        last = max(file.stem for file in (folder / "Test" / name).iterdir())
        assert last < min(file.stem for file in (folder / "Train" / name).iterdir())


def test_identical_in_another_process_and_what_the_code_draws_now(folder):
    photos, old = sample._plan(), "delete data/sample: it was drawn by other code, or other versions"
    for photo in photos[::20]:
        assert (folder / photo["paths"][0]).read_bytes() == sample._jpeg(photo), old
    assert set(_images(folder)) == {path for photo in photos for path in photo["paths"]}, old
    assert _table(folder, "metadata").equals(sample._metadata(photos).astype(str)), old
    planted = pd.DataFrame([photo for photo in photos if photo["kind"]])
    assert _table(folder, "defects").equals(planted[list(_table(folder, "defects"))].reset_index(drop=True)), old


def test_identical_with_any_number_of_workers(small, made, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "cpu_count", lambda: 1)
    assert _hashes(sample.make_sample(tmp_path / "one")) == _hashes(made)


def test_lesion_is_kept_and_photograph_differs():
    def photo(lesion, angle):
        seeds = np.random.default_rng(lesion), np.random.default_rng(angle)
        return drawings.draw(sample.recipes()["nevus"], *seeds, "clinic A")

    assert (photo(1, 2) == photo(1, 2)).all()
    assert (photo(1, 2) != photo(1, 3)).any() and (photo(1, 2) != photo(4, 2)).any()


def test_byte_twins_are_exactly_the_recorded_ones(folder):
    by_bytes = defaultdict(set)
    for path, digest in _images(folder).items():
        by_bytes[digest].add(path)
    found = {frozenset(paths) for paths in by_bytes.values() if len(paths) > 1}
    defects = _table(folder, "defects")
    twins = defects[defects["kind"].isin(["contradiction", "test twin", "duplicate"])]
    assert found == {frozenset(pair) for pair in zip(twins["path"], twins["other_path"])}
    assert twins["kind"].value_counts().to_dict() == {"contradiction": 22, "test twin": 4, "duplicate": 2}


def test_twins_lie_where_their_kind_says(folder):
    for row in _table(folder, "defects").itertuples():
        path, other = Path(row.path), Path(row.other_path)
        if row.kind in ("contradiction", "test twin"):
            assert path.name == other.name and path.parent.name != other.parent.name
            assert (path.parts[0], other.parts[0]) == ("Train" if row.kind == "contradiction" else "Test", "Train")
        elif row.kind in ("duplicate", "near-duplicate"):
            assert path.parent == other.parent and path.parts[0] == "Train" and path.name != other.name


def test_near_duplicates_show_the_same_picture_in_other_bytes(folder):
    undo = {"mirrored": np.fliplr, "turned by 90 degrees": lambda pixels: np.rot90(pixels, -1)}
    rows = _defects(folder, "near-duplicate")
    assert len(rows) == 4
    for row in rows.itertuples():
        one, other = _pixels(folder / row.path), _pixels(folder / row.other_path)
        assert (one != other).any()
        assert np.abs(undo.get(row.detail, np.asarray)(one) - other).mean() < 8, row.detail


def test_unreadable_file_cannot_be_decoded(folder):
    (path,) = _defects(folder, "unreadable")["path"]
    with pytest.raises(OSError), Image.open(folder / path) as image:
        image.load()


def test_wrong_labels_are_exactly_the_recorded_ones(folder):
    official = _table(folder, "metadata").set_index("isic_id")["diagnosis"]
    official = official[official != ""]
    paths = [path for path in _images(folder) if Path(path).stem in official.index]
    wrong = {path for path in paths if official[Path(path).stem] != sample.recipes()[Path(path).parent.name].code}
    defects = _table(folder, "defects")
    recorded = {*defects.loc[defects["kind"].ne("near-duplicate"), "path"], *defects["other_path"]}
    assert wrong <= recorded
    labels = set(_defects(folder, "wrong label")["path"])
    assert len(labels) == 4 and labels <= wrong
    settled = _defects(folder, "contradiction")["path"].map(lambda path: official.get(Path(path).stem, ""))
    assert settled.value_counts().to_dict() == {"": 11, "MEL": 7, "AK": 4}


def test_metadata_knows_the_collection_of_every_image_and_the_facts_of_most(folder):
    table = _table(folder, "metadata")
    facts = ["diagnosis", "lesion_id", "age_approx", "sex", "anatom_site_general"]
    assert list(table) == ["isic_id", "collection", *facts]
    assert set(table["isic_id"]) == {Path(path).stem for path in _images(folder)} and table["isic_id"].is_unique
    known = table[table["diagnosis"] != ""]
    assert 0.7 < len(known) / len(table) < 0.9 and (table.drop(known.index)[facts] == "").all(axis=None)
    assert set(known["diagnosis"]) == {"MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"}
    assert known["age_approx"].astype(int).between(15, 85).all() and set(known["sex"]) == {"female", "male"}
    assert (known.groupby("lesion_id")[[*facts, "collection"]].nunique() == 1).all(axis=None)


def test_lesions_with_several_photographs_lie_mostly_in_train(folder):
    splits = {Path(path).stem: path.split("/")[0] for path in sorted(_images(folder), reverse=True)}
    table = _table(folder, "metadata").query("lesion_id != ''")
    groups = table.assign(split=table["isic_id"].map(splits)).groupby("lesion_id")["split"]
    several = groups.size() > 1
    crossing = groups.nunique() > 1
    assert several.sum() > 40 and crossing.sum() == len(sample.SHARED_LESIONS)


def test_in_train_the_clinic_tells_the_class_and_part_of_test_breaks_the_tie(folder):
    photos = pd.DataFrame(sample._plan())
    home = photos["look"].map(lambda name: sample.recipes()[name].clinic)
    broken = photos[photos["clinic"] != home]
    assert set(broken["split"]) == {"Test"} and set(broken["path"]) == set(_defects(folder, "other collection")["path"])
    five = ["actinic keratosis", "dermatofibroma", "melanoma", "nevus", "squamous cell carcinoma"]
    assert broken["home"].value_counts().to_dict() == dict.fromkeys(five, 6)
    collections = _table(folder, "metadata").set_index("isic_id")["collection"]
    assert (photos["clinic"] == photos["id"].map(collections)).all()


def test_four_corners_alone_tell_the_clinic_and_so_mislead_where_the_tie_is_broken(folder):
    photos = pd.DataFrame(sample._plan()).query("kind != 'unreadable'")
    train = photos["split"] == "Train"
    corners = np.stack([_corners(folder / path) for path in photos["path"]])
    forest = RandomForestClassifier(100, random_state=0)
    assert cross_val_score(forest, corners[train], photos["clinic"][train], cv=3).mean() > 0.8
    right = forest.fit(corners[train], photos["home"][train]).predict(corners[~train]) == photos["home"][~train]
    broken = photos["kind"][~train] == "other collection"
    assert right[~broken].mean() > right[broken].mean() + 0.1


def _corners(file):
    blocks = [np.roll(_pixels(file), (22, 22), (0, 1))[y : y + 22, x : x + 22] for y in (0, 22) for x in (0, 22)]
    return np.concatenate([measure(block, axis=(0, 1)) for block in blocks for measure in (np.mean, np.std)])


def test_complete_folder_is_left_as_it_is(folder, tmp_path):
    folder = shutil.copytree(folder, tmp_path / "whole")
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert sample.make_sample(folder) == folder
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


@pytest.mark.parametrize("name", ["mine.txt", "Train/nevus/mine.jpg"])
def test_folder_with_other_files_is_refused_untouched(small, tmp_path, name):
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text("mine")
    with pytest.raises(FileExistsError, match=name):
        sample.make_sample(tmp_path)
    assert _hashes(tmp_path).keys() == {name}


def test_a_part_of_a_sample_and_an_older_edition_are_completed(small, made, tmp_path):
    made = shutil.copytree(made, tmp_path / "made")
    before = _hashes(made)
    for file in made.glob("Train/nevus/*.jpg"):
        file.unlink()
    (made / "SYNTHETIC.txt").write_text("an older edition")
    (made / "metadata.csv").write_text("of other columns")
    (made / ".hidden").write_text("mine")
    assert sample.make_sample(made) == made
    assert _hashes(made) == {**before, ".hidden": _hashes(made)[".hidden"]}


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_stopped_half_way_leaves_nothing(small, tmp_path, monkeypatch, stop):
    drawn, whole = [], sample._jpeg

    def stopping(photo):
        drawn.append(photo["id"])
        if len(drawn) == 20:
            raise stop
        return whole(photo)

    monkeypatch.setattr(sample, "_jpeg", stopping)
    with pytest.raises(stop):
        sample.make_sample(tmp_path / "half")
    assert len(drawn) >= 20 and list(tmp_path.iterdir()) == []
