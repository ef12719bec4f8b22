"""Values of the tables in `meta/`, held to what they must be before anything relies on them."""

import math
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from worldsim.errors import DataError


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


def is_number(value: Any) -> bool:
    """Whether a value is a finite number, and no truth value."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def is_whole(value: Any) -> bool:
    """Whether a value is a whole number; 2.0, as a column with gaps holds it, is one."""
    return is_number(value) and value == int(value)


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
