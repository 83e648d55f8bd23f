"""Take the colours of a collection away as a clue: the augmentation that notebook 04 writes, for the others.

Images are float32 (batch, height, width, 3) in [0, 255].
"""

import tensorflow as tf


def colours(images):
    """Return the mean and the spread of each channel of each image: float32 (batch, 1, 1, 3) each."""
    spread = tf.math.reduce_std(images, (1, 2), keepdims=True)
    return tf.reduce_mean(images, (1, 2), keepdims=True), spread + 4


def in_colours_of(images, others):
    """Return images with the colours of other images (after Reinhard and others, 2001, in RGB), not clipped."""
    mean, spread = colours(images)
    new_mean, new_spread = colours(others)
    return (images - mean) / spread * new_spread + new_mean


def exchange_colours(images, seed, amount):
    """Return a batch in which each image has moved towards the colours of another one.

    How far is drawn for each image: with ``amount`` 0.5 any part of the way, with 1 all of it, with 0 nothing.
    ``seed`` is int32 (2,).
    """
    count = tf.shape(images)[0]
    order = tf.random.experimental.stateless_shuffle(tf.range(count), seed)
    part = tf.random.stateless_uniform((count, 1, 1, 1), seed) + 2 * amount - 1
    part = tf.clip_by_value(part, 0, 1)
    changed = in_colours_of(images, tf.gather(images, order))
    return tf.clip_by_value(images + part * (changed - images), 0, 255)
