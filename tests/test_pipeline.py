"""Images become batches: every kind of file, the promised order, the same changes for the same seed."""

from types import SimpleNamespace

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import rows
from PIL import Image

from helpers.training import pipeline


@pytest.fixture
def numbered():
    """Ten images whose pixels all hold their own number, and one-hot targets that name it."""
    images = np.repeat(np.arange(10, dtype=np.uint8), 8 * 8 * 3).reshape(10, 8, 8, 3)
    return images, np.eye(10, dtype="float32")


def _seen(data):
    batches = [(images.numpy(), targets.numpy()) for images, targets in data]
    images, targets = (np.concatenate(part) for part in zip(*batches))
    assert (images[:, 0, 0, 0] == targets.argmax(axis=1)).all()
    return images[:, 0, 0, 0].astype(int).tolist()


@pytest.mark.parametrize("mode, suffix, size", [("RGB", "jpg", (40, 30)), ("L", "png", (40, 30)), ("RGBA", "png", (40, 30)),
                                                ("P", "png", (40, 30)), ("RGB", "png", (1, 1)), ("L", "jpg", (3000, 40))])
def test_every_kind_of_file_becomes_a_square_of_rgb(tmp_path, write_image, mode, suffix, size):
    path = write_image(tmp_path / f"a.{suffix}", 1, size, mode)
    pixels = pipeline.load(rows(path=[str(path)], sha256=["1"]), 16, tmp_path)
    assert pixels.shape == (1, 16, 16, 3) and pixels.dtype == np.uint8


def test_a_photograph_of_24_megapixels_is_never_decoded_in_full(tmp_path, monkeypatch):
    Image.linear_gradient("L").rotate(90).resize((6000, 4000)).convert("RGB").save(tmp_path / "wide.jpg")
    decoded, real = [], pipeline._square
    monkeypatch.setattr(pipeline, "_square", lambda image, *how: decoded.append(image.size) or real(image, *how))
    pixels = pipeline.load(rows(path=[str(tmp_path / "wide.jpg")], sha256=["1"]), 96, tmp_path)
    assert decoded == [(750, 500)]
    assert abs(pixels[0, :, :, 0].mean(axis=0) - np.linspace(0, 255, 96)).max() <= 4


def test_resizing_does_not_alias(tmp_path):
    board = np.indices((64, 64)).sum(axis=0) % 2 * 255
    Image.fromarray(board.astype(np.uint8)).save(tmp_path / "board.png")
    pixels = pipeline.load(rows(path=[str(tmp_path / "board.png")], sha256=["1"]), 8, tmp_path)
    assert abs(pixels.astype(int) - 127).max() <= 3


def test_aspect_is_kept_on_request(tmp_path):
    Image.new("RGB", (40, 20), "white").save(tmp_path / "wide.png")
    table = rows(path=[str(tmp_path / "wide.png")], sha256=["1"])
    assert pipeline.load(table, 16, tmp_path).min() == 255
    kept = pipeline.load(table, 16, tmp_path, keep_aspect=True)[0]
    assert kept[:4].max() == 0 and kept[12:].max() == 0 and kept[5:11].min() == 255


def test_cache_on_disk_equals_cache_in_memory(tmp_path, write_image):
    paths = [str(write_image(tmp_path / f"{number}.png", number)) for number in range(5)]
    table = rows(path=paths, sha256=paths)
    memory, disk = pipeline.load(table, 12, tmp_path / "c"), pipeline.load(table, 12, tmp_path / "c", budget=100)
    assert isinstance(disk, np.memmap) and np.array_equal(memory, disk)
    assert len(list((tmp_path / "c").iterdir())) == 1
    again = pipeline.load(table.iloc[::-1], 12, tmp_path / "c", budget=100)
    assert np.array_equal(again, memory[::-1])


def test_a_file_that_is_gone_is_named(tmp_path):
    with pytest.raises(OSError, match="gone.jpg.*notebook 01"):
        pipeline.load(rows(path=[str(tmp_path / "gone.jpg")], sha256=["1"]), 8, tmp_path)


