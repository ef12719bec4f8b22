"""An explorer that draws its own map and goes to its nearest frontier (Yamauchi, CIRA 1997).

It sees a panorama alone. How far the floor reaches in each direction it guesses from the picture:
the floor ends where colours change from one row to the next, and a row's angle below the horizon
tells the distance of a floor (ground-plane assumption). Collisions correct what is wrong of that.

Legend: H W pixels, C columns, G cells along a side of the map.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worldsim.config.limits import Positive, Whole
from worldsim.config.values import check_arguments
from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.policies.base import POLICIES, EpisodePolicy, FloatArray
from worldsim.policies.steering import Steering, wrapped
from worldsim.policies.wandering import Wander
from worldsim.spec import EQUIRECTANGULAR, ActionKind, WorldSpec

CELL, CELLS = 0.25, 128
"""Metres of a cell of the map, and cells along its side; the start is in the middle."""
UNKNOWN, FREE, TAKEN = 0, 1, 2
_REACH = 3.0
"""Metres beyond which a guess is not trusted: a row is then many metres deep."""
_SURE = 0.8
"""Metres within which the end of a floor is taken for an obstacle. Further off it may be a rug's
edge or a shadow, which is no more than unknown floor."""
_EDGE, _FLOOR_ROWS = 22.0, 3
"""Grey levels from one row to the next at which the floor ends; rows that surely show it."""
_FINER, _BESIDE = 4, 2
"""Rays for each column; cells around an agent that it would see if they were floor."""
_AHEAD, _KEEP = 3, 4
"""Cells of a path that are headed for at once; steps for which a path is kept."""
_FEEL = (CELL, 1.5 * CELL)
"""Metres ahead at which something is that was run into; the second is another cell for sure."""
_TURNING, _MOST_TURNS = 0.1, 6
_AROUND = ((1, 0), (-1, 0), (0, 1), (0, -1))


def floor_ranges(panorama: NDArray[np.uint8], eye: float) -> NDArray[np.float64]:
    """Metres `[C]` at which the floor seems to end in the direction of each column.

    Args:
        panorama: uint8 `[H, W, 3]`, all round, looking ahead in the middle.
        eye: height of the camera, metres.
    """
    height = len(panorama)
    below = panorama[height // 2 :][::-1].astype(np.float64)  # from the feet to the horizon
    change = np.abs(np.diff(below, axis=0)).mean(axis=-1)
    change[: _FLOOR_ROWS - 1] = 0.0
    ends = change > _EDGE
    rows = np.where(ends.any(axis=0), ends.argmax(axis=0) + 1, len(below))
    # Angle of the edge between two rows below the horizon.
    angle = np.pi * (0.5 - rows / height)
    return np.asarray(eye / np.tan(np.maximum(angle, 1e-3)))


@dataclass(eq=False)
class FloorMap:
    """What an explorer knows of the floor, in the frame of its start.

    Attributes:
        cells: `[G, G]` of `UNKNOWN`, `FREE` and `TAKEN`, by x and y.
        felt: `[G, G]` where something was run into; no look takes that for free.
    """

    cells: NDArray[np.uint8] = field(
        default_factory=lambda: np.full((CELLS, CELLS), UNKNOWN, np.uint8)
    )
    felt: NDArray[np.bool_] = field(default_factory=lambda: np.zeros((CELLS, CELLS), bool))

    @staticmethod
    def cell(x: float, y: float) -> tuple[int, int]:
        """The cell of a place; places beyond the map are in its outermost ones."""
        index = np.clip(np.floor(np.array([x, y]) / CELL) + CELLS // 2, 3, CELLS - 4)
        return int(index[0]), int(index[1])

    @staticmethod
    def place(cell: tuple[int, int]) -> tuple[float, float]:
        """The middle of a cell."""
        half = CELLS // 2
        return (cell[0] - half + 0.5) * CELL, (cell[1] - half + 0.5) * CELL

    def look(self, x: float, y: float, yaw: float, ranges: NDArray[np.float64]) -> None:
        """Mark what ranges `[C]` tell from a place, the middle column along the heading."""
        ranges = np.repeat(ranges, _FINER)  # so that no cell lies between two rays
        count = len(ranges)
        bearing = yaw + 2 * np.pi * (0.5 - (np.arange(count) + 0.5) / count)
        along = np.arange(0.0, _REACH, CELL / 2)
        seen = np.minimum(ranges, _REACH)
        column, step = np.nonzero(along[None] < seen[:, None] - CELL / 2)
        self._mark(x, y, bearing[column], along[step], FREE)
        ends = np.flatnonzero(ranges < _SURE)
        self._mark(x, y, bearing[ends], ranges[ends], TAKEN)
        here = self.cell(x, y)
        near = self.cells[here[0] - _BESIDE : here[0] + _BESIDE + 1]
        near = near[:, here[1] - _BESIDE : here[1] + _BESIDE + 1]
        near[near == UNKNOWN] = TAKEN  # who stands beside a floor sees it
        self.cells[here] = FREE

    def _mark(
        self, x: float, y: float, bearing: NDArray[np.float64], away: NDArray[np.float64], mark: int
    ) -> None:
        places = np.stack([x + away * np.cos(bearing), y + away * np.sin(bearing)])
        index = np.clip(np.floor(places / CELL).astype(int) + CELLS // 2, 1, CELLS - 2)
        if mark == FREE:
            seen = ~self.felt[index[0], index[1]]
            self.cells[index[0][seen], index[1][seen]] = FREE
        else:  # a floor that was walked or seen from nearby stays one
            fresh = self.cells[index[0], index[1]] != FREE
            self.cells[index[0][fresh], index[1][fresh]] = TAKEN

    def feel(self, x: float, y: float, yaw: float) -> None:
        """Mark the next cell ahead of a place as taken: somebody ran into something there."""
        here = self.cell(x, y)
        ahead = [self.cell(x + away * np.cos(yaw), y + away * np.sin(yaw)) for away in _FEEL]
        cell = next((each for each in ahead if each != here), here)
        self.cells[cell], self.felt[cell] = TAKEN, True

    def path(self, x: float, y: float) -> list[tuple[int, int]]:
        """Cells of the shortest way over free ones to the nearest frontier; empty without one."""
        first = self.cell(x, y)
        before: dict[tuple[int, int], tuple[int, int]] = {first: first}
        waiting = deque([first])
        while waiting:
            here = waiting.popleft()
            if here != first and self._is_frontier(here):
                way = [here]
                while way[-1] != first:
                    way.append(before[way[-1]])
                return way[::-1]
            for dx, dy in _AROUND:
                there = here[0] + dx, here[1] + dy
                inside = 2 < there[0] < CELLS - 3 and 2 < there[1] < CELLS - 3
                if inside and there not in before and self._is_clear(there):
                    before[there] = here
                    waiting.append(there)
        return []

    def _is_clear(self, cell: tuple[int, int]) -> bool:
        """Whether somebody can stand in a cell: it is free, and so is what is next to it."""
        beside = (self.cells[cell[0] + dx, cell[1] + dy] != TAKEN for dx, dy in _AROUND)
        return bool(self.cells[cell] == FREE) and all(beside)

    def _is_frontier(self, cell: tuple[int, int]) -> bool:
        return any(self.cells[cell[0] + dx, cell[1] + dy] == UNKNOWN for dx, dy in _AROUND)


@dataclass
class _Search:
    """One episode: the map, the path that is followed, and the step that is under way."""

    known: FloorMap = field(default_factory=FloorMap)
    path: list[tuple[int, int]] = field(default_factory=list)
    planned: int = 0
    steps: int = 0
    place: tuple[float, float] | None = None
    way: Wander = field(default_factory=Wander)


@POLICIES.register("frontier")
class FrontierPolicy(EpisodePolicy[_Search]):
    """Goes to the nearest place from which it would see more of the floor.

    Args:
        spec: world it acts in, with one panorama.
        name: shown in rankings.
        stop_after: steps after which it stops; 0: never.
        eye: height of the camera, metres.

    Raises:
        UsageError: the world shows no panorama, or its agent does not walk.
    """

    action_kinds: tuple[ActionKind, ...] = ("box", "discrete")

    def __init__(
        self,
        spec: WorldSpec,
        name: str = "frontier",
        stop_after: Whole = 0,
        eye: Positive = 1.25,
    ) -> None:
        super().__init__()
        check_arguments(FrontierPolicy, {"stop_after": stop_after, "eye": eye}, name)
        self.name, self.n_action_steps = name, 1
        self._steering = Steering(spec, name)
        round_ = [camera.name for camera in spec.cameras if camera.projection == EQUIRECTANGULAR]
        if not round_:
            raise UsageError(
                f"policy {name!r} draws its map from a panorama, and the cameras are "
                f"{', '.join(spec.camera_names)}; take env.sensor=panorama"
            )
        self._camera, self._stop, self._eye = round_[0], int(stop_after), eye

    def _begin(self) -> _Search:
        return _Search()

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, 1, A]`."""
        looks = observation["pixels"][self._camera]
        rows = zip(map(int, env_ids), observation["agent_pos"], looks, strict=True)
        return np.stack([self._act(*row) for row in rows])[:, None]

    def _act(self, env_id: int, agent_pos: FloatArray, look: NDArray[np.uint8]) -> FloatArray:
        search, stream = self._notes[env_id], self._streams[env_id]
        search.steps += 1
        if self._stop and search.steps > self._stop:
            return self._steering.named("stop")
        x, y, yaw = self._steering.pose(agent_pos)
        self._note_collision(search, x, y, yaw)
        search.known.look(x, y, yaw, floor_ranges(look, self._eye))
        if not search.path or search.steps - search.planned >= _KEEP:
            search.path, search.planned = search.known.path(x, y), search.steps
        if len(search.path) < 2:
            search.path = []
            return search.way.step(self._steering, agent_pos, stream, _TURNING, _MOST_TURNS)
        here = search.known.cell(x, y)
        passed = search.path.index(here) if here in search.path else 0
        aim = search.known.place(search.path[min(passed + _AHEAD, len(search.path) - 1)])
        off = wrapped(float(np.arctan2(aim[1] - y, aim[0] - x)) - yaw)
        action = self._steering.toward(off, float(np.hypot(aim[0] - x, aim[1] - y)))
        search.place = (x, y) if self._steering.faces(off) else None
        return action

    def _note_collision(self, search: _Search, x: float, y: float, yaw: float) -> None:
        """Mark what is ahead as taken if the last step led nowhere."""
        before, search.place = search.place, None
        if before is None or not self._steering.led_nowhere(before, x, y):
            return
        search.known.feel(x, y, yaw)
        search.path = []
