"""Envs without MuJoCo: pictures of their own, actions of any kind, seeds and actions as states."""

import copy
import warnings
from functools import partial
from typing import Any

import gymnasium
import numpy as np
import pytest
from gymnasium import spaces
from gymnasium.utils.env_checker import check_env as check_gymnasium
from picture_testing import (
    BareDot,
    ChoiceDot,
    DictDot,
    DmDot,
    DotEnv,
    Forgetful,
    PlaceDot,
    register,
)

from worldsim.cameras.rig import CameraRig
from worldsim.envs import make
from worldsim.envs.foreign import ForeignEnv
from worldsim.envs.foreign_actions import ActionRequest, make_codec
from worldsim.envs.imagination import SimulatorStarts
from worldsim.envs.simulator_check import check_simulator
from worldsim.errors import UsageError, WorldsimError
from worldsim.policies.simple import ZeroPolicy
from worldsim.spec import CameraSpec, VectorSpec, WorldSpec, discrete_actions

SUCCESS = {"key": "reached"}


def dot(cls: Any = DotEnv, **kwargs: Any) -> ForeignEnv:
    return ForeignEnv(register(cls), **{"image_size": 16, "success": SUCCESS, **kwargs})


def source_of(env: ForeignEnv) -> Any:
    return env._inner.unwrapped


def test_pictures_proprioception_and_state_are_found_by_their_form() -> None:
    env = dot()
    observation, info = env.reset(seed=3)
    spec = env.spec_world
    assert spec.camera_names == ("view",) and spec.fps == 10
    assert spec.agent_pos.names == ("agent_pos_0",)
    assert spec.state.names == ("target_0", "target_1")
    assert env.camera_rig is None
    column = int(observation["agent_pos"][0] * 15)
    assert observation["pixels"]["view"][5, column].tolist() == [255, 255, 255]
    np.testing.assert_allclose(info["state"], source_of(env).target, rtol=1e-6)


@pytest.mark.parametrize("cls", [DotEnv, DictDot, ChoiceDot, PlaceDot], ids=lambda c: c.__name__)
def test_gymnasium_finds_no_fault(cls: Any) -> None:
    env = dot(cls, render_mode="rgb_array")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", category=UserWarning)
        warnings.filterwarnings("ignore", message=".*Box observation space.*")
        warnings.filterwarnings("ignore", message=".*not having a spec.*")
        check_gymnasium(env)


@pytest.mark.parametrize("cls", [DotEnv, DictDot, ChoiceDot], ids=lambda c: c.__name__)
def test_a_state_is_the_seed_and_the_actions_played_again(cls: Any) -> None:
    env_id = register(cls)
    env, other = (ForeignEnv(env_id, image_size=16, success=SUCCESS) for _ in range(2))
    env.action_space.seed(0)
    env.reset()  # unseeded: it draws a seed, or nothing would bring it back
    for _ in range(3):
        before = env.step(env.action_space.sample())[0]
    state = copy.deepcopy(env.get_state())
    again, _ = other.reset(seed=9, options={"initial_state": state})
    np.testing.assert_array_equal(before["pixels"]["view"], again["pixels"]["view"])
    np.testing.assert_array_equal(before["agent_pos"], again["agent_pos"])
    env.step(env.action_space.sample())
    env.set_state(state)
    now = env.get_state()
    assert all(now[key] == state[key] for key in ("seed", "step", "commands", "extras"))
    with pytest.raises(UsageError, match="its seed is replayed, and this state has none"):
        env.set_state({"physics": np.zeros(0), "seed": None})


def test_starts_are_the_same_again_or_refused() -> None:
    env_id = register(DotEnv)
    check_simulator(partial(make, env_id, image_size=16, success=SUCCESS), env_id)
    forgetful = register(Forgetful)
    with pytest.raises(WorldsimError, match="two resets with seed 0 differ"):
        check_simulator(partial(make, forgetful, image_size=16, success=SUCCESS), forgetful)
    starts = SimulatorStarts(env_id, {"image_size": 16, "success": SUCCESS})
    one = starts.seeded(4)
    assert one.rig is None
    np.testing.assert_array_equal(one.pixels, starts.seeded(4).pixels)
    starts.close()


def test_dict_actions_reach_the_source_part_by_part() -> None:
    env = dot(DictDot)
    names = ("arm_0", "arm_1", "gear_0", "gear_1", "gear_2", "on_0")
    assert env.spec_world.action.names == names
    env.reset(seed=0)
    env.step(np.array([0.5, -1.0, -1.0, 0.2, 0.9, 0.1], np.float32))
    given = source_of(env).given[-1]
    assert source_of(env).action_space.contains(given)
    np.testing.assert_allclose(given["arm"], [[0.1, -0.2]])
    assert given["gear"] == 3 and given["on"].tolist() == [1]


def test_choices_stay_choices() -> None:
    env = dot(ChoiceDot)
    assert env.spec_world.action == discrete_actions(("choice_0", "choice_1", "choice_2"))
    env.reset(seed=0)
    env.step(2)
    assert source_of(env).given == [1]
    with pytest.raises(UsageError, match="whole number from 0 to 2"):
        env.step(3)


