"""One draw of a pipeline: the written probabilities, the same draw for the same seed, nothing else changed."""

import random

import Augmentor
import numpy as np
from PIL import Image

from helpers.augment_workers import apply

PROBABILITIES = [0.05, 0.1, 0.25, 0.5, 0.75, 0.95, 1.0]


def count_calls(operation, calls):
    perform = operation.perform_operation

    def counted(images):
        calls[operation] = calls.get(operation, 0) + 1
        return perform(images)
    operation.perform_operation = counted


def counting_pipeline(calls):
    pipeline, known = Augmentor.Pipeline(), iter(PROBABILITIES)
    pipeline.flip_left_right(next(known))
    pipeline.rotate(next(known), 10, 10)
    pipeline.zoom(next(known), 1.1, 1.3)
    pipeline.rotate_random_90(next(known))
    pipeline.random_brightness(next(known), 0.9, 1.1)
    pipeline.random_color(next(known), 0.9, 1.1)
    pipeline.random_contrast(next(known), 0.9, 1.1)
    for operation in pipeline.operations:
        count_calls(operation, calls)
    return pipeline


def deviations(calls, pipeline, draws):
    """How far each operation's count is from what its probability says, in standard deviations."""
    deviation = []
    for operation in pipeline.operations:
        p = operation.probability
        deviation.append((calls[operation] - draws * p) / max((draws * p * (1 - p)) ** 0.5, 1e-9))
    return np.abs(deviation)


def test_operations_apply_with_the_written_probability():
    draws, ours, theirs = 10_000, {}, {}
    image = Image.new("RGB", (8, 8), "salmon")
    pipeline = counting_pipeline(ours)
    for number in range(draws):
        apply(pipeline, image, number)
    assert deviations(ours, pipeline, draws).max() < 4
    pipeline = counting_pipeline(theirs)
    random.seed(0)
    for _ in range(draws):
        pipeline._execute_with_array(np.asarray(image))
    assert (deviations(theirs, pipeline, draws)[[1, 3, 5]] > 4).any(), "Augmentor no longer rounds its draw"


def test_apply_repeats_and_leaves_random_states_and_image():
    pipeline = Augmentor.Pipeline()
    pipeline.random_erasing(1.0, 0.5)  # paints on the image that it is given
    pipeline.random_brightness(1.0, 0.8, 1.2)
    image = Image.effect_mandelbrot((20, 20), (-2, -1, 1, 1), 50).convert("RGB")
    pixels = image.tobytes()
    states = random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2]
    draws = [apply(pipeline, image, seed).tobytes() for seed in (1, 1, 2)]
    assert draws[0] == draws[1] != draws[2]
    assert states == (random.getstate(), np.random.get_state()[1].tolist(), np.random.get_state()[2])
    assert image.tobytes() == pixels
