"""The shell of an apartment: floors, ceilings, walls with doors and windows, what hangs on them.

Walls are seen from inside alone. Every room papers its own side of a wall.

Legend: metres; sides and places along them as in `worldsim.envs.indoor.floor_plan`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from worldsim.envs.indoor.colours import NAMED
from worldsim.envs.indoor.floor_plan import (
    CEILING,
    DOOR_TOP,
    SILL,
    WALL,
    WINDOW_TOP,
    Opening,
    Room,
)
from worldsim.envs.indoor.free_space import Array, rectangle
from worldsim.envs.indoor.solids import Part, Solids

_PAPER = 2.0
"""Width of a wall's picture."""
_REVEAL = 0.10
_CASING = 0.08
_FLOOR_TILE = 1.5
_SEAM = 0.02


@dataclass(frozen=True)
class Finish:
    """Materials of a room.

    Attributes:
        floor: of the floor.
        wall: of the walls.
        view: behind its windows.
        rug: on its floor, or None.
        painting: on one of its walls, or None.
        curtain: colour beside its windows, or None.
    """

    floor: str
    wall: str
    view: str
    rug: str | None = None
    painting: str | None = None
    curtain: str | None = None


def wall_supports(rooms: Sequence[Room]) -> list[Array]:
    """Support values of the solid parts of all walls, each room's half of them."""
    found = []
    for room in rooms:
        for side in range(4):
            low, high = room.side(side)
            edges = [low - WALL / 2]
            for door in sorted(_on(room.doors, side), key=lambda each: each.low):
                edges += [door.low, door.high]
            edges.append(high + WALL / 2)
            for begin, end in zip(edges[::2], edges[1::2], strict=True):
                one, other = (_plan_point(room, side, *p) for p in ((begin, 0), (end, WALL / 2)))
                found.append(rectangle(np.minimum(one, other), np.maximum(one, other)))
    return found


def build_shell(solids: Solids, room: Room, finish: Finish, rng: np.random.Generator) -> None:
    """Put a room's shell into `solids`."""
    _floor_and_ceiling(solids, room, finish)
    for side in range(4):
        _wall(solids, room, side, finish)
    for opening in room.openings:
        if opening.leads_to is None:
            _window(solids, room, opening, finish)
        else:
            _doorway(solids, room, opening, finish)
    _lamp(solids, room)
    if finish.rug is not None:
        _rug(solids, room, finish.rug, rng)
    if finish.painting is not None:
        _painting(solids, room, finish.painting, rng)


def _on(openings: Sequence[Opening], side: int) -> list[Opening]:
    return [each for each in openings if each.side == side]


def _plan_point(room: Room, side: int, along: float, out: float) -> Array:
    """`[2]`, at a place along a side, `out` beyond its inner face."""
    west, south, east, north = room.inside
    x = (along, east + out, along, west - out)[side]
    y = (south - out, along, north + out, along)[side]
    return np.array([x, y], np.float64)


def before_side(room: Room, side: int, along: float, off: float) -> Array:
    """A place `[2]` in a room, `off` metres before a side."""
    return _plan_point(room, side, along, -off)


def _point(room: Room, side: int, along: float, out: float, z: float) -> Array:
    return np.array([*_plan_point(room, side, along, out), z])


def _face(
    solids: Solids, material: str, corners: Sequence[Array], coordinates: Array, toward: Array
) -> None:
    """A quad that is seen from `toward`, whichever way its corners run."""
    points = np.array(corners)
    normal = np.cross(points[1] - points[0], points[3] - points[0])
    if normal @ (toward - points[0]) < 0:
        points, coordinates = points[::-1], coordinates[::-1]
    solids.quad(material, points, coordinates)


def _centre(room: Room) -> Array:
    west, south, east, north = room.inside
    return np.array([(west + east) / 2, (south + north) / 2, CEILING / 2])


