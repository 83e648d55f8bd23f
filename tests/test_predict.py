"""python -m helpers predict: a picture is named, its nearest training image found, and a strange one is called so."""

import json

import keras
import numpy as np
import pandas as pd
import pytest
from conftest import rows
from keras import layers
from PIL import Image

from helpers import __main__, manifest
from helpers.evaluation import explain, predict, report, scores
from helpers.training import pipeline


@pytest.fixture
def run_folder(tmp_path, image_set, small_manifest):
    """A run folder of ``image_set`` whose network sees an image's mean colour, and calls the brighter a melanoma."""
    folder = tmp_path / "run"
    table = small_manifest.assign(picture="", phash="", collection="").reindex(columns=manifest.COLUMNS, fill_value="")
    manifest.write(table, folder / "manifest.csv", image_set)
    (folder / "01_eda.json").write_text(json.dumps({"parameters": {"DATA_DIR": str(image_set)}}))
    network = keras.Sequential([keras.Input((8, 8, 3)), layers.Rescaling(1 / 255), layers.GlobalAveragePooling2D()])
    network.add(layers.Dense(2, activation="softmax"))
    network.layers[-1].set_weights([np.array([[9.0, -9]] * 3), np.array([-13.5, 13.5])])
    (folder / "colours_exchanged").mkdir()
    network.save(folder / "colours_exchanged" / "model.keras")
    rows = manifest.active(table, "val")
    chances = scores.predictions_table(rows, np.full((len(rows), 2), 0.5), ["melanoma", "nevus"])
    chances.to_csv(folder / "colours_exchanged" / "predictions.csv", index=False)
    return folder


def picture(file, colour):
    Image.new("RGB", (30, 30), colour).save(file)
    return file


def call(*arguments):
    return __main__.main(["predict", *map(str, arguments)])


def test_a_training_image_is_its_own_nearest_and_a_strange_one_is_called_so(run_folder, image_set, tmp_path):
    table = manifest.active(manifest.read(run_folder / "manifest.csv", image_set), "train")
    known, red = table["path"].iloc[2], picture(tmp_path / "red.png", (255, 0, 0))
    found, reasons = predict.predict(run_folder, [known, red])
    assert reasons == [] and list(found["image"]) == [known, str(red)]
    first, second = found.to_dict("records")
    assert first["nearest"] == table["image_id"].iloc[2] and first["nearest_label"] == table["label"].iloc[2]
    assert first["distance"] == pytest.approx(0, abs=1e-6)
    assert first["like_training"] == "yes"
    assert second["distance"] > 0.3
    assert second["like_training"] == "unlike the training images"


