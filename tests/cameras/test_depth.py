"""Depth of both kinds, and points of pixels."""

import math

import pytest
import torch
from torch import Tensor

from worldsim.cameras.depth import convert_depth, unproject
from worldsim.cameras.projection import PROJECTIONS, pinhole, whole_sphere_intrinsics
from worldsim.errors import UsageError

ERP = PROJECTIONS.get("equirectangular")
K = torch.tensor([[16.0, 0.0, 16.0], [0.0, 16.0, 12.0], [0.0, 0.0, 1.0]])
HEIGHT, WIDTH = 24, 32


def pose(x: float = 0.0, y: float = 0.0, z: float = 0.0) -> Tensor:
    found = torch.eye(4)
    found[:3, 3] = torch.tensor([x, y, z])
    return found


def test_a_wall_has_one_planar_depth_and_radial_ones_by_the_cosine() -> None:
    planar = torch.full((HEIGHT, WIDTH), 3.0)
    radial = convert_depth(planar, "planar", "radial", pinhole, K)
    row, column = 4, 30
    angle = math.atan(math.hypot((column + 0.5 - 16) / 16, (row + 0.5 - 12) / 16))
    assert radial[row, column].item() == pytest.approx(3.0 / math.cos(angle), rel=1e-5)
    torch.testing.assert_close(convert_depth(radial, "radial", "planar", pinhole, K), planar)
    assert convert_depth(planar, "planar", "planar", pinhole, K) is planar


def test_unknown_depth_stays_unknown_and_kinds_must_be_named() -> None:
    depth = torch.full((HEIGHT, WIDTH), math.nan)
    assert convert_depth(depth, "planar", "radial", pinhole, K).isnan().all()
    with pytest.raises(UsageError, match="without its kind"):
        convert_depth(depth, "", "radial", pinhole, K)  # type: ignore[arg-type]


def test_points_of_a_wall_lie_on_it() -> None:
    depth = torch.full((2, HEIGHT, WIDTH), 3.0)
    poses = torch.stack([pose(), pose(1.0, 2.0, -1.0)])
    points = unproject(depth, "planar", K.expand(2, 3, 3), poses)
    torch.testing.assert_close(points[0, ..., 2], torch.full((HEIGHT, WIDTH), 3.0))
    torch.testing.assert_close(points[1, ..., 2], torch.full((HEIGHT, WIDTH), 2.0))


def test_points_of_a_panorama_inside_a_ball_lie_on_the_ball() -> None:
    intrinsics = whole_sphere_intrinsics(16, 32)
    points = unproject(torch.full((16, 32), 2.5), "radial", intrinsics, pose(1.0), ERP)
    reach = (points - torch.tensor([1.0, 0.0, 0.0])).norm(dim=-1)
    torch.testing.assert_close(reach, torch.full((16, 32), 2.5))
