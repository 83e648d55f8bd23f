"""From a manifest to batches: decode once, keep the pixels as uint8, shuffle images, change them on the fly."""

import hashlib
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

MEMORY_BUDGET = 2 * 1024**3  # bytes of pixels kept in memory; a larger set is kept in a file beside the run
WORKERS = os.cpu_count() or 1  # batches made at once, and kept ready


def load(table, size, cache_dir, keep_aspect=False, budget=MEMORY_BUDGET):
    """Decode and resize the images of a manifest, once.

    Parameters
    ----------
    table : manifest rows, n of them; grey, palette and transparent files become RGB.
    size : side of the square result in pixels.
    cache_dir : folder for the pixels of a set larger than ``budget`` bytes (a ``.npy`` file read through ``mmap``).
    keep_aspect : False squeezes the image into the square; True fits it in, on black.
    budget : bytes of pixels that may be held in memory.

    Returns
    -------
    uint8 array of shape (n, size, size, 3), in the order of ``table``; resized with anti-aliasing (Lanczos).

    Raises
    ------
    OSError
        If a file is gone or cannot be decoded, with its path.
    """
    shape = (len(table), size, size, 3)
    paths = table["path"].tolist()
    if np.prod(shape) <= budget:
        return _decode(paths, np.empty(shape, np.uint8), keep_aspect)
    key = hashlib.sha256("\n".join([*table["sha256"], str(shape), str(keep_aspect)]).encode()).hexdigest()[:12]
    file = Path(cache_dir) / f"pixels-{key}.npy"
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        part = file.with_suffix(f".part{os.getpid()}")
        _decode(paths, np.lib.format.open_memmap(part, "w+", np.uint8, shape), keep_aspect).flush()
        os.replace(part, file)
    return np.load(file, mmap_mode="r")


def one_hot(table, classes):
    """Return the labels of n manifest rows as a float32 array (n, len(classes)) of zeros and ones."""
    return (table["label"].to_numpy()[:, None] == np.array(classes)).astype("float32")


def batches(images, targets, batch_size, seed=None, augment=None):
    """Return a tf.data pipeline of (images, targets) batches.

    Parameters
    ----------
    images : uint8 array (n, height, width, 3), in memory or memory-mapped.
    targets : float32 array (n, classes).
    batch_size : images a batch; the last batch may be smaller. Several devices may need all to be a little smaller.
    seed : None keeps the order (evaluation); a number shuffles images anew each epoch (training), the same way for
        the same number.
    augment : function of (float32 images, int32 seed of shape (2,)) -> images, see :func:`augmenter`; training only.

    Returns
    -------
    tf.data.Dataset of float32 images (batch, height, width, 3) in [0, 255] and targets (batch, classes).
    """
    def pick(index):
        rows = tf.numpy_function(lambda i: images[i], [index], tf.uint8, stateful=False)
        return tf.cast(tf.ensure_shape(rows, (None, *images.shape[1:])), tf.float32), tf.gather(targets, index)

    def change(batch, number):
        # Each branch knows its number of images: where TensorFlow does not, it logs a warning at every epoch.
        def of(count):
            return lambda: augment(tf.ensure_shape(batch[0], (count, *images.shape[1:])), number)

        number = tf.cast(number % 2**31, tf.int32)
        return tf.cond(tf.shape(batch[0])[0] == size, of(size), of(last)), batch[1]

    # tf.data tunes itself in a thread that sleeps up to a minute, and an epoch that ends waits for it to wake: with so
    # few steps that cost 40 % of an epoch on 2 cores. What it would tune is written down here instead.
    fixed = tf.data.Options()
    fixed.autotune.enabled = False
    size = _even(len(images), batch_size)
    last = len(images) % size or size
    order = tf.data.Dataset.range(len(images)).with_options(fixed)
    if seed is not None:
        order = order.shuffle(len(images), seed=seed, reshuffle_each_iteration=True)
    data = order.batch(size).map(pick, num_parallel_calls=WORKERS)
    if augment is not None:
        numbers = tf.data.Dataset.random(seed=seed, rerandomize_each_iteration=True).batch(2)
        data = tf.data.Dataset.zip(data, numbers).map(change, num_parallel_calls=WORKERS)
    return data.prefetch(WORKERS)


