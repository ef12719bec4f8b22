"""IndoorNav and HabitatNav keep the promises that the rest of the package builds on.

HabitatNav does so with a stand-in for habitat-sim, and with the real one where that is installed.
"""

import json
import warnings
from importlib.util import find_spec
from typing import Any

import fake_habitat
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from worldsim.cameras.poses import frame_of
from worldsim.envs import make
from worldsim.envs.indoor.env import IndoorNav
from worldsim.envs.indoor.scene import build_scene, scene_number, split_of
from worldsim.envs.indoor.world import EVENTS
from worldsim.envs.simulator_check import check_simulator
from worldsim.errors import UsageError
from worldsim.spec import WorldSpec

SMALL: dict[str, Any] = {"image_size": 16, "rooms": (2, 3)}
KINDS: tuple[dict[str, Any], ...] = (
    {"sensor": "panorama"},
    {"sensor": "three", "actions": "continuous"},
    {"sensor": "front", "goals": 2, "sliding": False, "depth": False},
)


WORLD = {"id": "worldsim/IndoorNav-v0"}
_REAL = pytest.mark.skipif(find_spec("habitat_sim") is None, reason="habitat-sim is not installed")


@pytest.fixture(params=["indoor", "stand-in", pytest.param("habitat-sim", marks=_REAL)])
def both(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """`make_env` makes an env of each simulator."""
    if request.param == "stand-in":
        fake_habitat.install(monkeypatch)
    if request.param != "indoor":
        monkeypatch.setitem(WORLD, "id", "worldsim/HabitatNav-v0")
        monkeypatch.setitem(SMALL, "image_size", 8)


every_simulator = pytest.mark.usefixtures("both")


def make_env(**kwargs: Any) -> IndoorNav:
    env = make(WORLD["id"], **{**SMALL, **kwargs}).unwrapped
    assert isinstance(env, IndoorNav)
    return env


def flat(observation: dict[str, Any], info: dict[str, Any]) -> dict[str, np.ndarray]:
    """Every array that an env answers with."""
    arrays = {f"pixels.{name}": image for name, image in observation["pixels"].items()}
    arrays["agent_pos"] = observation["agent_pos"]
    for name in ("state", "camera_pose", "events", "depth", "outcomes", "position"):
        if name in info:
            arrays[name] = info[name]
    return arrays


def assert_same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        np.testing.assert_array_equal(one[name], other[name], err_msg=name)


def actions(env: IndoorNav, seed: int, count: int) -> list[Any]:
    """Moves without a stop."""
    rng = np.random.default_rng(seed)
    if env.spec_world.action.kind == "discrete":
        return [int(rng.integers(1, 4)) for _ in range(count)]
    low, high = np.array([0.1, -1.0]), np.array([1.0, 1.0])
    return [rng.uniform(low, high).astype(np.float32) for _ in range(count)]


@every_simulator
@pytest.mark.parametrize("kind", KINDS)
def test_check_env_is_clean(kind: dict[str, Any]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        # Its advice on spaces takes a batch of pixels for granted and concerns no rule.
        warnings.filterwarnings("ignore", message=".*not within the observation space.*")
        check_env(make_env(render_mode="rgb_array", scenes=1, **kind), skip_render_check=True)


@every_simulator
def test_two_envs_show_the_same_episode_and_states_restore_it() -> None:
    check_simulator(make_env, "IndoorNav")


@every_simulator
@pytest.mark.parametrize("kind", KINDS)
def test_spec_describes_what_is_returned(kind: dict[str, Any]) -> None:
    env = make_env(**kind)
    observation, info = env.reset(seed=1)
    spec = env.spec_world
    assert WorldSpec.from_json(json.loads(json.dumps(spec.to_json()))) == spec
    assert tuple(observation["pixels"]) == spec.camera_names == env.camera_rig.names
    for camera in spec.cameras:
        assert observation["pixels"][camera.name].shape == (camera.height, camera.width, 3)
    assert observation in env.observation_space
    for told in (info, env.step(actions(env, 0, 1)[0])[4]):
        assert told["state"].shape == (spec.state.dim,) and told["state"].dtype == np.float32
        assert told["camera_pose"].shape == (len(spec.cameras), 4, 4)
        assert told["events"].shape == (len(spec.events),)
        assert ("depth" in told) == (spec.depth is not None)
        assert told["success"] is told["is_success"] and isinstance(told["success"], bool)
        assert 0.0 <= told["progress"] <= 1.0
    assert spec.depth == (
        None if not kind.get("depth", True) else "radial" if spec.cameras[0].wrap else "planar"
    )


@every_simulator
@pytest.mark.parametrize("kind", KINDS)
def test_cameras_stand_where_the_agent_carries_them(kind: dict[str, Any]) -> None:
    import torch

    env = make_env(**kind)
    env.reset(seed=3)
    frame = frame_of(env.spec_world.agent_pos)
    assert frame is not None and frame.carrier == env.spec_world.cameras[0].carrier
    for action in actions(env, 4, 6):
        observation, _, _, _, info = env.step(action)
        agent = frame.pose(torch.from_numpy(observation["agent_pos"])).numpy()
        carried = agent @ env.camera_rig.extrinsics
        np.testing.assert_allclose(carried, info["camera_pose"], atol=1e-5)


@every_simulator
@pytest.mark.parametrize("kind", KINDS)
def test_seed_fixes_the_episode_and_differs_from_the_next(kind: dict[str, Any]) -> None:
    env, other = make_env(**kind), make_env(**kind)
    other.reset(seed=99)
    assert_same(flat(*env.reset(seed=4)), flat(*other.reset(seed=4)))
    for action in actions(env, 0, 8):
        step, again = env.step(action), other.step(action)
        assert_same(flat(step[0], step[4]), flat(again[0], again[4]))
        assert step[1:4] == again[1:4]
    first = env.journey.scene.number
    env.reset(seed=5)
    assert env.journey.scene.number != first


@every_simulator
@pytest.mark.parametrize("kind", KINDS)
def test_state_restores_bit_for_bit_in_another_env(kind: dict[str, Any]) -> None:
    env, other = make_env(**kind), make_env(**kind)
    env.reset(seed=7)
    for action in actions(env, 1, 6):
        env.step(action)
    saved = env.get_state()
    assert saved["physics"].dtype == np.float64 and saved["physics"].ndim == 1
    rest = {key: value for key, value in saved.items() if key != "physics"}
    reloaded = {"physics": saved["physics"].tolist(), **json.loads(json.dumps(rest))}
    observation, info = other.reset(seed=0, options={"initial_state": reloaded})
    assert_same(flat(observation, info), flat(env._observe(), env._info(False)))
    assert observation["task"] == env._observe()["task"]
    for action in actions(env, 2, 8):
        step, restored = env.step(action), other.step(action)
        assert_same(flat(step[0], step[4]), flat(restored[0], restored[4]))
        assert step[1:4] == restored[1:4]
    env.set_state(saved)
    np.testing.assert_array_equal(env.get_state()["physics"], saved["physics"])


@every_simulator
def test_answers_share_no_memory() -> None:
    env = make_env()
    kept = flat(*env.reset(seed=0))
    copies = {name: array.copy() for name, array in kept.items()}
    for action in actions(env, 3, 4):
        env.step(action)
    assert_same(kept, copies)


@every_simulator
def test_a_full_turn_ends_where_it_began() -> None:
    env = make_env(turn=15)
    first = flat(*env.reset(seed=2))
    for _ in range(24):
        observation, _, _, _, info = env.step(2)
    last = flat(observation, info)
    for name in ("pixels.panorama", "agent_pos", "depth", "camera_pose"):
        np.testing.assert_array_equal(first[name], last[name])


def test_splits_never_share_a_scene() -> None:
    seen: dict[str, set[int]] = {}
    for split in ("train", "validation", "test"):
        env = make_env(split=split)
        for seed in range(5):
            env.reset(seed=seed)
            seen.setdefault(split, set()).add(env.journey.scene.number)
            assert split_of(env.journey.scene.number) == split
    assert not seen["train"] & seen["validation"] and not seen["train"] & seen["test"]


def test_a_scene_is_a_function_of_its_number() -> None:
    number = scene_number("test", 11)
    one = build_scene(number)
    build_scene.cache_clear()
    other = build_scene(number)
    assert [t.name for t in one.things] == [t.name for t in other.things]
    np.testing.assert_array_equal(one.supports, other.supports)
    np.testing.assert_array_equal(one.model.tex_data, other.model.tex_data)
    np.testing.assert_array_equal(one.model.mesh_vert, other.model.mesh_vert)


def test_few_scenes_come_again() -> None:
    env = make_env(scenes=2)
    numbers = set()
    for seed in range(8):
        env.reset(seed=seed)
        numbers.add(env.journey.scene.number)
    assert numbers <= {0, 1}


@every_simulator
def test_stop_far_from_the_goal_ends_the_episode_without_success() -> None:
    env = make_env()
    env.reset(seed=0)
    _, _, terminated, _, info = env.step(0)
    assert terminated and not info["success"] and info["stage"] == 1
    assert info["events"].tolist()[EVENTS.index("stopped")] == 1.0 and info["progress"] < 1.0


@every_simulator
def test_still_continuous_actions_stop() -> None:
    env = make_env(actions="continuous")
    env.reset(seed=0)
    assert not env.step(np.array([0.0, 0.5], np.float32))[2]
    assert env.step(np.zeros(2, np.float32))[2]


@every_simulator
def test_achieved_actions_are_measured() -> None:
    env = make_env(actions="continuous", max_episode_steps=400)
    env.reset(seed=0)
    bumped = 0
    for _ in range(60):
        info = env.step(np.array([0.8, 0.1], np.float32))[4]
        achieved = info["action_achieved"]
        assert achieved[1] == pytest.approx(0.1)
        if info["collided"]:
            bumped += 1
            # habitat-sim leads a bent step to the mesh's place nearest its end: at times farther.
            assert achieved[0] < (0.8 + 1e-5 if "Indoor" in WORLD["id"] else 1.0)
        else:
            assert achieved[0] == pytest.approx(0.8, abs=1e-5)
    assert bumped == info["collisions"] > 0


@every_simulator
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"goals": ["red spaceship in the kitchen"]}, "red spaceship"),
        ({"goals": []}, "one or more things"),
        ({"goals": "red sofa in the living room"}, "expected a list"),
        ({"start": (1.0, 2.0)}, "x and y in metres"),
        ({"start": "hall"}, "x and y in metres"),
        ({"scene": "first"}, "whole number"),
        ({"scene": 1.5}, "whole number"),
        ({"start": (-5.0, -5.0, 0.0)}, "wall"),
        ({"start": (np.nan, 0.0, 0.0)}, "NaN"),
        ({"scene": -3}, "belongs to no split"),
        ({"speed": 2}, "reset options"),
        ({"initial_state": {"physics": [1.0, 2.0]}}, "physics"),
        ({"initial_state": {}}, "physics"),
    ],
)
def test_bad_options_are_refused(options: dict[str, Any], words: str) -> None:
    env = make_env()
    with pytest.raises(UsageError, match=words):
        env.reset(seed=0, options=options)


@every_simulator
@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"sensor": "sonar"}, "sonar"),
        ({"rooms": (3, 2)}, "rooms"),
        ({"rooms": (2, 9)}, "rooms"),
        ({"radius": 0.9}, "radius"),
        ({"camera_height": 1.9}, "camera_height"),
        ({"turn": 0}, "turn"),
        ({"split": "holdout"}, "holdout"),
        ({"scenes": 10**8}, "scenes"),
        ({"colour": "red"}, "unknown key in env 'colour'"),
    ],
)
def test_bad_arguments_are_refused(arguments: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        make_env(**arguments)


@pytest.mark.parametrize("action", [7, np.array([0.1, np.nan], np.float32), np.zeros(3)])
def test_bad_actions_are_refused(action: Any) -> None:
    env = make_env(actions="discrete" if isinstance(action, int) else "continuous")
    env.reset(seed=0)
    with pytest.raises(UsageError):
        env.step(action)


@every_simulator
def test_no_episode_before_reset() -> None:
    with pytest.raises(UsageError, match="reset"):
        make_env().step(1)
    with pytest.raises(UsageError, match="depth"):
        make_env(depth=False).render_depth()
