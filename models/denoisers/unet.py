"""`unet`: a U-Net of single frames with their history by channel, as DriftWorld's (2607.15065).

Three resolutions of convolutions, each scaled and shifted by the frame's conditions; attention
across views at the coarsest, where tokens are few. Where things are is told to all of them as
numbers too: what a contact does hangs on distances finer than a cell. A gate shuts the residual
off where nothing changes: what is off by a little in every step dissolves in a hundred. Nothing is
kept of a frame but its latents, so a stream never reads a finished frame again.

Legend: B batch, T frames, V views, F = B*T*V images, h w latent size, E condition width.
"""

import torch
from einops import rearrange
from torch import Tensor, nn

from worldsim.models.blocks import ChannelNorm, ResBlock, keypoints, zero_init
from worldsim.models.denoisers.attention import FrameOrder, KeyValueContext, SpaceAttention
from worldsim.models.denoisers.base import (
    ContextShape,
    Denoiser,
    DenoiserConfig,
    DenoiserShape,
    register_denoiser,
)
from worldsim.models.denoisers.conditioning import Conditioning, FrameConditioner, Levels

KEYPOINTS = 32
"""Of each view, among the features of the finest resolution."""


class ViewMixer(nn.Module):
    """Attention among all tokens of a frame, all views together, beside the convolutions."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.space = SpaceAttention(width, heads)
        zero_init(self.space.out)

    def forward(self, x: Tensor, view_mask: Tensor) -> Tensor:
        """x `[F, width, h, w]`, view_mask `[B, T, V]`; to the shape of x."""
        views, height = view_mask.shape[-1], x.shape[-2]
        tokens = rearrange(x, "(f v) d h w -> f (v h w) d", v=views)
        tokens = tokens + self.space(self.norm(tokens), view_mask.flatten(0, 1))
        out: Tensor = rearrange(tokens, "f (v h w) d -> (f v) d h w", v=views, h=height)
        return out


class KeypointCondition(nn.Module):
    """Keypoints of all views of a frame, as an addition to its condition."""

    def __init__(self, width: int, views: int, cond_width: int) -> None:
        super().__init__()
        self.maps = nn.Conv2d(width, KEYPOINTS, 1)
        self.mix = nn.Sequential(
            nn.Linear(3 * KEYPOINTS * views, 2 * cond_width),
            nn.SiLU(),
            zero_init(nn.Linear(2 * cond_width, cond_width)),
        )

    def forward(self, fine: Tensor, cond: Tensor, view_mask: Tensor) -> Tensor:
        """fine `[F, width, h, w]`, cond `[F, E]`, view_mask `[B, T, V]`; to the shape of cond."""
        views = view_mask.shape[-1]
        found = rearrange(keypoints(self.maps(fine)), "(f v) k -> f v k", v=views)
        found = (found * view_mask.flatten(0, 1)[..., None]).flatten(1).to(cond.dtype)
        out: Tensor = cond + self.mix(found).repeat_interleave(views, dim=0)
        return out


class Down(nn.Module):
    """A block, then half the resolution."""

    def __init__(self, width: int, coarser: int, cond_width: int) -> None:
        super().__init__()
        self.block = ResBlock(width, width, cond_width)
        self.down = nn.Conv2d(width, coarser, 2, stride=2)

    def forward(self, x: Tensor, cond: Tensor) -> tuple[Tensor, Tensor]:
        """x `[F, width, h, w]` to what the way up is shown of it, and `[F, coarser, h/2, w/2]`."""
        x = self.block(x, cond)
        return x, self.down(x)


class Up(nn.Module):
    """Twice the resolution, then a block that sees what the way down saw there."""

    def __init__(self, coarser: int, width: int, cond_width: int) -> None:
        super().__init__()
        self.up = nn.Conv2d(coarser, 4 * width, 1)
        self.shuffle = nn.PixelShuffle(2)
        self.block = ResBlock(2 * width, width, cond_width)

    def forward(self, x: Tensor, beside: Tensor, cond: Tensor) -> Tensor:
        """x `[F, coarser, h/2, w/2]`, beside `[F, width, h, w]`; to the shape of beside."""
        raised = self.shuffle(self.up(x))
        out: Tensor = self.block(torch.cat([beside, raised], dim=1), cond)
        return out


@register_denoiser("unet")
class UNet(Denoiser):
    """Frame-wise U-Net; the fastest in a stream, for models that see all they need in R frames."""

    def __init__(self, config: DenoiserConfig, shape: DenoiserShape) -> None:
        super().__init__(config, shape)
        fine, middle, coarse = (config.width * factor for factor in (1, 2, 3))
        cond = config.cond_width
        self.heads = coarse // config.head_dim
        self.conditioner = FrameConditioner(
            shape.action_dim, shape.state_dim, shape.views, cond, jumps=config.jumps
        )
        self.enter = nn.Conv2d(self.input_channels, fine, 3, padding=1)
        self.place = nn.Parameter(
            torch.zeros(shape.views, coarse, -(-shape.height // 4), -(-shape.width // 4))
        )
        self.keypoints = KeypointCondition(fine, shape.views, cond)
        self.down_fine, self.down_middle = Down(fine, middle, cond), Down(middle, coarse, cond)
        self.blocks = nn.ModuleList([ResBlock(coarse, coarse, cond) for _ in range(config.depth)])
        self.mixers = nn.ModuleList([ViewMixer(coarse, self.heads) for _ in range(config.depth)])
        self.up_middle, self.up_fine = Up(coarse, middle, cond), Up(middle, fine, cond)
        self.last_block = ResBlock(fine, fine, cond)
        self.norm = ChannelNorm(fine)
        self.leave = zero_init(nn.Conv2d(fine, shape.channels, 3, padding=1))
        self.gate = nn.Conv2d(fine, 1, 3, padding=1)

    @property
    def context_shape(self) -> ContextShape:
        """No attention over time: R latents are all that is kept."""
        return ContextShape(0, 0, self.heads, self.config.head_dim, self.config.history)

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
        height, width = inputs.shape[-2:]
        # Sides that do not halve twice are drawn out, and cut back at the end.
        images = nn.functional.pad(inputs.flatten(0, 2), (0, -width % 4, 0, -height % 4))
        images = images.contiguous(memory_format=torch.channels_last)
        fine, x = self.down_fine(self.enter(images), embedding)
        embedding = self.keypoints(fine, embedding, cond.view_mask)
        middle, x = self.down_middle(x, embedding)
        x = x + self.place.repeat(batch * frames, 1, 1, 1)
        for block, mixer in zip(self.blocks, self.mixers, strict=True):
            x = mixer(block(x, embedding), cond.view_mask)
        x = self.up_fine(self.up_middle(x, middle, embedding), fine, embedding)
        x = self.last_block(x, embedding)
        x = nn.functional.silu(self.norm(x))
        out: Tensor = (self.leave(x) * self.gate(x).sigmoid())[..., :height, :width]
        return out.reshape(batch, frames, self.shape.views, *out.shape[1:])
