"""Ladders of noise levels for sampling."""

import torch
from torch import Tensor

from worldsim.errors import UsageError


def shift_sigma(sigma: Tensor, shift: float) -> Tensor:
    """Move levels toward noise: shift s / (1 + (shift - 1) s), as flow-matching video models do."""
    return shift * sigma / (1 + (shift - 1) * sigma)


def sampling_ladder(steps: int, shift: float = 1.0) -> Tensor:
    """Levels from 1 down to 0, `[steps + 1]`.

    Raises:
        UsageError: fewer than one step.
    """
    if steps < 1:
        raise UsageError(f"sampling_steps is {steps}; expected 1 or more")
    return shift_sigma(torch.linspace(1.0, 0.0, steps + 1), shift)
