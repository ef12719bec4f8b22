"""Walks through a maze of square cells that go back along their own way, over and over.

The way out is an exploration by proprioception alone: walls are what the walker ran into. The way
back leads through the same cells, as the spatial retrieval of Memory Maze has it in 2505.20171.

Legend: P proprioception, A action. Places are in cells, whose middles are at half integers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from worldsim.config.limits import Count
from worldsim.config.values import check_arguments
from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.policies.base import POLICIES, EpisodePolicy, FloatArray
from worldsim.policies.steering import wrapped
from worldsim.spec import ActionKind, WorldSpec

Cell = tuple[int, int]
MOVES = ("forward", "turn_left", "turn_right", "forward_left", "forward_right")
POSE = ("agent_pos_0", "agent_pos_1", "agent_dir_0", "agent_dir_1")
_AROUND: tuple[Cell, ...] = ((1, 0), (0, 1), (-1, 0), (0, -1))
_ARRIVED = 0.25
"""Cells to a middle within which it is reached."""
_ON_THE_SPOT, _ASIDE = np.deg2rad(35.0), np.deg2rad(11.0)
"""Bearings beyond which it turns without walking, and while it walks."""
_STILL, _PATIENCE = 0.05, 2
"""Cells of a step that led nowhere, and how many of them in a row are a wall."""
_STRAIGHT = 0.6
"""Chance to walk straight on where that is as new as anything else."""


@dataclass
class Way:
    """What a walker knows in one episode.

    Attributes:
        cells: the way out, in their order.
        walls: (cell, direction) of what it ran into.
        goal: the cell that it makes for.
        place: of the agent a step ago, None where it did not walk.
        still: steps in a row that led nowhere.
        steps: made so far.
        at: place in `cells` that it makes for on the ways back and out again.
        onward: -1 on a way back, 1 on a way out again.
    """

    cells: list[Cell] = field(default_factory=list)
    walls: set[tuple[Cell, Cell]] = field(default_factory=set)
    goal: Cell | None = None
    place: FloatArray | None = None
    still: int = 0
    steps: int = 0
    at: int = -1
    onward: int = -1

    def blocked(self, place: FloatArray) -> bool:
        """Whether the last steps led nowhere; counts them."""
        before = self.place
        nowhere = before is not None and float(np.hypot(*(place - before))) < _STILL
        self.still = self.still + 1 if nowhere else 0
        if self.still < _PATIENCE:
            return False
        self.still = 0
        return True

    def explore(self, here: Cell, stream: np.random.Generator) -> Cell:
        """A cell beside the one that was reached: where it was least, rather straight on."""
        ahead = None
        if len(self.cells) > 1:
            ahead = (here[0] - self.cells[-2][0], here[1] - self.cells[-2][1])
        free = [step for step in _AROUND if (here, step) not in self.walls] or list(_AROUND)
        visits = [self.cells.count((here[0] + x, here[1] + y)) for x, y in free]
        best = [step for step, count in zip(free, visits, strict=True) if count == min(visits)]
        step = best[int(stream.integers(len(best)))]
        if ahead in best and stream.uniform() < _STRAIGHT:
            step = ahead
        return here[0] + step[0], here[1] + step[1]

    def return_on(self) -> Cell:
        """The next cell of the way that is known; at its ends it turns round."""
        if not 0 <= self.at + self.onward < len(self.cells):
            self.onward = -self.onward
        self.at = min(max(self.at + self.onward, 0), len(self.cells) - 1)
        return self.cells[self.at]


@POLICIES.register("to_and_fro")
class ToAndFroPolicy(EpisodePolicy[Way]):
    """Explores, goes back to where it began along the same cells, out again along them, and so on.

    It reads proprioception alone.

    Args:
        spec: world it acts in.
        name: shown in rankings.
        turn_after: steps of the way out; more than an episode has is exploration alone.

    Raises:
        UsageError: the world's actions or proprioception are not those of a maze's walker.
    """

    action_kinds: tuple[ActionKind, ...] = ("discrete",)

    def __init__(self, spec: WorldSpec, name: str = "to_and_fro", turn_after: Count = 50) -> None:
        super().__init__()
        check_arguments(ToAndFroPolicy, {"turn_after": turn_after}, name)
        pose = spec.agent_pos.indices(*POSE)
        if not set(MOVES) <= set(spec.action.names) or pose is None:
            raise UsageError(
                f"policy {name!r} walks through cells with actions {MOVES} and proprioception "
                f"{POSE}; the world has {spec.action.names} and {spec.agent_pos.names}; take "
                "env=memory_maze"
            )
        self.name, self.n_action_steps = name, 1
        self._pose, self._turn_after, self._names = list(pose), int(turn_after), spec.action.names

    def _begin(self) -> Way:
        return Way()

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, 1, A]`."""
        rows = zip(map(int, env_ids), observation["agent_pos"], strict=True)
        return np.stack([self._act(*row) for row in rows])[:, None]

    def _act(self, env_id: int, agent_pos: FloatArray) -> FloatArray:
        way, stream = self._notes[env_id], self._streams[env_id]
        x, y, cos, sin = np.asarray(agent_pos, np.float64)[self._pose]
        place = np.array([x, y])
        self._choose(way, place, stream)
        assert way.goal is not None
        ahead = np.array(way.goal) + 0.5 - place
        off = wrapped(float(np.arctan2(ahead[1], ahead[0]) - np.arctan2(sin, cos)))
        side = "left" if off > 0 else "right"
        move = "forward" if abs(off) <= _ASIDE else f"forward_{side}"
        move = f"turn_{side}" if abs(off) > _ON_THE_SPOT else move
        way.place = place if move.startswith("forward") else None
        way.steps += 1
        return np.asarray(np.eye(len(self._names), dtype=np.float32)[self._names.index(move)])

    def _choose(self, way: Way, place: FloatArray, stream: np.random.Generator) -> None:
        """Set the cell to make for."""
        here = (int(np.floor(place[0])), int(np.floor(place[1])))
        if not way.cells:
            way.cells.append(here)
        exploring, blocked = way.steps < self._turn_after, way.blocked(place)
        if not exploring and way.at < 0:  # the way back begins at the last cell that was reached
            way.at = len(way.cells) - 1
            way.goal = way.cells[way.at]
        elif way.goal is None:
            way.goal = way.explore(here, stream)
        elif blocked and exploring and way.goal != way.cells[-1]:
            last = way.cells[-1]
            way.walls.add((last, (way.goal[0] - last[0], way.goal[1] - last[1])))
            way.goal = way.explore(last, stream)
        elif blocked:
            way.goal = here  # a corner is in the way: first to the middle of this cell
        elif np.hypot(*(np.array(way.goal) + 0.5 - place)) <= _ARRIVED:
            self._arrive(way, exploring, stream)

    @staticmethod
    def _arrive(way: Way, exploring: bool, stream: np.random.Generator) -> None:
        """Set the cell to make for where one is reached."""
        assert way.goal is not None
        if exploring:
            if way.goal != way.cells[-1]:
                way.cells.append(way.goal)
            way.goal = way.explore(way.goal, stream)
        elif way.goal == way.cells[way.at]:
            way.goal = way.return_on()
        else:
            way.goal = way.cells[way.at]
