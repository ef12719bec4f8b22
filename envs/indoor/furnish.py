"""Furnishing: which things a room holds, and where they stand.

Furniture stands against walls, clear of doors and of windows that it would cover. Tables have
chairs, and some have things on them. A room stays passable from each of its doors to all others.

Legend: metres.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.ndimage import label

from worldsim.envs.indoor.colours import NAMED
from worldsim.envs.indoor.contents import (
    CONTENTS,
    IN_MIDDLE,
    ON_TOP,
    USUAL,
    WITH_CHAIRS,
)
from worldsim.envs.indoor.floor_plan import SILL, Room
from worldsim.envs.indoor.free_space import Array, rectangle, support
from worldsim.envs.indoor.furniture import KINDS
from worldsim.envs.indoor.things import Thing

WIDEST_AGENT = 0.3
"""Radius of the widest agent that every room stays passable for."""
_CELL = 0.1
_DOORWAY = 1.0
_TRIES = 24
_STANDING = 0.04


@dataclass(frozen=True, eq=False)
class Placed:
    """A thing in its place.

    Attributes:
        kind: such as "sofa".
        colour: such as "red".
        thing: its shape.
        room: index of the room.
        place: `[3]` of its origin.
        yaw: by which it is turned.
        under: index of the thing that it stands on, or None for the floor.
    """

    kind: str
    colour: str
    thing: Thing
    room: int
    place: Array
    yaw: float
    under: int | None = None

    @property
    def name(self) -> str:
        """As instructions have it."""
        return f"{self.colour} {self.kind}"

    @property
    def outline(self) -> Array:
        """Corners `[4, 2]` of its footprint."""
        x, y = self.thing.width / 2, self.thing.depth / 2
        corners = np.array([[-x, -y], [x, -y], [x, y], [-x, y]])
        turn = np.array(
            [[np.cos(self.yaw), -np.sin(self.yaw)], [np.sin(self.yaw), np.cos(self.yaw)]]
        )
        return np.asarray(corners @ turn.T + self.place[:2])

    @property
    def middle(self) -> Array:
        """`[3]` halfway up."""
        return np.asarray(self.place + (0.0, 0.0, self.thing.height / 2))


def furnish(rng: np.random.Generator, rooms: Sequence[Room]) -> list[Placed]:
    """Things for all rooms; no two of a room share colour and kind."""
    placed: list[Placed] = []
    for index, room in enumerate(rooms):
        _Furnisher(rng, index, room, placed).furnish()
    return placed


class _Furnisher:
    """Furnishes one room."""

    def __init__(
        self, rng: np.random.Generator, index: int, room: Room, placed: list[Placed]
    ) -> None:
        self._rng, self._index, self._room, self._placed = rng, index, room, placed
        self._taken: list[Array] = []
        self._doorways = [_before(room, door, _DOORWAY) for door in room.doors]
        windows = [each for each in room.openings if each.leads_to is None]
        self._windows = [_before(room, window, 0.3) for window in windows]

    def furnish(self) -> None:
        """See the module's text."""
        for kind, chance, where in CONTENTS[self._room.use]:
            if self._rng.random() > chance:
                continue
            if where == ON_TOP:
                self._put_on(kind)
                continue
            placed = self._put(kind, where)
            if placed is not None and kind in WITH_CHAIRS:
                self._put_chairs(placed)

    def _coloured(self, kind: str) -> str | None:
        """A colour that no other thing of this kind has in this room."""
        used = {p.colour for p in self._placed if p.room == self._index and p.kind == kind}
        free = [colour for colour in USUAL.get(kind, tuple(NAMED)) if colour not in used]
        return str(self._rng.choice(free)) if free else None

    def _put(self, kind: str, where: str) -> Placed | None:
        colour = self._coloured(kind)
        if colour is None:
            return None
        thing = KINDS[kind](self._rng, colour)
        for _ in range(_TRIES):
            spot = self._spot(thing, where)
            if spot is None:
                continue
            placed = Placed(kind, colour, thing, self._index, *spot)
            if self._fits(placed):
                self._placed.append(placed)
                self._taken.append(support(placed.outline))
                return placed
        return None

    def _spot(self, thing: Thing, where: str) -> tuple[Array, float] | None:
        """A random place and turn."""
        west, south, east, north = self._room.inside
        if where == IN_MIDDLE:
            yaw = float(self._rng.integers(16)) * np.pi / 8 if thing.width < 0.7 else 0.0
            yaw += np.pi / 2 * float(self._rng.integers(2))
            reach = max(thing.width, thing.depth) / 2 + 0.35
            if min(east - west, north - south) < 2 * reach:
                return None
            x, y = (
                self._rng.uniform(west + reach, east - reach),
                self._rng.uniform(south + reach, north - reach),
            )
            return np.array([x, y, 0.0]), yaw
        side = int(self._rng.integers(4))
        low, high = self._room.side(side)
        half = thing.width / 2 + _STANDING
        if high - low < 2 * half:
            return None
        along = self._rng.uniform(low + half, high - half)
        if self._rng.random() < 0.5:  # in a corner
            along = low + half if self._rng.random() < 0.5 else high - half
        off = thing.depth / 2 + _STANDING
        # The back faces the wall: +y turned to the south, the east, the north or the west.
        places = (
            (along, south + off),
            (east - off, along),
            (along, north - off),
            (west + off, along),
        )
        return np.array([*places[side], 0.0]), (np.pi, -np.pi / 2, 0.0, np.pi / 2)[side]

    def _fits(self, placed: Placed) -> bool:
        """Whether it is clear of doorways, windows and things, and the room stays passable."""
        here = support(placed.outline)
        blocked = [*self._doorways, *self._taken]
        if placed.thing.height > SILL:
            blocked += self._windows
        if any(_overlap(here, other) for other in blocked):
            return False
        west, south, east, north = self._room.inside
        inside = rectangle(np.array([west, south]), np.array([east, north]))
        return bool((here <= inside + 1e-9).all()) and self._passable([*self._taken, here])

    def _passable(self, taken: Sequence[Array]) -> bool:
        """Whether all doors stay connected, and no free spot is cut off from them."""
        west, south, east, north = self._room.inside
        x = np.arange(west + WIDEST_AGENT, east - WIDEST_AGENT + 1e-9, _CELL)
        y = np.arange(south + WIDEST_AGENT, north - WIDEST_AGENT + 1e-9, _CELL)
        grid_x, grid_y = np.meshgrid(x, y)
        free = np.ones(grid_x.shape, bool)
        for each in taken:
            reach = each + WIDEST_AGENT
            free &= (
                (grid_x > reach[0])
                | (grid_x < -reach[8])
                | (grid_y > reach[4])
                | (grid_y < -reach[12])
            )
        groups, count = label(free)
        if count == 0:
            return False
        sizes = np.bincount(groups.ravel())[1:]
        main = int(sizes.argmax()) + 1
        for door in self._doorways:
            middle = np.array([door[0] - door[8], door[4] - door[12]]) / 2
            near = (np.abs(grid_x - middle[0]) < 0.3) & (np.abs(grid_y - middle[1]) < 0.3)
            if not (groups[near] == main).any():
                return False
        return bool(sizes.sum() - sizes.max() < 8)

    def _put_chairs(self, placed: Placed) -> None:
        """Chairs around a table, of one colour each, as far as they fit."""
        thing = placed.thing
        spots = [(0.0, 1.0), (0.0, -1.0), (1.0, 0.0), (-1.0, 0.0)]
        for k in self._rng.permutation(len(spots))[: int(self._rng.integers(2, 5))]:
            colour = self._coloured("chair")
            if colour is None:
                return
            chair = KINDS["chair"](self._rng, colour)
            out = np.array(spots[k])
            gap = (thing.width if out[0] else thing.depth) / 2 + chair.depth / 2 + 0.03
            turn = np.array(
                [
                    [np.cos(placed.yaw), -np.sin(placed.yaw)],
                    [np.sin(placed.yaw), np.cos(placed.yaw)],
                ]
            )
            xy = placed.place[:2] + turn @ (out * gap)
            away = turn @ out
            one = Placed(
                "chair",
                colour,
                chair,
                self._index,
                np.array([*xy, 0.0]),
                float(np.arctan2(-away[0], away[1])),
            )
            if self._fits(one):
                self._placed.append(one)
                self._taken.append(support(one.outline))

    def _put_on(self, kind: str) -> None:
        """A small thing on top of a piece of furniture of this room that bears nothing yet."""
        borne = {p.under for p in self._placed}
        tops = [
            (k, p)
            for k, p in enumerate(self._placed)
            if p.room == self._index and p.thing.top is not None and k not in borne
        ]
        colour = self._coloured(kind)
        if not tops or colour is None:
            return
        k, below = tops[int(self._rng.integers(len(tops)))]
        place = below.place + np.array([0.0, 0.0, below.thing.top or 0.0])
        thing = KINDS[kind](self._rng, colour)
        self._placed.append(Placed(kind, colour, thing, self._index, place, below.yaw, k))


def _before(room: Room, opening: object, deep: float) -> Array:
    """Support values of the floor in front of an opening."""
    west, south, east, north = room.inside
    side, low, high = opening.side, opening.low, opening.high  # type: ignore[attr-defined]
    boxes = (
        ((low, south), (high, south + deep)),
        ((east - deep, low), (east, high)),
        ((low, north - deep), (high, north)),
        ((west, low), (west + deep, high)),
    )
    return rectangle(np.array(boxes[side][0]), np.array(boxes[side][1]))


def _overlap(one: Array, other: Array, gap: float = 0.03) -> bool:
    """Whether two outlines, by their support values, come closer than `gap`."""
    opposite = np.roll(other, len(other) // 2)
    return bool((one + opposite + gap > 0).all())
