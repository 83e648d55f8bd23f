"""Draw pictures that look like dermoscopy: a vocabulary of structures, and one small function for each kind of them.

Names follow Kittler et al., "Standardization of terminology in dermoscopy/dermatoscopy", J Am Acad Dermatol 2016.
The drawings serve to try methods out; they teach nothing medical.
"""

import math

import numpy as np
from PIL import Image, ImageColor, ImageDraw, ImageFilter
from scipy import ndimage
from scipy.special import expit

SIZE, CANVAS, UNIT = 180, 256, 100  # pixels: side of a photograph, of the skin it shows a part of, length of 1
SKIN = ["#efcdc4", "#ecc7b5", "#e6bba6", "#e3aeae", "#dba695", "#cf9d80", "#b07e60", "#8a5d45"]
STRAY = 0.01  # chance of a structure that does not belong to the diagnosis


def draw(recipe, lesion_rng, photo_rng, clinic):
    """Draw one photograph of a lesion, as a clinic takes it: a uint8 array (180, 180, 3).

    ``recipe`` has ``colours`` (hex, one is chosen), ``wave`` (bulges), ``jag`` (teeth), ``bites`` (moth-eaten),
    ``soft`` (width of the border) and ``found``: the chance of each of ``STRUCTURES`` that belongs there, in drawing
    order. Of the NumPy Generators, ``lesion_rng`` settles the lesion (the same in all its photographs), ``photo_rng``
    angle, zoom, light and artefacts. ``clinic`` is a key of ``CLINICS``: whose colour and frame the photograph has.
    """
    rng, (light, artefacts) = photo_rng, CLINICS[clinic]
    image = _light(_view(_lesion(recipe, lesion_rng), rng), rng, **light)
    for add, chance in artefacts.items():
        if rng.random() < chance:
            add(image, rng)
    image += 0.01 * rng.standard_normal(image.shape, np.float32)
    return (np.clip(np.moveaxis(image, 0, -1), 0, 1) * 255 + 0.5).astype(np.uint8)


def _paint(image, colour, alpha):
    """Lay ``colour`` over ``image`` (3, height, width) in place where ``alpha`` (0..1 per pixel) says."""
    image += alpha * (_rgb(colour) - image)


def _stain(image, colour, alpha):
    """Dye ``image`` in place: pigment and blood absorb light (Beer-Lambert), so the skin shines through."""
    image *= np.exp(alpha * np.log(_rgb(colour)))


def _rgb(colour):
    return np.array(ImageColor.getrgb(colour), np.float32)[:, None, None] / 255


