"""Cameras against hand-worked cases and against OpenCV."""

import math

import cv2
import numpy as np
import pytest
import torch

from worldsim.cameras import poses, projection
from worldsim.cameras.projection import PROJECTIONS, pixel_grid, whole_sphere_intrinsics
from worldsim.errors import UsageError
from worldsim.spec import EQUIRECTANGULAR, PINHOLE, CameraSpec

HEIGHT, WIDTH = 48, 64
PANORAMA = PROJECTIONS.get(EQUIRECTANGULAR)
K = torch.tensor([[50.0, 0.0, 32.0], [0.0, 60.0, 24.0], [0.0, 0.0, 1.0]])


def random_pose(seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    rotation, _ = np.linalg.qr(rng.normal(size=(3, 3)))
    rotation *= np.linalg.det(rotation)
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation, rng.normal(size=3)
    return torch.tensor(pose, dtype=torch.float32)


def test_project_equals_opencv() -> None:
    pose = random_pose(0)
    points = torch.randn(200, 3, generator=torch.Generator().manual_seed(0))
    inverse = torch.linalg.inv(pose).numpy().astype(np.float64)
    axis, _ = cv2.Rodrigues(inverse[:3, :3])
    expected, _ = cv2.projectPoints(
        points.numpy().astype(np.float64), axis, inverse[:3, 3], K.numpy().astype(float), None
    )
    pixels, depth = projection.project(points, K, pose)
    front = depth > 0.1
    assert front.sum() > 20
    torch.testing.assert_close(
        pixels[front],
        torch.tensor(expected[:, 0], dtype=torch.float32)[front],
        atol=2e-2,
        rtol=1e-3,
    )


def test_rays_pass_through_the_points_they_image() -> None:
    pose = random_pose(1)
    rays = projection.plucker_rays(K, pose, 48, 64)
    row, column = 10, 40
    direction, moment = rays[:3, row, column], rays[3:, row, column]
    point = pose[:3, 3] + 2.5 * direction
    torch.testing.assert_close(torch.linalg.cross(point, direction), moment, atol=1e-5, rtol=1e-4)
    pixel, depth = projection.project(point, K, pose)
    assert depth > 0
    torch.testing.assert_close(pixel, torch.tensor([column + 0.5, row + 0.5]), atol=1e-3, rtol=0)


def test_scaled_intrinsics_image_the_same_direction() -> None:
    small = projection.scale_intrinsics(K, 0.125)
    pixel, _ = projection.project(torch.tensor([0.1, -0.2, 1.0]), K, torch.eye(4))
    shrunk, _ = projection.project(torch.tensor([0.1, -0.2, 1.0]), small, torch.eye(4))
    torch.testing.assert_close(shrunk, pixel / 8)


def test_splat_peaks_at_its_pixel_and_vanishes_behind() -> None:
    bump = projection.splat_gaussian(torch.tensor([5.5, 2.5]), torch.tensor(1.0), 8, 8, 0.7)
    assert bump.argmax() == 2 * 8 + 5
    assert bump.max() == 1
    behind = projection.splat_gaussian(torch.tensor([5.5, 2.5]), torch.tensor(-1.0), 8, 8, 0.7)
    assert behind.abs().max() == 0


def test_six_numbers_give_back_the_rotation() -> None:
    rotation = random_pose(2)[:3, :3]
    six = torch.cat([rotation[:, 0], rotation[:, 1]])
    torch.testing.assert_close(poses.matrix_from_6d(six), rotation, atol=1e-5, rtol=1e-5)
    noisy = poses.matrix_from_6d(six + 0.1)
    torch.testing.assert_close(noisy.T @ noisy, torch.eye(3), atol=1e-5, rtol=0)


def test_mounted_camera_rides_and_fixed_camera_stays() -> None:
    extrinsics = torch.stack([random_pose(3), random_pose(4)])[None]
    carrier = torch.stack([random_pose(5), random_pose(6)])[None]
    views = poses.mounted_poses(extrinsics, torch.tensor([[False, True]]), carrier)
    torch.testing.assert_close(views[0, 0, 0], views[0, 1, 0])
    torch.testing.assert_close(views[0, 1, 1], carrier[0, 1] @ extrinsics[0, 1])


def intrinsics_of(kind: str) -> torch.Tensor:
    return whole_sphere_intrinsics(HEIGHT, WIDTH) if kind == EQUIRECTANGULAR else K


@pytest.mark.parametrize("kind", [PINHOLE, EQUIRECTANGULAR])
@pytest.mark.parametrize("factor", [1.0, 0.25])
def test_every_ray_is_seen_at_the_centre_of_its_pixel(kind: str, factor: float) -> None:
    pose = random_pose(7)
    intrinsics = projection.scale_intrinsics(intrinsics_of(kind), factor)
    height, width = int(factor * HEIGHT), int(factor * WIDTH)
    rays = projection.plucker_rays(intrinsics, pose, height, width, PROJECTIONS.get(kind))
    directions, moments = rays[:3].movedim(0, -1), rays[3:].movedim(0, -1)
    torch.testing.assert_close(directions.norm(dim=-1), torch.ones(height, width))
    points = pose[:3, 3] + 3.0 * directions
    torch.testing.assert_close(
        torch.linalg.cross(points, directions), moments, atol=2e-5, rtol=1e-4
    )
    pixels, depth = projection.project(points, intrinsics, pose, PROJECTIONS.get(kind))
    expected = pixel_grid(height, width, pixels)[..., :2]
    torch.testing.assert_close(pixels, expected, atol=2e-3, rtol=0)
    if PROJECTIONS.get(kind).depth == "radial":
        torch.testing.assert_close(depth, torch.full_like(depth, 3.0))
    else:
        along_axis = torch.einsum("hwi,i->hw", 3.0 * directions, pose[:3, 2])
        torch.testing.assert_close(depth, along_axis)


@pytest.mark.parametrize(
    ("direction", "pixel"),
    [
        ((0.0, 0.0, 1.0), (32.0, 24.0)),  # ahead: the middle
        ((1.0, 0.0, 0.0), (48.0, 24.0)),  # right: three quarters across
        ((-1.0, 0.0, 0.0), (16.0, 24.0)),
        ((0.0, 1.0, 1.0), (32.0, 36.0)),  # half way down
        ((0.0, -1.0, 1.0), (32.0, 12.0)),
        ((1.0, 0.0, -1.0), (56.0, 24.0)),
    ],
)
def test_a_panorama_shows_each_direction_where_it_should(
    direction: tuple[float, ...], pixel: tuple[float, ...]
) -> None:
    place = 5.0 * torch.tensor(direction)
    intrinsics = whole_sphere_intrinsics(HEIGHT, WIDTH)
    found, depth = projection.project(place, intrinsics, torch.eye(4), PANORAMA)
    torch.testing.assert_close(found, torch.tensor(pixel))
    torch.testing.assert_close(depth, place.norm())


def test_a_panorama_goes_on_behind_its_edges() -> None:
    """Just left and just right of straight behind are at the image's two ends."""
    behind = torch.tensor([[-1e-4, 0.0, -1.0], [1e-4, 0.0, -1.0]])
    intrinsics = whole_sphere_intrinsics(HEIGHT, WIDTH)
    pixels, _ = projection.project(behind, intrinsics, torch.eye(4), PANORAMA)
    torch.testing.assert_close(pixels[:, 0], torch.tensor([0.0, 64.0]), atol=2e-3, rtol=0)
    assert PANORAMA.wrap and not PROJECTIONS.get(PINHOLE).wrap


@pytest.mark.parametrize(("height", "width"), [(32, 64), (5, 3)])
def test_area_weights_of_a_panorama_sum_to_the_sphere(height: int, width: int) -> None:
    weights = PANORAMA.area_weight(height, width).double()
    solid_angles = weights * 4 * math.pi / (height * width)
    assert float(solid_angles.sum()) == pytest.approx(4 * math.pi, rel=1e-6)
    # The cap above row r is 2 pi (1 - cos of the angle from the pole).
    for row in range(1, height):
        cap = 2 * math.pi * (1 - math.cos(math.pi * row / height))
        assert float(solid_angles[:row].sum()) == pytest.approx(cap, rel=1e-5)
    latitude = torch.asin(
        PANORAMA.rays(whole_sphere_intrinsics(height, width), torch.eye(3), height, width)[
            1
        ].double()
    )
    ratio = weights / latitude.cos()
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio), atol=1e-4, rtol=1e-4)


