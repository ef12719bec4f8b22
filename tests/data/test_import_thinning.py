"""Idle frames are left out on request, and frames by a stride; actions say the same as before."""

from pathlib import Path

import numpy as np
import pytest
from recordings import Take, is_at, picture, takes, write_films

from worldsim.cli.main import main
from worldsim.data.dataset import LeRobotDataset

FRONT, WRIST = (32, 48), (48, 32)


def paused(take: Take, at: int, rows: int) -> Take:
    """`take` with a stretch in which nothing is asked for and nothing moves."""
    hold = np.zeros((rows, 4), np.float32)
    hold[:, 3] = take.action[at - 1, 3]
    state = np.insert(take.state, [at] * rows, take.state[at], axis=0)
    return Take(
        np.insert(take.action, [at] * rows, hold, axis=0),
        state,
        np.stack([picture(s[:2], FRONT) for s in state]),
        np.stack([picture(s[1:3], WRIST) for s in state]),
        take.success,
        take.task,
    )


def imported(root: Path, out: Path, *options: str) -> LeRobotDataset:
    assert main(["data", "import", f"source={root}", f"out={out}", *options]) == 0
    return LeRobotDataset(out)


@pytest.mark.parametrize("most", [0, 2])
def test_idle_stretches_are_cut_to_what_was_asked_for(tmp_path: Path, most: int) -> None:
    moving = takes(4)
    root = write_films(tmp_path / "films", [paused(take, 6, 20) for take in moving])
    dataset = imported(root, tmp_path / "set", f"idle={most}")
    for number, take in enumerate(moving):
        found = dataset.episode(number)
        assert found.length == 14 + most and found.meta.success == take.success
        kept = [row for row in range(found.length) if not 6 <= row < 6 + most]
        np.testing.assert_allclose(found.action[kept], take.action, atol=1e-5)
        rows = [*kept, found.length]
        np.testing.assert_allclose(found.agent_pos[rows], take.state, atol=1e-5)
        assert all(map(is_at, found.pixels["front"], found.agent_pos[:, :2]))
    whole = imported(root, tmp_path / "whole")
    assert whole.episode(0).length == 34


def test_a_stride_adds_displacements_up_and_keeps_the_last_of_a_switch(tmp_path: Path) -> None:
    recorded = takes(4, steps=15)
    dataset = imported(write_films(tmp_path / "films", recorded), tmp_path / "set", "stride=3")
    assert dataset.spec.fps == pytest.approx(10 / 3)
    for number, take in enumerate(recorded):
        found = dataset.episode(number)
        sums = take.action.reshape(5, 3, 4)
        np.testing.assert_allclose(found.action[:, :3], sums.sum(axis=1)[:, :3], atol=1e-5)
        np.testing.assert_allclose(found.action[:, 3], sums[:, -1, 3])
        np.testing.assert_allclose(found.agent_pos, take.state[::3], atol=1e-6)
        assert found.success[-1] == take.success
