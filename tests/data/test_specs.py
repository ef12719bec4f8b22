"""World specs: what makes two worlds one, and limits that were measured and not declared."""

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from gymnasium import spaces
from worldsim_testing import nano_spec

from worldsim.errors import DataWarning, SpecMismatchError, UsageError
from worldsim.files import read_json
from worldsim.policies.base import require_same_interface
from worldsim.spec import (
    EQUIRECTANGULAR,
    ActionSpec,
    CameraSpec,
    VectorSpec,
    WorldSpec,
    discrete_actions,
)

SHIPPED = sorted((Path(__file__).parents[2] / "models" / "pretrained").glob("*/config.json"))


def action(low: float, high: float, limits: Any = "measured", **changes: Any) -> ActionSpec:
    spec = ActionSpec(("a", "b"), (low, -1.0), (high, 1.0), ("1", "1"), (1.0, 1.0), limits=limits)
    return replace(spec, **{"mode": "absolute", "frame": "world", **changes})


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


def test_an_action_of_which_nothing_is_known_contradicts_nothing() -> None:
    """Models of other people's sets were trained before anything was found out of their actions."""
    before = world(action(-0.9, 0.8, mode="unknown", frame="unknown"))
    now = world(action(-0.7, 1.3, units=("m", "m"), scale=(0.5, 0.5), mode="delta"))
    for one, other in ((before, now), (now, before)):
        one.require_compatible(other, "a model", "a data set")
    other_names = world(action(-0.7, 1.3, names=("a", "c")))
    with pytest.raises(SpecMismatchError):
        before.require_compatible(other_names, "a model", "a data set")


def test_scales_that_were_measured_differ_a_little() -> None:
    day1, day2, other = (
        world(action(-1, 1, scale=(size, 1.0), mode="delta")) for size in (0.05, 0.054, 0.1)
    )
    day1.require_compatible(day2, "a model", "a data set")
    with pytest.raises(SpecMismatchError):
        day1.require_compatible(other, "a model", "a data set")


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


def on_a_table(file: Path) -> bool:
    """Whether a spec is of before cameras said what carries them."""
    return not any("carrier" in camera for camera in read_json(file)["spec"]["cameras"])


@pytest.mark.parametrize("file", SHIPPED, ids=lambda file: file.parent.name)
def test_specs_that_ship_read_as_they_were_written(file: Path) -> None:
    stored = read_json(file)["spec"]
    spec = WorldSpec.from_json(stored)
    assert spec.action.limits == "declared" and isinstance(spec.fps, int)
    written = spec.to_json()
    if "limits" not in stored["action"]:  # which earlier specs did not say
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


def seen_by(*cameras: CameraSpec) -> WorldSpec:
    return replace(nano_spec(), cameras=cameras)


ROUND = CameraSpec("round", 32, 64, EQUIRECTANGULAR, wrap=True, carrier="agent")


def test_cameras_survive_json_and_write_only_what_is_not_plain() -> None:
    spec = seen_by(CameraSpec("top", 8, 9), ROUND)
    written = spec.to_json()
    assert written["cameras"][0] == {"name": "top", "height": 8, "width": 9}
    assert WorldSpec.from_json(json.loads(json.dumps(written))) == spec


@pytest.mark.parametrize(
    "file", [file for file in SHIPPED if on_a_table(file)], ids=lambda file: file.parent.name
)
def test_specs_of_before_fit_an_env_whose_cameras_say_what_carries_them(file: Path) -> None:
    """Earlier specs say nothing of carriers, so they agree with any."""
    old = WorldSpec.from_json(read_json(file)["spec"])
    assert all(c == CameraSpec(c.name, c.height, c.width, "pinhole") for c in old.cameras)
    *fixed, wrist = old.cameras
    new = replace(old, cameras=(*fixed, replace(wrist, carrier="end_effector")))
    for one, other in ((old, new), (new, old)):
        one.require_compatible(other, "a model", "an env")
        one.require_same_robot(other, "a model", "an env")
        require_same_interface(one, other, "a policy")


@pytest.mark.parametrize(
    "changes",
    [
        {"carrier": "end_effector"},
        {"wrap": False},
        {"projection": "pinhole", "wrap": False},
        {"width": 32},
        {"name": "square"},
    ],
)
def test_another_camera_is_another_world(changes: dict[str, Any]) -> None:
    mine, other = seen_by(ROUND), seen_by(replace(ROUND, **changes))
    with pytest.raises(SpecMismatchError, match="cameras"):
        mine.require_compatible(other, "a model", "an env")
    with pytest.raises(SpecMismatchError, match="cameras: looks at"):
        require_same_interface(mine, other, "a policy")


