"""Every tabletop env keeps the promises that the rest of the package builds on."""

import json
import warnings
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env
from scipy.spatial.transform import Rotation

from worldsim.envs import make
from worldsim.envs.tabletop.base import TabletopEnv
from worldsim.envs.tabletop.placing import cos_sin_4, upward
from worldsim.errors import UsageError
from worldsim.spec import WorldSpec

TASKS = ("Reach", "Push", "PickPlace", "Drawer", "Shuttle")


def make_env(task: str, **kwargs: Any) -> TabletopEnv:
    env = make(f"worldsim/Tabletop{task}-v0", **{"image_size": 24, **kwargs}).unwrapped
    assert isinstance(env, TabletopEnv)
    return env


def actions(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).uniform(-1, 1, (count, 5)).astype(np.float32)


def flat(observation: dict[str, Any], info: dict[str, Any]) -> dict[str, np.ndarray]:
    """Every array that an env answers with."""
    arrays = {f"pixels.{name}": image for name, image in observation["pixels"].items()}
    arrays |= {"agent_pos": observation["agent_pos"], "state": info["state"]}
    return arrays | {"progress": np.array(info["progress"])}


def assert_same(a: dict[str, np.ndarray], b: dict[str, np.ndarray]) -> None:
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


@pytest.mark.parametrize("task", TASKS)
def test_check_env_is_clean(task: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Its advice on spaces takes a batch of pixels for granted and concerns no rule.
        warnings.filterwarnings("ignore", message=".*not within the observation space.*")
        check_env(make_env(task, render_mode="rgb_array"), skip_render_check=True)


@pytest.mark.parametrize("task", TASKS)
def test_spec_describes_what_is_returned(task: str) -> None:
    env = make_env(task)
    observation, info = env.reset(seed=1)
    spec = env.spec_world
    assert WorldSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert tuple(observation["pixels"]) == spec.camera_names == env.camera_rig.names
    assert observation["agent_pos"].shape == (spec.agent_pos.dim,)
    assert observation["agent_pos"].dtype == np.float32
    assert info["state"].shape == (spec.state.dim,) and info["state"].dtype == np.float32
    _, reward, terminated, truncated, info = env.step(np.zeros(5, np.float32))
    assert info["action_achieved"].shape == (spec.action.dim,)
    assert info["action_achieved"].dtype == np.float32
    assert info["success"] is info["is_success"] and isinstance(info["success"], bool)
    assert isinstance(reward, float) and 0.0 <= info["progress"] <= 1.0
    assert (terminated, truncated) == (False, False)


@pytest.mark.parametrize("task", TASKS)
def test_seed_fixes_the_episode_and_differs_from_the_next(task: str) -> None:
    env, other = make_env(task, factors="shifted"), make_env(task, factors="shifted")
    other.reset(seed=99)
    first, again = flat(*env.reset(seed=4)), flat(*other.reset(seed=4))
    assert_same(first, again)
    for action in actions(0, 12):
        step, step_again = env.step(action), other.step(action)
        assert_same(flat(step[0], step[4]), flat(step_again[0], step_again[4]))
        assert step[1:4] == step_again[1:4]
    state = flat(*env.reset(seed=5))["state"]
    assert np.abs(state - first["state"]).max() > 1e-3


def test_unseeded_resets_differ_and_follow_the_first_seed() -> None:
    env, other = make_env("Push"), make_env("Push")
    for one in (env, other):
        one.reset(seed=3)
    _, first = env.reset()
    _, second = env.reset()
    assert np.abs(first["state"] - second["state"]).max() > 1e-3
    np.testing.assert_array_equal(other.reset()[1]["state"], first["state"])


@pytest.mark.parametrize("task", TASKS)
def test_state_restores_bit_for_bit_in_another_env(task: str) -> None:
    env, other = make_env(task, factors="in_distribution"), make_env(task)
    env.reset(seed=7)
    for action in actions(1, 6):
        env.step(action)
    saved = env.get_state()
    assert saved["physics"].dtype == np.float64 and saved["physics"].ndim == 1
    rest = {key: value for key, value in saved.items() if key != "physics"}
    reloaded = {"physics": saved["physics"].tolist(), **json.loads(json.dumps(rest))}
    observation, info = other.reset(seed=0, options={"initial_state": reloaded})
    assert_same(flat(observation, info), flat(env._observe(), env._info()))
    for action in actions(2, 15):
        step, restored = env.step(action), other.step(action)
        assert_same(flat(step[0], step[4]), flat(restored[0], restored[4]))
        assert step[1:4] == restored[1:4]
    np.testing.assert_array_equal(env.get_state()["physics"], other.get_state()["physics"])
    env.set_state(saved)
    np.testing.assert_array_equal(env.get_state()["physics"], saved["physics"])


@pytest.mark.parametrize("task", TASKS)
def test_answers_share_no_memory(task: str) -> None:
    env = make_env(task)
    before, info = env.reset(seed=0)
    kept = flat(before, info)
    copies = {name: array.copy() for name, array in kept.items()}
    for action in actions(3, 4):
        env.step(action)
    assert_same(kept, copies)


def test_truncates_at_the_limit_and_terminates_on_success() -> None:
    env = make_env("Reach", max_episode_steps=4)
    env.reset(seed=0)
    ends = [env.step(np.zeros(5, np.float32))[3] for _ in range(4)]
    assert ends == [False, False, False, True]
    _, info = env.reset(seed=0)
    terminated = False
    for _ in range(40):
        hand = env.gripper.agent_pos()[:3]
        move = np.clip((info["state"] - hand) / 0.03, -1, 1)
        _, reward, terminated, _, info = env.step(np.array([*move, 0, 0], np.float32))
        if terminated:
            break
    assert terminated and info["success"] and info["progress"] == 1.0 and reward > 4.0


def test_free_motion_achieves_what_is_commanded() -> None:
    env = make_env("Reach")
    env.reset(seed=2)
    for action in ((0.5, 0.2, 0.3, 0.5, -1), (-1, -0.4, 0.0, -0.3, 1), (0, 0, 0, 0, 1)):
        command = np.array(action, np.float32)
        for _ in range(2):
            achieved = env.step(command)[4]["action_achieved"]
        np.testing.assert_allclose(achieved[:4], command[:4], atol=0.02)
    assert achieved[4] == pytest.approx(1.0, abs=0.05)


def test_target_stays_within_the_workspace() -> None:
    env = make_env("Reach", max_episode_steps=100)
    env.reset(seed=2)
    for _ in range(30):
        env.step(np.array([1, -1, -1, 1, 0], np.float32))
    x, y, z = env.gripper.agent_pos()[:3]
    assert x == pytest.approx(0.17, abs=2e-3) and y == pytest.approx(-0.17, abs=2e-3)
    assert 0.005 < z < 0.02


def test_a_blocked_hand_answers_the_next_action_at_once() -> None:
    """Pressed down on a cube or at rest above it, it then rises alike: no target runs ahead."""
    rises = []
    for pressing in (-1.0, 0.0):
        env = make_env("Push")
        env.reset(seed=0)
        cube = env.data.body("object").xpos
        half = float(env.model.geom("object").size[2])
        env.gripper.place(np.array([*cube[:2], 2 * half + 0.0115]), 0.0, 0.0)
        for _ in range(5):
            env.step(np.array([0, 0, pressing, 0, -1], np.float32))
        before = env.gripper.agent_pos()[2]
        assert before < 2 * half + 0.013
        env.step(np.array([0, 0, 1, 0, -1], np.float32))
        rises.append(float(env.gripper.agent_pos()[2] - before))
    assert rises[1] == pytest.approx(0.03, abs=2e-3)
    assert rises[0] == pytest.approx(rises[1], abs=4e-3)


@pytest.mark.parametrize("lean", [0.0, 0.3, 0.6])
@pytest.mark.parametrize("way", [0.0, 1.1, 4.0])
@pytest.mark.parametrize("yaw", [-0.6, 0.0, 0.5])
def test_yaw_and_tilt_of_a_cube(yaw: float, way: float, lean: float) -> None:
    """Turned about z, then leant over towards `way`; any of its faces may be the upper one."""
    axis = np.array([-np.sin(way), np.cos(way), 0.0])
    pose = Rotation.from_rotvec(lean * axis) * Rotation.from_rotvec([0.0, 0.0, yaw])
    for face in (np.eye(3), np.eye(3)[:, [1, 2, 0]], np.eye(3)[:, [2, 0, 1]] * [1, -1, -1]):
        axes = pose.as_matrix() @ face
        np.testing.assert_allclose(cos_sin_4(axes), (np.cos(4 * yaw), np.sin(4 * yaw)), atol=1e-9)
        leant = np.sin(lean) * np.array([np.cos(way), np.sin(way)])
        np.testing.assert_allclose(upward(axes)[:2], leant, atol=1e-9)


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (np.zeros(4), r"shape \(4,\), expected \[..., 5\]"),
        (np.full(5, np.nan), "NaN"),
        (np.array([np.inf, 0, 0, 0, 0]), "infinity"),
    ],
)
def test_bad_actions_are_refused(action: np.ndarray, words: str) -> None:
    env = make_env("Push")
    env.reset(seed=0)
    with pytest.raises(UsageError, match=words):
        env.step(action.astype(np.float32))


def test_bad_arguments_are_refused() -> None:
    with pytest.raises(UsageError, match="image_size is 4"):
        make_env("Push", image_size=4)
    with pytest.raises(UsageError, match="max_episode_steps is 0"):
        make_env("Push", max_episode_steps=0)
    with pytest.raises(UsageError, match="unknown key in env 'colour'"):
        make_env("Push", colour="red")
    with pytest.raises(UsageError, match="Did you mean 'worldsim/TabletopPush-v0'"):
        make("worldsim/TabletopPus-v0")
    env = make_env("Push")
    with pytest.raises(UsageError, match="reset options"):
        env.reset(options={"speed": 2})
    with pytest.raises(UsageError, match="physics"):
        env.reset(options={"initial_state": {"physics": [1.0, 2.0]}})
    with pytest.raises(UsageError, match="physics"):
        env.set_state({"factors": {}})


def test_render_shows_all_views() -> None:
    env = make_env("Push", render_mode="rgb_array")
    observation, _ = env.reset(seed=0)
    image = env.render()
    assert image is not None and image.shape == (24, 72, 3)
    np.testing.assert_array_equal(image[:, 24:48], observation["pixels"]["exterior_2"])
