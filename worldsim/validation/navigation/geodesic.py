"""Distances that an agent has to walk, as a function that a metric can ask.

Legend: N points, K goals, M nodes of a table. Metres; infinite where there is no way.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.data.navigation.walk import finite_points
from worldsim.errors import DataError, UsageError

Float = NDArray[np.float64]

Geodesic = Callable[[Float, Float], ArrayLike]
"""Points `[N, 3]` and one goal `[3]` to metres `[N]`; infinite where there is no way.

A simulator's path finder, a map's, or one of those below. Points off the walkable floor should be
snapped to it by the function: a metric cannot know how.
"""


def straight_line(points: Float, goal: Float) -> Float:
    """Distances of open space, where nothing stands between."""
    return np.asarray(np.linalg.norm(points - goal, axis=-1))


class GeodesicTable:
    """Distances by the nearest of known places, as from a navigation graph.

    The way leads straight to the nearest node, along the table, and straight to the goal.

    Args:
        nodes: `[M, 3]`.
        distances: `[M, M]` metres between them, infinite where there is no way.
        reach: metres from a node beyond which a point is on no floor.

    Raises:
        DataError: shapes that do not fit, a negative distance, NaN, or a node not 0 from itself.
    """

    def __init__(self, nodes: ArrayLike, distances: ArrayLike, reach: float = 1.0) -> None:
        self.nodes = finite_points(nodes, "a table of distances")
        self.distances = np.array(distances, np.float64)
        self.reach = reach
        count = len(self.nodes)
        if self.distances.shape != (count, count):
            raise DataError(
                f"distances have shape {self.distances.shape}, expected {(count, count)} "
                f"of {count} nodes"
            )
        if not (self.distances >= 0).all() or self.distances.diagonal().any():
            raise DataError(
                "distances hold NaN, negative ones, or a node that is not 0 from itself"
            )

    def __call__(self, points: Float, goal: Float) -> Float:
        """Metres `[N]`."""
        node, aside = self._nearest(points)
        end, beyond = self._nearest(goal[None])
        along = aside + self.distances[node, end[0]] + beyond[0]
        direct = straight_line(points, goal)
        metres = np.where(node == end[0], direct, np.maximum(along, direct))
        return np.where((aside <= self.reach) & (beyond[0] <= self.reach), metres, np.inf)

    def _nearest(self, points: Float) -> tuple[NDArray[np.int64], Float]:
        apart = np.linalg.norm(points[:, None] - self.nodes[None], axis=-1)
        nearest = apart.argmin(axis=1)
        return nearest, apart[np.arange(len(points)), nearest]


def distances_to(geodesic: Geodesic, points: Float, goals: Float, where: str) -> Float:
    """Metres `[N, K]` from points to goals, checked.

    Args:
        geodesic: asked once a goal.
        points: `[N, 3]`.
        goals: `[K, 3]`.
        where: name of the episode, for messages.

    Raises:
        UsageError: the function gives another shape, NaN, or a negative distance.
    """
    found = []
    for goal in goals:
        metres = np.asarray(geodesic(points, goal), np.float64)
        if metres.shape != (len(points),):
            raise UsageError(
                f"{where}: the geodesic function gives shape {metres.shape} for {len(points)} "
                f"points, expected {(len(points),)}"
            )
        bad = ~(metres >= 0)
        if bad.any():
            row = int(bad.argmax())
            raise UsageError(
                f"{where}: the geodesic function gives {metres[row]} from {points[row].tolist()} "
                f"to {goal.tolist()}; expected metres, or infinity where there is no way"
            )
        found.append(metres)
    return np.stack(found, axis=1)
