"""Where each episode of a LeRobot data set lies on disk, for layouts 3.0 and 2.1."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from worldsim.data.channels import current_features
from worldsim.data.faults import Fault
from worldsim.data.features import ImageFeature, image_features
from worldsim.data.layout import TASKS, read_info
from worldsim.data.table_row import TableRow, file_of, is_whole
from worldsim.errors import DataError

EPISODES = "meta/episodes"


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
        videos: video feature key to where its frames lie.
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
    cameras = image_features(info["features"])
    version3 = info["codebase_version"] == "v3.0"
    tasks = _tasks_v3(root) if version3 else _tasks_v2(root)
    rows = _episodes_v3(root) if version3 else _episodes_v2(root)
    records, faults = [], []
    for number, row in enumerate(rows):
        try:
            records.append(_locate(root, info, row, _places_v3 if version3 else _places_v2))
        except KeyError as error:
            raise DataError(f"{root}/meta: the episodes table lacks the column {error}") from error
        except DataError as error:
            index: Any = row.get("episode_index")
            known = int(index) if is_whole(index) else None
            message = str(error) if known is not None else f"row {number}: {error}"
            faults.append(Fault(EPISODES, known, message))
    records.sort(key=lambda record: record.index)
    return DatasetIndex(root, info, cameras, tasks, records, tuple(faults))


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
    return _task_texts(path, table["task_index"].to_pylist(), table[names[0]].to_pylist())


def _task_texts(path: Path, indices: list[Any], texts: list[Any]) -> dict[int, str]:
    for index, text in zip(indices, texts, strict=True):
        if not is_whole(index) or not isinstance(text, str):
            raise DataError(f"{path}: task {index!r} is {text!r}, expected a number and a text")
    return dict(zip(map(int, indices), texts, strict=True))


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


Places = tuple[Path, dict[str, Film]]


def _locate(
    root: Path,
    info: dict[str, Any],
    values: dict[str, Any],
    places: Callable[[Path, dict[str, Any], TableRow], Places],
) -> EpisodeRecord:
    """An episode from its row.

    Raises:
        KeyError: the table lacks a column.
        DataError: a value is not what it must be.
    """
    row = TableRow(values)
    index, length = row.whole("episode_index"), row.whole("length", 1)
    data, videos = places(root, info, row)
    return EpisodeRecord(
        index=index,
        length=length,
        data=data,
        videos=videos,
        tasks=row.texts("tasks"),
        extras={key: value for key, value in values.items() if is_extra(key)},
        first_row=row.whole("dataset_from_index") if "dataset_from_index" in values else None,
    )


def _places_v3(root: Path, info: dict[str, Any], row: TableRow) -> Places:
    """Data file and films of an episode, of which a file holds many."""

    def slot(of: str) -> dict[str, int]:
        return {name: row.whole(f"{of}/{name}") for name in ("chunk_index", "file_index")}

    films = {}
    for key in video_keys(info["features"]):
        path = file_of(root, info, "video_path", video_key=key, **slot(f"videos/{key}"))
        start, end = f"videos/{key}/from_timestamp", f"videos/{key}/to_timestamp"
        stated = end in row.values
        films[key] = Film(path, row.seconds(start), row.seconds(end) if stated else None)
    return file_of(root, info, "data_path", **slot("data")), films


def _places_v2(root: Path, info: dict[str, Any], row: TableRow) -> Places:
    """Data file and films of an episode, which are its own."""
    index = row.whole("episode_index")
    names = {"episode_index": index, "episode_chunk": index // info.get("chunks_size", 1000)}
    films = {
        key: Film(file_of(root, info, "video_path", video_key=key, **names))
        for key in video_keys(info["features"])
    }
    return file_of(root, info, "data_path", **names), films


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


def _tasks_v2(root: Path) -> dict[int, str]:
    path = root / "meta" / "tasks.jsonl"
    rows = _json_lines(path)
    return _task_texts(path, [r.get("task_index") for r in rows], [r.get("task") for r in rows])


def _episodes_v2(root: Path) -> Iterator[dict[str, Any]]:
    yield from _json_lines(root / "meta" / "episodes.jsonl")
