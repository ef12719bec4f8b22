"""Outlines of things: against boxes met by rays, point by point."""

import math

import pytest
import torch
from torch import Tensor

from worldsim.cameras.poses import ScenePoint, point_poses
from worldsim.cameras.projection import pixel_grid, scale_intrinsics
from worldsim.models.tabletop.maps import (
    REACH,
    SAMPLES,
    SILHOUETTE_CHANNELS,
    cube_distance,
    silhouette_maps,
)

SIZE = (4, 6)


def test_the_distance_of_a_line_is_the_least_over_its_points() -> None:
    generator = torch.Generator().manual_seed(0)
    origin, direction = torch.randn(2, 64, 3, generator=generator).unbind(0)
    found = cube_distance(torch.linalg.cross(origin, direction), direction)
    along = torch.linspace(-40, 40, 200_001)[:, None]
    for k in range(64):
        places = origin[k] + along * direction[k]
        assert float(found[k]) == pytest.approx(float(places.abs().amax(-1).min()), abs=2e-3)


def test_it_does_not_depend_on_the_length_of_the_direction_nor_on_the_point() -> None:
    origin, direction = torch.tensor([0.3, -0.2, 0.9]), torch.tensor([0.5, 0.1, -0.4])
    one = cube_distance(torch.linalg.cross(origin, direction), direction)
    other = torch.linalg.cross(origin + 7 * direction, -3 * direction)
    assert torch.allclose(one, cube_distance(other, -3 * direction))


def camera() -> tuple[Tensor, Tensor]:
    """Intrinsics for a map of SIZE and a camera half a metre over the origin, looking down."""
    intrinsics = torch.tensor([[20.0, 0.0, 3.0], [0.0, 20.0, 2.0], [0.0, 0.0, 1.0]])
    pose = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0]))
    pose[2, 3] = 0.5
    return intrinsics[None, None, None], pose[None, None, None]


def draw(things: Tensor) -> Tensor:
    """Maps of things `[K, 4, 4]` as images of all samples `[K, Q h, Q w]`."""
    maps = silhouette_maps(things[None, None], *camera(), SIZE)
    assert maps.shape == (1, 1, 1, len(things) * SILHOUETTE_CHANNELS, *SIZE)
    cells = maps[0, 0, 0].reshape(len(things), SAMPLES, SAMPLES, *SIZE)
    return cells.permute(0, 3, 1, 4, 2).reshape(len(things), SAMPLES * SIZE[0], SAMPLES * SIZE[1])


def met(thing: Tensor, half: float) -> Tensor:
    """Which samples look at a cube: rays tested slab by slab."""
    intrinsics, pose = camera()
    fine = scale_intrinsics(intrinsics[0, 0, 0], float(SAMPLES))
    grid = pixel_grid(SAMPLES * SIZE[0], SAMPLES * SIZE[1], thing)
    rays = grid @ torch.linalg.inv(fine).T @ pose[0, 0, 0, :3, :3].T @ thing[:3, :3]
    start = thing[:3, :3].T @ (pose[0, 0, 0, :3, 3] - thing[:3, 3])
    one, other = (-half - start) / rays, (half - start) / rays
    enters = torch.minimum(one, other).amax(-1)
    return enters <= torch.maximum(one, other).amin(-1)


@pytest.mark.parametrize("half", [0.012, 0.025, 0.04])
def test_level_sets_are_outlines_of_cubes(half: float) -> None:
    state = torch.tensor([0.02, -0.01, 0.03, math.cos(4 * 0.3), math.sin(4 * 0.3), 0.3, -0.1])
    thing = point_poses(state, (ScenePoint("it", 0, 1, 2, 4, 3, 4, (5, 6)),))
    seen = draw(thing)[0] >= 1.0 - half / REACH
    wanted = met(thing[0], half)
    assert wanted.any() and torch.equal(seen, wanted)


def test_poses_are_turned_tilted_and_lie_where_the_state_says() -> None:
    point = ScenePoint("it", 0, 1, None, 1, 2, 3, (4, 5))
    state = torch.tensor([0.1, 0.2, math.cos(1.0), math.sin(1.0), 0.0, 0.6])
    pose = point_poses(state, (point,))[0]
    assert torch.allclose(pose[:3, :3] @ pose[:3, :3].T, torch.eye(3), atol=1e-6)
    assert float(torch.linalg.det(pose[:3, :3])) == pytest.approx(1.0)
    assert torch.allclose(pose[:3, 2], torch.tensor([0.0, 0.6, 0.8]))
    assert torch.allclose(pose[:3, 3], torch.tensor([0.1, 0.2, 0.0]))
    upright = point_poses(torch.cat([state[:4], torch.zeros(2)]), (point,))[0]
    assert float(torch.atan2(upright[1, 0], upright[0, 0])) == pytest.approx(1.0)


def test_what_is_behind_the_camera_is_not_drawn() -> None:
    point = (ScenePoint("it", 0, 1, 2),)
    assert draw(point_poses(torch.tensor([0.0, 0.0, 0.1]), point)).any()
    assert not draw(point_poses(torch.tensor([0.0, 0.0, 0.9]), point)).any()
