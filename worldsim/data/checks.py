"""Checks of a data set's tables against each other and against its rows.

Opening a data set makes those of the metadata, reading an episode those of its rows. `verify` lists
what they find, so that it says what training would say.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator
from itertools import chain
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldsim.conventions import same_rate
from worldsim.data.channels import channels_of, is_channel, is_own
from worldsim.data.faults import Fault, Severity
from worldsim.data.features import ImageFeature
from worldsim.data.layout import INFO, PICTURES, TEXTS
from worldsim.data.records import EPISODES, DatasetIndex, EpisodeRecord
from worldsim.data.rows import NO_TASK, column_array
from worldsim.data.timing import TOLERANCE, row_times
from worldsim.data.video import VideoFile
from worldsim.errors import DataError, SpecMismatchError
from worldsim.spec import LIMIT_SLACK, ActionSpec, WorldSpec

USED = ("next.reward", "next.success", "next.progress", "is_episode_successful")
"""Features that are read beside the channels where a data set has them; a fault in another one
forbids nothing."""

IMPLIED = ("action_achieved", "action_mask", "reward", "success", "progress")
"""Channels that a data set of an earlier worldsim may lack; other columns imply them."""


def index_faults(index: DatasetIndex) -> Iterator[Fault]:
    """What is wrong with the metadata alone."""
    yield from index.faults
    yield from _doubles(index)
    yield from _counts(index)
    yield from _row_ranges(index)
    yield from _film_ranges(index)
    yield from _own_spec(index)


def _doubles(index: DatasetIndex) -> Iterator[Fault]:
    counts = Counter(record.index for record in index.records)
    for episode, count in counts.items():
        if count > 1:
            message = f"the episodes table lists it {count} times; keep one of the rows"
            yield Fault(EPISODES, episode, message)
    located = sorted({*counts, *(f.episode for f in index.faults if f.episode is not None)})
    pairs = zip([-1, *located], located, strict=False)
    missing = [f"{before + 1} to {after - 1}" for before, after in pairs if after > before + 1]
    if missing:
        message = f"episode indices have gaps: {', '.join(missing[:9])}"
        yield Fault(EPISODES, None, message, "warning")


def _counts(index: DatasetIndex) -> Iterator[Fault]:
    counts = {
        "total_episodes": len(index.records),
        "total_frames": sum(record.length for record in index.records),
        "total_tasks": len(index.tasks),
    }
    for key, found in counts.items():
        if key in index.info and index.info[key] != found:
            message = f"{key} is {index.info[key]}, but there are {found}"
            yield Fault(INFO, None, message, "warning")


def _row_ranges(index: DatasetIndex) -> Iterator[Fault]:
    """Rows are found by their episode, so that a wrong first row forbids nothing."""
    expected = 0
    for record in index.records:
        first = expected if record.first_row is None else record.first_row
        if first != expected:
            message = f"dataset_from_index is {first}, expected {expected}"
            yield Fault(EPISODES, record.index, message, "warning")
        expected = first + record.length


def _film_ranges(index: DatasetIndex) -> Iterator[Fault]:
    """No film may begin inside another one, nor end before its rows do."""
    step = 1.0 / index.info["fps"]
    films = defaultdict(list)
    for record in index.records:
        for key, film in record.videos.items():
            films[film.path].append((film.start, film.end, record, key))
    for path, owners in films.items():
        reached, whose = 0.0, ""
        file = str(path.relative_to(index.root))
        for start, end, record, key in sorted(owners, key=lambda owner: owner[0]):
            needed = start + record.length * step
            if end is not None and end < needed - (1 + TOLERANCE) * step:
                message = f"ends at {end:.6g} s, but its {record.length} rows at {needed:.6g} s"
                yield Fault(file, record.index, f"film of {key}: {message}")
            gap = start - reached
            if gap < -0.5 * step:
                message = f"starts at {start:.6g} s, but {whose} lasts until {reached:.6g} s"
                yield Fault(file, record.index, f"film of {key}: {message}")
            elif gap > 0.5 * step:
                message = f"the film from {reached:.6g} to {start:.6g} s belongs to no episode"
                yield Fault(file, record.index, message, "warning")
            if needed > reached:
                reached, whose = needed, f"that of episode {record.index}, {key},"


def _own_spec(index: DatasetIndex) -> Iterator[Fault]:
    """The world that worldsim noted must be the one that the features describe."""
    if not is_own(index.info):
        return
    try:
        spec = WorldSpec.from_json(index.info["worldsim"]["spec"])
    except SpecMismatchError as error:
        yield Fault(INFO, None, f"worldsim.spec: {error}")
        return
    if not same_rate(spec.fps, index.info["fps"]):
        yield Fault(INFO, None, f"fps is {index.info['fps']}, worldsim.spec says {spec.fps}")
    sizes = {camera.name: (camera.height, camera.width) for camera in index.cameras}
    for camera in spec.cameras:
        if sizes.get(camera.name) != (camera.height, camera.width):
            found = sizes.get(camera.name, "no colour camera")
            message = f"camera {camera.name!r} is {found}, worldsim.spec says {camera}"
            yield Fault(INFO, None, message)
    for channel, expected in channels_of(spec):
        key, width = channel.column, int(np.prod(expected))
        if channel.name in IMPLIED:
            continue
        shape = index.info["features"].get(key, {}).get("shape", [0])
        if int(np.prod(shape)) != width:
            yield Fault(INFO, None, f"{key} has shape {shape}, worldsim.spec says {width}")


Finding = tuple[str, Severity]
"""A message, and how bad it is."""


def row_faults(index: DatasetIndex, record: EpisodeRecord, table: pa.Table) -> Iterator[Fault]:
    """What is wrong with the rows `table` of an episode."""
    file = str(record.data.relative_to(index.root))
    numbers = (_numbers(key, each, table) for key, each in index.info["features"].items())
    try:
        for message, severity in chain(_bookkeeping(index, table), *numbers):
            yield Fault(file, record.index, message, severity)
    except DataError as error:
        yield Fault(file, record.index, str(error))


def _bookkeeping(index: DatasetIndex, table: pa.Table) -> Iterator[Finding]:
    count, fps = len(table), index.info["fps"]
    counters = {name: _column(table, name) for name in ("frame_index", "index", "task_index")}
    times = _column(table, "timestamp")
    if (found := counters["frame_index"]) is not None and (found != np.arange(count)).any():
        yield "frame_index does not count up from 0", "error"
    if (found := counters["index"]) is not None and (np.diff(found) != 1).any():
        yield "index does not count up", "warning"
    if times is not None and not np.isfinite(times).all():
        yield "timestamp holds NaN or infinity", "error"
    elif times is not None and count > 1:
        passed = row_times(table, fps) - float(times[0])
        if (np.abs(passed - np.arange(count) / fps) > TOLERANCE / fps).any():
            rate = (count - 1) / passed[-1] if passed[-1] > 0 else 0.0
            yield f"timestamps run at {rate:.4g} fps, info.json says {fps}", "error"
    if (found := counters["task_index"]) is not None and (
        unknown := {*found} - {NO_TASK} - {*index.tasks}
    ):
        yield f"task_index {sorted(map(int, unknown))} is in no tasks file", "error"


def _column(table: pa.Table, name: str) -> np.ndarray | None:
    """`[N]` numbers of a bookkeeping column, None where it is absent."""
    return column_array(table[name], name)[:, 0] if name in table.column_names else None


def _numbers(key: str, feature: dict[str, Any], table: pa.Table) -> Iterator[Finding]:
    present = key in table.column_names
    if feature["dtype"] in (*PICTURES, *TEXTS):
        if feature["dtype"] == "image" and not present:
            yield f"feature {key!r} has no column", "error"
        return
    severity: Severity = "error" if key in USED or is_channel(key) else "warning"
    try:
        if not present:
            raise DataError(f"feature {key!r} has no column")
        values = column_array(table[key], key)
    except DataError as error:
        yield str(error), severity
        return
    width = int(np.prod(feature["shape"]))
    if values.shape[1] != width:
        yield f"{key} has {values.shape[1]} entries, not {width}", severity
    finite = np.isfinite(values).all(axis=1)
    if not finite.all():
        first = int(np.flatnonzero(~finite)[0])
        yield f"{key} holds NaN or infinity, first in frame {first}", severity


def film_faults(index: DatasetIndex, camera: ImageFeature, video: VideoFile) -> list[Fault]:
    """What a video of `camera` says of itself against what the tables say of it."""
    file, rows, fps = str(video.path.relative_to(index.root)), index.info["fps"], float(video.fps)
    faults = []
    if abs(fps - rows) > 1e-3 * rows:
        message = f"runs at {fps:.4g} fps, info.json says {rows}; frames are chosen by their time"
        faults.append(Fault(file, None, message, "warning"))
    found, wanted = (video.height, video.width), (camera.height, camera.width)
    if found != wanted:
        faults.append(Fault(file, None, f"frames are {found}, info.json says {wanted}"))
    return faults


def limit_faults(spec: ActionSpec, action: NDArray[np.float32], where: str) -> list[Fault]:
    """Actions `[N, A]` beyond the limits that the data set's world states."""
    low, high = np.asarray(spec.low), np.asarray(spec.high)
    room = LIMIT_SLACK * np.maximum(high - low, 1e-3)
    beyond = ((action < low - room) | (action > high + room)).any(axis=1)
    if not beyond.any():
        return []
    row = int(np.flatnonzero(beyond)[0])
    message = (
        f"action {action[row].tolist()} of row {row} lies beyond {low.tolist()}, {high.tolist()}"
    )
    return [Fault(where, None, message)]
