"""A map of points hashed by voxels: merged, bounded, batched over rows, without a loop over them.

Voxels are known by one whole number each, by which every row is sorted. New points are sorted and
summed among themselves, and find their places among those that are sorted already.

Legend: N rows, P points of the fullest row, Q new points, C features. Metres.
"""

from dataclasses import dataclass, fields, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional

from worldsim.memory.growing import GrowingRows, writable

EMPTY = torch.iinfo(torch.int64).max
"""The number of no voxel, which sorts behind all others."""
BITS = 20
"""Bits of each coordinate of a voxel."""
MERGED_EVERY = 4
"""Frames after which a row's points are merged; until then new ones lie behind the others."""
_LOOSE = 17 / 16
"""Times what the fullest row holds that rows may be wide."""
_KEPT = 7 / 8
"""Share of the most points that stays when a row is full, so that not every merge sorts them."""


@dataclass(eq=False)
class Voxels(GrowingRows):
    """Attributes:
    key: `[N, P]` of the voxel, rising once merged; `EMPTY` where there is none.
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
        """The points `order` `[N, Q]` of each row; their axes lie side by side in memory."""
        index, parts = self._flat(order).flatten(), {}
        for field in fields(self):
            held: Tensor = getattr(self, field.name)
            axes = _axes(held)
            found = held.new_empty(len(axes), len(index))
            for axis, each in zip(found, axes, strict=True):
                torch.index_select(each.flatten(), 0, index, out=axis)
            found = found.view(len(axes), *order.shape)
            parts[field.name] = found.movedim(0, -1) if held.ndim > 2 else found[0]
        return Voxels(**parts)

    def moved(self, order: Tensor) -> None:
        """Have the points `order` `[N, P]` of each row take the places of all, in place."""
        index = self._flat(order).flatten()
        for field in fields(self):
            for axis in _axes(getattr(self, field.name)):
                axis.copy_(axis.flatten().index_select(0, index).view_as(axis))

    def set_at(self, order: Tensor, which: Tensor, points: "Voxels") -> None:
        """Put `points` `[N, Q]` where `which` `[N, Q]` to the places `order` `[N, Q]`."""
        to, some = self._flat(order)[which], which.flatten().nonzero()[:, 0]
        for field in fields(self):
            pairs = (_axes(getattr(each, field.name)) for each in (self, points))
            for mine, theirs in zip(*pairs, strict=True):
                new = theirs.flatten().index_select(0, some)
                if mine.is_contiguous():
                    mine.view(-1).index_copy_(0, to, new)
                else:  # as rows that were widened or exchanged
                    mine[to // self.width, to % self.width] = new

    def _flat(self, order: Tensor) -> Tensor:
        """Places `order` `[N, Q]` of each row, counted through all rows."""
        return order + torch.arange(len(order), device=order.device)[:, None] * self.width

    def kept(self, keep: Tensor) -> "Voxels":
        """Only points where `keep` `[N, P]` is True, as narrow as can be."""
        keep = keep & self.valid
        width = int(keep.sum(1).max()) if keep.numel() else 0
        if not width:
            return Voxels.none(len(keep), self.features.shape[2], keep.device)
        key = self.key.masked_fill(~keep, EMPTY)
        ordered = key.sort(dim=1, stable=True)
        short = replace(self, key=key).taken(ordered.indices[:, :width])
        return short


def _axes(held: Tensor) -> tuple[Tensor, ...]:
    """Each `[N, P]` of a tensor `[N, P]` or `[N, P, C]`."""
    return held.unbind(2) if held.ndim > 2 else (held,)


def voxel_keys(place: Tensor, valid: Tensor, size: float) -> Tensor:
    """Numbers `[N, Q]` of the voxels of `size` metres that points `[N, Q, 3]` lie in.

    What is not valid, or further out than a whole number can tell, is `EMPTY`.
    """
    half = 2 ** (BITS - 1)
    cell = (place / size).floor()
    inside = valid & (cell.abs() < half).all(-1)
    x, y, z = (torch.where(inside[..., None], cell, 0.0).long() + half).unbind(-1)
    return torch.where(inside, (x << 2 * BITS) | (y << BITS) | z, EMPTY)


def appended(held: Voxels, new: Voxels) -> Voxels:
    """Both maps side by side, nothing merged."""
    return Voxels(
        **{
            f.name: torch.cat([getattr(held, f.name), getattr(new, f.name)], 1)
            for f in fields(held)
        }
    )


def merged(held: Voxels) -> Voxels:
    """The map with one point in each voxel, in the order of their keys; later points are newer."""
    return means(summed(held))


def means(sums: Voxels) -> Voxels:
    """Weighted means out of weighted sums, of place, features and radius."""
    weight = sums.weight.clamp_min(1e-12)
    apart = weight[..., None]
    return replace(
        sums,
        place=sums.place / apart,
        features=sums.features / apart,
        radius=sums.radius / weight,
    )


def summed(held: Voxels) -> Voxels:
    """Weighted sums of what lies in each voxel, in the order of their keys; see `merged`."""
    rows, places = held.key.shape
    ordered = held.key.sort(dim=1, stable=True)
    valid = ordered.values != EMPTY
    fresh = valid.clone()
    fresh[:, 1:] &= ordered.values[:, 1:] != ordered.values[:, :-1]
    width = int(fresh.sum(1).max()) if fresh.numel() else 0
    if not width:
        return Voxels.none(rows, held.features.shape[2], held.key.device)
    # Where each voxel begins in its row. Places of no voxel begin at the row's end, and are none.
    index = torch.arange(places, device=held.key.device).expand(rows, -1)
    begin = torch.full((rows, width + 2), places, device=held.key.device)
    begin.scatter_(1, torch.where(fresh, fresh.cumsum(1) - 1, width + 1), index)
    begin = begin[:, : width + 1]
    begin[:, width] = places
    count = valid.sum(1, keepdim=True)
    last = (torch.minimum(begin[:, 1:], count) - 1).clamp_min(0)
    there = begin[:, :width] < count
    values = _sums(held, ordered.indices, begin[:, :width])
    first = begin[:, :width].clamp(max=places - 1)
    key = torch.where(there, ordered.values.gather(1, first), EMPTY)
    newest = held.number.gather(1, ordered.indices.gather(1, last))
    number = torch.where(there, newest, -1)
    return Voxels(key, values[..., :3], values[..., 3:-2], values[..., -1], values[..., -2], number)


def inserted(held: Voxels, gone: Tensor, new: Voxels) -> Voxels:
    """A merged map without the points `gone` `[N, P]`, with newer ones that are `summed`.

    A voxel that holds a point already has the weighted mean of both; others keep theirs to the bit.
    `held` may be changed in place, and is the caller's own.
    """
    if not held.width or not new.width:
        return means(new) if new.width else held.kept(~gone)
    stays, coming = held.valid & ~gone, new.valid
    at = torch.searchsorted(held.key, new.key)
    met = at.clamp(max=held.width - 1)
    known = coming & (held.key.gather(1, met) == new.key) & stays.gather(1, met)
    both = _with_old(held.taken(met), known, new)
    fresh = coming & ~known
    # Old points move up by the new ones before them, and those by the old ones before them.
    ahead = torch.zeros_like(held.key[:, :1]).expand(-1, held.width + 1).clone()
    ahead.scatter_add_(1, at, fresh.long())
    old = stays.cumsum(1)
    moved = old - 1 + ahead[:, :-1].cumsum(1)
    before = torch.cat([torch.zeros_like(old[:, :1]), old], dim=1).gather(1, at)
    to = torch.where(known, moved.gather(1, met), before + fresh.cumsum(1) - 1)
    count = old[:, -1] + fresh.sum(1)
    width = _room(held, int(count.max()))
    source = torch.zeros_like(held.key[:, :1]).expand(-1, width + 1).clone()
    index = torch.arange(held.width, device=at.device).expand_as(moved)
    source.scatter_(1, moved.masked_fill_(~stays, width), index)
    result = held
    if width == held.width and writable(held.key):
        held.moved(source[:, :width])
    else:
        result = held.taken(source[:, :width])
    result.set_at(to, coming, both)
    filled = torch.arange(width, device=at.device) < count[:, None]
    result.key.masked_fill_(~filled, EMPTY)
    return result


def _room(held: Voxels, needed: int) -> int:
    """Places of each row that `needed` points of the fullest get: as many as before, if they fit
    and are not far too many. New memory costs more than all that is done in it."""
    if needed <= held.width <= needed * _LOOSE:
        return held.width
    return int(needed * (1 + _LOOSE) / 2)


def _with_old(old: Voxels, known: Tensor, new: Voxels) -> Voxels:
    """Means of `summed` points and, where `known` `[N, Q]`, of the old ones of the same voxels."""
    had = old.weight * known
    return means(
        replace(
            new,
            place=old.place * had[..., None] + new.place,
            features=old.features * had[..., None] + new.features,
            radius=old.radius * had + new.radius,
            weight=had + new.weight,
        )
    )


def _sums(held: Voxels, order: Tensor, begin: Tensor) -> Tensor:
    """Weighted sums `[N, W, 3 + C + 2]` of place, features, radius and 1.

    Args:
        held: points.
        order: `[N, P]` in which those of one voxel lie side by side.
        begin: `[N, W]` where each voxel begins in that order.
    """
    rows, places = order.shape
    one = torch.ones_like(held.radius)[..., None]
    values = torch.cat([held.place, held.features, held.radius[..., None], one], dim=-1)
    above = torch.arange(rows, device=order.device)[:, None] * places
    weight = held.weight.masked_fill(held.key == EMPTY, 0.0).gather(1, order)
    # A bag of embeddings is a sum over neighbours, ten times as fast as one to scattered places.
    sums = functional.embedding_bag(
        (order + above).flatten(),
        values.flatten(0, 1),
        (begin + above).flatten(),
        mode="sum",
        per_sample_weights=weight.flatten(),
    )
    return sums.reshape(rows, begin.shape[1], -1)


def bounded(held: Voxels, most: int, coming: int = 0) -> tuple[Voxels, Tensor]:
    """Rows of at most `most` points, and how many each lost, `[N]`.

    A full row loses those that were seen longest ago, and of these the least certain.

    Args:
        held: merged points.
        most: of a row.
        coming: room for points to come.
    """
    count, most = held.count, max(most - coming, most // 2)
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
