"""Limits, masks and what is tracked, on an untrained network with shaken weights."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from worldsim_testing import nano_spec

from worldsim.errors import UsageError
from worldsim.models.dynamics import BodyDynamics, DynamicsConfig
from worldsim.specs import VectorSpec


def make(scene: bool = True) -> BodyDynamics:
    torch.manual_seed(0)
    dynamics = BodyDynamics(DynamicsConfig(width=16, depth=1, scene=scene), nano_spec())
    for parameter in dynamics.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return dynamics.requires_grad_(False)


def bodies(dynamics: BodyDynamics, count: int = 4) -> Tensor:
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
    one, other = (dynamics(body, body, torch.full((4, 5), a), hidden) for a in (0.0, 1.0))
    assert torch.equal(one, other)
    told = [dynamics(body, body, torch.full((4, 5), a), torch.ones(4)) for a in (0.0, 1.0)]
    assert not torch.equal(*told)


def test_nothing_leaves_the_box_of_recorded_bodies() -> None:
    dynamics = make()
    recorded = 0.1 * bodies(dynamics, 50)
    dynamics.fit_scales(recorded, recorded[:-1], recorded[1:])
    now = before = recorded[:4]
    for _ in range(30):
        before, now = now, dynamics(before, now, torch.ones(4, 5), torch.ones(4))
    assert (now >= recorded.amin(0)).all() and (now <= recorded.amax(0)).all()
    free = dynamics.unbounded(before, now, torch.ones(4, 5), torch.ones(4))
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
    assert dynamics.std[3] == 1.0 and dynamics.step.min() > 0
    assert torch.isfinite(dynamics(recorded, recorded, torch.ones(50, 5), torch.ones(50))).all()


def test_works_without_hand_or_scene() -> None:
    spec = replace(nano_spec(), agent_pos=VectorSpec(("q",), ("rad",)), state=VectorSpec((), ()))
    dynamics = BodyDynamics(DynamicsConfig(width=8, depth=0), spec)
    body = torch.randn(3, 1)
    after = dynamics(body, body, torch.ones(3, 5), torch.ones(3))
    assert torch.equal(after, body)  # zero-initialised: nothing moves before training


def test_sizes_are_checked() -> None:
    with pytest.raises(UsageError, match="width"):
        DynamicsConfig(width=0)
