"""Writes LeRobot v3.0 files from a sequence of episodes.

Data files hold one row group an episode; videos of many episodes are joined into one file per
camera and addressed by their first and last timestamp in it; a file that is full starts the next.
The result depends on the episodes only, not on when or how often the writing was interrupted.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from worldsim.conventions import exact_rate
from worldsim.data.channels import ACTIONS
from worldsim.data.features import BOOKKEEPING_FEATURES
from worldsim.data.layout import (
    DATA_PATH,
    EPISODES_PATH,
    INFO,
    MEBIBYTE,
    STATS,
    TASKS,
    VERSION,
    VIDEO_PATH,
    Limits,
    Slot,
)
from worldsim.data.rows import column_array, valid_actions, with_columns
from worldsim.data.split import FOLD_COLUMN
from worldsim.data.statistics import FeatureStatistics, feature_statistics, image_statistics
from worldsim.data.video_writer import VideoSegment, VideoSink
from worldsim.files import write_json

EPISODES_A_GROUP = 1000


@dataclass(frozen=True, eq=False)
class EpisodeSource:
    """One episode to be written.

    Attributes:
        rows: its feature columns, without LeRobot's bookkeeping.
        tasks: instructions that occur in it.
        task_of_row: per row, an index into `tasks`.
        extras: one row of further columns for the episodes table.
        videos: video feature key to frames on disk.
        fold: see `worldsim.data.split`.
    """

    rows: pa.Table
    tasks: tuple[str, ...]
    task_of_row: NDArray[np.int64]
    extras: pa.Table
    videos: dict[str, VideoSegment]
    fold: int


class ParquetSink:
    """Tables appended to a sequence of parquet files.

    Args:
        root: data set folder.
        pattern: name of a file, by its slot.
        limits: when files are full.
        group_rows: tables are gathered until a row group has so many rows; 1 gives each its own.
            A group costs as much as hundreds of rows in a table of many columns.
    """

    def __init__(self, root: Path, pattern: str, limits: Limits, group_rows: int = 1) -> None:
        self.root, self.pattern, self.limits = root, pattern, limits
        self.group_rows = group_rows
        self.slot = Slot()
        self._bytes = 0
        self._waiting: list[pa.Table] = []
        self._writer: pq.ParquetWriter | None = None

    def place(self, size: int) -> Slot:
        """The slot that the next `size` bytes go to, a new one if the current would overflow."""
        if self._bytes and self._bytes + size > self.limits.data_files_size_in_mb * MEBIBYTE:
            self.close()
            self.slot = self.slot.next(self.limits.chunks_size)
            self._bytes = 0
        self._bytes += size
        return self.slot

    def write(self, table: pa.Table) -> None:
        """Append `table` to the slot last placed."""
        self._waiting.append(table)
        if sum(map(len, self._waiting)) >= self.group_rows:
            self._write_group()

    def _write_group(self) -> None:
        table = pa.concat_tables(self._waiting, promote_options="default").combine_chunks()
        self._waiting.clear()
        if self._writer is None:
            path = self.root / self.slot.path(self.pattern)
            path.parent.mkdir(parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(path, table.schema, compression="snappy")
        self._writer.write_table(table, row_group_size=max(len(table), 1))

    def close(self) -> None:
        """Write what waits, and the footer; the file is unreadable before."""
        if self._waiting:
            self._write_group()
        if self._writer is not None:
            self._writer.close()
            self._writer = None


@dataclass
class Assembler:
    """Builds a data set in the empty folder `root`.

    Args:
        root: where to write; becomes a data set when `close` returns.
        fps: frame rate.
        features: LeRobot features without bookkeeping.
        info: further keys for info.json.
        limits: when files are full.
    """

    root: Path
    fps: float
    features: Mapping[str, Any]
    info: Mapping[str, Any]
    limits: Limits = field(default_factory=Limits)

    def __post_init__(self) -> None:
        self._features = {**self.features, **BOOKKEEPING_FEATURES}
        self._data = ParquetSink(self.root, DATA_PATH, self.limits)
        self._episodes = ParquetSink(self.root, EPISODES_PATH, self.limits, EPISODES_A_GROUP)
        self._videos = {
            key: VideoSink(self.root, key, self.fps, self.limits)
            for key, feature in self.features.items()
            if feature["dtype"] == "video"
        }
        self._tasks: dict[str, int] = {}
        self._columns: dict[str, list[NDArray[Any]]] = {}
        self._frames = 0
        self._count = 0

    def add(self, source: EpisodeSource) -> None:
        """Append one episode; its index is the number of episodes before it."""
        table, statistics = self._data_rows(source)
        data_slot = self._data.place(table.nbytes)
        self._data.write(table)
        videos = {}
        for key, sink in self._videos.items():
            slot, first, statistics[key] = sink.write(source.videos[key])
            videos[key] = (slot, first)
        row = episode_row(
            self._count, source.tasks, self._frames, len(table), self.fps, data_slot, videos
        )
        for key, values in statistics.items():
            for name, value in values.to_json(image=key in self._videos).items():
                row[f"stats/{key}/{name}"] = value
        line = with_columns(pa.Table.from_pylist([row]), source.extras)
        slot = self._episodes.place(line.nbytes)
        places = {
            FOLD_COLUMN: source.fold,
            "meta/episodes/chunk_index": slot.chunk,
            "meta/episodes/file_index": slot.file,
        }
        self._episodes.write(with_columns(line, pa.Table.from_pylist([places])))
        self._frames += len(table)
        self._count += 1

    def _data_rows(self, source: EpisodeSource) -> tuple[pa.Table, dict[str, FeatureStatistics]]:
        rows = len(source.rows)
        ids = [self._tasks.setdefault(task, len(self._tasks)) for task in source.tasks]
        index = np.arange(rows, dtype=np.int64)
        bookkeeping = {
            "timestamp": (index / self.fps).astype(np.float32),
            "frame_index": index,
            "episode_index": np.full(rows, self._count, np.int64),
            "index": index + self._frames,
            "task_index": np.asarray(ids, np.int64)[source.task_of_row],
        }
        table = with_columns(source.rows, pa.table(bookkeeping))
        statistics, valid = {}, valid_actions(table)
        for name in table.column_names:
            if _is_numeric(self._features[name]):
                values = column_array(table[name], f"feature {name!r}")
                if name in ACTIONS:
                    values = values[valid]
                self._columns.setdefault(name, []).append(values)
                statistics[name] = feature_statistics(values)
        return table, statistics

    def close(self) -> None:
        """Write footers, tasks, statistics, and info.json last."""
        self._data.close()
        self._episodes.close()
        for sink in self._videos.values():
            sink.close()
        write_tasks(self.root / TASKS, list(self._tasks))
        stats = {
            name: feature_statistics(np.concatenate(parts)).to_json()
            for name, parts in self._columns.items()
        }
        for key, sink in self._videos.items():
            stats[key] = image_statistics(sink.histogram, sink.sampled).to_json(image=True)
        write_json(self.root / STATS, stats)
        write_json(self.root / INFO, self._info())

    def _info(self) -> dict[str, Any]:
        return {
            "codebase_version": VERSION,
            "robot_type": "worldsim",
            "total_episodes": self._count,
            "total_frames": self._frames,
            "total_tasks": len(self._tasks),
            **asdict(self.limits),
            "fps": self.fps,
            "splits": {"train": f"0:{self._count}"},
            "data_path": DATA_PATH,
            "video_path": VIDEO_PATH if self._videos else None,
            "features": self._features,
            **self.info,
        }


def _is_numeric(feature: Mapping[str, Any]) -> bool:
    kind = feature["dtype"]
    return len(feature["shape"]) == 1 and (kind == "bool" or kind.startswith(("float", "int")))


def episode_row(
    index: int,
    tasks: Sequence[str],
    first_row: int,
    length: int,
    fps: float,
    data: Slot,
    videos: Mapping[str, tuple[Slot, int]],
) -> dict[str, Any]:
    """What a row of `meta/episodes/*.parquet` says of an episode's place, by column.

    Args:
        index: episode index.
        tasks: its instructions.
        first_row: global index of its first row.
        length: its rows.
        fps: frame rate, turning frames into timestamps.
        data: data file it lies in.
        videos: per video key, the file and the first frame in it.
    """
    rate = exact_rate(fps)  # the films'
    columns: dict[str, Any] = {
        "episode_index": index,
        "tasks": list(tasks),
        "length": length,
        "data/chunk_index": data.chunk,
        "data/file_index": data.file,
        "dataset_from_index": first_row,
        "dataset_to_index": first_row + length,
    }
    for key, (slot, first) in videos.items():
        columns[f"videos/{key}/chunk_index"] = slot.chunk
        columns[f"videos/{key}/file_index"] = slot.file
        columns[f"videos/{key}/from_timestamp"] = float(first / rate)
        columns[f"videos/{key}/to_timestamp"] = float((first + length) / rate)
    return columns


def write_tasks(path: Path, tasks: list[str]) -> None:
    """`meta/tasks.parquet`: a pandas frame indexed by the task text, with column `task_index`.

    The pandas metadata is written by hand, so that pandas is not needed to write it and still
    restores the index when it reads the file.
    """

    def described(name: str | None, kind: str, dtype: str, metadata: Any = None) -> dict[str, Any]:
        types = {"pandas_type": kind, "numpy_type": dtype}
        return {"name": name, "field_name": name, **types, "metadata": metadata}

    unnamed = described(None, "unicode", "object", {"encoding": "UTF-8"})
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [unnamed],
        "columns": [
            described("task_index", "int64", "int64"),
            described("task", "unicode", "object"),
        ],
        "attributes": {},
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks)}
    ).replace_schema_metadata({"pandas": json.dumps(pandas)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="snappy")
