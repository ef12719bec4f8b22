"""Joins data sets: videos are copied packet by packet, episodes and tasks numbered anew."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyarrow as pa

from worldsim.conventions import plain_rate, same_rate
from worldsim.data.assemble import Assembler, EpisodeSource
from worldsim.data.cameras import black_frames
from worldsim.data.channels import IMAGES
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.features import BOOKKEEPING_FEATURES, image_features
from worldsim.data.layout import Limits, Progress
from worldsim.data.rows import column_array, hold_actions, meta_table, vector_column
from worldsim.data.selection import Selection
from worldsim.data.video import VideoCodec
from worldsim.data.video_writer import VideoSegment, encode_video, rewrite
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.files import atomic_path, disk_errors
from worldsim.spec import CameraSpec

HORIZON = "max_episode_steps"
"""Says when an episode is cut short, not in which world."""


def merge(
    roots: Sequence[Path],
    out: Path,
    limits: Limits | None = None,
    progress: Progress | None = None,
    selection: Selection | None = None,
) -> LeRobotDataset:
    """Write the episodes of `roots`, in order, to a new data set at `out`.

    Columns that are action, proprioception or chosen cameras are written under LeRobot's names.
    v2.1 sources become v3.0. What a source holds out of training stays held out. Columns of the
    episodes table that neither LeRobot nor worldsim knows are dropped; row features are all kept.

    Args:
        roots: data sets of one robot.
        out: folder to write.
        limits: when files are full.
        progress: called with (episodes done, episodes).
        selection: which episodes of each, and which of their columns are what.

    Raises:
        UsageError: fewer than two roots, or `out` exists.
        SpecMismatchError: the sources differ in fps, features or spec.
        DataError: a source is broken; nothing is left at `out`.
    """
    datasets = _open(roots, out, selection)
    features = _common_features(datasets)
    fps = plain_rate(datasets[0].info["fps"])
    episodes = [(dataset, i) for dataset in datasets for i in range(dataset.num_episodes)]
    with disk_errors(out.parent), atomic_path(out) as building:
        building.mkdir()
        assembler = Assembler(building, fps, features, _info(datasets), limits or Limits())
        for done, (dataset, episode) in enumerate(episodes, 1):
            with TemporaryDirectory(dir=building.parent) as folder:
                assembler.add(_source(dataset, episode, features, Path(folder), fps))
            if progress is not None:
                progress(done, len(episodes))
        assembler.close()
    return LeRobotDataset(out)


def _open(roots: Sequence[Path], out: Path, selection: Selection | None) -> list[LeRobotDataset]:
    """The data sets to be joined; see `merge` for what is refused."""
    if len(roots) < 2:
        raise UsageError(f"merge needs at least two data sets in `roots`, got {len(roots)}")
    places = [Path(root).resolve() for root in roots]
    if twice := sorted({str(place) for place in places if places.count(place) > 1}):
        raise UsageError(f"roots names {', '.join(twice)} twice; its episodes would count double")
    if out.exists():
        raise UsageError(f"{out} exists already; choose a new folder for the merged data set")
    return [LeRobotDataset(root, selection) for root in roots]


def _plain(dataset: LeRobotDataset) -> dict[str, Any]:
    """Features that every row carries, without LeRobot's bookkeeping."""
    features = dataset.info["features"]
    return {key: value for key, value in features.items() if key not in BOOKKEEPING_FEATURES}


def _common_features(datasets: Sequence[LeRobotDataset]) -> dict[str, Any]:
    first = datasets[0]
    features = _plain(first)
    for key, feature in features.items():  # films of other rates are encoded anew
        if feature["dtype"] == "video" and isinstance(told := feature.get("info"), dict):
            told = {**told, **({"video.fps": first.info["fps"]} if "video.fps" in told else {})}
            features[key] = {**feature, "info": told}
    shapes = {key: (f["dtype"], list(f["shape"])) for key, f in features.items()}
    for other in datasets[1:]:
        if "spec" in first.own and "spec" in other.own:
            first.spec.require_compatible(other.spec, str(first.root), str(other.root))
        theirs = {key: (f["dtype"], list(f["shape"])) for key, f in _plain(other).items()}
        if theirs != shapes or not same_rate(other.info["fps"], first.info["fps"]):
            odd = sorted(k for k in {*shapes, *theirs} if shapes.get(k) != theirs.get(k))
            raise SpecMismatchError(
                f"{first.root} and {other.root} cannot be merged: fps {first.info['fps']} and "
                f"{other.info['fps']}; features that differ: {odd or 'none'}"
            )
    return features


