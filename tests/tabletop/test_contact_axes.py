"""The axes of a contact turn with the thing, and a quarter of a turn with the side of the hand."""

import math

import pytest
import torch

from worldsim.cameras.poses import ScenePoint
from worldsim.models.tabletop.contact_dynamics import contact_yaw, in_axes

CUBE = ScenePoint("cube", 0, 1, None, fold=4, cos=2, sin=3)
CUP = ScenePoint("cup", 0, 1, None, fold=1, cos=2, sin=3)


def state_of(point: ScenePoint, yaw: float) -> torch.Tensor:
    return torch.tensor([0.1, -0.2, math.cos(point.fold * yaw), math.sin(point.fold * yaw)])


def yaw_seen(point: ScenePoint, yaw: float, direction: float) -> float:
    """From a hand that stands in that direction from the point."""
    hand = torch.tensor([0.1 + 0.05 * math.cos(direction), -0.2 + 0.05 * math.sin(direction), 0.3])
    return float(contact_yaw(hand, state_of(point, yaw), point))


@pytest.mark.parametrize("quarter", range(4))
@pytest.mark.parametrize("yaw", [-0.5, 0.0, 0.7])
def test_the_side_before_the_hand_is_chosen(yaw: float, quarter: int) -> None:
    face = yaw + quarter * math.pi / 2
    for aside in (-0.7, 0.0, 0.7):
        seen = yaw_seen(CUBE, yaw, face + aside)
        assert math.remainder(seen - face, 2 * math.pi) == pytest.approx(0.0, abs=1e-5)


def test_what_has_one_front_has_one_pair_of_axes() -> None:
    for direction in (0.0, 2.0, 4.0):
        assert math.cos(yaw_seen(CUP, 0.4, direction) - 0.4) == pytest.approx(1.0)


def test_without_a_hand_the_heading_decides() -> None:
    assert float(contact_yaw(None, state_of(CUBE, 0.3), CUBE)) == pytest.approx(0.3)


def test_axes_and_back() -> None:
    vectors, yaw = torch.randn(5, 3), torch.linspace(-3, 3, 5)
    torch.testing.assert_close(in_axes(in_axes(vectors, yaw), -yaw), vectors)
    quarter = in_axes(torch.tensor([1.0, 0.0]), torch.tensor(math.pi / 2))
    torch.testing.assert_close(quarter, torch.tensor([0.0, -1.0]), atol=1e-6, rtol=0)
