"""How a street looks: cells with houses, a walker in the middle, a counter above; and reading it.

Everything is drawn in whole pixels, so a counter or a house of a true frame is read back exactly.

Legend: H W pixels, uint8 `[..., H, W, 3]`.
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

HEIGHT, WIDTH, CELL = 32, 64, 8
"""Pixels of a frame, and of a cell's side along the street."""
AHEAD = WIDTH // CELL // 2
"""Cells from the left edge to the walker's."""
COUNTER = 12
"""Rows at the top that hold the counter."""
GROUND = 4
DIGITS, ROOM = 3, 8
"""Digits of the counter, and columns of each."""
SKY, EARTH, WALKER, BAND, INK = (
    (150, 190, 225),
    (96, 84, 70),
    (250, 250, 250),
    (16, 16, 20),
    (240, 220, 90),
)
PALETTE = np.array(
    [(200, 50, 40), (40, 150, 60), (40, 70, 190), (235, 150, 30), (140, 60, 160), (60, 60, 60)],
    np.uint8,
)
"""Colours of houses."""
STOREYS = (6, 9, 12)
"""Heights of houses, rows."""
_FONT = (
    "111101101101111 010110010010111 111001111100111 111001111001111 101101111001001 "
    "111100111001111 111100111101111 111001001001001 111101111101111 111101111001111"
).split()
_SCALE = 2
GLYPHS: Pixels = np.stack(
    [
        np.kron(np.array(list(map(int, glyph)), np.uint8).reshape(5, 3), np.ones((_SCALE,) * 2))
        for glyph in _FONT
    ]
).astype(np.uint8)
"""`[10, 10, 6]` of 0 and 1."""


@dataclass(frozen=True)
class House:
    """Attributes:
    colour: index of `PALETTE`.
    storeys: index of `STOREYS`.
    """

    colour: int
    storeys: int


def draw(place: int, houses: Mapping[int, House], score: int) -> Pixels:
    """A frame `[H, W, 3]`.

    Args:
        place: the walker's cell.
        houses: by their cells.
        score: that the counter shows.
    """
    image = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    image[COUNTER:] = SKY
    image[HEIGHT - GROUND :] = EARTH
    for column in range(WIDTH // CELL):
        house = houses.get(place - AHEAD + column)
        if house is not None:
            left, top = column * CELL, HEIGHT - GROUND - STOREYS[house.storeys]
            image[top : HEIGHT - GROUND, left + 1 : left + CELL - 1] = PALETTE[house.colour]
    image[HEIGHT - GROUND - 3 : HEIGHT - GROUND, AHEAD * CELL + 3 : AHEAD * CELL + 5] = WALKER
    draw_counter(image, score)
    return image


def draw_counter(image: Pixels, score: int) -> None:
    """Write a score into the frames `[..., H, W, 3]`, in place."""
    image[..., :COUNTER, :, :] = BAND
    for index, digit in enumerate(f"{score % 10**DIGITS:0{DIGITS}d}"):
        left = 1 + index * ROOM
        glyph = GLYPHS[int(digit)].astype(bool)
        image[..., 1:11, left : left + 6, :][..., glyph, :] = INK


def read_counter(frames: Pixels) -> NDArray[np.int64]:
    """The score `[...]` that frames show: of each digit the glyph that is nearest to its pixels."""
    ink = (frames[..., :COUNTER, :, :].astype(np.float64) - BAND) @ np.subtract(INK, BAND)
    ink = ink / np.square(np.subtract(INK, BAND, dtype=np.float64)).sum()
    total = np.zeros(frames.shape[:-3], np.int64)
    for index in range(DIGITS):
        left = 1 + index * ROOM
        patch = ink[..., 1:11, left : left + 6]
        off = np.square(patch[..., None, :, :] - GLYPHS).sum((-1, -2))
        total = 10 * total + off.argmin(-1)
    return total


def read_houses(frames: Pixels) -> NDArray[np.int64]:
    """What each visible cell shows, `[..., W / CELL]`: a colour of `PALETTE`, or -1 for none.

    It looks at the lowest rows of a house beside the walker.
    """
    rows = slice(HEIGHT - GROUND - STOREYS[0] + 1, HEIGHT - GROUND - 1)
    strip = frames[..., rows, :, :].astype(np.float64)
    cells = strip.reshape(*strip.shape[:-2], WIDTH // CELL, CELL, 3)
    # The walker stands before the middle columns of a cell.
    sides = np.concatenate([cells[..., 1:3, :], cells[..., 5:7, :]], axis=-2)
    colour = sides.mean((-4, -2))
    known = np.concatenate([PALETTE, [SKY]]).astype(np.float64)
    found = np.square(colour[..., None, :] - known).sum(-1).argmin(-1)
    return np.where(found == len(PALETTE), -1, found)
