"""Colours and pictures of a scene: the palette, and textures drawn from a scene's own generator.

Every picture is uint8 `[SIZE, SIZE, 3]` with its upper row first.
"""

from collections.abc import Callable
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
Float = NDArray[np.float64]
Rgb = tuple[float, float, float]

SIZE = 128
NAMED: dict[str, Rgb] = {
    "red": (0.80, 0.14, 0.13),
    "orange": (0.93, 0.50, 0.12),
    "yellow": (0.93, 0.80, 0.20),
    "green": (0.20, 0.56, 0.25),
    "blue": (0.15, 0.32, 0.75),
    "purple": (0.50, 0.24, 0.62),
    "pink": (0.93, 0.52, 0.66),
    "brown": (0.42, 0.26, 0.15),
    "white": (0.93, 0.93, 0.91),
    "grey": (0.50, 0.51, 0.53),
    "black": (0.11, 0.11, 0.12),
}
"""Colours that instructions name."""
_OTHERS: dict[str, Rgb] = {
    "cream": (0.90, 0.85, 0.74),
    "steel": (0.70, 0.72, 0.75),
    "dark steel": (0.28, 0.29, 0.31),
    "leaf": (0.18, 0.45, 0.16),
    "bright leaf": (0.36, 0.60, 0.22),
    "soil": (0.30, 0.20, 0.14),
    "linen": (0.95, 0.94, 0.90),
    "trim": (0.93, 0.92, 0.88),
    "screen": (0.07, 0.09, 0.13),
    "glass": (0.70, 0.82, 0.88),
    "lamp light": (1.0, 0.93, 0.74),
}
COLOURS = (*NAMED, *_OTHERS)
"""Rows of the palette, from its lower edge."""
_ROW = 8


def palette(rng: np.random.Generator) -> Picture:
    """Rows of colours, each from dark to bright, a little different in every scene."""
    ramp = 0.22 + 0.78 * np.linspace(0.0, 1.0, 64) ** 1.2
    rows = []
    for name in reversed(COLOURS):
        rgb = np.clip(np.array({**NAMED, **_OTHERS}[name]) * rng.uniform(0.9, 1.08, 3), 0, 1)
        rows.append(np.broadcast_to(ramp[:, None] * rgb, (_ROW, 64, 3)))
    return _picture(np.concatenate(rows))


def _picture(values: Float) -> Picture:
    return np.asarray(np.clip(values, 0, 1) * 255, np.uint8)


def _soft(rng: np.random.Generator, cells: int) -> Float:
    """Smooth noise `[SIZE, SIZE]` of unit spread, without a seam."""
    coarse = rng.standard_normal((cells, cells))
    tiled = np.tile(coarse, (3, 3))
    fine = cv2.resize(tiled, (3 * SIZE, 3 * SIZE), interpolation=cv2.INTER_CUBIC)
    return np.asarray(fine[SIZE : 2 * SIZE, SIZE : 2 * SIZE], np.float64)


def _tint(rng: np.random.Generator, low: float, high: float, saturation: float) -> Float:
    """A random colour of a brightness between two bounds."""
    hue = rng.uniform(0, 1)
    wheel = 0.5 + 0.5 * np.cos(2 * np.pi * (hue + np.array([0.0, 1 / 3, 2 / 3])))
    return np.asarray(rng.uniform(low, high) * (1 - saturation * (1 - wheel)))


def planks(rng: np.random.Generator) -> Picture:
    """Wooden boards along the picture."""
    wood = np.array(
        [(0.62, 0.44, 0.27), (0.40, 0.25, 0.15), (0.72, 0.58, 0.40), (0.55, 0.50, 0.45)]
    )
    base = wood[rng.integers(len(wood))] * rng.uniform(0.9, 1.1)
    image = np.empty((SIZE, SIZE, 3))
    grain = _soft(rng, 24) * 0.03
    boards = int(rng.integers(4, 8))
    edges = np.linspace(0, SIZE, boards + 1).astype(int)
    for low, high in pairwise(edges):
        cut = int(rng.integers(SIZE))
        for begin, end in ((0, cut), (cut, SIZE)):
            image[low:high, begin:end] = base * rng.uniform(0.78, 1.18)
        image[low] *= 0.55
        image[low:high, cut % SIZE] *= 0.6
    return _picture(image + grain[..., None])


