"""A map of points hashed by voxels: merged, bounded, batched over rows, without a loop over them.

Voxels are known by one whole number each, by which every row is sorted, so that what lies in one
voxel lies side by side. A merge sorts old and new points together and sums what is equal.

Legend: N rows, P points of the fullest row, Q new points, C features. Metres.
"""

from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from torch import Tensor

from worldsim.memory.growing import GrowingRows

EMPTY = torch.iinfo(torch.int64).max
"""The number of no voxel, which sorts behind all others."""
_BITS = 20
"""Bits of each coordinate of a voxel."""
_KEPT = 7 / 8
"""Share of the most points that stays when a row is full, so that not every update sorts them."""


@dataclass(eq=False)
class Voxels(GrowingRows):
    """Attributes:
    key: `[N, P]` of the voxel, rising; `EMPTY` where there is none.
    place: `[N, P, 3]` weighted mean of its points.
    features: `[N, P, C]` weighted mean.
    weight: `[N, P]` sum of the points' weights.
    radius: `[N, P]` weighted mean; see `worldsim.cameras.splat`.
    number: `[N, P]` of the newest frame that showed it.
    """

    fills: ClassVar = {
        "key": EMPTY,
        "place": 0.0,
        "features": 0.0,
        "weight": 0.0,
        "radius": 0.0,
        "number": -1,
    }

    key: Tensor
    place: Tensor
    features: Tensor
    weight: Tensor
    radius: Tensor
    number: Tensor

    @staticmethod
    def none(rows: int, features: int, device: torch.device) -> "Voxels":
        """Empty maps."""
        empty = torch.zeros(rows, 0, device=device)
        whole = empty.long()
        place, feature = (torch.zeros(rows, 0, size, device=device) for size in (3, features))
        return Voxels(whole, place, feature, empty, empty, whole)

    @property
    def valid(self) -> Tensor:
        """`[N, P]` bool."""
        return self.key != EMPTY

    @property
    def count(self) -> Tensor:
        """`[N]` points of each row."""
        return self.valid.sum(1)

    def taken(self, order: Tensor) -> "Voxels":
        """The points `order` `[N, Q]` of each row."""
        parts = {}
        for field in fields(self):
            held: Tensor = getattr(self, field.name)
            index = order.reshape(*order.shape, *(1,) * (held.ndim - 2))
            parts[field.name] = held.gather(1, index.expand(*order.shape, *held.shape[2:]))
        return Voxels(**parts)

    def kept(self, keep: Tensor) -> "Voxels":
        """Only points where `keep` `[N, P]` is True, as narrow as can be."""
        keep = keep & self.valid
        width = int(keep.sum(1).max()) if keep.numel() else 0
        key = self.key.masked_fill(~keep, EMPTY)
        ordered = key.sort(dim=1, stable=True)
        short = replace(self, key=key).taken(ordered.indices[:, :width])
        return short


def voxel_keys(place: Tensor, valid: Tensor, size: float) -> Tensor:
    """Numbers `[N, Q]` of the voxels of `size` metres that points `[N, Q, 3]` lie in.

    What is not valid, or further out than a whole number can tell, is `EMPTY`.
    """
    half = 2 ** (_BITS - 1)
    cell = (place / size).floor()
    inside = valid & (cell.abs() < half).all(-1)
    x, y, z = (torch.where(inside[..., None], cell, 0.0).long() + half).unbind(-1)
    return torch.where(inside, (x << 2 * _BITS) | (y << _BITS) | z, EMPTY)


def merged(held: Voxels, new: Voxels) -> Voxels:
    """Both maps as one; `new` need not be sorted, and may hold a voxel more than once."""
    key = torch.cat([held.key, new.key], dim=1)
    ordered = key.sort(dim=1, stable=True)
    fresh = torch.ones_like(ordered.values, dtype=torch.bool)
    fresh[:, 1:] = ordered.values[:, 1:] != ordered.values[:, :-1]
    fresh &= ordered.values != EMPTY
    width = int(fresh.sum(1).max()) if fresh.numel() else 0
    # Padding goes to one place more, which is cut off.
    spot = torch.where(ordered.values != EMPTY, fresh.cumsum(1) - 1, width)
    slot = torch.empty_like(spot).scatter_(1, ordered.indices, spot)
    rows = torch.arange(len(key), device=key.device)[:, None] * (width + 1)
    return _summed(held, new, (rows + slot).flatten(), (len(key), width + 1))


def _summed(held: Voxels, new: Voxels, slot: Tensor, shape: tuple[int, int]) -> Voxels:
    """Points of both in the slots `[N (P + Q)]` of maps of a shape, the last slot cut off."""

    def both(name: str) -> Tensor:
        return torch.cat([getattr(held, name), getattr(new, name)], dim=1).flatten(0, 1)

    def shaped(flat: Tensor) -> Tensor:
        return flat.reshape(*shape, *flat.shape[1:])[:, :-1]

    weight = both("weight")
    values = torch.cat([both("place"), both("features"), both("radius")[:, None]], dim=-1)
    total = values.new_zeros(shape[0] * shape[1], values.shape[1] + 1)
    weighed = torch.cat([values * weight[:, None], weight[:, None]], dim=-1)
    total.index_add_(0, slot, weighed)
    mean = shaped(total[:, :-1] / total[:, -1:].clamp_min(1e-12))
    number = both("number")
    newest = number.new_full((len(total),), -1).scatter_reduce(0, slot, number, "amax")
    key = number.new_full((len(total),), EMPTY).scatter_(0, slot, both("key"))
    return Voxels(
        shaped(key),
        mean[..., :3],
        mean[..., 3:-1],
        shaped(total[:, -1]),
        mean[..., -1],
        shaped(newest),
    )


def bounded(held: Voxels, most: int) -> tuple[Voxels, Tensor]:
    """Rows of at most `most` points, and how many each lost, `[N]`.

    A full row loses those that were seen longest ago, and of these the least certain.
    """
    count = held.count
    full = count > most
    if not bool(full.any()):
        return held, torch.zeros_like(count)
    stays = max(int(most * _KEPT), 1)
    # Certainty decides among points of one frame alone: its share is less than 1.
    rank = held.number.double() + held.weight.double() / (1.0 + held.weight.double())
    rank = rank.masked_fill(~held.valid, -torch.inf)
    best = rank.topk(min(stays, rank.shape[1]), dim=1).indices
    keep = torch.zeros_like(held.valid).scatter_(1, best, True) | ~full[:, None]
    short = held.kept(keep)
    return short, count - short.count