def test_absolute_actions_and_proprioception_share_their_origin() -> None:
    env = dot(PlaceDot, action={"mode": "absolute"})
    observation, _ = env.reset(seed=0)
    spec = env.spec_world
    assert spec.action.names == ("agent_pos_0",) and spec.action.scale == (50.0,)
    rest = ZeroPolicy(spec)
    rest.reset([0], 0)
    batch = {"agent_pos": observation["agent_pos"][None]}
    moved, *_ = env.step(rest.act(batch, [0])[0, 0])
    np.testing.assert_allclose(moved["agent_pos"], observation["agent_pos"], atol=1e-4)
    np.testing.assert_allclose(env.step(np.array([1.0]))[0]["agent_pos"], [50.0])


@pytest.mark.parametrize(
    ("space", "vector", "given"),
    [
        (spaces.Box(0, 3, (2,), np.int64), [0.0, 1.0], [2, 3]),
        (spaces.MultiDiscrete([2, 3]), [0.0, 1.0, 0.3, 0.2, 0.1], [1, 0]),
        (spaces.MultiBinary([1, 2]), [0.5, -0.5], [[1, 0]]),
    ],
)
def test_kinds_of_actions(space: spaces.Space[Any], vector: list[float], given: list[Any]) -> None:
    codec = make_codec(space, ActionRequest())
    decoded = codec.decode(np.array(vector, np.float32))
    assert space.contains(decoded) and np.asarray(decoded).tolist() == given


def test_tuples_come_apart() -> None:
    space = spaces.Tuple([spaces.Box(-2, 2, (1,)), spaces.Discrete(2)])
    codec = make_codec(space, ActionRequest())
    assert codec.spec.names == ("action_0_0", "action_1_0", "action_1_1")
    arm, choice = codec.decode(np.array([0.5, 0.1, 0.2], np.float32))
    assert arm.tolist() == [1.0] and choice == 1


