"""Reads proprioception, privileged state, success and progress off clean latents.

Legend: B batch, T frames, V views, c latent channels, h w latent size, P proprioception, S state.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor, nn

from worldsim.config.limits import Count
from worldsim.config.values import Checked
from worldsim.models.blocks import ResBlock, keypoints


@dataclass(frozen=True, eq=False)
class StateReading:
    """What a frame says about the world.

    Attributes:
        agent_pos: `[B, T, P]`.
        state: `[B, T, S]`.
        success_logit: `[B, T]`.
        progress: `[B, T]`.
    """

    agent_pos: Tensor
    state: Tensor
    success_logit: Tensor
    progress: Tensor


@dataclass(frozen=True)
class HeadConfig(Checked):
    """Attributes:
    width: channels of the convolutions.
    keypoints: places looked for in each view.
    depth: whether depth is told too, by a head of its own (`worldsim.models.heads.depth`).
    finer: points of depth along each side of a latent's cell.
    stride: whether walls that are seen stop the agent (`worldsim.models.heads.stride`); needs
        `model.derotate`.
    events: whether the world's events are told too (`worldsim.models.heads.events`).
    """

    width: Count = 48
    keypoints: Count = 32
    depth: bool = False
    finer: Count = 2
    stride: bool = False
    events: bool = False


class StateHead(nn.Module):
    """Convolutions and keypoints per view with shared weights, then one MLP over all views.

    Keypoints are spatial soft-argmaxes (Finn et al. 1509.06113) on a grid twice as fine as the
    latents; they localise to a fraction of a cell, which a flattened grid learns far more slowly.
    """

    def __init__(
        self, config: HeadConfig, views: int, latent: tuple[int, int, int], p: int, s: int
    ) -> None:
        super().__init__()
        channels, height, width = latent
        self.sizes = (p, s)
        self.enter = nn.Conv2d(channels, config.width, 3, padding=1)
        self.view = nn.Parameter(torch.zeros(views, config.width, height, width))
        self.blocks = nn.Sequential(
            ResBlock(config.width, config.width), ResBlock(config.width, config.width), nn.SiLU()
        )
        self.maps = nn.Sequential(
            nn.Conv2d(config.width, 4 * config.keypoints, 3, padding=1), nn.PixelShuffle(2)
        )
        features = 3 * config.keypoints + config.width
        hidden = 4 * config.width
        self.mix = nn.Sequential(
            nn.Linear(views * features, hidden),
            nn.SiLU(),
            nn.Linear(hidden, hidden),
            nn.SiLU(),
            nn.Linear(hidden, p + s + 2),
        )

    def forward(self, latents: Tensor, view_mask: Tensor | None = None) -> StateReading:
        """`[B, T, V, c, h, w]` to readings in normalised units; missing views count as zero."""
        batch, frames, views = latents.shape[:3]
        images = latents.flatten(0, 2).to(self.enter.weight.dtype)
        images = images.contiguous(memory_format=torch.channels_last)
        hidden = self.blocks(self.enter(images) + self.view.repeat(batch * frames, 1, 1, 1))
        features = torch.cat([keypoints(self.maps(hidden)), hidden.mean(dim=(2, 3))], dim=1)
        features = rearrange(features, "(b t v) f -> b t v f", b=batch, t=frames)
        if view_mask is not None:
            features = features * view_mask[..., None].to(features.dtype)
        out = self.mix(features.flatten(2)).float()
        p, s = self.sizes
        return StateReading(out[..., :p], out[..., p : p + s], out[..., -2], out[..., -1])
