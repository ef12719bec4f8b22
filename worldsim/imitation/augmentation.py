"""Training frames made less clean, so that a policy also reads frames that a model imagined.

Legend: N rows, V view, H, W pixels.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from worldsim.config.limits import Share, Weight, Whole
from worldsim.config.values import Checked


@dataclass(frozen=True)
class Augmentation(Checked):
    """Strengths of the random changes; 0 switches one off.

    Attributes:
        shift: greatest shift in pixels, drawn per view (random crop of the edge-padded frame:
            Yarats et al. 2021, "Image augmentation is all you need", section 3.1).
        gain: greatest relative change of a colour channel's contrast.
        bias: greatest shift of a colour channel, in pixel values of [-1, 1].
        blur: share of the rows mixed with their 3x3 mean, as autoencoders blur.
    """

    shift: Whole = 1
    gain: Weight = 0.1
    bias: Weight = 0.06
    blur: Share = 0.5


def augment(pixels: Tensor, config: Augmentation, generator: torch.Generator) -> Tensor:
    """uint8 `[N, V, H, W, 3]` to changed float frames `[N, V, 3, H, W]` around [-1, 1]."""
    rows, views = pixels.shape[:2]
    images = _shifted(pixels.flatten(0, 1), config.shift, generator)
    frames = rearrange(images, "(n v) h w c -> n v c h w", n=rows).float() / 127.5 - 1.0

    def uniform(*shape: int) -> Tensor:
        return torch.rand(shape, generator=generator) * 2 - 1

    frames = frames * (1 + config.gain * uniform(rows, views, 3, 1, 1))
    frames = frames + config.bias * uniform(rows, views, 3, 1, 1)
    chosen = torch.rand((rows, 1, 1, 1, 1), generator=generator) < config.blur
    amount = torch.rand((rows, 1, 1, 1, 1), generator=generator) * chosen
    mean = F.avg_pool2d(frames.flatten(0, 1), 3, stride=1, padding=1, count_include_pad=False)
    return frames.lerp(mean.view_as(frames), amount)


def _shifted(images: Tensor, limit: int, generator: torch.Generator) -> Tensor:
    """Each of the uint8 images `[M, H, W, 3]` moved by up to `limit` pixels, edges repeated."""
    if limit == 0:
        return images
    count, height, width, _ = images.shape
    moves = torch.randint(-limit, limit + 1, (2, count, 1), generator=generator)
    rows = (torch.arange(height) + moves[0]).clamp(0, height - 1)
    columns = (torch.arange(width) + moves[1]).clamp(0, width - 1)
    each = torch.arange(count)[:, None, None]
    return images[each, rows[:, :, None], columns[:, None, :]]
