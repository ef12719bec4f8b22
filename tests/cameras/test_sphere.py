"""Panoramas: cube faces, turns, wrap and views against closed forms and another implementation."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor

from worldsim.cameras.poses import require_rotations
from worldsim.cameras.projection import PROJECTIONS, pinhole, whole_sphere_intrinsics
from worldsim.cameras.sphere import (
    FACES,
    cube_to_panorama,
    face_intrinsics,
    face_rotations,
    on_cube,
    panorama_to_cube,
    pinhole_view,
    rotate_panorama,
    sample_cube,
    sample_sphere,
    sphere_rays,
    turn_panorama,
    wrap_pad,
)
from worldsim.errors import UsageError


def smooth(directions: Tensor) -> Tensor:
    """A smooth picture on the sphere, `[2, h, w]` at directions `[3, h, w]`."""
    x, y, z = directions
    return torch.stack([x * z + 0.5 * y, torch.sin(2 * x) + y * y])


def panorama(height: int = 64) -> Tensor:
    return smooth(sphere_rays(height, 2 * height))


def faces_of(side: int, border: int = 0) -> Tensor:
    """The smooth picture as six faces see it, `[6, 2, S + 2b, S + 2b]`."""
    whole = side + 2 * border
    rays = pinhole.rays(face_intrinsics(side, border), face_rotations(), whole, whole)
    return torch.stack([smooth(each) for each in rays])


def test_faces_look_where_their_names_say() -> None:
    forward = {
        name: axes[:, 2].tolist() for name, axes in zip(FACES, face_rotations(), strict=True)
    }
    assert forward == {
        "front": [0, 0, 1],
        "right": [1, 0, 0],
        "back": [0, 0, -1],
        "left": [-1, 0, 0],
        "up": [0, -1, 0],
        "down": [0, 1, 0],
    }
    for axes in face_rotations():
        assert torch.equal(axes @ axes.T, torch.eye(3)) and torch.det(axes) == 1


def test_rays_of_a_panorama_are_the_closed_form() -> None:
    height, width = 8, 16
    rays = sphere_rays(height, width)
    for row, column in ((0, 0), (3, 5), (7, 15)):
        longitude = ((column + 0.5) / width - 0.5) * 2 * math.pi
        latitude = ((row + 0.5) / height - 0.5) * math.pi
        wanted = (
            math.cos(latitude) * math.sin(longitude),
            math.sin(latitude),
            math.cos(latitude) * math.cos(longitude),
        )
        np.testing.assert_allclose(rays[:, row, column].numpy(), wanted, atol=1e-6)


def test_a_panorama_becomes_the_faces_it_shows() -> None:
    found = panorama_to_cube(panorama(128), 32)
    torch.testing.assert_close(found, faces_of(32), atol=2e-3, rtol=0)


@pytest.mark.parametrize("border", [0, 1])
def test_faces_become_the_panorama_they_show(border: int) -> None:
    found = cube_to_panorama(faces_of(64, border), 32, 64, border)
    torch.testing.assert_close(found, panorama(32), atol=2e-3, rtol=0)


def test_there_and_back_again() -> None:
    picture = panorama(64)
    again = cube_to_panorama(panorama_to_cube(picture, 128, border=1), 64, 128, border=1)
    torch.testing.assert_close(again, picture, atol=4e-3, rtol=0)


def test_batches_are_resampled_alone() -> None:
    one, other = panorama(16), panorama(16).flip(-1)
    both = torch.stack([one, other]).reshape(2, 1, 2, 16, 32)
    cubes = panorama_to_cube(both, 8)
    assert cubes.shape == (2, 1, 6, 2, 8, 8)
    torch.testing.assert_close(cubes[1, 0], panorama_to_cube(other, 8))
    back = cube_to_panorama(cubes, 16, 32)
    torch.testing.assert_close(back[1, 0], cube_to_panorama(cubes[1, 0], 16, 32))


def test_the_stretch_makes_planar_depth_radial() -> None:
    rays = sphere_rays(16, 32).movedim(0, -1)
    places = on_cube(rays, 8)
    # A cube of half side 1 around the camera: planar depth is 1 on every face.
    points = rays * places.stretch[..., None]
    torch.testing.assert_close(points.abs().amax(dim=-1), torch.ones(16, 32), atol=1e-5, rtol=0)


def test_against_py360convert() -> None:
    """That package reads faces and panoramas from edge to edge; so do the grids it is met on."""
    import py360convert as other

    side, picture = 32, panorama(64)
    image = picture.movedim(0, -1).numpy().astype(np.float64)
    theirs = other.e2c(image, face_w=side, mode="bilinear", cube_format="dict")
    edges = torch.tensor([[(side - 1) / 2, 0, side / 2], [0, (side - 1) / 2, side / 2], [0, 0, 1]])
    for axes, name in zip(face_rotations(), "FRBLUD", strict=True):
        face = torch.from_numpy(np.ascontiguousarray(theirs[name])).movedim(-1, 0).float()
        ours = sample_sphere(picture, pinhole.rays(edges, axes, side, side))
        torch.testing.assert_close(ours, face, atol=2e-3, rtol=0)

    # Back from faces it takes pixels to lie at their upper left corners.
    corners = torch.tensor(
        [[side / 2, 0, side / 2 + 0.5], [0, side / 2, side / 2 + 0.5], [0, 0, 1]]
    )
    named = {
        name: np.ascontiguousarray(
            smooth(pinhole.rays(corners, axes, side, side)).movedim(0, -1).numpy()
        )
        for axes, name in zip(face_rotations(), "FRBLUD", strict=True)
    }
    back = torch.from_numpy(other.c2e(named, 33, 64, mode="bilinear", cube_format="dict"))
    longitude = torch.linspace(-math.pi, math.pi, 64)
    latitude = torch.linspace(-math.pi / 2, math.pi / 2, 33)[:, None]
    rays = torch.stack(
        [
            latitude.cos() * longitude.sin(),
            latitude.sin().expand(33, 64),
            latitude.cos() * longitude.cos(),
        ]
    )
    error = (sample_cube(faces_of(side), rays) - back.movedim(-1, 0)).abs()
    assert error.quantile(0.95) < 4e-3 and error.max() < 0.1  # it holds last pixels


def test_the_seam_is_no_edge() -> None:
    """Straight back lies half of the last column and half of the first."""
    picture = torch.zeros(1, 4, 8)
    picture[..., 0], picture[..., -1] = 2.0, 4.0
    back = torch.tensor([0.0, 0.0, -1.0]).reshape(3, 1, 1)
    assert sample_sphere(picture, back).item() == pytest.approx(3.0)


def test_beyond_the_pole_the_picture_runs_back() -> None:
    picture = torch.arange(32.0).reshape(1, 4, 8)
    padded = wrap_pad(picture, 2, poles=True)
    assert padded.shape == (1, 8, 12)
    torch.testing.assert_close(padded[0, 1, 2:10], picture[0, 0].roll(4))
    torch.testing.assert_close(padded[0, 0, 2:10], picture[0, 1].roll(4))
    torch.testing.assert_close(padded[0, -2, 2:10], picture[0, -1].roll(4))
    torch.testing.assert_close(padded[0, 2, :2], picture[0, 0, -2:])
    assert torch.equal(wrap_pad(picture, 0), picture)


def yaw_left(yaw: float) -> Tensor:
    """Axes of a camera that turned to the left about the vertical, in the old ones."""
    cos, sin = math.cos(yaw), math.sin(yaw)
    return torch.tensor([[cos, 0.0, -sin], [0.0, 1.0, 0.0], [sin, 0.0, cos]])


def test_a_turn_by_whole_columns_is_a_roll_to_the_bit() -> None:
    picture = (torch.rand(3, 8, 16) * 255).to(torch.uint8)
    turned = turn_panorama(picture, 2 * math.pi * 3 / 16)
    assert turned.dtype == torch.uint8 and torch.equal(turned, picture.roll(3, -1))
    torch.testing.assert_close(turned[:, :, 8], picture[:, :, 5])  # what was left is ahead


@pytest.mark.parametrize("degrees", [30.0, -15.0, 7.3])
def test_a_turn_shows_what_a_turned_camera_sees(degrees: float) -> None:
    yaw = math.radians(degrees)
    rays = torch.einsum("ij,jhw->ihw", yaw_left(yaw), sphere_rays(32, 64))
    exact = smooth(rays)
    torch.testing.assert_close(turn_panorama(panorama(32), yaw), exact, atol=1e-4, rtol=0)
    linear = turn_panorama(panorama(32), yaw, linear=True)
    torch.testing.assert_close(linear, exact, atol=5e-3, rtol=0)
    resampled = rotate_panorama(panorama(32), yaw_left(yaw))
    torch.testing.assert_close(resampled, exact, atol=1e-2, rtol=0)


def test_turns_add_up_and_are_undone() -> None:
    picture = torch.rand(2, 3, 16, 32)
    yaw = math.radians(30)
    turned = picture
    for _ in range(12):
        turned = turn_panorama(turned, yaw)
    # All waves but the highest come round to where they were.
    low = torch.fft.rfft(picture, dim=-1)
    low[..., -1] = 0
    again = torch.fft.rfft(turned, dim=-1)
    again[..., -1] = 0
    torch.testing.assert_close(again, low, atol=1e-4, rtol=0)
    back = turn_panorama(turn_panorama(panorama(16), yaw), -yaw)
    torch.testing.assert_close(back, panorama(16), atol=1e-5, rtol=0)


def test_any_rotation_is_that_of_the_picture() -> None:
    axes = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(0)))[0]
    axes = axes * torch.det(axes)
    rays = torch.einsum("ij,jhw->ihw", axes, sphere_rays(64, 128))
    found = rotate_panorama(panorama(64), axes)
    torch.testing.assert_close(found, smooth(rays), atol=8e-3, rtol=0)


def test_a_view_inside_a_panorama() -> None:
    intrinsics = torch.tensor([[20.0, 0.0, 12.0], [0.0, 20.0, 10.0], [0.0, 0.0, 1.0]])
    axes = yaw_left(0.8)
    view = pinhole_view(panorama(128), intrinsics, axes, 20, 24)
    exact = smooth(pinhole.rays(intrinsics, axes, 20, 24))
    torch.testing.assert_close(view, exact, atol=2e-3, rtol=0)
    labels = pinhole_view(torch.arange(4 * 8).reshape(1, 4, 8), intrinsics, axes, 4, 4, "nearest")
    assert labels.dtype == torch.int64
    large = (1 << 40) + torch.arange(4 * 8).reshape(1, 4, 8)
    seen = pinhole_view(large, intrinsics, axes, 4, 4, "nearest")
    assert torch.equal(seen - (1 << 40), labels), "labels are names, which nothing may round"
    mixed = pinhole_view(large, intrinsics, axes, 4, 4)
    assert mixed.dtype == intrinsics.dtype, "what is mixed is of the precision of its rays"


def test_latitude_weights_make_means_over_pixels_means_over_directions() -> None:
    weights = PROJECTIONS.get("equirectangular").area_weight(32, 64)
    rays = sphere_rays(32, 64)
    assert weights.mean().item() == pytest.approx(1.0)
    # The mean of y squared over the sphere is a third.
    assert (weights * rays[1] ** 2).mean().item() == pytest.approx(1 / 3, abs=1e-3)


def test_a_face_looks_like_a_pinhole_of_its_intrinsics() -> None:
    whole = whole_sphere_intrinsics(64, 128)
    assert whole[0, 2] == 64 and whole[1, 2] == 32
    intrinsics = face_intrinsics(16, 1)
    edge = torch.tensor([[1.0, 1.0, 1.0], [-1.0, -1.0, 1.0]])
    pixels, _ = pinhole.project(edge, intrinsics)
    assert pixels.tolist() == [[17.0, 17.0], [1.0, 1.0]]


def test_what_is_no_panorama_is_refused() -> None:
    with pytest.raises(UsageError, match="twice as wide"):
        turn_panorama(torch.zeros(3, 8, 8), 0.1)
    with pytest.raises(UsageError, match="twice as wide"):
        panorama_to_cube(torch.zeros(3, 8, 15), 4)
    with pytest.raises(UsageError, match="twice as wide"):
        cube_to_panorama(torch.zeros(6, 1, 4, 4), 8, 8)
    with pytest.raises(UsageError, match="six square faces"):
        cube_to_panorama(torch.zeros(5, 1, 4, 4), 8, 16)
    with pytest.raises(UsageError, match="six square faces"):
        sample_cube(torch.zeros(6, 4, 4), sphere_rays(8, 16))


@pytest.mark.parametrize(("pad", "poles"), [(17, False), (9, True), (-1, False)])
def test_padding_beyond_what_a_panorama_shows_is_refused(pad: int, poles: bool) -> None:
    with pytest.raises(UsageError, match="8 rows and 16 columns"):
        wrap_pad(torch.zeros(3, 8, 16), pad, poles)


def test_what_is_no_rotation_is_refused() -> None:
    for matrix in (2 * torch.eye(3), torch.diag(torch.tensor([1.0, 1.0, -1.0])), torch.zeros(3, 3)):
        with pytest.raises(UsageError, match="no rotations"):
            rotate_panorama(panorama(8), matrix)
    bad = torch.eye(3).repeat(2, 1, 1)
    bad[1, 0, 0] = math.nan
    with pytest.raises(UsageError, match="1 of 2 matrices"):
        require_rotations(bad, "poses")
    require_rotations(face_rotations(), "faces")
