"""What a network looks at (Grad-CAM, with its sanity check) and which training images it takes for similar."""

import keras
import numpy as np
import tensorflow as tf
from scipy.stats import spearmanr
from sklearn.neighbors import NearestNeighbors

BATCH = 32


def grad_cam(model, images, classes, layer=None):
    """Return Grad-CAM heatmaps (Selvaraju et al. 2017): where the evidence for a class lies.

    Parameters
    ----------
    model : built Keras functional or sequential model with class probabilities or logits as its output.
    images : array (n, h, w, channels) as the model takes them (values 0 to 255 where it rescales inside).
    classes : int (n,), for each image the index of the class to explain.
    layer : name of a layer of the model with output (n, rows, columns, channels); None: the last convolution, or nested
        network, with the normalisation and activation that follow it.

    Returns
    -------
    float32 array (n, h, w), 0 to 1: each map is divided by its maximum; all 0 where nothing speaks for the class.
    A final softmax is taken off first, as the paper has it.

    Raises
    ------
    ValueError
        If the model has no such layer, or ``classes`` is not one index per image.
    """
    images, classes = np.asarray(images), np.asarray(classes, int)
    if classes.shape != (len(images),):
        raise ValueError(f"{len(images)} images and classes of shape {classes.shape}; give one class index per image.")
    copy = _copy(model, model.get_weights())
    maps = _output(_last_spatial(copy) if layer is None else copy.get_layer(layer))
    if getattr(copy.layers[-1], "activation", None) is keras.activations.softmax:
        copy.layers[-1].activation = keras.activations.linear  # probabilities near 0 or 1 have next to no gradient
    both = keras.Model(copy.inputs, [maps, copy.outputs[0]])
    parts = [_heatmaps(both, images[start:start + BATCH], classes[start:start + BATCH])
             for start in range(0, len(images), BATCH)]
    return np.concatenate(parts) if parts else np.zeros(images.shape[:3], np.float32)


def _heatmaps(both, images, classes):
    with tf.GradientTape() as tape:
        maps, logits = both(tf.convert_to_tensor(images), training=False)
        evidence = tf.gather(logits, classes, batch_dims=1)
    weights = tf.reduce_mean(tape.gradient(evidence, maps), axis=(1, 2), keepdims=True)
    heat = tf.nn.relu(tf.reduce_sum(tf.cast(weights, tf.float32) * tf.cast(maps, tf.float32), axis=-1, keepdims=True))
    heat = tf.image.resize(heat, images.shape[1:3])[..., 0]
    return tf.math.divide_no_nan(heat, tf.reduce_max(heat, axis=(1, 2), keepdims=True)).numpy()


def _copy(model, weights):
    """Return a copy with these weights; each of its layers was called once, so that it has one output."""
    copy = keras.models.clone_model(model)
    copy.set_weights(weights)
    return copy


def _output(layer):
    """Return the layer's output inside the model; a nested network's own ``output`` would be that of its inside."""
    return keras.Operation.output.fget(layer)


def _last_spatial(model):
    convolutions = (keras.layers.Conv2D, keras.layers.DepthwiseConv2D, keras.layers.SeparableConv2D, keras.Model)
    spatial = [layer for layer in model.layers if len(_output(layer).shape) == 4]
    found = [_output(layer).shape for layer in spatial if isinstance(layer, convolutions)]
    if not found:
        raise ValueError(f"The model {model.name!r} has no convolution with a spatial output; Grad-CAM needs one.")
    return [layer for layer in spatial if _output(layer).shape == found[-1]][-1]


def randomised_similarity(model, images, classes, layer=None, seeds=(0,)):
    """Return how far the heatmaps stay the same when the model's weights are drawn at random (Adebayo et al. 2018).

    Heatmaps that show what was learned change: the similarity is far below 1. Those of an edge detector stay.
    The kernels of a copy are drawn from a normal distribution of the spread of their initialiser.

    Parameters
    ----------
    model, images, classes, layer : see :func:`grad_cam`.
    seeds : one for each draw of the weights.

    Returns
    -------
    float array (draws, n): Spearman's rank correlation of the two heatmaps, -1 to 1; NaN where one of them is constant
    (nothing speaks for the class).
    """
    fresh, own = keras.models.clone_model(model).get_weights(), grad_cam(model, images, classes, layer)
    rows = []
    for seed in seeds:
        random = np.random.default_rng(seed)
        drawn = [random.normal(0, weight.std(), weight.shape) if weight.ndim > 1 else weight for weight in fresh]
        pairs = zip(own, grad_cam(_copy(model, drawn), images, classes, layer))
        rows.append([spearmanr(a, b, axis=None).statistic if np.ptp(a) and np.ptp(b) else np.nan for a, b in pairs])
    return np.array(rows, float)


def features(model, images):
    """Return what the last dense layer of ``model`` receives, and what the model answers: float32 arrays, n rows each.

    ``images`` as in :func:`grad_cam`. ValueError if the model has no dense layer.
    """
    copy = _copy(model, model.get_weights())
    dense = [layer for layer in copy.layers if isinstance(layer, keras.layers.Dense)]
    if not dense:
        raise ValueError(f"The model {model.name!r} has no dense layer, so its features are not known.")
    both = keras.Model(copy.inputs, [dense[-1].input, copy.outputs[0]])
    received, answers = both.predict(images, batch_size=BATCH, verbose=0)
    return received.astype(np.float32), answers.astype(np.float32)


def nearest(query, train, count=1):
    """Return the nearest training images in feature space by cosine distance (scikit-learn's NearestNeighbors).

    Parameters
    ----------
    query : array (n, features), see :func:`features`.
    train : array (m, features); pass those rows only that may be shown, for instance the correctly classified.
    count : how many neighbours, at most m.

    Returns
    -------
    Two arrays (n, count), nearest first: the row in ``train`` (int) and the distance (0 the same direction, 1
    orthogonal). ValueError from scikit-learn if ``train`` has fewer than ``count`` rows.
    """
    distances, rows = NearestNeighbors(n_neighbors=count, metric="cosine").fit(train).kneighbors(query)
    return rows, distances
