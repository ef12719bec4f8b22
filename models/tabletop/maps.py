"""Conditioners of a table: where hand and objects are, and where the action takes them.

As actions, the places of things that enter only as tokens are nearly inert, so those that a state
names are drawn too.

Legend: B batch, T frames, V views, A action, P proprioception, S objects, K scene points,
h w map size.
"""

import torch
from torch import Tensor

from worldsim.cameras.poses import matrix_from_6d, pose_matrix
from worldsim.cameras.projection import project, splat_gaussian
from worldsim.errors import UsageError
from worldsim.memory.view import MemoryView
from worldsim.models.conditioners.base import Conditioner, numbered, register_conditioner
from worldsim.models.conditioners.steps import StepGeometry
from worldsim.models.tabletop.scene_points import (
    ScenePoint,
    point_headings,
    point_positions,
    scene_points,
)
from worldsim.models.tabletop.silhouettes import SILHOUETTE_CHANNELS, point_poses, silhouette_maps
from worldsim.spec import EE_POSITION, EE_ROTATION_6D, GRIPPER_WIDTH, PINHOLE, WorldSpec

HAND_CHANNELS = 12
POINT_CHANNELS = 5
TILT_CHANNELS = 2
BUMP_RADIUS = 0.7
"""Standard deviation of a bump in cells of the map."""
HEIGHT_GAIN = 5.0
"""Metres to map units, so that heights over a table are of the order of one."""
WIDTH_GAIN = 10.0
"""Metres to map units, so that openings of a gripper are of the order of one."""


@register_conditioner("effector")
class Effector(Conditioner):
    """The hand, see `hand_maps`; zeros where proprioception has no end effector."""

    def __init__(self, spec: WorldSpec, *, objects: bool) -> None:
        super().__init__(spec, objects=objects)
        self.channels = numbered("hand", HAND_CHANNELS)
        if spec.agent_pos.indices(*EE_POSITION) is not None:
            _require_pinhole(spec, "effector")

    def maps(self, step: StepGeometry, memory: MemoryView | None) -> Tensor:
        """See the class."""
        start, end = (end_effector_pose(agent_pos, self.spec) for agent_pos in step.agent_pos)
        if start is None or end is None:
            views = len(self.spec.cameras)
            return step.action.new_zeros(
                *step.action.shape[:2], views, len(self.channels), *step.size
            )
        return hand_maps(
            step.action,
            step.agent_pos[1],
            (start, end),
            step.intrinsics,
            step.cameras[1],
            self.spec,
            step.size,
        )


@register_conditioner("objects")
class Objects(Conditioner):
    """The scene points among the tracked objects, see `point_maps`."""

    def __init__(self, spec: WorldSpec, *, objects: bool) -> None:
        super().__init__(spec, objects=objects)
        self.points = scene_points(spec.state) if objects else ()
        bumps = [numbered(f"{p.name}_point", POINT_CHANNELS) for p in self.points]
        tilts = [numbered(f"{p.name}_tilt", TILT_CHANNELS) for p in self.points if p.tilt]
        self.channels = tuple(name for names in (*bumps, *tilts) for name in names)
        if self.points:
            _require_pinhole(spec, "objects")

    def maps(self, step: StepGeometry, memory: MemoryView | None) -> Tensor:
        """See the class."""
        if not self.points:
            views = len(self.spec.cameras)
            return step.action.new_zeros(*step.action.shape[:2], views, 0, *step.size)
        return point_maps(step.objects, self.points, step.intrinsics, *step.cameras, step.size)


@register_conditioner("outlines")
class Outlines(Conditioner):
    """How hand and scene points will be seen, see `silhouette_maps`; zeros without a hand."""

    def __init__(self, spec: WorldSpec, *, objects: bool) -> None:
        super().__init__(spec, objects=objects)
        self.points = scene_points(spec.state) if objects else ()
        things = ("hand", *(point.name for point in self.points))
        each = [numbered(f"{name}_outline", SILHOUETTE_CHANNELS) for name in things]
        self.channels = tuple(name for names in each for name in names)
        if self.points or spec.agent_pos.indices(*EE_POSITION) is not None:
            _require_pinhole(spec, "outlines")

    def maps(self, step: StepGeometry, memory: MemoryView | None) -> Tensor:
        """See the class."""
        hand = end_effector_pose(step.agent_pos[1], self.spec)
        things = torch.eye(4, device=step.action.device).expand(*step.action.shape[:2], 1, 4, 4)
        if hand is not None:
            things = hand.unsqueeze(2)
        if self.points:
            things = torch.cat([things, point_poses(step.objects[1], self.points)], dim=2)
        seen = silhouette_maps(things, step.intrinsics, step.cameras[1], step.size)
        if hand is None:
            seen[:, :, :, :SILHOUETTE_CHANNELS] = 0.0
        return seen


def _require_pinhole(spec: WorldSpec, name: str) -> None:
    """Refuse cameras in whose images this conditioner would draw at wrong places."""
    others = {c.name: c.projection for c in spec.cameras if c.projection != PINHOLE}
    if others:
        raise UsageError(
            f"conditioner {name!r} draws into pinhole images, and cameras are {others}; leave it "
            "out of model.conditioners (rays follow every projection)"
        )


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
