"""How far the rays of a camera pass by things, in the things' own axes.

Where a thing is drawn as one bump, a network has to make up what it covers, and over a rollout
corners wear off. The distance at which a ray passes the middle of a thing, measured by the
greatest of the three coordinates in its axes, is the half edge of the smallest cube around that
middle which the ray meets: its level sets are outlines of upright, turned and tilted boxes of any
size, so that a network only has to learn at which value the thing ends.

Legend: B batch, T frames, V views, K things, h w map size, Q samples along a side of a map cell.
"""

import torch
from einops import rearrange
from torch import Tensor

from worldsim.cameras.projection import pixel_grid, scale_intrinsics
from worldsim.models.tabletop.scene_points import ScenePoint, point_headings, point_positions

SAMPLES = 4
"""Q: a cell is several pixels wide, and edges cross it."""
REACH = 0.06
"""Metres from the middle of a thing at which it is no longer drawn."""
SILHOUETTE_CHANNELS = SAMPLES**2


def cube_distance(moment: Tensor, direction: Tensor) -> Tensor:
    """Least greatest coordinate over the points of lines, `[...]` in the units of the moment.

    The distance of a line to the origin in the maximum norm, by duality the greatest of
    |m_k| / (|d_i| + |d_j|) over the three choices of k.

    Args:
        moment: `[..., 3]`, o x d of a point o of the line.
        direction: `[..., 3]`, d, of any length but zero.
    """
    size = direction.abs()
    others = size.sum(dim=-1, keepdim=True) - size
    return (moment.abs() / others.clamp_min(1e-9)).amax(dim=-1)


def point_poses(state: Tensor, points: tuple[ScenePoint, ...]) -> Tensor:
    """Things to world, `[..., K, 4, 4]`, out of states `[..., S]` in physical units.

    What has no heading lies along the axes of the world, what has no tilt stands upright.
    """
    headings = point_headings(state, points)
    fold = state.new_tensor([max(point.fold, 1) for point in points])
    yaw = torch.atan2(headings[..., 1], headings[..., 0]) / fold
    flat = torch.zeros_like(state[..., :2])
    leans = [flat if p.tilt is None else state[..., list(p.tilt)] for p in points]
    lean = torch.stack(leans, dim=-2)
    rise = (1.0 - lean.square().sum(dim=-1, keepdim=True)).clamp_min(0.0).sqrt()
    up = torch.nn.functional.normalize(torch.cat([lean, rise], dim=-1), dim=-1)
    ahead = torch.stack([yaw.cos(), yaw.sin(), torch.zeros_like(yaw)], dim=-1)
    ahead = ahead - (ahead * up).sum(dim=-1, keepdim=True) * up
    ahead = torch.nn.functional.normalize(ahead, dim=-1)
    axes = torch.stack([ahead, torch.linalg.cross(up, ahead), up], dim=-1)
    upper = torch.cat([axes, point_positions(state, points)[..., None]], dim=-1)
    last = state.new_tensor([0.0, 0.0, 0.0, 1.0]).expand(*upper.shape[:-2], 1, 4)
    return torch.cat([upper, last], dim=-2)


def silhouette_maps(
    things: Tensor, intrinsics: Tensor, cameras: Tensor, size: tuple[int, int]
) -> Tensor:
    """`[B, T, V, K * SILHOUETTE_CHANNELS, h, w]`: 1 where a ray meets the middle of a thing,
    falling to 0 where it passes at `REACH`; the samples of a cell, row by row, are its channels.

    Args:
        things: `[B, T, K, 4, 4]` things to world.
        intrinsics: K of the cameras in cells of the map, `[B, 1, V, 3, 3]`.
        cameras: `[B, T, V, 4, 4]` cameras to world.
        size: (h, w).
    """
    height, width = SAMPLES * size[0], SAMPLES * size[1]
    fine = scale_intrinsics(intrinsics, float(SAMPLES))
    back = things[:, :, None, :, :3, :3].mT
    offset = cameras[:, :, :, None, :3, 3] - things[:, :, None, :, :3, 3]
    origin = torch.einsum("...ij,...j->...i", back, offset)
    turned = back @ (cameras[..., :3, :3] @ torch.linalg.inv(fine)).unsqueeze(3)
    moments = torch.linalg.cross(origin[..., None].expand_as(turned), turned, dim=-2)
    grid = pixel_grid(height, width, things).flatten(0, 1)
    lines = torch.cat([moments, turned], dim=-2) @ grid.mT
    distance = cube_distance(lines[..., :3, :].mT, lines[..., 3:, :].mT)
    depth = -(cameras[:, :, :, None, :3, 2] * offset).sum(dim=-1)
    near = (1.0 - distance / REACH).clamp_min(0.0) * (depth > 0)[..., None]
    return rearrange(
        near, "b t v k (h p w q) -> b t v (k p q) h w", h=size[0], p=SAMPLES, q=SAMPLES
    )
