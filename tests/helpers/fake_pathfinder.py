"""Walking on a grid, as habitat-sim's path finder is asked for it; see `fake_habitat`."""

import math
from typing import Any

import numpy as np
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import dijkstra

INFINITY = float("inf")
_NEAR = 2.0
"""Metres around a point in which the mesh is looked for."""


class PathFinder:
    """A grid in the plane of the floor: rows along x, columns along z."""

    def __init__(self) -> None:
        self.is_loaded = False
        self._fields: dict[Any, Any] = {}

    def build(self, places: np.ndarray, settings: Any) -> bool:
        """Free is what has a floor, and nothing above it within the agent's size."""
        self._fields = {}
        cell = self.cell = settings.cell_size
        flat = places.reshape(-1, 3)
        self.low = flat[:, [0, 2]].min(axis=0) - 3 * cell
        shape = np.ceil((flat[:, [0, 2]].max(axis=0) + 3 * cell - self.low) / cell).astype(int)
        floor, blocked = np.zeros(shape, bool), np.zeros(shape, bool)
        for triangle in places:
            low, high = triangle[:, 1].min(), triangle[:, 1].max()
            level = high - low < 1e-3 and high < settings.agent_max_climb
            if level or (high > settings.agent_max_climb and low < settings.agent_height):
                points = _points_of(triangle, cell / 2)
                tall = (points[:, 1] > settings.agent_max_climb) & (
                    points[:, 1] < settings.agent_height
                )
                index = tuple(((points[:, [0, 2]] - self.low) / cell).astype(int).T)
                if level:
                    floor[index] = True
                else:
                    blocked[tuple(part[tall] for part in index)] = True
        away = distance_transform_edt(~blocked) * cell
        self.free = floor & (away > settings.agent_radius)
        self._finish()
        return bool(self.free.any())

    def _finish(self) -> None:
        self.room, (self.near_x, self.near_z) = distance_transform_edt(
            ~self.free, return_indices=True
        )
        self.away = distance_transform_edt(self.free) * self.cell
        self.is_loaded = True

    def save_nav_mesh(self, path: str) -> bool:
        with open(path, "wb") as file:
            np.savez(file, low=self.low, cell=self.cell, free=self.free)
        return True

    def load_nav_mesh(self, path: str) -> bool:
        with np.load(path) as found:
            self.low, self.cell = found["low"], float(found["cell"])
            self.free, self._fields = found["free"], {}
        self._finish()
        return True

    def _cell(self, point: Any) -> tuple[int, int]:
        x, y, z = np.asarray(point, np.float32)
        off = ((np.array([x, z]) - self.low) / self.cell).astype(int)
        row, column = np.clip(off, 0, np.array(self.free.shape) - 1)
        return int(row), int(column)

    def snap_point(self, point: Any) -> np.ndarray:
        row, column = self._cell(point)
        if self.free[row, column] and self.is_navigable(point):
            return np.array([point[0], 0.0, point[2]], np.float32)
        near = np.array([self.near_x[row, column], self.near_z[row, column]])
        x, z = self.low + (near + 0.5) * self.cell
        if math.hypot(x - point[0], z - point[2]) > _NEAR:
            return np.full(3, np.nan, np.float32)
        return np.array([x, 0.0, z], np.float32)

    def is_navigable(self, point: Any, max_y_delta: float = 0.5) -> bool:
        off = (np.array([point[0], point[2]]) - self.low) / self.cell
        inside = (off >= 0).all() and (off < self.free.shape).all()
        return bool(inside and abs(point[1]) <= max_y_delta and self.free[self._cell(point)])

    def distance_to_closest_obstacle(self, point: Any, max_search_radius: float = 2.0) -> float:
        found = float(self.away[self._cell(point)])
        return found if found <= max_search_radius else INFINITY

    def try_step(self, start: Any, end: Any) -> np.ndarray:
        return self._step(start, end, True)

    def try_step_no_sliding(self, start: Any, end: Any) -> np.ndarray:
        return self._step(start, end, False)

    def _step(self, start: Any, end: Any, slide: bool) -> np.ndarray:
        place, whole = np.asarray(start, np.float64), np.asarray(end, np.float64)
        count = max(int(np.ceil(np.linalg.norm(whole - place) / 0.005)), 1)
        step = (whole - place) / count
        for _ in range(count):
            ways = [step, step * (1, 0, 0), step * (0, 0, 1)] if slide else [step]
            ahead = next((way for way in ways if self.is_navigable(place + way)), None)
            if ahead is None:
                break
            place = place + ahead
        if np.allclose(place, whole, atol=1e-7):
            place = whole
        return place.astype(np.float32)

    def find_path(self, path: Any) -> bool:
        path.points, path.geodesic_distance, path.closest_end_point_index = [], INFINITY, -1
        start = self.snap_point(path.requested_start)
        ends = [self.snap_point(end) for end in path.requested_ends]
        if np.isnan(start).any() or not ends:
            return False
        before, distance = self._field(ends)
        node = int(np.ravel_multi_index(self._cell(start), self.free.shape))
        if not np.isfinite(distance[node]):
            return False
        points = [np.asarray(start, np.float64)]
        while node >= 0:
            index = np.array(np.unravel_index(node, self.free.shape))
            x, z = self.low + (index + 0.5) * self.cell
            points.append(np.array([x, 0.0, z]))
            node = int(before[node])
        last = int(np.argmin([np.linalg.norm(end - points[-1]) for end in ends]))
        path.points = self._straight([*points[:-1], np.asarray(ends[last], np.float64)])
        lengths = np.linalg.norm(np.diff(path.points, axis=0), axis=1)
        path.geodesic_distance, path.closest_end_point_index = float(lengths.sum()), last
        return True

    def _field(self, ends: list[Any]) -> tuple[np.ndarray, np.ndarray]:
        key = tuple(sorted({self._cell(end) for end in ends}))
        if key not in self._fields:
            index = np.arange(self.free.size).reshape(self.free.shape)
            edges, lengths = [], []
            for dx, dz in ((1, 0), (0, 1), (1, 1), (1, -1)):
                one = index[: len(index) - dx, max(-dz, 0) : index.shape[1] - max(dz, 0)]
                other = one + dx * index.shape[1] + dz
                both = self.free.ravel()[one] & self.free.ravel()[other]
                edges.append(np.stack([one[both], other[both]]))
                lengths.append(np.full(both.sum(), math.hypot(dx, dz) * self.cell))
            pairs, weights = np.concatenate(edges, axis=1), np.concatenate(lengths)
            graph = coo_matrix((weights, pairs), shape=(self.free.size,) * 2).tocsr()
            sources = [int(np.ravel_multi_index(each, self.free.shape)) for each in key]
            distance, before, _ = dijkstra(
                graph, False, sources, return_predecessors=True, min_only=True
            )
            self._fields[key] = before, distance
        return self._fields[key]  # type: ignore[no-any-return]

    def _straight(self, points: list[np.ndarray]) -> list[np.ndarray]:
        """Without corners that can be cut."""
        found, here = [points[0]], 0
        while here < len(points) - 1:
            ahead = len(points) - 1
            while ahead > here + 1 and not self._sees(points[here], points[ahead]):
                ahead -= max((ahead - here) // 8, 1)
            here = ahead
            found.append(points[here])
        return found

    def _sees(self, one: np.ndarray, other: np.ndarray) -> bool:
        count = int(np.ceil(np.linalg.norm(other - one) / (self.cell / 2))) + 1
        return all(self.is_navigable(point) for point in np.linspace(one, other, count))


def _points_of(triangle: np.ndarray, step: float) -> np.ndarray:
    """Points `[n, 3]` of a triangle, at most `step` apart."""
    a, b, c = triangle
    longest = max(np.linalg.norm(b - a), np.linalg.norm(c - a), np.linalg.norm(c - b))
    count = int(np.ceil(longest / step)) + 1
    u, v = np.meshgrid(np.linspace(0, 1, count), np.linspace(0, 1, count))
    inside = u + v <= 1 + 1e-9
    return np.asarray(a + u[inside, None] * (b - a) + v[inside, None] * (c - a))