def augmenter(crop=0.3, light=0.15):
    """Return a function that changes each image of a batch at random, with one resampling.

    A lesion has no up: quarter turns and flips show the same lesion. A crop of random size and place, resized to the
    whole, zooms and shifts it and leaves its shape alone; light scales brightness, contrast and saturation, and leaves
    the hue, which is diagnostic, alone.

    Parameters
    ----------
    crop : largest share of the side that is cut away, 0 to less than 1.
    light : largest relative change to either side, 0 to 1.

    Returns
    -------
    Function of float32 images (n, size, size, 3) in [0, 255] and an int32 seed of shape (2,) to images of the same
    shape and range; the same seed gives the same images.
    """
    def change(images, seed):
        n, size = images.shape[0] or tf.shape(images)[0], images.shape[1]
        draw = tf.random.stateless_uniform((9, n), seed, -1.0, 1.0)
        # With the flips below, mirroring a whole batch along its diagonal or not makes all eight views equally likely.
        images = tf.cond(draw[0, 0] > 0, lambda: tf.transpose(images, (0, 2, 1, 3)), lambda: images)
        side = 1 - crop * (1 + draw[1]) / 2
        middle = 0.5 + draw[2:4] * (1 - side) / 2
        reach = tf.sign(draw[4:6]) * side / 2  # a box from bottom to top is a flipped image
        # What rounding puts outside the image would be black.
        boxes = tf.clip_by_value(tf.concat([middle - reach, middle + reach], axis=0), 1e-6, 1 - 1e-6)
        images = tf.image.crop_and_resize(images, tf.transpose(boxes), tf.range(n), (size, size))
        bright, contrast, colour = tf.unstack(1 + light * draw[6:9, :, None, None])
        mix = contrast * (colour * tf.eye(3) + (1 - colour) / 3)  # contrast, and saturation about the grey of a pixel
        pixels = tf.reshape(images, (n, size * size, 3))
        mean = tf.reduce_mean(pixels, axis=(1, 2), keepdims=True)
        pixels = tf.matmul(pixels, mix) + mean * (bright - contrast)
        return tf.reshape(tf.clip_by_value(pixels, 0.0, 255.0), (n, size, size, 3))

    return change


def _even(count, batch_size):
    """Return the largest batch size that several devices can share, with an image for each in the last batch too.

    Keras wants equal shares in the first batch. Of the last one TensorFlow gives each device the same share, rounded
    up, while images are left; a device without one may fail, or make the weights NaN in batch normalisation.
    """
    devices = tf.distribute.get_strategy().num_replicas_in_sync
    sizes = range(devices, min(count, batch_size) + 1, devices)
    rests = {size: count % size for size in sizes}
    shared = [size for size, rest in rests.items() if rest == 0 or rest > (devices - 1) * -(-rest // devices)]
    return max(shared or sizes, default=batch_size)


def _decode(paths, pixels, keep_aspect):
    size = pixels.shape[1]

    def fill(item):
        place, path = item
        try:
            with Image.open(path) as file:
                file.draft("RGB", (2 * size, 2 * size))
                pixels[place] = np.asarray(_square(file.convert("RGB"), size, keep_aspect))
        except OSError as error:
            raise OSError(f"{path} cannot be read as an image ({error}); make the manifest again with notebook 01, "
                          "which flags it.") from error

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(fill, enumerate(paths)):
            pass
    return pixels


def _square(image, size, keep_aspect):
    if not keep_aspect:
        return image.resize((size, size), Image.Resampling.LANCZOS)
    image.thumbnail((size, size), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (size, size))
    square.paste(image, ((size - image.width) // 2, (size - image.height) // 2))
    return square
