"""Reflections: by hand, and that the simulated tabletop really is symmetric."""

from dataclasses import replace

import mujoco
import numpy as np
import pytest
from worldsim_testing import nano_spec

from worldsim.envs import make
from worldsim.envs.tabletop.base import TabletopEnv
from worldsim.errors import UsageError
from worldsim.models.tabletop.mirror import mirrored_action, mirrored_vector
from worldsim.spec import VectorSpec

AXES = ("x", "y")


def test_signs_by_hand() -> None:
    cup = ("cup_x", "cup_y", "cup_z", "cup_cos", "cup_sin")
    cube = ("cube_cos4", "cube_sin4", "cube_tilt_x", "cube_tilt_y")
    spec = VectorSpec(cup + cube, ("m", "m", "m", "1", "1", "1", "1", "1", "1"))
    # A heading (cos, sin) is a direction in the plane; four times a yaw turns the other way.
    assert mirrored_vector(spec, "x") == [-1, 1, 1, -1, 1, 1, -1, -1, 1]
    assert mirrored_vector(spec, "y") == [1, -1, 1, 1, -1, 1, -1, 1, -1]
    action = nano_spec().action
    assert mirrored_action(action, "x") == [-1, 1, 1, -1, 1]
    assert mirrored_action(action, "y") == [1, -1, 1, -1, 1]


@pytest.mark.parametrize("axis", AXES)
def test_a_reflected_rotation_is_a_rotation_the_other_way(axis: str) -> None:
    signs = np.array(mirrored_vector(nano_spec().agent_pos, axis))[3:9]
    yaw = 0.3
    turned = np.array([np.cos(yaw), np.sin(yaw), 0, -np.sin(yaw), np.cos(yaw), 0])
    back = np.array([np.cos(yaw), -np.sin(yaw), 0, np.sin(yaw), np.cos(yaw), 0])
    np.testing.assert_allclose(signs * turned, back)


def test_what_has_no_known_reflection_is_refused() -> None:
    with pytest.raises(UsageError, match="'elbow'"):
        mirrored_vector(VectorSpec(("elbow",), ("rad",)), "x")
    with pytest.raises(UsageError, match="torque"):
        mirrored_action(replace(nano_spec().action, names=("torque", "b", "c", "d", "e")), "x")
    with pytest.raises(UsageError, match="'end_effector'"):
        mirrored_action(replace(nano_spec().action, frame="end_effector"), "x")
    with pytest.raises(UsageError, match="'z'"):
        mirrored_vector(nano_spec().agent_pos, "z")


def body_of(env: TabletopEnv, info: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([env.gripper.agent_pos(), info["state"]])


@pytest.mark.parametrize("axis", AXES)
@pytest.mark.parametrize("task", ["Push", "PickPlace"])
def test_the_tabletop_is_symmetric(task: str, axis: str) -> None:
    """A push, off the cube's centre, and its mirror image."""
    env = make(f"worldsim/Tabletop{task}-v0", image_size=16).unwrapped
    assert isinstance(env, TabletopEnv)
    spec = env.spec_world
    whole = VectorSpec(
        spec.agent_pos.names + spec.state.names, spec.agent_pos.units + spec.state.units
    )
    signs = np.array(mirrored_vector(whole, axis))
    turned = np.array(mirrored_action(spec.action, axis), np.float32)
    actions = np.array([[0.7, 0.2, 0.0, 0.1, -1.0]] * 6, np.float32)
    ways = []
    for mirrored in (False, True):
        env.reset(seed=0)
        factor = np.array(mirrored_vector(VectorSpec(("a_x", "a_y"), ("m", "m")), axis))
        place = factor if mirrored else np.ones(2)
        yaw = -0.2 if mirrored else 0.2
        joint = env.model.joint("object").qposadr[0]
        env.data.qpos[joint : joint + 2] = place * [0.02, 0.01]
        env.data.qpos[joint + 3 : joint + 7] = [np.cos(yaw / 2), 0, 0, np.sin(yaw / 2)]
        env.data.mocap_pos[env.model.body("goal").mocapid[0], :2] = place * [0.1, 0.12]
        env.gripper.place(np.array([*(place * [-0.04, 0.0]), 0.02]), yaw / 2, 0.0)
        mujoco.mj_forward(env.model, env.data)
        bodies = [body_of(env, env.step(a * turned if mirrored else a)[4]) for a in actions]
        ways.append(np.stack(bodies))
    moved = np.linalg.norm(ways[0][-1, 10:12] - [0.02, 0.01])
    assert moved > 0.02
    np.testing.assert_allclose(ways[1], ways[0] * signs, atol=2e-3)
