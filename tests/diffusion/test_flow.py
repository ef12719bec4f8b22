"""Closed forms of flow matching."""

import pytest
import torch

from worldsim.diffusion import flow
from worldsim.diffusion.flow import sampling_sigmas, shift_sigma
from worldsim.errors import UsageError


def draw(*size: int) -> torch.Tensor:
    return torch.randn(*size, generator=torch.Generator().manual_seed(0))


def test_ends_of_the_path() -> None:
    x0, noise = draw(2, 3, 1, 1, 2, 2), draw(2, 3, 1, 1, 2, 2).flip(0)
    torch.testing.assert_close(flow.add_noise(x0, noise, torch.zeros(2, 3)), x0)
    torch.testing.assert_close(flow.add_noise(x0, noise, torch.ones(2, 3)), noise)


def test_velocity_is_noise_minus_clean() -> None:
    x0, noise = draw(2, 3, 1, 1, 2, 2), draw(2, 3, 1, 1, 2, 2).flip(0)
    sigma = torch.tensor([[0.2, 0.5, 1.0], [0.9, 0.1, 0.4]])
    x = flow.add_noise(x0, noise, sigma)
    torch.testing.assert_close(flow.velocity(x, x0, sigma), noise - x0, atol=1e-5, rtol=1e-4)


def test_step_with_a_perfect_prediction_stays_on_the_path() -> None:
    x0, noise = draw(1, 2, 1, 1, 2, 2), draw(1, 2, 1, 1, 2, 2).flip(1)
    sigma, lower = torch.tensor([[1.0, 0.6]]), torch.tensor([[0.5, 0.0]])
    stepped = flow.step_down(flow.add_noise(x0, noise, sigma), x0, sigma, lower)
    torch.testing.assert_close(stepped, flow.add_noise(x0, noise, lower), atol=1e-5, rtol=1e-5)


def test_linear_estimate_is_the_least_squares_one() -> None:
    x0, noise = draw(1, 1, 1, 1, 400, 400), draw(1, 1, 1, 1, 400, 400).flip(-1)
    sigma = torch.tensor([[0.4]])
    x = flow.add_noise(x0, noise, sigma)
    best = (x * x0).sum() / (x * x).sum() * x
    torch.testing.assert_close(flow.linear_estimate(x, sigma), best, atol=2e-2, rtol=2e-2)
    error = (flow.linear_estimate(x, sigma) - x0).square().mean()
    torch.testing.assert_close(error, flow.estimate_variance(sigma)[0, 0], atol=1e-2, rtol=1e-2)


def test_residual_base_takes_the_cleaner_of_frame_and_predecessor() -> None:
    x, before = draw(1, 3, 1, 1, 2, 2), draw(1, 3, 1, 1, 2, 2).flip(1)
    sigma = torch.tensor([[0.0, 1.0, 0.0]])
    older = torch.tensor([[0.0, 0.0, 1.0]])
    base = flow.residual_base(x, sigma, before, older)
    torch.testing.assert_close(base[:, 1], before[:, 1])
    torch.testing.assert_close(base[:, [0, 2]], x[:, [0, 2]])


def test_history_reads_back_as_itself() -> None:
    x0, level = draw(1, 1, 1, 1, 2, 2), 0.05
    sigma = torch.tensor([[level]])
    read = flow.linear_estimate(flow.as_history(x0, level), sigma)
    torch.testing.assert_close(read, x0, atol=1e-2, rtol=1e-2)


@pytest.mark.parametrize("steps", [1, 4])
def test_ladder_falls_from_one_to_zero(steps: int) -> None:
    ladder = sampling_sigmas(steps, shift=3.0)
    assert len(ladder) == steps + 1
    assert ladder[0] == 1 and ladder[-1] == 0
    assert (ladder.diff() < 0).all()


def test_shift_of_rolling_forcing() -> None:
    # 1000/800/600/400/200 under shift 5 (2509.25161, section 4).
    rungs = shift_sigma(torch.tensor([1.0, 0.8, 0.6, 0.4, 0.2]), 5.0)
    expected = torch.tensor([1.0, 0.952, 0.882, 0.769, 0.556])
    torch.testing.assert_close(rungs, expected, atol=1e-3, rtol=0)


def test_ladder_needs_a_step() -> None:
    with pytest.raises(UsageError):
        sampling_sigmas(0)
