"""An episode under way: where the agent is, which goal is next, and how the others went.

Legend: metres and radians, in the scene's frame unless the start's is named.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, Self

import numpy as np

from worldsim.envs.indoor.agent import Array, Body, Float, chord
from worldsim.envs.indoor.episode import (
    Rules,
    Start,
    check_start,
    draw_goals,
    draw_start,
    find_thing,
    floor_place,
    given_start,
    instruction,
    is_seen,
    paths_to,
    phrase,
    physics_numbers,
    space_of,
)
from worldsim.envs.indoor.scene import Scene, checked_rooms
from worldsim.envs.indoor.sensors import agent_pose
from worldsim.errors import UsageError

PENDING = -1.0
"""Outcome of a goal that is not closed."""
_HEADER = 15
_WORDINGS = 1000


@dataclass(eq=False)
class Journey:
    """What an episode has come to.

    Attributes:
        scene: where it takes place.
        body: of the agent.
        rules: of success.
        start: where it began.
        goals: indices of things, in their order.
        wording: which way of putting the instruction.
        own_task: an instruction that was given, or None.
        place: `[2]` of the agent.
        yaw: its heading.
        outcomes: of each goal: 1 met, less than 1 the share of the way made, -1 not yet closed.
        whole: shortest path when the current goal became so.
        travelled: metres walked.
        collisions: actions that something stopped or bent.
        collided: whether the last one was.
        ahead: metres that the last one led where it headed.
    """

    scene: Scene
    body: Body
    rules: Rules
    start: Start
    goals: tuple[int, ...]
    wording: int
    own_task: str | None
    place: Array
    yaw: float
    outcomes: list[float] = field(default_factory=list)
    whole: float = 0.0
    travelled: float = 0.0
    collisions: int = 0
    collided: bool = False
    ahead: float = 0.0
    _way: tuple[float, Array] | None = None

    @classmethod
    def begin(
        cls,
        rng: np.random.Generator,
        scene: Scene,
        body: Body,
        rules: Rules,
        count: int,
        given: Mapping[str, Any],
    ) -> Self:
        """A new episode with `count` goals; `given` may fix `goals`, `start` and `task`.

        Raises:
            UsageError: a thing is absent, the start is not free, or a goal is out of reach.
        """
        names, fixed = given.get("goals"), given.get("start")
        if names is not None and (not isinstance(names, list | tuple) or not names):
            raise UsageError(
                f"options['goals'] is {names!r}; expected a list of one or more things of the scene"
            )
        goals = (
            draw_goals(rng, scene, body.radius, count)
            if names is None
            else [find_thing(scene, str(name)) for name in names]
        )
        start = (
            draw_start(rng, scene, body.radius, goals[0]) if fixed is None else given_start(fixed)
        )
        check_start(scene, body.radius, goals, start)
        wording = int(rng.integers(_WORDINGS))
        asked = tuple(goals), wording, given.get("task")
        journey = cls(scene, body, rules, start, *asked, start.place, start.yaw)
        journey.outcomes = [PENDING] * len(goals)
        journey.whole = journey.distance
        return journey

    @property
    def stage(self) -> int:
        """Goals that were closed."""
        return sum(outcome != PENDING for outcome in self.outcomes)

    @property
    def over(self) -> bool:
        """Whether the last goal was closed."""
        return self.stage == len(self.goals)

    @property
    def success(self) -> bool:
        """Whether every goal was met."""
        return all(outcome == 1.0 for outcome in self.outcomes)

    @property
    def goal(self) -> int:
        """Index of the current thing; of the last one where all are closed."""
        return self.goals[min(self.stage, len(self.goals) - 1)]

    @property
    def task(self) -> str:
        """The instruction."""
        return self.own_task or instruction(self.scene, self.goals, self.wording)

    @property
    def distance(self) -> float:
        """Metres of the shortest path to the current goal."""
        return self._next[0]

    @property
    def _next(self) -> tuple[float, Array]:
        """That distance, and the path's next corner; found once for each place and goal."""
        if self._way is None:
            self._way = paths_to(self.scene, self.body.radius, self.goal).next(self.place)
        return self._way

    @property
    def progress(self) -> float:
        """In [0, 1]: the mean over goals of the share of the way that was made."""
        closed = sum(max(outcome, 0.0) for outcome in self.outcomes)
        return float((closed + (0.0 if self.over else self._share)) / len(self.goals))

    @property
    def _share(self) -> float:
        """Of the way to the current goal, below 1."""
        return float(np.clip(1.0 - self.distance / max(self.whole, 1e-6), 0.0, 0.99))

    @property
    def seen(self) -> bool:
        """Whether the current goal is in sight."""
        return self._sees(self.rules.view or 360.0)

    def _sees(self, view: float) -> bool:
        """Whether it is within so many degrees about the heading, and not hidden."""
        eye = np.array([*self.place, self.rules.eye])
        return is_seen(self.scene, self.goal, eye, self.yaw, view)

    def stop(self) -> None:
        """Close the current goal, if any is left."""
        self.collided, self.ahead = False, 0.0
        if self.over:
            return
        met = self.distance <= self.rules.distance and (not self.rules.view or self.seen)
        self.outcomes[self.stage] = 1.0 if met else self._share
        self._way = None
        if not self.over:
            self.whole = self.distance

    def stand(self, place: Array) -> None:
        """Put the agent to the place nearest to `place` `[2]` at which it can stand."""
        self.place = floor_place(self.scene, self.body.radius, place)
        self._way = None

    def walk(self, metres: float, turn: float) -> None:
        """Go forward along an arc, as far as the way is free, and turn."""
        heading, length = self.yaw + turn / 2, metres * chord(turn / 2)
        toward = np.array([np.cos(heading), np.sin(heading)])
        space = space_of(self.scene, self.body.radius)
        moved = space.move(self.place, length * toward, self.body.sliding)
        step = moved.place - self.place
        self.place, self.collided, self._way = moved.place, moved.collided, None
        self.ahead, self.travelled = float(step @ toward), self.travelled + float(np.hypot(*step))
        self.collisions += moved.collided
        self.yaw = self.body.snapped(self.yaw + turn, self.start.yaw)

    @property
    def waypoint(self) -> Array:
        """`[2]` to head for, see `worldsim.envs.indoor.guide`."""
        paths = paths_to(self.scene, self.body.radius, self.goal)
        return self.scene.waypoint(paths, self.body, self.place, self.yaw, self._next)

    @cached_property
    def to_start(self) -> Array:
        """From the scene's frame to the start's, `[4, 4]`."""
        return np.asarray(np.linalg.inv(agent_pose(self.start.place, self.start.yaw)))

    @property
    def agent_pos(self) -> Float:
        """`[4]`, see `worldsim.envs.indoor.world.AGENT_POS`."""
        x, y = self._near_start(self.place)[:2]
        turned = self.yaw - self.start.yaw
        return np.array([x, y, np.cos(turned), np.sin(turned)], np.float32)

    def _near_start(self, point: Array) -> Array:
        """A point `[2]` or `[3]` in the frame of the start, `[3]`."""
        whole = np.array([*point, 0.0, 1.0] if len(point) == 2 else [*point, 1.0])
        return np.asarray((self.to_start @ whole)[:3])

    def report(self) -> dict[str, Any]:
        """What info tells; `state` as `worldsim.envs.indoor.world.STATE` names it."""
        distance, seen = self.distance, self.seen
        clear = seen or self._sees(360.0)
        goal = self._near_start(self.scene.things[self.goal].middle)
        way = self._near_start(self.waypoint)[:2]
        near = distance if np.isfinite(distance) else -1.0
        left = len(self.goals) - self.stage
        reached = distance <= self.rules.distance
        state = np.array([*goal, *way, near, reached, clear, seen, left])
        room = self.scene.room_at(self.place)
        success = self.over and self.success
        return {
            "success": success,
            "is_success": success,
            "progress": self.progress,
            "state": state.astype(np.float32),
            "distance_to_goal": float(distance),
            "goal_seen": seen,
            "at_goal": not self.over and reached and (seen or not self.rules.view),
            "goal": phrase(self.scene.things[self.goal], self.scene.rooms),
            "stage": self.stage,
            "stages": np.array([left, self.outcomes.count(1.0)], np.float32),
            "outcomes": np.array(self.outcomes, np.float32),
            "stage_distance": float(self.whole),
            "path_length": self.travelled,
            "collided": self.collided,
            "collisions": self.collisions,
            "position": self.place.copy(),
            "heading": self.yaw,
            "scene": self.scene.number,
            "room": "" if room is None else self.scene.rooms[room].use,
        }

    def to_numbers(self) -> Array:
        """Everything but an own wording, a flat vector."""
        start, few, many = self.start, *self.scene.bounds
        header = [self.scene.number, few, many, *self.place, self.yaw, *start.place, start.yaw]
        counts = [self.wording, self.whole, self.travelled, self.collisions, self.collided]
        return np.array(
            [*header, *counts, len(self.goals), *self.goals, *self.outcomes], np.float64
        )

    @classmethod
    def from_numbers(
        cls,
        given: Any,
        build: Callable[[int, int, int], Scene],
        body: Body,
        rules: Rules,
        task: str | None,
    ) -> Self:
        """Inverse of `to_numbers`.

        Raises:
            UsageError: the numbers are none of this env, or the agent stands in a wall.
        """
        numbers, count = physics_numbers(given, _HEADER)
        number, few, many = map(int, numbers[:3])
        scene = build(number, *checked_rooms((few, many)))
        goals = tuple(map(int, numbers[_HEADER : _HEADER + count]))
        if not all(0 <= goal < len(scene.things) for goal in goals):
            raise UsageError(
                f"state of IndoorNav: goals {list(goals)}, but scene {scene.number} has "
                f"{len(scene.things)} things"
            )
        start = Start(numbers[6:8].copy(), float(numbers[8]))
        place = Start(numbers[3:5].copy(), float(numbers[5]))
        check_start(scene, body.radius, goals, place)
        journey = cls(
            scene, body, rules, start, goals, int(numbers[9]), task, place.place, place.yaw
        )
        journey.whole, journey.travelled = float(numbers[10]), float(numbers[11])
        journey.collisions, journey.collided = int(numbers[12]), bool(numbers[13])
        journey.outcomes = list(map(float, numbers[_HEADER + count :]))
        return journey
