"""Where each episode of a LeRobot data set lies on disk, for layouts 3.0 and 2.1."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worldsim.data.channels import current_features
from worldsim.data.features import ImageFeature, image_features
from worldsim.data.layout import TASKS, read_info
from worldsim.data.remux import VideoSegment
from worldsim.errors import DataError


@dataclass(frozen=True, eq=False)
class EpisodeRecord:
    """One episode's place.

    Attributes:
        index: episode index.
        length: its rows (frames).
        data: parquet file that holds its rows.
        videos: video feature key to frames in a file.
        tasks: instructions, if the episodes table lists them.
        extras: further columns of the episodes table.
        first_row: global index of its first row, where the layout states it.
    """

    index: int
    length: int
    data: Path
    videos: dict[str, VideoSegment]
    tasks: tuple[str, ...]
    extras: dict[str, Any]
    first_row: int | None = None


@dataclass(frozen=True, eq=False)
class DatasetIndex:
    """Everything in `meta/`."""

    root: Path
    info: dict[str, Any]
    cameras: tuple[ImageFeature, ...]
    tasks: dict[int, str]
    records: list[EpisodeRecord]


def load_index(root: Path) -> DatasetIndex:
    """Read the metadata of a data set.

    Raises:
        DataError: a file is missing, truncated or lacks a column.
    """
    info = read_info(root)
    info["features"] = current_features(info)
    cameras = image_features(info["features"])
    version3 = info["codebase_version"] == "v3.0"
    tasks = _tasks_v3(root) if version3 else _tasks_v2(root)
    rows = _episodes_v3(root) if version3 else _episodes_v2(root)
    locate = _record_v3 if version3 else _record_v2
    try:
        records = [locate(root, info, row) for row in rows]
    except KeyError as error:
        raise DataError(f"{root}/meta: the episodes table lacks the column {error}") from error
    return DatasetIndex(root, info, cameras, tasks, sorted(records, key=lambda r: r.index))


def read_parquet(path: Path, columns: list[str] | None = None) -> pa.Table:
    """A parquet file as a table.

    Raises:
        DataError: missing, truncated (no footer), or without one of `columns`.
    """
    try:
        return pq.ParquetFile(path).read(columns=columns)
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not readable parquet ({error}); is it truncated?") from error


def _tasks_v3(root: Path) -> dict[int, str]:
    path = root / TASKS
    table = read_parquet(path)
    names = [name for name in ("task", "__index_level_0__") if name in table.column_names]
    if not names or "task_index" not in table.column_names:
        raise DataError(f"{path}: expected columns task and task_index, has {table.column_names}")
    texts = table[names[0]].to_pylist()
    return dict(zip(table["task_index"].to_pylist(), texts, strict=True))


def _episodes_v3(root: Path) -> Iterator[dict[str, Any]]:
    files = sorted((root / "meta" / "episodes").glob("*/*.parquet"))
    if not files:
        raise DataError(f"{root}/meta/episodes holds no parquet file")
    for path in files:
        try:
            names = pq.read_schema(path).names
        except (pa.ArrowException, OSError) as error:
            raise DataError(
                f"{path} is not readable parquet ({error}); is it truncated?"
            ) from error
        columns = [name for name in names if not name.startswith("stats/")]
        yield from read_parquet(path, columns).to_pylist()


def _record_v3(root: Path, info: dict[str, Any], row: dict[str, Any]) -> EpisodeRecord:
    videos = {}
    for key in video_keys(info["features"]):
        prefix = f"videos/{key}"
        path = info["video_path"].format(
            video_key=key,
            chunk_index=row[f"{prefix}/chunk_index"],
            file_index=row[f"{prefix}/file_index"],
        )
        # A timestamp is a float that may have drifted; the frame it means is an integer.
        first = round(row[f"{prefix}/from_timestamp"] * info["fps"])
        videos[key] = VideoSegment(root / path, first, row["length"])
    data = info["data_path"].format(
        chunk_index=row["data/chunk_index"], file_index=row["data/file_index"]
    )
    return EpisodeRecord(
        index=row["episode_index"],
        length=row["length"],
        data=root / data,
        videos=videos,
        tasks=tuple(row.get("tasks") or ()),
        extras={key: value for key, value in row.items() if is_extra(key)},
        first_row=row["dataset_from_index"],
    )


def video_keys(features: dict[str, Any]) -> list[str]:
    """Features stored as video files, depth maps included."""
    return [key for key, feature in features.items() if feature.get("dtype") == "video"]


def is_extra(column: str) -> bool:
    """Whether a column of the episodes table is not one of LeRobot's own."""
    own = ("episode_index", "tasks", "length", "dataset_from_index", "dataset_to_index")
    return column not in own and not column.startswith(("data/", "videos/", "meta/", "stats/"))


def _json_lines(path: Path) -> list[dict[str, Any]]:
    try:
        text = path.read_text(encoding="utf-8")
        return [json.loads(line) for line in text.splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except ValueError as error:
        raise DataError(f"{path} holds a line that is not JSON ({error})") from error


def _tasks_v2(root: Path) -> dict[int, str]:
    return {row["task_index"]: row["task"] for row in _json_lines(root / "meta" / "tasks.jsonl")}


def _episodes_v2(root: Path) -> Iterator[dict[str, Any]]:
    yield from _json_lines(root / "meta" / "episodes.jsonl")


def _record_v2(root: Path, info: dict[str, Any], row: dict[str, Any]) -> EpisodeRecord:
    index, length = row["episode_index"], row["length"]
    names = {"episode_index": index, "episode_chunk": index // info.get("chunks_size", 1000)}
    return EpisodeRecord(
        index=index,
        length=length,
        data=root / info["data_path"].format(**names),
        videos={
            key: VideoSegment(root / info["video_path"].format(video_key=key, **names), 0, length)
            for key in video_keys(info["features"])
        },
        tasks=tuple(row.get("tasks") or ()),
        extras={key: value for key, value in row.items() if is_extra(key)},
    )
