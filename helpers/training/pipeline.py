"""From a manifest to batches: decode once, keep the pixels as uint8, shuffle images, change them on the fly."""

import hashlib
import os
from pathlib import Path

import numpy as np
import pandas as pd
import tensorflow as tf
from PIL import Image, ImageOps

from helpers.data import images

MEMORY_BUDGET = 2 * 1024**3  # bytes of pixels kept in memory; a larger set is kept in a file beside the run
PART = 1024  # images decoded before they are copied into place
WORKERS = os.cpu_count() or 1  # batches made at once, and kept ready


def load(table, size, cache_dir, keep_aspect=False, budget=MEMORY_BUDGET):
    """Decode and resize the images of n manifest rows, once: uint8 array (n, size, size, 3), in the order of ``table``.

    They are resized with anti-aliasing (Lanczos); ``keep_aspect`` fits an image into the square, on black, instead of
    squeezing it. Pixels of more than ``budget`` bytes are kept in ``cache_dir`` (a ``.npy`` file read through
    ``mmap``). OSError, with its path, if a file is gone or broken.
    """
    shape = (len(table), size, size, 3)
    paths = table["path"].tolist()
    if np.prod(shape) <= budget:
        return _decode(paths, np.empty(shape, np.uint8), keep_aspect)
    key = hashlib.sha256("\n".join([*table["sha256"], str(shape), str(keep_aspect)]).encode()).hexdigest()[:12]
    file = Path(cache_dir) / f"pixels-{key}.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(".part")  # what a killed run leaves, the next one overwrites
        _decode(paths, np.lib.format.open_memmap(part, "w+", np.uint8, shape), keep_aspect).flush()
        part.replace(file)
    return np.load(file, mmap_mode="r")


def one_hot(table, classes):
    """Return the labels of n manifest rows as a float32 array (n, len(classes)) of zeros and ones."""
    return (table["label"].to_numpy()[:, None] == np.array(classes)).astype("float32")


