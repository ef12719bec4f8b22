"""Noise policies: which level each frame of a training clip carries, `[B, T]` in [0, 1].

Independent levels per frame are Diffusion Forcing (2407.01392). Sampling always sees a nearly
clean past, so `context` gives a share of the frames the low levels of history.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from worldsim.config.limits import OneOf, Positive, Share, Steps
from worldsim.config.values import Checked
from worldsim.diffusion.flow import sampling_sigmas, shift_sigma
from worldsim.registry import Registry


@dataclass(frozen=True)
class NoiseConfig(Checked):
    """Attributes:
    name: registered policy.
    shift: moves levels towards noise (1 leaves them uniform).
    full_share: share of noisy frames put at level 1, where every sampler begins.
    context_share: share of frames that play history (`context` only).
    context_level: highest level of such frames.
    steps: rungs of the ladder (`ladder` only).
    clean_start: whether the first frame always plays history, as in every rollout.
    """

    name: Annotated[str, OneOf(lambda: NOISE_POLICIES)] = "context"
    shift: Positive = 1.0
    full_share: Share = 0.2
    context_share: Share = 0.6
    context_level: Share = 0.1
    steps: Steps = 4
    clean_start: bool = True


Levels = Callable[[tuple[int, int], torch.Generator], Tensor]
"""Levels `[B, T]` of a batch of clips, from its shape and randomness."""
Policy = Callable[[NoiseConfig, tuple[int, int], torch.Generator], Tensor]
NOISE_POLICIES: Registry[Policy] = Registry("noise policy")


def noise_policy(config: NoiseConfig) -> Levels:
    """What draws the noise levels of clips.

    Raises:
        UsageError: no such policy.
    """
    policy = NOISE_POLICIES.get(config.name)

    def draw(shape: tuple[int, int], generator: torch.Generator) -> Tensor:
        sigma = policy(config, shape, generator)
        if config.clean_start:
            low = config.context_level * torch.rand(shape[0], generator=generator)
            sigma = torch.cat([low[:, None], sigma[:, 1:]], dim=1)
        return sigma

    return draw


def _noisy(config: NoiseConfig, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    sigma = shift_sigma(torch.rand(shape, generator=generator), config.shift)
    full = torch.rand(shape, generator=generator) < config.full_share
    return torch.where(full, torch.ones_like(sigma), sigma)


@NOISE_POLICIES.register("independent")
def independent(config: NoiseConfig, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Every frame its own level."""
    return _noisy(config, shape, generator)


@NOISE_POLICIES.register("uniform")
def uniform(config: NoiseConfig, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """One level for the whole clip, as plain video diffusion."""
    return _noisy(config, (shape[0], 1), generator).expand(shape)


@NOISE_POLICIES.register("ladder")
def ladder(config: NoiseConfig, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Every frame an independently drawn rung of the sampler's ladder."""
    rungs = sampling_sigmas(config.steps, config.shift)[:-1]
    return rungs[torch.randint(len(rungs), shape, generator=generator)]


@NOISE_POLICIES.register("context")
def context(config: NoiseConfig, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """A share of the frames at low levels, the others independent.

    The share is drawn per clip around `context_share`, so that both runs of history before a
    noisy frame and runs of noisy frames occur.
    """
    sigma = _noisy(config, shape, generator)
    spread = min(config.context_share, 1.0 - config.context_share)
    jitter = 2.0 * torch.rand((shape[0], 1), generator=generator) - 1.0
    share = config.context_share + spread * jitter
    plays_history = torch.rand(shape, generator=generator) < share
    low = config.context_level * torch.rand(shape, generator=generator)
    return torch.where(plays_history, low, sigma)
