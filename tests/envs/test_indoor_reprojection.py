"""What one frame shows lies where the next frame sees it: env and `worldsim.cameras` agree."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from worldsim.cameras.depth import unproject
from worldsim.cameras.projection import PROJECTIONS
from worldsim.cameras.splat import Points, splat
from worldsim.envs import make
from worldsim.spec import CameraSpec, DepthKind

Shown = tuple[dict[str, Any], dict[str, Any]]
"""Observation and info of a frame."""


def carried(
    one: Shown, other: Shown, view: int, camera: CameraSpec, intrinsics: np.ndarray, kind: DepthKind
) -> tuple[float, float, float]:
    """Median depth error, PSNR (dB) and coverage of one frame's points in another frame."""
    readers: tuple[Callable[[Any, Any], Any], ...] = (
        lambda shown, info: info["camera_pose"][view],
        lambda shown, info: info["depth"][view],
        lambda shown, info: shown["pixels"][camera.name].astype(np.float32) / 255,
    )
    poses, depths, images = (
        [torch.from_numpy(np.asarray(read(*each)))[None] for each in (one, other)]
        for read in readers
    )
    matrix, projection = torch.from_numpy(intrinsics)[None], PROJECTIONS.get(camera.projection)
    points = unproject(depths[0], kind, matrix, poses[0], projection)
    count = camera.height * camera.width
    cloud = Points(
        points.reshape(1, -1, 3),
        images[0].reshape(1, -1, 3),
        torch.zeros(1, count),
        torch.ones(1, count, dtype=torch.bool),
    )
    size = camera.height, camera.width
    drawn = splat(cloud, matrix, poses[1], size, projection, finer=1, levels=0)
    there = drawn.coverage > 0
    error = (drawn.depth / depths[1] - 1).abs()
    agree = there & (error < 0.02)
    square = (drawn.features.movedim(1, -1) - images[1]).square()[agree].mean()
    psnr = -10 * math.log10(max(float(square), 1e-12))
    return float(error[there].median()), psnr, float(there.float().mean())


@pytest.mark.parametrize("sensor", ["panorama", "front", "three"])
def test_points_of_one_frame_fit_the_next(sensor: str) -> None:
    env = make("worldsim/IndoorNav-v0", sensor=sensor, image_size=64)
    unwrapped: Any = env.unwrapped
    spec, rig = unwrapped.spec_world, unwrapped.camera_rig
    before = env.reset(seed=5)
    for action in (1, 2, 1, 1):
        observation, _, _, _, info = env.step(action)
    assert np.hypot(*(before[1]["position"] - info["position"])) > 0.4
    for view, camera in enumerate(spec.cameras):
        given = (view, camera, rig.intrinsics[view], spec.depth)
        error, psnr, coverage = carried(before, before, *given)
        assert error < 1e-4 and psnr > 40 and coverage > 0.99
        error, psnr, coverage = carried(before, (observation, info), *given)
        assert error < 0.02 and psnr > 25 and coverage > 0.02
