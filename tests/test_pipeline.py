"""Images become batches: every kind of file, the promised order, the same changes for the same seed."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import cells, rows
from PIL import Image

from helpers import manifest
from helpers.training import pipeline


@pytest.fixture(scope="module")
def notebook_04():
    """The names that notebook 04's cells define which change a batch, with its default parameters."""
    given = {"tf": tf, "keras": keras, "layers": keras.layers, "pipeline": pipeline, "COLOUR_EXCHANGE": 1.0}
    names = ("augment = keras", "def turned", "def colours", "def in_colours_of", "def exchange_colours", "tint = ")
    return cells("04_dropout_augmented_cnn", *names, **given)


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


@pytest.mark.parametrize(
    "mode, suffix, size",
    [
        ("RGB", "jpg", (40, 30)),
        ("L", "png", (40, 30)),
        ("RGBA", "png", (40, 30)),
        ("P", "png", (40, 30)),
        ("RGB", "png", (1, 1)),
        ("L", "jpg", (3000, 40)),
    ],
)
def test_every_kind_of_file_becomes_a_square_of_rgb(tmp_path, write_image, mode, suffix, size):
    path = write_image(tmp_path / f"a.{suffix}", 1, size, mode)
    pixels = pipeline.load(rows(path=[str(path)], sha256=["1"]), 16, tmp_path)
    assert pixels.shape == (1, 16, 16, 3) and pixels.dtype == np.uint8


def test_a_photograph_of_24_megapixels_is_never_decoded_in_full(tmp_path, monkeypatch):
    Image.linear_gradient("L").rotate(90).resize((6000, 4000)).convert("RGB").save(tmp_path / "wide.jpg")
    decoded, real = [], pipeline.images.open_rgb
    monkeypatch.setattr(
        pipeline.images, "open_rgb", lambda *how, **more: decoded.append(real(*how, **more)) or decoded[0]
    )
    pixels = pipeline.load(rows(path=[str(tmp_path / "wide.jpg")], sha256=["1"]), 96, tmp_path)
    assert [image.size for image in decoded] == [(750, 500)]
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


def test_no_epoch_waits_for_the_autotuning_of_tf_data(numbered):
    for how in ({}, {"seed": 1}, {"seed": 1, "augment": lambda images, seed: images}):
        assert pipeline.batches(*numbered, 3, **how).options().autotune.enabled is False


def test_training_shuffles_images_anew_each_epoch_and_the_same_way_for_one_seed_and_state(numbered):
    def epochs(seed, state=0):
        np.random.seed(state)
        data = pipeline.batches(*numbered, 3, seed=seed)
        return [_seen(data), _seen(data)]

    first, second = epochs(1)
    assert sorted(first) == sorted(second) == list(range(10)) and first != second
    assert epochs(1) == [first, second]
    assert first not in epochs(2) and first not in epochs(1, state=1)


def test_random_layers_draw_by_their_seed_alone():
    layer = keras.Sequential(
        [keras.layers.RandomFlip(), keras.layers.RandomRotation(0.25), keras.layers.RandomZoom(0.3)]
    )
    images = tf.random.stateless_uniform((8, 16, 16, 3), [0, 0], 0, 255)
    drawn = [pipeline.seeded(layer, images, tf.constant([seed, 1])).numpy() for seed in (1, 2, 1)]
    assert np.array_equal(drawn[0], drawn[2]) and not np.array_equal(drawn[0], drawn[1])
    same = tf.data.Dataset.from_tensors([1, 1]).map(lambda seed: pipeline.seeded(layer, images, seed))
    assert np.allclose(next(iter(same)), drawn[0], atol=1e-3)


def test_predictions_are_averaged_over_the_eight_views_of_an_image():
    network = keras.Sequential([keras.Input((4, 4, 3)), keras.layers.Flatten(), keras.layers.Dense(2)])
    pixels = np.random.default_rng(0).integers(0, 256, (3, 4, 4, 3), dtype=np.uint8)
    turned = np.rot90(pixels[:, :, ::-1], 3, axes=(1, 2))
    assert np.allclose(pipeline.average_views(network, pixels), pipeline.average_views(network, turned), rtol=1e-4)
    plain = network.predict(pixels.astype("float32"), verbose=0)
    assert np.allclose(pipeline.average_views(network, pixels, all_views=False), plain)
    assert not np.allclose(pipeline.average_views(network, pixels), plain, rtol=1e-2)


def test_a_weight_stays_with_its_image(numbered):
    weights = np.linspace(0.5, 1.5, 10)
    seen = {}
    for images, _, weight in pipeline.batches(*numbered, 3, seed=1, weights=weights, augment=lambda batch, _: batch):
        seen |= dict(zip(images.numpy()[:, 0, 0, 0].astype(int), weight.numpy()))
    assert [seen[number] for number in sorted(seen)] == pytest.approx(weights)