def test_evaluation_keeps_the_order(numbered):
    assert _seen(pipeline.batches(*numbered, 3)) == list(range(10))


@pytest.mark.parametrize("count, one, two", [(33, [8] * 4 + [1], [6] * 5 + [3]), (24, [8] * 3, [8] * 3),
                                             (9, [8, 1], [6, 3]), (7, [7], [4, 3])])
def test_two_devices_can_share_every_batch(numbered, monkeypatch, count, one, two):
    images, targets = (np.resize(part, (count, *part.shape[1:])) for part in numbered)
    assert [len(batch) for batch, _ in pipeline.batches(images, targets, 8)] == one
    monkeypatch.setattr(tf.distribute, "get_strategy", lambda: SimpleNamespace(num_replicas_in_sync=2))
    assert [len(batch) for batch, _ in pipeline.batches(images, targets, 8)] == two


def test_no_epoch_waits_for_the_autotuning_of_tf_data(numbered):
    for how in ({}, {"seed": 1}, {"seed": 1, "augment": pipeline.augmenter()}):
        assert pipeline.batches(*numbered, 3, **how).options().autotune.enabled is False


def test_training_shuffles_images_anew_each_epoch_and_the_same_way_for_one_seed(numbered):
    data = pipeline.batches(*numbered, 3, seed=1)
    first, second = _seen(data), _seen(data)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    again = pipeline.batches(*numbered, 3, seed=1)
    assert [_seen(again), _seen(again)] == [first, second]
    assert _seen(pipeline.batches(*numbered, 3, seed=2)) != first


def test_augmented_batches_repeat_for_one_seed_and_differ_between_epochs():
    """Twelve times one image: what differs between two epochs comes from the augmentation, not from the shuffling."""
    images = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8).repeat(12, axis=0)
    targets = np.eye(12, dtype="float32")

    def epochs(seed):
        data = pipeline.batches(images, targets, 4, seed=seed, augment=pipeline.augmenter())
        return [np.concatenate([batch.numpy() for batch, _ in data]) for _ in range(2)]

    first, again = epochs(3), epochs(3)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("count", [4, 6, 8])
def test_tensorflow_logs_nothing_about_augmented_batches(capfd, count):
    images = np.zeros((count, 8, 8, 3), np.uint8)
    data = pipeline.batches(images, np.eye(count, dtype="float32"), 4, seed=0, augment=pipeline.augmenter())
    assert sum(len(batch) for _ in range(2) for batch, _ in data) == 2 * count
    assert "PredictCost" not in capfd.readouterr().err


def test_augmenter_stays_in_range_and_leaves_a_flat_image_flat():
    flat = tf.fill((6, 20, 20, 3), 100.0)
    changed = pipeline.augmenter(light=0.0)(flat, tf.constant([1, 2])).numpy()
    assert np.allclose(changed, 100, atol=1e-3)
    bright = pipeline.augmenter(light=0.5)(tf.fill((50, 4, 4, 3), 250.0), tf.constant([1, 2])).numpy()
    assert bright.max() <= 255 and bright.min() >= 0 and bright.std() > 1


@pytest.mark.parametrize("extreme", [-1.0, 1.0])
def test_a_crop_at_the_edge_shows_nothing_from_outside(monkeypatch, extreme):
    """Rounding must not push a box over the edge, where crop_and_resize knows only black."""
    monkeypatch.setattr(pipeline.tf.random, "stateless_uniform", lambda shape, *_: tf.fill(shape, extreme))
    for crop in np.linspace(0, 0.9, 91):
        changed = pipeline.augmenter(crop, light=0.0)(tf.fill((1, 20, 20, 3), 100.0), tf.constant([1, 2]))
        assert np.allclose(changed, 100, atol=1e-3), crop


