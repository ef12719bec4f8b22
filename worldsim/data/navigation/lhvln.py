"""Reader of LH-VLN task files, as LHPR-VLN publishes them.

Layouts, as HCPLab-SYSU/LH-VLN at 3492080 reads them in `utils/dataset.py`:

- `task/<batch>/<n>/<instruction>/config.json`, and beside it `success/trial_1/task.json` with the
  expert's poses; `step_task/<batch>/*.json`.
- `episode_task/<batch>.json.gz`: {id: {"lh_task", "st_task"}}.

They hold no goal positions, and no start but the expert's: the simulator's semantics give the
goals, and the released evaluator draws a start. What `lhpr_writer` adds is read too.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from worldsim.data.navigation.episode import (
    MOVE,
    NavigationEpisode,
    Point,
    Pose,
    SubTask,
    absent_objects,
    as_point,
    parse_step,
)
from worldsim.data.navigation.episode_json import (
    entry,
    optional,
    read_each,
    read_episode_json,
    require_scene,
    texts,
)
from worldsim.data.navigation.lhvln_trial import read_expert, read_step_task
from worldsim.errors import DataError

OWN = "worldsim"
"""Key of what LHPR's layout has no place for; LH-VLN's own readers do not look at it."""

Row = tuple[str, dict[str, Any], Path | None, list[Any]]
"""(name, config, folder of the trial or None, step tasks)."""


def read_lhvln_tasks(
    root: Path, batch: str, *, scenes: Path | None = None, skip_faulty: bool = False
) -> list[NavigationEpisode]:
    """Episodes of `task/<batch>` with their experts and step tasks.

    Args:
        root: folder that holds `task` and `step_task`.
        batch: such as `batch_1`.
        scenes: folder of HM3D's `train` and `val`; None does not look for scene files.
        skip_faulty: leave faulty episodes out with a warning.

    Raises:
        DataError: a file is missing or is none of that layout; a scene is missing; a target is no
            object of the episode; a goal cannot be reached; an expert's path is empty.
    """
    folder = root / "task" / batch
    if not folder.is_dir():
        raise DataError(f"no such batch of LH-VLN tasks: {folder}")
    steps = [
        (path, read_episode_json(path)) for path in sorted(root.glob(f"step_task/{batch}/*.json"))
    ]

    def rows() -> Iterator[tuple[str, Row]]:
        for path in sorted(folder.glob("*/*/config.json")):
            name = str(path.parent.relative_to(folder))
            own = [data for where, data in steps if _is_part_of(data, path.parent.name, where)]
            yield name, (name, read_episode_json(path), path.parent, own)

    return read_each(folder, rows(), lambda row: _episode(row, scenes), skip_faulty)


def read_lhvln_episodes(
    path: Path, *, scenes: Path | None = None, skip_faulty: bool = False
) -> list[NavigationEpisode]:
    """Episodes of `episode_task/<batch>.json.gz`; arguments and errors as `read_lhvln_tasks`."""
    data = read_episode_json(path)
    if not isinstance(data, dict):
        raise DataError(f"{path} is no object of episodes by id")

    def rows() -> Iterator[tuple[str, Row]]:
        for name, both in data.items():
            task = entry(both, "lh_task", dict, f"episode {name}")
            yield name, (name, task, None, entry(both, "st_task", list, f"episode {name}"))

    return read_each(path, rows(), lambda row: _episode(row, scenes), skip_faulty)


def _is_part_of(data: Any, instruction: str, where: Path) -> bool:
    """Whether a step task belongs to a task: its trajectory lies in that task's folder."""
    return instruction in entry(data, "trajectory path", str, str(where)).split("/")