def _noise(rng, cells, octaves=1, size=CANVAS):
    """Smooth noise, about standard normal, with ``cells`` bumps along a side; more octaves make it rougher."""
    total = 0
    for octave in range(octaves):
        grid = Image.fromarray(rng.standard_normal((cells * 2**octave,) * 2, np.float32))
        total += 0.6**octave * np.asarray(grid.resize((size // 2, size // 2), Image.Resampling.BICUBIC))
    smooth = Image.fromarray(total * (1.4 if octaves == 1 else 1.15))
    return np.asarray(smooth.resize((size, size), Image.Resampling.BILINEAR))


def _mask(draw_on, size=CANVAS, blur=0.8):
    """Return in 0..1 what ``draw_on(ImageDraw)`` draws, with soft edges."""
    mask = Image.new("L", (size, size))
    draw_on(ImageDraw.Draw(mask))
    return np.asarray(mask.filter(ImageFilter.GaussianBlur(blur)), np.float32) / 255


def _along(angle):
    """Distance of every pixel from the centre along a direction, in units."""
    steps = (np.arange(CANVAS, dtype=np.float32) - CANVAS / 2) / UNIT
    return steps * math.cos(angle) + steps[:, None] * math.sin(angle)


def _lesion(recipe, rng):
    """Return skin (3, CANVAS, CANVAS; 0..1) with a lesion on it: outline, base colour, structures."""
    skin = np.ones((3, CANVAS, CANVAS), np.float32) * _rgb(rng.choice(SKIN))
    _stain(skin, "#d98080", np.clip(0.25 * _noise(rng, 9, 4) + 0.2, 0, 1.2) * rng.uniform(0, 0.9))
    _stain(skin, "#cfa078", np.clip(0.25 * _noise(rng, 10, 3) + 0.1, 0, 1.2) * rng.uniform(0, 0.9))
    skin *= 1 + 0.035 * rng.uniform(0.4, 1.4) * _noise(rng, 32, 3)
    angle, stretch, radius = rng.uniform(0, math.pi), rng.uniform(1, 1.3), rng.uniform(0.45, 0.85)
    depth = 1 - np.hypot(_along(angle) / stretch, _along(angle + math.pi / 2) * stretch) / radius  # 1 centre, 0 border
    depth += recipe.wave * _noise(rng, 6) + recipe.jag * _noise(rng, 20, 2)
    depth -= recipe.bites * np.clip(_noise(rng, 12) - 0.3, 0, 1.5) * (depth < 0.5)
    inside = expit(2 * depth / recipe.soft)
    density = np.clip(rng.uniform(0.5, 1) + 0.2 * _noise(rng, 8, 4), 0.1, 1.5)
    _stain(skin, rng.choice(recipe.colours), inside * density)
    for name in {**recipe.found, **STRUCTURES}:
        if rng.random() < recipe.found.get(name, STRAY):
            function, zone, settings = STRUCTURES[name]
            patchy = rng.uniform(0.75, 1) * np.clip(0.9 + 0.3 * _noise(rng, 6, 2), 0, 1)
            function(skin, patchy * _zone(zone, depth, inside, rng), rng, **settings)
    return skin


def _zone(name, depth, inside, rng):
    """Where a structure lies, 0..1 per pixel: in all of the lesion, its core, its rim, or off to one side."""
    if name == "all":
        return inside
    aside = _along(rng.uniform(0, math.tau)) + rng.uniform(0, 0.3)
    return inside * expit({"core": depth - 0.45, "rim": 0.5 - depth, "side": aside}[name] / 0.1)


def _places(zone, count, rng):
    """Yield random points (x, y) of the canvas, likelier where ``zone`` is high."""
    weights = zone[::4, ::4].ravel().astype(float) ** 2 + 1e-9
    for cell in rng.choice(weights.size, rng.integers(*count), p=weights / weights.sum()):
        row, column = divmod(int(cell), CANVAS // 4)
        yield 4 * column + rng.uniform(0, 4), 4 * row + rng.uniform(0, 4)


def _network(image, zone, rng, colour, period, warp):
    """A honeycomb of lines: the valleys of three plane waves at 60 degrees, bent and thinned by noise."""
    turn, pitch, waves = rng.uniform(0, math.pi), rng.uniform(*period) / UNIT, 0
    first, last = warp * _noise(rng, 8, 3), warp * _noise(rng, 8, 3)
    for third, bend in enumerate((first, first + last, last)):  # the middle wave is the sum of its neighbours
        waves += np.cos(math.tau * (_along(turn + third * math.pi / 3) / pitch + bend))
    _stain(image, colour, zone * expit((-0.4 - waves + 0.3 * _noise(rng, 12)) * 3))


def _spots(image, zone, rng, colour, count, size, lay=_stain, blur=0.9, halo=None):
    def ellipses(canvas):
        for x, y in _places(zone, count, rng):
            wide, high = (rng.uniform(*size) / 2 * rng.uniform(0.8, 1.25, 2)).tolist()
            canvas.ellipse((x - wide, y - high, x + wide, y + high), fill=int(rng.integers(120, 255)))

    if halo:
        _stain(image, halo, zone)
    lay(image, colour, _mask(ellipses, blur=blur))


def _patches(image, zone, rng, colour, cells, cover, edge, lay=_stain):
    """Structureless areas: noise above the level that covers the share ``cover`` of the canvas."""
    noise = _noise(rng, cells, 3)
    lay(image, colour, zone * expit(2 * (noise - np.quantile(noise[::4, ::4], 1 - cover)) / edge))


def _ridges(image, zone, rng, colour, bands):
    """Parallel winding lines, like a fingerprint: the contour lines of smooth noise."""
    _stain(image, colour, zone * expit(np.sin(math.pi * bands * _noise(rng, 5) + _noise(rng, 24)) * 3 - 1.2))


def _vessels(image, zone, rng, colour, count, width, length, forks):
    """Winding lines that send out thinner branches."""

    def trees(canvas):
        twigs = [(x, y, rng.uniform(0, math.tau), width, rng.integers(*length)) for x, y in _places(zone, count, rng)]
        while twigs:
            x, y, angle, thick, steps = twigs.pop()
            for _ in range(steps):
                angle += rng.normal(0, 0.25)
                start, x, y = (x, y), x + 4 * math.cos(angle), y + 4 * math.sin(angle)
                canvas.line([start, (x, y)], fill=85 * thick, width=min(thick, 2))
                if thick > 1 and rng.random() < forks:
                    twigs.append((x, y, angle + rng.choice([-1, 1]) * rng.uniform(0.5, 1), thick - 1, steps // 2))

    _stain(image, colour, _mask(trees) * (0.3 + 0.7 * zone))


def _view(skin, rng):
    """Photograph a part of the skin: turned, zoomed, shifted."""
    angle, zoom = rng.uniform(0, math.tau), rng.uniform(0.75, 1.1)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) * zoom
    offset = CANVAS / 2 + rng.uniform(-18, 18, 2) - turn @ [SIZE / 2, SIZE / 2]
    how = {"output_shape": (SIZE, SIZE), "order": 1, "mode": "mirror"}
    return np.stack([ndimage.affine_transform(channel, turn, offset, **how) for channel in skin])


def _light(image, rng, warm, green, blur):
    """Focus, exposure, white balance (warm to cold, green to magenta), uneven light, contrast."""
    warm, green = rng.normal(warm, 0.04), rng.normal(green, 0.02)
    image = ndimage.gaussian_filter(image, rng.uniform(*blur), axes=(1, 2))
    image *= np.array([1 + warm, 1 + green, 1 - warm], np.float32)[:, None, None] * rng.uniform(0.85, 1.12)
    image *= 1 + 0.05 * _noise(rng, 3, 1, SIZE)
    return np.clip(image, 0, 1.2) ** rng.uniform(0.8, 1.25)


def _hair(image, rng):
    def strands(canvas):
        lean, short = rng.uniform(0, math.pi), rng.random() < 0.3
        for _ in range(rng.integers(20, 60) if short else rng.integers(2, 16)):
            steps = np.arange(4 if short else rng.integers(15, 50))
            angles = lean + rng.normal(0, 0.5) + rng.normal(0, 0.03) * steps
            moves = 8 * np.stack([np.cos(angles), np.sin(angles)], axis=1)
            points = rng.uniform(0, 2 * SIZE, 2) + np.cumsum(moves, axis=0)
            canvas.line(points.ravel().tolist(), fill=int(rng.integers(150, 255)), width=int(rng.integers(2, 4)))

    fine = _mask(strands, 2 * SIZE, 0.5)
    _stain(image, rng.choice(["#1c1412", "#3a2a20", "#5f4a38"]), fine.reshape(SIZE, 2, SIZE, 2).mean((1, 3)))


def _vignette(image, rng):
    rows, columns = np.mgrid[:SIZE, :SIZE] - SIZE / 2 + rng.normal(0, 5, (2, 1, 1))
    _paint(image, "#0b0809", expit((np.hypot(rows, columns) - rng.uniform(88, 120)) / rng.uniform(1, 5)))


# Each structure: what draws it, the zone of the lesion it lies in (see _zone), and how. Lengths in pixels.
STRUCTURES = {
    "network": (_network, "all", {"colour": "#7a5038", "period": (9, 13), "warp": 0.3}),
    "atypical network": (_network, "side", {"colour": "#5a3826", "period": (13, 20), "warp": 0.8}),
    "delicate network": (_network, "rim", {"colour": "#8a6046", "period": (9, 12), "warp": 0.3}),
    "globules": (_spots, "all", {"colour": "#6b4634", "count": (25, 70), "size": (2, 5)}),
    "black dots": (_spots, "side", {"colour": "#3a2a26", "count": (15, 50), "size": (1.5, 4)}),
    "dark blotches": (_patches, "side", {"colour": "#5c4034", "cells": 6, "cover": 0.4, "edge": 0.6}),
    "red blotches": (_patches, "side", {"colour": "#c87470", "cells": 6, "cover": 0.4, "edge": 0.6}),
    "veil": (_patches, "side", {"colour": "#8d97ab", "cells": 5, "cover": 0.4, "edge": 0.9, "lay": _paint}),
    "ovoid nests": (_spots, "all", {"colour": "#59586c", "count": (5, 14), "size": (6, 15), "blur": 2}),
    "vessels": (_vessels, "all", {"colour": "#b8485a", "count": (3, 7), "width": 3, "length": (12, 24), "forks": 0.22}),
    "pearly sheen": (_patches, "core", {"colour": "#ecd6d4", "cells": 5, "cover": 0.5, "edge": 1, "lay": _paint}),
    "strawberry": (_spots, "all", {"colour": "#edb", "count": (50, 90), "size": (3, 5), "lay": _paint, "halo": "#d77"}),
    "scale": (_patches, "all", {"colour": "#efe6da", "cells": 32, "cover": 0.2, "edge": 0.8, "lay": _paint}),
    "scar": (_patches, "core", {"colour": "#ecdcd4", "cells": 4, "cover": 0.8, "edge": 1, "lay": _paint}),
    "lacunae": (_spots, "all", {"colour": "#8a3458", "count": (18, 45), "size": (6, 14), "blur": 1.2}),
    "ridges": (_ridges, "all", {"colour": "#966e50", "bands": 4}),
    "milia-like cysts": (_spots, "all", {"colour": "#f4ead2", "count": (10, 25), "size": (2, 4.5), "lay": _paint}),
    "comedo openings": (_spots, "all", {"colour": "#3f2a1e", "count": (10, 25), "size": (3, 6)}),
    "keratin mass": (_patches, "core", {"colour": "#ece0ca", "cells": 6, "cover": 0.5, "edge": 0.3, "lay": _paint}),
    "glomerular dots": (_spots, "rim", {"colour": "#b04450", "count": (50, 110), "size": (2, 3.5), "blur": 0.7}),
}
# How each clinic photographs: white balance and width of the blur in pixels; the chance of each artefact.
CLINICS = {
    "clinic A": ({"warm": 0.07, "green": 0.05, "blur": (0.5, 1.0)}, {_hair: 0.35, _vignette: 0.1}),
    "clinic B": ({"warm": -0.07, "green": -0.05, "blur": (0.1, 0.4)}, {_hair: 0.25, _vignette: 0.4}),
}
