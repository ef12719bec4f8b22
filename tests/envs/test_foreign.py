"""The adapter over gymnasium's and gymnasium-robotics' MuJoCo envs."""

import warnings
from typing import Any

import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from worldsim.envs.foreign import ForeignEnv
from worldsim.envs.imagination import SimulatorStarts
from worldsim.envs.physics import physics_of
from worldsim.envs.rendering import camera_pose
from worldsim.errors import UsageError
from worldsim.spec import EE_POSITION, END_EFFECTOR

PUSHER_CAMERAS = (
    {"name": "front", "position": [1.7, -0.3, 0.9], "target": [0.25, -0.25, -0.2]},
    {"name": "top", "position": [0.3, -0.2, 1.6], "target": [0.3, -0.2, -0.3], "fovy": 50},
)
TURNED_CAMERAS = tuple(
    {**PUSHER_CAMERAS[0], "name": f"{roll}_{flip}", "roll": roll, "flip": flip}
    for roll, flip in ((40, "none"), (-120, "none"), (0, "horizontal"), (25, "vertical"))
)
FETCH_CAMERAS = (
    {"name": "front", "position": [2.2, 0.75, 0.9], "target": [1.3, 0.75, 0.45], "fovy": 40},
)
SOURCES = {"Pusher-v5": PUSHER_CAMERAS, "FetchPush-v4": FETCH_CAMERAS}


def make(source: str, **kwargs: Any) -> ForeignEnv:
    if source.startswith("Fetch"):
        pytest.importorskip("gymnasium_robotics")
    kwargs.setdefault("image_size", 32)
    kwargs.setdefault("cameras", SOURCES.get(source, PUSHER_CAMERAS))
    return ForeignEnv(source, **kwargs)


def data_of(env: ForeignEnv) -> Any:
    found = physics_of(env._inner.unwrapped)
    assert found is not None
    return found[1]


