"""Limits, masks and what is tracked, on an untrained network with shaken weights."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from worldsim_testing import nano_spec

from worldsim.errors import UsageError
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.tabletop.contact_dynamics import ContactDynamics
from worldsim.spec import VectorSpec


def make(scene: bool = True) -> ContactDynamics:
    torch.manual_seed(0)
    dynamics = ContactDynamics(DynamicsConfig(width=16, depth=1, scene=scene), nano_spec())
    for parameter in dynamics.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return dynamics.requires_grad_(False)


def bodies(dynamics: ContactDynamics, count: int = 4) -> Tensor:
    return torch.randn(count, dynamics.dim, generator=torch.Generator().manual_seed(1))


def test_a_body_comes_apart_into_what_it_was_joined_from() -> None:
    dynamics = make()
    agent_pos, state = torch.randn(4, 10), torch.randn(4, 2)
    parts = dynamics.parts(dynamics.join(agent_pos, state))
    assert torch.equal(parts[0], agent_pos) and torch.equal(parts[1], state)
    blind = make(scene=False)
    assert blind.points == () and blind.join(agent_pos, state).shape == (4, 10)
    assert blind.parts(agent_pos)[1].shape == (4, 0)


def test_an_unknown_action_counts_for_nothing() -> None:
    dynamics = make()
    body = bodies(dynamics)
    hidden = torch.zeros(4)
    one, other = (dynamics.step(body, body, torch.full((4, 5), a), hidden) for a in (0.0, 1.0))
    assert torch.equal(one, other)
    told = [dynamics.step(body, body, torch.full((4, 5), a), torch.ones(4)) for a in (0.0, 1.0)]
    assert not torch.equal(*told)


def test_nothing_leaves_the_box_of_recorded_bodies() -> None:
    dynamics = make()
    recorded = 0.1 * bodies(dynamics, 50)
    dynamics.fit_scales(recorded, recorded[:-1], recorded[1:])
    now = before = recorded[:4]
    for _ in range(30):
        before, now = now, dynamics.step(before, now, torch.ones(4, 5), torch.ones(4))
    assert (now >= recorded.amin(0)).all() and (now <= recorded.amax(0)).all()
    free = dynamics.modes(before, now, torch.ones(4, 5), torch.ones(4))[0]
    assert ((free < recorded.amin(0)) | (free > recorded.amax(0))).any()


def test_more_data_widens_the_box_and_never_narrows_it() -> None:
    dynamics = make()
    recorded = bodies(dynamics, 50)
    dynamics.fit_scales(recorded, recorded[:-1], recorded[1:])
    low, high = dynamics.low.clone(), dynamics.high.clone()
    dynamics.widen_box(0.1 * recorded)
    assert torch.equal(dynamics.low, low) and torch.equal(dynamics.high, high)
    dynamics.widen_box(2.0 * recorded)
    assert torch.equal(dynamics.high, 2.0 * high)


def test_entries_that_never_change_are_scaled_harmlessly() -> None:
    dynamics = make()
    recorded = bodies(dynamics, 50)
    recorded[:, 3] = 1.0
    dynamics.fit_scales(recorded, recorded[:-1], recorded[1:])
    assert dynamics.std[3] == 1.0 and dynamics.step_size.min() > 0
    assert torch.isfinite(
        dynamics.step(recorded, recorded, torch.ones(50, 5), torch.ones(50))
    ).all()


def test_works_without_hand_or_scene() -> None:
    spec = replace(nano_spec(), agent_pos=VectorSpec(("q",), ("rad",)), state=VectorSpec((), ()))
    dynamics = ContactDynamics(DynamicsConfig(width=8, depth=0), spec)
    body = torch.randn(3, 1)
    after = dynamics.step(body, body, torch.ones(3, 5), torch.ones(3))
    assert torch.equal(after, body)  # zero-initialised: nothing moves before training


def with_cube() -> ContactDynamics:
    """Dynamics of a hand and a cube with a heading and a tilt, all weights zero."""
    names = ("cube_x", "cube_y", "cube_z", "cube_cos4", "cube_sin4", "cube_tilt_x", "cube_tilt_y")
    state = VectorSpec(names, ("m", "m", "m", "1", "1", "1", "1"))
    dynamics = ContactDynamics(DynamicsConfig(width=8, depth=0), replace(nano_spec(), state=state))
    for parameter in dynamics.parameters():
        torch.nn.init.zeros_(parameter)
    return dynamics.requires_grad_(False)


def set_steps(dynamics: ContactDynamics, steps: dict[int, float]) -> None:
    """What the network puts out, whatever it is given."""
    assert dynamics.leave.bias is not None
    for index, value in steps.items():
        dynamics.leave.bias[index] = value


def cube_at(yaw: float, direction: float) -> Tensor:
    """A body whose hand stands 5 cm in that direction from a cube at the origin."""
    hand = [0.05 * math.cos(direction), 0.05 * math.sin(direction), 0.02, 1, 0, 0, 0, 1, 0, 0.04]
    cube = [0.0, 0.0, 0.02, math.cos(4 * yaw), math.sin(4 * yaw), 0.0, 0.0]
    return torch.tensor([[*hand, *cube]])


@pytest.mark.parametrize("quarter", range(4))
def test_a_cube_is_pushed_along_the_face_before_the_hand(quarter: int) -> None:
    dynamics, yaw = with_cube(), 0.3
    # Along x of the contact, away from the hand; and it leans towards the hand.
    set_steps(dynamics, {10: -0.01, 15: 0.1})
    face = yaw + quarter * math.pi / 2
    body = cube_at(yaw, face + 0.5)
    after = dynamics.step(body, body, torch.zeros(1, 5), torch.ones(1))[0]
    wanted = -0.01 * torch.tensor([math.cos(face), math.sin(face)])
    torch.testing.assert_close(after[10:12], wanted)
    torch.testing.assert_close(after[15:17], -10.0 * wanted)


def test_a_heading_turns_and_keeps_its_length() -> None:
    dynamics = with_cube()
    set_steps(dynamics, {14: 0.2})  # of four times the yaw, in radians
    body = cube_at(0.3, 0.0)
    after = dynamics.step(body, body, torch.zeros(1, 5), torch.ones(1))[0]
    wanted = torch.tensor([math.cos(4 * 0.35), math.sin(4 * 0.35)])
    torch.testing.assert_close(after[13:15], wanted)


def test_sizes_are_checked() -> None:
    with pytest.raises(UsageError, match="width"):
        DynamicsConfig(width=0)
