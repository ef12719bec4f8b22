"""Poses: rotations without Euler angles, and where cameras stand that ride on something.

Poses are 4x4 frame-to-world matrices, in metres.
"""

from collections.abc import Collection, Sequence

import torch
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.spec import END_EFFECTOR, CameraSpec


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