def _slab(
    solids: Solids,
    room: Room,
    side: int,
    along: tuple[float, float],
    out: tuple[float, float],
    z: tuple[float, float],
    paint: str,
) -> None:
    """A box along a wall, between two places, depths and heights."""
    one, other = (
        _point(room, side, along[0], out[0], z[0]),
        _point(room, side, along[1], out[1], z[1]),
    )
    centre, half = (one + other) / 2, np.abs(other - one) / 2
    part = Part("box", tuple(map(float, centre)), tuple(map(float, half)), paint)  # type: ignore[arg-type]
    solids.place([part], np.zeros(3), 0.0)


def _floor_and_ceiling(solids: Solids, room: Room, finish: Finish) -> None:
    """Both reach a little below the walls, so that no ray slips through the seam."""
    west, south, east, north = np.array(room.inside) + (-_SEAM, -_SEAM, _SEAM, _SEAM)
    flat = np.array([(west, south), (east, south), (east, north), (west, north)])
    for z, material in ((0.0, finish.floor), (CEILING, "ceiling")):
        corners = [np.array([*point, z]) for point in flat]
        _face(solids, material, corners, flat / _FLOOR_TILE, _centre(room))


def _wall(solids: Solids, room: Room, side: int, finish: Finish) -> None:
    """The paper around the openings of one side."""
    low, high = room.side(side)
    cuts = sorted(_on(room.openings, side), key=lambda each: each.low)
    edges = [low, *(edge for each in cuts for edge in (each.low, each.high)), high]
    panels = [(a, b, 0.0, CEILING) for a, b in zip(edges[::2], edges[1::2], strict=True)]
    for each in cuts:
        if each.leads_to is not None:
            panels.append((each.low, each.high, DOOR_TOP, CEILING))
        else:
            panels.append((each.low, each.high, 0.0, SILL))
            panels.append((each.low, each.high, WINDOW_TOP, CEILING))
    for a, b, bottom, top in panels:
        if b - a < 1e-6:
            continue
        flat = np.array([(a, bottom), (b, bottom), (b, top), (a, top)])
        corners = [_point(room, side, along, 0.0, z) for along, z in flat]
        _face(solids, finish.wall, corners, flat / (_PAPER, CEILING), _centre(room))


def _lining(
    solids: Solids, room: Room, opening: Opening, bottom: float, top: float, deep: float
) -> None:
    """The inner sides of an opening, up to `deep` behind the wall's face."""
    side, low, high = opening.side, opening.low, opening.high
    for begin, end in ((low - 0.01, low), (high, high + 0.01)):
        _slab(solids, room, side, (begin, end), (0.0, deep), (bottom, top), "trim")
    _slab(solids, room, side, (low, high), (0.0, deep), (top, top + 0.01), "trim")


def _doorway(solids: Solids, room: Room, door: Opening, finish: Finish) -> None:
    """Lining, casing, and the floor in between."""
    _lining(solids, room, door, 0.0, DOOR_TOP, WALL / 2)
    for begin, end in ((door.low - _CASING, door.low), (door.high, door.high + _CASING)):
        _slab(solids, room, door.side, (begin, end), (-0.02, 0.0), (0.0, DOOR_TOP), "trim")
    ends = (door.low - _CASING, door.high + _CASING)
    _slab(solids, room, door.side, ends, (-0.02, 0.0), (DOOR_TOP, DOOR_TOP + _CASING), "trim")
    corners = [
        _point(room, door.side, along, out, 0.0)
        for along, out in (
            (door.low, 0.0),
            (door.high, 0.0),
            (door.high, WALL / 2),
            (door.low, WALL / 2),
        )
    ]
    flat = np.array([corner[:2] for corner in corners]) / _FLOOR_TILE
    _face(solids, finish.floor, corners, flat, _centre(room))


