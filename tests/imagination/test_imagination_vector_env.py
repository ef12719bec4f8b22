"""The vector env: autoreset modes, seeds, and equality with single envs."""

import gymnasium
import numpy as np
import pytest
from gymnasium.vector import AutoresetMode
from imagination_testing import (
    nano_env,
    nano_judge,
    nano_starts,
    nano_vector_env,
    random_actions,
)
from worldsim_testing import CAMERAS, nano_model, nano_spec

import worldsim.envs  # noqa: F401  (registers the ids)
from worldsim.envs.imagination import FrameStarts, ImaginationVectorEnv
from worldsim.errors import UsageError

PIXEL_TOLERANCE = 1
"""Batches of another size may round a pixel the other way."""


def close(first: np.ndarray, second: np.ndarray) -> bool:
    return bool(np.abs(first.astype(int) - second.astype(int)).max() <= PIXEL_TOLERANCE)


def test_make_vec_gives_the_native_env() -> None:
    env = gymnasium.make_vec(
        "worldsim/Imagination-v0",
        num_envs=2,
        vectorization_mode="vector_entry_point",
        model=nano_model(),
        judge=nano_judge(),
        starts=FrameStarts(nano_starts(), nano_spec()),
        sampling_steps=1,
    )
    assert isinstance(env.unwrapped, ImaginationVectorEnv)
    observation, _ = env.reset(seed=0)
    assert env.observation_space.contains(observation)
    result = env.step(env.action_space.sample())
    assert env.observation_space.contains(result[0])
    assert env.metadata["autoreset_mode"] == AutoresetMode.NEXT_STEP


@pytest.mark.usefixtures("float32_inference")
def test_a_row_equals_a_single_env() -> None:
    actions = random_actions(3, 3)
    vector, single = nano_vector_env(3), nano_env()
    vector.reset(seed=10)
    rows = [vector.step(action) for action in actions]
    for i in range(3):
        single.reset(seed=10 + i)
        for t in range(3):
            observation, reward, _, truncated, info = single.step(actions[t, i])
            assert close(rows[t][0]["pixels"]["wrist"][i], observation["pixels"]["wrist"])
            assert rows[t][0]["task"][i] == observation["task"]
            assert rows[t][1][i] == pytest.approx(reward, abs=1e-3)
            assert rows[t][3][i] == truncated
            np.testing.assert_allclose(rows[t][4]["state"][i], info["state"], atol=1e-3)


@pytest.mark.usefixtures("float32_inference")
def test_permuting_envs_permutes_rollouts() -> None:
    actions, order = random_actions(2, 3), [2, 0, 1]
    straight, permuted = nano_vector_env(3), nano_vector_env(3)
    straight.reset(seed=[5, 6, 7])
    permuted.reset(seed=[7, 5, 6])
    for action in actions:
        first, second = straight.step(action)[0], permuted.step(action[order])[0]
        for name in CAMERAS:
            assert close(first["pixels"][name][order], second["pixels"][name])


def test_next_step_mode_begins_on_the_step_after_the_last() -> None:
    env = nano_vector_env(2, max_episode_steps=2)
    env.reset(seed=0)
    actions = random_actions(3, 2)
    env.step(actions[0])
    truncated = env.step(actions[1])[3]
    assert truncated.all()
    observation, reward, terminated, truncated, info = env.step(actions[2])
    assert not terminated.any() and not truncated.any() and not reward.any()
    assert info["_progress"].all()
    starts = np.stack([start.pixels[2] for start in nano_starts()])
    for row in observation["pixels"]["wrist"]:
        assert any(np.array_equal(row, start) for start in starts)


def test_same_step_mode_hands_over_the_last_frame() -> None:
    modes = (AutoresetMode.SAME_STEP, AutoresetMode.NEXT_STEP)
    same, following = (nano_vector_env(2, max_episode_steps=2, autoreset_mode=m) for m in modes)
    actions = random_actions(3, 2)
    for env in (same, following):
        env.reset(seed=0)
        env.step(actions[0])
    observation, _, _, truncated, info = same.step(actions[1])
    last = following.step(actions[1])
    assert truncated.all() and info["_final_obs"].all()
    for i in range(2):
        final = info["final_obs"][i]
        assert same.single_observation_space.contains(final)
        np.testing.assert_array_equal(final["pixels"]["wrist"], last[0]["pixels"]["wrist"][i])
    np.testing.assert_array_equal(info["final_info"]["progress"], last[4]["progress"])
    fresh = following.step(actions[2])[0]
    np.testing.assert_array_equal(observation["pixels"]["wrist"], fresh["pixels"]["wrist"])


