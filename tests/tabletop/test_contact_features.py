"""Contact features do not depend on where on the table, or turned how, a scene stands."""

import math

import pytest
import torch
from torch import Tensor
from worldsim_testing import nano_spec

from worldsim.cameras.poses import scene_points
from worldsim.models.tabletop.contact_dynamics import ContactFeatures
from worldsim.spec import VectorSpec, WorldSpec

STATE = VectorSpec(
    ("cube_x", "cube_y", "cube_z", "cube_cos4", "cube_sin4", "goal_x", "goal_y"),
    ("m", "m", "m", "1", "1", "m", "m"),
)
SPEC = WorldSpec(10, nano_spec().cameras, nano_spec().action, nano_spec().agent_pos, STATE)
POINTS = scene_points(STATE)
ACTION = torch.tensor([0.4, -0.2, 0.1, 0.0, 1.0])
COMMAND, WORLD, HAND, REST = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 12)
"""Of the action; of the cube in the world's axes, in the hand's, nearness and relative heading."""
CONTACT, YAW, SPUN = slice(12, 31), slice(31, 33), slice(33, 34)
"""Vectors and the hand's yaw in the axes of the cube's contact; where these look; its turn."""


def turned(angle: float, shift: tuple[float, float]) -> tuple[Tensor, Tensor, Tensor]:
    """One scene, moved and turned as a whole: hand, state and action."""
    cos, sin = math.cos(angle), math.sin(angle)

    def place(x: float, y: float) -> list[float]:
        return [cos * x - sin * y + shift[0], sin * x + cos * y + shift[1]]

    yaw, cube = 0.3 + angle, 0.5 + angle
    axes = [math.cos(yaw), math.sin(yaw), 0.0, -math.sin(yaw), math.cos(yaw), 0.0]
    hand = torch.tensor([*place(0.02, 0.01), 0.05, *axes, 0.04])
    heading = [math.cos(4 * cube), math.sin(4 * cube)]
    state = torch.tensor([*place(0.05, -0.01), 0.02, *heading, *place(-0.1, 0.1)])
    x, y = (float(v) for v in ACTION[:2])
    moved = torch.tensor([cos * x - sin * y, sin * x + cos * y, *ACTION[2:].tolist()])
    return hand, state, moved


def features(angle: float, shift: tuple[float, float]) -> Tensor:
    """Of the cube alone, after a step in which it and the hand moved along with the action."""
    hand, state, action = turned(angle, shift)
    moved, pushed = torch.zeros_like(hand), torch.zeros_like(state)
    moved[:2], pushed[:2] = 0.01 * action[:2], 0.005 * action[:2]
    told = ContactFeatures(SPEC, POINTS[:1])
    return told((hand - moved, state - pushed), (hand, state), action)


@pytest.mark.parametrize("angle", [0.4, 2.0, -1.1])
def test_a_turned_scene_looks_the_same_from_the_hand(angle: float) -> None:
    one, other = features(0.0, (0.0, 0.0)), features(angle, (0.07, -0.03))
    assert len(one) == SPUN.stop
    for part in (COMMAND, HAND, REST, CONTACT, SPUN):
        torch.testing.assert_close(one[part], other[part], atol=2e-5, rtol=1e-4)
    for part in (WORLD, YAW):
        assert not torch.allclose(one[part], other[part], atol=0.1)


def test_a_tilt_is_told_in_the_axes_of_the_contact() -> None:
    state = VectorSpec((*STATE.names, "cube_tilt_x", "cube_tilt_y"), (*STATE.units, "1", "1"))
    spec = WorldSpec(10, SPEC.cameras, SPEC.action, SPEC.agent_pos, state)
    points = scene_points(state)
    upright, tilted = ContactFeatures(SPEC, POINTS[:1]), ContactFeatures(spec, points[:1])
    told = []
    for angle in (0.0, 1.3):
        hand, flat, action = turned(angle, (0.0, 0.0))
        lean = torch.tensor([0.2 * math.cos(0.7 + angle), 0.2 * math.sin(0.7 + angle)])
        scene = hand, torch.cat([flat, lean])
        told.append(tilted(scene, scene, action)[SPUN.stop :])
    assert tilted.count == upright.count + 2
    torch.testing.assert_close(told[0], told[1], atol=1e-6, rtol=1e-5)
    assert float(told[0].norm()) == pytest.approx(0.2)


def test_a_moved_scene_looks_the_same() -> None:
    one, other = features(0.0, (0.0, 0.0)), features(0.0, (0.05, -0.08))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_without_hand_and_points_there_is_nothing_to_say() -> None:
    empty = VectorSpec((), ())
    spec = WorldSpec(10, SPEC.cameras, SPEC.action, VectorSpec(("q",), ("rad",)), empty)
    none, scene = ContactFeatures(spec, ()), (torch.zeros(2, 1), torch.zeros(2, 0))
    assert none.count == 0 and none(scene, scene, ACTION.expand(2, -1)).shape == (2, 0)
