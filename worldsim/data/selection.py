"""What of a data set is to be seen: some of its episodes, under LeRobot's names."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from worldsim.data.columns import ColumnMap, Columns, map_columns
from worldsim.data.records import DatasetIndex, EpisodeRecord
from worldsim.errors import DataError, DataWarning, UsageError

Span = tuple[int, int | None]
"""Episodes from the first index up to the second, which is not among them; None: to the end."""


@dataclass(frozen=True)
class Selection:
    """Attributes:
    columns: which columns are what.
    episodes: spans of episode indices; empty takes every episode.
    """

    columns: Columns = field(default_factory=Columns)
    episodes: tuple[Span, ...] = ()

    @property
    def key(self) -> str:
        """Names it; empty for a whole data set whose columns are found by name."""
        return "" if self == Selection() else repr(asdict(self))


def read_selection(columns: Any = None, episodes: Any = None) -> Selection:
    """A selection from the values of a config.

    Args:
        columns: mapping with `action` and `state` (a column or a list of them) and `cameras` (a
            list, or {name: column}); what is null is found by name.
        episodes: null for all, N for the first N, "FIRST:STOP", or a list of indices and such
            ranges.

    Raises:
        UsageError: they are nothing of the kind.
    """
    given = dict(columns or {})
    if unknown := sorted(set(given) - {"action", "state", "cameras"}):
        raise UsageError(f"columns has action, state and cameras, not {unknown}")
    cameras = given.get("cameras") or {}
    if not isinstance(cameras, Mapping):
        cameras = {column: column for column in _texts(cameras, "columns.cameras")}
    if not all(isinstance(text, str) for pair in cameras.items() for text in pair):
        raise UsageError(f"columns.cameras is {cameras}; expected [COLUMN,...] or {{NAME: COLUMN}}")
    return Selection(
        Columns(
            action=_texts(given.get("action"), "columns.action"),
            state=_texts(given.get("state"), "columns.state"),
            cameras=dict(cameras),
        ),
        read_episodes(episodes),
    )


def read_episodes(value: Any) -> tuple[Span, ...]:
    """Spans of `episodes=`: see `read_selection`.

    Raises:
        UsageError: it is nothing of the kind.
    """
    if value is None:
        return ()
    if _is_index(value):
        if value < 1:
            raise UsageError(f"episodes is {value}; expected 1 or more, the number of episodes")
        return ((0, int(value)),)
    items = [value] if isinstance(value, str) else value
    if not isinstance(items, Sequence) or not items:
        raise _refused(value)
    return tuple(_span(item, value) for item in items)


def _span(item: Any, value: Any) -> Span:
    if _is_index(item) and item >= 0:
        return int(item), int(item) + 1
    if not isinstance(item, str) or item.count(":") != 1:
        raise _refused(value)
    first, stop = (text.strip() for text in item.split(":"))
    if not all(text.isdecimal() or not text for text in (first, stop)):
        raise _refused(value)
    span = int(first or 0), int(stop) if stop else None
    if span[1] is not None and span[1] <= span[0]:
        raise UsageError(f"episodes {item!r} holds none; the second number must be the larger")
    return span


def _refused(value: Any) -> UsageError:
    return UsageError(
        f"episodes is {value!r}; expected a number, a range such as 0:50, a list of indices and "
        "ranges such as [1,5,10:20], or null"
    )


def _is_index(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _texts(value: Any, key: str) -> tuple[str, ...]:
    """A name, or several."""
    items = [value] if isinstance(value, str) else value or []
    if not isinstance(items, Sequence) or not all(isinstance(item, str) for item in items):
        raise UsageError(f"{key} is {value!r}; expected the name of a column or a list of names")
    return tuple(items)


def selected(
    index: DatasetIndex, selection: Selection, own: bool, skip_missing: bool = True
) -> tuple[DatasetIndex, ColumnMap]:
    """A data set's index with the chosen episodes, cameras and columns alone, and these columns.

    Episodes whose files are not there, as after a partial download, are left out with a warning.

    Args:
        index: of the whole data set.
        selection: what is chosen.
        own: whether worldsim recorded it.
        skip_missing: False keeps episodes without files, so that their absence can be told.

    Raises:
        UsageError: a column, camera or episode is not there.
        DataError: no chosen episode has its files, or one asked for by its index has not.
    """
    columns, cameras = map_columns(
        selection.columns, index.info["features"], index.cameras, index.root, own
    )
    info = {**index.info, "features": columns.features(index.info["features"])}
    records = _chosen(index.records, selection.episodes, index.root)
    if columns.changes:
        records = [replace(r, videos=columns.keyed(r.videos)) for r in records]
    if skip_missing:
        keys = [camera.key for camera in cameras if camera.video]
        records = _present(records, keys, selection.episodes, index.root)
        for text in columns.said():
            warnings.warn(f"{index.root}: {text}; columns= says otherwise", DataWarning, 3)
    return replace(index, info=info, cameras=cameras, records=records), columns


def _chosen(
    records: Sequence[EpisodeRecord], spans: Sequence[Span], root: Path
) -> list[EpisodeRecord]:
    """The records of episodes in any of the spans; all where there is none.

    Raises:
        UsageError: a span reaches beyond the last episode, or an episode of its own is not there.
    """
    known = {record.index for record in records}
    last = max(known, default=-1)
    for first, stop in spans:
        beyond = first > last or (stop or 0) - 1 > last
        if beyond or (stop == first + 1 and first not in known):
            shown = first if stop == first + 1 else f"{first}:{'' if stop is None else stop}"
            raise UsageError(
                f"episodes names {shown}, but {root} has {len(known)} episodes, 0 to {last}"
            )
    return [r for r in records if not spans or any(_holds(span, r.index) for span in spans)]


def _holds(span: Span, episode: int) -> bool:
    return span[0] <= episode and (span[1] is None or episode < span[1])


def _present(
    records: list[EpisodeRecord], keys: Sequence[str], spans: Sequence[Span], root: Path
) -> list[EpisodeRecord]:
    """The records whose rows and films `keys` are on disk, as after a partial download.

    Raises:
        DataError: none is, or an episode that was asked for by its index is not.
    """
    there: dict[Path, bool] = {}

    def lacking(record: EpisodeRecord) -> Path | None:
        for path in (record.data, *(record.videos[key].path for key in keys)):
            if path not in there:
                there[path] = path.is_file()
            if not there[path]:
                return path
        return None

    absent = {record.index: path for record in records if (path := lacking(record)) is not None}
    named = {first for first, stop in spans if stop == first + 1}
    needed = absent.keys() & named if len(absent) < len(records) else absent.keys()
    if needed:
        index = min(needed)
        raise DataError(
            f"no such file: {absent[index]}, which holds episode {index} of {root}; was it "
            "downloaded?"
        )
    if absent:
        warnings.warn(
            f"{root}: {len(absent)} of {len(records)} episodes are left out, since their files are "
            f"not there (the first is {next(iter(absent.values()))})",
            DataWarning,
            4,
        )
    return [record for record in records if record.index not in absent]
