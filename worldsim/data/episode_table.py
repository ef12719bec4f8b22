"""Rows of LeRobot's episodes and tasks tables."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worldsim.conventions import exact_rate
from worldsim.data.layout import Slot
from worldsim.data.statistics import FeatureStatistics


def episode_row(
    *,
    index: int,
    source_tasks: tuple[str, ...],
    length: int,
    start: int,
    data: Slot,
    videos: Mapping[str, tuple[Slot, int]],
    fps: float,
    statistics: Mapping[str, FeatureStatistics],
    image_keys: frozenset[str],
    extras: pa.Table,
) -> pa.Table:
    """One row of `meta/episodes/*.parquet`.

    Args:
        index: episode index.
        source_tasks: its instructions.
        length: its rows.
        start: global index of its first row.
        data: data file it lies in.
        videos: per video key, the file and the first frame in it.
        fps: frame rate, turning frames into timestamps.
        statistics: per feature.
        image_keys: features whose statistics take the shape (3, 1, 1).
        extras: one row of further columns.
    """
    integer, real = pa.int64(), pa.float64()
    rate = exact_rate(fps)  # the films'
    columns: dict[str, pa.Array] = {
        "episode_index": pa.array([index], integer),
        "tasks": pa.array([list(source_tasks)], pa.list_(pa.string())),
        "length": pa.array([length], integer),
        "data/chunk_index": pa.array([data.chunk], integer),
        "data/file_index": pa.array([data.file], integer),
        "dataset_from_index": pa.array([start], integer),
        "dataset_to_index": pa.array([start + length], integer),
    }
    for key, (slot, first) in videos.items():
        columns[f"videos/{key}/chunk_index"] = pa.array([slot.chunk], integer)
        columns[f"videos/{key}/file_index"] = pa.array([slot.file], integer)
        columns[f"videos/{key}/from_timestamp"] = pa.array([float(first / rate)], real)
        columns[f"videos/{key}/to_timestamp"] = pa.array([float((first + length) / rate)], real)
    for key, values in statistics.items():
        for name, value in values.to_json(image=key in image_keys).items():
            columns[f"stats/{key}/{name}"] = pa.array([value])
    for name in extras.column_names:
        columns[name] = extras[name].combine_chunks()
    return pa.table(columns)


def write_tasks(path: Path, tasks: list[str]) -> None:
    """`meta/tasks.parquet`: a pandas frame indexed by the task text, with column `task_index`.

    The pandas metadata is written by hand, so that pandas is not needed to write it and still
    restores the index when it reads the file.
    """
    columns = [
        ("task_index", "int64", "int64"),
        ("task", "unicode", "object"),
    ]
    described = [
        {
            "name": name,
            "field_name": name,
            "pandas_type": pandas_type,
            "numpy_type": numpy_type,
            "metadata": None,
        }
        for name, pandas_type, numpy_type in columns
    ]
    unnamed: dict[str, Any] = {
        "name": None,
        "field_name": None,
        "pandas_type": "unicode",
        "numpy_type": "object",
        "metadata": {"encoding": "UTF-8"},
    }
    pandas = {
        "index_columns": ["task"],
        "column_indexes": [unnamed],
        "columns": described,
        "attributes": {},
        "creator": {"library": "pyarrow", "version": pa.__version__},
        "pandas_version": "2.2.0",
    }
    table = pa.table(
        {"task_index": pa.array(range(len(tasks)), pa.int64()), "task": pa.array(tasks)}
    ).replace_schema_metadata({"pandas": json.dumps(pandas)})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, compression="snappy")
