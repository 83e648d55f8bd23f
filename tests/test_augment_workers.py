"""One draw of a pipeline: the written probabilities, the same draw for the same seed, nothing else changed."""

import os
import random
from collections import Counter

import Augmentor
import numpy as np
from PIL import Image

from helpers import augment_workers
from helpers.augment_operations import perform
from helpers.augment_workers import apply, shared

PROBABILITIES = [0.05, 0.1, 0.25, 0.5, 0.75, 0.95, 1.0]


def count_calls(operation, calls):
    perform = operation.perform_operation

    def counted(images):
        calls[operation] += 1
        return perform(images)
    operation.perform_operation = counted


def all_probabilities():
    pipeline, known = Augmentor.Pipeline(), iter(PROBABILITIES)
    pipeline.flip_left_right(next(known))
    pipeline.rotate(next(known), 10, 10)
    pipeline.zoom(next(known), 1.1, 1.3)
    pipeline.rotate_random_90(next(known))
    pipeline.random_brightness(next(known), 0.9, 1.1)
    pipeline.random_color(next(known), 0.9, 1.1)
    pipeline.random_contrast(next(known), 0.9, 1.1)
    return pipeline


def deviations(calls, pipeline, draws):
    """How far each operation's count is from what its probability says, in standard deviations."""
    deviation = []
    for operation in pipeline.operations:
        p = operation.probability
        deviation.append((calls[operation] - draws * p) / max((draws * p * (1 - p)) ** 0.5, 1e-9))
    return np.abs(deviation)


def test_operations_apply_with_the_written_probability(monkeypatch):
    draws, ours, theirs = 10_000, Counter(), Counter()
    image, pipeline = Image.new("RGB", (8, 8), "salmon"), all_probabilities()

    def counted(operation, image):
        ours[operation] += 1
        return perform(operation, image)
    monkeypatch.setattr(augment_workers, "perform", counted)
    for number in range(draws):
        apply(pipeline, image, number)
    assert deviations(ours, pipeline, draws).max() < 4
    for operation in pipeline.operations:
        count_calls(operation, theirs)
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


def process_and_setting(name):
    return os.getpid(), os.environ.get(name)


def test_workers_inherit_their_settings_and_the_caller_keeps_his(monkeypatch):
    monkeypatch.delenv("PILLOW_BLOCKS_MAX", raising=False)
    monkeypatch.setenv("OPENBLAS_NUM_THREADS", "3")
    before = dict(os.environ)
    for name, wanted in (("PILLOW_BLOCKS_MAX", "8"), ("OPENBLAS_NUM_THREADS", "3")):
        seen = set(shared(process_and_setting, [name] * 4, 2))
        assert {setting for process, setting in seen if process != os.getpid()} == {wanted}
    assert dict(os.environ) == before