@pytest.mark.parametrize(
    ("space", "request_", "said"),
    [
        (spaces.Box(-np.inf, np.inf, (1,)), ActionRequest(), "RescaleAction"),
        (spaces.Dict({"t": spaces.Text(3)}), ActionRequest(), "bounded Box, Discrete"),
        (spaces.Discrete(2), ActionRequest(names=("a", "a")), "names that differ"),
        (spaces.Box(-1, 1, (2,)), ActionRequest(units=("m",)), r"units is \['m'\]; expected 2"),
        (spaces.Box(-1, 1, (2,)), ActionRequest(mode="absolute"), r"names is \[\]; expected 2"),
    ],
)
def test_actions_that_cannot_be_read(
    space: spaces.Space[Any], request_: ActionRequest, said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        make_codec(space, request_)


@pytest.mark.parametrize(
    ("success", "reached"),
    [
        ({"key": "reached"}, True),
        ({"method": "solved"}, True),
        ({"of": "end"}, True),
        ({"of": "reward", "above": 0.55}, True),
        ({"of": "reward", "above": 2.0}, False),
        (False, False),
    ],
)
def test_success_from_any_source(success: Any, reached: bool) -> None:
    env = dot(success=success, max_episode_steps=6)
    env.reset(seed=1)
    found = [env.step(np.ones(1, np.float32))[4] for _ in range(5)]
    assert found[-1]["success"] is reached
    if reached:
        progress = [info["progress"] for info in found]
        assert progress[-1] == 1.0 and progress == sorted(progress)


@pytest.mark.parametrize(
    ("success", "said"),
    [
        ({"key": "reached", "of": "end"}, "give one of key"),
        ({"above": 1.0}, "give one of key"),
        ({"method": "win"}, "has no public method 'win'"),
        ({"method": "_observe"}, "has no public method '_observe'"),
    ],
)
def test_rules_that_say_nothing_are_refused(success: Any, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        dot(success=success)


def test_a_stride_repeats_actions_and_stops_at_success() -> None:
    env, slow = dot(), dot(stride=3)
    assert (slow.spec_world.fps, slow.max_episode_steps) == (10 / 3, 14)
    for one in (env, slow):
        one.reset(seed=2)
    action = np.array([0.4], np.float32)
    answers = [env.step(action) for _ in range(3)]
    observation, reward, *_ = slow.step(action)
    np.testing.assert_array_equal(observation["agent_pos"], answers[-1][0]["agent_pos"])
    assert reward == pytest.approx(sum(answer[1] for answer in answers))
    inner = source_of(slow)
    while not (answer := slow.step(np.ones(1, np.float32)))[2]:
        pass
    # What follows the success within a stride is not done: the frame shows it.
    assert answer[4]["success"] and len(inner.given) % 3 != 0


def test_the_instruction_may_come_from_the_env() -> None:
    told = dot(task={"method": "say"}).reset(seed=1)[0]["task"]
    assert told.startswith("push it past 0.")
    env = dot(task={"key": "info.goal_text"})
    texts = {env.reset(seed=seed)[0]["task"] for seed in range(3)}
    assert len(texts) == 3 and all(text.startswith("to 0.") for text in texts)
    with pytest.raises(UsageError, match=r"env\.task is .*expected a text"):
        dot(task={"name": "say"})
    with pytest.raises(UsageError, match=r"no entry 'info\.goal'; there are"):
        dot(task={"key": "info.goal"}).reset(seed=0)


def test_an_env_is_drawn_by_its_render_where_it_observes_no_picture() -> None:
    with pytest.warns(UserWarning, match="tells no proprioception"):
        env = dot(BareDot)
    observation, info = env.reset(seed=0)
    assert env.spec_world.camera_names == ("render",)
    assert env.spec_world.agent_pos.dim == 0 and env.spec_world.state.dim == 2
    assert observation["pixels"]["render"].max() > 200 and info["state"].shape == (2,)
    named = dot(BareDot, proprioception=["observation[0]"], state=[])
    assert named.spec_world.agent_pos.names == ("observation_0",)
    assert named.spec_world.state.dim == 0


def test_a_picture_can_be_named_and_turned_over() -> None:
    cameras = [{"name": "eye", "source": "view", "flip": "vertical"}, "render"]
    flipped, plain = dot(cameras=cameras), dot()
    seen = flipped.reset(seed=5)[0]["pixels"]
    assert list(seen) == ["eye", "render"]
    np.testing.assert_array_equal(seen["eye"][::-1], plain.reset(seed=5)[0]["pixels"]["view"])


@pytest.mark.parametrize(
    ("kwargs", "said"),
    [
        ({"cameras": ["wrist"]}, "wrist is no picture of this env.*known: view, render"),
        ({"cameras": ["view", "view"]}, "camera names must differ"),
        ({"cameras": [{"name": "a", "source": "view", "flip": "left"}]}, "flip"),
        ({"geom_groups": [1]}, "no MuJoCo environment"),
        ({"state": ["info.block"]}, r"no entry 'info\.block'; there are agent_pos"),
        ({"state": ["target", "target[1]"]}, "overlap"),
        ({"proprioception": ["a b"]}, "expected KEY"),
        ({"stride": 0}, "stride"),
        ({"action": {"mod": "delta"}}, "mod"),
    ],
)
def test_requests_that_do_not_fit(kwargs: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        dot(**kwargs)


def test_a_dm_env_is_a_source() -> None:
    env_id = register(DmDot, limit=50)
    kwargs: dict[str, Any] = {"image_size": 16, "success": {"of": "end"}, "state": ["place"]}
    kwargs["source_kwargs"] = {"limit": 4}
    with pytest.warns(UserWarning, match="tells no proprioception"):
        env = ForeignEnv(env_id, **kwargs)
    assert env.spec_world.fps == 20 and env.spec_world.action.scale == (0.2,)
    starts = [float(env.reset(seed=seed)[1]["state"][0]) for seed in (1, 2, 1)]
    assert starts[0] == starts[2] != starts[1]
    answers = [env.step(np.zeros(1, np.float32)) for _ in range(4)]
    assert answers[-1][3] and not answers[-1][2]  # out of time, at discount 1
    env.reset(seed=1)
    while not (answer := env.step(np.ones(1, np.float32)))[2]:
        pass
    assert answer[4]["success"] and answer[1] > 0.9


class OwnRoom(gymnasium.Env[Any, Any]):
    """Speaks worldsim's interface by itself."""

    worldsim_interface = True
    repeatable = True

    def __init__(self, max_episode_steps: int = 5) -> None:
        self.max_episode_steps = max_episode_steps
        action, pos = discrete_actions(("stay", "go")), VectorSpec(("x",), ("m",))
        camera = CameraSpec("eye", 16, 16)
        self.spec_world = WorldSpec(5, (camera,), action, pos, VectorSpec((), ()))
        self.action_space = spaces.Discrete(2)

    camera_rig: CameraRig | None = None

    def get_state(self) -> Any: ...

    def set_state(self, state: Any) -> None: ...

    def reset(self, *, seed: int | None = None, options: Any = None) -> Any:
        return {"pixels": {"eye": np.zeros((16, 16, 3), np.uint8)}, "task": "go"}, {}


def test_an_env_of_worldsims_interface_is_taken_as_it_is() -> None:
    gymnasium.register("OwnRoom-v0", OwnRoom)  # type: ignore[arg-type]
    env = make("OwnRoom-v0", max_episode_steps=7)
    assert type(env.unwrapped) is OwnRoom and env.unwrapped.max_episode_steps == 7
    with pytest.raises(UsageError, match="image_size"):
        make("OwnRoom-v0", image_size=3)

    class Lacking(gymnasium.Env[Any, Any]):
        """Says more than it has."""

        worldsim_interface = True

    gymnasium.register("LackingRoom-v0", Lacking)  # type: ignore[arg-type]
    with pytest.raises(UsageError, match="lacks get_state, set_state, camera_rig"):
        make("LackingRoom-v0")