def _window(solids: Solids, room: Room, window: Opening, finish: Finish) -> None:
    """A view, frame, sill and curtains."""
    side, low, high = window.side, window.low, window.high
    _lining(solids, room, window, SILL, WINDOW_TOP, _REVEAL)
    pane = np.array([(low, SILL), (high, SILL), (high, WINDOW_TOP), (low, WINDOW_TOP)])
    corners = [_point(room, side, along, _REVEAL, z) for along, z in pane]
    flipped = side in (0, 1)  # the picture runs to the right as it is seen
    across = (pane[:, :1] - low) / (high - low)
    across = across if not flipped else 1 - across
    up = (pane[:, 1:] - SILL) / (WINDOW_TOP - SILL)
    _face(solids, finish.view, corners, np.concatenate([across, up], axis=1), _centre(room))
    middle, bar = (low + high) / 2, 0.025
    for begin, end in ((low, low + 2 * bar), (middle - bar, middle + bar), (high - 2 * bar, high)):
        _slab(solids, room, side, (begin, end), (0.06, _REVEAL), (SILL, WINDOW_TOP), "trim")
    for begin in (SILL, WINDOW_TOP - 2 * bar):
        _slab(solids, room, side, (low, high), (0.06, _REVEAL), (begin, begin + 2 * bar), "trim")
    _slab(solids, room, side, (low - 0.06, high + 0.06), (-0.05, 0.0), (SILL - 0.04, SILL), "trim")
    _slab(solids, room, side, (low, high), (0.0, _REVEAL), (SILL - 0.01, SILL), "trim")
    if finish.curtain is not None:
        bounds = room.side(side)
        wide = 0.18
        for begin in (low - wide, high):
            ends = (max(begin, bounds[0]), min(begin + wide, bounds[1]))
            if ends[1] - ends[0] > 0.05:
                height = (SILL - 0.15, WINDOW_TOP + 0.12)
                _slab(solids, room, side, ends, (-0.04, -0.005), height, finish.curtain)


def _lamp(solids: Solids, room: Room) -> None:
    """A lamp under the ceiling."""
    centre = _centre(room)
    centre[2] = 0.0
    parts = [
        Part("cylinder", (0, 0, CEILING - 0.09), (0.02, 0.02, 0.09), "dark steel"),
        Part("ball", (0, 0, CEILING - 0.24), (0.2, 0.2, 0.08), "lamp light"),
    ]
    solids.place(parts, centre, 0.0)


def _rug(solids: Solids, room: Room, material: str, rng: np.random.Generator) -> None:
    """A rug about the middle of the room."""
    west, south, east, north = room.inside
    half = 0.5 * rng.uniform(0.4, 0.65, 2) * (east - west, north - south)
    x, y = _centre(room)[:2] + rng.uniform(-0.2, 0.2, 2)
    flat = np.array([(-1, -1), (1, -1), (1, 1), (-1, 1)]) * half + (x, y)
    corners = [np.array([*point, 0.012]) for point in flat]
    whole = np.array([(0, 0), (1, 0), (1, 1), (0, 1)], np.float64)
    _face(solids, material, corners, whole, _centre(room))


def _painting(solids: Solids, room: Room, material: str, rng: np.random.Generator) -> None:
    """A picture on a stretch of wall without doors and windows."""
    wide, high = rng.uniform(0.6, 1.1), rng.uniform(0.5, 0.75)
    for _ in range(10):
        side = int(rng.integers(4))
        low, end = room.side(side)
        if end - low < wide + 0.4:
            continue
        begin = rng.uniform(low + 0.2, end - 0.2 - wide)
        clear = all(
            each.high + 0.2 < begin or each.low - 0.2 > begin + wide
            for each in _on(room.openings, side)
        )
        if clear:
            along, z = (begin, begin + wide), (1.35, 1.35 + high)
            _slab(solids, room, side, along, (-0.03, 0.0), z, material)
            return


CURTAINS = tuple(name for name in NAMED if name not in ("black", "white"))
