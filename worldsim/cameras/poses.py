"""Poses: rotations without Euler angles, which entries of a vector are one, what cameras ride on.

Poses are 4x4 frame-to-world matrices, in metres. Entries are found by their names. `<name>_x` and
`<name>_y` in metres are a position, `<name>_z` its height (0 if absent). Of a pose (`Frame`),
`<name>_r11`, `_r21`, `_r31`, `_r12`, `_r22`, `_r32` are the first two columns of its rotation, or
`<name>_cos` and `<name>_sin` its yaw. Without either its axes are those of the world.

Of a thing in a scene (`ScenePoint`), `<name>_cos` and `<name>_sin` are its yaw; `<name>_cos4` and
`<name>_sin4` are four times its yaw, for things that look the same after a quarter turn.
`<name>_tilt_x` and `<name>_tilt_y`, without a unit, are the horizontal part of the unit vector that
its upper side faces along.

Legend: N entries of a vector, S of a state, K scene points, B batch, T frames, V views.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.spec import EE_POSITION, EE_ROTATION_6D, END_EFFECTOR, CameraSpec, VectorSpec

COLUMNS = ("r11", "r21", "r31", "r12", "r22", "r32")
_ORTHOGONAL = 1e-3
MOST_POINTS = 8
"""Points beyond these are left out, so that maps stay small in worlds of many bodies."""


def matrix_from_6d(rotation: Tensor) -> Tensor:
    """First two columns `[..., 6]` to a rotation matrix `[..., 3, 3]` (Zhou et al. 1812.07035)."""
    first, second = rotation[..., :3], rotation[..., 3:]
    x = torch.nn.functional.normalize(first, dim=-1)
    y = second - (x * second).sum(-1, keepdim=True) * x
    y = torch.nn.functional.normalize(y, dim=-1)
    return torch.stack([x, y, torch.linalg.cross(x, y)], dim=-1)


def pose_matrix(rotation: Tensor, position: Tensor) -> Tensor:
    """Rotation `[..., 3, 3]` and position `[..., 3]` to a 4x4 frame-to-world matrix."""
    top = torch.cat([rotation, position.unsqueeze(-1)], dim=-1)
    bottom = torch.zeros_like(top[..., :1, :])
    bottom[..., 3] = 1.0
    return torch.cat([top, bottom], dim=-2)


def require_rotations(rotations: Tensor, what: str) -> None:
    """Refuse matrices `[..., 3, 3]` that turn nothing rigidly.

    Args:
        rotations: to be held to it; poses are checked by their upper left 3x3.
        what: they are, for the message.

    Raises:
        UsageError: one is not finite, not orthogonal, or a reflection.
    """
    known = rotations.detach().double()
    off = known.mT @ known - torch.eye(3, dtype=torch.float64, device=known.device)
    bad = ~(off.abs().amax(dim=(-1, -2)) < _ORTHOGONAL) | ~(torch.linalg.det(known) > 0)
    if bad.any():
        first = known.reshape(-1, 3, 3)[bad.reshape(-1)][0]
        raise UsageError(
            f"{what}: {int(bad.sum())} of {bad.numel()} matrices are no rotations, the first is "
            f"{first.tolist()}; expected orthonormal columns and determinant 1 (a camera's axes "
            "x right, y down, z forward, in the world)"
        )


def inverse_pose(pose: Tensor) -> Tensor:
    """World to camera `[..., 4, 4]` of camera to world, whose rotations are orthonormal."""
    turn = pose[..., :3, :3].mT
    shift = -turn @ pose[..., :3, 3:]
    return torch.cat([torch.cat([turn, shift], dim=-1), pose[..., 3:, :]], dim=-2)


@dataclass(frozen=True)
class Frame:
    """Where a pose stands in a vector.

    Attributes:
        name: what the entries' names begin with.
        plane: indices of x and y.
        height: index of z, or None.
        columns: indices of two columns of the rotation, or None.
        heading: indices of cosine and sine of the yaw, or None.
    """

    name: str
    plane: tuple[int, ...]
    height: int | None
    columns: tuple[int, ...] | None
    heading: tuple[int, ...] | None

    @property
    def carrier(self) -> str:
        """What cameras that ride on it call it."""
        return END_EFFECTOR if self.name == "ee" else self.name

    def position(self, vector: Tensor) -> Tensor:
        """`[..., 3]` in metres out of `[..., N]`."""
        if self.height is not None:
            return vector[..., [*self.plane, self.height]]
        flat = vector[..., list(self.plane)]
        return torch.cat([flat, torch.zeros_like(flat[..., :1])], dim=-1)

    def pose(self, vector: Tensor) -> Tensor:
        """Frame to world `[..., 4, 4]` out of `[..., N]`."""
        where = self.position(vector)
        if self.columns is not None:
            return pose_matrix(matrix_from_6d(vector[..., list(self.columns)]), where)
        if self.heading is not None:
            ahead = torch.nn.functional.normalize(vector[..., list(self.heading)], dim=-1)
            cos, sin = ahead.unbind(dim=-1)
            none = torch.zeros_like(cos)
            columns = torch.stack([cos, sin, none, -sin, cos, none], dim=-1)
            return pose_matrix(matrix_from_6d(columns), where)
        upright = torch.eye(3, device=where.device, dtype=where.dtype)
        return pose_matrix(upright.expand(*where.shape[:-1], 3, 3), where)


def frame_of(spec: VectorSpec, name: str | None = None) -> Frame | None:
    """The pose of that name, or the first that there is; None if there is none."""
    metres = {spec.names[index] for index in spec.indices_in_metres()}
    for entry in spec.names:
        stem = entry.removesuffix("_x")
        if stem == entry or name not in (None, stem):
            continue
        plane = spec.indices(f"{stem}_x", f"{stem}_y")
        if plane is None or not {f"{stem}_x", f"{stem}_y"} <= metres:
            continue
        height = spec.indices(f"{stem}_z")
        columns = spec.indices(*(f"{stem}_{column}" for column in COLUMNS))
        heading = spec.indices(f"{stem}_cos", f"{stem}_sin")
        return Frame(stem, plane, None if height is None else height[0], columns, heading)
    return None


def end_effector_frame(spec: VectorSpec) -> Frame | None:
    """The pose of a robot's hand, whatever its units say; None where its position is not named.

    A robot that reports no rotation is taken to keep its hand aligned with the world.
    """
    place = spec.indices(*EE_POSITION)
    if place is None:
        return None
    return Frame("ee", place[:2], place[2], spec.indices(*EE_ROTATION_6D), None)


@dataclass(frozen=True)
class ScenePoint:
    """Where a point stands in a state vector.

    Attributes:
        name: what the entries' names begin with.
        x: index of the x coordinate.
        y: index of the y coordinate.
        z: index of the height, or None.
        fold: how many times its yaw the heading turns; 0 without a heading.
        cos: index of the heading's cosine; 0 without a heading.
        sin: index of its sine; 0 without a heading.
        tilt: indices of the tilt along x and y, or None for what stays upright.
    """

    name: str
    x: int
    y: int
    z: int | None = None
    fold: int = 0
    cos: int = 0
    sin: int = 0
    tilt: tuple[int, int] | None = None


def position_entries(spec: VectorSpec) -> dict[str, dict[str, int]]:
    """Entries in metres whose names end in _x, _y or _z: {stem: {axis: index}}."""
    found: dict[str, dict[str, int]] = {}
    for index in spec.indices_in_metres():
        stem, _, axis = spec.names[index].rpartition("_")
        if stem and axis in ("x", "y", "z"):
            found.setdefault(stem, {})[axis] = index
    return found


def scene_points(state: VectorSpec) -> tuple[ScenePoint, ...]:
    """The points of a state, in the order of their names in it."""
    place = {name: i for i, name in enumerate(state.names)}
    points = []
    for stem, axes in position_entries(state).items():
        if not {"x", "y"} <= set(axes):
            continue
        point = ScenePoint(stem, axes["x"], axes["y"], axes.get("z"))
        for fold, suffix in ((1, ""), (4, "4")):
            cos, sin = f"{stem}_cos{suffix}", f"{stem}_sin{suffix}"
            if cos in place and sin in place:
                point = replace(point, fold=fold, cos=place[cos], sin=place[sin])
        lean = state.indices(f"{stem}_tilt_x", f"{stem}_tilt_y")
        if lean is not None:
            point = replace(point, tilt=(lean[0], lean[1]))
        points.append(point)
    return tuple(points[:MOST_POINTS])


def point_positions(state: Tensor, points: tuple[ScenePoint, ...]) -> Tensor:
    """Places of K points `[..., K, 3]` in metres, out of states `[..., S]` in physical units."""
    ground = state.new_zeros(state.shape[:-1])
    each = [
        torch.stack(
            [state[..., p.x], state[..., p.y], ground if p.z is None else state[..., p.z]], -1
        )
        for p in points
    ]
    return torch.stack(each, dim=-2)


def point_headings(state: Tensor, points: tuple[ScenePoint, ...]) -> Tensor:
    """Cosine and sine of `fold` times the yaw, `[..., K, 2]`; zeros without a heading."""
    none = torch.zeros_like(state[..., :2])
    each = [none if not p.fold else state[..., [p.cos, p.sin]] for p in points]
    return torch.stack(each, dim=-2)


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


def require_carriers(
    cameras: Sequence[CameraSpec], mounted: Tensor, poses: Collection[str]
) -> None:
    """Refuse mounted cameras whose carrier's pose nobody tells.

    Args:
        cameras: V of them. One without a carrier rides on the end effector if it is mounted.
        mounted: `[..., V]` bool, whether the calibration is camera to carrier.
        poses: names of the poses that are known.

    Raises:
        UsageError: names each such camera and the pose that it lacks.
    """
    carriers = [camera.carrier or END_EFFECTOR for camera in cameras]
    if all(carrier in poses for carrier in carriers):
        return  # before `mounted` is read, for which a GPU would have to be waited for
    rides = mounted.reshape(-1, len(cameras)).any(dim=0).tolist()
    lacking = [
        f"{camera.name!r} on {carrier!r}"
        for camera, carrier, riding in zip(cameras, carriers, rides, strict=True)
        if riding and carrier not in poses
    ]
    if lacking:
        raise UsageError(
            f"the calibration says that cameras ride on a pose: {', '.join(lacking)}; known poses "
            f"are {', '.join(sorted(poses)) or 'none'}, so where these cameras stand is unknown. "
            f"Record the pose (for {END_EFFECTOR!r} as ee_x, ee_y, ee_z and ee_r11 to ee_r32 of "
            "the proprioception), or give a calibration that fixes the camera in the world "
            "(mounted=False)"
        )
