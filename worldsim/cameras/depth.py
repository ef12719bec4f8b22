"""Depth of both kinds, and points of pixels; `worldsim.cameras.splat` draws points again.

Legend: H W pixels. Metres; poses are camera to world.
"""

import torch
from torch import Tensor

from worldsim.cameras.projection import Projection, pinhole
from worldsim.errors import UsageError
from worldsim.spec import DepthKind


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
