"""What a network looks at: Grad-CAM, and what its last layer receives."""

import hashlib

import keras
import matplotlib
import numpy as np
import pandas as pd
import tensorflow as tf

from helpers.evaluation.report import read_json
from helpers.runs import RunError
from helpers.training import pipeline

BATCH = 32
CONVOLUTIONS = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D, keras.Model)


def open_network(folder):
    """Return the trained network in a model's ``folder``, and a function from manifest rows to pixels as it takes them.

    The pixels are uint8 (n, size, size, 3). RunError if the network cannot be read; code in it is never run.
    """
    file = folder / "model.keras"
    try:
        network = keras.models.load_model(file, compile=False, safe_mode=True)  # it is not trained again
    except Exception as error:  # of a broken file the loader raises anything at all
        reason = str(error).strip().split("\n")[0][:200]
        raise RunError(f"{file} cannot be read ({reason}); run the notebook that trains it again.") from error
    keep = read_json(folder / "run.json").get("parameters", {}).get("KEEP_ASPECT", False)
    return network, lambda rows: pipeline.load(rows, network.input_shape[1], folder.parent / "cache", keep)


def cached(folder, name, *made_of):
    """Return the file in the run's cache for what the network in ``folder`` and other facts make: "name-{}.suffix".

    Another network, or other facts, have another file.
    """
    facts = (folder / "model.keras").read_bytes() + repr(made_of).encode()
    return folder.parent / "cache" / name.format(hashlib.sha256(facts).hexdigest()[:12])


def predict(network, pixels):
    """Return the network's probabilities (n, classes) for pixels (n, size, size, 3) of 0 to 255."""
    pixels = np.asarray(pixels, "float32")
    if len(pixels) <= BATCH:  # a graph takes longer to be made than so few take without one
        return network(pixels, training=False).numpy()
    return network.predict(pixels, batch_size=2 * BATCH, verbose=0)


def features(model, images):
    """Return what the last dense layer of ``model`` receives for each of n images, float32 (n, k)."""
    dense = [layer for layer in model.layers if isinstance(layer, keras.layers.Dense)]
    if not dense:
        raise ValueError(f"The model {model.name!r} has no dense layer, so its features are not known.")
    return predict(keras.Model(model.inputs[0], dense[-1].input), images)


def grad_cam(model, images, classes):
    """Return Grad-CAM heatmaps (Selvaraju et al. 2017): where in the last convolution the evidence for a class lies.

    ``model`` is a built Keras model with probabilities or logits as its output (a softmax is taken off first, as the
    paper has it), ``images`` (n, h, w, channels) are as it takes them, ``classes`` (n) is the index of the class to
    explain in each. Returned is float32 (n, h, w), 0 to 1: each map is divided by its maximum, and all 0 where nothing
    speaks for the class. ValueError if the model has no convolution.
    """
    return _grad_cam(_with_maps(model, model.get_weights()), images, classes)


def sanity(network, pixels, classes, seed=0):
    """Return how alike Grad-CAM maps stay when the network's weights are drawn at random (Adebayo and others, 2018).

    For each of three draws, the median, min and max over the images of Spearman's rank correlation between the map of
    the trained network and that of the random one: near 1, the maps show nothing that was learned. Arguments are those
    of :func:`grad_cam`; an image whose map is constant is left out.
    """
    keras.utils.set_random_seed(seed)
    drawn = [_with_maps(network) for _ in range(3)]
    own, *others = (
        pd.DataFrame(_grad_cam(each, pixels, classes).reshape(len(pixels), -1)).T.rank()
        for each in (_with_maps(network, network.get_weights()), *drawn)
    )
    alike = pd.DataFrame({f"draw {n}": own.corrwith(other) for n, other in enumerate(others, 1)})
    return alike.agg(["count", "median", "min", "max"]).T.astype({"count": int}).rename(columns={"count": "images"})


def in_the_middle(heatmaps):
    """Return the median share of a heatmap's light that lies in the central half of the picture's area, 0 to 1."""
    edge = round(heatmaps.shape[1] * (1 - 0.5**0.5) / 2)
    light = heatmaps.sum(axis=(1, 2))
    middle = heatmaps[:, edge:-edge, edge:-edge].sum(axis=(1, 2))[light > 0] / light[light > 0]
    return float(np.median(middle)) if len(middle) else 0.0


def overlay(images, heatmaps):
    """Return images (n, h, w, 3; 0 to 255) in grey under their heatmaps (n, h, w; 0 to 1): bright is high."""
    grey, share = np.asarray(images, float).mean(axis=-1, keepdims=True), 0.7 * heatmaps[..., None]
    return share * 255 * matplotlib.colormaps["inferno"](heatmaps)[..., :3] + (1 - share) * grey


def _heatmaps(both, images, classes):
    with tf.GradientTape() as tape:
        maps, logits = both(tf.convert_to_tensor(images), training=False)
        evidence = tf.gather(logits, classes, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(evidence, maps), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(tf.cast(weights, tf.float32) * tf.cast(maps, tf.float32), axis=-1, keepdims=True))
    heat = tf.image.resize(heat, images.shape[1:3])[..., 0]
    return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True)).numpy()


def _grad_cam(both, images, classes):
    images, classes = np.asarray(images), np.asarray(classes, int)
    parts = (slice(start, start + BATCH) for start in range(0, len(images), BATCH))
    return np.concatenate([_heatmaps(both, images[part], classes[part]) for part in parts])


def _with_maps(model, weights=None):
    """Return a copy of the model that returns its last convolution's maps and its logits; None: weights at random.

    A copy, because layers that several models share have several outputs.
    """
    outputs = []

    def call(layer, *args, **kwargs):
        outputs.append((layer, layer(*args, **kwargs)))
        return outputs[-1][1]

    copy = keras.models.clone_model(keras.Model(model.inputs, model.outputs), call_function=call)
    if weights:
        copy.set_weights(weights)
    maps = [(layer, output) for layer, output in outputs if len(getattr(output, "shape", ())) == 4]
    shapes = [output.shape for layer, output in maps if isinstance(layer, CONVOLUTIONS)]
    if not shapes:
        raise ValueError(f"The model {model.name!r} has no convolution with a spatial output; Grad-CAM needs one.")
    last = [output for _, output in maps if output.shape == shapes[-1]][-1]  # with its normalisation and activation
    if getattr(copy.layers[-1], "activation", None) is keras.activations.softmax:
        copy.layers[-1].activation = keras.activations.linear  # probabilities near 0 or 1 have next to no gradient
    return keras.Model(copy.inputs[0], [last, copy.outputs[0]])
