"""Simulator envs run in gymnasium's own vector envs."""

from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
import pytest
from gymnasium.vector import AsyncVectorEnv, AutoresetMode

from worldsim.envs import make

PUSH = "worldsim/TabletopPush-v0"
N = 2
KWARGS: dict[str, Any] = {"image_size": 16, "factors": "in_distribution", "max_episode_steps": 3}


@pytest.fixture(scope="module")
def vector() -> Iterator[Any]:
    """OpenGL contexts do not survive a fork, and gymnasium shares no text that changes."""
    env: Any = AsyncVectorEnv(
        [partial(make, PUSH, **KWARGS)] * N,
        shared_memory=False,
        context="spawn",
        autoreset_mode=AutoresetMode.SAME_STEP,
    )
    yield env
    env.close()


def random_actions(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (*shape, 5)).astype(np.float32)


def assert_row(batch: dict[str, Any], index: int, single: dict[str, Any]) -> None:
    for name, image in single["pixels"].items():
        np.testing.assert_array_equal(batch["pixels"][name][index], image, err_msg=name)
    np.testing.assert_array_equal(batch["agent_pos"][index], single["agent_pos"])
    assert batch["task"][index] == single["task"]


def test_equals_single_envs(vector: Any) -> None:
    actions = random_actions(0, 2, N)
    observation, info = vector.reset(seed=10)
    assert vector.observation_space.contains(observation)
    answers = [vector.step(each) for each in actions]
    assert answers[0][4]["success"].dtype == bool and answers[0][4]["state"].shape == (N, 7)
    for index in range(N):
        single = make(PUSH, **KWARGS)
        expected, expected_info = single.reset(seed=10 + index)
        assert_row(observation, index, expected)
        np.testing.assert_array_equal(info["state"][index], expected_info["state"])
        for t, (batch, reward, terminated, truncated, infos) in enumerate(answers):
            expected, one_reward, one_terminated, one_truncated, one = single.step(
                actions[t, index]
            )
            assert_row(batch, index, expected)
            assert reward[index] == one_reward
            assert (terminated[index], truncated[index]) == (one_terminated, one_truncated)
            assert infos["progress"][index] == one["progress"]
            for name in ("state", "action_achieved"):
                np.testing.assert_array_equal(infos[name][index], one[name])


def test_states_move_between_vector_and_single(vector: Any) -> None:
    vector.reset(seed=20)
    vector.step(random_actions(3, N))
    states = vector.call("get_state")
    assert [state["seed"] for state in states] == [20, 21]
    single: Any = make(PUSH, **KWARGS).unwrapped
    single.set_state(states[1])
    action = random_actions(4, N)
    expected = single.step(action[1])
    assert_row(vector.step(action)[0], 1, expected[0])
    rigs = vector.get_attr("camera_rig")
    np.testing.assert_array_equal(rigs[1].extrinsics, single.camera_rig.extrinsics)


def test_a_finished_env_begins_again_and_its_last_observation_is_told(vector: Any) -> None:
    single = make(PUSH, **KWARGS)
    still = np.zeros((N, 5), np.float32)
    vector.reset(seed=3)
    single.reset(seed=3)
    for _ in range(3):
        ended, final = vector.step(still), single.step(still[0])[0]
    assert ended[3].all()
    assert_row(ended[0], 0, single.reset()[0])
    last = ended[4]["final_obs"][0]["pixels"]["wrist"]
    np.testing.assert_array_equal(last, final["pixels"]["wrist"])
    assert ended[4]["final_info"]["state"].shape == (N, 7)
