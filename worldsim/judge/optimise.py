"""The training loop of judges."""

from collections.abc import Callable

import torch
from rich.progress import track
from torch import Tensor, nn

from worldsim.judge.sampling import JudgeConfig

_RISE = 0.1
"""Share of the steps in which the rate rises."""


def optimise(
    network: nn.Module, loss: Callable[[], Tensor], config: JudgeConfig, show_progress: bool
) -> None:
    """Run all optimiser steps; leaves the network in evaluation mode.

    Args:
        network: what is trained.
        loss: of a fresh batch.
        config: number of steps, and peak of their rate.
        show_progress: draw a bar.
    """
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate)
    # torch divides by the steps of the rise less one, so one step is no rise.
    rise = _RISE if _RISE * config.steps > 1 else 0.0
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.learning_rate, total_steps=config.steps, pct_start=rise
    )
    network.train()
    steps = range(config.steps)
    for _ in track(steps, "training the judge", disable=not show_progress, transient=True):
        value = loss()
        optimizer.zero_grad(set_to_none=True)
        value.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    network.eval()
