"""World specs: what makes two worlds one, and limits that were measured and not declared."""

import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from worldsim_testing import nano_spec

from worldsim.errors import DataWarning, SpecMismatchError
from worldsim.files import read_json
from worldsim.policies.base import require_same_interface
from worldsim.spec import ActionSpec, VectorSpec, WorldSpec

SHIPPED = sorted((Path(__file__).parents[2] / "models" / "pretrained").glob("*/config.json"))


def action(low: float, high: float, limits: Any = "measured", **changes: Any) -> ActionSpec:
    spec = ActionSpec(("a", "b"), (low, -1.0), (high, 1.0), ("1", "1"), (1.0, 1.0), limits=limits)
    return replace(spec, **changes)


def world(spec: ActionSpec, **changes: Any) -> WorldSpec:
    return replace(nano_spec(), action=spec, **changes)


@pytest.mark.parametrize("theirs", ["measured", "declared"])
def test_measured_limits_do_not_make_another_robot(theirs: str) -> None:
    day1, day2 = world(action(-0.9, 0.8)), world(action(-0.7, 1.3, theirs))
    for one, other in ((day1, day2), (day2, day1)):
        one.require_compatible(other, "a model", "a data set")
        one.require_same_robot(other, "a model", "a data set")
        require_same_interface(one, other, "a policy")


@pytest.mark.parametrize(
    "other",
    [
        world(action(-0.7, 1.3, names=("a", "c"))),
        world(action(-0.7, 1.3, units=("m", "1"))),
        world(action(-0.7, 1.3, scale=(2.0, 1.0))),
        world(action(-0.7, 1.3, mode="delta")),
        world(action(-0.7, 1.3, frame="base")),
        world(action(-0.7, 1.3, commanded=False)),
        world(ActionSpec(("a",), (0.0,), (1.0,), ("1",), (1.0,), limits="measured")),
        world(action(-0.7, 1.3), fps=11),
        world(action(-0.7, 1.3), agent_pos=VectorSpec((), ())),
    ],
)
def test_what_else_differs_is_another_world(other: WorldSpec) -> None:
    mine = world(action(-0.9, 0.8))
    for one, two in ((mine, other), (other, mine)):
        with pytest.raises(SpecMismatchError):
            one.require_compatible(two, "a model", "a data set")
        with pytest.raises(SpecMismatchError):
            require_same_interface(one, two, "a policy")


def test_declared_limits_must_agree() -> None:
    with pytest.raises(SpecMismatchError, match="action"):
        world(action(-0.9, 0.8, "declared")).require_compatible(
            world(action(-0.7, 1.3, "declared")), "a model", "an env"
        )


def test_limits_are_widened_where_both_were_measured() -> None:
    day1, day2, env = action(-0.9, 0.8), action(-0.7, 1.3), action(-2.0, 2.0, "declared")
    assert day1.widened(day2) == day2.widened(day1) == action(-0.9, 1.3)
    assert day1.widened(env) == env.widened(day1) == env, "what is declared holds"


def test_clipping_to_measured_limits_is_said() -> None:
    far = np.array([[[0.0, 0.0], [2.0, 0.5]]], np.float32)
    with pytest.warns(DataWarning, match=r"\(a -0.9 to 0.8\) and are clipped"):
        clipped = action(-0.9, 0.8).check(far, "here")
    np.testing.assert_array_equal(clipped, np.array([[[0.0, 0.0], [0.8, 0.5]]], np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        action(-0.9, 0.8, "declared").check(far, "here")
        action(-0.9, 0.8).check(np.array([0.8001, 0.5], np.float32), "here")  # rounding


def test_the_action_nearest_to_zero_lies_within_the_limits() -> None:
    np.testing.assert_array_equal(action(0.25, 0.5).nearest_to_zero, [0.25, 0.0])
    np.testing.assert_array_equal(action(-2.0, -0.5).nearest_to_zero, [-0.5, 0.0])


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parent.name)
def test_specs_that_ship_read_as_they_were_written(file: Path) -> None:
    stored = read_json(file)["spec"]
    spec = WorldSpec.from_json(stored)
    assert spec.action.limits == "declared" and isinstance(spec.fps, int)
    written = spec.to_json()
    assert written["action"].pop("limits") == "declared"
    assert read_as_lists(written) == stored
    assert WorldSpec.from_json(spec.to_json()) == spec


def read_as_lists(value: Any) -> Any:
    """Tuples as JSON has them."""
    if isinstance(value, dict):
        return {key: read_as_lists(each) for key, each in value.items()}
    return [read_as_lists(each) for each in value] if isinstance(value, tuple) else value


def test_rates_of_two_notations_are_one_world() -> None:
    exact, rounded = (replace(nano_spec(), fps=fps) for fps in (30000 / 1001, 29.97))
    exact.require_compatible(rounded, "a model", "a data set")
    require_same_interface(rounded, exact, "a policy")
    with pytest.raises(SpecMismatchError, match="fps: a model has 29.97, a data set has 30"):
        rounded.require_compatible(replace(nano_spec(), fps=30), "a model", "a data set")
    assert WorldSpec.from_json(rounded.to_json()) == rounded
    assert isinstance(replace(nano_spec(), fps=10.0).fps, int)


@pytest.mark.parametrize("fps", [None, "ten", 0, -1.0])
def test_a_spec_with_no_rate_is_refused(fps: Any) -> None:
    with pytest.raises(SpecMismatchError, match="not a world spec"):
        WorldSpec.from_json({**nano_spec().to_json(), "fps": fps})