def test_augmenter_without_crop_shows_a_lesion_from_all_eight_sides():
    image = np.random.default_rng(0).uniform(0, 255, (1, 9, 9, 3)).astype("float32")
    views = [np.rot90(side, turn) for side in (image[0], image[0][:, ::-1]) for turn in range(4)]
    change = pipeline.augmenter(crop=0.0, light=0.0)
    distances = np.array([[abs(change(image, tf.constant([seed, 0])).numpy()[0] - view).max() for view in views]
                          for seed in range(60)])
    assert set(distances.argmin(axis=1)) == set(range(8)) and distances.min(axis=1).max() < 0.01


def test_a_crop_zooms_and_shifts_and_keeps_the_shape():
    """Of an image that holds its own coordinates, steps and place of each crop can be read."""
    places = np.stack([*np.meshgrid(np.arange(21.0), np.arange(21.0)), np.zeros((21, 21))], axis=-1)
    images = np.repeat(places[None], 200, axis=0).astype("float32")
    changed = pipeline.augmenter(crop=0.4, light=0.0)(images, tf.constant([1, 2])).numpy()
    turned = abs(changed[:, 0, 1, 0] - changed[:, 0, 0, 0]) < 0.01
    assert turned.all() or not turned.any()
    changed = changed.swapaxes(1, 2) if turned.all() else changed
    wide, high = (abs(changed[:, 1, 1, axis] - changed[:, 0, 0, axis]) for axis in (0, 1))
    assert np.allclose(wide, high, atol=1e-3) and 0.6 <= wide.min() < 0.65 and 0.95 < wide.max() <= 1
    assert changed.min() >= 0 and changed.max() <= 20
    assert changed[..., :2].mean(axis=(1, 2)).std(axis=0).min() > 0.5


def test_light_scales_brightness_contrast_and_saturation_of_each_image_by_itself():
    """Every value becomes a sum of itself, its pixel's grey and the image's mean; the three weights name the factors."""
    images = np.random.default_rng(0).uniform(90, 160, (200, 8, 8, 3)).astype("float32")
    plain = pipeline.augmenter(crop=0.0, light=0.0)(images, tf.constant([1, 2])).numpy().astype(float)
    lit = pipeline.augmenter(crop=0.0, light=0.2)(images, tf.constant([1, 2])).numpy().astype(float)
    factors = []
    for before, after in zip(plain, lit):
        grey, mean = before.mean(axis=-1, keepdims=True), np.full_like(before, before.mean())
        parts = np.stack([before, np.broadcast_to(grey, before.shape), mean], axis=-1).reshape(-1, 3)
        (own, of_grey, of_mean), *_ = np.linalg.lstsq(parts, after.ravel(), rcond=None)
        assert np.allclose(parts @ [own, of_grey, of_mean], after.ravel(), atol=0.01)
        factors.append([own + of_grey + of_mean, own + of_grey, own / (own + of_grey)])
    assert (abs(np.array(factors) - 1) < 0.201).all()
    assert (np.ptp(factors, axis=0) > 0.35).all() and abs(np.corrcoef(factors, rowvar=False) - np.eye(3)).max() < 0.3


def test_a_class_of_one_image_and_a_last_batch_of_one_are_learned_and_validated():
    train, val = rows(label=[*"aaaaaab"]), rows(label=[*"aaab"])
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    data = pipeline.batches(images, pipeline.one_hot(train, ["a", "b"]), 3, seed=1, augment=pipeline.augmenter())
    val_data = pipeline.batches(images[:4], pipeline.one_hot(val, ["a", "b"]), 3)
    assert sum(targets.numpy().sum(axis=0) for _, targets in data).tolist() == [6, 1]
    network = keras.Sequential([keras.layers.Conv2D(2, 3), keras.layers.BatchNormalization(),
                                keras.layers.GlobalAveragePooling2D(), keras.layers.Dense(2, activation="softmax")])
    network.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    history = network.fit(data, validation_data=val_data, epochs=2, verbose=0, class_weight={0: 0.6, 1: 3.5}).history
    assert np.isfinite([history["loss"], history["val_loss"]]).all()
    assert network.predict(val_data, verbose=0).shape == (4, 2)


def test_one_hot():
    assert pipeline.one_hot(rows(label=["b", "a"]), ["a", "b"]).tolist() == [[0, 1], [1, 0]]
