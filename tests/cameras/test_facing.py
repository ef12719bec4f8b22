"""Panoramas of an agent that turns, all turned to one heading."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from toy_room import TURN, WIDTH, Walker, seen
from toy_room_data import SPEC, rig
from worldsim_testing import nano_spec

from worldsim.cameras.facing import Facing, roll_panoramas, turn_panoramas, turn_poses
from worldsim.cameras.sphere import turn_panorama
from worldsim.errors import UsageError

FACING = Facing.of(SPEC)


def agent(walkers: list[Walker]) -> torch.Tensor:
    rows = [(w.x, w.y, math.cos(w.yaw), math.sin(w.yaw)) for w in walkers]
    return torch.tensor(rows, dtype=torch.float32)


def smooth(*shape: int) -> torch.Tensor:
    """Pictures without the one wave that a fraction of a column cannot move."""
    series = torch.fft.rfft(torch.randn(*shape, generator=torch.Generator().manual_seed(0)))
    series[..., -1] = 0.0
    found: torch.Tensor = torch.fft.irfft(series, n=shape[-1])
    return found


def test_every_panorama_turns_by_its_own_angle_as_one_alone_does() -> None:
    images, yaw = smooth(3, 2, 5, 16), torch.tensor([0.3, -2.0, math.pi / 4])
    turned = turn_panoramas(images, yaw)
    for row in range(3):
        alone = turn_panorama(torch.nn.functional.pad(images[row], (0, 0, 0, 3)), float(yaw[row]))
        torch.testing.assert_close(turned[row], alone[:, :5], atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(turn_panoramas(turned, -yaw), images, atol=1e-5, rtol=1e-5)


def test_whole_columns_are_a_roll_of_pictures_and_of_depth() -> None:
    images, yaw = torch.rand(2, 1, 4, 12), torch.tensor([math.pi / 2, -math.pi / 3])
    rolled = torch.stack([images[0].roll(3, -1), images[1].roll(-2, -1)])
    torch.testing.assert_close(turn_panoramas(images, yaw), rolled, atol=1e-6, rtol=0)
    assert torch.equal(roll_panoramas(images, yaw + 0.1), rolled)


def test_a_place_looks_the_same_whatever_way_the_agent_faces() -> None:
    walkers = [Walker(0.4, -0.3, turns * TURN) for turns in (0, 3, -5, 8)]
    frames, depths = zip(*map(seen, walkers), strict=True)
    pixels = torch.from_numpy(np.stack(frames)).movedim(-1, 1)[:, None].float()
    back = FACING.back(pixels, agent(walkers))
    # A ray along the edge of a stripe falls on either side of it, by rounding.
    assert ((back - back[:1]).abs() > 2.0).float().mean() < 0.01
    torch.testing.assert_close(FACING.away(back, agent(walkers)), pixels, atol=1e-2, rtol=0)
    depth = FACING.depth(torch.from_numpy(np.stack(depths))[:, None].float(), agent(walkers))
    assert ((depth - depth[:1]).abs() > 1e-3).float().mean() < 0.01
    poses = torch.from_numpy(np.stack([w.pose for w in walkers])).float()[:, None]
    level = FACING.poses(poses, agent(walkers))
    torch.testing.assert_close(level, level[:1].expand_as(level), atol=1e-5, rtol=0)
    torch.testing.assert_close(level[0], poses[0])


def test_a_pose_turns_left_about_its_own_vertical() -> None:
    ahead = torch.eye(4)
    turned = turn_poses(ahead, torch.tensor(math.pi / 2))
    torch.testing.assert_close(turned[:3, 2], torch.tensor([-1.0, 0.0, 0.0]), atol=1e-6, rtol=0)
    torch.testing.assert_close(turned[:3, 1], ahead[:3, 1])


def test_worlds_that_cannot_be_turned_are_refused() -> None:
    with pytest.raises(UsageError, match=r"model.derotate=true.*wrap=False"):
        Facing.of(nano_spec())
    fixed = replace(SPEC, cameras=tuple(replace(c, carrier=None) for c in SPEC.cameras))
    with pytest.raises(UsageError, match="on None"):
        Facing.of(fixed)
    mount = torch.from_numpy(rig().extrinsics)
    FACING.require_upright(mount)
    tilted = mount @ torch.tensor(
        [[1.0, 0, 0, 0], [0, 0.8, -0.6, 0], [0, 0.6, 0.8, 0], [0, 0, 0, 1]]
    )
    with pytest.raises(UsageError, match="stand upright"):
        FACING.require_upright(tilted)
    assert WIDTH % 16 == 0