def actions(env: ForeignEnv, count: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return rng.uniform(-1, 1, (count, env.spec_world.action.dim)).astype(np.float32)


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_check_env_is_clean(source: str) -> None:
    env = make(source, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        # Positions and velocities have no natural limits; the env is made without a registry.
        warnings.filterwarnings("ignore", message=".*Box observation space.*")
        warnings.filterwarnings("ignore", message=".*not having a spec.*")
        warnings.filterwarnings("ignore", message=".*counts as a failure.*")
        check_env(env)
    env.close()


@pytest.mark.parametrize("source", sorted(SOURCES))
def test_restored_state_replays_exactly(source: str) -> None:
    env = make(source)
    env.reset(seed=3)
    for action in actions(env, 8):
        before, *_, info = env.step(action)
    state = env.get_state()
    future = [env.step(action) for action in actions(env, 4, seed=1)]

    observation, restored = env.reset(seed=9, options={"initial_state": state})
    for camera, image in before["pixels"].items():
        np.testing.assert_array_equal(image, observation["pixels"][camera])
    np.testing.assert_array_equal(info["state"], restored["state"])
    assert restored["progress"] == info["progress"]
    for expected, action in zip(future, actions(env, 4, seed=1), strict=True):
        again = env.step(action)
        np.testing.assert_array_equal(expected[4]["state"], again[4]["state"])
        np.testing.assert_array_equal(expected[0]["agent_pos"], again[0]["agent_pos"])
        for camera, image in expected[0]["pixels"].items():
            np.testing.assert_array_equal(image, again[0]["pixels"][camera])


def test_a_start_can_be_a_state_of_an_unseeded_episode() -> None:
    env, kwargs = make("Pusher-v5"), {"image_size": 32, "cameras": PUSHER_CAMERAS}
    source = SimulatorStarts("Pusher-v5", kwargs)
    env.reset()
    observation = env.step(actions(env, 1)[0])[0]
    state = env.get_state()
    assert state["seed"] is None
    start = source.from_state(state)
    assert start.seed is None
    for view, camera in enumerate(source.spec.camera_names):
        np.testing.assert_array_equal(start.pixels[view], observation["pixels"][camera])
    np.testing.assert_allclose(start.agent_pos, observation["agent_pos"], atol=1e-6)
    env.reset(seed=3)
    assert source.from_state(env.get_state()).seed == 3
    source.close()


def test_drawing_leaves_physics_alone() -> None:
    """gymnasium-robotics' render callback runs the solver, which would shift its warm start."""
    drawn, bare = make("FetchPush-v4"), make("FetchPush-v4")
    for env in (drawn, bare):
        env.reset(seed=0)
    for action in actions(drawn, 6):
        drawn.step(action)
        drawn._observe()
        drawn._observe()
        bare.step(action)
    np.testing.assert_array_equal(drawn.get_state()["physics"], bare.get_state()["physics"])


def test_actions_are_scaled_to_the_source() -> None:
    env = make("Pusher-v5")
    env.reset(seed=0)
    env.step(np.full(7, 0.5, np.float32))
    np.testing.assert_allclose(data_of(env).ctrl, 1.0)
    assert env.spec_world.action.scale == (2.0,) * 7
    assert env.spec_world.action.mode == "torque"


def test_fetch_displaces_the_end_effector_as_its_action_spec_says() -> None:
    env = make("FetchPush-v4")
    observation, _ = env.reset(seed=0)
    spec = env.spec_world
    assert spec.fps == 25 and spec.action.moves_end_effector
    assert spec.agent_pos.names[:3] == EE_POSITION
    assert spec.state.names[0] == "achieved_goal_x" and spec.state.dim == 6
    start = observation["agent_pos"][:3]
    action = np.array([0.0, 1.0, 0.0, 0.0], np.float32)
    total = np.zeros(3)
    for _ in range(8):
        observation, *_, info = env.step(action)
        total += info["action_achieved"][:3] * spec.action.scale[:3]
    moved = observation["agent_pos"][:3] - start
    np.testing.assert_allclose(total, moved, atol=1e-5)
    # The arm lags behind its target, but it goes where it is sent and nowhere else.
    assert 0.5 * 8 * 0.05 < moved[1] < 1.05 * 8 * 0.05
    assert np.abs(moved[[0, 2]]).max() < 0.02


def test_fetch_goal_gives_success_and_progress() -> None:
    env = make("FetchPush-v4")
    _, info = env.reset(seed=0)
    assert info["progress"] == 0.0 and not info["is_success"]
    state = env.get_state()
    achieved = info["state"][:3]
    state["extras"]["goal"] = achieved.tolist()
    _, info = env.reset(seed=0, options={"initial_state": state})
    assert info["is_success"] and info["success"] and info["progress"] == 1.0
    np.testing.assert_allclose(info["state"][3:], achieved)
    *_, terminated, truncated, _ = env.step(np.zeros(4, np.float32))
    assert terminated and not truncated


def test_success_rule_on_a_number_of_the_info() -> None:
    env = make("Pusher-v5", success={"key": "reward_near", "above": -10.0})
    env.reset(seed=0)
    *_, terminated, _, info = env.step(np.zeros(7, np.float32))
    assert terminated and info["is_success"] and info["progress"] == 1.0
    wrong = make("Pusher-v5", success={"key": "reward_neer", "above": 0.0})
    wrong.reset(seed=0)
    with pytest.raises(UsageError, match="reward_near"):
        wrong.step(np.zeros(7, np.float32))


def test_episode_is_truncated_at_the_sources_or_the_given_limit() -> None:
    assert make("Pusher-v5").max_episode_steps == 100
    env = make("Pusher-v5", max_episode_steps=2)
    env.reset(seed=0)
    assert env.step(np.zeros(7, np.float32))[3] is False
    assert env.step(np.zeros(7, np.float32))[3] is True


def test_projected_goal_is_where_its_colour_is_drawn() -> None:
    """Calibration against pixels: the Pusher's red goal disc, in every look-at camera."""
    env = make("Pusher-v5", image_size=96, cameras=PUSHER_CAMERAS + TURNED_CAMERAS)
    observation, _ = env.reset(seed=0)
    rig = env.camera_rig
    assert rig is not None
    goal = np.append(data_of(env).body("goal").xpos, 1.0)
    for view, name in enumerate(rig.names):
        point = np.linalg.inv(rig.extrinsics[view].astype(float)) @ goal
        pixel = (rig.intrinsics[view] @ (point[:3] / point[2]))[:2]
        image = observation["pixels"][name].astype(int)
        rows, columns = np.nonzero((image[..., 0] > 120) & (image[..., 1] < 120))
        centre = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
        assert np.linalg.norm(pixel - centre) < 2.0


def test_a_camera_on_the_hand_is_calibrated_relative_to_it() -> None:
    env = make("FetchPush-v4", cameras=["gripper_camera_rgb"])
    env.reset(seed=0)
    rig, spec = env.camera_rig, env.spec_world
    assert rig is not None and rig.mounted.tolist() == [True] and not spec.camera_pose
    assert spec.cameras[0].carrier == END_EFFECTOR
    for action in actions(env, 4):
        agent_pos = env.step(action)[0]["agent_pos"]
    hand = np.eye(4)
    hand[:3, 3], hand[:3, 0], hand[:3, 1] = agent_pos[:3], agent_pos[3:6], agent_pos[6:9]
    hand[:3, 2] = np.cross(hand[:3, 0], hand[:3, 1])
    truth = camera_pose(data_of(env), 1)
    np.testing.assert_allclose(hand @ rig.extrinsics[0], truth, atol=1e-5)


def test_every_frame_has_the_pose_of_a_camera_that_moves() -> None:
    env = make("HalfCheetah-v5", cameras=["track"], success=False)
    observation, info = env.reset(seed=0)
    assert observation["pixels"]["track"].std() > 5
    assert env.spec_world.camera_pose and env.camera_rig is not None
    np.testing.assert_allclose(info["camera_pose"], env.camera_rig.extrinsics, atol=1e-6)
    for action in actions(env, 20):
        *_, info = env.step(action)
    # It follows the body's centre of mass along x, and never turns.
    moved = info["camera_pose"][0] - env.camera_rig.extrinsics[0]
    assert abs(moved[0, 3]) > 1e-3 and np.abs(moved[:3, :3]).max() < 1e-6
    assert env.spec_world.agent_pos.names[0] == "qpos_bthigh"
    assert "qpos_rootx" in env.spec_world.state.names


@pytest.mark.parametrize(
    ("source", "kwargs", "said"),
    [
        ("CartPole-v1", {}, "is no MuJoCo environment"),
        ("Pusher-v55", {}, "Did you mean 'Pusher-v5'"),
        ("TabletopPush-v0", {}, "Did you mean 'worldsim/TabletopPush-v0'"),
        ("os:system", {}, "modules are not imported by name"),
        ("Pusher-v5", {"cameras": []}, "a list that is not empty"),
        ("Pusher-v5", {"cameras": ["front"]}, "has no cameras"),
        ("Pusher-v5", {"cameras": [PUSHER_CAMERAS[0]] * 2}, "must differ"),
        ("Pusher-v5", {"cameras": [{"name": "a", "position": [0, 0, 1]}]}, "camera 'a'"),
        ("Pusher-v5", {"cameras": [{**PUSHER_CAMERAS[0], "fov": 1}]}, "fovy"),
        (
            "Pusher-v5",
            {"cameras": [{"name": "a", "position": [0, 0, 1], "target": [0, 0, 1]}]},
            "must be finite and differ",
        ),
        ("Pusher-v5", {"source_kwargs": {"colour": 1}}, "cannot be made"),
        ("Pusher-v5", {"end_effector": {"site": "hand", "metres": 0.1}}, "'hand'"),
        ("Pusher-v5", {"image_size": 0}, "image_size"),
    ],
)
def test_refusals_are_clear(source: str, kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make(source, **kwargs)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"factors": {"light": 1}}, "no factors"),
        ({"start": 1}, "known: initial_state"),
        ({"initial_state": {"physics": np.zeros(3)}}, "physics has shape"),
    ],
)
def test_reset_refuses_what_it_does_not_know(options: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        make("Pusher-v5").reset(seed=0, options=options)


@pytest.mark.parametrize("action", [np.zeros(6), np.full(7, np.nan)])
def test_wrong_actions_are_refused(action: np.ndarray) -> None:
    env = make("Pusher-v5")
    env.reset(seed=0)
    with pytest.raises(UsageError, match="action"):
        env.step(action)


def test_reachable_through_make_and_the_registry() -> None:
    from worldsim.envs import make as make_env

    for env_id, kwargs in (("Pusher-v5", {}), ("worldsim/Foreign-v0", {"source": "Pusher-v5"})):
        env = make_env(env_id, cameras=PUSHER_CAMERAS, image_size=16, **kwargs)
        observation, _ = env.reset(seed=0)
        assert env.observation_space.contains(observation)
        env.close()
