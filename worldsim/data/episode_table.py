"""Rows of LeRobot's episodes and tasks tables."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worldsim.conventions import exact_rate
from worldsim.data.layout import Slot


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