def test_the_class_is_the_most_probable_one(run_folder, tmp_path):
    pictures = [picture(tmp_path / f"{level}.png", (level,) * 3) for level in (140, 110)]
    found, _ = predict.predict(run_folder, pictures)
    assert list(found["predicted"]) == ["melanoma", "nevus"]
    np.testing.assert_allclose(found[["p_melanoma", "p_nevus"]].sum(axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(found["probability"], [found["p_melanoma"][0], found["p_nevus"][1]])
    odds = [np.log(row.p_melanoma / row.p_nevus) for row in found.itertuples()]
    np.testing.assert_allclose(odds, [54 * level / 255 - 27 for level in (140, 110)], atol=0.01)


def test_an_unreadable_picture_is_named_and_the_others_are_done(run_folder, tmp_path, capsys):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    good = picture(tmp_path / "good.png", (120, 130, 125))
    arguments = [run_folder, tmp_path / "broken.jpg", good, tmp_path / "gone.jpg"]
    assert call(*arguments, "--csv", tmp_path / "out" / "answers.csv") == 1
    said = capsys.readouterr()
    assert "broken.jpg" in said.err and "gone.jpg" in said.err and report.NOTICE in said.err
    table = pd.read_csv(tmp_path / "out" / "answers.csv")
    assert list(table["image"]) == [str(good)] and table["like_training"][0]
    assert call(run_folder, tmp_path / "broken.jpg") == 1
    assert "broken.jpg" in capsys.readouterr().err


def test_the_table_is_printed_and_the_notice_is_not_in_it(run_folder, tmp_path, capsys):
    assert call(run_folder, picture(tmp_path / "good.png", (120, 130, 125))) == 0
    said = capsys.readouterr()
    assert said.out.startswith("image,predicted,probability,p_melanoma,p_nevus,nearest,") and said.out.count("\n") == 2
    assert report.NOTICE in said.err


def test_what_cannot_be_used_is_said_in_a_line(run_folder, tmp_path, capsys):
    good = picture(tmp_path / "good.png", (120, 130, 125))
    assert call(tmp_path / "nowhere", good) == 1 and not (tmp_path / "nowhere").exists()
    assert call(run_folder, good, "--model", "transfer") == 1
    first, _, other = capsys.readouterr().err.strip().splitlines()
    assert "not a run folder" in first and other.endswith("it has colours_exchanged.")
    text = (run_folder / "colours_exchanged" / "predictions.csv").read_text().replace("p_nevus", "p_mole")
    (run_folder / "colours_exchanged" / "predictions.csv").write_text(text)
    assert call(run_folder, good) == 1
    assert "trained on other classes" in capsys.readouterr().err
    (run_folder / "colours_exchanged" / "model.keras").write_bytes(b"no network")
    assert call(run_folder, good) == 1
    assert "cannot be read" in capsys.readouterr().err


def test_another_picture_of_the_same_name_gets_an_answer_of_its_own(run_folder, tmp_path, monkeypatch):
    monkeypatch.setattr(pipeline.load, "__defaults__", (False, 100))  # bytes: all pixels are kept in files
    file, found = tmp_path / "a.png", []
    for level in (140, 110):
        found.append(predict.predict(run_folder, [picture(file, (level,) * 3)])[0]["predicted"][0])
    assert found == ["melanoma", "nevus"]


def test_the_features_of_the_training_images_are_computed_once(run_folder, tmp_path, monkeypatch):
    good, real, asked = picture(tmp_path / "good.png", (120, 130, 125)), explain.features, []
    monkeypatch.setattr(explain, "features", lambda *args: asked.append(len(args[1])) or real(*args))
    first, second = (predict.predict(run_folder, [good])[0] for _ in range(2))
    assert asked == [10, 1, 1]  # training and validation images, once; the picture, twice
    assert first.equals(second)


def test_a_network_of_another_split_is_not_used(run_folder, tmp_path, capsys):
    good = picture(tmp_path / "good.png", (120, 130, 125))
    record = {"parameters": {}, "manifest": "another"}
    (run_folder / "colours_exchanged" / "run.json").write_text(json.dumps(record))
    assert call(run_folder, good) == 1
    assert "colours_exchanged is left out" in capsys.readouterr().out


def test_most_of_the_validation_images_are_like_training(run_folder, image_set):
    table = manifest.active(manifest.read(run_folder / "manifest.csv", image_set), "val")
    found, _ = predict.predict(run_folder, table["path"])
    assert (found["like_training"] == "yes").any() and len(found) == 2


def test_one_in_a_hundred_of_validation_is_unlike_training_and_so_is_what_is_farther(tmp_path, monkeypatch):
    """Pictures are angles to the only training image: 200 of validation, up to 45 degrees, and two of another set."""
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.keras").touch()
    angles = np.radians([0, *np.linspace(0, 45, 200), 44, 60])
    features = dict(zip(map(str, range(203)), np.stack([np.cos(angles), np.sin(angles)], axis=1)))
    monkeypatch.setattr(explain, "open_network", lambda folder: (None, lambda rows: list(rows["image_id"])))
    monkeypatch.setattr(explain, "features", lambda network, pixels: np.array([features[name] for name in pixels]))
    table = rows(image_id=[*features], split=["train", *["val"] * 200, "", ""], flag="")
    memory, limit = predict._memory(*explain.open_network(None), tmp_path / "mine", table)
    distances, _ = memory.kneighbors([*features.values()])
    assert (distances[1:201] > limit).sum() == 2 and (distances[201:, 0] > limit).tolist() == [False, True]
