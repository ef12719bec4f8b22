"""Pinhole projection and rays. Cameras are OpenCV (x right, y down, z forward).

Shapes: K `[..., 3, 3]` in pixels of an H x W image with half-pixel centres, poses `[..., 4, 4]`
camera to world, metres.
"""

import torch
from torch import Tensor


def mounted_poses(extrinsics: Tensor, mounted: Tensor, carrier: Tensor) -> Tensor:
    """World poses of cameras of which some ride on a moving frame.

    Args:
        extrinsics: `[B, V, 4, 4]` camera to parent.
        mounted: `[B, V]` bool, parent is the carrier rather than the world.
        carrier: `[B, T, 4, 4]` carrier to world.

    Returns:
        `[B, T, V, 4, 4]` camera to world.
    """
    riding = carrier.unsqueeze(2) @ extrinsics.unsqueeze(1)
    fixed = extrinsics.unsqueeze(1).expand_as(riding)
    return torch.where(mounted[:, None, :, None, None], riding, fixed)


def project(points: Tensor, intrinsics: Tensor, poses: Tensor) -> tuple[Tensor, Tensor]:
    """World points `[..., 3]` to pixel coordinates `[..., 2]` and planar depth `[...]`.

    The depth is negative behind the camera; coordinates there mean nothing.
    """
    relative = points - poses[..., :3, 3]
    camera = torch.einsum("...ji,...j->...i", poses[..., :3, :3], relative)
    depth = camera[..., 2]
    safe = torch.where(depth.abs() < 1e-6, torch.full_like(depth, 1e-6), depth)
    normalised = torch.cat(
        [camera[..., :2] / safe[..., None], torch.ones_like(depth)[..., None]], -1
    )
    return torch.einsum("...ij,...j->...i", intrinsics, normalised)[..., :2], depth


def pixel_grid(height: int, width: int, like: Tensor) -> Tensor:
    """Homogeneous pixel centres `[height, width, 3]`."""
    v, u = torch.meshgrid(
        torch.arange(height, device=like.device, dtype=like.dtype) + 0.5,
        torch.arange(width, device=like.device, dtype=like.dtype) + 0.5,
        indexing="ij",
    )
    return torch.stack([u, v, torch.ones_like(u)], dim=-1)


def plucker_rays(intrinsics: Tensor, poses: Tensor, height: int, width: int) -> Tensor:
    """Plücker coordinates of every pixel's ray: direction, then moment o x d.

    Args:
        intrinsics: `[..., 3, 3]`, scaled to a `height` x `width` image.
        poses: `[..., 4, 4]`.

    Returns:
        `[..., 6, height, width]`; directions are unit, moments in metres.
    """
    grid = pixel_grid(height, width, poses)
    inverse = torch.linalg.inv(intrinsics)
    directions = torch.einsum("...ij,...jk,hwk->...hwi", poses[..., :3, :3], inverse, grid)
    directions = torch.nn.functional.normalize(directions, dim=-1)
    origins = poses[..., None, None, :3, 3].expand_as(directions)
    rays = torch.cat([directions, torch.linalg.cross(origins, directions)], dim=-1)
    return rays.movedim(-1, -3)


def scale_intrinsics(intrinsics: Tensor, factor: float) -> Tensor:
    """K of the same camera with its image resized by `factor` (half-pixel centres kept)."""
    scale = torch.diag(intrinsics.new_tensor([factor, factor, 1.0]))
    return scale @ intrinsics


def splat_gaussian(pixels: Tensor, depth: Tensor, height: int, width: int, radius: float) -> Tensor:
    """A Gaussian bump of standard deviation `radius` pixels at `pixels` `[..., 2]`.

    Returns:
        `[..., height, width]` in [0, 1]; all zero for points behind the camera.
    """
    centres = pixel_grid(height, width, pixels)[..., :2]
    offset = centres - pixels[..., None, None, :]
    bump = torch.exp(-offset.square().sum(-1) / (2 * radius**2))
    return bump * (depth > 0)[..., None, None]
