"""Finds what is wrong with a data set: each fault names its file and episode."""

from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from worldsim.data.dataset import LeRobotDataset
from worldsim.data.features import ImageFeature
from worldsim.data.records import EpisodeRecord
from worldsim.data.rows import column_array
from worldsim.data.selection import Selection
from worldsim.data.video import VideoFile
from worldsim.errors import DataError

TIME_TOLERANCE = 1e-3
"""Seconds by which a stored timestamp may miss frame / fps; float32 hours stay below it."""


@dataclass(frozen=True)
class Fault:
    """One thing that is wrong.

    Attributes:
        file: path relative to the data set.
        episode: index of the episode, None if the fault is not one episode's.
        message: what was found and what was expected.
    """

    file: str
    episode: int | None
    message: str

    def __str__(self) -> str:
        where = self.file if self.episode is None else f"{self.file}, episode {self.episode}"
        return f"{where}: {self.message}"


def verify(
    root: Path,
    decode: bool = True,
    progress: Callable[[int, int], None] | None = None,
    selection: Selection | None = None,
) -> list[Fault]:
    """Every fault of a data set; an empty list means that it is sound.

    Args:
        root: data set folder.
        decode: also decode every video frame.
        progress: called with (steps done, steps), two steps an episode.
        selection: which episodes, and which columns are what; None takes all as it is named.
    """
    try:
        dataset = LeRobotDataset(root, selection, strict=False)
    except DataError as error:
        return [Fault("meta", None, str(error))]
    whole = selection is None or not selection.episodes
    faults = list(_check_counts(dataset)) if whole else []
    expected_row = 0
    for episode, record in enumerate(dataset.index.records):
        faults += _check_rows(dataset, episode, expected_row if whole else record.first_row)
        expected_row += record.length
        if progress is not None:
            progress(episode + 1, 2 * dataset.num_episodes)
    done = 0
    for file, owners in _video_files(dataset).items():
        faults += _check_video(dataset, file, owners, decode, whole)
        done += len(owners)
        if progress is not None:
            share = done // len(dataset.index.cameras)
            progress(dataset.num_episodes + share, 2 * dataset.num_episodes)
    dataset.close()
    return faults


def _check_counts(dataset: LeRobotDataset) -> Iterator[Fault]:
    info, records = dataset.info, dataset.index.records
    counts = {
        "total_episodes": len(records),
        "total_frames": sum(record.length for record in records),
        "total_tasks": len(dataset.index.tasks),
    }
    for key, found in counts.items():
        if key in info and info[key] != found:
            yield Fault("meta/info.json", None, f"{key} is {info[key]}, but there are {found}")
    indices = [record.index for record in records]
    if indices != list(range(len(records))):
        missing = sorted(set(range(max(indices) + 1)) - set(indices))
        yield Fault("meta/episodes", None, f"episode indices have gaps or repeats: {missing[:9]}")


def _check_rows(dataset: LeRobotDataset, episode: int, expected_row: int | None) -> Iterator[Fault]:
    record = dataset.record(episode)
    file = _relative(dataset, record.data)
    if record.first_row is not None and record.first_row != expected_row:
        message = f"dataset_from_index is {record.first_row}, expected {expected_row}"
        yield Fault("meta/episodes", record.index, message)
    try:
        table = dataset.rows(episode)
        yield from _check_bookkeeping(dataset, record, table, file, expected_row)
        yield from _check_numbers(dataset, record, table, file)
    except DataError as error:
        yield Fault(file, record.index, str(error))


def _check_bookkeeping(
    dataset: LeRobotDataset,
    record: EpisodeRecord,
    table: pa.Table,
    file: str,
    expected_row: int | None,
) -> Iterator[Fault]:
    frames = np.arange(len(table))
    expected = {"frame_index": frames}
    if expected_row is not None:
        expected["index"] = frames + expected_row
    for name, values in expected.items():
        if name in table.column_names and not np.array_equal(table[name].to_numpy(), values):
            yield Fault(file, record.index, f"{name} does not count up from {values[0]}")
    if "timestamp" in table.column_names and len(table) > 1:
        times = table["timestamp"].to_numpy()
        if not np.allclose(times, frames / dataset.info["fps"], rtol=0, atol=TIME_TOLERANCE):
            rate = (len(times) - 1) / (times[-1] - times[0]) if times[-1] > times[0] else 0.0
            message = f"timestamps run at {rate:.4g} fps, info.json says {dataset.info['fps']}"
            yield Fault(file, record.index, message)
    if "task_index" in table.column_names:
        unknown = set(table["task_index"].to_pylist()) - set(dataset.index.tasks)
        if unknown:
            yield Fault(file, record.index, f"task_index {sorted(unknown)} is in no tasks file")


