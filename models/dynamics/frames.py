"""Which entries of proprioception are a pose in the world, found by their names.

Entries `<name>_x` and `<name>_y` in metres are a position, `<name>_z` its height (0 if absent).
`<name>_r11`, `_r21`, `_r31`, `_r12`, `_r22`, `_r32` are the first two columns of its rotation, or
`<name>_cos` and `<name>_sin` its yaw. Without either its axes are those of the world.
"""

from dataclasses import dataclass
from functools import cache

import torch
from torch import Tensor

from worldsim.cameras.poses import matrix_from_6d, pose_matrix
from worldsim.spec import END_EFFECTOR, VectorSpec

COLUMNS = ("r11", "r21", "r31", "r12", "r22", "r32")


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
        flat = vector[..., list(self.plane)]
        rise = torch.zeros_like(flat[..., :1])
        if self.height is not None:
            rise = vector[..., self.height : self.height + 1]
        return torch.cat([flat, rise], dim=-1)

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


@cache
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
