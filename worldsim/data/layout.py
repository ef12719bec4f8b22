"""Paths and file wrapping of LeRobot data sets, versions 3.0 and 2.1."""

import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.errors import DataError
from worldsim.files import read_json

VERSION = "v3.0"
INFO = "meta/info.json"
STATS = "meta/stats.json"
TASKS = "meta/tasks.parquet"
EPISODES_PATH = "meta/episodes/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
DATA_PATH = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
VIDEO_PATH = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"
MEBIBYTE = 1024 * 1024

PICTURES, TEXTS = ("video", "image"), ("string", "language")
"""Kinds of features that hold no numbers."""


Progress = Callable[[int, int], None]
"""Called with (done, total)."""


@dataclass(frozen=True)
class Limits:
    """When files and chunks are full.

    Attributes:
        chunks_size: files a chunk folder holds.
        data_files_size_in_mb: uncompressed size of a data or episodes file.
        video_files_size_in_mb: size of a video file.
    """

    chunks_size: int = 1000
    data_files_size_in_mb: float = 100
    video_files_size_in_mb: float = 200


@dataclass(frozen=True)
class Slot:
    """Where a file stands: chunk folder and file number in it."""

    chunk: int = 0
    file: int = 0

    def next(self, chunks_size: int) -> "Slot":
        """The slot after this one; the file number wraps at `chunks_size`."""
        if self.file + 1 < chunks_size:
            return Slot(self.chunk, self.file + 1)
        return Slot(self.chunk + 1, 0)

    def path(self, pattern: str, **names: str) -> str:
        """Fill in one of the patterns above."""
        return pattern.format(chunk_index=self.chunk, file_index=self.file, **names)


def read_info(root: Path) -> dict[str, Any]:
    """`meta/info.json` of a data set, checked for what every reader needs.

    Raises:
        DataError: no data set there, an unfinished collection, or an unknown version.
    """
    path = root / INFO
    if not path.exists():
        if (root / ".staging").exists():
            raise DataError(
                f"{root} holds an unfinished collection or import; run the same `worldsim collect` "
                "or `worldsim data import` command again to finish it"
            )
        raise DataError(f"{root} is no LeRobot data set: {path} does not exist")
    info = read_json(path)
    if not isinstance(info, dict):
        raise DataError(f"{path} should hold a JSON object")
    missing = [key for key in ("codebase_version", "fps", "features") if key not in info]
    if missing:
        raise DataError(f"{path} lacks the keys {missing}")
    _check_values(info, path)
    if info["codebase_version"] not in ("v3.0", "v2.1", "v2.0"):
        raise DataError(
            f"{path}: codebase_version {info['codebase_version']!r} is not readable; "
            "expected v3.0, v2.1 or v2.0"
        )
    return info


def own_entry(info: Mapping[str, Any]) -> dict[str, Any]:
    """The entry `worldsim` of info.json, empty for other people's sets."""
    own = info.get("worldsim")
    return own if isinstance(own, dict) else {}


def recorded_in(info: Mapping[str, Any]) -> dict[str, Any]:
    """{"id", "kwargs"} of the environment that a data set was recorded in, or empty."""
    return dict(own_entry(info).get("env") or {})


def was_imported(info: Mapping[str, Any]) -> bool:
    """Whether `worldsim data import` wrote a data set of somebody else's recordings."""
    return "import" in (own_entry(info).get("collection") or {})


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and no truth value."""
    whole_or_not = isinstance(value, int | float) and not isinstance(value, bool)
    return whole_or_not and abs(value) <= sys.float_info.max  # an integer may be beyond any float


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; 2.0, as a column with gaps holds it, is one."""
    return is_number(value) and value == int(value)


def _check_values(info: dict[str, Any], path: Path) -> None:
    """Refuse values that no reader can make sense of."""
    if not is_number(info["fps"]) or info["fps"] <= 0:
        raise DataError(f"{path}: fps is {info['fps']!r}, expected a number above 0")
    chunks = info.get("chunks_size", 1)
    if not is_whole(chunks) or chunks < 1:
        raise DataError(f"{path}: chunks_size is {chunks!r}, expected a whole number from 1")
    features = info["features"]
    if not isinstance(features, dict) or not all(isinstance(f, dict) for f in features.values()):
        raise DataError(f"{path}: features should be an object that describes each of them")
    for key, feature in features.items():
        _check_feature(key, feature, path)
    films = [key for key, feature in features.items() if feature["dtype"] == "video"]
    for name, needed_by in (("data_path", ["the rows"]), ("video_path", films)):
        if needed_by and not isinstance(info.get(name), str):
            raise DataError(
                f"{path}: {name} is {info.get(name)!r}, expected a path for {', '.join(needed_by)}"
            )


def _check_feature(key: str, feature: dict[str, Any], path: Path) -> None:
    kind, shape = feature.get("dtype"), feature.get("shape")
    if not isinstance(kind, str):
        raise DataError(f"{path}: feature {key!r} has dtype {kind!r}, expected its name")
    if kind in TEXTS and shape is None:
        feature["shape"] = [1]
        return
    if not isinstance(shape, list) or not all(is_whole(n) and n >= 0 for n in shape):
        raise DataError(f"{path}: feature {key!r} has shape {shape!r}, expected whole numbers")
    feature["shape"] = [int(n) for n in shape]
    if kind in PICTURES and (len(shape) not in (2, 3) or 0 in shape):
        raise DataError(f"{path}: camera {key!r} has shape {shape}, expected height, width, 3")
