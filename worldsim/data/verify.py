"""Finds what is wrong with a data set: each fault names its file and episode.

The checks are those that opening and reading make (`worldsim.data.checks`). Verifying lists what
they find in the whole data set, where reading stops at the first error.

Films and states that never change although actions ask for motion are faults that only verifying
looks for. A simulator that is filmed through an old handle gives such data, and so does a camera
that hangs. Episodes in which nothing was asked for are left alone.

Legend: N rows, A action, D numbers of a vector, H, W pixels.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldsim.data.action_checks import action_faults
from worldsim.data.cache import is_black
from worldsim.data.checks import film_faults, row_faults
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.extrinsics import extrinsics_faults
from worldsim.data.faults import Fault, errors_of
from worldsim.data.layout import INFO, Progress, was_imported
from worldsim.data.records import EPISODES
from worldsim.data.selection import Selection
from worldsim.data.statistics import ExtremesSeen
from worldsim.data.video import VideoFile
from worldsim.errors import DataError, WorldsimError
from worldsim.spec import ActionSpec

LEAST_ROWS = 5
"""Rows with an action that asks for motion, from which on something must change."""

_ASKED = 0.02
"""Share of an action's range that is more than a robot at rest is sent."""
_SQUARE = 8
"""Pixels of the side of the squares whose means are compared: a codec's noise averages out."""
_GREY = 4.0
"""Grey levels by which such a mean wavers in a film of nothing."""
_NUMBER = 1e-6


def asks_to_move(action: NDArray[np.float32], spec: ActionSpec) -> bool:
    """Whether enough of an episode's actions ask a robot to move.

    Targets ask where they change; displacements, speeds and torques where they are not zero.

    Args:
        action: `[N, A]`, without the last row's, which nobody took.
        spec: says which of both actions are.
    """
    if not len(action):
        return False
    low, high = np.asarray(spec.low), np.asarray(spec.high)
    idle = action[0] if spec.mode in ("absolute", "unknown") else np.zeros_like(action[0])
    asked = np.abs(action - idle) > _ASKED * np.maximum(high - low, 1e-9)
    return int(asked.any(axis=1).sum()) >= LEAST_ROWS


def is_still(rows: NDArray[np.float32]) -> bool:
    """Whether rows `[N, D]` hold the same numbers throughout; no numbers tell nothing."""
    if not rows.size:
        return False
    return bool((np.abs(rows - rows[0]) <= _NUMBER * np.maximum(1.0, np.abs(rows[0]))).all())


def is_still_film(frames: Iterable[NDArray[np.uint8]]) -> bool:
    """Whether frames `[H, W, 3]` show one picture throughout.

    All frames are taken, so that those that do not decode are found. Black ones stand for a camera
    that an episode does not have, and are no film.
    """
    first: NDArray[np.float32] | None = None
    still, black = True, True
    for frame in frames:
        if not still:
            continue
        means = _means(frame)
        first = means if first is None else first
        black = black and bool(is_black(frame))
        still = bool((np.abs(means - first) <= _GREY).all())
    return first is not None and still and not black


