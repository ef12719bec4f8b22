"""`svd`: Stable Video Diffusion's network (2311.15127), conditioned as Ctrl-World (2510.10125).

A frame is denoised in a window with the R frames before it. The network sees the window both ways,
as it was trained to, and no frame sees a later one; a stream keeps R latents and tokens. All views
stand above each other in one image. Every frame of the window has its own noise level, and attends
to tokens of its own: action, state and levels, one for each view. The predecessor stands beside all
of them by channel, where SVD has the image that it starts from; maps are the newest frame's alone.

Legend: B batch, T frames, R predecessors, W = R + 1 window, V views, c h w latent, M map channels,
E condition width, F = B*T*W images.
"""

from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn

from worldsim.diffusion.flow import linear_estimate, per_frame
from worldsim.errors import UsageError
from worldsim.models.blocks import zero_init
from worldsim.models.denoisers.attention import FrameOrder, KeyValueContext
from worldsim.models.denoisers.base import (
    ContextShape,
    DenoiserConfig,
    DenoiserShape,
    register_denoiser,
)
from worldsim.models.denoisers.conditioning import Conditioning, Levels
from worldsim.models.denoisers.published import PublishedDenoiser, new_channels

GROUPS = 32
"""Of the group norms; diffusers has no argument for it."""
LEVELS = (1, 2, 4, 4)
"""Channels of each resolution, in those of the finest."""
IMAGE_SCALE = 1 / 0.18215
"""Latents of the image that SVD starts from are not scaled as those of frames are."""
RATE, MOTION = 6.0, 127.0
"""Frames a second less one, and the motion bucket, as StableVideoDiffusionPipeline has them."""
LEAST, MOST = 0.002, 700.0
"""Noise that SVD was trained on, as deviation beside clean latents of unit variance."""


