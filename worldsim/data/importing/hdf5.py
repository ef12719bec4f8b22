"""HDF5 files: opening, what pictures and numbers they hold, reading films piece by piece."""

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from worldsim.data.importing.entries import Size, decoded_picture, is_coded
from worldsim.data.importing.source import Frames
from worldsim.errors import DataError, MissingExtraError

SUFFIXES = (".hdf5", ".h5")
FRAMES_AT_ONCE = 64
"""Pictures that are read in one go."""


def open_file(path: Path) -> Any:
    """An `h5py.File` for reading.

    Raises:
        MissingExtraError: h5py is not installed.
        DataError: the file is truncated, or no HDF5.
    """
    try:
        import h5py
    except ModuleNotFoundError as error:
        raise MissingExtraError("h5py", "hdf5") from error
    try:
        return h5py.File(path, "r")
    except OSError as error:
        raise DataError(f"{path} is not readable HDF5 ({error}); is it truncated?") from error


@contextmanager
def reading(where: str) -> Iterator[None]:
    """Turn what h5py says of missing or broken entries into DataErrors."""
    try:
        yield
    except (KeyError, OSError, RuntimeError) as error:
        raise DataError(f"{where}: {' '.join(str(error).split())}") from error


def files_of(path: Path) -> list[Path]:
    """The HDF5 files of a path."""
    if path.is_file():
        return [path] if path.suffix in SUFFIXES else []
    return sorted(each for each in path.glob("*") if each.suffix in SUFFIXES)


def arrays_of(group: Any, prefix: str = "") -> dict[str, Any]:
    """{path: dataset} of all datasets below a group."""
    found: dict[str, Any] = {}
    for name, item in group.items():
        if hasattr(item, "shape"):
            found[prefix + name] = item
        elif hasattr(item, "items"):
            found |= arrays_of(item, f"{prefix}{name}/")
    return found


def sort_pictures(arrays: Mapping[str, Any]) -> tuple[dict[str, Size], dict[str, int]]:
    """Sizes of the entries that are pictures in colour, and widths of those that are numbers."""
    images = {
        name: (int(each.shape[1]), int(each.shape[2]))
        for name, each in arrays.items()
        if each.dtype == np.uint8 and each.ndim == 4 and each.shape[3] == 3
    }
    coded = {name: each for name, each in arrays.items() if _holds_coded(each)}
    for name, each in coded.items():
        images[name] = decoded_picture(each[0].tobytes(), name).shape[:2]
    widths = {
        name: int(np.prod(each.shape[1:]))
        for name, each in arrays.items()
        if each.dtype.kind in "fiub" and each.ndim in (1, 2) and name not in images
    }
    return images, widths


def _holds_coded(dataset: Any) -> bool:
    """Whether a dataset's rows are coded pictures, as Minari's are by default."""
    if dataset.dtype.kind != "O" or dataset.ndim != 1 or not len(dataset):
        return False
    first = dataset[0]
    return isinstance(first, np.ndarray) and first.dtype == np.uint8 and is_coded(first.tobytes())


def _pictures(dataset: Any, first: int, stop: int) -> Any:
    """Frames `[H, W, 3]` of some rows of a dataset, coded or not."""
    rows = dataset[first:stop]
    if dataset.dtype.kind != "O":
        return np.asarray(rows)
    return [decoded_picture(row.tobytes(), dataset.name) for row in rows]


def film(cameras: Mapping[str, Any], count: int, flipped: bool = False, first: int = 0) -> Frames:
    """Frames of datasets `[N, H, W, 3]`, or of N coded ones, from `first` up to `count`."""
    for begin in range(first, count, FRAMES_AT_ONCE):
        stop = min(begin + FRAMES_AT_ONCE, count)
        block = {camera: _pictures(each, begin, stop) for camera, each in cameras.items()}
        for row in range(stop - begin):
            views = {camera: frames[row] for camera, frames in block.items()}
            yield {c: np.ascontiguousarray(f[::-1] if flipped else f) for c, f in views.items()}


def attribute(group: Any, name: str) -> Any:
    """An attribute out of JSON, or as the text that it is; None where it is absent."""
    value = group.attrs.get(name)
    text = value.decode() if isinstance(value, bytes) else value
    try:
        return json.loads(text) if isinstance(text, str) else text
    except ValueError:
        return text