def _means(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means over squares of pixels."""
    import cv2

    height, width = (max(side // _SQUARE, 1) for side in frame.shape[:2])
    means = cv2.resize(frame.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(means, np.float32)


_NEVER = "never changes, though actions ask for motion: did the recorder look at the live robot?"


def verify(
    root: Path,
    decode: bool = True,
    progress: Progress | None = None,
    selection: Selection | None = None,
) -> list[Fault]:
    """Every fault of a data set; where none is an error, training can use it.

    Files that are not there are errors here; training leaves their episodes out and says so.

    Args:
        root: data set folder.
        decode: also decode every frame.
        progress: called with (steps done, steps), two steps an episode.
        selection: which episodes, and which columns are what; the others are not looked at.

    Raises:
        UsageError: `selection` names what is not there.
    """
    chosen = selection or Selection()
    try:
        dataset = LeRobotDataset(root, chosen, strict=False)
    except DataError as error:
        return [Fault("meta", None, _message(root, error))]
    count, seen = dataset.num_episodes, ExtremesSeen(dataset.info["features"])
    with closing(dataset):
        unfit = training_faults(dataset)
        has_spec = not errors_of(unfit)
        faults = [*dataset.faults, *unfit]
        for episode in range(count):
            faults += _check_rows(dataset, episode, seen, has_spec)
            if progress is not None:
                progress(episode + 1, 2 * count)
        if not errors_of(faults) and not chosen.key:  # the stored statistics are of all
            faults += seen.faults(root)
        faults += _check_films(dataset)
        broken = {(fault.file, fault.episode) for fault in errors_of(faults)}
        for episode in range(count):
            faults += _check_frames(dataset, episode, decode, broken, has_spec)
            if progress is not None:
                progress(count + episode + 1, 2 * count)
        if decode and was_imported(dataset.info) and not errors_of(faults):
            faults += extrinsics_faults(dataset)
    return list(dict.fromkeys(faults))


def training_faults(dataset: LeRobotDataset) -> list[Fault]:
    """Why no world model can be trained on a data set.

    `worldsim train` refuses it for these reasons before its first stage, and `worldsim data
    verify` lists them.
    """
    try:
        _ = dataset.spec
    except WorldsimError as error:
        return [Fault(INFO, None, str(error))]
    if max(record.length for record in dataset.index.records) < 2:
        message = "no episode has two rows, so none shows what an action does; record longer ones"
        return [Fault(EPISODES, None, message)]
    actions = [action for action, _ in dataset.sample()]
    if not actions:
        return []
    return list(action_faults(dataset.spec.action, np.concatenate(actions)))


def _check_rows(
    dataset: LeRobotDataset, episode: int, seen: ExtremesSeen, has_spec: bool
) -> Iterator[Fault]:
    """Faults of an episode's rows, and of what is made of them."""
    record = dataset.record(episode)
    file = _relative(dataset, record.data)
    try:
        table: pa.Table = dataset.unchecked_rows(episode)
        faults = list(row_faults(dataset.index, record, table))
        yield from faults
        if not errors_of(faults):
            seen.add(table)
            dataset.meta(episode)
            if has_spec:
                yield from _check_states(dataset, episode, file)
    except DataError as error:
        yield Fault(file, record.index, _message(dataset.root, error))


def _check_states(dataset: LeRobotDataset, episode: int, file: str) -> Iterator[Fault]:
    """Whether states follow actions.

    Raises:
        DataError: the rows cannot be read.
    """
    arrays, record = dataset.arrays(episode), dataset.record(episode)
    known = [arrays[name] for name in ("agent_pos", "state") if arrays[name].size]
    if known and all(map(is_still, known)) and _asks_to_move(dataset, episode):
        message = f"all of state and proprioception {_NEVER}"
        yield Fault(file, record.index, message, "warning")


def _asks_to_move(dataset: LeRobotDataset, episode: int) -> bool:
    return asks_to_move(dataset.arrays(episode)["action"][:-1], dataset.spec.action)


def _check_films(dataset: LeRobotDataset) -> Iterator[Fault]:
    """Faults of whole video files; those that do not open are told with their episodes."""
    ends: dict[Path, float] = defaultdict(float)
    for record in dataset.whole.records:
        for film in record.videos.values():
            end = film.start + record.length / dataset.info["fps"]
            ends[film.path] = max(ends[film.path], end)
    cameras = [camera for camera in dataset.index.cameras if camera.video]
    pairs = ((record, c) for record in dataset.index.records for c in cameras)
    used = {record.videos[c.key].path: c for record, c in pairs if c.key in record.videos}
    for path, camera in used.items():
        end = ends[path]
        try:
            with VideoFile(path) as video:
                yield from film_faults(dataset.index, camera, video)
                unused = int((video.times > end - 0.5 / max(float(video.fps), 1.0)).sum())
        except DataError:
            continue
        if unused:
            message = f"holds {unused} frames after {end:.6g} s, which belong to no episode"
            yield Fault(_relative(dataset, path), None, message, "warning")


def _check_frames(
    dataset: LeRobotDataset,
    episode: int,
    decode: bool,
    broken: set[tuple[str, int | None]],
    has_spec: bool,
) -> Iterator[Fault]:
    """Faults of an episode's frames, unless something that they depend on is `broken`."""
    record = dataset.record(episode)
    for camera in dataset.index.cameras:
        if camera.video and camera.key not in record.videos:
            continue
        path = record.videos[camera.key].path if camera.video else record.data
        file, rows = _relative(dataset, path), _relative(dataset, record.data)
        if {(rows, record.index), (file, record.index), (file, None)} & broken:
            continue
        try:
            if decode:
                still = is_still_film(dataset.each_frame(episode, camera.name))
                if still and has_spec and _asks_to_move(dataset, episode):
                    message = f"the picture of camera {camera.name!r} {_NEVER}"
                    yield Fault(file, record.index, message, "warning")
            elif camera.video:
                dataset.frame_numbers(episode, camera.key)
        except DataError as error:
            yield Fault(file, record.index, _message(dataset.root, error))


def _relative(dataset: LeRobotDataset, path: Path) -> str:
    return str(path.relative_to(dataset.root))


def _message(root: Path, error: DataError) -> str:
    """What an error says, without the data set's own name, which stands beside it anyway."""
    return str(error).replace(f"{root}: ", "").replace(f"{root}/", "")
