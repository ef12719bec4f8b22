"""Conditioners of a table: where hand and objects are, and where the action takes them.

As actions, the places of things that enter only as tokens are nearly inert, so those that a state
names are drawn too.

Legend: B batch, T frames, V views, A action, P proprioception, S objects, K scene points or other
things, h w map size, Q samples along a side of a map cell.
"""

import torch
from einops import rearrange
from torch import Tensor

from worldsim.cameras.poses import (
    ScenePoint,
    end_effector_frame,
    point_headings,
    point_poses,
    point_positions,
    scene_points,
)
from worldsim.cameras.projection import pixel_grid, project, scale_intrinsics, splat_gaussian
from worldsim.errors import UsageError
from worldsim.memory.view import MemoryView
from worldsim.models.conditioners.base import Conditioner, numbered, register_conditioner
from worldsim.models.conditioners.steps import StepGeometry
from worldsim.spec import GRIPPER_WIDTH, PINHOLE, WorldSpec

HAND_CHANNELS = 12
POINT_CHANNELS = 5
TILT_CHANNELS = 2
BUMP_RADIUS = 0.7
"""Standard deviation of a bump in cells of the map."""
HEIGHT_GAIN = 5.0
"""Metres to map units, so that heights over a table are of the order of one."""
WIDTH_GAIN = 10.0
"""Metres to map units, so that openings of a gripper are of the order of one."""
SAMPLES = 4
"""Q: a cell is several pixels wide, and edges cross it."""
REACH = 0.06
"""Metres from the middle of a thing at which it is no longer drawn."""
SILHOUETTE_CHANNELS = SAMPLES**2


@register_conditioner("effector")
class Effector(Conditioner):
    """A bump where the hand was, and one where it will be. The latter times image displacement u,
    v; height; gripper command; opening of the gripper; its x and y axes along u and v. The former
    times height. Zeros where proprioception has no end effector."""

    def __init__(self, spec: WorldSpec, *, objects: bool) -> None:
        super().__init__(spec, objects=objects)
        self.channels = numbered("hand", HAND_CHANNELS)
        self.hand = end_effector_frame(spec.agent_pos)
        self.grip = _place("grip", spec.action.names)
        self.opening = _place(GRIPPER_WIDTH, spec.agent_pos.names)
        if self.hand is not None:
            _require_pinhole(spec, "effector")

    def maps(self, step: StepGeometry, memory: MemoryView | None) -> Tensor:
        """See the class; all is seen from where the cameras will stand."""
        cameras, (height, width) = step.cameras[1], step.size
        if self.hand is None:
            return step.action.new_zeros(*cameras.shape[:3], HAND_CHANNELS, height, width)
        start, end = (self.hand.pose(agent_pos) for agent_pos in step.agent_pos)
        start_point, end_point = start[:, :, None, :3, 3], end[:, :, None, :3, 3]
        start_pixel, start_depth = project(start_point, step.intrinsics, cameras)
        end_pixel, end_depth = project(end_point, step.intrinsics, cameras)
        at_start = splat_gaussian(start_pixel, start_depth, height, width, BUMP_RADIUS)
        at_end = splat_gaussian(end_pixel, end_depth, height, width, BUMP_RADIUS)
        shift = (end_pixel - start_pixel).clamp(-2.0, 2.0)[..., None, None]
        grip = _entry(step.action, self.grip)
        opening = WIDTH_GAIN * _entry(step.agent_pos[1], self.opening)
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
            return step.action.new_zeros(*step.cameras[1].shape[:3], 0, *step.size)
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
        self.hand = end_effector_frame(spec.agent_pos)
        if self.points or self.hand is not None:
            _require_pinhole(spec, "outlines")

    def maps(self, step: StepGeometry, memory: MemoryView | None) -> Tensor:
        """See the class."""
        if self.hand is not None:
            things = self.hand.pose(step.agent_pos[1]).unsqueeze(2)
        else:
            things = torch.eye(4, device=step.action.device).expand(*step.action.shape[:2], 1, 4, 4)
        if self.points:
            things = torch.cat([things, point_poses(step.objects[1], self.points)], dim=2)
        seen = silhouette_maps(things, step.intrinsics, step.cameras[1], step.size)
        if self.hand is None:
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


def _place(name: str, names: tuple[str, ...]) -> int | None:
    """Where a name stands among others; None if it does not."""
    return names.index(name) if name in names else None


def _entry(vector: Tensor, place: int | None) -> Tensor:
    """The entry at a place `[...]` out of `[..., N]`; zeros where there is none."""
    return vector.new_zeros(vector.shape[:-1]) if place is None else vector[..., place]


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


def silhouette_maps(
    things: Tensor, intrinsics: Tensor, cameras: Tensor, size: tuple[int, int]
) -> Tensor:
    """`[B, T, V, K * SILHOUETTE_CHANNELS, h, w]`: 1 where a ray meets the middle of a thing,
    falling to 0 where it passes at `REACH`; the samples of a cell, row by row, are its channels.

    Where a thing is drawn as one bump, a network has to make up what it covers, and over a rollout
    corners wear off. The distance at which a ray passes the middle of a thing is measured by the
    greatest of the three coordinates in the thing's axes. That is the half edge of the smallest
    cube around the middle which the ray meets. Its level sets are outlines of upright, turned and
    tilted boxes of any size, so that a network only has to learn at which value the thing ends.

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
