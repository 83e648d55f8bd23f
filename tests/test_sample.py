import hashlib
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from helpers.data.sample import drawings
from helpers.data.sample import make as sample

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """One whole sample, made from the command line."""
    made = tmp_path_factory.mktemp("sample") / "made"
    said = subprocess.run([sys.executable, "-m", "helpers.sample", made], cwd=ROOT, check=True,
                          capture_output=True, text=True)
    assert "Test: 90 images in 9 classes" in said.stdout
    return made


@pytest.fixture
def small(monkeypatch):
    """Cut the classes down to what the planted defects need, so that a sample takes a second."""
    few = {"melanoma": 4, "nevus": 8, "basal cell carcinoma": 5, "vascular lesion": 6, "seborrheic keratosis": 14,
           "actinic keratosis": 9}
    monkeypatch.setattr(sample, "CLASSES", {name: {**recipe, "test": 3, "train": few.get(name, 2)}
                                            for name, recipe in sample.CLASSES.items()})


def _hashes(folder):
    return {file.relative_to(folder).as_posix(): hashlib.sha256(file.read_bytes()).hexdigest()
            for file in sorted(folder.rglob("*")) if file.is_file()}


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
    assert set(counts.index) == {f"{split}/{name}" for split in ("Train", "Test") for name in sample.CLASSES}
    train, test = counts[counts.index.str.startswith("Train")], counts[counts.index.str.startswith("Test")]
    assert 560 <= train.sum() <= 640 and test.sum() == 90
    published = {"actinic keratosis": 114, "basal cell carcinoma": 376, "dermatofibroma": 95, "melanoma": 438,
                 "nevus": 357, "pigmented benign keratosis": 462, "seborrheic keratosis": 77,
                 "squamous cell carcinoma": 181, "vascular lesion": 139}
    for name, number in published.items():
        assert train[f"Train/{name}"] / train.sum() == pytest.approx(number / 2239, abs=.01)
    assert "generated drawings" in (folder / "SYNTHETIC.txt").read_text()


def test_images_are_small_rgb_jpegs(folder):
    broken = set(_defects(folder, "unreadable")["path"])
    for path in set(_images(folder)) - broken:
        with Image.open(folder / path) as image:
            assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (180, 180))
            image.load()


def test_test_images_have_the_first_numbers_of_their_class(folder):
    for name in sample.CLASSES:
        last = max(file.stem for file in (folder / "Test" / name).iterdir())
        assert last < min(file.stem for file in (folder / "Train" / name).iterdir())


def test_identical_in_another_process(folder):
    for photo in sample._plan(0)[::60]:
        assert (folder / photo["paths"][0]).read_bytes() == sample._jpeg(photo, 0)[0]


def test_identical_with_any_number_of_workers(small, tmp_path):
    one, three = (sample.make_sample(tmp_path / str(workers), workers=workers) for workers in (1, 3))
    assert _hashes(one) == _hashes(three)


def test_another_seed_draws_another_picture():
    photo = sample._plan(0)[0]
    assert sample._jpeg(photo, 0)[0] != sample._jpeg(photo, 1)[0]
    assert [photo["home"] for photo in sample._plan(0)] != [photo["home"] for photo in sample._plan(1)]


def test_lesion_is_kept_and_photograph_differs():
    def photo(lesion, angle):
        return drawings.draw(sample.CLASSES["nevus"], np.random.default_rng(lesion), np.random.default_rng(angle))[0]

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
    paths = [path for path in _images(folder) if Path(path).stem in official.index]
    wrong = {path for path in paths
             if official[Path(path).stem] != sample.CLASSES[Path(path).parent.name]["code"]}
    defects = _table(folder, "defects")
    recorded = {*defects.loc[defects["kind"].ne("near-duplicate"), "path"], *defects["other_path"]}
    assert wrong <= recorded
    labels = set(_defects(folder, "wrong label")["path"])
    assert len(labels) == 4 and labels <= wrong
    settled = _defects(folder, "contradiction")["path"].map(lambda path: official.get(Path(path).stem, ""))
    assert settled.value_counts().to_dict() == {"": 11, "MEL": 7, "AK": 4}