def test_disabled_mode_waits_for_the_mask() -> None:
    env = nano_vector_env(3, max_episode_steps=1, autoreset_mode="DISABLED")
    env.reset(seed=0)
    actions = random_actions(2, 3)
    before = env.step(actions[0])[0]
    with pytest.raises(UsageError, match="reset_mask"):
        env.step(actions[1])
    mask = np.array([False, True, False])
    after, info = env.reset(options={"reset_mask": mask, "initial_state": 3})
    assert info["_progress"].tolist() == mask.tolist()
    np.testing.assert_array_equal(after["pixels"]["wrist"][1], nano_starts()[3].pixels[2])
    for i in (0, 2):
        np.testing.assert_array_equal(after["pixels"]["wrist"][i], before["pixels"]["wrist"][i])


@pytest.mark.usefixtures("float32_inference")
def test_restarting_one_env_leaves_the_others_alone() -> None:
    actions = random_actions(3, 2)
    plain, disturbed = (nano_vector_env(2, max_episode_steps=9) for _ in range(2))
    for env in (plain, disturbed):
        env.reset(seed=1)
        env.step(actions[0])
    disturbed.reset(seed=[None, 99], options={"reset_mask": np.array([False, True])})
    for action in actions[1:]:
        first, second = plain.step(action)[0], disturbed.step(action)[0]
        assert close(first["pixels"]["wrist"][0], second["pixels"]["wrist"][0])
        assert not close(first["pixels"]["wrist"][1], second["pixels"]["wrist"][1])


def test_a_masked_reset_seeds_only_the_envs_that_it_resets() -> None:
    def tasks(seed: int | list[int] | None) -> np.ndarray:
        env = nano_vector_env(3)
        env.reset(seed=0)
        env.reset(seed=seed, options={"reset_mask": np.array([False, True, False])})
        return np.array([env.reset()[0]["task"] for _ in range(12)])

    plain = tasks(None)
    for seed in (99, [97, 100, 98]):
        seeded = tasks(seed)
        assert (seeded[:, [0, 2]] == plain[:, [0, 2]]).all()
        assert (seeded[:, 1] != plain[:, 1]).any()
    assert (tasks(99) == tasks([1, 100, 1])).all(), "env i is given seed + i"


def test_a_refused_reset_leaves_the_random_numbers_alone() -> None:
    env, twin = nano_vector_env(2), nano_vector_env(2)
    for one in (env, twin):
        one.reset(seed=0)
    with pytest.raises(UsageError, match="initial states"):
        env.reset(seed=5, options={"initial_state": [1, 2, 3]})
    for _ in range(6):
        assert env.reset()[0]["task"] == twin.reset()[0]["task"]


def test_observations_handed_out_do_not_change_later() -> None:
    env = nano_vector_env(2, max_episode_steps=1)
    observation, _ = env.reset(seed=0)
    kept = observation["pixels"]["wrist"].copy()
    env.step(random_actions(1, 2)[0])
    env.step(random_actions(1, 2)[0])
    np.testing.assert_array_equal(observation["pixels"]["wrist"], kept)


def test_render_shows_each_env() -> None:
    env = nano_vector_env(2, render_mode="rgb_array")
    env.reset(seed=0)
    frames = env.render()
    assert frames is not None and len(frames) == 2
    assert frames[0].shape == (32, 3 * 32, 3)


def test_bad_requests_say_what_was_expected() -> None:
    with pytest.raises(UsageError, match="autoreset_mode"):
        nano_vector_env(1, autoreset_mode="sometimes")
    with pytest.raises(UsageError, match="num_envs"):
        nano_vector_env(0)
    env = nano_vector_env(2)
    with pytest.raises(UsageError, match="running envs"):
        env.reset(options={"reset_mask": np.array([True, False])})
    env.reset(seed=0)
    with pytest.raises(UsageError, match="reset_mask must be bool"):
        env.reset(options={"reset_mask": np.array([1, 0])})
    with pytest.raises(UsageError, match="seeds"):
        env.reset(seed=[1, 2, 3])
    with pytest.raises(UsageError, match=r"expected \[2, 5\]"):
        env.step(np.zeros((3, 5), np.float32))
