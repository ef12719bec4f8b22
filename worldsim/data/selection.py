"""What of a data set is to be seen: some of its episodes, under LeRobot's names."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from worldsim.config.limits import MOST, Limit, Text
from worldsim.config.values import Checked, read_value
from worldsim.data.checks import index_faults
from worldsim.data.columns import ColumnMap, Columns, map_columns
from worldsim.data.faults import Fault
from worldsim.data.records import EPISODES, DatasetIndex, EpisodeRecord
from worldsim.errors import UsageError

Span = tuple[int, int | None]
"""Episodes from the first index up to the second, which is not among them; None: to the end."""

Outcome = Literal["success", "failure"]


@dataclass(frozen=True)
class Selection:
    """What of a data set is taken.

    Attributes:
        columns: which columns are what.
        episodes: spans of episode indices; empty takes every episode.
        outcome: take episodes that ended so alone; None takes all.
    """

    columns: Columns = field(default_factory=Columns)
    episodes: tuple[Span, ...] = ()
    outcome: Outcome | None = None

    @property
    def key(self) -> str:
        """Names it; empty for a whole data set whose columns are found by name."""
        kept = asdict(self)
        if self.outcome is None:  # keys of before there were outcomes stay
            kept.pop("outcome")
        return "" if self == Selection() else repr(kept)

    def takes(self, episode: int) -> bool:
        """Whether the episode of this index is among the chosen ones."""
        return not self.episodes or any(
            first <= episode and (stop is None or episode < stop) for first, stop in self.episodes
        )


Names = Annotated[tuple[Text, ...], Limit("a list that is not empty", bool)]


@dataclass(frozen=True)
class ColumnOptions(Checked):
    """Node `columns` of a config; what is null is found by name.

    Attributes:
        action: a column, or several to join.
        state: likewise, of proprioception.
        cameras: those to take, or {name: column}.
    """

    action: Text | Names | None = None
    state: Text | Names | None = None
    cameras: Names | Mapping[str, Text] | None = None


def read_selection(
    columns: ColumnOptions | Mapping[str, Any] | None = None,
    episodes: Any = None,
    outcome: Outcome | None = None,
) -> Selection:
    """A selection from the values of a config.

    Args:
        columns: what `ColumnOptions` has; None finds all by name.
        episodes: null for all, N for the first N, "FIRST:STOP", or a list of indices and such
            ranges.
        outcome: of the episodes to take.

    Raises:
        UsageError: they are nothing of the kind.
    """
    given = read_value(ColumnOptions, columns or ColumnOptions(), "columns")
    cameras = given.cameras or {}
    if not isinstance(cameras, Mapping):
        cameras = {column: column for column in cameras}
    named = Columns(_listed(given.action), _listed(given.state), cameras)
    return Selection(named, read_episodes(episodes), outcome)


def _listed(names: str | Sequence[str] | None) -> tuple[str, ...]:
    return (names,) if isinstance(names, str) else tuple(names or ())


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
    return isinstance(value, int) and not isinstance(value, bool) and value <= MOST


def selected(index: DatasetIndex, selection: Selection) -> tuple[DatasetIndex, ColumnMap]:
    """A data set's index with the chosen episodes, cameras and columns alone, and these columns.

    Raises:
        UsageError: a column, camera or episode is not there.
    """
    columns, cameras = map_columns(selection.columns, index)
    info = {**index.info, "features": columns.features(index.info["features"])}
    _require_known(index, selection.episodes)
    records = [record for record in index.records if selection.takes(record.index)]
    if columns.changes:
        records = [replace(r, videos=columns.keyed(r.videos)) for r in records]
    return replace(index, info=info, cameras=cameras, records=records), columns


def _require_known(index: DatasetIndex, spans: Sequence[Span]) -> None:
    """Refuse a span that reaches beyond the last episode, or an episode that is not there.

    Raises:
        UsageError: names the first such span.
    """
    faulty = {fault.episode for fault in index.faults if fault.episode is not None}
    known = {record.index for record in index.records} | faulty
    last = max(known, default=-1)
    for first, stop in spans:
        beyond = first > last or (stop or 0) - 1 > last
        if beyond or (stop == first + 1 and first not in known):
            shown = first if stop == first + 1 else f"{first}:{'' if stop is None else stop}"
            raise UsageError(
                f"episodes names {shown}, but {index.root} has {len(known)} episodes, 0 to {last}"
            )


def downloaded(
    index: DatasetIndex, spans: Sequence[Span]
) -> tuple[list[EpisodeRecord], list[Fault]]:
    """The episodes whose rows and films are on disk, and what is to be said of the others.

    A camera that other episodes have may be missing in some, and shows black there. That episodes
    are left out is a warning. It is an error if none is there, or if one of them was asked for by
    its index.
    """
    is_there = cache(Path.is_file)
    filmed = [camera.key for camera in index.cameras if camera.video]
    seen = {
        key: sum(_is_filmed(record, key, is_there) for record in index.records) for key in filmed
    }

    def lacking(record: EpisodeRecord) -> Path | None:
        if not is_there(record.data):
            return record.data
        absent = [key for key in filmed if not _is_filmed(record, key, is_there)]
        needed = [key for key in absent if not seen[key] or len(absent) == len(filmed)]
        paths = (record.videos[key].path for key in needed if key in record.videos)
        return next(paths, None)

    absent = {r.index: path for r in index.records if (path := lacking(r)) is not None}
    kept = [record for record in index.records if record.index not in absent]
    faults = [*_absences(index, absent, spans), *_dark_cameras(index, kept, filmed, is_there)]
    return [_without_absent(record, is_there) for record in kept], faults


IsThere = Callable[[Path], bool]


def _is_filmed(record: EpisodeRecord, key: str, is_there: IsThere) -> bool:
    return key in record.videos and is_there(record.videos[key].path)


def _without_absent(record: EpisodeRecord, is_there: IsThere) -> EpisodeRecord:
    """A record of the films that are there."""
    films = {key: film for key, film in record.videos.items() if is_there(film.path)}
    return record if len(films) == len(record.videos) else replace(record, videos=films)


def _dark_cameras(
    index: DatasetIndex, kept: Sequence[EpisodeRecord], filmed: Sequence[str], is_there: IsThere
) -> Iterator[Fault]:
    """A warning for each camera that some of the kept episodes lack."""
    for key in filmed:
        count = sum(not _is_filmed(record, key, is_there) for record in kept)
        if count:
            message = (
                f"camera {key} is missing in {count} of {len(kept)} episodes, and shows black there"
            )
            yield Fault(EPISODES, None, message, "warning")


def _absences(
    index: DatasetIndex, absent: Mapping[int, Path], spans: Sequence[Span]
) -> list[Fault]:
    """What is to be said of episodes whose files are not there."""
    if not absent:
        return []
    named = {first for first, stop in spans if stop == first + 1}
    count = len(index.records)
    needed = absent.keys() & named if len(absent) < count else absent.keys()
    faults = []
    for episode in sorted(needed):
        path = absent[episode]
        message = f"no such file: {path}, which holds episode {episode}; was it downloaded?"
        faults.append(Fault(str(path.relative_to(index.root)), episode, message))
    if not faults:
        first = next(iter(absent.values())).relative_to(index.root)
        message = (
            f"{len(absent)} of {count} episodes are left out, since their files are not there (the "
            f"first is {first})"
        )
        faults = [Fault(EPISODES, None, message, "warning")]
    return faults


def ended(index: DatasetIndex, won: Sequence[bool], outcome: Outcome) -> DatasetIndex:
    """A data set's index without the episodes that ended otherwise.

    Args:
        index: of E episodes.
        won: E outcomes.
        outcome: the one to keep.

    Raises:
        UsageError: none is left.
    """
    pairs = zip(index.records, won, strict=True)
    records = [record for record, success in pairs if success == (outcome == "success")]
    if not records:
        raise UsageError(
            f"{index.root}: outcome={outcome} leaves none of {len(won)} episodes, of which "
            f"{sum(won)} succeeded; are their outcomes recorded?"
        )
    return replace(index, records=records)


def faults_of(whole: DatasetIndex, selection: Selection) -> Iterator[Fault]:
    """What is wrong with the metadata, apart from faults of episodes that nobody selected."""
    for fault in index_faults(whole):
        if fault.episode is None or selection.takes(fault.episode):
            yield fault
