"""Expert for Push-T: goes round the T and pushes it where that mends its pose most.

A kinematic disc pushes a T without friction, and nothing moves by itself. So a push of small depth
d along the normal n at r from the centre of mass moves the T by `k d n` and turns it by
`k d (r x n) / I`, with `k = 1 / (1 + (r x n)^2 / I)` for unit mass. In the metric of that inertia
the best depth is `n . e + (r x n) e_angle` for an error e, and the expert descends greedily on it.

Lengths are in pixels of gym-pusht's world, angles in radians.
"""

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

_INERTIA = 3000.0
"""Of the T, at unit mass: that of its bar about the T's origin, twice, as gym-pusht has it."""
_CENTRE = np.array([0.0, 45.0])
"""Centre of mass in the T's frame; its origin is the middle of the bar's upper edge."""
_RECTANGLES = np.array([[-60.0, 0.0, 60.0, 30.0], [-15.0, 30.0, 15.0, 120.0]])
"""Bar and stem: x and y from, x and y to."""
_DISC = 15.0
_MARGIN = 5.0
"""Room that a way past the T leaves."""
_WAY = _DISC + 11.0
"""Distance from its edges of the corners that ways lead round."""
_CORNERS = np.array(
    [[-60, 0], [60, 0], [60, 30], [15, 30], [15, 120], [-15, 120], [-15, 30], [-60, 30]], float
) + _WAY * np.array([[-1, -1], [1, -1], [1, 1], [1, 1], [1, 1], [-1, 1], [-1, 1], [-1, 1]])
_SIDE = 512.0
_STRIDE, _PUSH, _GENTLE = 75.0, 45.0, 3.0
"""Farthest target of a step on the way and in a push; shortest that still moves the T on."""
_MIDDLE = _SIDE / 2


def _edge(first: tuple[float, float], last: tuple[float, float], count: int) -> Array:
    return np.linspace(first, last, count)


_POINTS = np.concatenate(
    [
        _edge((-56, 0), (56, 0), 15),
        _edge((60, 3), (60, 27), 4),
        _edge((32, 30), (57, 30), 4),
        _edge((15, 48), (15, 117), 10),
        _edge((12, 120), (-12, 120), 4),
        _edge((-15, 117), (-15, 48), 10),
        _edge((-32, 30), (-57, 30), 4),
        _edge((-60, 27), (-60, 3), 4),
    ]
)
_NORMALS = np.repeat(
    np.array([[0, 1], [-1, 0], [0, -1], [-1, 0], [0, -1], [1, 0], [0, -1], [1, 0]], float),
    [15, 4, 4, 10, 4, 10, 4, 4],
    axis=0,
)
"""Places `[M, 2]` on the T's edges where the disc may push, and the directions into it."""


def _cross(one: Array, other: Array) -> Array:
    return np.asarray(one[..., 0] * other[..., 1] - one[..., 1] * other[..., 0])


_TORQUES = _cross(_POINTS - _CENTRE, _NORMALS)


