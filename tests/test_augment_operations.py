"""The operations that are made with less work give what Augmentor's own give."""

import random

import numpy as np
import pytest
from Augmentor.Operations import RandomBrightness, RandomContrast, RotateRange, Zoom
from PIL import Image

from helpers.augment_operations import perform


def noise(size):
    return Image.fromarray(np.random.default_rng(0).integers(0, 256, (size[1], size[0], 3), dtype=np.uint8))


def both(operation, image, seed):
    """Return the image that Augmentor makes and ours, each with the random states of that seed."""
    results = []
    for function in (lambda: operation.perform_operation([image])[0], lambda: perform(operation, image)):
        random.seed(seed)
        np.random.seed(seed)
        results.append(function())
    return results


@pytest.mark.parametrize("size", [(180, 180), (64, 48), (30, 78), (48, 65), (31, 77), (6, 10)])
def test_a_turn_gives_the_same_bytes(size):
    image, turn = noise(size), RotateRange(1, 25, 25)
    for seed in range(40):
        theirs, ours = both(turn, image, seed)
        assert (ours.size, ours.mode, ours.tobytes()) == (theirs.size, theirs.mode, theirs.tobytes())


def test_a_turn_computes_only_what_is_kept(monkeypatch):
    areas, transform = [], Image.Image.transform

    def measured(image, size, *how, **more):
        areas.append(size[0] * size[1])
        return transform(image, size, *how, **more)
    monkeypatch.setattr(Image.Image, "transform", measured)
    for seed in range(10):
        both(RotateRange(1, 25, 25), noise((90, 90)), seed)
    theirs, ours = areas[::2], areas[1::2]
    assert min(theirs) > 90 * 90 > max(ours)


@pytest.mark.parametrize("factors", [(1.05, 1.25), (1, 1), (0.5, 1), (1, 4)])
@pytest.mark.parametrize("size", [(180, 180), (31, 78), (64, 49), (6, 10)])
def test_a_zoom_gives_the_same_image_to_within_rounding(size, factors):
    image, zoom, differences = noise(size), Zoom(1, *factors), []
    for seed in range(20):
        theirs, ours = both(zoom, image, seed)
        assert (ours.size, ours.mode) == (theirs.size, theirs.mode)
        differences.append(np.abs(np.asarray(ours, int) - np.asarray(theirs, int)))
    assert np.max(differences) <= 2 and np.mean(np.array(differences) > 0) < 0.005


def test_a_zoom_computes_only_what_is_kept(monkeypatch):
    sizes, resize = [], Image.Image.resize

    def measured(image, size, *how, **more):
        sizes.append(size)
        return resize(image, size, *how, **more)
    monkeypatch.setattr(Image.Image, "resize", measured)
    both(Zoom(1, 1.5, 1.5), noise((90, 60)), 0)
    assert sizes == [(135, 90), (90, 60)]


@pytest.mark.parametrize("light", [RandomBrightness, RandomContrast])
def test_light_gives_the_same_bytes(light):
    image = noise((30, 20)).point(lambda value: value // 2 + 60)
    for low, high in ((0, 0), (0.93, 0.93), (1, 1), (1.07, 1.07), (3, 3), (0.5, 1.5)):
        for picture in (image, image.convert("L")):
            theirs, ours = both(light(1, low, high), picture, 0)
            assert (ours.mode, ours.tobytes()) == (theirs.mode, theirs.tobytes())
        assert np.random.uniform() == pytest.approx(0.7151893663724195)  # as after one draw of seed 0


def test_a_learners_own_version_of_an_operation_is_performed_as_written():
    class Upside(RotateRange):
        def perform_operation(self, images):
            return [image.rotate(170, expand=True) for image in images]
    image = noise((10, 8))
    assert perform(Upside(1, 5, 5), image).tobytes() == image.rotate(170, expand=True).tobytes()
