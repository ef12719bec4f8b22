"""Frames as an imagination might show them: off-colour, noisy, blurred.

A judge trained on clean simulator frames alone is fooled by its first blurred one.

Legend: N rows, V view, H, W pixels.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from worldsim.config.limits import Share, Weight
from worldsim.config.values import Checked


@dataclass(frozen=True)
class AugmentConfig(Checked):
    """Strengths of the random changes, in pixel values of [-1, 1].

    Attributes:
        gain: greatest relative change of a colour channel.
        shift: greatest shift of a colour channel.
        noise: greatest standard deviation of pixel noise.
        blur: share of the rows that are blurred by a 3x3 mean, half of those twice.
    """

    gain: Weight = 0.15
    shift: Weight = 0.1
    noise: Weight = 0.08
    blur: Share = 0.3


def augment(video: Tensor, config: AugmentConfig, generator: torch.Generator) -> Tensor:
    """Randomly changed copy of float frames `[N, V, 3, H, W]` in [-1, 1]; each row its own way."""
    rows, views = video.shape[:2]

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    gain = 1 + config.gain * uniform(rows, views, 3, 1, 1)
    shift = config.shift * uniform(rows, views, 3, 1, 1)
    video = video * gain + shift
    blurred = torch.rand(rows, generator=generator) < config.blur
    twice = blurred & (torch.rand(rows, generator=generator) < 0.5)
    for mask in (blurred, twice):
        if mask.any():
            video[mask] = _mean3(video[mask])
    sigma = config.noise * torch.rand((rows, 1, 1, 1, 1), generator=generator)
    return video + sigma * torch.randn(video.shape, generator=generator)


def _mean3(video: Tensor) -> Tensor:
    flat = F.avg_pool2d(video.flatten(0, 1), 3, stride=1, padding=1, count_include_pad=False)
    return flat.view(video.shape)
