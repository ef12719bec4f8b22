"""Where each episode of a LeRobot data set lies on disk, for layouts 3.0 and 2.1.

Values of the tables in `meta/` are held to what they must be before anything relies on them.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worldsim.data.channels import current_features
from worldsim.data.faults import Fault
from worldsim.data.features import ImageFeature, image_features
from worldsim.data.layout import TASKS, is_number, is_whole, read_info
from worldsim.errors import DataError

EPISODES = "meta/episodes"
EPISODES_V2, TASKS_V2 = "meta/episodes.jsonl", "meta/tasks.jsonl"
SLOT = ("chunk_index", "file_index")


@dataclass(frozen=True)
class Film:
    """Where an episode's frames of one camera lie.

    Attributes:
        path: video file.
        start: time in it of the episode's beginning, in seconds.
        end: time at which the episode ends, where the layout states it.
    """

    path: Path
    start: float = 0.0
    end: float | None = None


@dataclass(frozen=True, eq=False)
class EpisodeRecord:
    """One episode's place.

    Attributes:
        index: episode index.
        length: its rows (frames).
        data: parquet file that holds its rows.
        videos: video feature key to where its frames lie; a camera that is missing has none.
        tasks: instructions, if the episodes table lists them.
        extras: further columns of the episodes table.
        first_row: global index of its first row, where the layout states it.
    """

    index: int
    length: int
    data: Path
    videos: dict[str, Film]
    tasks: tuple[str, ...]
    extras: dict[str, Any]
    first_row: int | None = None


@dataclass(frozen=True, eq=False)
class DatasetIndex:
    """Everything in `meta/`.

    Attributes:
        root: the data set.
        info: info.json.
        cameras: what is stored as images or video.
        tasks: task index to instruction.
        records: the episodes that can be located, by index.
        faults: one for each episode that cannot be.
    """

    root: Path
    info: dict[str, Any]
    cameras: tuple[ImageFeature, ...]
    tasks: dict[int, str]
    records: list[EpisodeRecord]
    faults: tuple[Fault, ...] = ()


def load_index(root: Path) -> DatasetIndex:
    """Read the metadata of a data set.

    Raises:
        DataError: a file is missing, truncated or lacks a column.
    """
    info = read_info(root)
    info["features"] = current_features(info)
    version3 = info["codebase_version"] == "v3.0"
    tasks = _tasks(root, version3)
    records, faults = [], []
    for number, row in enumerate(
        _episodes_v3(root) if version3 else _json_lines(root / EPISODES_V2)
    ):
        try:
            records.append(_locate(root, info, row, version3))
        except KeyError as error:
            raise DataError(f"{root}/meta: the episodes table lacks the column {error}") from error
        except DataError as error:
            index: Any = row.get("episode_index")
            known = int(index) if is_whole(index) else None
            message = str(error) if known is not None else f"row {number}: {error}"
            faults.append(Fault(EPISODES, known, message))
    records.sort(key=lambda record: record.index)
    cameras = image_features(info["features"])
    return DatasetIndex(root, info, cameras, tasks, records, tuple(faults))


def read_parquet(
    path: Path, columns: Sequence[str] | None = None, without: str | None = None
) -> pa.Table:
    """A parquet file as a table: all of it, some columns, or those without a prefix.

    Raises:
        DataError: missing, truncated (no footer), or without one of `columns`.
    """
    try:
        file = pq.ParquetFile(path)
        if without is not None:
            columns = [name for name in file.schema_arrow.names if not name.startswith(without)]
        return file.read(columns=columns)
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except (pa.ArrowInvalid, pa.ArrowException, OSError) as error:
        raise DataError(f"{path} is not readable parquet ({error}); is it truncated?") from error


def _tasks(root: Path, version3: bool) -> dict[int, str]:
    """Task index to instruction."""
    path = root / (TASKS if version3 else TASKS_V2)
    if version3:
        table = read_parquet(path)
        names = [name for name in ("task", "__index_level_0__") if name in table.column_names]
        if not names or "task_index" not in table.column_names:
            raise DataError(
                f"{path}: expected columns task and task_index, has {table.column_names}"
            )
        told = zip(table["task_index"].to_pylist(), table[names[0]].to_pylist(), strict=True)
        tasks = list(told)
    else:
        tasks = [(row.get("task_index"), row.get("task")) for row in _json_lines(path)]
    for index, text in tasks:
        if not is_whole(index) or not isinstance(text, str):
            raise DataError(f"{path}: task {index!r} is {text!r}, expected a number and a text")
    return {int(index): text for index, text in tasks}


def _episodes_v3(root: Path) -> Iterator[dict[str, Any]]:
    files = sorted((root / EPISODES).glob("*/*.parquet"))
    if not files:
        raise DataError(f"{root}/{EPISODES} holds no parquet file")
    for path in files:
        yield from read_parquet(path, without="stats/").to_pylist()


def _locate(root: Path, info: dict[str, Any], row: dict[str, Any], version3: bool) -> EpisodeRecord:
    """An episode from its row; its files hold many in version 3 and are its own before.

    Raises:
        KeyError: the table lacks a column.
        DataError: a value is not what it must be.
    """
    index, length = whole(row, "episode_index"), whole(row, "length", 1)
    own = {"episode_index": index, "episode_chunk": index // info.get("chunks_size", 1000)}

    def file(key: str, of: str, **names: str) -> Path:
        slot = {name: whole(row, f"{of}/{name}") for name in SLOT} if version3 else own
        return file_of(root, info, key, **names, **slot)

    films = {}
    for key in video_keys(info["features"]):
        if version3 and _is_missing(row, key):
            continue
        path = file("video_path", f"videos/{key}", video_key=key)
        start, end = f"videos/{key}/from_timestamp", f"videos/{key}/to_timestamp"
        films[key] = Film(
            path,
            seconds(row, start) if version3 else 0.0,
            seconds(row, end) if version3 and end in row else None,
        )
    return EpisodeRecord(
        index=index,
        length=length,
        data=file("data_path", "data"),
        videos=films,
        tasks=texts(row, "tasks"),
        extras={key: value for key, value in row.items() if is_extra(key)},
        first_row=whole(row, "dataset_from_index") if "dataset_from_index" in row else None,
    )


def _is_missing(row: Mapping[str, Any], key: str) -> bool:
    """Whether an episode has no film of a camera: all that would say where it lies is null."""
    names = (*SLOT, "from_timestamp", "to_timestamp")
    told = [row[f"videos/{key}/{name}"] for name in names if f"videos/{key}/{name}" in row]
    return bool(told) and all(value is None for value in told)


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
        rows = [json.loads(line) for line in text.splitlines() if line.strip()]
    except FileNotFoundError as error:
        raise DataError(f"no such file: {path}") from error
    except ValueError as error:
        raise DataError(f"{path} holds a line that is not JSON ({error})") from error
    if not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path}: every line should hold a JSON object")
    return rows


def whole(row: Mapping[str, Any], column: str, least: int = 0) -> int:
    """A whole number of at least `least` in a row of the episodes table.

    Raises:
        KeyError: there is no such column.
        DataError: it holds something else.
    """
    value = row[column]
    if not is_whole(value) or value < least:
        raise DataError(f"{column} is {value!r}, expected a whole number from {least}")
    return int(value)


def seconds(row: Mapping[str, Any], column: str) -> float:
    """A time that is finite and not negative. Raises as `whole` does."""
    value = row[column]
    if not is_number(value) or value < 0:
        raise DataError(f"{column} is {value!r}, expected seconds from 0")
    return float(value)


def texts(row: Mapping[str, Any], column: str) -> tuple[str, ...]:
    """A list of texts, or a single one; empty where nothing is said."""
    value = row.get(column)
    if value is None or isinstance(value, str):
        return (value,) if value else ()
    if not isinstance(value, list) or not all(isinstance(text, str) for text in value):
        raise DataError(f"{column} is {value!r}, expected a list of texts")
    return tuple(value)


def file_of(root: Path, info: Mapping[str, Any], key: str, **names: Any) -> Path:
    """A file of a data set by one of the patterns in info.json, which `read_info` has checked.

    Args:
        root: the data set.
        info: info.json.
        key: "data_path" or "video_path".
        names: what the pattern may ask for.

    Raises:
        DataError: the pattern asks for something else, or leads out of the data set.
    """
    pattern = info[key]
    try:
        path = PurePosixPath(pattern.format(**names))
    except (LookupError, ValueError, AttributeError) as error:
        raise DataError(
            f"{key} in meta/info.json is {pattern!r}, which cannot be filled in with "
            f"{', '.join(sorted(names))} ({error})"
        ) from error
    if path.is_absolute() or ".." in path.parts:
        raise DataError(f"{key} in meta/info.json is {pattern!r}, which leaves the data set")
    return root / path
