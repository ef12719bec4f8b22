"""The process vector env against single envs, and its autoreset rules and failures."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

from worldsim.envs import make
from worldsim.envs.vector import ProcessVectorEnv, make_vector
from worldsim.errors import UsageError, WorldsimError

PUSH = "worldsim/TabletopPush-v0"
N = 3
KWARGS: dict[str, Any] = {"image_size": 16, "factors": "in_distribution"}


def random_actions(seed: int, *shape: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (*shape, 5)).astype(np.float32)


@pytest.fixture(scope="module")
def shared() -> Iterator[ProcessVectorEnv]:
    """Ended envs stay frozen; short episodes."""
    env = make_vector(PUSH, N, 2, "Disabled", max_episode_steps=6, **KWARGS)
    yield env
    env.close()


def row(batch: dict[str, Any], index: int) -> dict[str, Any]:
    return {
        **{name: image[index] for name, image in batch["pixels"].items()},
        "agent_pos": batch["agent_pos"][index],
    }


def assert_row(batch: dict[str, Any], index: int, single: dict[str, Any]) -> None:
    expected = {**single["pixels"], "agent_pos": single["agent_pos"]}
    for name, array in row(batch, index).items():
        np.testing.assert_array_equal(array, expected[name], err_msg=name)
    assert batch["task"][index] == single["task"]


def test_equals_single_envs(shared: ProcessVectorEnv) -> None:
    actions = random_actions(0, 5, N)
    observation, info = shared.reset(seed=10)
    assert shared.observation_space.contains(observation)
    answers = [shared.step(actions[t]) for t in range(5)]
    for index in range(N):
        single = make(PUSH, max_episode_steps=6, **KWARGS)
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
    assert answers[0][4]["success"].dtype == bool and answers[0][4]["state"].shape == (N, 7)


def test_permuting_envs_permutes_results(shared: ProcessVectorEnv) -> None:
    actions, order = random_actions(1, 4, N), np.array([2, 0, 1])
    seeds = [5, 6, 7]
    shared.reset(seed=seeds)
    straight = [shared.step(actions[t]) for t in range(4)]
    shared.reset(seed=[seeds[i] for i in order])
    permuted = [shared.step(actions[t][order]) for t in range(4)]
    for a, b in zip(straight, permuted, strict=True):
        for camera in a[0]["pixels"]:
            np.testing.assert_array_equal(a[0]["pixels"][camera][order], b[0]["pixels"][camera])
        np.testing.assert_array_equal(a[4]["state"][order], b[4]["state"])


def test_disabled_freezes_ended_envs_until_masked_reset(shared: ProcessVectorEnv) -> None:
    shared.reset(seed=0)
    still = np.zeros((N, 5), np.float32)
    for _ in range(6):
        last = shared.step(still)
    assert last[3].all()
    frozen = shared.step(random_actions(2, N))
    np.testing.assert_array_equal(frozen[0]["pixels"]["wrist"], last[0]["pixels"]["wrist"])
    assert frozen[3].all() and (frozen[1] == 0).all()
    mask = np.array([False, True, False])
    observation, info = shared.reset(seed=40, options={"reset_mask": mask})
    np.testing.assert_array_equal(info["_state"], mask)
    np.testing.assert_array_equal(observation["agent_pos"][0], last[0]["agent_pos"][0])
    assert_row(observation, 1, make(PUSH, **KWARGS).reset(seed=41)[0])
    assert shared.step(still)[3].tolist() == [True, False, True]


def test_states_move_between_vector_and_single(shared: ProcessVectorEnv) -> None:
    shared.reset(seed=20)
    shared.step(random_actions(3, N))
    states = shared.call("get_state")
    single: Any = make(PUSH, max_episode_steps=6, **KWARGS).unwrapped
    single.set_state(states[2])
    action = random_actions(4, N)
    expected = single.step(action[2])
    each = [{"initial_state": state} for state in states[::-1]]
    shared.reset(seed=0, options={"each": each})
    batch = shared.step(action[::-1])[0]
    assert_row(batch, 0, expected[0])
    rigs = shared.get_attr("camera_rig")
    np.testing.assert_array_equal(rigs[0].extrinsics, single.camera_rig.extrinsics)
    shared.call_each("set_state", [(state,) for state in states])
    assert [s["seed"] for s in shared.call("get_state")] == [20, 21, 22]


def test_observations_are_the_callers_own(shared: ProcessVectorEnv) -> None:
    first, _ = shared.reset(seed=1)
    kept = first["pixels"]["wrist"].copy()
    shared.step(random_actions(5, N))
    np.testing.assert_array_equal(first["pixels"]["wrist"], kept)


def test_errors_name_the_env_and_leave_it_usable(shared: ProcessVectorEnv) -> None:
    shared.reset(seed=0)
    bad = random_actions(6, N)
    bad[2, 0] = np.nan
    with pytest.raises(UsageError, match=r"env 2 \(worldsim/TabletopPush-v0\).*NaN"):
        shared.step(bad)
    with pytest.raises(UsageError, match="got 2 actions for 3 envs"):
        shared.step(random_actions(6, 2))
    with pytest.raises(UsageError, match="reset_mask must be bool"):
        shared.reset(options={"reset_mask": np.array([1, 0, 0])})
    with pytest.raises(UsageError, match="unknown factor"):
        shared.reset(options={"factors": {"weight": 1}})
    with pytest.raises(UsageError, match="no attribute 'flavour'"):
        shared.get_attr("flavour")
    shared.reset(seed=0)
    assert shared.step(random_actions(7, N))[4]["_state"].all()


@pytest.mark.parametrize("mode", ["NextStep", "SAME_STEP"])
def test_autoreset(mode: str) -> None:
    env = make_vector(PUSH, 2, 1, mode, max_episode_steps=2, **KWARGS)
    single = make(PUSH, max_episode_steps=2, **KWARGS)
    still = np.zeros((2, 5), np.float32)
    env.reset(seed=3)
    env.step(still)
    ended = env.step(still)
    assert ended[3].all()
    single.reset(seed=3)
    single.step(still[0])
    final = single.step(still[0])[0]
    fresh = single.reset()[0]
    if mode == "SAME_STEP":
        assert_row(ended[0], 0, fresh)
        np.testing.assert_array_equal(
            ended[4]["final_obs"][0]["pixels"]["wrist"], final["pixels"]["wrist"]
        )
        assert ended[4]["final_info"]["state"].shape == (2, 7)
    else:
        assert_row(ended[0], 0, final)
        after = env.step(random_actions(0, 2))
        assert_row(after[0], 0, fresh)
        assert not after[3].any() and (after[1] == 0).all()
    env.close()


def test_bad_requests_are_refused_before_anything_runs() -> None:
    with pytest.raises(UsageError, match="Did you mean 'worldsim/TabletopPush-v0'"):
        make_vector("worldsim/TabletopPus-v0", 2, 1)
    with pytest.raises(UsageError, match="num_envs is 0"):
        make_vector(PUSH, 0)
    with pytest.raises(UsageError, match="Did you mean 'Disabled'"):
        make_vector(PUSH, 2, 1, "disable")
    with pytest.raises(UsageError, match="unknown factor"):
        make_vector(PUSH, 1, 1, factors="colours")


def test_a_dead_worker_is_reported() -> None:
    env = make_vector(PUSH, 2, 2, **KWARGS)
    env.reset(seed=0)
    os.kill(env.worker_pids[1], signal.SIGKILL)
    with pytest.raises(WorldsimError, match="process of envs 1 to 1 ended with code -9"):
        env.step(random_actions(0, 2))
    env.close()


def test_workers_end_with_their_parent() -> None:
    script = (
        "import time\nfrom worldsim.envs.vector import make_vector\n"
        f"env = make_vector({PUSH!r}, 1, 1, image_size=16)\n"
        "print(env.worker_pids[0], flush=True)\ntime.sleep(60)"
    )
    parent = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    worker = int(parent.stdout.readline())
    parent.kill()
    parent.wait()
    deadline = time.monotonic() + 10
    while _runs(worker):
        assert time.monotonic() < deadline, "the worker outlived its parent"
        time.sleep(0.05)


def _runs(process: int) -> bool:
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rsplit(")", 1)[1].split()[0] != "Z"
    except FileNotFoundError:
        return False
