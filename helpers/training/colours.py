"""Take the colours of a collection away as a clue: the augmentation that notebook 04 writes, for the others."""

import tensorflow as tf


def exchange_colours(images, seed, amount):
    """Return a batch in which each image has moved towards the colours of another one.

    Mean and spread of each channel move (colour transfer after Reinhard and others, 2001, in RGB) a part of the way
    that is drawn for each image: with ``amount`` 0.5 any part from 0 to 1, with 1 all the way, with 0 not at all.
    ``images`` are float32 (batch, height, width, 3) in [0, 255], ``seed`` is int32 (2,).
    """
    # whose colours, and how far
    order = tf.random.experimental.stateless_shuffle(tf.range(tf.shape(images)[0]), seed)
    part = tf.random.stateless_uniform(tf.shape(images[:, :1, :1, :1]), seed) + 2 * amount - 1
    part = tf.clip_by_value(part, 0, 1)
    # mean and spread of each channel
    mean = tf.reduce_mean(images, (1, 2), keepdims=True)
    spread = tf.math.reduce_std(images, (1, 2), keepdims=True) + 4
    new_mean = mean + part * (tf.gather(mean, order) - mean)
    new_spread = spread + part * (tf.gather(spread, order) - spread)
    return tf.clip_by_value((images - mean) / spread * new_spread + new_mean, 0, 255)
