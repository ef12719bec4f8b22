"""Teach the hand tracker where a recorded action leaves the hand, before the world stage.

The tracker is a small network on vectors, so it can see every recorded transition many times in
seconds. It learns from slightly wrong starts, and from readings as wrong as a state head's, made
here by adding noise to the truth: it must know that they are poor, and now and then far off, as
they are in scenes unlike the recorded ones.

Legend: R transitions, P proprioception, S state, A action.
"""

from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModel
from worldsim.training.draws import stream


@dataclass(frozen=True)
class HandConfig:
    """Attributes:
    steps: optimiser steps; 0 leaves the tracker as it is.
    batch_size: transitions a step.
    lr: peak learning rate, cosine to zero.
    start_noise: greatest error of the hand before the action, in standard deviations.
    reading_noise: typical error of what is read off the frame after it, hand and scene, in
        standard deviations; heavy-tailed.
    """

    steps: int = 6000
    batch_size: int = 512
    lr: float = 3e-3
    start_noise: float = 0.03
    reading_noise: float = 0.15

    def __post_init__(self) -> None:
        if self.steps < 0 or self.batch_size < 1 or self.lr <= 0:
            raise UsageError(f"hand: need steps >= 0, batch_size >= 1 and lr > 0, got {self}")


def fit_hand(
    model: WorldModel,
    agent_pos: Tensor,
    state: Tensor,
    action: Tensor,
    known: Tensor,
    config: HandConfig,
    seed: int,
) -> float:
    """Train `model.hand` and freeze it.

    Args:
        model: its normaliser must be fitted.
        agent_pos: `[N, P]` of successive rows, physical units.
        state: `[N, S]` of the same rows.
        action: `[N, A]`; action n leads from row n to row n+1.
        known: `[N]` bool, False in the last row of an episode.
        config: optimisation.
        seed: of order and noise.

    Returns:
        Mean absolute error after one action over the transitions, in standard deviations.
    """
    rows = torch.nonzero(known[:-1].bool())[:, 0]
    if not config.steps or not len(rows) or not agent_pos.shape[1]:
        model.hand.requires_grad_(False)
        return float("nan")
    position = model.normalizer.normalize("agent_pos", agent_pos.float())
    before, after, moves = position[rows], position[rows + 1], action[rows].float()
    scene = model.normalizer.normalize("state", state.float())[rows + 1]
    truth = torch.cat([after, scene], dim=-1)
    model.hand.low.copy_(torch.minimum(before, after).amin(dim=0))
    model.hand.high.copy_(torch.maximum(before, after).amax(dim=0))
    generator = stream(seed, "hand")
    optimizer = torch.optim.AdamW(model.hand.parameters(), config.lr, betas=(0.9, 0.99))
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, config.lr, total_steps=config.steps, pct_start=0.02, cycle_momentum=False
    )
    for _ in range(config.steps):
        chosen = torch.randint(len(rows), (config.batch_size,), generator=generator)
        start, end, shown = before[chosen], after[chosen], truth[chosen]
        size = torch.rand(len(chosen), 1, generator=generator).square()
        wrong = config.start_noise * size * torch.randn(start.shape, generator=generator)
        rare = torch.rand(len(chosen), 1, generator=generator).clamp_min(1e-3).rsqrt()
        doubt = config.reading_noise * rare * torch.randn(shown.shape, generator=generator)
        seen, read = torch.split(shown + doubt, [end.shape[-1], scene.shape[-1]], dim=-1)
        told = torch.ones(len(chosen))
        reached = model.hand.unbounded(start + wrong, moves[chosen], told, seen, read)
        loss = (reached - end).abs().mean()
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        schedule.step()
    model.hand.requires_grad_(False)
    with torch.no_grad():
        reached = model.hand(before, moves, torch.ones(len(rows)), after, scene)
        return float((reached - after).abs().mean())
