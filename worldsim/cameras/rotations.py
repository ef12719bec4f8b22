"""Rotations without Euler angles."""

import torch
from torch import Tensor


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
