"""Grad-CAM against a case worked by hand and a network that was taught where to look; nearest images; features."""

import keras
import numpy as np
import pandas as pd
import pytest
import scipy.stats
from keras import layers

from helpers.evaluation import explain
from helpers.runs import RunError

pytestmark = pytest.mark.filterwarnings("error", "ignore:__array__:DeprecationWarning")  # Keras with NumPy 2 saving


def network(head, size=32):
    return keras.Sequential(
        [
            keras.Input((size, size, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(4, 3, strides=2, activation="relu"),
            layers.Conv2D(8, 3, padding="same", use_bias=False),
            layers.BatchNormalization(),
            layers.ReLU(),
            layers.MaxPooling2D(),
            layers.Dropout(0.2),
            layers.Flatten(),
            *head,
        ]
    )


def with_softmax(classes=3):
    return [layers.Dense(classes, activation="softmax")]


def pictures(n=4, size=32):
    return np.random.default_rng(0).integers(0, 256, (n, size, size, 3)).astype("uint8")


@pytest.fixture(scope="module")
def taught():
    """A network that tells red, green and blue squares on grey noise apart, its images, classes and squares."""
    keras.utils.set_random_seed(0)
    random = np.random.default_rng(0)
    classes, corners = random.integers(0, 3, 96), random.integers(2, 20, (96, 2))
    images, squares = random.integers(60, 120, (96, 32, 32, 3)).astype("uint8"), np.zeros((96, 32, 32), bool)
    for image, square, colour, (row, column) in zip(images, squares, classes, corners):
        square[row : row + 10, column : column + 10] = True
        image[square, colour] = 250
    model = keras.Sequential(
        [
            keras.Input((32, 32, 3)),
            layers.Rescaling(1 / 255),
            layers.Conv2D(12, 3, padding="same", activation="relu"),
            layers.MaxPooling2D(),
            layers.Conv2D(12, 3, padding="same", activation="relu"),
            layers.GlobalMaxPooling2D(),
            layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    model.fit(images, classes, epochs=20, verbose=0)
    assert model.evaluate(images, classes, verbose=0)[1] > 0.9
    return model, images, classes, squares


@pytest.mark.parametrize(
    "head",
    [with_softmax(2), [layers.Dense(2), layers.Activation("softmax")], [layers.Dense(2)]],
    ids=["dense softmax", "activation", "logits"],
)
def test_heatmap_worked_by_hand(head):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((6, 6, 3)),
            layers.Conv2D(4, 3, padding="same", name="maps"),
            layers.GlobalAveragePooling2D(),
            *head,
        ]
    )
    images = pictures(3, 6).astype("float32")
    maps = keras.Model(model.inputs, model.get_layer("maps").output).predict(images, verbose=0)
    kernel = next(layer for layer in model.layers if isinstance(layer, layers.Dense)).get_weights()[0]
    for index in (0, 1):  # the gradient of a dense layer's score through an average over 36 pixels is kernel / 36
        heat = np.maximum((maps * kernel[:, index] / 36).sum(axis=-1), 0)
        top = heat.max(axis=(1, 2), keepdims=True)
        expected = np.divide(heat, top, out=np.zeros_like(heat), where=top > 0)
        np.testing.assert_allclose(explain.grad_cam(model, images, [index] * 3), expected, atol=1e-4)


def test_a_network_opens_with_the_pixels_it_was_trained_on(tmp_path, write_image):
    folder = tmp_path / "run" / "mine"
    folder.mkdir(parents=True)
    model = network(with_softmax())
    model.save(folder / "model.keras")
    wide = write_image(tmp_path / "wide.png", 1, size=(64, 16))
    rows = pd.DataFrame({"path": [str(wide)], "sha256": ["0"]})
    opened, load = explain.open_network(folder)
    assert load(rows).shape == (1, 32, 32, 3) and load(rows)[0, 0].any()
    np.testing.assert_allclose(explain.predict(opened, load(rows)), model.predict(load(rows), verbose=0), atol=1e-5)
    (folder / "run.json").write_text('{"parameters": {"KEEP_ASPECT": true}}')
    assert not explain.open_network(folder)[1](rows)[0, 0].any()  # black above what is wide
    (folder / "model.keras").write_bytes((folder / "model.keras").read_bytes()[:500])
    with pytest.raises(RunError, match=r"model\.keras cannot be read"):
        explain.open_network(folder)
    (folder / "model.keras").unlink()
    with pytest.raises(RunError, match=r"model\.keras cannot be read"):
        explain.open_network(folder)


def test_heatmaps_lie_on_what_was_taught(taught):
    model, images, classes, squares = taught
    heat = explain.grad_cam(model, images, classes)
    assert heat.shape == (96, 32, 32) and heat.dtype == np.float32 and heat.min() >= 0 and heat.max() <= 1
    assert heat[squares].mean() > 3 * heat[~squares].mean()
    assert explain.grad_cam(model, images[40:41], classes[40:41])[0] == pytest.approx(heat[40], abs=1e-4)


def test_nested_network_that_other_models_share():
    keras.utils.set_random_seed(0)
    base = keras.Sequential([keras.Input((16, 16, 3)), layers.Conv2D(4, 3, strides=2, activation="relu")], name="base")
    for _ in range(2):  # the second model's Grad-CAM must not follow the first one's graph
        inputs = keras.Input((16, 16, 3))
        maps = layers.GlobalAveragePooling2D()(base(layers.Rescaling(1 / 255)(inputs), training=False))
        model = keras.Model(inputs, layers.Dense(3, activation="softmax", dtype="float32")(maps))
    heat = explain.grad_cam(model, pictures(4, 16), [0, 1, 2, 0])
    assert heat.shape == (4, 16, 16) and heat.max() == 1
    assert explain.features(model, pictures(4, 16)).shape == (4, 4)


def test_networks_without_what_is_asked_for_are_refused():
    flat = keras.Sequential([keras.Input((32, 32, 3)), layers.Flatten()])
    with pytest.raises(ValueError, match="no convolution"):
        explain.grad_cam(flat, pictures(), [0] * 4)
    with pytest.raises(ValueError, match="no dense layer"):
        explain.features(flat, pictures())


def test_features_are_what_the_last_dense_layer_receives():
    model = network([layers.Dense(5, activation="relu"), layers.Dropout(0.5), *with_softmax()])
    features = explain.features(model, pictures())
    assert features.shape == (4, 5) and features.dtype == np.float32
    kernel, bias = model.layers[-1].get_weights()
    np.testing.assert_allclose(
        scipy.special.softmax(features @ kernel + bias, axis=1), model.predict(pictures(), verbose=0), atol=1e-5
    )
