"""Distribution matching: the student's rollouts made as likely as the teacher's (DMD, 2311.18828).

A critic, begun as a copy of the teacher's denoiser, learns by flow matching what the student's
rollouts look like. Where critic and teacher estimate different clean frames from the same noised
rollout, the student is moved from the critic's toward the teacher's (as Self Forcing, 2506.08009,
and Self-Forcing++, 2510.02283, on a window of a long rollout). The student moves in every n-th
optimiser step only; in the others it has no gradient at all, so that its optimiser stands still.

Legend: B batch, T frames, V views, c h w latent, H given frames, K imagined frames.
"""

import copy
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from worldsim.config.limits import Count, Positive, Share, Weight, at_most, below, more_than
from worldsim.config.values import Checked
from worldsim.diffusion.flow import add_noise, shift_sigma
from worldsim.errors import UsageError
from worldsim.models.denoisers.base import Denoiser
from worldsim.models.world_model import WorldModel
from worldsim.training.losses.clip import Clip
from worldsim.training.losses.self_rollout import Rolled


@dataclass(frozen=True)
class MatchingConfig(Checked):
    """Attributes:
    share: of rollouts that are matched rather than regressed to recorded frames; 0 has no critic.
    every: optimiser steps between those that move the student.
    least: lowest level at which critic and teacher are compared.
    most: highest.
    shift: moves these levels toward noise.
    weight: of the student's loss beside the critic's.
    """

    share: Share = 0.0
    every: Count = 5
    least: Annotated[float, more_than(0), below(1)] = 0.02
    most: Annotated[float, more_than(0), at_most(1)] = 0.98
    shift: Positive = 1.0
    weight: Weight = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.least < self.most:
            raise UsageError(f"least is {self.least}; expected less than most, {self.most}")


@dataclass(frozen=True, eq=False)
class Matched:
    """Losses of one rollout.

    Attributes:
        critic: error of the critic's clean estimates.
        student: half the squared distance to where the student is to move; None in steps of the
            critic alone.
        gap: how far critic and teacher are apart, in units of the student's distance to the
            teacher.
    """

    critic: Tensor
    student: Tensor | None
    gap: Tensor


def critic_of(teacher: WorldModel) -> Denoiser:
    """A denoiser to be trained that begins as the teacher's."""
    return copy.deepcopy(teacher.denoiser).requires_grad_(True)


def match_rollout(
    rolled: Rolled,
    frames: Tensor,
    clip: Clip,
    teacher: Denoiser,
    critic: Denoiser,
    config: MatchingConfig,
    generator: torch.Generator,
) -> Matched:
    """Losses of the student's rollout of a clip; the student moves if the rollout has gradients.

    Args:
        rolled: frames H to H + K.
        frames: `[B, K]` 1 where they count.
        clip: what was recorded, its first H frames given.
        teacher: frozen.
        critic: trained here.
        config: levels and weights.
        generator: of levels and noise.
    """
    first, count = rolled.first, rolled.predicted.shape[1]
    made, device = rolled.predicted.detach(), rolled.predicted.device
    span = first + count
    level = config.least + (config.most - config.least) * torch.rand(
        len(made), 1, generator=generator
    )
    level = shift_sigma(level, config.shift).to(device).expand(-1, count)
    noise = torch.randn(made.shape, generator=generator).to(device)
    seen = clip.view_mask[:, first:span, :, None, None, None]
    x = torch.cat([clip.x0[:, :first], add_noise(made, noise, level) * seen], dim=1)
    sigma = torch.cat([torch.zeros_like(level[:, :1]).expand(-1, first), level], dim=1)
    cond = rolled.cond
    weight = (frames[:, :, None] * clip.view_mask[:, first:span])[..., None, None, None]
    weight = weight.expand_as(made)

    guess = critic(x, sigma, cond)[:, first:]
    critic_loss = _mean((guess.float() - made).square(), weight).mean()
    with torch.no_grad():
        real = teacher(x, sigma, cond)[:, first:].float()
        apart = guess.detach().float() - real
        scale = _mean((made - real).abs(), weight).clamp_min(1e-4)
        step = apart / scale[:, None, None, None, None, None]
        gap = _mean(apart.abs(), weight).mean() / scale.mean()
    if not rolled.predicted.requires_grad:
        return Matched(critic_loss, None, gap)
    goal = (made - step).detach()
    student_loss = 0.5 * _mean((rolled.predicted.float() - goal).square(), weight).mean()
    return Matched(critic_loss, student_loss, gap)


def _mean(values: Tensor, weight: Tensor) -> Tensor:
    """Weighted mean of each clip, `[B]`."""
    total = (values * weight).flatten(1).sum(1)
    return total / weight.flatten(1).sum(1).clamp_min(1e-6)
