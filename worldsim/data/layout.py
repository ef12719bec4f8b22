"""Paths and file wrapping of LeRobot data sets, versions 3.0 and 2.1."""

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
BOOKKEEPING = ("timestamp", "frame_index", "episode_index", "index", "task_index")
"""Columns of every data file, beside the features."""


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
                f"{root} holds an unfinished collection; run the same `worldsim collect` "
                "command again to finish it"
            )
        raise DataError(f"{root} is no LeRobot data set: {path} does not exist")
    info = read_json(path)
    if not isinstance(info, dict):
        raise DataError(f"{path} should hold a JSON object")
    missing = [key for key in ("codebase_version", "fps", "features") if key not in info]
    if missing:
        raise DataError(f"{path} lacks the keys {missing}")
    if info["codebase_version"] not in ("v3.0", "v2.1", "v2.0"):
        raise DataError(
            f"{path}: codebase_version {info['codebase_version']!r} is not readable; "
            "expected v3.0, v2.1 or v2.0"
        )
    return info
