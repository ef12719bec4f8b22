"""Walks to and fro through a maze of cells: they explore, come back along their way, and repeat."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from policy_fixtures import make_spec

from worldsim.errors import UsageError
from worldsim.policies.pool import build_policy
from worldsim.policies.to_and_fro import MOVES, POSE, ToAndFroPolicy
from worldsim.spec import VectorSpec, discrete_actions

SPEC = replace(
    make_spec(),
    action=discrete_actions(("stay", *MOVES)),
    agent_pos=VectorSpec(POSE, ("1",) * len(POSE)),
)
FREE = {(x, 1) for x in range(1, 7)} | {(3, y) for y in range(1, 6)} | {(6, 2), (6, 3)}
"""Cells of a maze of corridors; all others are walls."""
STEP, TURN, RADIUS = 0.2, np.deg2rad(18.0), 0.15


class Ball:
    """A walker of a maze that walls stop, each axis by itself."""

    def __init__(self, heading: float) -> None:
        self.place, self.heading = np.array([3.5, 1.5]), heading
        self.bumps = 0

    @property
    def seen(self) -> np.ndarray:
        return np.array([*self.place, np.cos(self.heading), np.sin(self.heading)], np.float32)

    def step(self, action: np.ndarray) -> None:
        name = SPEC.action.names[int(action.argmax())]
        self.heading += TURN * (name.endswith("left") - float(name.endswith("right")))
        if not name.startswith("forward"):
            return
        for axis, part in enumerate((np.cos(self.heading), np.sin(self.heading))):
            there = self.place.copy()
            there[axis] += STEP * part
            edge = there.copy()
            edge[axis] += np.sign(part) * RADIUS
            if tuple(np.floor(edge).astype(int)) in FREE:
                self.place = there
            else:
                self.bumps += 1


def walk(
    policy: Any, headings: list[float], steps: int, ids: list[int], seed: int = 5
) -> tuple[np.ndarray, list[Ball]]:
    """Places and headings `[N, steps + 1, 4]`."""
    balls = [Ball(heading) for heading in headings]
    policy.reset(ids, seed)
    told = [[ball.seen for ball in balls]]
    for _ in range(steps):
        actions = policy.act({"agent_pos": np.stack(told[-1])}, ids)
        assert actions.shape == (len(balls), 1, SPEC.action.dim)
        for ball, action in zip(balls, actions[:, 0], strict=True):
            ball.step(SPEC.action.check(action, "test"))
        told.append([ball.seen for ball in balls])
    return np.stack(told, axis=1), balls


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_way_back_leads_along_the_way_out(seed: int) -> None:
    out, headings = 60, [0.3, 2.0, -2.5]
    policy = ToAndFroPolicy(SPEC, turn_after=out)
    found, balls = walk(policy, headings, 260, [0, 1, 2], seed)
    for way, ball in zip(found, balls, strict=True):
        assert ball.bumps > 0  # walls are known by running into them
        assert len({tuple(np.floor(place[:2]).astype(int)) for place in way[:out]}) >= 3
        first, then = way[: out + 1, :2], way[out + 1 :, :2]
        apart = np.linalg.norm(then[:, None] - first, axis=-1)
        assert apart.min(axis=1).max() < 0.5
        assert np.linalg.norm(then - first[0], axis=-1).min() < 0.3  # back at the start
        # And out again: the second time it stands there as it did, and looks the same way.
        facing = np.einsum("tk,sk->ts", way[out + 1 :, 2:], way[: out + 1, 2:])
        assert ((apart < 0.3) & (facing > np.cos(np.deg2rad(25)))).any(axis=1).mean() > 0.3


def test_a_walk_depends_on_seed_and_env_alone() -> None:
    policy = build_policy(SPEC, "mine", "to_and_fro", turn_after=30)
    headings = [0.0, 1.0, 2.0]
    together = walk(policy, headings, 50, [4, 7, 9])[0]
    np.testing.assert_array_equal(walk(policy, headings, 50, [4, 7, 9])[0], together)
    np.testing.assert_array_equal(walk(policy, headings[1:2], 50, [7])[0], together[1:2])
    order = [2, 0, 1]
    turned = walk(policy, [headings[i] for i in order], 50, [9, 4, 7])[0]
    np.testing.assert_array_equal(turned, together[order])
    assert not np.array_equal(walk(policy, headings, 50, [4, 7, 9], seed=6)[0], together)


def test_another_world_is_refused() -> None:
    with pytest.raises(UsageError, match="take env=memory_maze"):
        ToAndFroPolicy(make_spec())
    with pytest.raises(UsageError, match="turn_after"):
        ToAndFroPolicy(SPEC, turn_after=0)
