"""What a network looks at: Grad-CAM with its sanity check, and what its last layer receives."""

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import spearmanr

from helpers.evaluation.report import ReportError, read_json
from helpers.training import pipeline

BATCH = 32


def open_network(folder):
    """Return the trained network in a model's ``folder``, and a function from manifest rows to pixels as it takes them.

    The pixels are uint8 (n, size, size, 3). ReportError if the network cannot be read; code in it is never run.
    """
    file = folder / "model.keras"
    try:
        network = keras.models.load_model(file, safe_mode=True)
    except (OSError, ValueError) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise ReportError(f"{file} cannot be read ({reason}); run the notebook that trains it again.") from error
    keep = read_json(folder / "run.json").get("parameters", {}).get("KEEP_ASPECT", False)
    return network, lambda rows: pipeline.load(rows, network.input_shape[1], folder.parent / "cache", keep)


def predict(network, pixels):
    """Return the network's probabilities (n, classes) for pixels (n, size, size, 3) of 0 to 255."""
    starts = range(0, len(pixels), BATCH)
    parts = [np.asarray(network(pixels[start : start + BATCH].astype("float32"), training=False)) for start in starts]
    return np.concatenate(parts) if parts else np.zeros((0, network.output_shape[-1]), np.float32)


def grad_cam(model, images, classes):
    """Return Grad-CAM heatmaps (Selvaraju et al. 2017): where in the last convolution the evidence for a class lies.

    ``model`` is a built Keras model with probabilities or logits as its output (a softmax is taken off first, as the
    paper has it), ``images`` (n, h, w, channels) are as it takes them, ``classes`` (n) is the index of the class to
    explain in each. Returned is float32 (n, h, w), 0 to 1: each map is divided by its maximum, and all 0 where nothing
    speaks for the class. ValueError if the model has no convolution.
    """
    images, classes = np.asarray(images), np.asarray(classes, int)
    copy, outputs = _copy(model)
    if getattr(copy.layers[-1], "activation", None) is keras.activations.softmax:
        copy.layers[-1].activation = keras.activations.linear  # probabilities near 0 or 1 have next to no gradient
    both = keras.Model(copy.inputs[0], [outputs[_last_spatial(copy, outputs)], copy.outputs[0]])
    starts = range(0, len(images), BATCH)
    parts = [_heatmaps(both, images[start : start + BATCH], classes[start : start + BATCH]) for start in starts]
    return np.concatenate(parts) if parts else np.zeros(images.shape[:3], np.float32)


def _heatmaps(both, images, classes):
    with tf.GradientTape() as tape:
        maps, logits = both(tf.convert_to_tensor(images), training=False)
        evidence = tf.gather(logits, classes, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(evidence, maps), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(tf.cast(weights, tf.float32) * tf.cast(maps, tf.float32), axis=-1, keepdims=True))
    heat = tf.image.resize(heat, images.shape[1:3])[..., 0]
    return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True)).numpy()


def _copy(model, weights=None):
    """Return a copy of the model, with its own or other ``weights``, and {name: output} of each of its layers."""
    outputs = {}

    def call(layer, *args, **kwargs):
        outputs[layer.name] = layer(*args, **kwargs)
        return outputs[layer.name]

    copy = keras.models.clone_model(keras.Model(model.inputs, model.outputs), call_function=call)
    copy.set_weights(model.get_weights() if weights is None else weights)
    return copy, outputs


def _last_spatial(model, outputs):
    """Return the name of the last layer whose output has the shape of the last convolution's (or nested network's)."""
    kinds = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D, keras.Model)
    shapes = {name: output.shape for name, output in outputs.items() if len(getattr(output, "shape", ())) == 4}
    found = [name for name in shapes if isinstance(model.get_layer(name), kinds)]
    if not found:
        raise ValueError(f"The model {model.name!r} has no convolution with a spatial output; Grad-CAM needs one.")
    return [name for name, shape in shapes.items() if shape == shapes[found[-1]]][-1]


def randomised_similarity(model, images, classes, seeds=(0,)):
    """Return how far the heatmaps stay the same when the model's weights are drawn at random (Adebayo et al. 2018).

    Heatmaps that show what was learned change: the similarity is far below 1. Those of an edge detector stay.
    The kernels of a copy are drawn from a normal distribution of the spread of their initialiser.

    Returned is, for each draw of the weights (one for each of ``seeds``) and each image, Spearman's rank correlation of
    the two heatmaps: float (draws, n), -1 to 1; NaN where one of them is constant (nothing speaks for the class).
    """
    fresh, own = keras.models.clone_model(model).get_weights(), grad_cam(model, images, classes)
    rows = []
    for seed in seeds:
        random = np.random.default_rng(seed)
        drawn = [random.normal(0, weight.std(), weight.shape) if weight.ndim > 1 else weight for weight in fresh]
        pairs = zip(own, grad_cam(_copy(model, drawn)[0], images, classes))
        rows.append([spearmanr(a, b, axis=None).statistic if np.ptp(a) and np.ptp(b) else np.nan for a, b in pairs])
    return np.array(rows, float)


def features(model, images):
    """Return what the last dense layer of ``model`` receives for each of n images, float32 (n, k)."""
    copy, _ = _copy(model)
    dense = [layer for layer in copy.layers if isinstance(layer, keras.layers.Dense)]
    if not dense:
        raise ValueError(f"The model {model.name!r} has no dense layer, so its features are not known.")
    return predict(keras.Model(copy.inputs[0], dense[-1].input), np.asarray(images))
