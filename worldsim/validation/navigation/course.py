"""What an episode asks, as metrics need it, and how a walk went through it.

Legend: T actions of a walk, S sub-tasks, K goals of one, R points of a reference. Frame: z up,
metres, radians.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from worldsim.data.navigation.episode import NavigationEpisode
from worldsim.data.navigation.walk import Walk, finite_points
from worldsim.errors import DataError, UsageError
from worldsim.validation.navigation.geodesic import Geodesic, distances_to, straight_line

Float = NDArray[np.float64]
FIELD_OF_VIEW = math.radians(60)
"""Horizontal, within which LH-VLN's paper wants the target (2412.09082, section 3.1)."""


class UndefinedMetricError(UsageError):
    """A metric has no value for this walk; the message says why, and what has one."""


@dataclass(frozen=True, eq=False)
class Course:
    """An episode as metrics need it.

    Attributes:
        goals: S arrays `[K, 3]`: places of each sub-task's target, any of which will do.
        radius: metres within which a sub-task succeeds; strictly below, as in released code.
        geodesic: distances that an agent has to walk.
        reference_path: `[R, 3]` for nDTW; None where nothing is to be followed.
        expert_steps: S numbers of actions, stops left out.
        expert_lengths: S lengths in metres.
        synchronous: a walk of the same clock, such as the simulator's of the same actions, that
            ATE and RPE compare with.
        field_of_view: horizontal angle within which a target is seen where a walk does not tell.
        name: for messages.

    Raises:
        DataError: no sub-task, no goal, or numbers that cannot be.
    """

    goals: tuple[Float, ...]
    radius: float = 1.0
    geodesic: Geodesic = straight_line
    reference_path: Float | None = None
    expert_steps: tuple[int, ...] | None = None
    expert_lengths: tuple[float, ...] | None = None
    synchronous: Walk | None = None
    field_of_view: float = FIELD_OF_VIEW
    name: str = "an episode"

    def __post_init__(self) -> None:
        if not len(self.goals):
            raise DataError(f"{self.name} has no sub-task; expected the goals of one at least")
        goals = tuple(
            finite_points(goal, f"the goals of sub-task {i + 1} of {self.name}")
            for i, goal in enumerate(self.goals)
        )
        object.__setattr__(self, "goals", goals)
        if not 0 < self.radius < math.inf:
            raise DataError(f"radius of {self.name} is {self.radius}, expected metres above 0")
        if not 0 < self.field_of_view <= 2 * math.pi:
            raise DataError(
                f"field_of_view of {self.name} is {self.field_of_view}, expected radians up to 2 pi"
            )
        if self.reference_path is not None:
            path = finite_points(self.reference_path, f"the reference path of {self.name}")
            object.__setattr__(self, "reference_path", path)
        for field in ("expert_steps", "expert_lengths"):
            self._check_expert(field)

    def _check_expert(self, field: str) -> None:
        given: Sequence[float] | None = getattr(self, field)
        if given is None:
            return
        if len(given) != len(self.goals) or not all(0 <= x < math.inf for x in given):
            raise DataError(
                f"{field} of {self.name} are {list(given)}, expected {len(self.goals)} finite "
                "numbers from 0, one a sub-task"
            )

    @classmethod
    def of(
        cls, episode: NavigationEpisode, geodesic: Geodesic, synchronous: Walk | None = None
    ) -> "Course":
        """The course of an episode from a file.

        The reference path is the expert's own where the file has it, as VLN-CE's `NDTW` takes it.

        Raises:
            DataError: the file tells no goals, or radii that differ.
        """
        tasks = episode.sub_tasks
        hidden = [task.target for task in tasks if not task.goals]
        if hidden or not tasks:
            raise DataError(
                f"episode {episode.name} does not say where {hidden or 'its goals'} are; take them "
                "from the scene and give them to `SubTask.goals`"
            )
        if len({task.radius for task in tasks}) > 1:
            raise DataError(f"sub-tasks of episode {episode.name} have different radii")
        path = np.array(episode.expert_path or episode.reference_path)
        if not len(path) and episode.expert is not None:
            path = episode.expert.positions
        steps = tuple(task.expert_steps for task in tasks if task.expert_steps is not None)
        metres = tuple(task.expert_length for task in tasks if task.expert_length is not None)
        return cls(
            goals=tuple(np.array(task.goals) for task in tasks),
            radius=tasks[0].radius,
            geodesic=geodesic,
            reference_path=path if len(path) else None,
            expert_steps=steps if len(steps) == len(tasks) else None,
            expert_lengths=metres if len(metres) == len(tasks) else None,
            synchronous=synchronous,
            name=f"episode {episode.name}",
        )

    def shortest_legs(self, start: Float) -> tuple[float, ...]:
        """S lengths in metres of the shortest way through all sub-tasks, from a start `[3]`.

        Of several goals of a sub-task the way takes those that make the whole shortest. A length
        is infinite where there is no way.
        """
        best = distances_to(self.geodesic, start[None], self.goals[0], self.name)[0]
        legs = [(float(metres),) for metres in best]
        for before, goals in zip(self.goals, self.goals[1:], strict=False):
            between = distances_to(self.geodesic, before, goals, self.name)
            whole = np.array([sum(leg) for leg in legs])[:, None] + between
            chosen = whole.argmin(axis=0)
            legs = [
                (*legs[source], float(between[source, goal])) for goal, source in enumerate(chosen)
            ]
        return min(legs, key=sum)

    def check(self, start: Float) -> None:
        """Refuse an episode that nobody can finish.

        Raises:
            DataError: a goal cannot be reached from a start `[3]` by way of those before it.
        """
        for i, metres in enumerate(self.shortest_legs(start)):
            if not math.isfinite(metres):
                raise DataError(
                    f"{self.name}: the goal of sub-task {i + 1} cannot be reached from "
                    f"{'the start' if i == 0 else f'that of sub-task {i}'}; leave the episode out"
                )


