"""Four of Augmentor's operations with less work."""

from types import SimpleNamespace

import numpy as np
from Augmentor.Operations import RandomBrightness, RandomContrast, RotateRange, Zoom
from PIL import Image, ImageEnhance

_LIGHT = {RandomBrightness: ImageEnhance.Brightness, RandomContrast: ImageEnhance.Contrast}
_ALL_VALUES = Image.frombytes("RGB", (256, 1), bytes(value for value in range(256) for _ in "RGB"))


def perform(operation, image):
    """Return the image that ``operation`` makes of ``image``, drawing the same random numbers.

    ``RotateRange`` (``Pipeline.rotate``) and ``Zoom`` transform the whole image and keep its middle; here only the middle
    is computed. ``RandomBrightness`` and ``RandomContrast`` blend each pixel with one grey; here the 256 possible values
    are blended, and the image is changed by that table. The bytes are the same, but for a zoom: some of its values, 1 in
    800 of photographs, differ by 1 or 2, because Pillow keeps the corners of a region in single precision. All other
    operations, also those derived from these, are performed as they are.

    Parameters
    ----------
    operation : Augmentor.Operations.Operation.
    image : PIL image of any mode. An operation may paint on it.

    Returns
    -------
    PIL image.
    """
    if type(operation) in _LIGHT and image.mode == "RGB":
        grey = _LIGHT[type(operation)](image).degenerate.getpixel((0, 0))
        factor = np.random.uniform(operation.min_factor, operation.max_factor)
        blended = Image.blend(Image.new("RGB", _ALL_VALUES.size, grey), _ALL_VALUES, factor)
        return image.point(list(blended.tobytes()[::3]) * 3)
    if type(operation) in (RotateRange, Zoom):
        image = _ComputedWhereCropped(image)
    return operation.perform_operation([image])[0]


class _ComputedWhereCropped(Image.Image):
    """An image whose ``rotate`` and ``resize`` wait for the ``crop`` that follows, and compute those pixels alone."""

    def __init__(self, image):
        vars(self).update(vars(image))

    def transform(self, size, method, matrix, *how, **more):
        """Return what Augmentor needs of the turned image: its ``size`` and its ``crop``."""
        def turned(size, matrix):
            return Image.Image.transform(self, size, method, matrix, *how, **more)

        def crop(box):
            if size[0] % 2 and size[1] % 2:
                # The middle pixel turns in place, and the last bit of its coordinates can change how it is rounded.
                return turned(size, matrix).crop(box)
            left, upper, right, lower = box
            a, b, c, d, e, f = matrix
            return turned((right - left, lower - upper), (a, b, a * left + b * upper + c, d, e, d * left + e * upper + f))

        return SimpleNamespace(size=size, crop=crop)

    def resize(self, size, *how, **more):
        """Return what Augmentor needs of the resized image: its ``size`` and its ``crop``."""
        def crop(box):
            left, upper, right, lower = box
            if left < 0 or upper < 0:  # a factor below 1: Augmentor's black frame
                return Image.Image.resize(self, size, *how, **more).crop(box)
            x, y = self.width / size[0], self.height / size[1]
            return Image.Image.resize(self, (right - left, lower - upper), *how, **more,
                                      box=(left * x, upper * y, right * x, lower * y))

        return SimpleNamespace(size=size, crop=crop)
