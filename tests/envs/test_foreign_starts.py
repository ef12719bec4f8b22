"""Seeds and states fix the episodes of other people's simulators, wherever these keep them."""

import copy
import random
from functools import partial
from typing import Any, cast

import gymnasium
import numpy as np
import pytest
from foreign_testing import (
    KWARGS,
    REPEATABLE,
    BodyPosition,
    BuiltAtRandom,
    DrawsItself,
    Frozen,
    GlobalDraw,
    OtherMeshes,
    Recompiling,
    SlideEnv,
    Unrepeatable,
    register,
)

from worldsim.envs.foreign import ForeignEnv
from worldsim.envs.simulator_check import Seen, check_simulator
from worldsim.errors import UsageError, WorldsimError

ACTIONS = np.random.default_rng(0).uniform(-1, 1, (4, 1)).astype(np.float32)


def make(cls: type, **kwargs: Any) -> ForeignEnv:
    return ForeignEnv(register(cls), **{**KWARGS, **kwargs})


def act(env: ForeignEnv) -> list[Seen]:
    answers = [env.step(action) for action in ACTIONS]
    return [Seen.of(answer[0], answer[4], env.spec_world) for answer in answers]


def play(env: ForeignEnv, **reset: Any) -> list[Seen]:
    return [Seen.of(*env.reset(**reset), env.spec_world), *act(env)]


def assert_same(one: list[Seen], other: list[Seen]) -> None:
    for here, there in zip(one, other, strict=True):
        np.testing.assert_array_equal(here.pixels, there.pixels)
        np.testing.assert_array_equal(here.agent_pos, there.agent_pos)
        np.testing.assert_array_equal(here.state, there.state)


@pytest.mark.parametrize("cls", REPEATABLE, ids=lambda cls: cls.__name__)
def test_a_seed_fixes_the_episode_in_any_env_after_any_other(cls: type) -> None:
    env, other = make(cls), make(cls)
    first = play(env, seed=5)
    for seed in (None, 1, 2):
        unlike = play(other, seed=seed)
    assert not first[0].is_same(unlike[0])
    assert_same(first, play(other, seed=5))
    assert_same(first, play(env, seed=5))


@pytest.mark.parametrize("cls", REPEATABLE, ids=lambda cls: cls.__name__)
def test_a_state_restores_the_episode_in_another_env(cls: type) -> None:
    env, other = make(cls), make(cls)
    before = play(env, seed=5)
    state = copy.deepcopy(env.get_state())  # as it reaches another process
    future = act(env)
    successes = [env.step(action)[4]["success"] for action in 10 * [ACTIONS[0]]]
    play(other, seed=6)
    restored = Seen.of(*other.reset(seed=7, options={"initial_state": state}), env.spec_world)
    assert_same([before[-1]], [restored])
    assert_same(future, act(other))
    assert successes == [other.step(action)[4]["success"] for action in 10 * [ACTIONS[0]]]


def test_a_state_is_restored_without_a_reset() -> None:
    env, other = make(BodyPosition), make(BodyPosition)
    play(env, seed=None)
    state = env.get_state()
    other.reset(seed=1)
    other.set_state(state)
    assert_same(act(env), act(other))


def test_entries_of_the_observation_are_restored_with_the_rest() -> None:
    entries: dict[str, Any] = {"state": ["observation"], "proprioception": ["observation[0]"]}
    env, other = (make(BodyPosition, **entries) for _ in range(2))
    assert env.spec_world.state.names == ("observation_0", "observation_1")
    before = play(env, seed=5)
    state = copy.deepcopy(env.get_state())
    restored = Seen.of(*other.reset(seed=7, options={"initial_state": state}), other.spec_world)
    assert_same([before[-1]], [restored])
    assert_same(act(env), act(other))


def test_a_scene_of_other_meshes_is_refused_unless_its_seed_compiles_it_again() -> None:
    env = make(OtherMeshes)
    first = play(env, seed=1)
    state = env.get_state()
    assert not first[0].is_same(play(env, seed=2)[0])
    with pytest.raises(UsageError, match="other meshes"):
        env.set_state(state)


def test_an_env_that_compiles_at_reset_is_filmed_as_it_moves() -> None:
    env = make(Recompiling, cameras=["own"])
    assert env.spec_world.fps == 20
    seen = play(env, seed=1)
    assert np.ptp([here.agent_pos[0] for here in seen]) > 0.01
    assert not np.array_equal(seen[0].pixels, seen[-1].pixels)
    again = play(env, seed=2)
    assert not np.array_equal(seen[0].pixels, again[0].pixels)
    assert np.ptp([here.agent_pos[0] for here in again]) > 0.01


def test_resets_without_a_seed_differ_from_each_other_and_between_envs() -> None:
    envs = [make(cls) for cls in REPEATABLE[:2] for _ in range(2)]
    starts = [env.reset()[0]["agent_pos"][0] for env in envs for _ in range(2)]
    assert len(set(starts)) == len(starts)


def test_global_generators_of_the_caller_are_left_alone() -> None:
    env = make(GlobalDraw)
    np.random.seed(3)
    random.seed(3)
    expected = np.random.uniform(size=3), [random.random() for _ in range(3)]
    np.random.seed(3)
    random.seed(3)
    first = play(env, seed=0)
    assert np.random.uniform() == expected[0][0]
    assert_same(first, play(env, seed=0))
    np.testing.assert_array_equal(np.random.uniform(size=2), expected[0][1:])
    assert [random.random() for _ in range(3)] == expected[1]


def test_an_env_that_draws_itself_does_not_spoil_the_frames() -> None:
    plain, drawing = make(SlideEnv), make(DrawsItself)
    assert_same(play(plain, seed=1), play(drawing, seed=1))
    assert play(drawing, seed=2)[-1].pixels.std() > 10


@pytest.mark.parametrize("cls", REPEATABLE, ids=lambda cls: cls.__name__)
def test_the_check_accepts_what_repeats_itself(cls: type) -> None:
    check_simulator(partial(make, cls), cls.__name__)


@pytest.mark.parametrize(
    ("cls", "said"),
    [
        (Frozen, "does not move"),
        (Unrepeatable, "two resets with seed 0 differ at the start: camera 'top' by up to"),
        (BuiltAtRandom, "two envs that are reset with seed 0 differ"),
    ],
)
def test_the_check_refuses_what_does_not(cls: type, said: str) -> None:
    with pytest.raises(WorldsimError, match=said):
        check_simulator(partial(make, cls), cls.__name__)
    if cls is not Frozen:
        check_simulator(partial(make, cls, repeatable=False), cls.__name__)


class Forgetful(ForeignEnv):
    """Its states leave out what MuJoCo's state does not hold."""

    def get_state(self) -> dict[str, Any]:
        return {"physics": super().get_state()["physics"]}


def test_the_check_refuses_states_that_restore_another_scene() -> None:
    env_id = register(BodyPosition)
    with pytest.raises(WorldsimError, match="restores another episode at the start: camera 'top'"):
        check_simulator(lambda: Forgetful(env_id, **KWARGS), env_id)


class Alike(SlideEnv):
    """Every seed gives one start."""

    def place(self) -> None:
        self.data.qpos[0] = 0.0


def test_the_check_warns_of_seeds_that_change_nothing() -> None:
    gymnasium.register("ForeignAlike-v0", cast(Any, Alike))
    with pytest.warns(UserWarning, match="begins the same way with seeds 0 and 1"):
        check_simulator(lambda: ForeignEnv("ForeignAlike-v0", **KWARGS), "Alike")