def test_pixels_of_a_pinhole_weigh_alike() -> None:
    assert (PROJECTIONS.get(PINHOLE).area_weight(3, 5) == torch.ones(3, 5)).all()


def test_cameras_of_two_kinds_each_get_their_own_rays() -> None:
    cameras = (CameraSpec("front", 48, 64), CameraSpec("round", 48, 64, EQUIRECTANGULAR, True))
    kinds = projection.projections_of(cameras)
    intrinsics = torch.stack([K, whole_sphere_intrinsics(HEIGHT, WIDTH)])
    views = torch.stack([random_pose(8), random_pose(9)])
    rays = projection.camera_rays(kinds, intrinsics[None], views[None], HEIGHT, WIDTH)
    assert rays.shape == (1, 2, 6, HEIGHT, WIDTH)
    for view, kind in enumerate(kinds):
        alone = projection.plucker_rays(intrinsics[view], views[view], HEIGHT, WIDTH, kind)
        torch.testing.assert_close(rays[0, view], alone)


def test_an_unknown_projection_names_the_known_ones() -> None:
    with pytest.raises(UsageError, match="equirectangular"):
        projection.projections_of([CameraSpec("round", 48, 64, "equirectangula")])


def test_a_mounted_camera_needs_its_carriers_pose() -> None:
    cameras = (
        CameraSpec("top", 8, 8),
        CameraSpec("wrist", 8, 8, carrier="end_effector"),
        CameraSpec("head", 8, 8, carrier="agent"),
    )
    wrist, head = torch.tensor([[False, True, False]]), torch.tensor([[False, False, True]])
    fixed = torch.zeros(1, 3, dtype=torch.bool)
    poses.require_carriers(cameras, fixed, ())
    poses.require_carriers(cameras, wrist, {"end_effector"})
    with pytest.raises(UsageError, match=r"'wrist' on 'end_effector'; known poses are none.*ee_x"):
        poses.require_carriers(cameras, wrist, ())
    with pytest.raises(UsageError, match=r"'head' on 'agent'; known poses are end_effector"):
        poses.require_carriers(cameras, head, {"end_effector"})
    with pytest.raises(UsageError, match="'top' on 'end_effector'"):  # none is said: of before
        poses.require_carriers(cameras[:1], torch.tensor([True]), ())
