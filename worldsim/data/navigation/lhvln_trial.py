"""The expert's walk and the step tasks in LH-VLN's files.

`task.json` keeps, by sub-task, the poses that the expert saw and the action that led to each. The
first row of the first sub-task is the look-around `stop` before anything happened; each sub-task's
last row repeats the one before with its `stop` (`nav_gen/dataset_gen.py`). Positions are Habitat's.

`split_task.py` looks a step task's start up in its sub-task's poses. The index is -1 where both
begin together, unless the sub-task is the first. Python then takes the last pose, at the goal.
Where the expert's walk is known, the start is taken from there instead.
"""

import math
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.layout import is_number
from worldsim.data.navigation.episode import Pose, StepTask, as_point
from worldsim.data.navigation.episode_json import entry, optional, read_episode_json, texts
from worldsim.data.navigation.frames import from_habitat, heading_of_yaw
from worldsim.data.navigation.walk import STOP, Walk, finite_numbers, finite_points
from worldsim.errors import DataError, DataWarning

APART = 0.05
"""Metres that a stored start may be from the expert's; files are rounded."""


def read_expert(path: Path) -> Walk:
    """The walk in `success/trial_1/task.json`.

    Raises:
        DataError: the file is none of that layout, a goal could not be reached, a path is empty,
            or poses and actions do not fit.
    """
    data, where = read_episode_json(path), str(path)
    for i, metres in enumerate(optional(data, "Geo dis", list, where) or []):
        if not is_number(metres):
            raise DataError(f"{where}: the goal of sub-task {i + 1} cannot be reached ({metres})")
    trials = entry(data, "trial", dict, where)
    positions: list[Any] = []
    headings: list[Any] = []
    actions: list[str] = []
    for number in range(len(trials)):
        key = f"trial_{number}"
        part, here = entry(trials, key, dict, where), f"{where}: {key}"
        rows = finite_points(entry(part, "pos", list, here), f"{key} of {path}")
        yaws = finite_numbers(entry(part, "yaw", list, here), f"yaws in {key} of {path}")
        led = texts(entry(part, "action", list, here), f"{here}: 'action'")
        if not len(rows) == len(yaws) == len(led):
            raise DataError(
                f"{here} has {len(rows)} positions, {len(yaws)} yaws, {len(led)} actions"
            )
        positions.extend(from_habitat(rows))
        headings.extend(heading_of_yaw(yaws))
        actions.extend(led)
    return Walk(np.array(positions), np.array(headings), tuple(actions[1:]))


def rows_of_moves(walk: Walk) -> list[int]:
    """Row before each action that is no stop: LH-VLN numbers these actions from 0."""
    return [row for row, action in enumerate(walk.actions) if action != STOP]


def read_step_task(data: Any, where: str, expert: Walk | None) -> StepTask:
    """A line of `st_task`, or a file of `step_task`.

    Args:
        data: parsed.
        where: the episode, for messages.
        expert: the walk that it is part of, if known.

    Raises:
        DataError: it is none, or lies outside the expert's walk.
    """
    here = f"{where}: step task"
    instruction = entry(data, "Task instruction", str, here)
    first, last = entry(data, "start", int, here), entry(data, "end", int, here)
    # Released segments begin one action early, at -1 where a walk begins with a turn.
    first = max(first, 0)
    target, region, room = _target(data, here)
    pose = _stored_start(data, here)
    if expert is not None:
        rows = rows_of_moves(expert)
        if not first <= last < len(rows):
            raise DataError(
                f"{here} {instruction!r} goes from action {first} to {last}, and the expert has "
                f"{len(rows)}"
            )
        known = Pose(
            as_point(expert.positions[rows[first]], here), float(expert.headings[rows[first]])
        )
        _compare(pose, known, here, instruction)
        pose = known
    return StepTask(instruction, first, last, target, region, room, pose)


def _target(data: Any, here: str) -> tuple[str, str, str]:
    """(object, region, room); `target` is [[object, "Region i: Room"]], or [object]."""
    targets = entry(data, "target", list, here)
    if not targets:
        raise DataError(f"{here} has no target")
    regions = optional(data, "Region", list, here) or [""]
    first = targets[0]
    if isinstance(first, list) and len(first) == 2:
        return str(first[0]), str(regions[0]), str(first[1]).partition(": ")[2]
    return str(first), str(regions[0]), ""


def _stored_start(data: Any, here: str) -> Pose | None:
    place = optional(data, "start_pos", list, here)
    if place is None:
        return None
    yaw = entry(data, "start_yaw", (int, float), here)
    turned = from_habitat(finite_points([place], f"the start of a {here}"))[0]
    heading = heading_of_yaw(finite_numbers(yaw, f"{here}: 'start_yaw'"))
    return Pose(as_point(turned, here), float(heading))


def _compare(stored: Pose | None, known: Pose, here: str, instruction: str) -> None:
    if stored is None:
        return
    apart = math.dist(stored.position, known.position)
    if apart > APART:
        warnings.warn(
            f"{here} {instruction!r} says that it starts {apart:.2f} m from where the expert "
            "began it; the expert's pose is taken",
            DataWarning,
            stacklevel=2,
        )
