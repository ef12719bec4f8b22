"""Triangles of a scene, by material: boxes, cylinders, balls and panels with texture coordinates.

Plain colours lie in one palette, one row a colour, from dark at the left to bright at the right. A
surface of a plain colour tells by its coordinate along the row how bright it is.

Legend: n triangles. Metres, z up; texture coordinates run right and up, 1 is a whole picture.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.indoor.colours import COLOURS

Array = NDArray[np.float64]

PALETTE = "palette"
GLOW = "glow"
"""Material of lamps; it shines, and its coordinates are those of the palette."""
_BRIGHT, _LIT, _SHADED, _DARK = 0.96, 0.88, 0.62, 0.35
_ROUND = 12
_RINGS = 6
_SHINING = ("lamp light",)


@dataclass(frozen=True)
class Part:
    """A piece of a thing, in the thing's own frame.

    Attributes:
        shape: "box", "cylinder" (upright) or "ball" (an ellipsoid).
        centre: x, y, z.
        half: half its extent along x, y, z.
        paint: name of a colour or of a textured material.
    """

    shape: str
    centre: tuple[float, float, float]
    half: tuple[float, float, float]
    paint: str


@dataclass(eq=False)
class Solids:
    """Triangles as they are put together.

    Attributes:
        pieces: {material: [(points [n, 3, 3], normals [n, 3, 3], coordinates [n, 3, 2])]}.
    """

    pieces: dict[str, list[tuple[Array, Array, Array]]] = field(default_factory=dict)

    def add(self, material: str, points: Array, normals: Array, coordinates: Array) -> None:
        """Triangles `[n, 3, ...]` of a material, counter-clockwise as seen from outside."""
        self.pieces.setdefault(material, []).append((points, normals, coordinates))

    def joined(self, material: str) -> tuple[Array, Array, Array]:
        """All triangles of a material: points, normals, coordinates."""
        points, normals, coordinates = zip(*self.pieces[material], strict=True)
        return np.concatenate(points), np.concatenate(normals), np.concatenate(coordinates)

    def quad(self, material: str, corners: Array, coordinates: Array) -> None:
        """A flat four-sided face: corners `[4, 3]`, coordinates `[4, 2]`."""
        normal = np.cross(corners[1] - corners[0], corners[3] - corners[0])
        normal = normal / np.linalg.norm(normal)
        order = np.array([[0, 1, 2], [0, 2, 3]])
        normals = np.broadcast_to(normal, (2, 3, 3))
        self.add(material, corners[order], normals, coordinates[order])

    def place(self, parts: Sequence[Part], where: Array, yaw: float) -> None:
        """Put a thing's parts at `where` `[3]`, turned by `yaw` radians."""
        turn = np.array(
            [[np.cos(yaw), -np.sin(yaw), 0], [np.sin(yaw), np.cos(yaw), 0], [0, 0, 1]], np.float64
        )
        for part in parts:
            points, normals = _SHAPES[part.shape]
            half, centre = np.array(part.half), np.array(part.centre)
            local = points * half + centre
            bent = normals / half
            bent = bent / np.linalg.norm(bent, axis=-1, keepdims=True)
            material, coordinates = _painted(part.paint, points, normals, local)
            self.add(material, local @ turn.T + where, bent @ turn.T, coordinates)


def plain(paint: str, brightness: Array) -> tuple[str, Array]:
    """Material and coordinates `[..., 2]` of a plain colour at a brightness `[...]` in [0, 1]."""
    row = (COLOURS.index(paint) + 0.5) / len(COLOURS)
    coordinates = np.stack([0.02 + 0.96 * brightness, np.full_like(brightness, row)], axis=-1)
    return GLOW if paint in _SHINING else PALETTE, coordinates


def _painted(paint: str, points: Array, normals: Array, local: Array) -> tuple[str, Array]:
    """Material and coordinates of a part's triangles, in their unit shape and at their size."""
    if paint in _SHINING:
        return plain(paint, np.ones(points.shape[:-1]))
    if paint in COLOURS:
        up = normals[..., 2]
        side = np.where(points[..., 2] > 0, _LIT, _SHADED)
        return plain(paint, np.where(up > 0.9, _BRIGHT, np.where(up < -0.9, _DARK, side)))
    if paint.startswith("whole "):  # the picture once, on every upright face
        across = np.where(np.abs(normals[..., 1]) > 0.5, points[..., 0], points[..., 1])
        high = np.where(np.abs(normals[..., 2]) > 0.5, points[..., 1], points[..., 2])
        return paint, np.stack([0.5 + 0.5 * across, 0.5 + 0.5 * high], axis=-1)
    axis = np.abs(normals)[..., 0] > 0.5
    across = np.where(axis, local[..., 1], local[..., 0])
    high = np.where(np.abs(normals[..., 2]) > 0.5, local[..., 1], local[..., 2])
    return paint, np.stack([across, high], axis=-1)


def _box() -> tuple[Array, Array]:
    """Triangles of the cube from -1 to 1."""
    points, normals = [], []
    for axis in range(3):
        for sign in (-1.0, 1.0):
            out, one = np.zeros(3), np.zeros(3)
            out[axis], one[(axis + 1) % 3] = sign, 1.0
            other = np.cross(out, one)
            corners = np.array([out - one - other, out + one - other, out + one + other])
            corners = np.concatenate([corners, [out - one + other]])
            points += [corners[[0, 1, 2]], corners[[0, 2, 3]]]
            normals += [np.tile(out, (3, 1))] * 2
    return np.array(points), np.array(normals)


def _cylinder() -> tuple[Array, Array]:
    """Triangles of the upright cylinder of radius 1 from -1 to 1."""
    angles = 2 * np.pi * np.arange(_ROUND + 1) / _ROUND
    ring = np.stack([np.cos(angles), np.sin(angles), np.zeros_like(angles)], axis=1)
    up = np.array([0.0, 0.0, 1.0])
    points, normals = [], []
    for a, b in zip(ring[:-1], ring[1:], strict=True):
        points += [[a - up, b - up, b + up], [a - up, b + up, a + up]]
        normals += [[a, b, b], [a, b, a]]
        points += [[up, a + up, b + up], [-up, b - up, a - up]]
        normals += [[up] * 3, [-up] * 3]
    return np.array(points), np.array(normals)


def _ball() -> tuple[Array, Array]:
    """Triangles of the unit sphere."""
    angles = 2 * np.pi * np.arange(_ROUND + 1) / _ROUND
    height = np.linspace(-np.pi / 2, np.pi / 2, _RINGS + 1)
    grid = np.stack(
        [
            np.cos(height)[:, None] * np.cos(angles),
            np.cos(height)[:, None] * np.sin(angles),
            np.broadcast_to(np.sin(height)[:, None], (len(height), len(angles))),
        ],
        axis=-1,
    )
    points = []
    for low, high in zip(grid[:-1], grid[1:], strict=True):
        for k in range(_ROUND):
            if low is not grid[0]:
                points.append([low[k], low[k + 1], high[k + 1]])
            points.append([low[k], high[k + 1], high[k]])
    triangles = np.array(points)
    sides = np.linalg.norm(
        np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]), axis=1
    )
    triangles = triangles[sides > 1e-9]
    return triangles, triangles.copy()


_SHAPES = {"box": _box(), "cylinder": _cylinder(), "ball": _ball()}
