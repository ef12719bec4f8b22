"""What all readers of episode files share: gzipped JSON, keys with their kinds, faults."""

import gzip
import json
import zlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from worldsim.data.faults import Fault, Severity, settle
from worldsim.data.navigation.episode import NavigationEpisode
from worldsim.errors import DataError

T = TypeVar("T")
GZIP = b"\x1f\x8b"


def read_episode_json(path: Path) -> Any:
    """A JSON file, gzipped or not, whatever its name says.

    Raises:
        DataError: missing, truncated, or no JSON.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        raise DataError(f"no such episode file: {path} ({error.strerror})") from error
    try:
        text = gzip.decompress(data) if data[:2] == GZIP else data
        return json.loads(text.decode("utf-8"))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} is not whole gzip ({error}); download it again") from error
    except ValueError as error:
        raise DataError(f"{path} is not valid JSON ({error}); is it truncated?") from error


def entry(owner: Any, key: str, kind: type[T] | tuple[type, ...], where: str) -> Any:
    """The value under a key, of a kind.

    Raises:
        DataError: there is none, or it is of another kind.
    """
    if not isinstance(owner, dict):
        raise DataError(f"{where} is {_short(owner)}, expected an object with key {key!r}")
    if key not in owner:
        raise DataError(f"{where} lacks the key {key!r}; it has {sorted(map(str, owner))}")
    value = owner[key]
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        names = " or ".join(each.__name__ for each in kinds)
        raise DataError(f"{where}: {key!r} is {_short(value)}, expected {names}")
    return value


def optional(owner: Any, key: str, kind: type[T] | tuple[type, ...], where: str) -> Any:
    """As `entry`, or None where the key is absent or null."""
    absent = isinstance(owner, dict) and owner.get(key) is None
    return None if absent else entry(owner, key, kind, where)


def texts(values: list[Any], where: str) -> tuple[str, ...]:
    """A list of strings.

    Raises:
        DataError: one is none.
    """
    for value in values:
        if not isinstance(value, str):
            raise DataError(f"{where} holds {_short(value)}, expected strings")
    return tuple(values)


def read_each(
    source: Path,
    rows: Iterable[tuple[str, T]],
    read: Callable[[T], NavigationEpisode],
    skip_faulty: bool,
) -> list[NavigationEpisode]:
    """Episodes of a file; those with a fault are refused together, or left out with a warning.

    Args:
        source: where they come from.
        rows: (name for messages, what `read` takes).
        read: makes an episode of a row, or raises DataError.
        skip_faulty: leave faulty episodes out.

    Raises:
        DataError: there are faults and they are not to be skipped, or no episode is left.
    """
    episodes, faults = [], []
    for name, row in rows:
        try:
            episodes.append(read(row))
        except DataError as error:
            severity: Severity = "warning" if skip_faulty else "error"
            left_out = " (left out)" if skip_faulty else ""
            faults.append(Fault(name, None, f"{error}{left_out}", severity))
    settle(source, faults)
    if not episodes:
        raise DataError(f"{source} holds no episode{' without a fault' if faults else ''}")
    return episodes


def require_scene(name: str, scene: str, candidates: Iterator[Path] | Iterable[Path]) -> None:
    """Refuse an episode whose scene file is missing.

    Args:
        name: of the episode.
        scene: as the episode names it.
        candidates: paths, one of which has to exist.

    Raises:
        DataError: none does; the message lists them.
    """
    tried = list(candidates)
    if not any(path.exists() for path in tried):
        listed = " or ".join(map(str, tried))
        raise DataError(
            f"episode {name} needs scene {scene!r}, and there is no {listed}; put the scene there, "
            "or give the folder that holds it (`scenes`)"
        )


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
