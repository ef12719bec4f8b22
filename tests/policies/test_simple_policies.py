"""Random, zero and replay policies."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from policy_fixtures import make_observation, make_spec

from worldsim.conventions import Observation
from worldsim.errors import UsageError
from worldsim.policies.simple import RandomPolicy, ReplayPolicy, ZeroPolicy, keeps_still
from worldsim.spec import EE_POSITION, ActionSpec, VectorSpec, discrete_actions

SPEC = make_spec()


def test_random_holds_an_action_and_covers_the_limits() -> None:
    policy = RandomPolicy(SPEC, hold=3)
    policy.reset(range(500), 0)
    actions = policy.act(make_observation(500), range(500))
    assert actions.shape == (500, 3, 3) and policy.n_action_steps == 3
    np.testing.assert_array_equal(actions[:, 0], actions[:, 2])
    assert actions.min() < -0.95 and actions.max() > 0.95
    assert abs(actions[:, 0].mean()) < 0.06
    assert not np.array_equal(actions, policy.act(make_observation(500), range(500)))


def test_random_refuses_a_hold_of_nothing() -> None:
    with pytest.raises(UsageError, match="hold"):
        RandomPolicy(SPEC, hold=0)


def test_zero() -> None:
    policy = ZeroPolicy(SPEC)
    policy.reset([0, 1], 0)
    assert not policy.act(make_observation(2), [0, 1]).any()


ABSOLUTE = replace(
    SPEC,
    action=ActionSpec(
        names=("x", "y", "z", "gripper_width"),
        low=(-1.0,) * 4,
        high=(1.0,) * 4,
        units=("m",) * 4,
        scale=(0.5, 0.5, 0.5, 0.1),
        mode="absolute",
        frame="world",
    ),
    agent_pos=VectorSpec((*EE_POSITION, "gripper_width"), ("m",) * 4),
)


def test_zero_with_absolute_actions_holds_the_pose_at_first() -> None:
    """Zeros would drive the robot to the middle of its range."""
    policy = ZeroPolicy(ABSOLUTE)
    poses = np.array([[0.1, -0.2, 0.3, 0.04], [0.0, 0.9, 0.2, 0.08]], np.float32)
    policy.reset([0, 1], 0)
    first = policy.act(seen(poses), [0, 1])
    np.testing.assert_allclose(
        first[:, 0], [[0.2, -0.4, 0.6, 0.4], [0.0, 1.0, 0.4, 0.8]], atol=1e-6
    )
    sagged = seen(poses[::-1] - 0.01)
    np.testing.assert_array_equal(policy.act(sagged, [1, 0]), first[::-1])
    policy.reset([0], 0)
    assert policy.act(seen(poses[1:]), [0])[0, 0, 2] == pytest.approx(0.4)


def seen(agent_pos: NDArray[np.float32]) -> Observation:
    return {"pixels": {}, "agent_pos": agent_pos, "task": [""] * len(agent_pos)}


@pytest.mark.parametrize(
    ("changes", "still"),
    [
        ({}, True),
        ({"mode": "delta"}, True),
        ({"mode": "torque"}, False),
        ({"mode": "unknown"}, False),
        ({"frame": "joint"}, False),
        ({"names": ("x", "y", "z", "grip")}, False),
        ({"units": ("m", "m", "m", "1")}, False),
    ],
)
def test_whether_zero_keeps_still_is_told_by_the_spec(changes: dict[str, Any], still: bool) -> None:
    spec = replace(ABSOLUTE, action=replace(ABSOLUTE.action, **changes))
    assert keeps_still(spec) is still
    policy = ZeroPolicy(spec)
    policy.reset([0], 0)
    assert policy.act(seen(np.full((1, 4), 0.05, np.float32)), [0]).any() == (
        still and spec.action.mode == "absolute"
    )


def test_replay_of_absolute_actions_stays_where_it_ended() -> None:
    policy = ReplayPolicy(ABSOLUTE, actions=[np.full((2, 4), 0.3, np.float32)])
    policy.reset([0], 0)
    here = seen(np.zeros((1, 4), np.float32))
    acted = [policy.act(here, [0])[0, 0] for _ in range(4)]
    np.testing.assert_allclose(acted, 0.3, atol=1e-7)


def test_replay_repeats_each_recording_then_rests() -> None:
    recordings = [np.full((2, 3), 0.1, np.float32), np.full((3, 3), 0.2, np.float32)]
    policy = ReplayPolicy(SPEC, actions=recordings)
    policy.reset([0, 1, 2], 0)
    acted = np.stack([policy.act(make_observation(3), [0, 1, 2])[:, 0, 0] for _ in range(4)], 1)
    np.testing.assert_allclose(
        acted, [[0.1, 0.1, 0, 0], [0.2, 0.2, 0.2, 0], [0.1, 0.1, 0, 0]], atol=1e-7
    )


def test_replay_refuses_other_actions_and_nothing() -> None:
    with pytest.raises(UsageError, match="recording 0.*expected"):
        ReplayPolicy(SPEC, actions=[np.zeros((2, 5), np.float32)])
    with pytest.raises(UsageError, match="dataset"):
        ReplayPolicy(SPEC)


def test_zero_takes_the_choice_that_stays() -> None:
    spec = replace(SPEC, action=discrete_actions(("forward", "stay")))
    assert keeps_still(spec)
    assert not keeps_still(replace(SPEC, action=discrete_actions(("left", "right"))))
    policy = ZeroPolicy(spec)
    policy.reset([0, 1], 0)
    assert policy.act(make_observation(2), [0, 1]).tolist() == [[[0, 1]]] * 2