class PushTExpert:
    """Controller of one episode of gym-pusht's Push-T.

    It keeps the place where it pushes until that mends nothing more.
    """

    def __init__(self) -> None:
        self._place: int | None = None

    def get_action(self, state: Array) -> Array:
        """Where the disc should go, in units of the normalised action.

        Args:
            state: `[8]` x and y of the disc, then x, y and angle of the T, then of its outline.
        """
        disc, block, goal = state[:2], state[2:5], state[5:8]
        turn = _rotation(block[2])
        local = turn.T @ (disc - block[:2])
        gain = self._gains(block, goal, turn)
        self._place = self._choose(local, gain, block, turn)
        target = self._next(self._place, local, gain[self._place], block, turn)
        wanted = np.clip(turn @ target + block[:2], 0.0, _SIDE)
        return np.asarray((wanted - _MIDDLE) / _MIDDLE)

    def _gains(self, block: Array, goal: Array, turn: Array) -> Array:
        """Best depth `[M]` of a push at each place; what is not positive mends nothing."""
        centre = block[:2] + turn @ _CENTRE
        wanted = goal[:2] + _rotation(goal[2]) @ _CENTRE
        error = turn.T @ (wanted - centre)
        angle = (goal[2] - block[2] + np.pi) % (2 * np.pi) - np.pi
        return np.asarray(_NORMALS @ error + _TORQUES * angle)

    def _choose(self, local: Array, gain: Array, block: Array, turn: Array) -> int:
        """Keep the place, or take the one that mends most for its way."""
        mended = np.maximum(gain, 0.0) ** 2 / (1.0 + _TORQUES**2 / _INERTIA)
        standing = _POINTS - (_DISC + 8.0) * _NORMALS
        there = standing @ turn.T + block[:2]
        inside = ((there > 8.0) & (there < _SIDE - 8.0)).all(axis=1)
        way = np.linalg.norm(standing - local, axis=1)
        worth = np.sqrt(mended) * np.exp(-way / 900.0) * np.where(inside, 1.0, 1e-3)
        best = int(worth.argmax())
        kept = best if self._place is None else _slid(self._place, local)
        return best if gain[kept] < 0.6 or worth[best] > 2.2 * worth[kept] else kept

    def _next(self, place: int, local: Array, depth: float, block: Array, turn: Array) -> Array:
        """The next target in the T's frame: on the way, or into the T."""
        point, normal = _POINTS[place], _NORMALS[place]
        contact = point - _DISC * normal
        offset = local - contact
        along, aside = float(offset @ normal), abs(float(_cross(offset, normal)))
        if aside < 6.0 and -26.0 < along < 8.0:
            gap = max(-along, 0.0)
            deep = min(gap + max(depth, _GENTLE), _PUSH)
            return np.asarray(local + deep * normal - 0.5 * (offset - along * normal))
        return self._round(local, point - (_DISC + 9.0) * normal, block, turn)

    def _round(self, start: Array, end: Array, block: Array, turn: Array) -> Array:
        """The first stretch of the shortest way past the T."""
        if (near := _distance(start[None])[0]) < _DISC + _MARGIN - 2.0:
            away = start - np.clip(start, *_nearest(start))
            farther = (_WAY - near) / max(float(np.linalg.norm(away)), 1e-6)
            return np.asarray(start + farther * away)
        corners = _CORNERS @ turn.T + block[:2]
        inside = ((corners > 2.0) & (corners < _SIDE - 2.0)).all(axis=1)
        nodes = np.concatenate([start[None], end[None], _CORNERS[inside]])
        target = nodes[_first_stop(nodes)]
        step = target - start
        length = float(np.linalg.norm(step))
        return np.asarray(start + step * min(1.0, _STRIDE / max(length, 1e-6)))


def _slid(place: int, local: Array) -> int:
    """A place, or where the disc has slid along its edge, if it touches that."""
    same = np.flatnonzero((_NORMALS == _NORMALS[place]).all(axis=1))
    apart = np.linalg.norm(local - (_POINTS[same] - _DISC * _NORMALS[same]), axis=1)
    return int(same[apart.argmin()]) if apart.min() < 6.0 else place


def _first_stop(nodes: Array) -> int:
    """The node after 0 on the shortest way to 1 that keeps clear of the T (Dijkstra)."""
    count = len(nodes)
    length = np.full(count, np.inf)
    before, open_nodes = np.zeros(count, np.int64), set(range(count))
    length[0] = 0.0
    while open_nodes:
        here = min(open_nodes, key=lambda node: length[node])
        open_nodes.discard(here)
        if here == 1 or not np.isfinite(length[here]):
            break
        for node in open_nodes:
            longer = length[here] + float(np.linalg.norm(nodes[node] - nodes[here]))
            if longer < length[node] and _is_clear(nodes[here], nodes[node]):
                length[node], before[node] = longer, here
    if not np.isfinite(length[1]):
        return 1
    stop = 1
    while before[stop] != 0:
        stop = int(before[stop])
    return stop


def _is_clear(start: Array, end: Array) -> bool:
    count = 2 + int(np.linalg.norm(end - start) / 6.0)
    return bool((_distance(np.linspace(start, end, count)) > _DISC + _MARGIN - 2.5).all())


def _distance(points: Array) -> Array:
    """Of points `[N, 2]` in the T's frame from the T; 0 inside."""
    low, high = _RECTANGLES[:, None, :2], _RECTANGLES[:, None, 2:]
    beyond = np.maximum(np.maximum(low - points, points - high), 0.0)
    return np.asarray(np.linalg.norm(beyond, axis=-1).min(axis=0))


def _nearest(point: Array) -> tuple[Array, Array]:
    """Corners of the part of the T that is nearest to a point."""
    low, high = _RECTANGLES[:, :2], _RECTANGLES[:, 2:]
    beyond = np.maximum(np.maximum(low - point, point - high), 0.0)
    part = int(np.linalg.norm(beyond, axis=-1).argmin())
    return low[part], high[part]


def _rotation(angle: float) -> Array:
    cos, sin = np.cos(angle), np.sin(angle)
    return np.array([[cos, -sin], [sin, cos]])
