"""A world that is no hand over a table: a room seen by a panoramic camera that walks about.

A box with striped walls and one pillar, drawn by casting a ray through every pixel. The camera
moves by discrete actions; its pose and the radial depth are known of every frame.

Legend: H W pixels. World: right-handed, z up, metres. Camera: RDF, camera to world.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

HEIGHT, WIDTH = 32, 64
HALF = np.array([2.0, 1.5, 1.25])
"""Half the sides of the room, whose centre is the origin; the camera is at the origin's height."""
PILLAR, RADIUS = np.array([1.2, 0.6]), 0.25
FORWARD = 0.25
TURN = 2 * np.pi / 16
"""A turn moves the picture by a whole number of columns."""
REACH = 0.8
"""Metres to the pillar's axis within which stopping is a success."""
CLEARANCE = 0.3


class Move(IntEnum):
    """The discrete actions."""

    STOP = 0
    FORWARD = 1
    LEFT = 2
    RIGHT = 3


@dataclass(frozen=True)
class Walker:
    """Where the camera is: `x`, `y` in metres, `yaw` in radians, 0 along the world's x axis."""

    x: float
    y: float
    yaw: float

    def moved(self, move: Move) -> "Walker":
        """After one action; walls and the pillar stop a step forward."""
        if move == Move.LEFT:
            return Walker(self.x, self.y, self.yaw + TURN)
        if move == Move.RIGHT:
            return Walker(self.x, self.y, self.yaw - TURN)
        if move == Move.STOP:
            return self
        x = self.x + FORWARD * np.cos(self.yaw)
        y = self.y + FORWARD * np.sin(self.yaw)
        inside = (np.abs([x, y]) < HALF[:2] - CLEARANCE).all()
        clear = np.hypot(x - PILLAR[0], y - PILLAR[1]) > RADIUS + CLEARANCE
        return Walker(float(x), float(y), self.yaw) if inside and clear else self

    @property
    def distance(self) -> float:
        """Metres to the pillar's axis."""
        return float(np.hypot(self.x - PILLAR[0], self.y - PILLAR[1]))

    @property
    def pose(self) -> NDArray[np.float32]:
        """Camera to world `[4, 4]`."""
        cos, sin = np.cos(self.yaw), np.sin(self.yaw)
        right, down, ahead = (sin, -cos, 0.0), (0.0, 0.0, -1.0), (cos, sin, 0.0)
        pose = np.eye(4, dtype=np.float32)
        pose[:3, :3] = np.stack([right, down, ahead], axis=1)
        pose[:2, 3] = self.x, self.y
        return pose


def rays() -> NDArray[np.float64]:
    """Unit directions `[H, W, 3]` of an equirectangular camera; the middle column looks ahead."""
    longitude = ((np.arange(WIDTH) + 0.5) / WIDTH - 0.5) * 2 * np.pi
    latitude = ((np.arange(HEIGHT) + 0.5) / HEIGHT - 0.5) * np.pi
    lat, lon = np.meshgrid(latitude, longitude, indexing="ij")
    return np.stack([np.cos(lat) * np.sin(lon), np.sin(lat), np.cos(lat) * np.cos(lon)], axis=-1)


def seen(walker: Walker) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """The picture `[H, W, 3]` and the radial depth `[H, W]` in metres."""
    pose = walker.pose.astype(np.float64)
    directions = rays() @ pose[:3, :3].T
    start = pose[:3, 3]
    with np.errstate(divide="ignore"):
        reach = np.where(directions > 0, HALF - start, -HALF - start) / directions
    wall = reach.argmin(axis=-1)
    depth = reach.min(axis=-1)
    pillar = _pillar_depth(start, directions)
    hit = pillar < depth
    depth = np.where(hit, pillar, depth)
    points = start + depth[..., None] * directions
    return _paint(points, wall, directions, hit), depth.astype(np.float32)


def _pillar_depth(
    start: NDArray[np.float64], directions: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Depth `[H, W]` of the first hit of the upright cylinder; infinite where there is none."""
    flat, offset = directions[..., :2], start[:2] - PILLAR
    a, b = (flat**2).sum(-1), (flat * offset).sum(-1)
    inside = b**2 - a * ((offset**2).sum() - RADIUS**2)
    root = (-b - np.sqrt(np.maximum(inside, 0))) / np.maximum(a, 1e-12)
    return np.where((inside > 0) & (root > 0), root, np.inf)


def _paint(
    points: NDArray[np.float64],
    wall: NDArray[np.int64],
    directions: NDArray[np.float64],
    pillar: NDArray[np.bool_],
) -> NDArray[np.uint8]:
    """Every side of the box in its own colour, in soft stripes; the pillar in red."""
    side = 2 * wall + (np.take_along_axis(directions, wall[..., None], -1)[..., 0] > 0)
    colours = np.array(
        [
            [70, 90, 200],
            [80, 190, 90],
            [210, 180, 60],
            [60, 170, 190],
            [90, 80, 70],
            [230, 230, 225],
        ]
    )
    stripes = 0.75 + 0.25 * np.sin(2.5 * points.sum(-1))
    picture = colours[side] * stripes[..., None]
    picture[pillar] = (220, 50, 40)
    painted: NDArray[np.uint8] = picture.round().astype(np.uint8)
    return painted
