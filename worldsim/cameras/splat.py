"""Points drawn with a z-buffer, batched over scenes, for every projection.

The image is drawn some times finer than asked for, and averaged, since aliasing rather than holes
limits small pictures. Each point is a disc. One that has grown larger than a fine pixel is drawn in
coarser images too, out of which holes between points are filled, and behind which further surfaces
are hidden. Such a pyramid is that of Pintus, Gobbetti and Agus (Real-time rendering of massive
unstructured raw point clouds using screen-space operators, VAST 2011), with the discs' sizes known.

Legend: B scenes, N points, C features, h w image, H W finer image, L levels of the pyramid. Metres;
poses are camera to world.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.cameras.projection import Projection, pinhole

SURFACE = 0.02
"""Share of the nearest depth within which points of one pixel are of one surface."""
NEAREST = 0.02
"""Metres to the nearest point that is drawn."""
BEHIND = 0.3
"""Share of its depth by which a disc must be nearer to hide what is seen between discs."""
SLACK = 1.07
"""Times that a disc may be as wide as a pixel, and still be drawn as one."""


@dataclass(frozen=True, eq=False)
class Points:
    """Attributes:
    place: `[B, N, 3]` in the world.
    features: `[B, N, C]`.
    radius: `[B, N]` metres, half the distance to the next sample of its surface.
    valid: `[B, N]` bool; others are padding.
    """

    place: Tensor
    features: Tensor
    radius: Tensor
    valid: Tensor


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
    """The n points of all scenes that fall on a finer image; scenes lie one below the other.

    Attributes:
        row: `[n]`, with the rows of the scenes above.
        column: `[n]`.
        depth: `[n]`.
        level: `[n]` of the coarsest image in which they are drawn too.
        index: `[n]` of the point, counted through all scenes.
        features: `[B N, C]` of all points, also of those that are not drawn.
    """

    row: Tensor
    column: Tensor
    depth: Tensor
    level: Tensor
    index: Tensor
    features: Tensor


def splat(
    points: Points,
    intrinsics: Tensor,
    poses: Tensor,
    size: tuple[int, int],
    projection: Projection = pinhole,
    finer: int = 2,
    levels: int = 2,
) -> Splatted:
    """Points as a camera sees them; see the head of this file.

    Args:
        points: of B scenes.
        intrinsics: `[B, 3, 3]` of an image of `size`.
        poses: `[B, 4, 4]`.
        size: (h, w).
        projection: of the camera.
        finer: how many times finer the image is drawn.
        levels: L, coarser images beside it, each of half the size of the one before.
    """
    unit = 2**levels
    high, wide = (-(-side * finer // unit) * unit for side in size)
    whole = intrinsics.new_tensor([finer, finer, 1.0])[:, None] * intrinsics
    fine = (size[0] * finer, size[1] * finer)
    drawn = _drawn(points, whole, poses, fine, projection, levels, high)
    shape = (len(points.place) * high, wide)
    values = _layered(drawn, levels, shape)
    values = values.reshape(len(values), -1, high, wide)
    return _averaged(values[..., : fine[0], : fine[1]], finer)


def _drawn(
    points: Points,
    intrinsics: Tensor,
    poses: Tensor,
    size: tuple[int, int],
    projection: Projection,
    levels: int,
    high: int,
) -> _Drawn:
    """Points on an image of `size`, of which each scene takes `high` rows."""
    # One product for a whole scene, each axis side by side in memory.
    turn = poses[:, :3, :3].mT
    local = (turn @ points.place.mT - turn @ poses[:, :3, 3:]).mT
    pixels, depth = projection.project(local, intrinsics[:, None])
    column, row = pixels.floor().unbind(-1)
    if projection.wrap:
        column = column - size[1] * (column / size[1]).floor()
        row = row.clamp(0, size[0] - 1)
    inside = points.valid & (depth > NEAREST) & (column >= 0) & (column < size[1])
    index = (inside & (row >= 0) & (row < size[0])).flatten().nonzero()[:, 0]
    focal = intrinsics[:, 1, 1:2].expand_as(depth)
    parts = (column, row, depth, points.radius, focal)
    column, row, depth, radius, focal = (part.flatten().index_select(0, index) for part in parts)
    disc = 2.0 * radius * focal / depth
    level = torch.zeros_like(index)
    for coarser in range(levels):
        level += disc > SLACK * 2**coarser
    below = index.div(points.valid.shape[1], rounding_mode="floor") * high
    return _Drawn(
        row.long() + below, column.long(), depth, level, index, points.features.flatten(0, 1)
    )


def _layered(drawn: _Drawn, levels: int, shape: tuple[int, int]) -> Tensor:
    """Mean features, depth and mask `[C + 2, B H, W]`: of each pixel the finest image that shows
    anything there, if nothing in another image hides it."""
    layers = [_Layer.of(drawn, level, shape) for level in range(levels + 1)]
    limit = layers[0].limit
    if levels:
        limit = torch.minimum(limit, layers[1].spread(layers[1].nearest * (1 + BEHIND)))
    result = layers[0].mean(limit)
    for layer in layers[1:]:
        shown = (layer.spread(layer.nearest) <= limit) & (result[-1] == 0)
        if bool(shown.any()):
            result = torch.where(shown, layer.spread(layer.mean(layer.limit)), result)
    return result


@dataclass(frozen=True, eq=False)
class _Layer:
    """An image of the pyramid: points drawn in it, their pixels, and the nearest depth of each.

    Attributes:
        level: 0 for the finest.
        drawn: all points.
        which: `[m]` of them that are drawn here; in the finest image all are.
        place: `[m]` their pixels, counted along rows.
        nearest: `[B H / 2^level, W / 2^level]`, infinite where there is nothing.
        limit: of the same shape; what is further is of another surface, and hidden.
    """

    level: int
    drawn: _Drawn
    which: Tensor | slice
    place: Tensor
    nearest: Tensor
    limit: Tensor

    @staticmethod
    def of(drawn: _Drawn, level: int, shape: tuple[int, int]) -> "_Layer":
        high, wide = shape[0] >> level, shape[1] >> level
        which: Tensor | slice = slice(None)
        if level:
            which = (drawn.level >= level).nonzero()[:, 0]
        place = (drawn.row[which] >> level) * wide + (drawn.column[which] >> level)
        depth = drawn.depth[which]
        buffer = depth.new_full((high * wide,), torch.inf)
        nearest = buffer.scatter_reduce(0, place, depth, "amin").reshape(high, wide)
        # A slanted surface spans more depth in a larger pixel.
        slope = SURFACE * (1 if level == 0 else 2 ** (level + 1))
        return _Layer(level, drawn, which, place, nearest, nearest * (1 + slope))

    def mean(self, limit: Tensor) -> Tensor:
        """Mean `[C + 2, .., ..]` over the points of each pixel that are within `limit`."""
        within = limit.flatten().index_select(0, self.place)
        near = (self.drawn.depth[self.which] <= within).nonzero()[:, 0]
        points = near if isinstance(self.which, slice) else self.which[near]
        place = self.place[near]
        drawn = self.drawn
        depth = drawn.depth.index_select(0, points)
        features = drawn.features.index_select(0, drawn.index.index_select(0, points)).to(depth)
        total = depth.new_zeros(features.shape[1] + 2, limit.numel())
        # Channel by channel: whole rows to scattered places take ten times as long.
        for row, each in zip(total, [*features.mT, depth, torch.ones_like(depth)], strict=True):
            row.scatter_add_(0, place, each)
        total[:-1] /= total[-1].clamp_min(1.0)
        total[-1].clamp_(max=1.0)
        return total.reshape(-1, *limit.shape)

    def spread(self, values: Tensor) -> Tensor:
        """Values of its pixels for the pixels of the finest image."""
        for dim in (-2, -1):
            values = values.repeat_interleave(2**self.level, dim) if self.level else values
        return values


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
