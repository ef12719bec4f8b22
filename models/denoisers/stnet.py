"""`stnet`: convolution in space, causal attention in time, as SVD's UNet is built (2311.15127).

Two resolutions: convolutions alone at the latent grid, convolutions with attention across views
and over time at half of it, where tokens are few.

Legend: B batch, T frames, V views, F = B*T*V images, h w latent size, E condition width.
"""

import torch
from einops import rearrange
from torch import Tensor, nn

from worldsim.models.blocks import ChannelNorm, ResBlock, zero_init
from worldsim.models.denoisers.attention import (
    FrameOrder,
    KeyValueContext,
    SpaceAttention,
    TimeAttention,
)
from worldsim.models.denoisers.base import (
    ContextShape,
    Denoiser,
    DenoiserConfig,
    DenoiserShape,
    register_denoiser,
)
from worldsim.models.denoisers.conditioning import Conditioning, FrameConditioner, Levels

COARSE_FACTOR = 3


class MiddleBlock(nn.Module):
    """Convolution, then attention across views, then attention over time, at half resolution."""

    def __init__(self, width: int, heads: int, cond_width: int, layer: int) -> None:
        super().__init__()
        self.layer = layer
        self.conv = ResBlock(width, width, cond_width)
        self.norm_space = nn.LayerNorm(width)
        self.space = SpaceAttention(width, heads)
        self.norm_time = nn.LayerNorm(width)
        self.time = TimeAttention(width, heads, joint=False)
        zero_init(self.space.out)
        zero_init(self.time.out)

    def forward(
        self,
        x: Tensor,
        cond: Tensor,
        view_mask: Tensor,
        order: FrameOrder,
        context: KeyValueContext | None,
        write: int,
    ) -> Tensor:
        """x `[F, width, h/2, w/2]`, cond `[F, E]`, view_mask `[B, T, V]`."""
        batch, frames, views = view_mask.shape
        height = x.shape[-2]
        x = self.conv(x, cond)
        grid = {"b": batch, "t": frames, "v": views}
        tokens = rearrange(x, "(b t v) d h w -> (b t) (v h w) d", **grid)
        tokens = tokens + self.space(self.norm_space(tokens), view_mask.flatten(0, 1))
        tokens = rearrange(tokens, "(b t) n d -> b t n d", b=batch)
        tokens = tokens + self.time(self.norm_time(tokens), order, self.layer, context, write)
        out: Tensor = rearrange(tokens, "b t (v h w) d -> (b t v) d h w", v=views, h=height)
        return out


@register_denoiser("stnet")
class STNet(Denoiser):
    """Residual convolutional denoiser; the default for CPUs."""

    def __init__(self, config: DenoiserConfig, shape: DenoiserShape) -> None:
        super().__init__(config, shape)
        fine, coarse, cond = config.width, COARSE_FACTOR * config.width, config.cond_width
        self.heads = coarse // config.head_dim
        self.conditioner = FrameConditioner(
            shape.action_dim, shape.state_dim, shape.views, cond, jumps=config.jumps
        )
        self.enter = nn.Conv2d(self.input_channels, fine, 3, padding=1)
        self.place = nn.Parameter(
            torch.zeros(shape.views, coarse, shape.height // 2, shape.width // 2)
        )
        self.down_block = ResBlock(fine, fine, cond)
        self.down = nn.Conv2d(fine, coarse, 2, stride=2)
        self.middle = nn.ModuleList(
            [MiddleBlock(coarse, self.heads, cond, layer) for layer in range(config.depth)]
        )
        self.up = nn.Conv2d(coarse, 4 * fine, 1)
        self.shuffle = nn.PixelShuffle(2)
        self.up_block = ResBlock(2 * fine, fine, cond)
        self.last_block = ResBlock(fine, fine, cond)
        self.norm = ChannelNorm(fine)
        self.leave = zero_init(nn.Conv2d(fine, shape.channels, 3, padding=1))

    @property
    def context_shape(self) -> ContextShape:
        """One attention layer a middle block, tokens at half resolution."""
        tokens = self.shape.views * (self.shape.height // 2) * (self.shape.width // 2)
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
        batch, frames = levels.sigma.shape
        embedding = self.conditioner(levels, cond).flatten(0, 2)
        images = inputs.flatten(0, 2).contiguous(memory_format=torch.channels_last)
        fine = self.down_block(self.enter(images), embedding)
        coarse = self.down(fine) + self.place.repeat(batch * frames, 1, 1, 1)
        for block in self.middle:
            coarse = block(coarse, embedding, cond.view_mask, order, context, write)
        raised = self.shuffle(self.up(coarse))
        fine = self.up_block(torch.cat([fine, raised], dim=1), embedding)
        fine = self.last_block(fine, embedding)
        out: Tensor = self.leave(nn.functional.silu(self.norm(fine)))
        return out.reshape(batch, frames, self.shape.views, *out.shape[1:])