def tiles(rng: np.random.Generator) -> Picture:
    """Square tiles with joints, of one colour or two."""
    count = int(rng.choice([2, 4]))
    one = _tint(rng, 0.55, 0.92, 0.25)
    other = one * rng.uniform(0.45, 0.8) if rng.random() < 0.5 else one
    step = SIZE // count
    row, column = np.indices((SIZE, SIZE))
    even = ((row // step + column // step) % 2)[..., None]
    image = np.where(even == 0, one, other) * (1 + 0.03 * _soft(rng, 16)[..., None])
    image[(row % step < 2) | (column % step < 2)] *= 0.68
    return _picture(image)


def carpet(rng: np.random.Generator) -> Picture:
    """A soft even floor."""
    speckle = 1 + 0.10 * rng.standard_normal((SIZE, SIZE, 1)) + 0.05 * _soft(rng, 8)[..., None]
    return _picture(_tint(rng, 0.35, 0.75, 0.4) * speckle)


def rug(rng: np.random.Generator) -> Picture:
    """A rug with a border and a pattern, seen once as a whole."""
    row, column = np.indices((SIZE, SIZE)) / (SIZE - 1) * 2 - 1
    first, second, third = (_tint(rng, 0.3, 0.95, 0.75) for _ in range(3))
    kind = rng.integers(3)
    wave = float(rng.integers(2, 5))
    fields = (np.abs(row) + np.abs(column), np.hypot(row, column), column)
    pattern = (np.floor(fields[kind] * wave) % 2 == 0)[..., None]
    image = np.where(pattern, first, second)
    edge = np.maximum(np.abs(row), np.abs(column))
    image[(edge > 0.82) & (edge < 0.94)] = third
    return _picture(image * (1 + 0.05 * rng.standard_normal((SIZE, SIZE, 1))))


def wall_paper(rng: np.random.Generator, tiled: bool = False) -> Picture:
    """A wall from floor to ceiling: paint or a pattern, skirting below, darker at the edges."""
    row, column = np.indices((SIZE, SIZE)) / SIZE
    base = _tint(rng, 0.62, 0.95, rng.choice([0.1, 0.22, 0.4]))
    accent = np.clip(base * rng.uniform(0.72, 0.9), 0, 1)
    image = np.broadcast_to(base, (SIZE, SIZE, 3)).copy()
    kind = rng.choice(["paint", "paint", "stripes", "dots", "half", "bricks"])
    if tiled:
        joint = (row * 26 % 2 < 0.22) | (column * 20 % 2 < 0.22)
        image[joint & (row > 0.3)] *= 0.75
        image[(row > 0.27) & (row < 0.3)] = _tint(rng, 0.3, 0.7, 0.7)
    elif kind == "stripes":
        image[(column * rng.integers(4, 10)) % 1 < 0.4] = accent
    elif kind == "dots":
        count = int(rng.integers(5, 9))
        image[np.hypot(row * count % 1 - 0.5, column * count % 1 - 0.5) < 0.22] = accent
    elif kind == "half":
        image[row > 0.62] = np.clip(_tint(rng, 0.35, 0.8, 0.6), 0, 1)
        image[(row > 0.60) & (row < 0.63)] = 0.92
    elif kind == "bricks":
        course = np.floor(row * 16)
        joint = (row * 16 % 1 < 0.14) | ((column * 6 + course % 2 / 2) % 1 < 0.06)
        shade = 1 + 0.1 * _soft(rng, 16)[..., None]
        image = np.where(joint[..., None], base, np.array([0.62, 0.33, 0.25]) * shade)
    edge = np.minimum(row, 1 - row)
    image = image * (1 - 0.22 * np.exp(-edge / 0.05))[..., None]
    image *= 1 + 0.012 * _soft(rng, 12)[..., None]
    image[row > 0.965] = rng.choice([0.93, 0.88, 0.35, 0.55])
    return _picture(image)


def wood(rng: np.random.Generator) -> Picture:
    """Grain of furniture."""
    base = np.array([(0.58, 0.39, 0.22), (0.36, 0.22, 0.13), (0.76, 0.60, 0.41)])[rng.integers(3)]
    row = np.indices((SIZE, SIZE))[0] / SIZE
    rings = np.sin(2 * np.pi * (8 * row + 0.35 * _soft(rng, 4)))
    return _picture(base * rng.uniform(0.9, 1.1) * (1 + 0.09 * rings[..., None]))


def ceiling(rng: np.random.Generator) -> Picture:
    """White, hardly uneven."""
    return _picture((0.92 + 0.004 * _soft(rng, 10)[..., None]) * np.array([1.0, 0.99, 0.96]))


def books(rng: np.random.Generator) -> Picture:
    """The front of a bookcase, shelves full of spines."""
    image = np.full((SIZE, SIZE, 3), 0.16)
    shelves = 4
    high = SIZE // shelves
    for shelf in range(shelves):
        column = 2
        bottom = (shelf + 1) * high - 5
        while column < SIZE - 4:
            wide = int(rng.integers(4, 10))
            if rng.random() < 0.88:
                top = bottom - int(rng.integers(high // 2, high - 8))
                image[top:bottom, column : column + wide - 1] = _tint(rng, 0.3, 0.95, 0.8)
            column += wide
        image[bottom : bottom + 5] = (0.52, 0.36, 0.22)
    image[:, :4] = image[:, -4:] = (0.52, 0.36, 0.22)
    return _picture(image)


def view(rng: np.random.Generator) -> Picture:
    """What is seen through a window: a sky, hills or houses."""
    row, column = np.indices((SIZE, SIZE)) / SIZE
    sky = np.array([0.45, 0.68, 0.95]) * rng.uniform(0.9, 1.05)
    image = sky + (row[..., None]) * (np.array([0.95, 0.95, 0.92]) - sky)
    image += 0.07 * np.clip(_soft(rng, 5), 0, 2)[..., None]
    if rng.random() < 0.5:
        for level, green in ((0.62, 0.62), (0.72, 0.45)):
            ridge = level + 0.05 * np.sin(2 * np.pi * (column * rng.integers(1, 4) + rng.random()))
            image[row > ridge] = np.array([0.30, green, 0.28])
    else:
        for left in np.sort(rng.uniform(-0.1, 0.9, 6)):
            inside = (column > left) & (column < left + 0.16) & (row > rng.uniform(0.35, 0.7))
            image[inside] = _tint(rng, 0.35, 0.8, 0.25)
        image[row > 0.88] = (0.35, 0.38, 0.35)
    return _picture(image)


def painting(rng: np.random.Generator) -> Picture:
    """A framed picture: bands, discs or blocks of strong colours."""
    row, column = np.indices((SIZE, SIZE)) / SIZE
    image = np.broadcast_to(_tint(rng, 0.5, 0.95, 0.6), (SIZE, SIZE, 3)).copy()
    for _ in range(int(rng.integers(3, 7))):
        colour, (x, y), size = _tint(rng, 0.2, 1.0, 0.9), rng.random(2), rng.uniform(0.1, 0.35)
        kind = rng.integers(3)
        inside = np.hypot(column - x, row - y) < size
        if kind == 1:
            inside = (np.abs(column - x) < size) & (np.abs(row - y) < size / 2)
        elif kind == 2:
            inside = row > y + 0.1 * np.sin(6 * column)
        image[inside] = colour
    edge = np.minimum(np.minimum(row, 1 - row), np.minimum(column, 1 - column))
    image[edge < 0.07] = rng.choice([0.1, 0.9, 0.4])
    return _picture(image)


FLOORS: dict[str, Callable[[np.random.Generator], Picture]] = {
    "planks": planks,
    "tiles": tiles,
    "carpet": carpet,
}