def _info(datasets: Sequence[LeRobotDataset]) -> dict[str, Any]:
    first = datasets[0]
    info: dict[str, Any] = {"robot_type": first.info.get("robot_type")}
    if all("spec" in dataset.own for dataset in datasets):
        envs = [dataset.env_info for dataset in datasets]
        alike = all(_world_of(env) == _world_of(envs[0]) for env in envs)
        spec = first.spec
        for other in datasets[1:]:
            cameras = tuple(map(CameraSpec.widened, spec.cameras, other.spec.cameras))
            action = spec.action.widened(other.spec.action)
            spec = replace(spec, action=action, cameras=cameras)
        info["worldsim"] = {"spec": spec.to_json(), "env": envs[0] if alike else {}}
    return info


def _world_of(env: dict[str, Any]) -> dict[str, Any]:
    """An env without what only says when an episode is cut short."""
    kwargs = {key: value for key, value in env.get("kwargs", {}).items() if key != HORIZON}
    return {**env, "kwargs": kwargs}


def _source(
    dataset: LeRobotDataset, episode: int, features: dict[str, Any], folder: Path, fps: float
) -> EpisodeSource:
    """An episode to be written; films that are encoded anew lie in `folder`."""
    table, record = dataset.rows(episode), dataset.record(episode)
    columns = {}
    for key, feature in features.items():
        if feature["dtype"] == "video":
            continue
        column = table[key]
        if len(feature["shape"]) == 1 and feature["dtype"] not in ("string", "image", "language"):
            values = column_array(column, f"{record.data}, {key}")
            column = vector_column(values.astype(feature["dtype"]))
        columns[key] = column
    own = "spec" in dataset.own
    tasks, task_of_row = _tasks(dataset, table)
    return EpisodeSource(
        rows=hold_actions(pa.table(columns)),  # older sets hold zeros
        tasks=tasks,
        task_of_row=task_of_row,
        extras=meta_table(dataset.meta(episode)) if own else pa.table({}),
        videos=_films(dataset, episode, features, folder, fps),
        fold=dataset.folds[episode],
    )


def _films(
    dataset: LeRobotDataset, episode: int, features: dict[str, Any], folder: Path, fps: float
) -> dict[str, VideoSegment]:
    """The videos of an episode; a film of another rate than the rows' is encoded anew."""
    films: dict[str, VideoSegment] = {}
    for key in (key for key, feature in features.items() if feature["dtype"] == "video"):
        film = dataset.record(episode).videos.get(key)
        if film is None:
            films[key] = _black(dataset, episode, features[key], folder / f"{len(films)}.mp4", fps)
            continue
        path = film.path
        numbers = dataset.frame_numbers(episode, key)
        films[key] = VideoSegment(path, int(numbers[0]), len(numbers))
        if (np.diff(numbers) != 1).any():
            films[key] = rewrite(path, numbers, folder / f"{len(films)}.mp4", fps)
    return films


def _black(
    dataset: LeRobotDataset, episode: int, feature: dict[str, Any], path: Path, fps: float
) -> VideoSegment:
    """A film of black frames, for a camera that an episode does not have."""
    (camera,) = image_features({IMAGES: feature})
    count = dataset.record(episode).length
    encode_video(path, black_frames(camera, count), fps, VideoCodec())
    return VideoSegment(path, 0, count)


def _tasks(dataset: LeRobotDataset, table: pa.Table) -> tuple[tuple[str, ...], np.ndarray]:
    """Instructions of the rows in order of appearance, and for each row which one."""
    if "task_index" not in table.column_names:
        return ("",), np.zeros(len(table), np.int64)
    ids = table["task_index"].to_pylist()
    order = list(dict.fromkeys(ids))
    texts = tuple(dataset.index.tasks.get(task, "") for task in order)
    return texts, np.array([order.index(task) for task in ids], np.int64)
