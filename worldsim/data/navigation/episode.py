"""A long-horizon navigation episode: where, from where, what is asked, in which steps.

What a file does not tell is empty or None. Frame: z up, metres, radians (`frames`).
"""

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace

from worldsim.data.layout import is_number
from worldsim.data.navigation.walk import Walk, finite_numbers, finite_points, path_length
from worldsim.errors import DataError

Point = tuple[float, float, float]
MOVE, GRAB, RELEASE = "Move_to", "Grab", "Release"
STEP = re.compile(r"""^\s*(Move_to|Grab|Release)\(\s*['"](.+?)['"]\s*\)\s*$""")


@dataclass(frozen=True)
class Pose:
    """Where an agent stands and looks.

    Raises:
        DataError: a number is not finite.
    """

    position: Point
    heading: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "position", as_point(self.position, "a pose"))
        object.__setattr__(
            self, "heading", float(finite_numbers(self.heading, "heading of a pose"))
        )


@dataclass(frozen=True)
class SubTask:
    """One target to go to.

    Attributes:
        target: name of the object.
        region: number of its room in the scene, as text.
        room: name of that room.
        goals: places of the objects meant; any of them will do. Empty where the file leaves them
            to the scene's semantics, as LH-VLN does.
        radius: metres within which the agent has to stop.
        expert_steps: actions of the expert, its stop left out (LH-VLN's `gt_step`).
        expert_length: metres of the shortest path that the expert had.

    Raises:
        DataError: a number that cannot be.
    """

    target: str
    region: str = ""
    room: str = ""
    goals: tuple[Point, ...] = ()
    radius: float = 1.0
    expert_steps: int | None = None
    expert_length: float | None = None

    def __post_init__(self) -> None:
        what = f"target {self.target!r}"
        object.__setattr__(self, "goals", tuple(as_point(goal, what) for goal in self.goals))
        for name in ("radius", "expert_steps", "expert_length"):
            value = getattr(self, name)
            known = is_number(value) and value >= 0
            if value is not None and not known:
                raise DataError(
                    f"{name} of {what} is {value!r}; expected a finite number from 0. "
                    "An infinite length says that the goal cannot be reached: leave it out"
                )
        if self.radius == 0:
            raise DataError(f"radius of {what} is 0, so nothing can succeed; expected metres")

    @property
    def step(self) -> str:
        """Its line in LHPR's `Subtask list`."""
        return f"{MOVE}('{self.target}_{self.region}')"


@dataclass(frozen=True)
class StepTask:
    """A part of an expert's walk with an instruction of its own.

    Attributes:
        instruction: of this part alone.
        first: number of its first action in the walk; stops are not counted, as in LHPR.
        last: number of its last action.
        target: where its sub-task leads.
        region: of the target.
        room: of the target.
        start: pose before the first action.
    """

    instruction: str
    first: int
    last: int
    target: str
    region: str = ""
    room: str = ""
    start: Pose | None = None

    def __post_init__(self) -> None:
        if not 0 <= self.first <= self.last:
            raise DataError(
                f"step task {self.instruction!r} goes from action {self.first} to {self.last}; "
                "expected 0 <= first <= last"
            )


@dataclass(frozen=True)
class NavigationEpisode:
    """An episode as files hold it.

    Attributes:
        name: unique in its file.
        scene: of the simulator; a file name or an identifier.
        instruction: what the agent is told.
        sub_tasks: targets in order; empty in test splits that hide them.
        start: None where the file leaves it to the simulator, as LH-VLN does.
        plan: steps in LHPR's words: moves, grabs and releases.
        robot: of LHPR, `spot` or `stretch`.
        step_tasks: parts of the expert's walk.
        reference_path: points along the way that the instruction describes.
        expert_path: points of the expert's own way, denser; VLN-CE compares nDTW with these.
        expert_actions: names of the expert's actions, where there is no pose for each.
        expert: the expert's whole walk.
        details: what else the file says (language, annotator, trajectory).

    Raises:
        DataError: no instruction, or a point that is not finite.
    """

    name: str
    scene: str
    instruction: str
    sub_tasks: tuple[SubTask, ...] = ()
    start: Pose | None = None
    plan: tuple[str, ...] = ()
    robot: str = ""
    step_tasks: tuple[StepTask, ...] = ()
    reference_path: tuple[Point, ...] = ()
    expert_path: tuple[Point, ...] = ()
    expert_actions: tuple[str, ...] = ()
    expert: Walk | None = None
    details: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.instruction.strip():
            raise DataError(f"episode {self.name} has an empty instruction")
        for name in ("reference_path", "expert_path"):
            points = tuple(
                as_point(p, f"{name} of episode {self.name}") for p in getattr(self, name)
            )
            object.__setattr__(self, name, points)
        if not self.plan:
            object.__setattr__(self, "plan", tuple(task.step for task in self.sub_tasks))

    def with_expert(self, walk: Walk) -> "NavigationEpisode":
        """This episode with an expert's walk, and each sub-task's steps and metres of it.

        Raises:
            DataError: the walk has fewer stops than there are sub-tasks.
        """
        legs = legs_of(walk, len(self.sub_tasks))
        tasks = tuple(
            replace(
                task,
                expert_steps=stop - first,
                expert_length=path_length(walk.positions[first : stop + 1]),
            )
            for task, (first, stop) in zip(self.sub_tasks, legs, strict=True)
        )
        return replace(self, sub_tasks=tasks, expert=walk)


def legs_of(walk: Walk, count: int) -> list[tuple[int, int]]:
    """Rows (first, stop) of each sub-task of a walk; `stop` is the row before its `stop`.

    Raises:
        DataError: fewer stops than `count`.
    """
    stops = walk.stops
    if len(stops) < count:
        raise DataError(
            f"the walk closes {len(stops)} of {count} sub-tasks; expected a stop for each"
        )
    firsts = [0, *(stop + 1 for stop in stops)]
    return list(zip(firsts, stops, strict=False))[:count]


def as_point(values: object, what: str) -> Point:
    """Three finite metres.

    Raises:
        DataError: they are not.
    """
    if isinstance(values, str | bytes) or not isinstance(values, Iterable):
        raise DataError(f"position of {what} is {values!r}, expected [x, y, z] in metres")
    x, y, z = finite_points([list(values)], what)[0].tolist()
    return (x, y, z)


def parse_step(text: str) -> tuple[str, str, str]:
    """(verb, object, region) of a line of LHPR's `Subtask list`; the region may be empty.

    Raises:
        DataError: it is none.
    """
    found = STEP.match(text)
    if not found:
        raise DataError(
            f"step {text!r} is none of Move_to('object_region'), Grab, Release('object')"
        )
    verb, what = found[1], found[2]
    name, _, region = what.rpartition("_")
    if verb != MOVE:
        return verb, what, ""
    if not name or not region:
        raise DataError(f"step {text!r} names no region; expected Move_to('object_region')")
    return verb, name, region


def absent_objects(plan: Iterable[str], objects: Collection[tuple[str, str]]) -> list[str]:
    """Targets `object_region` of a plan that a scene lacks, and objects grabbed but never seen.

    Args:
        plan: in LHPR's words.
        objects: (name, region) of what there is.
    """
    names, absent = {name for name, _ in objects}, []
    for verb, name, region in map(parse_step, plan):
        if verb == MOVE and (name, region) not in objects:
            absent.append(f"{name}_{region}")
        elif verb != MOVE and name not in names:
            absent.append(name)
    return absent
