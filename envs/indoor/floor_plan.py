"""Floor plans: a rectangle cut into rooms, doors that connect them all, windows, and their use.

Legend: metres; x east, y north. A side of a room is 0 south, 1 east, 2 north, 3 west. Along a side,
places are measured on the x axis for south and north, on the y axis for the other two.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np

Rect = tuple[float, float, float, float]
"""West, south, east, north."""

WALL = 0.12
CEILING, DOOR_TOP = 2.6, 2.06
SILL, WINDOW_TOP = 0.9, 2.15
NARROWEST = 2.5
_DOOR, _ARCH, _MARGIN = 0.92, 1.7, 0.22
_HALL = (1.35, 1.7)
_AREAS = (9.0, 16.0)
"""Square metres that a room has on average, drawn for each plan."""
_USES = ("bedroom", "kitchen", "study", "dining room", "second bedroom", "playroom")


@dataclass(frozen=True)
class Opening:
    """A gap in one side of a room.

    Attributes:
        side: of the room.
        low: where it begins along the side.
        high: where it ends.
        leads_to: index of the room behind a door, None for a window.
    """

    side: int
    low: float
    high: float
    leads_to: int | None = None


@dataclass(frozen=True)
class Room:
    """One room.

    Attributes:
        rect: up to the middle of its walls.
        use: such as "kitchen"; no two rooms of a plan share it.
        openings: doors and windows.
    """

    rect: Rect
    use: str = ""
    openings: tuple[Opening, ...] = field(default=())

    @property
    def inside(self) -> Rect:
        """The floor between its walls."""
        west, south, east, north = self.rect
        half = WALL / 2
        return west + half, south + half, east - half, north - half

    @property
    def doors(self) -> tuple[Opening, ...]:
        """Openings that one can walk through."""
        return tuple(each for each in self.openings if each.leads_to is not None)

    def side(self, number: int) -> tuple[float, float]:
        """Where the inner face of a side begins and ends along it."""
        west, south, east, north = self.inside
        return (west, east) if number % 2 == 0 else (south, north)


def floor_plan(rng: np.random.Generator, rooms: int) -> tuple[Room, ...]:
    """A connected plan of so many rooms."""
    while True:
        hall = rooms >= 5 and rng.random() < 0.6
        notch = rooms >= 3 and rng.random() < 0.5
        cells = _cells(rng, rooms + notch, hall)
        if cells is None:
            continue
        if notch:
            corner = _removable(rng, cells, hall)
            if corner is None:
                continue
            cells = [cell for index, cell in enumerate(cells) if index != corner]
        links = _links(rng, cells, hall)
        if links is None:
            continue
        uses = _uses(rng, cells, hall)
        return _with_openings(rng, [Room(c, u) for c, u in zip(cells, uses, strict=True)], links)


def _cells(rng: np.random.Generator, count: int, hall: bool) -> list[Rect] | None:
    """Rectangles that tile a rectangle; the first is the hall if there is one."""
    area = count * rng.uniform(*_AREAS)
    aspect = rng.uniform(0.65, 1.0) if not hall else rng.uniform(0.55, 0.8)
    width, depth = float(np.sqrt(area / aspect)), float(np.sqrt(area * aspect))
    if not hall:
        cells = _cut(rng, [(0.0, 0.0, width, depth)], count)
    else:
        across = rng.uniform(*_HALL)
        low = rng.uniform(0.4, 0.6) * (depth - across)
        north = max(1, round((count - 1) * (1 - low / (depth - across))))
        south = count - 1 - north
        if south < 1:
            return None
        below = _slices(rng, (0.0, 0.0, width, low), south)
        above = _slices(rng, (0.0, low + across, width, depth), north)
        cells = [(0.0, low, width, low + across), *below, *above]
    short = [min(c[2] - c[0], c[3] - c[1]) for c in cells[hall:]]
    if min(short) < NARROWEST - 0.01:
        return None
    if rng.random() < 0.5:
        cells = [(c[1], c[0], c[3], c[2]) for c in cells]
    return cells


def _cut(rng: np.random.Generator, cells: list[Rect], count: int) -> list[Rect]:
    """Halve the largest cell across its longer side until there are enough."""
    while len(cells) < count:
        cells = sorted(cells, key=lambda c: (c[2] - c[0]) * (c[3] - c[1]))
        west, south, east, north = cells.pop()
        share = rng.uniform(0.38, 0.62)
        if east - west > north - south:
            middle = west + share * (east - west)
            cells += [(west, south, middle, north), (middle, south, east, north)]
        else:
            middle = south + share * (north - south)
            cells += [(west, south, east, middle), (west, middle, east, north)]
    return cells


def _slices(rng: np.random.Generator, cell: Rect, count: int) -> list[Rect]:
    """Cells side by side along x."""
    west, south, east, north = cell
    shares = rng.uniform(0.75, 1.35, count)
    edges = west + (east - west) * np.concatenate([[0.0], np.cumsum(shares) / shares.sum()])
    pairs = zip(edges[:-1], edges[1:], strict=True)
    return [(float(a), south, float(b), north) for a, b in pairs]


def _shared(one: Rect, other: Rect) -> tuple[int, float, float] | None:
    """Side of `one` that `other` lies behind, and the stretch that they share."""
    gaps = (one[1] - other[3], one[2] - other[0], one[3] - other[1], one[0] - other[2])
    for side, gap in enumerate(gaps):
        axis = side % 2
        low, high = max(one[axis], other[axis]), min(one[axis + 2], other[axis + 2])
        if abs(gap) < 1e-9 and high - low > 0:
            return side, low, high
    return None


def _neighbours(cells: Sequence[Rect]) -> list[tuple[int, int, float]]:
    """Pairs of cells that a door fits between, and the length of the wall between them."""
    found = []
    for one in range(len(cells)):
        for other in range(one + 1, len(cells)):
            shared = _shared(cells[one], cells[other])
            if shared and shared[2] - shared[1] > _DOOR + 2 * _MARGIN + WALL:
                found.append((one, other, shared[2] - shared[1]))
    return found


def _joined(count: int, pairs: Sequence[tuple[int, int]]) -> bool:
    """Whether every cell can be reached from every other."""
    reached = {0}
    for _ in range(count):
        reached |= {b for a, b in pairs if a in reached} | {a for a, b in pairs if b in reached}
    return len(reached) == count


def _removable(rng: np.random.Generator, cells: Sequence[Rect], hall: bool) -> int | None:
    """A cell in a corner of the whole without which the rest holds together."""
    edges = [f(c[k] for c in cells) for k, f in enumerate((min, min, max, max))]
    for index in rng.permutation(np.arange(int(hall), len(cells))):
        cell = cells[index]
        touching = [abs(cell[k] - edges[k]) < 1e-9 for k in range(4)]
        at_corner = (touching[0] or touching[2]) and (touching[1] or touching[3])
        rest = [(a, b) for a, b, _ in _neighbours(cells) if index not in (a, b)]
        renamed = [(a - (a > index), b - (b > index)) for a, b in rest]
        if at_corner and _joined(len(cells) - 1, renamed):
            return int(index)
    return None


def _links(
    rng: np.random.Generator, cells: Sequence[Rect], hall: bool
) -> list[tuple[int, int]] | None:
    """Pairs of rooms with a door between them: a random spanning tree and some more."""
    pairs = [(a, b) for a, b, _ in _neighbours(cells)]
    if not _joined(len(cells), pairs):
        return None
    order = [pairs[k] for k in rng.permutation(len(pairs))]
    if hall:
        order.sort(key=lambda pair: 0 not in pair)
    group = list(range(len(cells)))
    chosen = []
    for a, b in order:
        if group[a] != group[b]:
            old, new = group[a], group[b]
            group = [new if g == old else g for g in group]
            chosen.append((a, b))
        elif rng.random() < (0.15 if hall else 0.35):
            chosen.append((a, b))
    return chosen


def _uses(rng: np.random.Generator, cells: Sequence[Rect], hall: bool) -> list[str]:
    """What each room is for: the largest is lived in, the smallest is the bathroom."""
    areas = [(c[2] - c[0]) * (c[3] - c[1]) for c in cells]
    order = [k for k in np.argsort(areas)[::-1].tolist() if not (hall and k == 0)]
    uses = {0: "hallway"} if hall else {}
    uses[order.pop(0)] = "living room"
    if len(order) >= 2:
        uses[order.pop()] = "bathroom"
    first, rest = ["bedroom", "kitchen"], list(_USES[2:])
    rng.shuffle(first)
    rng.shuffle(rest)
    for room, use in zip(order, [*first, *rest], strict=False):
        uses[room] = use
    return [uses[k] for k in range(len(cells))]


def _with_openings(
    rng: np.random.Generator, rooms: list[Room], links: Sequence[tuple[int, int]]
) -> tuple[Room, ...]:
    """Rooms with doors at the links and windows in outer walls."""
    for a, b in links:
        shared = _shared(rooms[a].rect, rooms[b].rect)
        assert shared is not None
        side, low, high = shared
        private = {"bathroom", "bedroom", "second bedroom"} & {rooms[a].use, rooms[b].use}
        arch = not private and high - low > _ARCH + 2 * _MARGIN + WALL and rng.random() < 0.35
        width = _ARCH if arch else _DOOR
        room = _MARGIN + WALL / 2 + width / 2
        middle = float(rng.uniform(low + room, high - room))
        for here, there, face in ((a, b, side), (b, a, (side + 2) % 4)):
            door = Opening(face, middle - width / 2, middle + width / 2, there)
            rooms[here] = replace(rooms[here], openings=(*rooms[here].openings, door))
    return tuple(_windowed(rng, room, [each.rect for each in rooms]) for room in rooms)


def _windowed(rng: np.random.Generator, room: Room, cells: Sequence[Rect]) -> Room:
    """A room with one window in each outer wall that is long enough, most of the time."""
    for side in range(4):
        low, high = room.side(side)
        behind = [s for c in cells if (s := _shared(room.rect, c)) and s[0] == side]
        if behind or high - low < 1.8 or rng.random() < 0.25:
            continue
        small = room.use == "bathroom"
        width = 0.7 if small else float(rng.uniform(1.0, min(2.2, high - low - 0.6)))
        middle = float(rng.uniform(low + 0.3 + width / 2, high - 0.3 - width / 2))
        window = Opening(side, middle - width / 2, middle + width / 2)
        room = replace(room, openings=(*room.openings, window))
    return room
