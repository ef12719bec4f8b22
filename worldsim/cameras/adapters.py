"""Poses of others: how MuJoCo, Habitat, Unity and VGGT say where a camera stands, and back.

Ours is camera to world, the world z up, the camera OpenCV's (x right, y down, z forward). Each row
says how another's axes lie; nothing else in the project turns axes round.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.conventions import HABITAT_AXES
from worldsim.registry import Registry


@dataclass(frozen=True)
class Convention:
    """Attributes:
    world: rows of the matrix that takes its world's coordinates to ours.
    camera: rows of the matrix that takes our camera's coordinates to its.
    world_to_camera: whether it gives the inverse, as extrinsics.
    """

    world: tuple[tuple[int, int, int], ...]
    camera: tuple[tuple[int, int, int], ...]
    world_to_camera: bool = False

    def to_ours(self, poses: Tensor) -> Tensor:
        """Its poses `[..., 4, 4]`, metres, as ours."""
        if self.world_to_camera:
            poses = torch.linalg.inv(poses)
        return _homogeneous(self.world, poses) @ poses @ _homogeneous(self.camera, poses)

    def from_ours(self, poses: Tensor) -> Tensor:
        """Our poses `[..., 4, 4]` as it gives them."""
        # Both changes of axes are orthogonal, so transposed they are undone.
        world, camera = (_homogeneous(part, poses).mT for part in (self.world, self.camera))
        found = world @ poses @ camera
        return torch.linalg.inv(found) if self.world_to_camera else found


def _homogeneous(rows: tuple[tuple[int, int, int], ...], like: Tensor) -> Tensor:
    whole = torch.eye(4, dtype=like.dtype, device=like.device)
    whole[:3, :3] = torch.tensor(rows, dtype=like.dtype, device=like.device)
    return whole


_SAME = ((1, 0, 0), (0, 1, 0), (0, 0, 1))
_OPENGL = ((1, 0, 0), (0, -1, 0), (0, 0, -1))

CONVENTIONS: Registry[Convention] = Registry("pose convention")
CONVENTIONS.register("mujoco")(Convention(_SAME, _OPENGL))
CONVENTIONS.register("habitat")(Convention(HABITAT_AXES, _OPENGL))
# Left-handed, y up: the world is mirrored, and so is the camera, whose y points up.
CONVENTIONS.register("unity")(
    Convention(((1, 0, 0), (0, 0, 1), (0, 1, 0)), ((1, 0, 0), (0, -1, 0), (0, 0, 1)))
)
# The first camera is VGGT's world; where that lies in ours the aligner says.
CONVENTIONS.register("vggt")(Convention(_SAME, _SAME, world_to_camera=True))
