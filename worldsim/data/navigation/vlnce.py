"""Reader of VLN-CE episodes: R2R-CE and RxR-CE, `.json.gz`.

Layout: `habitat_extensions/task.py` of jacobkrantz/VLN-CE at 729d141. Truth files
(`*_gt.json.gz`) map an episode's id to `locations` and `actions`; `NDTW` there reads them.
"""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from worldsim.data.layout import is_number
from worldsim.data.navigation.episode import NavigationEpisode, Point, Pose, SubTask, as_point
from worldsim.data.navigation.episode_json import (
    entry,
    optional,
    read_each,
    read_episode_json,
    require_scene,
)
from worldsim.data.navigation.frames import from_habitat, heading_of_quaternion
from worldsim.data.navigation.walk import ACTIONS, finite_points
from worldsim.errors import DataError

ACTION_NAMES = (*ACTIONS, "look_up", "look_down")
"""By number in truth files; the last two occur in RxR-CE alone."""

SUCCESS_DISTANCE = 3.0
"""Metres, of R2R-CE and RxR-CE; taken where a goal has no radius."""

DETAILS = ("instruction_id", "language", "annotator_id", "timed_instruction")
PREFIX = "data/scene_datasets/"


def read_vlnce(
    path: Path,
    truth: Path | None = None,
    *,
    scenes: Path | None = None,
    languages: Sequence[str] = (),
    skip_faulty: bool = False,
) -> list[NavigationEpisode]:
    """Episodes of a split, in our frame.

    Args:
        path: `train.json.gz`, or `train_guide.json.gz` of RxR.
        truth: `train_gt.json.gz` beside it; gives the expert's path and actions.
        scenes: folder of scene files such as `mp3d/NAME/NAME.glb`; None does not look for them.
        languages: of RxR instructions that are kept, such as `en-US`; empty keeps all.
        skip_faulty: leave faulty episodes out with a warning.

    Raises:
        DataError: a file is missing or is none of that layout; a scene is missing; a goal cannot
            be reached; a path is empty; a number is not finite.
    """
    rows = entry(read_episode_json(path), "episodes", list, str(path))
    known = read_episode_json(truth) if truth is not None else None
    if known is not None and not isinstance(known, dict):
        raise DataError(f"{truth} is no object of episodes by id")
    if languages:
        rows = [row for row in rows if _language(row) in languages]
    named = [(f"{path.name}, row {number}", row) for number, row in enumerate(rows)]
    return read_each(path, named, lambda row: _episode(row, known, scenes), skip_faulty)


def _language(row: Any) -> Any:
    said = row.get("instruction") if isinstance(row, dict) else None
    return said.get("language") if isinstance(said, dict) else None


def _episode(row: Any, truth: dict[str, Any] | None, scenes: Path | None) -> NavigationEpisode:
    name = str(entry(row, "episode_id", (str, int), "episode"))
    where = f"episode {name}"
    scene = entry(row, "scene_id", str, where)
    if scenes is not None:
        require_scene(name, scene, [scenes / scene.removeprefix(PREFIX)])
    said = entry(row, "instruction", dict, where)
    details = {key: str(said[key]) for key in DETAILS if said.get(key) is not None}
    if row.get("trajectory_id") is not None:
        details["trajectory_id"] = str(row["trajectory_id"])
    locations, actions = _truth(truth, name) if truth is not None else ((), ())
    return NavigationEpisode(
        name=name,
        scene=scene,
        instruction=entry(said, "instruction_text", str, f"{where}: instruction"),
        sub_tasks=_sub_tasks(row, where, actions),
        start=Pose(
            _points([entry(row, "start_position", list, where)], f"the start of {where}")[0],
            heading_of_quaternion(entry(row, "start_rotation", list, where)),
        ),
        reference_path=_path(row, where),
        expert_path=locations,
        expert_actions=actions,
        details=details,
    )


def _sub_tasks(row: dict[str, Any], where: str, actions: tuple[str, ...]) -> tuple[SubTask, ...]:
    """One sub-task of all goals; none in splits that hide them."""
    goals = optional(row, "goals", list, where)
    if goals is None:
        return ()
    if not goals:
        raise DataError(f"{where} has an empty list of goals; expected one, or null in test splits")
    places = [entry(goal, "position", list, f"a goal of {where}") for goal in goals]
    radius = optional(goals[0], "radius", (int, float), f"a goal of {where}")
    metres = _geodesic(row, where)
    task = SubTask(
        target="goal",
        goals=_points(places, f"the goals of {where}"),
        radius=radius or SUCCESS_DISTANCE,
        expert_steps=sum(action != ACTIONS[0] for action in actions) if actions else None,
        expert_length=metres,
    )
    return (task,)


def _geodesic(row: dict[str, Any], where: str) -> float | None:
    about = optional(row, "info", dict, where)
    metres = about.get("geodesic_distance") if about else None
    if metres is None:
        return None
    if metres == math.inf:
        raise DataError(
            f"{where}: its goal cannot be reached (geodesic_distance is infinite); leave it out"
        )
    if not is_number(metres) or metres < 0:
        raise DataError(f"{where}: geodesic_distance is {metres!r}, expected metres from 0")
    return float(metres)


def _path(row: dict[str, Any], where: str) -> tuple[Point, ...]:
    path = optional(row, "reference_path", list, where)
    return () if path is None else _points(path, f"the reference path of {where}")


def _truth(truth: dict[str, Any], name: str) -> tuple[tuple[Point, ...], tuple[str, ...]]:
    where = f"truth of episode {name}"
    if name not in truth:
        raise DataError(f"the truth file has no episode {name}; is it of the same split?")
    places = _points(entry(truth[name], "locations", list, where), where)
    numbers = optional(truth[name], "actions", list, where) or []
    unknown = [n for n in numbers if not isinstance(n, int) or not 0 <= n < len(ACTION_NAMES)]
    if unknown:
        raise DataError(f"{where}: action {unknown[0]!r} is none of 0 to {len(ACTION_NAMES) - 1}")
    return places, tuple(ACTION_NAMES[number] for number in numbers)


def _points(points: list[Any], what: str) -> tuple[Point, ...]:
    """Points of Habitat's frame in ours."""
    turned = from_habitat(finite_points(points, what))
    return tuple(as_point(point, what) for point in turned)