def test_a_missing_camera_is_another_world() -> None:
    top = CameraSpec("top", 8, 8)
    with pytest.raises(SpecMismatchError, match="cameras"):
        seen_by(top, ROUND).require_compatible(seen_by(top), "a model", "an env")
    require_same_interface(seen_by(top), seen_by(top, ROUND), "a policy")


def test_a_pinhole_image_does_not_wrap() -> None:
    with pytest.raises(UsageError, match="camera 'top' has wrap=True"):
        CameraSpec("top", 8, 8, wrap=True)
    bad = {**nano_spec().to_json(), "cameras": [{"name": "a", "height": 8, "width": 8, "wrap": 1}]}
    with pytest.raises(SpecMismatchError, match="not a world spec"):
        WorldSpec.from_json(bad)


MOVES = discrete_actions(("forward", "left", "right"))


def test_a_choice_is_a_whole_number_outside_and_one_hot_inside() -> None:
    assert MOVES.space == spaces.Discrete(3) and MOVES.dim == 3
    np.testing.assert_array_equal(MOVES.vector(1, "env"), [0, 1, 0])
    several = MOVES.vector(np.array([[2, 0]]), "env")
    np.testing.assert_array_equal(several, [[[0, 0, 1], [1, 0, 0]]])
    assert several.dtype == np.float32
    np.testing.assert_array_equal(MOVES.command(several), [[2, 0]])
    for choice in range(3):
        vector = MOVES.vector(choice, "env")
        assert MOVES.command(MOVES.check(vector, "here")) == choice
        assert MOVES.space.contains(MOVES.command(vector))
    np.testing.assert_array_equal(MOVES.check(MOVES.nearest_to_zero, "here"), [1, 0, 0])
    np.testing.assert_array_equal(MOVES.clip(np.array([[0.2, 0.1, 0.7]])), [[0, 0, 1]])


def test_a_box_is_the_same_outside_and_inside() -> None:
    spec = action(-0.5, 1.0, "declared")
    given = np.array([[0.25, -1.0]], np.float32)
    np.testing.assert_array_equal(spec.vector(given, "env"), given)
    np.testing.assert_array_equal(spec.command(given), given)
    assert spec.space == spaces.Box(np.array([-0.5, -1.0], np.float32), np.ones(2, np.float32))


@pytest.mark.parametrize("command", [3, -1, 0.5, "left", [0, 3], True])
def test_what_is_no_choice_is_refused_with_the_choices(command: Any) -> None:
    with pytest.raises(UsageError, match="env: action is .* from 0 to 2, .* forward, left, right"):
        MOVES.vector(command, "env")


@pytest.mark.parametrize("vector", [[0, 0, 0], [1, 1, 0], [0.5, 0.5, 0], [2, -1, 0]])
def test_a_vector_that_is_not_one_hot_is_refused(vector: list[float]) -> None:
    with pytest.raises(UsageError, match="one-hot vector over the choices forward, left, right"):
        MOVES.check(np.array(vector), "policy 'a'")


@pytest.mark.parametrize("names", [(), ("left", "left")])
def test_choices_have_names_of_their_own(names: tuple[str, ...]) -> None:
    with pytest.raises(UsageError, match="choices of distinct names"):
        discrete_actions(names)


def test_a_discrete_action_with_limits_of_a_box_is_refused() -> None:
    with pytest.raises(UsageError, match="discrete_actions"):
        replace(MOVES, low=(-1.0, -1.0, -1.0))


def test_action_kinds_survive_json_and_earlier_specs_are_boxes() -> None:
    world = replace(nano_spec(), action=MOVES)
    assert WorldSpec.from_json(json.loads(json.dumps(world.to_json()))) == world
    assert "kind" not in nano_spec().to_json()["action"]
    box = replace(nano_spec(), action=replace(MOVES, kind="box"))
    assert WorldSpec.from_json(box.to_json()).action.kind == "box"
    with pytest.raises(SpecMismatchError, match="action"):
        world.require_compatible(box, "a model", "an env")


def test_who_is_not_told_the_simulators_state_is_of_the_same_world() -> None:
    told, bare = nano_spec(), replace(nano_spec(), state=VectorSpec((), ()))
    other = replace(told, state=VectorSpec(("drawer_x",), ("m",)))
    told.require_compatible(bare, "a simulator", "a model", stateless=True)
    bare.require_compatible(told, "a model", "a simulator", stateless=True)
    with pytest.raises(SpecMismatchError, match="state"):
        told.require_compatible(other, "a model", "a simulator", stateless=True)
    with pytest.raises(SpecMismatchError, match="state"):
        told.require_compatible(bare, "a model to train further", "a data set")
