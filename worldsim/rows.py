"""Holders of rows: dataclasses whose every part has one row for each env of a batch.

A row is taken, exchanged or branched in all parts at once. Parts are tensors, arrays and lists
along their first axis, holders themselves, or objects that handle their rows (`HasRows`). Anything
else belongs to all rows.
"""

from collections.abc import Sequence
from dataclasses import fields, is_dataclass, replace
from typing import Any, Protocol, Self, TypeVar, runtime_checkable

import numpy as np
import torch
from torch import Tensor

Holder = TypeVar("Holder")


@runtime_checkable
class HasRows(Protocol):
    """What handles its rows itself, such as a context whose row axis is not the first."""

    def select(self, rows: Sequence[int] | Tensor) -> Self:
        """A copy that holds only `rows`, in that order; repeated rows branch."""
        ...

    def joined(self, other: Self) -> Self:
        """These rows followed by those of `other`."""
        ...

    def put(self, rows: Sequence[int] | Tensor, other: Self) -> None:
        """Overwrite `rows` by the rows of `other`, in order."""
        ...


def take_rows(holder: Holder, rows: Sequence[int]) -> Holder:
    """A copy that holds only `rows`, in that order; repeated rows branch."""
    result: Holder = _take(holder, list(rows))
    return result


def _take(value: Any, rows: list[int]) -> Any:
    if isinstance(value, HasRows):
        return value.select(rows)
    if isinstance(value, Tensor):
        return value[torch.as_tensor(rows, dtype=torch.long, device=value.device)]
    if isinstance(value, np.ndarray):
        return value[rows]
    if isinstance(value, list):
        return [value[row] for row in rows]
    return take_parts(value, rows) if is_dataclass(value) else value


def take_parts(holder: Any, rows: list[int]) -> Any:
    """`take_rows` of a dataclass by its fields, whether or not it is a `HasRows` itself."""
    names = [field.name for field in fields(holder)]
    return replace(holder, **{name: _take(getattr(holder, name), rows) for name in names})


def join_rows(first: Holder, second: Holder) -> Holder:
    """The rows of `first` followed by those of `second`."""
    result: Holder = _join(first, second)
    return result


def _join(first: Any, second: Any) -> Any:
    if isinstance(first, HasRows):
        return first.joined(second)
    if isinstance(first, Tensor):
        return torch.cat([first, second])
    if isinstance(first, np.ndarray):
        return np.concatenate([first, second])
    if isinstance(first, list):
        return first + second
    return join_parts(first, second) if is_dataclass(first) else first


def join_parts(first: Any, second: Any) -> Any:
    """`join_rows` of dataclasses by their fields, whether or not they are `HasRows` themselves."""
    names = [field.name for field in fields(first)]
    parts = {name: _join(getattr(first, name), getattr(second, name)) for name in names}
    return replace(first, **parts)


def put_rows(holder: Any, rows: Sequence[int], part: Any) -> None:
    """Overwrite `rows` of a holder, in place, by the rows of `part`, in order."""
    for each in fields(holder):
        here, there = getattr(holder, each.name), getattr(part, each.name)
        if isinstance(here, HasRows):
            here.put(rows, there)
        elif isinstance(here, Tensor | np.ndarray):
            here[list(rows)] = there
        elif isinstance(here, list):
            for row, value in zip(rows, there, strict=True):
                here[row] = value
        elif is_dataclass(here):
            put_rows(here, rows, there)


def exchange_rows(running: Holder, rows: Sequence[int], fresh: Holder, count: int) -> Holder:
    """`running`, of `count` rows, with `rows` exchanged for the rows of `fresh`, in order."""
    order = list(range(count))
    for position, row in enumerate(rows):
        order[row] = count + position
    return take_rows(join_rows(running, fresh), order)
