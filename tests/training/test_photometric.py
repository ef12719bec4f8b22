"""Depth learnt from frames and poses alone: the truth has the least loss, and is found."""

import math

import numpy as np
import pytest
import torch
from torch import Tensor
from toy_room import Walker, seen
from toy_room_data import SPEC

from worldsim.cameras.projection import projections_of, whole_sphere_intrinsics
from worldsim.memory.base import FrameCameras
from worldsim.training.losses.photometric import photometric_loss

KINDS = projections_of(SPEC.cameras)
TARGETS = torch.tensor([3, 5])


def walk(step: float = 0.3) -> tuple[Tensor, Tensor, FrameCameras]:
    """Video `[1, T, 1, 3, H, W]`, radial depth `[1, T, 1, H, W]` and cameras of a curve."""
    walkers = [
        Walker(-0.8 + step * i, 0.5 * math.sin(step * i) - 0.4, 0.4 * step * i) for i in range(8)
    ]
    frames, depths = zip(*map(seen, walkers), strict=True)
    video = torch.from_numpy(np.stack(frames)).movedim(-1, 1).float()[None, :, None] / 127.5 - 1
    depth = torch.from_numpy(np.stack(depths)).float()[None, :, None]
    poses = torch.from_numpy(np.stack([w.pose for w in walkers])).float()[None, :, None]
    sphere = whole_sphere_intrinsics(32, 64)[None, None]
    return video, depth, FrameCameras(poses, sphere, torch.ones(1))


def loss_of(metres: Tensor, video: Tensor, cameras: FrameCameras) -> Tensor:
    there = torch.ones(1, video.shape[1], 1)
    return photometric_loss(metres.log(), video, cameras, there, KINDS, TARGETS)


def test_the_true_depth_has_the_least_loss() -> None:
    video, depth, cameras = walk()
    true = depth[:, TARGETS]
    least = loss_of(true, video, cameras)
    for factor in (0.6, 0.8, 1.25, 1.6):
        assert loss_of(factor * true, video, cameras) > least
    assert loss_of(torch.full_like(true, 1.5), video, cameras) > 1.3 * least


def test_descent_finds_the_scale_of_depth_in_metres() -> None:
    video, depth, cameras = walk()
    log_scale = torch.tensor(0.35, requires_grad=True)
    optimizer = torch.optim.Adam([log_scale], 0.03)
    for _ in range(60):
        optimizer.zero_grad()
        loss_of(depth[:, TARGETS] * log_scale.exp(), video, cameras).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
    assert abs(float(log_scale.detach())) < 0.1


def test_who_does_not_move_learns_nothing_and_coarser_depth_is_compared_in_its_own_pixels() -> None:
    video, depth, cameras = walk(0.0)
    assert float(loss_of(depth[:, TARGETS], video, cameras)) == 0.0
    video, depth, cameras = walk()
    half = FrameCameras(cameras.pose, whole_sphere_intrinsics(16, 32)[None, None], cameras.known)
    coarse = depth[:, TARGETS, :, ::2, ::2]
    assert float(loss_of(coarse, video, half)) < float(loss_of(1.5 * coarse, video, half))


def test_padding_and_unknown_cameras_do_not_count() -> None:
    video, depth, cameras = walk()
    there = torch.ones(1, 8, 1)
    there[:, 4:] = 0.0
    told = depth[:, TARGETS].log().requires_grad_(True)
    loss = photometric_loss(told, video, cameras, there, KINDS, TARGETS)
    loss.backward()  # type: ignore[no-untyped-call]
    assert told.grad is not None and told.grad[:, 1].abs().max() == 0
    assert told.grad[:, 0].abs().max() > 0
    lost = FrameCameras(cameras.pose, cameras.intrinsics, torch.zeros(1))
    assert float(loss_of(depth[:, TARGETS], video, lost)) == pytest.approx(0.0)
