"""Writer of episodes in LHPR's layout, which LH-VLN's own readers take (see `lhvln`).

What that layout has no place for stands under the key `worldsim`, in our frame: the start, goal
positions, radii, the expert's metres, a reference path. Legend: T actions of an expert's walk.
"""

import gzip
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.navigation.episode import NavigationEpisode, Pose, StepTask, legs_of
from worldsim.data.navigation.frames import to_habitat, yaw_of_heading
from worldsim.data.navigation.lhvln import OWN
from worldsim.data.navigation.lhvln_trial import rows_of_moves
from worldsim.data.navigation.walk import STOP, Walk
from worldsim.errors import DataError, UsageError
from worldsim.files import atomic_path, write_json

LONGEST_NAME = 200
"""Bytes of an instruction, which names a folder."""

STEP_TASK_NAME = 100
"""Characters of a step task's instruction that name its file, as in `split_task.py`."""

Frames = Mapping[str, NDArray[np.uint8]]
"""{view: `[T+1, H, W, 3]`}; LHPR's views are left, front and right."""


def write_lhpr_tasks(
    root: Path,
    batch: str,
    episodes: Sequence[NavigationEpisode],
    frames: Callable[[NavigationEpisode], Frames] | None = None,
) -> list[Path]:
    """Write `task/<batch>/<n>/<instruction>` and `step_task/<batch>` of each episode.

    Folders of observations are made for each row of an expert's walk, since LH-VLN counts its steps
    by them; `frames` fills them with pictures.

    Args:
        root: folder that holds `task` and `step_task`.
        batch: such as `batch_1`.
        episodes: an expert's walk is written where there is one.
        frames: gives an episode's pictures.

    Returns:
        The folder of each episode.

    Raises:
        UsageError: an instruction that names no folder or is there already, or a target that the
            layout cannot hold.
        DataError: an expert's walk without a stop for each sub-task.
    """
    for episode in episodes:
        _check(episode)
    _check_texts(root / "task" / batch, [episode.instruction for episode in episodes])
    return [_write_task(root, batch, episode, frames) for episode in episodes]


def write_lhpr_episodes(path: Path, episodes: Sequence[NavigationEpisode]) -> None:
    """Write `episode_task/<batch>.json.gz`, the compact layout without the expert's walk.

    Raises:
        UsageError: a name occurs twice, or see `write_lhpr_tasks`.
    """
    named: dict[str, Any] = {}
    for episode in episodes:
        _check(episode)
        if episode.name in named:
            raise UsageError(
                f"two episodes are named {episode.name!r}; give each a name of its own"
            )
        where = f"{len(episode.sub_tasks)}/{episode.instruction}"
        steps = [_step_task(step, episode, where) for step in episode.step_tasks]
        named[episode.name] = {"lh_task": _config(episode), "st_task": steps}
    text = json.dumps(named, allow_nan=False).encode("utf-8")
    with atomic_path(path) as temporary:
        temporary.write_bytes(gzip.compress(text, mtime=0))


def _check(episode: NavigationEpisode) -> None:
    name = episode.instruction
    if "/" in name or "\0" in name or name.startswith(".") or len(name.encode()) > LONGEST_NAME:
        raise UsageError(
            f"instruction {name!r} names a folder in LHPR's layout; expected at most "
            f"{LONGEST_NAME} bytes without '/' that do not begin with '.'"
        )
    if not episode.sub_tasks:
        raise UsageError(f"episode {episode.name} has no sub-task, which LHPR's layout needs")
    for task in episode.sub_tasks:
        if not task.region or any(mark in task.target + task.region for mark in "_'\"()/"):
            raise UsageError(
                f"target {task.target!r} in region {task.region!r} of episode {episode.name} does "
                "not fit Move_to('object_region'): expected names without _, quotes, () or /"
            )


def _check_texts(folder: Path, instructions: list[str]) -> None:
    """LH-VLN gives a task every step task whose path holds its text, those of longer ones too."""
    there = [path.name for path in folder.glob("*/*")]
    for i, text in enumerate(instructions):
        for other in (*there, *instructions[:i]):
            if text in other or other in text:
                raise UsageError(
                    f"instruction {text!r} is part of {other!r} or holds it, and LH-VLN's readers "
                    f"would mix their step tasks up in {folder}; choose another batch"
                )


def _write_task(
    root: Path,
    batch: str,
    episode: NavigationEpisode,
    frames: Callable[[NavigationEpisode], Frames] | None,
) -> Path:
    where = f"{len(episode.sub_tasks)}/{episode.instruction}"
    folder = root / "task" / batch / where
    with atomic_path(folder) as temporary:
        temporary.mkdir()
        write_json(temporary / "config.json", _config(episode))
        if episode.expert is not None:
            trial = temporary / "success" / "trial_1"
            write_json(trial / "task.json", _trial(episode, episode.expert))
            _write_rows(trial, episode, None if frames is None else frames(episode))
    for step in episode.step_tasks:
        data = _step_task(step, episode, f"{batch}/{where}")
        write_json(_free_name(root / "step_task" / batch, step.instruction), data)
    return folder


