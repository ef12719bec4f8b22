"""States and options that callers give back in a wrong form are refused, by every simulator."""

from collections.abc import Callable
from typing import Any

import gymnasium
import numpy as np
import pytest
from picture_testing import DotEnv, register

from worldsim.envs import make
from worldsim.errors import UsageError

CAMERAS = [{"name": "a", "position": [1, 0, 1], "target": [0, 0, 0]}]
MAKERS: dict[str, Callable[[], gymnasium.Env[Any, Any]]] = {
    "indoor": lambda: make("worldsim/IndoorNav-v0", image_size=8, rooms=(2, 2)),
    "tabletop": lambda: make("worldsim/TabletopPush-v0", image_size=16),
    "street": lambda: make("worldsim/Street-v0"),
    "pictures": lambda: make(register(DotEnv), image_size=16, success={"key": "reached"}),
    "mujoco": lambda: make("Pusher-v5", image_size=16, success=False, cameras=CAMERAS),
}
NO_STATES: list[Any] = [3, "abc", [1, 2], True, np.zeros(4)]
PARTS: list[dict[str, Any]] = [
    {"seed": "x"},
    {"seed": 1.5},
    {"seed": -4},
    {"seed": True},
    {"step": "x"},
    {"step": -1},
    {"extras": 5},
    {"factors": 7},
    {"physics": "abc"},
    {"physics": {"a": 1}},
    {"physics": [[1.0, 2.0]]},
]
OWN: dict[str, list[dict[str, Any]]] = {
    "indoor": [
        *({"physics": np.full(17, np.nan)}, {"physics": None}, {"extras": {"task": 5}}),
        {"physics": [0.0, 2, 900, *[1.0] * 11, 1, 0, -1]},
    ],
    "tabletop": [{"physics": None}, {"physics": np.full(3, np.nan)}, {"factors": {"weather": 1}}],
    "street": [
        *({"physics": None}, {"physics": [1.0, 0.0]}, {"physics": [0.0, np.nan, 0.0]}),
        *({"physics": [-1.0, 0.0, 0.0]}, {"physics": [0.0, 0.5, 0.0]}),
        {"physics": [0.0, 61.0, 0.0]},
    ],
    "pictures": [
        {"commands": 3},
        {"commands": [[1.0, 2.0]]},
        {"commands": [["a"]]},
        {"seed": None},
    ],
    "mujoco": [{"scene": 4}, {"scene": {}}, {"physics": None}, {"physics": [1.0]}],
}


@pytest.fixture(params=sorted(MAKERS))
def world(request: pytest.FixtureRequest) -> tuple[str, gymnasium.Env[Any, Any], dict[str, Any]]:
    """A simulator, reset, and its state."""
    env = MAKERS[request.param]()
    env.reset(seed=0)
    unwrapped: Any = env.unwrapped
    return request.param, env, unwrapped.get_state()


def test_a_state_of_another_form_is_refused_and_nothing_is_lost(
    world: tuple[str, gymnasium.Env[Any, Any], dict[str, Any]],
) -> None:
    name, env, state = world
    unwrapped: Any = env.unwrapped
    wrong = [*NO_STATES, *({**state, **part} for part in PARTS + OWN[name])]
    for given in wrong:
        with pytest.raises(UsageError):
            unwrapped.set_state(given)
        with pytest.raises(UsageError):
            env.reset(seed=0, options={"initial_state": given})
    env.reset(seed=1, options={"initial_state": state})
    np.testing.assert_array_equal(unwrapped.get_state()["physics"], state["physics"])


@pytest.mark.parametrize("options", [3, "abc", [1], {"factors": 3}, {"task": 5}, {"speed": 1}])
def test_options_of_another_form_are_refused(
    options: Any, world: tuple[str, gymnasium.Env[Any, Any], dict[str, Any]]
) -> None:
    with pytest.raises(UsageError, match="reset option"):
        world[1].reset(seed=0, options=options)


def test_numbers_of_json_and_numpy_are_numbers() -> None:
    env = MAKERS["indoor"]()
    env.reset(seed=0)
    unwrapped: Any = env.unwrapped
    state = unwrapped.get_state()
    plain = {**state, "physics": state["physics"].tolist(), "seed": np.int64(7), "step": None}
    env.reset(options={"initial_state": plain})
    assert unwrapped.get_state()["seed"] == 7 and unwrapped.get_state()["step"] == 0
