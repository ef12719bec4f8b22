"""Shortest paths to a set of goal places: exact distances from anywhere, and the way.

Paths run straight from corner to corner of the visibility graph (Lozano-Perez and Wesley, Comm.
ACM 22, 1979). One Dijkstra from the goals serves every question that an episode asks.

Legend: G goal places, V corners.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import dijkstra

from worldsim.envs.indoor.free_space import Array, FreeSpace

_AT_ONCE = 24
"""Places that are looked at together, nearest first: most often the first few decide."""


@dataclass(frozen=True, eq=False)
class ShortestPaths:
    """Distances to the nearest of some goal places.

    Attributes:
        space: where one may go.
        goals: `[G, 2]` free places, metres.
    """

    space: FreeSpace
    goals: Array

    def distance(self, place: Array) -> float:
        """Metres of the shortest path from `place` `[2]`; infinite where there is none."""
        return self._nearest(place)[0]

    def next(self, place: Array) -> tuple[float, Array]:
        """The distance, and the next corner `[2]` of the path or its goal; `place` without one."""
        away, node = self._nearest(place)
        return away, place if node is None else self._nodes[node]

    def path(self, place: Array) -> Array:
        """Corners `[n, 2]` of the shortest path, both ends included; `place` alone without one."""
        node = self._nearest(place)[1]
        found = [place]
        while node is not None and node >= 0:
            found.append(self._nodes[node])
            node = int(self._field[1][node])
        return np.stack(found)

    @cached_property
    def _nodes(self) -> Array:
        """Corners, then goals, `[V + G, 2]`."""
        return np.concatenate([self.space.corners, self.goals])

    @cached_property
    def _field(self) -> tuple[Array, NDArray[np.int64]]:
        """Distance of every node to the nearest goal, and the node that comes after it."""
        corners, count = len(self.space.corners), len(self._nodes)
        goal, corner = np.divmod(np.arange(len(self.goals) * corners), max(corners, 1))
        along = self.goals[goal] - self.space.corners[corner]
        keep = self.space.touches(corner, along)
        goal, corner = goal[keep], corner[keep]
        keep = self.space.sees(self.goals[goal], self.space.corners[corner])
        goal, corner = goal[keep], corner[keep]
        lengths = np.maximum(np.hypot(*(self.goals[goal] - self.space.corners[corner]).T), 1e-9)
        known = coo_matrix(self.space.graph)
        rows = np.concatenate([known.row, corners + goal])
        columns = np.concatenate([known.col, corner])
        graph = csr_matrix(
            (np.concatenate([known.data, lengths]), (rows, columns)), shape=(count, count)
        )
        sources = np.arange(corners, count)
        distance, before, _ = dijkstra(
            graph, indices=sources, min_only=True, return_predecessors=True
        )
        return np.asarray(distance), np.asarray(before, np.int64)

    def _nearest(self, place: Array) -> tuple[float, int | None]:
        """Distance from a place, and the first node of the path."""
        reach = np.hypot(*(self._nodes - place).T) + self._field[0]
        order = np.argsort(reach, kind="stable")
        order = order[np.isfinite(reach[order])]
        for begin in range(0, len(order), _AT_ONCE):
            some = order[begin : begin + _AT_ONCE]
            seen = self.space.sees(np.repeat(place[None], len(some), axis=0), self._nodes[some])
            if seen.any():
                node = int(some[int(seen.argmax())])
                return float(reach[node]), node
        return float("inf"), None