def _config(episode: NavigationEpisode) -> dict[str, Any]:
    config: dict[str, Any] = {
        "Task instruction": episode.instruction,
        "Subtask list": list(episode.plan),
        "Robot": episode.robot,
        "Scene": episode.scene,
        "Object": [[t.target, f"Region {t.region}: {t.room}"] for t in episode.sub_tasks],
    }
    steps = [task.expert_steps for task in episode.sub_tasks]
    if None not in steps:
        config["gt_step"] = steps
    own: dict[str, Any] = {
        "frame": "z up, metres, radians",
        "sub_tasks": [
            {"goals": task.goals, "radius": task.radius, "expert_length": task.expert_length}
            for task in episode.sub_tasks
        ],
        "reference_path": episode.reference_path,
    }
    if episode.start is not None:
        own["start"] = {"position": episode.start.position, "heading": episode.start.heading}
    return config | {OWN: own}


def _trial(episode: NavigationEpisode, walk: Walk) -> dict[str, Any]:
    """`task.json`: the config as `nav_gen/dataset.py` rewrites it, and the expert's rows."""
    tasks = episode.sub_tasks
    trials = {}
    for i, (first, last) in enumerate(_rows(episode, walk)):
        part = slice(first, last + 1)
        trials[f"trial_{i}"] = {
            "pos": to_habitat(walk.positions[part]).tolist(),
            "yaw": yaw_of_heading(walk.headings[part]).tolist(),
            "action": [STOP, *walk.actions][part],
        }
    return _config(episode) | {
        "Object": [task.target for task in tasks],
        "Region Name": [task.room for task in tasks],
        "Region": [task.region for task in tasks],
        "Geo dis": [t.expert_length for t in tasks if t.expert_length is not None],
        "trial": trials,
    }


def _rows(episode: NavigationEpisode, walk: Walk) -> list[tuple[int, int]]:
    """First and last row of each sub-task; a row belongs to the action that led to it."""
    try:
        legs = legs_of(walk, len(episode.sub_tasks))
    except DataError as error:
        raise DataError(f"expert of episode {episode.name}: {error}") from error
    return [(first + 1 if i else 0, stop + 1) for i, (first, stop) in enumerate(legs)]


def _write_rows(trial: Path, episode: NavigationEpisode, frames: Frames | None) -> None:
    walk = episode.expert
    assert walk is not None
    for view, pictures in (frames or {}).items():
        if pictures.dtype != np.uint8 or pictures.shape[:1] != (walk.steps + 1,):
            raise UsageError(
                f"view {view!r} of episode {episode.name} is {pictures.dtype} "
                f"{list(pictures.shape)}, expected uint8 [{walk.steps + 1}, H, W, 3]"
            )
    step, led = -1, [STOP, *walk.actions]
    for task, (first, last) in zip(episode.sub_tasks, _rows(episode, walk), strict=True):
        for row in range(first, last + 1):
            step += led[row] != STOP
            folder = trial / f"{step}_{led[row]}_for_{task.target}"
            folder.mkdir(exist_ok=True)
            for view, pictures in (frames or {}).items():
                _write_picture(folder / f"{view}.png", pictures[row])


def _write_picture(path: Path, picture: NDArray[np.uint8]) -> None:
    from PIL import Image

    Image.fromarray(picture).save(path)


def _step_task(step: StepTask, episode: NavigationEpisode, where: str) -> dict[str, Any]:
    data: dict[str, Any] = {
        "trajectory path": f"{where}/success/trial_1",
        "start": step.first,
        "end": step.last,
        "Robot": episode.robot,
        "Scene": episode.scene,
        "target": [step.target],
        "Region": [step.region],
    }
    start = _start_of(step, episode)
    if start is not None:
        data["start_pos"] = to_habitat(start.position).tolist()
        data["start_yaw"] = float(yaw_of_heading(start.heading))
    return data | {"Task instruction": step.instruction}


def _start_of(step: StepTask, episode: NavigationEpisode) -> Pose | None:
    """The pose before its first action, of the expert where it is known."""
    walk = episode.expert
    if walk is None:
        return step.start
    moves = rows_of_moves(walk)
    if step.last >= len(moves):
        raise DataError(
            f"step task {step.instruction!r} of episode {episode.name} ends with action "
            f"{step.last}, and the expert has {len(moves)}"
        )
    x, y, z = walk.positions[moves[step.first]].tolist()
    return Pose((x, y, z), float(walk.headings[moves[step.first]]))


def _free_name(folder: Path, instruction: str) -> Path:
    """A file named by an instruction; LHPR would write over one with the same beginning."""
    stem = instruction[:STEP_TASK_NAME].strip().replace("/", "")
    path, number = folder / f"{stem}.json", 2
    while path.exists():
        path, number = folder / f"{stem} ({number}).json", number + 1
    return path
