"""Steps that may go several ways: one is taken, not the mean of all."""

import math

import pytest
import torch
from square_world import SPEC
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.tabletop.contact_dynamics import ContactDynamics
from worldsim.training.batches import Batch
from worldsim.training.losses.dynamics import SOFTNESS, DynamicsLoss, DynamicsPlan, mixture_error

LIFT = 0.02
"""How far the block of these tests goes along x, or does not, by a coin."""


def test_one_way_has_its_own_error() -> None:
    errors = torch.rand(5, 1)
    torch.testing.assert_close(mixture_error(errors, torch.zeros(5, 1)), errors[:, 0])


def test_a_sure_and_right_way_costs_its_error_and_a_wrong_one_what_it_is_worse() -> None:
    sure = torch.tensor([0.0, -50.0])
    assert float(mixture_error(torch.tensor([0.3, 0.9]), sure)) == pytest.approx(0.3, abs=1e-6)
    assert float(mixture_error(torch.tensor([0.9, 0.3]), sure)) == pytest.approx(0.9, abs=1e-6)
    even = torch.full((2,), math.log(0.5))
    half = 0.3 + SOFTNESS * math.log(2)
    assert float(mixture_error(torch.tensor([0.3, 9.0]), even)) == pytest.approx(half, abs=1e-6)


def draw(count: int, share: float, generator: torch.Generator) -> Batch:
    """One-step windows in which the block, for no reason to be seen, jumps in a share of cases."""
    body = torch.rand(count, 1, 5, generator=generator) * 0.1 + 0.1
    body[..., 2] = 0.1
    body = body.expand(-1, 3, -1).clone()
    jumps = torch.rand(count, generator=generator) < share
    body[jumps, 2, 3] += LIFT
    return {
        "state": body,
        "action": torch.zeros(count, 1, SPEC.action.dim),
        "inside": torch.ones(count, 1),
    }


def fit(modes: int, share: float) -> ContactDynamics:
    torch.manual_seed(0)
    dynamics = ContactDynamics(DynamicsConfig(width=32, depth=1, modes=modes), SPEC)
    generator = torch.Generator().manual_seed(0)
    first = draw(512, share, generator)["state"]
    dynamics.fit_scales(first.flatten(0, 1), first[:, 1], first[:, 2])
    loss = DynamicsLoss(dynamics, DynamicsPlan(horizon=1, start_noise=0.0))
    optimizer = torch.optim.AdamW(dynamics.parameters(), 6e-3)
    for step in range(300):
        optimizer.zero_grad()
        batch = draw(128, share, generator)
        loss(batch, step / 300, generator).total.backward()  # type: ignore[no-untyped-call]
        optimizer.param_groups[0]["lr"] = 6e-3 * (1 - step / 300)
        optimizer.step()
    return dynamics.requires_grad_(False)


def moves(dynamics: ContactDynamics, share: float) -> Tensor:
    """Where the block of unseen starts goes along x, in units of the jump."""
    now = draw(64, share, torch.Generator().manual_seed(9))["state"][:, 1]
    after = dynamics.step(now, now, torch.zeros(64, SPEC.action.dim), torch.ones(64))
    moved: Tensor = (after - now)[:, 3] / LIFT
    return moved


def test_the_mean_of_two_ways_is_taken_by_one_mode_only() -> None:
    blurred = moves(fit(1, 0.5), 0.5)
    assert ((blurred > 0.2) & (blurred < 0.8)).float().mean() > 0.9
    taken = moves(fit(2, 0.5), 0.5)
    assert ((taken.abs() < 0.1) | ((taken - 1).abs() < 0.1)).float().mean() > 0.9


@pytest.mark.parametrize(("share", "goes"), [(0.8, 1.0), (0.2, 0.0)])
def test_the_likelier_way_is_taken_and_chances_are_those_of_the_data(
    share: float, goes: float
) -> None:
    dynamics = fit(2, share)
    assert ((moves(dynamics, share) - goes).abs() < 0.1).float().mean() > 0.9
    now = draw(64, share, torch.Generator().manual_seed(9))["state"][:, 1]
    modes, log_probs = dynamics.modes(now, now, torch.zeros(64, SPEC.action.dim), torch.ones(64))
    jumped = ((modes - now[:, None])[..., 3] / LIFT - 1).abs() < 0.3
    assert (log_probs.exp() * jumped).sum(-1).mean() == pytest.approx(share, abs=0.1)


def test_a_step_goes_at_least_one_way() -> None:
    with pytest.raises(UsageError, match="modes"):
        DynamicsConfig(modes=0)