@register_denoiser("svd")
class SVD(PublishedDenoiser):
    """UNetSpatioTemporalConditionModel in windows of frames."""

    part, last = "unet", "conv_out"

    def __init__(self, config: DenoiserConfig, shape: DenoiserShape) -> None:
        if config.width % GROUPS or config.cond_width % 2:
            raise UsageError(
                f"denoiser 'svd' norms groups of channels and halves its tokens; width is "
                f"{config.width}, expected a multiple of {GROUPS}, and cond_width is "
                f"{config.cond_width}, expected an even number"
            )
        super().__init__(config, shape)
        self.maps = new_channels(shape.map_channels, config.width, 3)
        self.told = zero_init(nn.Linear(config.cond_width, 4 * config.width))

    @staticmethod
    def network() -> Any:
        """See `PublishedDenoiser.network`."""
        from diffusers.models.unets.unet_spatio_temporal_condition import (
            UNetSpatioTemporalConditionModel,
        )

        return UNetSpatioTemporalConditionModel

    def sizes(self) -> dict[str, Any]:
        """See `PublishedDenoiser.sizes`."""
        widths = tuple(level * self.config.width for level in LEVELS)
        attends = len(LEVELS) - 1
        return {
            "in_channels": 2 * self.shape.channels,
            "out_channels": self.shape.channels,
            "down_block_types": (
                *("CrossAttnDownBlockSpatioTemporal",) * attends,
                "DownBlockSpatioTemporal",
            ),
            "up_block_types": (
                "UpBlockSpatioTemporal",
                *("CrossAttnUpBlockSpatioTemporal",) * attends,
            ),
            "block_out_channels": widths,
            "layers_per_block": self.config.depth,
            "cross_attention_dim": self.config.cond_width,
            "num_attention_heads": tuple(width // self.config.head_dim for width in widths),
            "transformer_layers_per_block": 1,
            "addition_time_embed_dim": 256,
            "projection_class_embeddings_input_dim": 768,
        }

    @property
    def context_shape(self) -> ContextShape:
        """What each frame attends to: a token a view, one half as key and the other as value."""
        half = self.config.cond_width // 2
        return ContextShape(1, self.shape.views, 1, half, self.config.history)

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
        seen = cond.view_mask[..., None, None, None].to(inputs.dtype)
        x, before, maps = self.split(inputs * seen)
        past = torch.unflatten(before, 3, (self.config.history, -1)).transpose(2, 3)
        frames = torch.cat([past, x.unsqueeze(2)], dim=2)
        sigma = torch.cat([levels.history, levels.sigma.unsqueeze(-1)], dim=-1)
        tokens = self._tokens(self.conditioner(levels, cond), context, write)
        out = self._denoise(frames, sigma, tokens, maps)
        if self.predicts_residual:
            return out
        # The preconditioning of EDM (2206.00364, section 5), for x = (1 - s) x0 + s e.
        s = per_frame(levels.sigma).to(x.dtype)
        return linear_estimate(x, levels.sigma) - s / norm(s) * out

    def _tokens(self, told: Tensor, context: KeyValueContext | None, write: int) -> Tensor:
        """What each frame of each window attends to, `[B, T, W, V, E]`, of `[B, T, V, E]`."""
        history, frames = self.config.history, told.shape[1]
        if context is None:
            before = told.new_zeros(len(told), history, *told.shape[2:])
        else:
            before = remembered(context, history).to(told.dtype)
            if write:
                context.write(0, *told[:, :write, :, None].detach().chunk(2, dim=-1))
        both = torch.cat([before, told], dim=1)
        return torch.stack([both[:, r : r + frames] for r in range(history + 1)], dim=2)

    def _denoise(self, frames: Tensor, sigma: Tensor, tokens: Tensor, maps: Tensor) -> Tensor:
        """Output for the newest frame of every window, `[B, T, V, c, h, w]`.

        Args:
            frames: `[B, T, W, V, c, h, w]`.
            sigma: `[B, T, W]`.
            tokens: `[B, T, W, V, E]`.
            maps: `[B, T, V, M, h, w]`.
        """
        batch, window, views = len(frames), frames.shape[2], frames.shape[3]
        s = sigma[..., None, None, None, None].to(frames.dtype)
        image = IMAGE_SCALE * frames[:, :, -2:-1].expand_as(frames)
        both = torch.cat([frames / norm(s), image], dim=4)
        x = self.net.conv_in(drawn_out(rearrange(both, "b t r v c h w -> (b t r) c (v h) w")))
        if self.maps is not None:
            shown = self.maps(drawn_out(rearrange(maps, "b t v m h w -> (b t) m (v h) w")))
            each = x.unflatten(0, (-1, window))
            x = torch.cat([each[:, :-1], each[:, -1:] + shown.unsqueeze(1)], dim=1).flatten(0, 1)
        embedding = self._embedding(sigma, tokens)
        x = self._unet(x, embedding.flatten(0, 2), tokens.flatten(0, 2), window)
        x = x[..., : views * frames.shape[-2], : frames.shape[-1]]
        out: Tensor = rearrange(x, "(b t) c (v h) w -> b t v c h w", b=batch, v=views)
        return out

    def _embedding(self, sigma: Tensor, tokens: Tensor) -> Tensor:
        """What every layer of the network is told of each image, `[B, T, W, 4 * width]`."""
        net, dtype = self.net, tokens.dtype
        noise = (sigma.float() / (1 - sigma.float()).clamp_min(1e-6)).clamp(LEAST, MOST)
        level = net.time_embedding(net.time_proj(0.25 * noise.log().flatten()).to(dtype))
        # The last is how noisy the image is that stands beside all frames.
        ids = torch.stack(
            [torch.full_like(sigma[..., 0], each) for each in (RATE, MOTION)] + [sigma[..., -2]], -1
        )
        more = net.add_time_proj(ids.float().flatten()).to(dtype)
        more = net.add_embedding(more.reshape(*sigma.shape[:2], 1, -1))
        out: Tensor = level.reshape(*sigma.shape, -1) + more + self.told(tokens.mean(dim=3))
        return out

    def _unet(self, x: Tensor, embedding: Tensor, tokens: Tensor, window: int) -> Tensor:
        """UNetSpatioTemporalConditionModel.forward beyond its first layer, with what it is told of
        every image its own; `[F, width, V*h, w]` to the newest image's `[B*T, c, V*h, w]`."""
        net, alone = self.net, x.new_zeros(len(x) // window, window)
        told = {"temb": embedding, "image_only_indicator": alone}
        skips = [x]
        for block in net.down_blocks:
            x, more = block(x, **told, **_attended(block, tokens))
            skips += more
        x = net.mid_block(x, **told, encoder_hidden_states=tokens)
        for block in net.up_blocks:
            count = len(block.resnets)
            beside, skips = tuple(skips[-count:]), skips[:-count]
            x = block(x, res_hidden_states_tuple=beside, **told, **_attended(block, tokens))
        out: Tensor = net.conv_out(net.conv_act(net.conv_norm_out(x[window - 1 :: window])))
        return out


def _attended(block: nn.Module, tokens: Tensor) -> dict[str, Tensor]:
    """The tokens as an argument of blocks that attend to any."""
    attends = getattr(block, "has_cross_attention", False)
    return {"encoder_hidden_states": tokens} if attends else {}


def drawn_out(images: Tensor) -> Tensor:
    """Images `[F, C, h, w]` with zeros to the right and below, until their sides halve all the way.

    The last halving then never is of a single column, whose convolution in bfloat16 gives gradients
    that are not numbers (oneDNN, torch 2.13 on CPUs).
    """
    least = 2 ** (len(LEVELS) - 1)
    return nn.functional.pad(images, (0, -images.shape[-1] % least, 0, -images.shape[-2] % least))


def norm(s: Tensor) -> Tensor:
    """Deviation of x_s = (1 - s) x0 + s e for clean latents of unit variance."""
    return (s**2 + (1 - s) ** 2).sqrt()


def remembered(context: KeyValueContext, history: int) -> Tensor:
    """Tokens `[B, R, V, E]` of the newest R frames of a context, zero where there is none."""
    kept = torch.cat(context.read(0), dim=-1).squeeze(3)
    age = torch.arange(history, 0, -1, device=kept.device)
    held = (context.ages()[:, None] == age[:, None]) & context.valid()[:, None]
    return torch.einsum("brw,bwve->brve", held.to(kept.dtype), kept)