def test_metadata_has_the_columns_of_the_official_labels(folder):
    table = _table(folder, "metadata")
    assert list(table) == ["isic_id", "diagnosis", "lesion_id", "age_approx", "sex", "anatom_site_general"]
    stems = {Path(path).stem for path in _images(folder)}
    assert set(table["isic_id"]) <= stems and table["isic_id"].is_unique
    assert .7 < len(table) / len(stems) < .9
    assert set(table["diagnosis"]) == {"MEL", "NV", "BCC", "AK", "BKL", "DF", "VASC", "SCC"}
    assert table["age_approx"].astype(int).between(15, 85).all() and set(table["sex"]) == {"female", "male"}
    facts = table.groupby("lesion_id")[["diagnosis", "age_approx", "sex", "anatom_site_general"]].nunique()
    assert (facts == 1).all(axis=None)


def test_lesions_with_several_photographs_lie_mostly_in_train(folder):
    splits = {Path(path).stem: path.split("/")[0] for path in sorted(_images(folder), reverse=True)}
    table = _table(folder, "metadata")
    groups = table.assign(split=table["isic_id"].map(splits)).groupby("lesion_id")["split"]
    several = groups.size() > 1
    crossing = groups.nunique() > 1
    assert several.sum() > 40 and crossing.sum() == len(sample.SHARED_LESIONS)


def test_artefacts_are_recorded_for_every_image(folder):
    table = _table(folder, "artefacts")
    assert set(table["path"]) == set(_images(folder)) and table["path"].is_unique
    flags = table.set_index("path").astype(int)
    assert list(flags) == list(drawings.ARTEFACTS) and (flags.sum() > 50).all()
    broken = _defects(folder, "unreadable")["path"]
    corners = pd.Series({path: _pixels(folder / path)[[0, 0, -1, -1], [0, -1, 0, -1]].mean()
                         for path in flags.index.drop(broken)})
    dark = flags["vignette"].drop(broken) == 1
    assert corners[dark].median() < 30 < 80 < corners[~dark].median()


def test_mean_colour_tells_little(folder):
    broken = set(_defects(folder, "unreadable")["path"])
    paths = sorted(set(_images(folder)) - broken)
    colours = np.array([_pixels(folder / path).mean((0, 1)) for path in paths])
    labels, test = np.array([path.split("/")[1] for path in paths]), np.array([path[:4] == "Test" for path in paths])
    model = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000)).fit(colours[~test], labels[~test])
    assert model.score(colours[test], labels[test]) < .3


def test_complete_folder_is_left_as_it_is(folder):
    before = {file: file.stat().st_mtime_ns for file in folder.rglob("*")}
    assert sample.make_sample(folder) == folder
    assert {file: file.stat().st_mtime_ns for file in folder.rglob("*")} == before


def test_foreign_or_incomplete_folder_is_refused_untouched(small, tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(FileExistsError, match="delete it or name another"):
        sample.make_sample(tmp_path)
    assert _hashes(tmp_path).keys() == {"mine.txt"}
    made = sample.make_sample(tmp_path / "made")
    next(made.glob("Train/nevus/*.jpg")).unlink()
    with pytest.raises(FileExistsError):
        sample.make_sample(made)


def test_empty_folder_is_filled(small, tmp_path):
    made = tmp_path / "empty"
    made.mkdir()
    assert len(_images(sample.make_sample(made))) > 50


@pytest.mark.parametrize("stop", [KeyboardInterrupt, OSError])
def test_stopped_half_way_leaves_nothing(small, tmp_path, monkeypatch, stop):
    drawn, whole = [], sample._jpeg

    def stopping(photo, seed):
        drawn.append(photo["id"])
        if len(drawn) == 20:
            raise stop
        return whole(photo, seed)

    monkeypatch.setattr(sample, "_jpeg", stopping)
    with pytest.raises(stop):
        sample.make_sample(tmp_path / "half", workers=1)
    assert len(drawn) >= 20 and os.listdir(tmp_path) == []