def batches(pixels, targets, batch_size, seed=None, augment=None, weights=None):
    """Return a tf.data.Dataset of float32 images (batch, height, width, 3) in [0, 255] and targets (batch, classes).

    ``pixels`` (uint8, n, height, width, 3; in memory or memory-mapped) and ``targets`` (float32, n, classes) come in
    batches of ``batch_size``, the last may be smaller. ``seed`` None keeps the order (evaluation); a number shuffles
    images anew each epoch (training), by ``seed`` and NumPy's global state when it begins (set by ``backup.Backup``).
    ``augment``, in training only, is a function of (float32 images in [0, 255], int32 seed of shape (2,)) to such
    images. ``weights`` (n) says how much each image counts in the loss; it is the third part of a batch.
    """
    others = [targets] if weights is None else [targets, np.asarray(weights, "float32")]
    steps = -(-len(pixels) // batch_size)
    last = len(pixels) - (steps - 1) * batch_size

    def draw():
        if seed is None:
            return np.arange(len(pixels)), np.zeros((steps, 2), "int32")
        random = np.random.default_rng([seed, np.random.randint(2**31)])
        return random.permutation(len(pixels)), random.integers(2**31, size=(steps, 2)).astype("int32")

    def epoch(_):
        order, seeds = tf.numpy_function(draw, [], [tf.int64, tf.int32])
        indices = tf.data.Dataset.from_tensor_slices(tf.ensure_shape(order, len(pixels))).batch(batch_size)
        return tf.data.Dataset.zip(indices, tf.data.Dataset.from_tensor_slices(tf.ensure_shape(seeds, (steps, 2))))

    def pick(index, seed):
        rows = tf.numpy_function(lambda i: pixels[i], [index], tf.uint8, stateful=False)
        images = tf.cast(tf.ensure_shape(rows, (None, *pixels.shape[1:])), tf.float32)
        return seed, images, *(tf.gather(part, index) for part in others)

    def change(seed, images, *rest):
        # Each branch knows its number of images: where TensorFlow does not, it logs a warning at every epoch.
        def of(count):
            return lambda: augment(tf.ensure_shape(images, (count, *pixels.shape[1:])), seed)

        return tf.cond(tf.shape(images)[0] == batch_size, of(batch_size), of(last)), *rest

    # tf.data tunes itself in a thread that sleeps up to a minute, and an epoch that ends waits for it to wake: with so
    # few steps that cost 40% of an epoch on 2 cores. What it would tune is written down here instead.
    fixed = tf.data.Options()
    fixed.autotune.enabled = False
    data = tf.data.Dataset.range(1).with_options(fixed).flat_map(epoch)
    data = data.apply(tf.data.experimental.assert_cardinality(steps)).map(pick, num_parallel_calls=WORKERS)
    # One after the other: the layers in ``seeded`` share the state that it sets.
    return data.map(change if augment else lambda seed, *batch: batch).prefetch(WORKERS)


def random_states(layer):
    """Return the variables that the random numbers of a Keras layer or model come from, each of two whole numbers."""
    known = {id(weight) for weight in layer.weights}
    return [variable for variable in layer.variables if id(variable) not in known]


def seeded(layer, images, seed):
    """Return what a random Keras layer, or a ``Sequential`` of some, makes of ``images`` in training.

    What is drawn depends on ``seed`` (int32, shape (2,)) alone, and differs from layer to layer.
    """
    for number, state in enumerate(random_states(layer)):
        state.assign(tf.cast(seed + [number, 0], state.dtype))
    return layer(images, training=True)


def average_views(network, pixels, all_views=True):
    """Return the network's probabilities (n, classes) for ``pixels`` (n, size, size, 3; 0 to 255).

    They are the mean over the four quarter turns of each image and of its mirror image (test-time augmentation);
    with ``all_views`` False, of the image alone.
    """
    sides, turns = ([1, -1], range(4)) if all_views else ([1], [0])
    chances = []
    for start in range(0, len(pixels), 8):
        images = pixels[start : start + 8]
        views = [np.rot90(images[:, :, ::side], turn, axes=(1, 2)) for side in sides for turn in turns]
        found = network.predict_on_batch(np.concatenate(views).astype("float32"))
        chances.append(np.mean(np.split(found, len(views)), axis=0))
    return np.concatenate(chances)


def _decode(paths, pixels, keep_aspect):
    """Fill ``pixels`` with the decoded images, a part at a time, so that only a part is held twice."""
    size, shape = pixels.shape[1], ImageOps.pad if keep_aspect else Image.Image.resize

    def read(path):
        try:
            image = images.open_rgb(path, draft=(2 * size, 2 * size))
        except images.UnreadableImage as error:
            raise OSError(f"{error}; run notebook 01 again (02, if it is an augmented image).") from error
        return np.asarray(shape(image, (size, size), Image.Resampling.LANCZOS))

    for start in range(0, len(paths), PART):
        pixels[start : start + PART] = images.read_files(read, paths[start : start + PART])
    return pixels


def weights(table, balance, melanoma=1):
    """Return how much each of n training images counts in the loss: float (n), mean 1.

    An image counts ``share ** -balance``, where share is how much of training is of its class and collection, so that 0
    weighs all images alike and 1 all classes of all collections; a melanoma counts ``melanoma`` times that.
    """
    cells = table["label"] + "\n" + table["collection"]
    weight = cells.map(cells.value_counts(normalize=True)) ** -balance
    weight *= np.where(table["label"] == "melanoma", melanoma, 1)
    return (weight / weight.mean()).to_numpy()


def weights_by_layer(network):
    """Return the layers of a network that have weights: kind, weights (a count) and their share of all, by name."""
    rows = {layer.name: (type(layer).__name__, layer.count_params()) for layer in network.layers}
    table = pd.DataFrame.from_dict(rows, "index", columns=["kind", "weights"]).query("weights > 0")
    return table.assign(share=table["weights"] / network.count_params())
