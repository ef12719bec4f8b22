"""Pixel-aligned maps of an end-effector action: where the hand is, where it is told to go.

Actions that enter only as tokens are nearly inert (GigaWorld-1, 2607.02642: trajectory accuracy
.162 for cross-attention against .353 for channel-concatenated pixel-aligned maps).

Legend: B batch, T frames, V views, A action, P proprioception, h w map size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.geometry.projection import (
    mounted_poses,
    plucker_rays,
    project,
    scale_intrinsics,
    splat_gaussian,
)
from worldsim.geometry.rotations import matrix_from_6d, pose_matrix, rotation_about_z
from worldsim.specs import EE_POSITION, EE_ROTATION_6D, WorldSpec

HAND_CHANNELS = 7
RAY_CHANNELS = 12
MAP_CHANNELS = HAND_CHANNELS + RAY_CHANNELS


@dataclass(frozen=True)
class RigTensors:
    """Calibration of a batch: intrinsics `[B,V,3,3]` in image pixels, extrinsics `[B,V,4,4]`,
    mounted `[B,V]` bool, known `[B]` bool (False: no calibration, maps are zero)."""

    intrinsics: Tensor
    extrinsics: Tensor
    mounted: Tensor
    known: Tensor


def end_effector_pose(agent_pos: Tensor, spec: WorldSpec) -> Tensor | None:
    """End effector to world `[..., 4, 4]` out of `[..., P]`, or None if the spec has no position.

    A robot that reports no rotation is taken to keep its hand aligned with the world.
    """
    position = spec.agent_pos.indices(*EE_POSITION)
    if position is None:
        return None
    where = agent_pos[..., list(position)]
    turned = spec.agent_pos.indices(*EE_ROTATION_6D)
    if turned is None:
        rotation = torch.eye(3, device=where.device, dtype=where.dtype).expand(
            *where.shape[:-1], 3, 3
        )
    else:
        rotation = matrix_from_6d(agent_pos[..., list(turned)])
    return pose_matrix(rotation, where)


def commanded_pose(pose: Tensor, action: Tensor, spec: WorldSpec) -> Tensor:
    """The pose `[..., 4, 4]` that `action` `[..., A]` asks for, from `pose`.

    Actions that do not displace the end effector in the world leave it where it is.
    """
    if not spec.action.moves_end_effector:
        return pose
    physical = action * action.new_tensor(spec.action.scale)
    position = pose[..., :3, 3] + physical[..., :3]
    rotation = pose[..., :3, :3]
    if "dyaw" in spec.action.names:
        rotation = rotation_about_z(physical[..., spec.action.names.index("dyaw")]) @ rotation
    return pose_matrix(rotation, position)


def action_maps(
    action: Tensor, agent_pos: Tensor, rig: RigTensors, spec: WorldSpec, size: tuple[int, int]
) -> Tensor:
    """Maps for frames reached by `action` from a hand at `agent_pos`.

    Channels: bump at the hand, bump at its target, target bump times (image displacement u, v;
    height; gripper command), hand bump times height, then Plücker rays of the camera as it will
    stand (6) and their change (6).

    Args:
        action: `[B, T, A]`, the action that leads to each frame.
        agent_pos: `[B, T, P]` before that action, physical units.
        rig: calibration in pixels of the spec's images.
        size: (h, w) of the maps.

    Returns:
        `[B, T, V, MAP_CHANNELS, h, w]`; zeros where the calibration or the hand is unknown.
    """
    height, width = size
    pose = end_effector_pose(agent_pos, spec)
    if pose is None:
        pose = torch.eye(4, device=action.device).expand(*action.shape[:2], 4, 4)
        has_hand = False
    else:
        has_hand = True
    target = commanded_pose(pose, action, spec)
    intrinsics = scale_intrinsics(rig.intrinsics, height / spec.cameras[0].height).unsqueeze(1)
    now = mounted_poses(rig.extrinsics, rig.mounted, pose)
    after = mounted_poses(rig.extrinsics, rig.mounted, target)
    rays_now = plucker_rays(intrinsics, now, height, width)
    rays_after = plucker_rays(intrinsics, after, height, width)
    rays = torch.cat([rays_after, 10.0 * (rays_after - rays_now)], dim=3)
    hand = hand_maps(action, pose, target, intrinsics, now, spec, size)
    if not has_hand:
        hand = torch.zeros_like(hand)
    maps = torch.cat([hand, rays], dim=3)
    return maps * rig.known[:, None, None, None, None, None]


def hand_maps(
    action: Tensor,
    pose: Tensor,
    target: Tensor,
    intrinsics: Tensor,
    cameras: Tensor,
    spec: WorldSpec,
    size: tuple[int, int],
) -> Tensor:
    """The first HAND_CHANNELS of `action_maps`, seen from the cameras as they stand now."""
    height, width = size
    start, end = pose[:, :, None, :3, 3], target[:, :, None, :3, 3]
    start_pixel, start_depth = project(start, intrinsics, cameras)
    end_pixel, end_depth = project(end, intrinsics, cameras)
    at_start = splat_gaussian(start_pixel, start_depth, height, width, radius=0.7)
    at_end = splat_gaussian(end_pixel, end_depth, height, width, radius=0.7)
    shift = (end_pixel - start_pixel).clamp(-2.0, 2.0)[..., None, None]
    grip = torch.zeros_like(action[..., 0])
    if "grip" in spec.action.names:
        grip = action[..., spec.action.names.index("grip")]
    height_now = 5.0 * start[..., 2, None, None]
    height_after = 5.0 * end[..., 2, None, None]
    channels = [
        at_start,
        at_end,
        at_end * shift[..., 0, :, :],
        at_end * shift[..., 1, :, :],
        at_end * height_after,
        at_end * grip[:, :, None, None, None],
        at_start * height_now,
    ]
    return torch.stack(channels, dim=3)
