"""What is read of other people's simulators: success, rate, groups of shapes, handles."""

import warnings
from types import SimpleNamespace
from typing import Any

import mujoco
import numpy as np
import pytest
from foreign_testing import (
    KWARGS,
    XML,
    PythonGoal,
    Recompiling,
    SaysNothing,
    SlideEnv,
    Stopped,
    Succeeds,
    register,
)
from gymnasium import spaces

from worldsim.envs.foreign import ForeignEnv
from worldsim.envs.foreign_drawing import choose_groups
from worldsim.envs.physics import physics_of
from worldsim.errors import UsageError, WorldsimError

PUSH = np.ones(1, np.float32)


def make(cls: type, **kwargs: Any) -> ForeignEnv:
    return ForeignEnv(register(cls), **{**KWARGS, **kwargs})


def outcomes(env: ForeignEnv, steps: int = 25) -> list[bool]:
    env.reset(seed=0)
    return [bool(env.step(PUSH)[4]["success"]) for _ in range(steps)]


def test_success_under_another_name_is_asked_for_and_then_read() -> None:
    with pytest.raises(
        UsageError, match=r"no 'is_success' or 'success', but succeed;.*key: succeed"
    ):
        outcomes(make(Succeeds))
    named = outcomes(make(Succeeds, success={"key": "succeed"}))
    assert not named[0] and named[-1]
    assert not any(outcomes(make(Succeeds, success=False)))


def test_an_info_without_success_is_told_once() -> None:
    env = make(SaysNothing)
    with pytest.warns(UserWarning, match="counts as a failure; its numbers are speed") as told:
        assert not any(outcomes(env))
    assert len([one for one in told if "failure" in str(one.message)]) == 1
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        outcomes(make(SaysNothing, success=False))
    assert any(outcomes(make(SaysNothing, success={"key": "speed", "above": 0.5})))


@pytest.mark.parametrize("success", [True, "speed", 3])
def test_a_request_that_is_no_rule_is_refused(success: Any) -> None:
    with pytest.raises(UsageError, match="success is"):
        make(SlideEnv, success=success)


def test_an_attribute_named_goal_makes_no_goal_env() -> None:
    env = make(PythonGoal)
    assert any(name.startswith("qpos_") for name in env.spec_world.state.names)
    assert any(outcomes(env, 40))


class PartialGoals(SlideEnv):
    """Observes goals, but computes observations and success in a way of its own."""

    observation_space = spaces.Dict(  # type: ignore[assignment]
        {f"{kind}_goal": spaces.Box(-1, 1, (1,)) for kind in ("achieved", "desired")}
    )
    goal = np.zeros(1)

    def _get_obs(self, needed: float) -> None: ...


def test_goals_in_the_observation_alone_make_no_goal_env() -> None:
    env = ForeignEnv(register(PartialGoals), **KWARGS)
    env.reset(seed=0)
    assert env.step(PUSH)[4]["success"] is False


def test_the_rate_is_the_clocks_where_dt_is_missing_and_can_be_given() -> None:
    assert make(SlideEnv).spec_world.fps == 20
    assert make(Recompiling).spec_world.fps == 20
    assert make(Recompiling, fps=10).spec_world.fps == 10
    with pytest.raises(UsageError, match=r"say it in Hz with env\.fps"):
        make(Stopped)
    assert make(Stopped, fps=7).spec_world.fps == 7
    assert make(SlideEnv, fps=12.5).spec_world.fps == 12.5


class Shy(SlideEnv):
    """Tells its time step only after the first reset, and raises before."""

    @property
    def dt(self) -> float:  # type: ignore[override]
        raise RuntimeError("later")


def test_a_time_step_that_cannot_be_told_yet_is_the_clocks() -> None:
    assert make(Shy).spec_world.fps == 20


class Raising(SlideEnv):
    """Fails in the middle of an episode."""

    def step(self, action: Any) -> Any:
        raise KeyError("broken arm")


def test_what_a_source_raises_is_told_with_its_name() -> None:
    env = ForeignEnv(register(Raising), **KWARGS)
    env.reset(seed=0)
    with pytest.raises(
        WorldsimError, match="ForeignRaising.*failed in step: KeyError: 'broken arm'"
    ):
        env.step(PUSH)


DRESSED = XML.replace(
    '<geom name="block"',
    '<geom name="shell" type="box" size=".1 .1 .3" group="1" contype="0" conaffinity="0"/>'
    '<geom name="block"',
).replace("<geom type=", '<geom group="1" type=', 1)


def model_of(xml: str) -> mujoco.MjModel:
    return mujoco.MjModel.from_xml_string(xml)


def test_groups_are_mujocos_unless_collision_shapes_hide_visual_ones() -> None:
    assert choose_groups(model_of(XML), None) == (0, 1, 2)
    bare_arm = DRESSED.replace(
        '<geom type="box" size=".1 .1 .1" mass',
        '<geom type="sphere" size=".1" group="2" contype="0" conaffinity="0"/>'
        '<geom type="box" size=".1 .1 .1" mass',
    )
    assert choose_groups(model_of(bare_arm), None) == (1, 2)
    # The arm alone has no visual shape: not most bodies are dressed.
    assert choose_groups(model_of(DRESSED), None) == (0, 1, 2)
    # Something in group 0 is only seen.
    seen = bare_arm.replace('<geom name="block"', '<geom contype="0" conaffinity="0" name="block"')
    assert choose_groups(model_of(seen), None) == (0, 1, 2)


@pytest.mark.parametrize("groups", [[], [6], [-1], [0.5], "12", [True]])
def test_groups_that_are_none_are_refused(groups: Any) -> None:
    with pytest.raises(UsageError, match="geom_groups is"):
        choose_groups(model_of(XML), groups)


def test_groups_decide_what_is_drawn() -> None:
    env_id = register(SlideEnv)
    first = ForeignEnv(env_id, **KWARGS).reset(seed=0)[0]["pixels"]["top"]
    none = ForeignEnv(env_id, **KWARGS, geom_groups=[4]).reset(seed=0)[0]["pixels"]["top"]
    assert np.ptp(first) > 100
    again = ForeignEnv(env_id, **KWARGS).reset(seed=0)[0]["pixels"]["top"]
    np.testing.assert_array_equal(first, again)
    assert np.ptp(none[:8, :8]) == 0, "no plane"


def test_model_and_data_are_found_inside_other_libraries_classes() -> None:
    model = model_of(XML)
    data = mujoco.MjData(model)
    plain = SimpleNamespace(model=model, data=data)
    robosuite = SimpleNamespace(
        model=object(),
        sim=SimpleNamespace(
            model=SimpleNamespace(_model=model), data=SimpleNamespace(_model=model, _data=data)
        ),
    )
    control = SimpleNamespace(
        physics=SimpleNamespace(model=SimpleNamespace(ptr=model), data=SimpleNamespace(ptr=data))
    )
    for holder in (plain, robosuite, control, SimpleNamespace(_env=robosuite)):
        assert physics_of(holder) == (model, data)
    assert physics_of(SimpleNamespace(model=model, env=SimpleNamespace())) is None
