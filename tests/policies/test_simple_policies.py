"""Random, zero and replay policies."""

import numpy as np
import pytest
from policy_fixtures import make_observation, make_spec

from worldsim.errors import UsageError
from worldsim.policies.simple import RandomPolicy, ReplayPolicy, ZeroPolicy

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