@dataclass(frozen=True, eq=False)
class Stage:
    """A sub-task that was begun.

    Attributes:
        distances: metres to the nearest goal at each row, from the first to that after its stop.
        stopped: whether the agent closed it.
        succeeded: it stopped within the radius.
        succeeded_in_view: it did, and the target was seen then.
    """

    distances: Float
    stopped: bool
    succeeded: bool
    succeeded_in_view: bool

    @property
    def error(self) -> float:
        """Metres left at its end."""
        return float(self.distances[-1])

    @property
    def begun_at(self) -> float:
        """Metres to go when it began."""
        return float(self.distances[0])


@lru_cache(maxsize=64)
def stages(walk: Walk, course: Course) -> tuple[Stage, ...]:
    """Sub-tasks in order, as far as they were begun; what follows the last stop is left out."""
    stops = walk.stops[: len(course.goals)]
    rows = list(
        zip([0, *(stop + 1 for stop in stops)], [*(s + 1 for s in stops), None], strict=True)
    )
    found: list[Stage] = []
    for goals, (first, last) in zip(course.goals, rows, strict=False):
        part = slice(first, None if last is None else last + 1)
        metres = distances_to(course.geodesic, walk.positions[part], goals, course.name)
        near, seen = np.zeros(len(goals), bool), False
        if last is not None:
            near = metres[-1] < course.radius
            # The row before the stop: after it, `seen` tells of the next target.
            seen = bool((near & _in_view(walk, last - 1, goals, course.field_of_view)).any())
            if walk.met is not None and len(found) < len(walk.met):
                near, seen = np.array([walk.met[len(found)]]), bool(walk.met[len(found)])
        found.append(Stage(metres.min(axis=1), last is not None, bool(near.any()), seen))
    return tuple(found)


def _in_view(walk: Walk, row: int, goals: Float, field_of_view: float) -> NDArray[np.bool_]:
    """Whether each goal `[K]` is seen at a row: as the walk says, else by its bearing alone."""
    if walk.seen is not None:
        return np.full(len(goals), bool(walk.seen[row]))
    offset = goals[:, :2] - walk.positions[row, :2]
    bearing = np.arctan2(offset[:, 1], offset[:, 0]) - walk.headings[row]
    aside = np.abs((bearing + math.pi) % (2 * math.pi) - math.pi)
    underfoot = np.linalg.norm(offset, axis=1) < 1e-6
    return np.asarray(underfoot | (aside <= field_of_view / 2))


def walked_rows(walk: Walk, course: Course) -> int:
    """Actions that count: up to the stop that closes the last sub-task."""
    stops = walk.stops
    count = len(course.goals)
    return stops[count - 1] + 1 if len(stops) >= count else walk.steps
