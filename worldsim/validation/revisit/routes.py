"""Routes through an apartment that come back to where they were, a little off and otherwise turned.

Each has a first visit, which ends out of its own sight, and a return; the control never returns.
Places are drawn until every way between them is free, so a scene may have no room for a route.

Legend: metres and radians in the scene's frame; places are `[2]`.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.indoor.free_space import FreeSpace
from worldsim.envs.indoor.scene import Scene
from worldsim.envs.indoor.shortest_path import ShortestPaths
from worldsim.registry import Registry

Array = NDArray[np.float64]

MARGIN = 0.05
"""Metres that places keep off obstacles."""
TRIES = 2000
SIDES = (0.5, 1.8)
"""Metres of a side of a loop."""
WAYS = (1.2, 6.0)
"""Metres of a way out."""


@dataclass(frozen=True, eq=False)
class Leg:
    """Attributes:
    places: `[n, 2]` to go to one after the other.
    turn: radians to turn on the spot then.
    lingers: whether it then goes on turning for as long as a visit must lie back.
    """

    places: Array
    turn: float = 0.0
    lingers: bool = False


@dataclass(frozen=True, eq=False)
class Route:
    """Attributes:
    name: registered.
    start: `[2]`.
    yaw: heading at the start.
    first: legs of the first visit.
    back: legs of the return.
    """

    name: str
    start: Array
    yaw: float
    first: tuple[Leg, ...]
    back: tuple[Leg, ...]


@dataclass(eq=False)
class Planner:
    """Draws places of one scene.

    Attributes:
        scene: where.
        space: of the agent.
        rng: of the draws.
        offset: least and most metres by which a return is off.
    """

    scene: Scene
    space: FreeSpace
    rng: np.random.Generator
    offset: tuple[float, float]
    _paths: dict[bytes, ShortestPaths] = field(default_factory=dict)

    def place(self, room: int | None = None) -> Array | None:
        """A free place, in a room of its own choice if none is named."""
        index = int(self.rng.integers(len(self.scene.rooms))) if room is None else room
        west, south, east, north = self.scene.rooms[index].inside
        for _ in range(20):
            found = self.rng.uniform((west, south), (east, north))
            if self.space.is_free(found, MARGIN):
                return np.asarray(found)
        return None

    def aside(self, place: Array) -> Array | None:
        """A free place off another, from which one can go there straight."""
        for _ in range(20):
            found = place + self.shift()
            if self.space.is_free(found, MARGIN) and self.free(place, found):
                return np.asarray(found)
        return None

    def shift(self) -> Array:
        """By how much a return is off, `[2]`."""
        angle = self.rng.uniform(-np.pi, np.pi)
        length = self.rng.uniform(*self.offset)
        return np.asarray(length * np.array([np.cos(angle), np.sin(angle)]))

    def free(self, *places: Array) -> bool:
        """Whether the straight ways from each place to the next are."""
        points = np.stack(places)
        clear = self.space.is_free(points, MARGIN).all()
        return bool(clear and self.space.sees(points[:-1], points[1:]).all())

    def way(self, start: Array, end: Array) -> Array | None:
        """Corners `[n, 2]` of the shortest path, without its start; None where there is none."""
        key = end.tobytes()
        if key not in self._paths:
            self._paths[key] = ShortestPaths(self.space, end[None])
        paths = self._paths[key]
        if not np.isfinite(paths.distance(start)):
            return None
        return np.asarray(paths.path(start)[1:], np.float64)

    def away(self, last: Array, *kept: Array) -> tuple[Array, Array] | None:
        """The way `[n, 2]` from a place to one that sees it not, nor any that is `kept`, and the
        way back; None where a try finds none."""
        end = self.place()
        if end is None or any(self.free(end, each) for each in (last, *kept)):
            return None
        out = self.way(last, end)
        if out is None or not WAYS[0] <= _length(last, out) <= WAYS[1]:
            return None
        return out, np.concatenate([out[-2::-1], last[None]])

    def turned(self, *corners: tuple[float, float]) -> Array:
        """Corners turned by an angle of its own choice."""
        angle = self.rng.uniform(-np.pi, np.pi)
        cos, sin = np.cos(angle), np.sin(angle)
        return np.asarray(np.array(corners) @ np.array([[cos, sin], [-sin, cos]]), np.float64)


Draw = Callable[[Planner], Route | None]
"""One try to draw a route."""
ROUTES: Registry[Draw] = Registry("route")
CONTROL = "control"


def plan_route(name: str, planner: Planner) -> Route | None:
    """A route of that name; None where the scene has no room for one.

    Raises:
        UnknownNameError: there is no such route.
    """
    draw = ROUTES.get(name)
    return next((found for found in (draw(planner) for _ in range(TRIES)) if found), None)


def _heading(start: Array, toward: Array) -> float:
    return float(np.arctan2(*(toward - start)[::-1]))


def _length(start: Array, way: Array) -> float:
    whole = np.concatenate([start[None], way])
    return float(np.hypot(*np.diff(whole, axis=0).T).sum())


def _comes_back(
    planner: Planner, name: str, start: Array, first: tuple[Leg, ...], back: tuple[Leg, ...]
) -> Route | None:
    """A route whose first visit ends where it cannot be seen from, and lingers there."""
    places = np.concatenate([start[None], *(leg.places for leg in first)])
    gone = planner.away(places[-1], *places)
    if gone is None:
        return None
    heading = _heading(start, places[1] if len(places) > 1 else gone[0][0])
    return Route(name, start, heading, (*first, Leg(gone[0], lingers=True)), (Leg(gone[1]), *back))


@ROUTES.register("out_and_back")
def out_and_back(planner: Planner) -> Route | None:
    """To a place out of sight, and back to beside the start and all the way it came."""
    start = planner.place()
    beside = None if start is None else planner.aside(start)
    if start is None or beside is None:
        return None
    return _comes_back(planner, "out_and_back", start, (), (Leg(beside[None]),))


@ROUTES.register("rectangle")
def rectangle(planner: Planner) -> Route | None:
    """Round a rectangle, and once more, shifted and the other way round."""
    start = planner.place()
    a, b = planner.rng.uniform(*SIDES, size=2)
    if start is None:
        return None
    loop = start + planner.turned((0, 0), (a, 0), (a, b), (0, b), (0, 0))
    again = loop[::-1] + planner.shift()
    if not planner.free(*loop, *again):
        return None
    return _comes_back(planner, "rectangle", start, (Leg(loop[1:]),), (Leg(again),))


@ROUTES.register("figure_eight")
def figure_eight(planner: Planner) -> Route | None:
    """Round one loop and round another that meets it, and round both again, shifted."""
    start = planner.place()
    a, b, c, d = planner.rng.uniform(SIDES[0], SIDES[1] / 2, size=4)
    if start is None:
        return None
    one = ((0, 0), (a, 0), (a, b), (0, b), (0, 0))
    other = ((-c, 0), (-c, -d), (0, -d), (0, 0))
    eight = start + planner.turned(*one, *other)
    again = eight[::-1] + planner.shift()
    if not planner.free(*eight, *again):
        return None
    return _comes_back(planner, "figure_eight", start, (Leg(eight[1:]),), (Leg(again),))


@ROUTES.register("two_rooms")
def two_rooms(planner: Planner) -> Route | None:
    """Through a door into the room behind it, all round there, and back to beside the start."""
    rooms = planner.scene.rooms
    room = int(planner.rng.integers(len(rooms)))
    door = rooms[room].doors[int(planner.rng.integers(len(rooms[room].doors)))]
    assert door.leads_to is not None
    start, end = planner.place(room), planner.place(door.leads_to)
    if start is None or end is None or planner.free(start, end):
        return None
    beside, out = planner.aside(start), planner.way(start, end)
    if beside is None or out is None or not WAYS[0] <= _length(start, out) <= WAYS[1]:
        return None
    back = planner.way(end, beside)
    if back is None:
        return None
    first = Leg(out, 2 * np.pi, lingers=True)
    return Route("two_rooms", start, _heading(start, out[0]), (first,), (Leg(back, np.pi),))


@ROUTES.register("spin")
def spin(planner: Planner) -> Route | None:
    """All round on the spot, and once more a step aside, the other way round."""
    start = planner.place()
    beside = None if start is None else planner.aside(start)
    if start is None or beside is None:
        return None
    first = Leg(np.zeros((0, 2)), 2 * np.pi)
    return _comes_back(planner, "spin", start, (first,), (Leg(beside[None], -2 * np.pi),))


@ROUTES.register(CONTROL)
def control(planner: Planner) -> Route | None:
    """One way that never comes back, on which a memory must not hurt."""
    start, end = planner.place(), planner.place()
    if start is None or end is None:
        return None
    way = planner.way(start, end)
    if way is None or not WAYS[1] / 2 <= _length(start, way) <= 2 * WAYS[1]:
        return None
    return Route(CONTROL, start, _heading(start, way[0]), (), (Leg(way),))
