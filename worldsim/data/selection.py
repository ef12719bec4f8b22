"""What of a data set is to be seen: some of its episodes, under LeRobot's names."""

from collections.abc import Iterator, Mapping, Sequence
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

    That they are left out is a warning. It is an error if none is there, or if one of the others
    was asked for by its index.
    """
    is_there = cache(Path.is_file)

    def lacking(record: EpisodeRecord) -> Path | None:
        films = (record.videos[camera.key].path for camera in index.cameras if camera.video)
        return next((path for path in (record.data, *films) if not is_there(path)), None)

    absent = {r.index: path for r in index.records if (path := lacking(r)) is not None}
    if not absent:
        return index.records, []
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
    return [record for record in index.records if record.index not in absent], faults


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
