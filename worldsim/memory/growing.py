"""Holders of rows that hold different amounts: tensors as wide as their fullest row needs.

A stream forks and exchanges its memory often, and rows begin empty. So tensors are no wider than
what is held, and grow.

Legend: N rows, S places of a row.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from worldsim.rows import join_parts, put_rows, take_parts


def writable(held: Tensor) -> bool:
    """Whether a tensor may be changed in place: not if it was made in an inference mode that is
    over."""
    return not held.is_inference() or torch.is_inference_mode_enabled()


class GrowingRows:
    """Base of dataclasses with row tensors `[N, S, ...]`, of which S differs among them.

    Attributes:
        fills: what an empty place holds, of every such tensor by its name.
    """

    fills: ClassVar[Mapping[str, float]] = {}

    @property
    def width(self) -> int:
        """S."""
        first: Tensor = getattr(self, next(iter(self.fills)))
        return first.shape[1]

    def widened(self, width: int) -> Self:
        """The same with at least `width` places in each row, the new ones empty."""
        lacking = width - self.width
        if lacking <= 0:
            return self
        wide: dict[str, Any] = {}
        for name, fill in self.fills.items():
            held: Tensor = getattr(self, name)
            empty = held.new_full((held.shape[0], lacking, *held.shape[2:]), fill)
            wide[name] = torch.cat([held, empty], dim=1)
        return replace(self, **wide)  # type: ignore[type-var]

    def select(self, rows: Sequence[int] | Tensor) -> Self:
        """See `HasRows`."""
        taken: Self = take_parts(self, list(map(int, rows)))
        return taken

    def joined(self, other: Self) -> Self:
        """See `HasRows`."""
        width = max(self.width, other.width)
        both: Self = join_parts(self.widened(width), other.widened(width))
        return both

    def put(self, rows: Sequence[int] | Tensor, other: Self) -> None:
        """See `HasRows`."""
        wide = self.widened(other.width)
        for name in self.fills:
            setattr(self, name, getattr(wide, name))
        put_rows(self, list(map(int, rows)), other.widened(self.width))