def _episode(row: Row, scenes: Path | None) -> NavigationEpisode:
    name, config, folder, steps = row
    where = f"episode {name}"
    scene = entry(config, "Scene", str, where)
    if scenes is not None:
        require_scene(name, scene, _scene_folders(scenes, scene))
    plan = texts(entry(config, "Subtask list", list, where), f"{where}: 'Subtask list'")
    objects = _objects(config, where)
    absent = absent_objects(plan, {(target, region) for target, region, _ in objects})
    if absent:
        raise DataError(
            f"{where} asks for {', '.join(absent)}, and its objects are "
            f"{', '.join(f'{target}_{region}' for target, region, _ in objects)}"
        )
    own = optional(config, OWN, dict, where) or {}
    trial = folder / "success" / "trial_1" / "task.json" if folder is not None else None
    expert = read_expert(trial) if trial is not None and trial.exists() else None
    start = _start(own, where)
    if start is None and expert is not None:
        start = Pose(as_point(expert.positions[0], where), float(expert.headings[0]))
    return NavigationEpisode(
        name=name,
        scene=scene,
        instruction=entry(config, "Task instruction", str, where),
        sub_tasks=_sub_tasks(config, plan, objects, own, where),
        start=start,
        plan=plan,
        robot=optional(config, "Robot", str, where) or "",
        step_tasks=tuple(read_step_task(step, where, expert) for step in steps),
        reference_path=_points(
            optional(own, "reference_path", list, where), f"the reference path of {where}"
        ),
        expert=expert,
    )


def _scene_folders(scenes: Path, scene: str) -> list[Path]:
    """Where LH-VLN's `make_setting` looks: scene 00800 and later are of the validation split."""
    split = "train" if scene[2:3] < "8" else "val"
    return [scenes / split / scene, scenes / scene]


def _objects(config: dict[str, Any], where: str) -> list[tuple[str, str, str]]:
    """(name, region, room) of each line [name, "Region i: Room"]."""
    found = []
    for line in entry(config, "Object", list, where):
        if (
            not isinstance(line, list)
            or len(line) != 2
            or not all(isinstance(x, str) for x in line)
        ):
            raise DataError(f"{where}: object {line!r} is no [name, 'Region i: Room']")
        region, colon, room = line[1].partition(": ")
        if not colon or not region.startswith("Region "):
            raise DataError(f"{where}: region {line[1]!r} is no 'Region i: Room'")
        found.append((line[0], region.removeprefix("Region "), room))
    return found


def _sub_tasks(
    config: dict[str, Any],
    plan: tuple[str, ...],
    objects: list[tuple[str, str, str]],
    own: dict[str, Any],
    where: str,
) -> tuple[SubTask, ...]:
    rooms = {(target, region): room for target, region, room in objects}
    moves = [(target, region) for verb, target, region in map(parse_step, plan) if verb == MOVE]
    if not moves:
        raise DataError(f"{where} has no Move_to among {list(plan)}, so nowhere to go")
    steps = optional(config, "gt_step", list, where) or [None] * len(moves)
    more = optional(own, "sub_tasks", list, where) or [{}] * len(moves)
    if len(steps) != len(moves) or len(more) != len(moves):
        raise DataError(
            f"{where}: {len(steps)} counts of steps and {len(more)} goals for {len(moves)} moves"
        )
    here = f"{where}: sub-task"
    return tuple(
        SubTask(
            target=target,
            region=region,
            room=rooms[target, region],
            goals=_points(optional(extra, "goals", list, here), f"a goal of {where}"),
            radius=extra.get("radius", 1.0),
            expert_steps=count,
            expert_length=extra.get("expert_length"),
        )
        for (target, region), count, extra in zip(moves, steps, more, strict=True)
    )


def _start(own: dict[str, Any], where: str) -> Pose | None:
    start = optional(own, "start", dict, where)
    if start is None:
        return None
    position = entry(start, "position", list, f"{where}: start")
    return Pose(as_point(position, where), entry(start, "heading", (int, float), f"{where}: start"))


def _points(points: list[Any] | None, what: str) -> tuple[Point, ...]:
    """Points of our frame."""
    return tuple(as_point(point, what) for point in points or ())
