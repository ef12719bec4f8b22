"""Contact features do not depend on where on the table, or turned how, a scene stands."""

import math

import pytest
import torch
from torch import Tensor
from worldsim_testing import nano_spec

from worldsim.geometry.contact_features import contact_features, feature_count
from worldsim.geometry.scene_points import scene_points
from worldsim.specs import VectorSpec, WorldSpec

STATE = VectorSpec(
    ("cube_x", "cube_y", "cube_z", "cube_cos4", "cube_sin4", "goal_x", "goal_y"),
    ("m", "m", "m", "1", "1", "m", "m"),
)
SPEC = WorldSpec(10, nano_spec().cameras, nano_spec().action, nano_spec().agent_pos, STATE)
POINTS = scene_points(STATE)
ACTION = torch.tensor([0.4, -0.2, 0.1, 0.0, 1.0])
COMMAND, WORLD, HAND, OWN = slice(0, 3), slice(3, 6), slice(6, 9), slice(9, 14)
"""Of the action; of the first point in the world's axes, in the hand's, in its own and the rest."""


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
    hand, state, action = turned(angle, shift)
    return contact_features(hand, state, action, SPEC, POINTS)


@pytest.mark.parametrize("angle", [0.4, 2.0, -1.1])
def test_a_turned_scene_looks_the_same_from_the_hand(angle: float) -> None:
    one, other = features(0.0, (0.0, 0.0)), features(angle, (0.07, -0.03))
    for part in (COMMAND, HAND):
        torch.testing.assert_close(one[part], other[part], atol=1e-5, rtol=1e-5)
    assert not torch.allclose(one[WORLD], other[WORLD], atol=0.1)
    # A cube looks the same after a quarter turn, so its own axes may come out exchanged.
    along, across, near, cos, sin = other[OWN]
    torch.testing.assert_close(along.hypot(across), one[OWN][0].hypot(one[OWN][1]))
    torch.testing.assert_close(torch.stack([near, cos, sin]), one[OWN][2:], atol=1e-5, rtol=1e-4)


def test_a_moved_scene_looks_the_same() -> None:
    one, other = features(0.0, (0.0, 0.0)), features(0.0, (0.05, -0.08))
    torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_without_hand_and_points_there_is_nothing_to_say() -> None:
    empty = VectorSpec((), ())
    spec = WorldSpec(10, SPEC.cameras, SPEC.action, VectorSpec(("q",), ("rad",)), empty)
    assert feature_count(spec, ()) == 0
    action = ACTION.expand(2, -1)
    assert contact_features(torch.zeros(2, 1), torch.zeros(2, 0), action, spec, ()).shape == (2, 0)
