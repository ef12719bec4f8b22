"""A camera kind of one's own: a cylinder round the camera, rolled out."""

import torch
from torch import Tensor

from worldsim.cameras.projection import PROJECTIONS, Projection, pixel_grid

NAME = "cylinder"


class Cylinder(Projection):
    """u = fx longitude + cx in radians, v = fy tan(latitude) + cy."""

    wrap = True
    depth = "radial"

    def rays(self, intrinsics: Tensor, rotations: Tensor, height: int, width: int) -> Tensor:
        grid = pixel_grid(height, width, rotations)
        longitude, slope, _ = torch.einsum(
            "...ij,hwj->...hwi", torch.linalg.inv(intrinsics), grid
        ).unbind(-1)
        directions = torch.stack([longitude.sin(), slope, longitude.cos()], dim=-1)
        unit = torch.nn.functional.normalize(directions, dim=-1)
        return torch.einsum("...ij,...hwj->...ihw", rotations, unit)

    def project(self, points: Tensor, intrinsics: Tensor) -> tuple[Tensor, Tensor]:
        x, y, z = points.unbind(-1)
        level = torch.hypot(x, z).clamp_min(1e-6)
        place = torch.stack([torch.atan2(x, z), y / level, torch.ones_like(x)], dim=-1)
        return torch.einsum("...ij,...j->...i", intrinsics, place)[..., :2], points.norm(dim=-1)

    def area_weight(self, height: int, width: int) -> Tensor:
        return torch.ones(height, width)


PROJECTIONS.register(NAME)(Cylinder())