def test_an_image_weighs_by_rarity_and_a_melanoma_more_than_that(small_manifest):
    train = manifest.active(small_manifest, "train")
    weights, melanoma = pipeline.weights(train, 1.0, 3.0), (train["label"] == "melanoma").to_numpy()
    assert weights.mean() == pytest.approx(1) and len(weights) == 8
    assert weights[melanoma] / weights[~melanoma][0] == pytest.approx(np.full(3, 3 * 5 / 3))
    assert pipeline.weights(train, 0) == pytest.approx(1)
    apart = train.assign(collection=["A", "B"] * 4)
    assert len(set(pipeline.weights(apart, 0.5).round(6))) > 2


def test_augmented_batches_repeat_for_one_seed_and_differ_between_epochs(notebook_04):
    """Twelve times one image: what differs between two epochs comes from the augmentation, not from the shuffling."""
    images = np.random.default_rng(0).integers(0, 256, (1, 16, 16, 3), dtype=np.uint8).repeat(12, axis=0)
    targets = np.eye(12, dtype="float32")

    def epochs(seed):
        np.random.seed(0)
        data = pipeline.batches(images, targets, 4, seed=seed, augment=notebook_04["exchanged"])
        return [np.concatenate([batch.numpy() for batch, _ in data]) for _ in range(2)]

    first, again = epochs(3), epochs(3)
    assert np.array_equal(first[0], again[0]) and np.array_equal(first[1], again[1])
    assert not np.array_equal(first[0], first[1])


@pytest.mark.parametrize("count", [4, 6, 8])
def test_tensorflow_logs_nothing_about_augmented_batches(capfd, notebook_04, count):
    images = np.zeros((count, 8, 8, 3), np.uint8)
    data = pipeline.batches(images, np.eye(count, dtype="float32"), 4, seed=0, augment=notebook_04["exchanged"])
    assert sum(len(batch) for _ in range(2) for batch, _ in data) == 2 * count
    assert "PredictCost" not in capfd.readouterr().err


def test_exchanged_colours_stay_in_range_and_come_from_other_images(notebook_04):
    """Of two kinds of images, red and blue, each gets some of the other's colour, and its pattern stays."""
    pattern = np.random.default_rng(0).uniform(-20, 20, (1, 12, 12, 1))
    red, blue = (np.array(colour) + pattern.repeat(8, axis=0) for colour in ([180, 90, 80], [80, 90, 180]))
    images = np.concatenate([red, blue]).astype("float32")
    changed = notebook_04["exchange_colours"](tf.constant(images), tf.constant([1, 2]), 1.0).numpy()
    assert changed.shape == images.shape and changed.min() >= 0 and changed.max() <= 255
    moved = abs(changed - images).mean(axis=(1, 2, 3))
    assert moved.max() > 20
    distances = abs(changed.mean(axis=(1, 2))[:8] - images[0].mean(axis=(0, 1))).sum(axis=-1)
    assert distances.max() > 60
    alike = [np.corrcoef(a.mean(-1).ravel(), b.mean(-1).ravel())[0, 1] for a, b in zip(images, changed)]
    assert min(alike) > 0.9


def test_a_class_of_one_image_and_a_last_batch_of_one_are_learned_and_validated():
    train, val = rows(label=[*"aaaaaab"]), rows(label=[*"aaab"])
    images = np.random.default_rng(0).integers(0, 256, (7, 8, 8, 3), dtype=np.uint8)
    data = pipeline.batches(
        images, pipeline.one_hot(train, ["a", "b"]), 3, seed=1, augment=lambda images, number: images
    )
    val_data = pipeline.batches(images[:4], pipeline.one_hot(val, ["a", "b"]), 3)
    assert sum(targets.numpy().sum(axis=0) for _, targets in data).tolist() == [6, 1]
    network = keras.Sequential(
        [
            keras.layers.Conv2D(2, 3),
            keras.layers.BatchNormalization(),
            keras.layers.GlobalAveragePooling2D(),
            keras.layers.Dense(2, activation="softmax"),
        ]
    )
    network.compile("adam", "categorical_crossentropy", metrics=["accuracy"])
    history = network.fit(data, validation_data=val_data, epochs=2, verbose=0, class_weight={0: 0.6, 1: 3.5}).history
    assert np.isfinite([history["loss"], history["val_loss"]]).all()
    assert network.predict(val_data, verbose=0).shape == (4, 2)


def test_one_hot():
    assert pipeline.one_hot(rows(label=["b", "a"]), ["a", "b"]).tolist() == [[0, 1], [1, 0]]


def test_both_trainings_of_notebook_04_start_from_the_same_weights():
    given = {"keras": keras, "layers": keras.layers, "CLASSES": ["a", "b"], "SEED": 3, "LEARNING_RATE": 1e-3}
    given |= {"IMAGE_SIZE": 16, "SKIP_CONNECTIONS": True, "DROPOUT": 0.2}
    names = ("def convolution", "def block", "def build", "def compiled")
    compiled = cells("04_dropout_augmented_cnn", *names, **given)["compiled"]
    kept, exchanged = (compiled(name, 10).get_weights() for name in ("kept", "exchanged"))
    assert len(kept) > 20 and all(map(np.array_equal, kept, exchanged))