def _check_numbers(
    dataset: LeRobotDataset, record: EpisodeRecord, table: pa.Table, file: str
) -> Iterator[Fault]:
    for key, feature in dataset.info["features"].items():
        kind = feature.get("dtype", "")
        if kind in ("video", "image", "string", "language"):
            continue
        if key not in table.column_names:
            yield Fault(file, record.index, f"feature {key!r} has no column")
            continue
        values = column_array(table[key], key)
        width = int(np.prod(feature["shape"]))
        if values.shape[1] != width:
            yield Fault(file, record.index, f"{key} has {values.shape[1]} entries, not {width}")
        finite = np.isfinite(values).all(axis=1)
        if not finite.all():
            row = int(np.flatnonzero(~finite)[0])
            yield Fault(file, record.index, f"{key} holds NaN or infinity, first in frame {row}")


Owners = list[tuple[EpisodeRecord, ImageFeature]]


def _video_files(dataset: LeRobotDataset) -> dict[Path, Owners]:
    """Every video file with the episodes in it, by position."""
    files: dict[Path, Owners] = defaultdict(list)
    for record in dataset.index.records:
        for camera in dataset.index.cameras:
            if camera.video:
                files[record.videos[camera.key].path].append((record, camera))
    for owners in files.values():
        owners.sort(key=lambda owner: owner[0].videos[owner[1].key].first)
    return files


def _check_video(
    dataset: LeRobotDataset, path: Path, owners: Owners, decode: bool, whole: bool
) -> Iterator[Fault]:
    file, camera = _relative(dataset, path), owners[0][1]
    try:
        video = VideoFile(path)
    except DataError as error:
        for record, _ in owners:
            yield Fault(file, record.index, str(error))
        return
    with video:
        fps = dataset.info["fps"]
        if abs(float(video.fps) - fps) > 1e-3 * fps:
            yield Fault(file, None, f"runs at {float(video.fps):.4g} fps, info.json says {fps}")
        if (video.height, video.width) != (camera.height, camera.width):
            found, wanted = (video.height, video.width), (camera.height, camera.width)
            yield Fault(file, None, f"frames are {found}, info.json says {wanted}")
        yield from _check_segments(video, file, owners, decode, whole)


def _check_segments(
    video: VideoFile, file: str, owners: Owners, decode: bool, whole: bool
) -> Iterator[Fault]:
    """Faults of each episode's frames and, of a `whole` data set, of what lies between them."""
    expected = 0
    for record, camera in owners:
        segment = record.videos[camera.key]
        if whole and segment.first != expected:
            message = f"starts at frame {segment.first}, the episode before ends at {expected}"
            yield Fault(file, record.index, message)
        expected = segment.first + segment.count
        if expected > video.frame_count:
            message = f"needs frames up to {expected}, the file holds {video.frame_count}"
            yield Fault(file, record.index, f"truncated: {message}")
        elif decode:
            try:
                video.read(segment.first, segment.count)
            except DataError as error:
                yield Fault(file, record.index, str(error))
    if whole and expected < video.frame_count:
        yield Fault(file, None, f"holds {video.frame_count} frames, its episodes use {expected}")


def _relative(dataset: LeRobotDataset, path: Path) -> str:
    return str(path.relative_to(dataset.root))


def raise_faults(root: Path, faults: list[Fault], shown: int = 5) -> None:
    """Raise a DataError that lists the first `shown` faults, if there are any."""
    if faults:
        listed = "; ".join(str(fault) for fault in faults[:shown])
        more = f"; and {len(faults) - shown} more" if len(faults) > shown else ""
        count = f"{len(faults)} faults" if len(faults) > 1 else "a fault"
        raise DataError(f"{root} has {count}: {listed}{more}")
