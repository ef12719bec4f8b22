"""Where an agent can stand: its free space, motion with collisions, and shortest paths in it.

The agent is an upright prism over a regular 16-gon whose inscribed circle has the agent's radius.
Obstacles are convex and held by their support values along the 16 normals of that polygon. So the
configuration space of Lozano-Perez (IEEE Trans. Computers C-32, 1983) is polygonal, and what is
said here of collisions and paths is exact for such obstacles up to `SLACK`. A round agent would
have paths that are shorter by at most `ROUND_ERROR` of its radius for each quarter turn.

Legend: M obstacles, K directions, V corners, S segments.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]

DIRECTIONS = 16
SLACK = 1e-6
"""Metres by which touching is told from overlapping."""
ROUND_ERROR = 8 * math.tan(math.pi / DIRECTIONS) - math.pi / 2
"""Excess of a quarter turn around this polygon over one around a disc, for a radius of 1."""
_ANGLES = 2 * np.pi * np.arange(DIRECTIONS) / DIRECTIONS
NORMALS: Array = np.stack([np.cos(_ANGLES), np.sin(_ANGLES)], axis=1)
"""Unit outward normals `[K, 2]`, counter-clockwise from the x axis."""
_BATCH = 4096


def support(corners: Array) -> Array:
    """Support values `[..., K]` of convex sets given by corners `[..., n, 2]`, metres."""
    return np.asarray((corners @ NORMALS.T).max(axis=-2))


def rectangle(low: Array, high: Array) -> Array:
    """Support values `[K]` of the rectangle between two corners `[2]`."""
    corners = [(low[0], low[1]), (high[0], low[1]), (high[0], high[1]), (low[0], high[1])]
    return support(np.array(corners, np.float64))


@dataclass(frozen=True, eq=False)
class Moved:
    """The outcome of a motion.

    Attributes:
        place: `[2]` where it ended, metres.
        collided: whether an obstacle shortened or bent it.
    """

    place: Array
    collided: bool


@dataclass(frozen=True, eq=False)
class FreeSpace:
    """The plane without inflated obstacles.

    Attributes:
        supports: `[M, K]` of the obstacles themselves, metres.
        radius: of the agent's inscribed circle, metres.
    """

    supports: Array
    radius: float

    @cached_property
    def bounds(self) -> Array:
        """Support values `[M, K]` of the inflated obstacles."""
        return self.supports + self.radius

    def is_free(self, places: Array, margin: float = 0.0) -> Flags:
        """Whether the agent can stand at places `[..., 2]`, `margin` metres off every obstacle."""
        off = (places @ NORMALS.T)[..., None, :] - self.bounds
        return np.asarray((off.max(axis=-1) > margin - SLACK).all(axis=-1))

    def nearest(self, place: Array, inside: Callable[[Array], Flags]) -> Array:
        """A free place `[2]` close to any place `[2]`: the place itself, or one on rings around.

        Odometry that is a little off may lie in a wall, and one that is further off outside.

        Args:
            place: any.
            inside: which places `[..., 2]` will do, if they are free.
        """
        if self.is_free(place) and inside(place):
            return place
        radii = np.array([1e-5, 1e-4, 1e-3, *np.geomspace(0.01, 16.0, 48)])
        rings = place + radii[:, None, None] * NORMALS
        free = self.is_free(rings) & inside(rings)
        if not free.any():
            return place
        ring = int(free.any(axis=1).argmax())
        return np.asarray(rings[ring, int(free[ring].argmax())])

    def move(self, place: Array, step: Array, slide: bool) -> Moved:
        """Go from `place` `[2]` by `step` `[2]` until something is in the way.

        Args:
            place: free.
            step: metres.
            slide: whether what is left of the step then goes on along the obstacle.
        """
        collided = False
        for _ in range(4):
            share, face = self._first_hit(place, step)
            if face is None:
                return Moved(place + step, collided)
            collided = True
            normal = NORMALS[face]
            place = place + share * step + SLACK * normal
            if not slide:
                break
            step = (1.0 - share) * step
            step = step - min(float(step @ normal), 0.0) * normal
            if np.hypot(*step) < SLACK:
                break
        return Moved(place, collided)

    def _first_hit(self, place: Array, step: Array) -> tuple[float, int | None]:
        """Share of a step at which an obstacle is met, and the number of the face that is met."""
        length = float(np.hypot(*step))
        if length < SLACK:
            return 1.0, None
        enter, leave, face = _crossings(place, step, self.bounds - SLACK)
        # Whoever stands a hair inside may leave: only faces that are met from outside stop.
        met = (enter < leave) & (enter < 1.0) & (enter > -10 * SLACK / length)
        if not met.any():
            return 1.0, None
        which = int(np.where(met, enter, np.inf).argmin())
        return max(float(enter[which]), 0.0), int(face[which])

    def sees(self, start: Array, end: Array) -> Flags:
        """Whether straight ways `[S]` between places `[S, 2]` are free; touching is."""
        clear = np.ones(len(start), bool)
        bounds = self.bounds - SLACK
        east, north = DIRECTIONS // 2, DIRECTIONS // 4
        for begin in range(0, len(start), _BATCH):
            one, other = start[begin : begin + _BATCH], end[begin : begin + _BATCH]
            low, high = np.minimum(one, other), np.maximum(one, other)
            near = (low[:, None, 0] < bounds[:, 0]) & (high[:, None, 0] > -bounds[:, east])
            near &= low[:, None, 1] < bounds[:, north]
            near &= high[:, None, 1] > -bounds[:, 3 * north]
            segment, obstacle = np.nonzero(near)
            enter, leave, _ = _crossings(
                one[segment], (other - one)[segment], bounds[obstacle], paired=True
            )
            blocked = (np.maximum(enter, 0.0) < np.minimum(leave, 1.0)) & (leave > 0)
            clear[begin + segment[blocked]] = False
        return clear

    @cached_property
    def corners(self) -> Array:
        """Corners `[V, 2]` of inflated obstacles that are free."""
        return self._corners_and_neighbours[0]

    @cached_property
    def _corners_and_neighbours(self) -> tuple[Array, Array]:
        """Free corners `[V, 2]`, and the corners `[V, 2, 2]` before and after each."""
        following = np.roll(self.bounds, -1, axis=1)
        half = math.pi / DIRECTIONS
        # Where two neighbouring edges meet: along the normal, and across it.
        across = (following - self.bounds * math.cos(2 * half)) / math.sin(2 * half)
        tangents = np.stack([-NORMALS[:, 1], NORMALS[:, 0]], axis=1)
        points = self.bounds[..., None] * NORMALS + across[..., None] * tangents
        beside = np.stack([np.roll(points, 1, axis=1), np.roll(points, -1, axis=1)], axis=2)
        flat, around = points.reshape(-1, 2), beside.reshape(-1, 2, 2)
        free = self.is_free(flat)
        return flat[free], around[free]

    def touches(self, corners: NDArray[np.int64], along: Array) -> Flags:
        """Whether lines with directions `[S, 2]` through corners `[S]` only touch the obstacle.

        A shortest path bends around a corner, so it never cuts into what the corner belongs to.
        """
        here, beside = self._corners_and_neighbours
        reach = beside[corners] - here[corners][:, None]
        sides = along[:, None, 0] * reach[..., 1] - along[:, None, 1] * reach[..., 0]
        return np.asarray(sides[:, 0] * sides[:, 1] >= -(SLACK**2))

    @cached_property
    def graph(self) -> csr_matrix:
        """Visibility graph `[V, V]` of the corners, in metres."""
        count = len(self.corners)
        one, other = np.triu_indices(count, 1)
        along = self.corners[other] - self.corners[one]
        keep = self.touches(one, along) & self.touches(other, along)
        one, other = one[keep], other[keep]
        keep = self.sees(self.corners[one], self.corners[other])
        one, other = one[keep], other[keep]
        lengths = np.hypot(*(self.corners[other] - self.corners[one]).T)
        both = (np.concatenate([one, other]), np.concatenate([other, one]))
        # A length of zero would be no edge: corners of two obstacles may coincide.
        weights = np.maximum(np.concatenate([lengths, lengths]), 1e-9)
        return csr_matrix((weights, both), shape=(count, count))


def _crossings(
    start: Array, step: Array, bounds: Array, paired: bool = False
) -> tuple[Array, Array, NDArray[np.int64]]:
    """Shares of steps at which they enter and leave convex obstacles, and the face entered by.

    Args:
        start: `[2]`, or `[S, 2]` if paired.
        step: likewise.
        bounds: `[M, K]`, or `[S, K]` if paired.
        paired: whether step and obstacle belong together row by row.
    """
    offset, speed = start @ NORMALS.T, step @ NORMALS.T
    if not paired:
        offset, speed = offset[None], np.broadcast_to(speed, bounds.shape)
    room = bounds - offset
    with np.errstate(divide="ignore", invalid="ignore"):
        share = room / speed
    still = np.abs(speed) < 1e-12
    entering = np.where(still, np.where(room <= 0, np.inf, -np.inf), share)
    entering = np.where(speed > 1e-12, -np.inf, entering)
    leaving = np.where(speed > 1e-12, share, np.inf)
    return entering.max(axis=1), leaving.min(axis=1), entering.argmax(axis=1)
