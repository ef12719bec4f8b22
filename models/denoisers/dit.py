"""`dit`: a causal video diffusion transformer with adaLN conditioning (DiT, 2212.09748).

Tokens of a frame (2x2 latent patches of all views) see each other and all earlier frames.

Legend: B batch, T frames, V views, n tokens a view, E condition width.
"""

import math

import torch
from einops import rearrange
from torch import Tensor, nn

from worldsim.models.blocks import FeedForward, zero_init
from worldsim.models.denoisers.attention import FrameOrder, KeyValueContext, TimeAttention
from worldsim.models.denoisers.base import (
    ContextShape,
    Denoiser,
    DenoiserConfig,
    DenoiserShape,
    register_denoiser,
)
from worldsim.models.denoisers.conditioning import Conditioning, FrameConditioner, Levels

PATCH = 2


def grid_embedding(height: int, width: int, channels: int) -> Tensor:
    """Fixed 2-D sinusoidal place embedding `[height * width, channels]`."""
    quarter = channels // 4
    frequencies = torch.exp(torch.arange(quarter) * (-math.log(1000.0) / max(quarter, 1)))
    rows = torch.arange(height)[:, None] * frequencies
    columns = torch.arange(width)[:, None] * frequencies
    by_row = torch.cat([rows.sin(), rows.cos()], -1)[:, None].expand(-1, width, -1)
    by_column = torch.cat([columns.sin(), columns.cos()], -1)[None].expand(height, -1, -1)
    table = torch.cat([by_row, by_column], dim=-1).flatten(0, 1)
    return nn.functional.pad(table, (0, channels - table.shape[1]))


class DiTBlock(nn.Module):
    """Attention and MLP, each scaled, shifted and gated by the condition (adaLN-Zero)."""

    def __init__(self, width: int, heads: int, cond_width: int, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.norm_attention = nn.LayerNorm(width, elementwise_affine=False)
        self.attention = TimeAttention(width, heads, joint=True)
        self.norm_mlp = nn.LayerNorm(width, elementwise_affine=False)
        self.mlp = FeedForward(width)
        self.modulation = zero_init(nn.Linear(cond_width, 6 * width))

    def forward(
        self,
        x: Tensor,
        cond: Tensor,
        order: FrameOrder,
        context: KeyValueContext | None,
        write: int,
    ) -> Tensor:
        """x `[B, T, V, n, width]`, cond `[B, T, V, E]`."""
        dials = self.modulation(cond).unsqueeze(3).chunk(6, dim=-1)
        shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = dials
        hidden = self.norm_attention(x) * (1 + scale_a) + shift_a
        seen = self.attention(hidden.flatten(2, 3), order, self.layer, context, write)
        x = x + gate_a * seen.view(x.shape)
        hidden = self.norm_mlp(x) * (1 + scale_m) + shift_m
        out: Tensor = x + gate_m * self.mlp(hidden)
        return out


@register_denoiser("dit")
class DiT(Denoiser):
    """Causal video DiT over all views jointly."""

    def __init__(self, config: DenoiserConfig, shape: DenoiserShape) -> None:
        super().__init__(config, shape)
        width, cond = config.width, config.cond_width
        self.grid = (shape.height // PATCH, shape.width // PATCH)
        self.heads = width // config.head_dim
        self.conditioner = FrameConditioner(
            shape.action_dim, shape.state_dim, shape.views, cond, jumps=config.jumps
        )
        self.enter = nn.Linear(self.input_channels * PATCH**2, width)
        self.view = nn.Parameter(0.02 * torch.randn(shape.views, 1, width))
        self.register_buffer("place", grid_embedding(*self.grid, width), persistent=False)
        self.blocks = nn.ModuleList(
            [DiTBlock(width, self.heads, cond, layer) for layer in range(config.depth)]
        )
        self.norm = nn.LayerNorm(width, elementwise_affine=False)
        self.modulation = zero_init(nn.Linear(cond, 2 * width))
        self.leave = zero_init(nn.Linear(width, shape.channels * PATCH**2))

    @property
    def context_shape(self) -> ContextShape:
        """Every block attends over time."""
        tokens = self.shape.views * self.grid[0] * self.grid[1]
        return ContextShape(
            self.config.depth, tokens, self.heads, self.config.head_dim, self.config.history
        )

    def residual(
        self,
        inputs: Tensor,
        levels: Levels,
        cond: Conditioning,
        order: FrameOrder,
        context: KeyValueContext | None,
        write: int,
    ) -> Tensor:
        """See `Denoiser.residual`."""
        embedding = self.conditioner(levels, cond)
        patches = rearrange(inputs, "b t v d (h p) (w q) -> b t v (h w) (d p q)", p=PATCH, q=PATCH)
        tokens = self.enter(patches) + self.place.to(patches.dtype) + self.view
        tokens = tokens * cond.view_mask[..., None, None].to(tokens.dtype)
        for block in self.blocks:
            tokens = block(tokens, embedding, order, context, write)
        shift, scale = self.modulation(embedding).unsqueeze(3).chunk(2, dim=-1)
        out = self.leave(self.norm(tokens) * (1 + scale) + shift)
        result: Tensor = rearrange(
            out,
            "b t v (h w) (c p q) -> b t v c (h p) (w q)",
            h=self.grid[0],
            p=PATCH,
            q=PATCH,
        )
        return result
