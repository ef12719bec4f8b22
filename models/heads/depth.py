"""Reads the depth of every place off clean latents, each view for itself.

A map of points (`model.memory.name=points`) so has the depth of imagined frames too. The head is
trained where recordings hold depth (`plan.objective.depth`), on recorded latents.

Legend: F images, c h w latent, D times finer map.
"""

import math

import torch
from torch import Tensor, nn

from worldsim.models.blocks import ResBlock

LEAST, MOST = 0.05, 100.0
"""Metres that can be told."""

USUAL = 2.5
"""Metres, about, that a fresh head tells everywhere; losses by colours find what is near it."""


class DepthHead(nn.Module):
    """Convolutions with weights that all views share.

    Args:
        width: channels.
        channels: c.
        finer: D, points told along each side of a latent's cell.
    """

    def __init__(self, width: int, channels: int, finer: int = 2) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(channels, width, 3, padding=1),
            ResBlock(width, width),
            ResBlock(width, width),
            ResBlock(width, width),
            nn.SiLU(),
            nn.Conv2d(width, finer**2, 3, padding=1),
            nn.PixelShuffle(finer),
        )
        last = self.body[-2]
        assert isinstance(last, nn.Conv2d) and last.bias is not None
        nn.init.constant_(last.bias, math.log(USUAL))

    def forward(self, latents: Tensor) -> Tensor:
        """Latents `[..., c, h, w]` to the logarithm of metres `[..., D h, D w]`."""
        images = latents.flatten(0, -4).to(next(self.parameters()).dtype)
        told = self.body(images.contiguous(memory_format=torch.channels_last))
        out: Tensor = told.float().reshape(*latents.shape[:-3], *told.shape[-2:])
        return out

    @torch.no_grad()
    def metres(self, latents: Tensor) -> Tensor:
        """Latents `[..., c, h, w]` to metres `[..., D h, D w]`."""
        out: Tensor = self(latents).exp().clamp(LEAST, MOST)
        return out


def depth_loss(told: Tensor, metres: Tensor, weight: Tensor) -> Tensor:
    """Mean absolute error of the logarithm of depth, where it is known.

    A share of the depth counts alike near and far, and the error at an edge no more than elsewhere.

    Args:
        told: `[B, T, V, a, b]` logarithms.
        metres: `[B, T, V, H, W]` recorded, of a size that is a multiple; NaN where unknown.
        weight: `[B, T, V]`.
    """
    finer = metres.shape[-1] // told.shape[-1]
    known = metres.isfinite() & (metres > 0)
    target = torch.where(known, metres.clamp(LEAST, MOST), torch.ones_like(metres)).log()
    # The nearest pixel of each place: a mean over an edge is the depth of nothing.
    target, known = (
        part[..., finer // 2 :: finer, finer // 2 :: finer] for part in (target, known)
    )
    counted = known * weight[..., None, None]
    return ((told - target).abs() * counted).sum() / counted.sum().clamp_min(1e-6)
