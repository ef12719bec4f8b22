"""Depth and points: planar to radial and back, pixels to points, points to pixels by a z-buffer.

Legend: B scenes, N points, C features, H W pixels. Metres; poses are camera to world.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.cameras.projection import Projection, pinhole, project
from worldsim.errors import UsageError
from worldsim.spec import DepthKind

_SURFACE = 0.02
"""Share of the nearest depth within which points of one pixel are of one surface."""


def forward_share(projection: Projection, intrinsics: Tensor, height: int, width: int) -> Tensor:
    """Planar over radial depth `[..., H, W]`: how far each pixel's unit ray goes along the axis."""
    eye = torch.eye(3, dtype=intrinsics.dtype, device=intrinsics.device)
    rays = projection.rays(intrinsics, eye.expand(*intrinsics.shape[:-2], 3, 3), height, width)
    return rays[..., 2, :, :]


def convert_depth(
    depth: Tensor,
    given: DepthKind,
    wanted: DepthKind,
    projection: Projection,
    intrinsics: Tensor,
) -> Tensor:
    """Depth `[..., H, W]` of the other kind; unknown values (NaN, infinity) stay.

    Planar depth of a panorama is negative behind the camera, and zero on its horizon's sides.

    Args:
        depth: metres.
        given: its kind.
        wanted: kind to return.
        projection: of the cameras.
        intrinsics: `[..., 3, 3]`.

    Raises:
        UsageError: a kind is neither planar nor radial.
    """
    for kind in (given, wanted):
        if kind not in ("planar", "radial"):
            raise UsageError(
                f"depth of kind {kind!r}; expected planar (along the axis) or radial (from the "
                "camera's centre): depth without its kind means nothing"
            )
    if given == wanted:
        return depth
    share = forward_share(projection, intrinsics, *depth.shape[-2:])
    return depth / share if wanted == "radial" else depth * share


def unproject(
    depth: Tensor,
    kind: DepthKind,
    intrinsics: Tensor,
    poses: Tensor,
    projection: Projection = pinhole,
) -> Tensor:
    """World points `[..., H, W, 3]` of pixels.

    Args:
        depth: `[..., H, W]` metres.
        kind: of the depth.
        intrinsics: `[..., 3, 3]`.
        poses: `[..., 4, 4]`.
        projection: of the cameras.
    """
    radial = convert_depth(depth, kind, "radial", projection, intrinsics)
    rays = projection.rays(intrinsics, poses[..., :3, :3], *depth.shape[-2:])
    points = radial[..., None, :, :] * rays + poses[..., :3, 3, None, None]
    return points.movedim(-3, -1)


@dataclass(frozen=True, eq=False)
class Splatted:
    """What points look like from a camera.

    Attributes:
        features: `[B, C, H, W]`, zero where nothing is seen.
        depth: `[B, H, W]` of the projection's kind, metres, zero where nothing is seen.
        mask: `[B, H, W]` bool, where something is seen.
    """

    features: Tensor
    depth: Tensor
    mask: Tensor


def splat_points(
    points: Tensor,
    features: Tensor,
    valid: Tensor,
    intrinsics: Tensor,
    poses: Tensor,
    height: int,
    width: int,
    projection: Projection = pinhole,
    surface: float = _SURFACE,
) -> Splatted:
    """Points drawn with a z-buffer: of each pixel, the mean of its nearest surface.

    A point fills the one pixel that it falls on. Nearer points hide those that are further by more
    than a share of the depth. Cost grows with points and pixels; there is no loop over either.

    Args:
        points: `[B, N, 3]` in the world.
        features: `[B, N, C]`.
        valid: `[B, N]` bool; others are padding.
        intrinsics: `[B, 3, 3]` of a `height` x `width` image.
        poses: `[B, 4, 4]`.
        height: rows.
        width: columns.
        projection: of the camera.
        surface: share of the nearest depth that counts as one surface.
    """
    rows, count, channels = features.shape
    pixels, depth = project(points, intrinsics[:, None], poses[:, None], projection)
    column, row = pixels.floor().long().unbind(-1)
    if projection.wrap:
        column = column % width
        row = row.clamp(0, height - 1)
    inside = valid & (depth > 1e-6) & (column >= 0) & (column < width) & (row >= 0)
    inside = inside & (row < height)
    scene = torch.arange(rows, device=points.device)[:, None] * (height * width)
    # What is outside goes to one place more, which is cut off.
    place = torch.where(inside, scene + row * width + column, rows * height * width).reshape(-1)
    cells = rows * height * width + 1
    flat = depth.reshape(-1)
    nearest = flat.new_full((cells,), torch.inf).scatter_reduce(0, place, flat, "amin")
    kept = (flat <= nearest[place] * (1 + surface)).to(features.dtype)
    values = torch.cat([features.reshape(-1, channels), flat[:, None].to(features)], dim=1)
    total = values.new_zeros(cells, channels + 1).index_add(0, place, values * kept[:, None])
    hits = kept.new_zeros(cells).index_add(0, place, kept)
    mean = (total / hits.clamp_min(1)[:, None])[:-1].reshape(rows, height, width, channels + 1)
    mask = (hits[:-1] > 0).reshape(rows, height, width)
    mean = torch.where(mask[..., None], mean, torch.zeros_like(mean))
    return Splatted(mean[..., :-1].movedim(-1, 1), mean[..., -1], mask)
