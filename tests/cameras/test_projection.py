"""Cameras against hand-worked cases and against OpenCV."""

import cv2
import numpy as np
import torch

from worldsim.cameras import projection, rotations

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
    torch.testing.assert_close(rotations.matrix_from_6d(six), rotation, atol=1e-5, rtol=1e-5)
    noisy = rotations.matrix_from_6d(six + 0.1)
    torch.testing.assert_close(noisy.T @ noisy, torch.eye(3), atol=1e-5, rtol=0)


def test_mounted_camera_rides_and_fixed_camera_stays() -> None:
    extrinsics = torch.stack([random_pose(3), random_pose(4)])[None]
    carrier = torch.stack([random_pose(5), random_pose(6)])[None]
    poses = projection.mounted_poses(extrinsics, torch.tensor([[False, True]]), carrier)
    torch.testing.assert_close(poses[0, 0, 0], poses[0, 1, 0])
    torch.testing.assert_close(poses[0, 1, 1], carrier[0, 1] @ extrinsics[0, 1])
