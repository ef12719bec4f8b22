"""Writing a decoded cache: frames and columns of a data set, calibration scaled to their size.

Legend: N rows (frames) of all episodes end to end, E episodes, V views, H W pixels.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.data.channels import channels_of
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import EpisodeMeta
from worldsim.data.layout import Progress
from worldsim.data.rows import meta_table
from worldsim.data.video import Pixels
from worldsim.errors import UsageError
from worldsim.files import array_file, write_json
from worldsim.spec import WorldSpec

RIG_ARRAYS = ("intrinsics", "extrinsics", "mounted", "known")


@dataclass(frozen=True, eq=False)
class RigArrays:
    """Calibration of every episode.

    Attributes:
        intrinsics: `[E, V, 3, 3]` for the cached image size.
        extrinsics: `[E, V, 4, 4]`.
        mounted: `[E, V]` bool.
        known: `[E, V]` bool; where False the other arrays hold a placeholder camera.
    """

    intrinsics: NDArray[np.float32]
    extrinsics: NDArray[np.float32]
    mounted: NDArray[np.bool_]
    known: NDArray[np.bool_]


def write_cache(
    dataset: LeRobotDataset,
    folder: Path,
    size: tuple[int, int] | None,
    fingerprint: str,
    progress: Progress | None,
) -> None:
    """Write the arrays of `CachedDataset` into an empty folder, frames resized to `size`."""
    spec = resized_spec(dataset, size)
    lengths = [record.length for record in dataset.index.records]
    starts = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    _write_pixels(dataset, folder / "pixels.npy", spec, int(starts[-1]), progress)
    _write_channels(dataset, folder, spec, int(starts[-1]))
    metas = [dataset.meta(episode) for episode in range(dataset.num_episodes)]
    tasks = [dataset.task(episode) for episode in range(dataset.num_episodes)]
    dataset.close()
    np.save(folder / "episode_start.npy", starts)
    for name, array in zip(RIG_ARRAYS, _rig_arrays(metas, dataset.spec, spec), strict=True):
        np.save(folder / f"rig_{name}.npy", array)
    note = {
        "fingerprint": fingerprint,
        "spec": spec.to_json(),
        "tasks": tasks,
        "folds": dataset.folds,
    }
    rows = [meta_table(meta).to_pylist()[0] for meta in metas]
    write_json(folder / "cache.json", {**note, "metas": rows})


def _write_pixels(
    dataset: LeRobotDataset, path: Path, spec: WorldSpec, rows: int, progress: Progress | None
) -> None:
    """Write `[N, V, H, W, 3]` frame by frame, so that memory does not grow with any length."""
    height, width = spec.cameras[0].height, spec.cameras[0].width
    with array_file(path, np.uint8, (rows, len(spec.cameras), height, width, 3)) as file:
        for episode in range(dataset.num_episodes):
            cameras = [dataset.each_frame(episode, name) for name in spec.camera_names]
            for views in zip(*cameras, strict=True):
                for view in views:
                    file.write(resize(view, height, width).data)
            if progress is not None:
                progress(episode + 1, dataset.num_episodes)


def _write_channels(dataset: LeRobotDataset, folder: Path, spec: WorldSpec, rows: int) -> None:
    """Write the arrays `[N, ...]` of all channels, episode by episode."""
    size = spec.cameras[0].height, spec.cameras[0].width
    with ExitStack() as stack:
        files = {
            channel: stack.enter_context(
                array_file(folder / f"{channel.name}.npy", channel.dtype, (rows, *shape))
            )
            for channel, shape in channels_of(spec)
        }
        for episode in range(dataset.num_episodes):
            arrays = dataset.arrays(episode)
            for channel, file in files.items():
                values = arrays[channel.name]
                if channel.per_pixel:
                    values = resize_nearest(values, *size)
                file.write(np.ascontiguousarray(values).tobytes())


def resize_nearest(values: NDArray[Any], height: int, width: int) -> NDArray[Any]:
    """`[..., h, w]` to `[..., height, width]`, each entry one of those that were measured.

    A mean of depths on two sides of an edge would be a place where nothing is.
    """
    rows, columns = (
        np.floor((np.arange(after) + 0.5) * before / after).astype(np.int64)
        for before, after in zip(values.shape[-2:], (height, width), strict=True)
    )
    resized: NDArray[Any] = values[..., rows[:, None], columns]
    return resized


def resized_spec(dataset: LeRobotDataset, size: tuple[int, int] | None) -> WorldSpec:
    """The data set's world with frames of `size` (height, width); None keeps theirs.

    Raises:
        UsageError: `size` is None and the cameras differ.
    """
    sizes = {(camera.height, camera.width) for camera in dataset.spec.cameras}
    if size is None and len(sizes) > 1:
        raise UsageError(
            f"{dataset.root}: cameras have sizes {sorted(sizes)}; give one, for example "
            "image_size=64"
        )
    height, width = size or sizes.pop()
    cameras = tuple(replace(c, height=height, width=width) for c in dataset.spec.cameras)
    return replace(dataset.spec, cameras=cameras)


def fitting_size(dataset: LeRobotDataset, side: int) -> tuple[int, int] | None:
    """(height, width) that frames must be resized to before they fit; None where they fit already.

    It is the least of the cameras' heights and widths, cut down to multiples of `side`.
    """
    sizes = {(camera.height, camera.width) for camera in dataset.spec.cameras}
    height, width = (max(min(each) // side, 1) * side for each in zip(*sizes, strict=True))
    return None if sizes == {(height, width)} else (height, width)


def resizing(dataset: LeRobotDataset, size: tuple[int, int]) -> tuple[int, int] | None:
    """`size` (height, width), or None where all frames of a data set have it as they are."""
    native = {(camera.height, camera.width) for camera in dataset.spec.cameras}
    return None if native == {size} else size


def resize(frame: Pixels, height: int, width: int) -> Pixels:
    """A frame `[h, w, 3]` to `[height, width, 3]` by area averaging."""
    if frame.shape[:2] == (height, width):
        return np.ascontiguousarray(frame)
    import cv2

    return np.asarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def resized_rig(rig: CameraRig, before: WorldSpec, after: WorldSpec) -> CameraRig:
    """Calibration of the cameras of `before` for images of the size that `after` says."""
    pairs = zip(before.cameras, after.cameras, strict=True)
    return rig.resized({a.name: (b.width / a.width, b.height / a.height) for a, b in pairs})


def _rig_arrays(
    metas: Sequence[EpisodeMeta], native: WorldSpec, spec: WorldSpec
) -> tuple[NDArray[Any], ...]:
    """The four arrays of RigArrays; intrinsics follow the resize."""
    count, views = len(metas), len(spec.cameras)
    intrinsics = np.zeros((count, views, 3, 3), np.float32)
    extrinsics = np.tile(np.eye(4, dtype=np.float32), (count, views, 1, 1))
    mounted, known = np.zeros((count, views), bool), np.zeros((count, views), bool)
    rigs = [None if meta.rig is None else resized_rig(meta.rig, native, spec) for meta in metas]
    for view, after in enumerate(spec.cameras):
        # Placeholder: 53 degrees across, so that rays are defined where nothing is known.
        width, height = float(after.width), float(after.height)
        placeholder = [[width, 0.0, width / 2], [0.0, width, height / 2], [0.0, 0.0, 1.0]]
        intrinsics[:, view] = np.asarray(placeholder)
        for episode, rig in enumerate(rigs):
            if rig is not None and after.name in rig.names:
                place = rig.names.index(after.name)
                intrinsics[episode, view] = rig.intrinsics[place]
                extrinsics[episode, view] = rig.extrinsics[place]
                mounted[episode, view] = rig.mounted[place]
                known[episode, view] = True
    return intrinsics, extrinsics, mounted, known
