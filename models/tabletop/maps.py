"""Pixel-aligned maps of a step: where hand and things are, where the action takes them.

Actions that enter only as tokens are nearly inert (GigaWorld-1, 2607.02642: trajectory accuracy
.162 for cross-attention against .353 for channel-concatenated pixel-aligned maps). The same holds
for the places of things, so those a state names are drawn too.

Legend: B batch, T frames, V views, A action, P proprioception, S state, K scene points,
h w map size.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.cameras.poses import (
    matrix_from_6d,
    mounted_poses,
    pose_matrix,
    require_carriers,
)
from worldsim.cameras.projection import (
    camera_rays,
    project,
    scale_intrinsics,
    splat_gaussian,
)
from worldsim.models.tabletop.scene_points import ScenePoint, point_headings, point_positions
from worldsim.models.tabletop.silhouettes import SILHOUETTE_CHANNELS, point_poses, silhouette_maps
from worldsim.spec import EE_POSITION, EE_ROTATION_6D, END_EFFECTOR, GRIPPER_WIDTH, WorldSpec

HAND_CHANNELS = 12
POINT_CHANNELS = 5
TILT_CHANNELS = 2
RAY_CHANNELS = 12
BUMP_RADIUS = 0.7
"""Standard deviation of a bump in cells of the map."""
HEIGHT_GAIN = 5.0
"""Metres to map units, so that heights over a table are of the order of one."""
WIDTH_GAIN = 10.0
"""Metres to map units, so that openings of a gripper are of the order of one."""


def map_names(points: tuple[ScenePoint, ...]) -> list[str]:
    """What each channel of `body_maps` is about, a name for each of the M."""

    def several(name: str, count: int) -> list[str]:
        return [f"{name}_{index}" for index in range(count)]

    return [
        *several("hand", HAND_CHANNELS),
        *(name for p in points for name in several(f"{p.name}_point", POINT_CHANNELS)),
        *(name for p in points if p.tilt for name in several(f"{p.name}_tilt", TILT_CHANNELS)),
        *several("rays", RAY_CHANNELS),
        *several("hand_outline", SILHOUETTE_CHANNELS),
        *(name for p in points for name in several(f"{p.name}_outline", SILHOUETTE_CHANNELS)),
    ]


def map_channels(points: tuple[ScenePoint, ...]) -> int:
    """M, the number of channels of `body_maps`."""
    return len(map_names(points))


@dataclass(frozen=True)
class RigTensors:
    """Calibration of a batch: intrinsics `[B,V,3,3]` in image pixels, extrinsics `[B,V,4,4]`,
    mounted `[B,V]` bool, known `[B]` bool (False: no calibration, maps are zero)."""

    intrinsics: Tensor
    extrinsics: Tensor
    mounted: Tensor
    known: Tensor


@dataclass(frozen=True)
class BodyPair:
    """Before an action and after it, in physical units.

    Attributes:
        agent_pos: two of `[B, T, P]`.
        state: two of `[B, T, S]`.
    """

    agent_pos: tuple[Tensor, Tensor]
    state: tuple[Tensor, Tensor]


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


def body_maps(
    action: Tensor,
    bodies: BodyPair,
    points: tuple[ScenePoint, ...],
    rig: RigTensors,
    spec: WorldSpec,
    size: tuple[int, int],
) -> Tensor:
    """Maps for frames reached by `action`.

    Channels: the hand (see `hand_maps`), each point (see `point_maps`), Plücker rays of the camera
    as it will stand (6) and their change (6), then how hand and points will be seen (see
    `silhouette_maps`).

    Args:
        action: `[B, T, A]`, the action that leads to each frame.
        bodies: before it and after it.
        points: entries of the state to draw.
        rig: calibration in pixels of the spec's images.
        size: (h, w) of the maps.

    Returns:
        `[B, T, V, M, h, w]`; zeros where the calibration or the hand is unknown.

    Raises:
        UsageError: a camera is mounted on a pose that proprioception does not tell.
    """
    height, width = size
    start, end = (end_effector_pose(agent_pos, spec) for agent_pos in bodies.agent_pos)
    has_hand = start is not None and end is not None
    mounted = rig.mounted & (rig.known > 0)[:, None]
    require_carriers(spec.cameras, mounted, (END_EFFECTOR,) if has_hand else ())
    if start is None or end is None:
        start = end = torch.eye(4, device=action.device).expand(*action.shape[:2], 4, 4)
    intrinsics = scale_intrinsics(rig.intrinsics, height / spec.cameras[0].height).unsqueeze(1)
    now = mounted_poses(rig.extrinsics, rig.mounted, start)
    after = mounted_poses(rig.extrinsics, rig.mounted, end)
    rays_now = camera_rays(spec.cameras, intrinsics, now, height, width)
    rays_after = camera_rays(spec.cameras, intrinsics, after, height, width)
    rays = torch.cat([rays_after, 10.0 * (rays_after - rays_now)], dim=3)
    hand = hand_maps(action, bodies.agent_pos[1], (start, end), intrinsics, after, spec, size)
    parts = [hand if has_hand else torch.zeros_like(hand)]
    if points:
        parts.append(point_maps(bodies.state, points, intrinsics, now, after, size))
    things = (
        [end.unsqueeze(2), point_poses(bodies.state[1], points)] if points else [end[:, :, None]]
    )
    seen = silhouette_maps(torch.cat(things, dim=2), intrinsics, after, size)
    if not has_hand:
        seen[:, :, :, :SILHOUETTE_CHANNELS] = 0.0
    maps = torch.cat([*parts, rays, seen], dim=3)
    return maps * rig.known[:, None, None, None, None, None]


def hand_maps(
    action: Tensor,
    agent_pos: Tensor,
    poses: tuple[Tensor, Tensor],
    intrinsics: Tensor,
    cameras: Tensor,
    spec: WorldSpec,
    size: tuple[int, int],
) -> Tensor:
    """`[B, T, V, HAND_CHANNELS, h, w]`: bump where the hand was, bump where it will be, the latter
    times (image displacement u, v; height; gripper command; opening of the gripper; its x and y
    axes along u and v), the former times height.

    All are seen from `cameras` `[B, T, V, 4, 4]`; `agent_pos` is proprioception after the action.
    """
    height, width = size
    start, end = poses
    start_point, end_point = start[:, :, None, :3, 3], end[:, :, None, :3, 3]
    start_pixel, start_depth = project(start_point, intrinsics, cameras)
    end_pixel, end_depth = project(end_point, intrinsics, cameras)
    at_start = splat_gaussian(start_pixel, start_depth, height, width, BUMP_RADIUS)
    at_end = splat_gaussian(end_pixel, end_depth, height, width, BUMP_RADIUS)
    shift = (end_pixel - start_pixel).clamp(-2.0, 2.0)[..., None, None]
    grip = _entry(action, spec.action.names, "grip")
    opening = WIDTH_GAIN * _entry(agent_pos, spec.agent_pos.names, GRIPPER_WIDTH)
    axes = torch.einsum("...vji,...jk->...vik", cameras[..., :3, :3], end[..., :3, :3])
    channels = [
        at_start,
        at_end,
        at_end * shift[..., 0, :, :],
        at_end * shift[..., 1, :, :],
        at_end * HEIGHT_GAIN * end_point[..., 2, None, None],
        at_end * grip[:, :, None, None, None],
        at_end * opening[:, :, None, None, None],
        *(at_end * axes[..., i, k, None, None] for i in (0, 1) for k in (0, 1)),
        at_start * HEIGHT_GAIN * start_point[..., 2, None, None],
    ]
    return torch.stack(channels, dim=3)


def _entry(vector: Tensor, names: tuple[str, ...], name: str) -> Tensor:
    """The entry of that name `[...]` out of `[..., N]`; zeros where there is none."""
    return vector[..., names.index(name)] if name in names else vector.new_zeros(vector.shape[:-1])


def point_maps(
    state: tuple[Tensor, Tensor],
    points: tuple[ScenePoint, ...],
    intrinsics: Tensor,
    now: Tensor,
    after: Tensor,
    size: tuple[int, int],
) -> Tensor:
    """`[B, T, V, K * POINT_CHANNELS + tilting * TILT_CHANNELS, h, w]`: for each point a bump where
    it was, seen from where the cameras were, and one where it will be, also times height and times
    cosine and sine of the heading as the camera sees it (of the axes of the world for what has
    none); then, for each that can tilt, the latter
    bump times the tilt along u and v."""
    height, width = size
    maps = []
    for views, places in ((now, state[0]), (after, state[1])):
        at = point_positions(places, points)[:, :, None]
        pixel, depth = project(at, intrinsics.unsqueeze(3), views.unsqueeze(3))
        maps.append(splat_gaussian(pixel, depth, height, width, BUMP_RADIUS))
    was, bump = maps
    heading = _seen_headings(state[1], points, after)[..., None, None]
    rise = HEIGHT_GAIN * point_positions(state[1], points)[:, :, None, :, 2, None, None]
    channels = [was, bump, bump * rise, bump * heading[..., 0, :, :], bump * heading[..., 1, :, :]]
    parts = [torch.stack(channels, dim=4).flatten(3, 4)]
    for index, point in enumerate(points):
        if point.tilt is not None:
            lean = state[1][..., list(point.tilt)]
            seen = torch.einsum("btvji,btj->btvi", after[..., :2, :2], lean)[..., None, None]
            parts.append(bump[:, :, :, index, None] * seen)
    return torch.cat(parts, dim=3)


def _seen_headings(state: Tensor, points: tuple[ScenePoint, ...], cameras: Tensor) -> Tensor:
    """Headings relative to the cameras' x axes on the ground, `[B, T, V, K, 2]`.

    A thing whose state has no heading is taken to lie along the axes of the world.
    """
    fold = state.new_tensor([max(point.fold, 1) for point in points])
    fixed = state.new_tensor([float(not point.fold) for point in points])
    yaw = torch.atan2(cameras[..., 1, 0], cameras[..., 0, 0])[..., None] * fold
    cos, sin = point_headings(state, points)[:, :, None].unbind(dim=-1)
    cos = cos + fixed
    turned = [cos * yaw.cos() + sin * yaw.sin(), sin * yaw.cos() - cos * yaw.sin()]
    return torch.stack(turned, dim=-1)
