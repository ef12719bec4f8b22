"""Points drawn with a z-buffer, batched over scenes, for every projection.

The image is drawn some times finer than asked for, and averaged, since aliasing rather than holes
limits small pictures. Each point is a disc. One that has grown larger than a fine pixel is drawn in
coarser images too, out of which holes between points are filled, and behind which further surfaces
are hidden. Such a pyramid is that of Pintus, Gobbetti and Agus (Real-time rendering of massive
unstructured raw point clouds using screen-space operators, VAST 2011), with the discs' sizes known.

Legend: B scenes, N points, C features, h w image, H W finer image, L levels of the pyramid. Metres;
poses are camera to world.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from worldsim.cameras.projection import Projection, in_camera, pinhole

SURFACE = 0.02
"""Share of the nearest depth within which points of one pixel are of one surface."""
NEAREST = 0.02
"""Metres to the nearest point that is drawn."""
BEHIND = 0.3
"""Share of its depth by which a disc must be nearer to hide what is seen between discs."""
FEW = 1 / 8
"""Share of points off the image that is not worth leaving them out."""
SLACK = 1.07
"""Times that a disc may be as wide as a pixel, and still be drawn as one."""


@dataclass(frozen=True, eq=False)
class Points:
    """Attributes:
    place: `[B, N, 3]` in the world.
    features: `[B, N, C]`.
    radius: `[B, N]` metres, half the distance to the next sample of its surface.
    valid: `[B, N]` bool; others are padding.
    number: `[B, N]` one more feature of any type, drawn behind the others; None: there is none.
    """

    place: Tensor
    features: Tensor
    radius: Tensor
    valid: Tensor
    number: Tensor | None = None

    @property
    def channels(self) -> list[Tensor]:
        """Every feature, `[B N]` of all scenes."""
        told = [*self.features.flatten(0, 1).unbind(-1)]
        return told if self.number is None else [*told, self.number.flatten()]


@dataclass(frozen=True, eq=False)
class Splatted:
    """What points look like from a camera.

    Attributes:
        features: `[B, C, h, w]`, zero where nothing is seen.
        depth: `[B, h, w]` of the projection's kind, metres, zero where nothing is seen.
        coverage: `[B, h, w]` from 0 to 1, how much of each pixel shows points.
    """

    features: Tensor
    depth: Tensor
    coverage: Tensor


@dataclass(frozen=True, eq=False)
class _Drawn:
    """The n points of some scenes that fall on a finer image; scenes lie one below the other.

    Attributes:
        row: `[n]`, with the rows of the scenes above.
        column: `[n]`.
        depth: `[n]`.
        disc: `[n]` pixels that each is wide.
        index: `[n]` of the point, counted through all scenes; None where all points are drawn.
        channels: features of all points, also of those that are not drawn.
    """

    row: Tensor
    column: Tensor
    depth: Tensor
    disc: Tensor
    index: Tensor | None
    channels: list[Tensor]


def splat(
    points: Points | Sequence[Points],
    intrinsics: Tensor,
    poses: Tensor,
    size: tuple[int, int],
    projection: Projection = pinhole,
    finer: int = 2,
    levels: int = 2,
) -> Splatted:
    """Points as a camera sees them; see the head of this file.

    Args:
        points: of B scenes; of several kinds, which are drawn into one image.
        intrinsics: `[B, 3, 3]` of an image of `size`.
        poses: `[B, 4, 4]`.
        size: (h, w).
        projection: of the camera.
        finer: how many times finer the image is drawn.
        levels: L, coarser images beside it, each of half the size of the one before.
    """
    kinds = [points] if isinstance(points, Points) else list(points)
    unit = 2**levels
    high, wide = (-(-side * finer // unit) * unit for side in size)
    whole = intrinsics.new_tensor([finer, finer, 1.0])[:, None] * intrinsics
    fine = (size[0] * finer, size[1] * finer)
    drawn = [_drawn(points, whole, poses, fine, projection, high) for points in kinds]
    values = _layered(drawn, levels, (len(poses) * high, wide))
    values = values.reshape(len(values), -1, high, wide)
    return _averaged(values[..., : fine[0], : fine[1]], finer)


def _drawn(
    points: Points,
    intrinsics: Tensor,
    poses: Tensor,
    size: tuple[int, int],
    projection: Projection,
    high: int,
) -> _Drawn:
    """Points on an image of `size`, of which each scene takes `high` rows."""
    local = in_camera(points.place, poses)
    pixels, depth = projection.project(local, intrinsics[:, None])
    column, row = pixels.floor().unbind(-1)
    inside = points.valid & (depth > NEAREST)
    if projection.wrap:
        # Whole numbers, so that the remainder is exact and every column on the image.
        column = column - size[1] * (column / size[1]).floor()
        row = row.clamp(0, size[0] - 1)
    else:
        inside = inside & (column >= 0) & (column < size[1]) & (row >= 0) & (row < size[0])
    inside, index = inside.flatten(), None
    disc = 2.0 * points.radius * intrinsics[:, 1, 1:2] / depth
    row, column, depth, disc = (part.flatten() for part in (row, column, depth, disc))
    outside = len(inside) - int(inside.sum())
    if outside > len(inside) * FEW:
        index = _indices(inside)
        row, column, depth, disc = (
            part.index_select(0, index) for part in (row, column, depth, disc)
        )
    elif outside:
        # A few are hidden behind everything: to take the others out costs more than they do.
        row, column, disc = (part.masked_fill(~inside, 0.0) for part in (row, column, disc))
        depth = depth.masked_fill(~inside, torch.inf)
    # Whole numbers of half the width are shifted and multiplied in half the time.
    row, column = row.int(), column.int()
    if len(poses) > 1:
        scene = torch.arange(len(poses), dtype=torch.int32, device=row.device)
        below = (scene * high)[:, None].expand(points.valid.shape).flatten()
        row = row + (below if index is None else below.index_select(0, index))
    return _Drawn(row, column, depth, disc, index, points.channels)


def _indices(mask: Tensor) -> Tensor:
    """Where a mask `[n]` is True; torch takes seven times as long on a processor."""
    if mask.device.type == "cpu":
        return torch.from_numpy(np.flatnonzero(mask.numpy()))
    return mask.nonzero()[:, 0]


def _layered(drawn: Sequence[_Drawn], levels: int, shape: tuple[int, int]) -> Tensor:
    """Mean features, depth and mask `[C + 2, B H, W]`: of each pixel the finest image that shows
    anything there, if nothing in another image hides it."""
    layers = [_Layer.of(drawn, level, shape) for level in range(levels + 1)]
    limit = layers[0].limit
    if levels:
        limit = torch.minimum(limit, layers[1].spread(layers[1].nearest * (1 + BEHIND)))
    result = layers[0].mean(limit)
    for layer in layers[1:]:
        hidden = layer.spread(layer.nearest) > limit
        holes = _indices(~(hidden | (result[-1] > 0)).flatten())
        if len(holes):
            layer.fill(result, holes)
    return result


@dataclass(frozen=True, eq=False)
class _Layer:
    """An image of the pyramid: points drawn in it, their pixels, and the nearest depth of each.

    Attributes:
        level: 0 for the finest.
        drawn: all points.
        which: of each kind, `[m]` of the points that are drawn here; in the finest image all are.
        place: of each kind, `[m]` their pixels, counted along rows.
        depth: of each kind, `[m]`.
        nearest: `[B H / 2^level, W / 2^level]`, infinite where there is nothing.
        limit: of the same shape and finite; what is further is of another surface, and hidden.
    """

    level: int
    drawn: Sequence[_Drawn]
    which: list[Tensor | None]
    place: list[Tensor]
    depth: list[Tensor]
    nearest: Tensor
    limit: Tensor

    @staticmethod
    def of(drawn: Sequence[_Drawn], level: int, shape: tuple[int, int]) -> "_Layer":
        high, wide = shape[0] >> level, shape[1] >> level
        which: list[Tensor | None] = []
        place, depth = [], []
        nearest = drawn[0].depth.new_full((high * wide,), torch.inf)
        for points in drawn:
            some, row, column, far = None, points.row, points.column, points.depth
            if level:
                some = _indices(points.disc > SLACK * 2 ** (level - 1))
                row, column, far = (part.index_select(0, some) for part in (row, column, far))
                row, column = row >> level, column >> level
            which.append(some)
            place.append((row * wide + column).long())
            depth.append(far)
            _lower(nearest, place[-1], far)
        nearest = nearest.reshape(high, wide)
        # A slanted surface spans more depth in a larger pixel.
        slope = SURFACE * (1 if level == 0 else 2 ** (level + 1))
        limit = (nearest * (1 + slope)).clamp_max(torch.finfo(nearest.dtype).max)
        return _Layer(level, drawn, which, place, depth, nearest, limit)

    def mean(self, limit: Tensor) -> Tensor:
        """Mean `[C + 2, .., ..]` over the points of each pixel that are within `limit`."""
        flat, total = limit.flatten(), None
        for points, which, place, depth in zip(
            self.drawn, self.which, self.place, self.depth, strict=True
        ):
            near = _indices(depth <= flat.index_select(0, place))
            place, depth = place.index_select(0, near), depth.index_select(0, near)
            index = near if which is None else which.index_select(0, near)
            index = index if points.index is None else points.index.index_select(0, index)
            if total is None:
                total = depth.new_zeros(len(points.channels) + 2, len(flat))
            values = [each.index_select(0, index).to(depth) for each in points.channels]
            # Channel by channel: whole rows to scattered places take ten times as long.
            for row, each in zip(total, [*values, depth, torch.ones_like(depth)], strict=True):
                row.scatter_add_(0, place, each)
        assert total is not None
        total[:-1] /= total[-1].clamp_min(1.0)
        total[-1].clamp_(max=1.0)
        return total.reshape(-1, *limit.shape)

    def fill(self, image: Tensor, holes: Tensor) -> None:
        """Write its means to the pixels `holes` `[q]` of the finest image `[C + 2, .., ..]`.

        Nothing is drawn for the others.
        """
        every = torch.arange(self.limit.numel(), device=holes.device).reshape(self.limit.shape)
        coarse = self.spread(every).flatten().index_select(0, holes)
        needed = torch.full_like(self.limit, -1.0).flatten()
        needed.index_copy_(0, coarse, self.limit.flatten().index_select(0, coarse))
        mean = self.mean(needed.reshape(self.limit.shape))
        for row, each in zip(image.flatten(1), mean.flatten(1), strict=True):
            row.index_copy_(0, holes, each.index_select(0, coarse))

    def spread(self, values: Tensor) -> Tensor:
        """Values of its pixels for the pixels of the finest image."""
        high, wide = values.shape
        times = 2**self.level
        large = values[:, None, :, None].expand(high, times, wide, times)
        return large.reshape(high * times, wide * times)


def _lower(least: Tensor, place: Tensor, values: Tensor) -> None:
    """Take the least of `least` `[q]` and of the `values` `[m]` at each `place` `[m]`, in place."""
    if least.device.type == "cpu":
        # Torch does the same in three times as long.
        np.minimum.at(least.numpy(), place.numpy(), values.detach().numpy())
    else:
        least.scatter_reduce_(0, place, values, "amin")


def _averaged(values: Tensor, finer: int) -> Splatted:
    """A finer image `[C + 2, B, H, W]`, averaged over what is seen of each pixel."""
    high, wide = values.shape[2] // finer, values.shape[3] // finer
    total = values.new_zeros(*values.shape[:2], high, wide)
    for down in range(finer):
        for across in range(finer):
            total += values[..., down::finer, across::finer]
    seen = total[-1]
    mean = total[:-1] / seen.clamp_min(1.0)
    return Splatted(mean[:-1].movedim(0, 1), mean[-1], seen / finer**2)
