"""The training loop that judges share, and the loss that weighs both outcomes the same."""

import pytest
import torch
from torch import nn

from worldsim.judge.optimise import optimise
from worldsim.judge.sampling import JudgeConfig
from worldsim.models.blocks import balanced_loss


@pytest.mark.parametrize("steps", [2, 9, 10, 11, 20, 30])
def test_every_number_of_steps_learns(steps: int) -> None:
    """Of ten steps a tenth is one, by which a rise of the rate cannot be divided."""
    torch.manual_seed(0)
    network = nn.Linear(2, 1)
    x = torch.randn(64, 2)
    target, seen = (x[:, 0] > 0).float(), []

    def loss() -> torch.Tensor:
        assert network.training
        value = balanced_loss(network(x)[:, 0], target)
        seen.append(value.item())
        return value

    config = JudgeConfig(steps=steps, learning_rate=0.1)
    optimise(network, loss, config, show_progress=False)
    assert len(seen) == steps and seen[-1] < seen[0] and not network.training


def test_a_rare_outcome_weighs_as_much_as_the_other() -> None:
    logit = torch.tensor([0.3, -0.2, 1.0, 0.5], requires_grad=True)
    success = torch.tensor([1.0, 0.0, 0.0, 0.0])
    loss = balanced_loss(logit, success)
    each = torch.nn.functional.binary_cross_entropy_with_logits(logit, success, reduction="none")
    expected = (each[0] + each[1:].mean()) / 2
    torch.testing.assert_close(loss, expected)
