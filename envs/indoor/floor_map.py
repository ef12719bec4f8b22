"""A scene from above: rooms, doors, furniture, and ways that agents went.

Legend: H W pixels; row 0 is north. Metres in the scene's frame.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from worldsim.envs.indoor.colours import NAMED
from worldsim.envs.indoor.floor_plan import WALL, Opening, Room
from worldsim.envs.indoor.free_space import Array
from worldsim.envs.indoor.scene import Scene
from worldsim.envs.indoor.shell import before_side

Image = NDArray[np.uint8]
Colour = tuple[int, int, int]

_OUTSIDE, _WALLS, _EDGE = (255, 255, 255), (70, 70, 75), (40, 40, 45)
_FLOORS: tuple[Colour, ...] = (
    *((236, 228, 214), (222, 234, 240), (228, 238, 222), (240, 226, 232)),
    *((232, 232, 246), (246, 240, 220), (226, 240, 238), (238, 232, 226)),
)
_SHIFT = 4
"""Bits of fractions of a pixel that OpenCV draws with."""


@dataclass(frozen=True, eq=False)
class FloorMap:
    """A drawing of a scene, and where its places lie on it.

    Attributes:
        image: uint8 `[H, W, 3]`.
        scale: pixels a metre.
        corner: `[2]` west and north edge of the drawing, metres.
    """

    image: Image
    scale: float
    corner: Array

    def pixels(self, places: Array) -> Array:
        """Column and row `[..., 2]` of places `[..., 2]`."""
        return np.asarray((places - self.corner) * (self.scale, -self.scale))

    def with_way(self, places: Array, colour: Colour, width: int = 2) -> "FloorMap":
        """The map with a way `[n, 2]`, a dot where it begins and a ring where it ends."""
        image = self.image.copy()
        points = _fixed(self.pixels(np.asarray(places, np.float64)))
        cv2.polylines(image, [points], False, colour, width, cv2.LINE_AA, _SHIFT)
        radius = int(round(1.5 * width * 2**_SHIFT))
        first, last = (tuple(map(int, points[k])) for k in (0, -1))
        cv2.circle(image, first, radius, colour, -1, cv2.LINE_AA, _SHIFT)
        cv2.circle(image, last, 2 * radius, colour, width, cv2.LINE_AA, _SHIFT)
        return FloorMap(image, self.scale, self.corner)


def floor_map(scene: Scene, scale: float = 24.0, goals: Sequence[int] = ()) -> FloorMap:
    """A scene as a floor plan shows it.

    Args:
        scene: to be drawn.
        scale: pixels a metre.
        goals: indices of things that are marked.
    """
    rects = np.array([room.rect for room in scene.rooms])
    low, high = rects[:, :2].min(axis=0) - WALL, rects[:, 2:].max(axis=0) + WALL
    width, height = np.ceil((high - low) * scale).astype(int)
    image = np.full((height, width, 3), _OUTSIDE, np.uint8)
    drawn = FloorMap(image, scale, np.array([low[0], high[1]]))
    for room in scene.rooms:
        _fill(drawn, _corners(np.array(room.rect) + WALL / 2 * np.array([-1, -1, 1, 1])), _WALLS)
    for index, room in enumerate(scene.rooms):
        _fill(drawn, _corners(np.array(room.inside)), _FLOORS[index % len(_FLOORS)])
    for index, room in enumerate(scene.rooms):
        for door in room.doors:
            _fill(drawn, _gap(room, door), _FLOORS[index % len(_FLOORS)])
    for thing in sorted(scene.things, key=lambda each: each.under is not None):
        red, green, blue = (int(255 * part) for part in NAMED[thing.colour])
        _fill(drawn, thing.outline, (red, green, blue), edge=True)
    for goal in goals:
        points = _fixed(drawn.pixels(scene.things[goal].outline))
        cv2.polylines(image, [points], True, (230, 0, 0), 3, cv2.LINE_AA, _SHIFT)
    return drawn


def _fixed(pixels: Array) -> NDArray[np.int32]:
    """Pixels `[n, 2]` as OpenCV's polygons have them, centres of pixels at whole numbers."""
    return np.asarray(np.round((pixels - 0.5) * 2**_SHIFT), np.int32)


def _corners(rect: Array) -> Array:
    west, south, east, north = rect
    return np.array([[west, south], [east, south], [east, north], [west, north]])


def _gap(room: Room, door: Opening) -> Array:
    """Corners `[4, 2]` of a room's half of a doorway."""
    ends = ((door.low, 0.0), (door.high, 0.0), (door.high, -WALL / 2), (door.low, -WALL / 2))
    return np.stack([before_side(room, door.side, *end) for end in ends])


def _fill(drawn: FloorMap, corners: Array, colour: Colour, edge: bool = False) -> None:
    points = _fixed(drawn.pixels(corners))
    cv2.fillPoly(drawn.image, [points], colour, cv2.LINE_AA, _SHIFT)
    if edge:
        cv2.polylines(drawn.image, [points], True, _EDGE, 1, cv2.LINE_AA, _SHIFT)
