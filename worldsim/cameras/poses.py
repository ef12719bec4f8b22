"""Poses: rotations without Euler angles, which entries of a vector are one, what cameras ride on.

Poses are 4x4 frame-to-world matrices, in metres. Entries are found by their names. `<name>_x` and
`<name>_y` in metres are a position, `<name>_z` its height (0 if absent). `<name>_r11`, `_r21`,
`_r31`, `_r12`, `_r22`, `_r32` are the first two columns of its rotation, or `<name>_cos` and
`<name>_sin` its yaw. Without either its axes are those of the world.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.spec import EE_POSITION, EE_ROTATION_6D, END_EFFECTOR, CameraSpec, VectorSpec

COLUMNS = ("r11", "r21", "r31", "r12", "r22", "r32")


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
