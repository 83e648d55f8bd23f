"""Open images: the one way in which audit, figures and training read a picture."""

import contextlib
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageCms, ImageOps

from helpers import messages

SUFFIXES = {".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp"}
SUFFIXES |= {".jp2", ".ppm", ".pgm", ".pbm", ".pnm"}
FORMATS = ["JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "JPEG2000", "PPM"]
LARGE = 2**24  # pixels; of larger pictures one is decoded at a time, or a few would fill the memory


class UnreadableImage(OSError):
    """A file that is no picture, or a broken one; the message names the file and the decoder's reason."""


def open_rgb(path, draft=None):
    """Return the first picture in a file as 8-bit RGB, upright (EXIF), its transparent parts laid on white.

    Grey values of 16 or 32 bits and floats are scaled from the smallest of the ranges 0 to 1 (floats), 0 to 255 and 0
    to 65,535 that holds them all, else from 0 to their maximum. With ``draft``, (width, height) in pixels, a JPEG is
    decoded at a half, a quarter or an eighth of its size, but no smaller: faster, for what is resized afterwards.
    UnreadableImage if the file is no regular one, cannot be decoded, or if its content is none of ``FORMATS``.
    """
    try:
        with _opened(path) as image:
            if draft:
                image.draft("RGB", draft)
            with contextlib.suppress(Exception):  # broken EXIF is no broken picture; broken pixels are met below
                ImageOps.exif_transpose(image, in_place=True)
            image.load()  # before the file is closed
            return _rgb(image)
    except Exception as error:  # a decoder given a broken file raises anything at all
        raise UnreadableImage(f"{path}: {error or type(error).__name__}") from error


def read_files(read, paths):
    """Return ``read(path)`` of every path, in threads (Pillow decodes outside Python's lock), without warnings.

    Pictures of more than ``LARGE`` pixels are read one at a time. What takes longer says how far it is.
    """
    with warnings.catch_warnings(), ThreadPoolExecutor(os.cpu_count()) as many, ThreadPoolExecutor(1) as one:
        warnings.simplefilter("ignore")
        tasks = [(one if _pixels(path) > LARGE else many).submit(read, path) for path in paths]
        return [task.result() for task in messages.progress(tasks, "Reading images")]


def _opened(path):
    if Path(path).exists() and not Path(path).is_file():  # a named pipe would be waited for without end
        raise OSError("not a regular file")
    return Image.open(path, formats=FORMATS)


def _pixels(path):
    try:
        with _opened(path) as image:
            return image.width * image.height
    except Exception:  # open_rgb will say what is wrong with it
        return 0


def _rgb(image):
    if image.mode[0] in "IF":
        values = np.nan_to_num(np.asarray(image, np.float32), posinf=0).clip(min=0)
        ranges = [1] * (image.mode == "F") + [255, 65535]
        top = next((top for top in ranges if values.max() <= top), values.max())
        return Image.fromarray((values * (255 / top)).round().astype(np.uint8)).convert("RGB")
    if image.mode == "LAB":
        profiles = [ImageCms.createProfile(name) for name in ("LAB", "sRGB")]
        return ImageCms.profileToProfile(image, *profiles, outputMode="RGB")
    if image.has_transparency_data:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    return image if image.mode == "RGB" else image.convert("RGB")
