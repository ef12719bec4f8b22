"""`wan`: the transformer of Wan 2.1 (2503.20314), causal over time, with a noise level per frame.

Its layers are as published. Self-attention is over all tokens of a frame and of those before it,
which a stream keeps as keys and values; so it stands to Wan as CausVid (2412.07772) and Self
Forcing (2506.08009) do. Each frame attends to tokens of its own, where Wan has those of a text:
action, state and levels, one for each view, so that an action enters the frame that it leads to
and no other. The same goes to the modulation of every layer, by view. Views stand above each
other in the grid of tokens. Predecessors and maps enter by layers beside the first.

Legend: B batch, T frames, R predecessors, V views, c h w latent, N = V*(h/2)*(w/2) tokens a frame,
H heads, D channels a head, E condition width.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from worldsim.diffusion.flow import per_frame
from worldsim.models.blocks import zero_init
from worldsim.models.denoisers.attention import (
    FrameOrder,
    KeyValueContext,
    Turn,
    attention,
    joint_attention,
)
from worldsim.models.denoisers.base import (
    ContextShape,
    DenoiserConfig,
    DenoiserShape,
    register_denoiser,
)
from worldsim.models.denoisers.conditioning import Conditioning, Levels
from worldsim.models.denoisers.published import PublishedDenoiser, new_channels

PATCH = 2
NOISE_STEPS = 1000.0
"""What Wan calls noise level 1."""
THETA = 10_000.0
"""Base of the rotary embedding."""
FREQUENCIES = 256
"""Channels of the embedding of a noise level."""


def space_dim(head_dim: int) -> int:
    """Channels of a head that turn with the row, and as many with the column; the first, with time.

    As WanRotaryPosEmbed of diffusers has them.
    """
    return 2 * (head_dim // 6)


def angles(positions: Tensor, dim: int) -> Tensor:
    """`[...]` to how far each of `dim / 2` pairs of channels is turned there, `[..., dim / 2]`."""
    powers = torch.arange(0, dim, 2, device=positions.device, dtype=torch.float32) / dim
    return positions.float().unsqueeze(-1) * THETA**-powers


def turn_pairs(x: Tensor, turn: Turn) -> Tensor:
    """Turn neighbouring channels of x `[..., 2 n]` by cosine and sine `[..., n]`."""
    cos, sin = turn
    first, second = torch.unflatten(x.float(), -1, (-1, 2)).unbind(-1)
    turned = torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return turned.flatten(-2).to(x.dtype)


@dataclass(frozen=True, eq=False)
class Pass:
    """What all layers of a pass share.

    Attributes:
        order: where the frames stand in time.
        context: earlier frames.
        write: how many leading frames leave their keys and values there.
        space: turn by row and column, `[N, 1, n]`.
        time_dim: channels of a head that turn with time.
    """

    order: FrameOrder
    context: KeyValueContext | None
    write: int
    space: Turn
    time_dim: int

    def _parts(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Channels that turn with time, and those that turn with space."""
        time, space = torch.split(x, [self.time_dim, x.shape[-1] - self.time_dim], dim=-1)
        return time, space

    def in_space(self, x: Tensor) -> Tensor:
        """x `[B, T, N, H, D]` turned by where its tokens stand in the frame."""
        time, space = self._parts(x)
        return torch.cat([time, turn_pairs(space, self.space)], dim=-1)

    def in_time(self, x: Tensor, turn: Turn) -> Tensor:
        """x `[B, T, N, H, D]` turned by when its frames are."""
        time, space = self._parts(x)
        return torch.cat([turn_pairs(time, turn), space], dim=-1)


@register_denoiser("wan")
class Wan(PublishedDenoiser):
    """WanTransformer3DModel with causal attention."""

    part, last = "transformer", "proj_out"

    def __init__(self, config: DenoiserConfig, shape: DenoiserShape) -> None:
        super().__init__(config, shape)
        before = config.history * shape.channels
        self.before = new_channels(before, config.width, PATCH, PATCH)
        self.maps = new_channels(shape.map_channels, config.width, PATCH, PATCH)
        self.told = zero_init(nn.Linear(config.cond_width, config.width))
        self.grid = (shape.height // PATCH, shape.width // PATCH)

    @staticmethod
    def network() -> Any:
        """See `PublishedDenoiser.network`."""
        from diffusers.models.transformers.transformer_wan import WanTransformer3DModel

        return WanTransformer3DModel

    def sizes(self) -> dict[str, Any]:
        """See `PublishedDenoiser.sizes`."""
        config = self.config
        return {
            "patch_size": (1, PATCH, PATCH),
            "num_attention_heads": config.width // config.head_dim,
            "attention_head_dim": config.head_dim,
            "in_channels": self.shape.channels,
            "out_channels": self.shape.channels,
            "text_dim": config.cond_width,
            "freq_dim": FREQUENCIES,
            "ffn_dim": config.published.feed_forward or 4 * config.width,
            "num_layers": config.depth,
            "cross_attn_norm": True,
            "qk_norm": "rms_norm_across_heads",
            "image_dim": None,
            "added_kv_proj_dim": None,
        }

    @property
    def context_shape(self) -> ContextShape:
        """Every block attends over time."""
        tokens = self.shape.views * self.grid[0] * self.grid[1]
        heads = self.config.width // self.config.head_dim
        return ContextShape(
            self.config.depth, tokens, heads, self.config.head_dim, self.config.history
        )

    def frame_order(
        self, positions: Tensor, blocks: Sequence[int] | None, context: KeyValueContext | None
    ) -> FrameOrder:
        """See `Denoiser.frame_order`."""
        order, keys = super().frame_order(positions, blocks, context), positions
        if context is not None:
            past = positions[:, :1] - context.ages().to(positions.dtype)
            keys = torch.cat([past, positions], dim=1)
        return replace(order, turn=self._turn(positions), key_turn=self._turn(keys))

    @property
    def _time_dim(self) -> int:
        return self.config.head_dim - 2 * space_dim(self.config.head_dim)

    def _turn(self, positions: Tensor) -> Turn:
        angle = angles(positions, self._time_dim)[:, :, None, None]
        return angle.cos(), angle.sin()

    def _space(self, device: torch.device) -> Turn:
        """Turn of the tokens of a frame, all views below each other."""
        rows, columns = self.shape.views * self.grid[0], self.grid[1]
        row = torch.arange(rows, device=device).repeat_interleave(columns)
        column = torch.arange(columns, device=device).repeat(rows)
        each = space_dim(self.config.head_dim)
        angle = torch.cat([angles(row, each), angles(column, each)], dim=-1)[:, None]
        return angle.cos(), angle.sin()

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
        net, embedder = self.net, self.net.condition_embedder
        x, before, maps = self.split(inputs)
        told = self.conditioner(levels, cond)
        tokens = self._patches(x, before, maps) * cond.view_mask[..., None, None].to(x.dtype)
        steps = embedder.timesteps_proj(NOISE_STEPS * levels.sigma.flatten().float())
        level = embedder.time_embedder(steps.to(x.dtype)).unflatten(0, levels.sigma.shape)
        level = level.unsqueeze(2) + self.told(told)
        dials = embedder.time_proj(embedder.act_fn(level)).unflatten(-1, (6, -1))
        text = embedder.text_embedder(told).flatten(0, 1)
        step = Pass(order, context, write, self._space(x.device), self._time_dim)
        # What is computed anew would be written anew, into a context that has gone on.
        anew = net.gradient_checkpointing and torch.is_grad_enabled() and context is None
        for layer, block in enumerate(net.blocks):
            given = (block, tokens, text, dials, step, layer)
            tokens = (
                checkpoint(run_block, *given, use_reentrant=False) if anew else run_block(*given)
            )
        shift, scale = (net.scale_shift_table[0] + level.unsqueeze(3)).chunk(2, dim=3)
        out = self._frames(net.norm_out(tokens.float()) * (1 + scale) + shift)
        # What Wan puts out is the flow's velocity, e - x0.
        return out if self.predicts_residual else x - per_frame(levels.sigma).to(x.dtype) * out

    def _patches(self, x: Tensor, before: Tensor, maps: Tensor) -> Tensor:
        """Tokens `[B, T, V, N / V, width]` of frames, their predecessors and maps."""
        patches: Tensor = self.net.patch_embedding(x.flatten(0, 2).unsqueeze(2)).squeeze(2)
        for layer, more in ((self.before, before), (self.maps, maps)):
            if layer is not None:
                patches = patches + layer(more.flatten(0, 2))
        return torch.unflatten(patches.flatten(2).transpose(1, 2), 0, x.shape[:3])

    def _frames(self, tokens: Tensor) -> Tensor:
        """The inverse of `_patches`, for what the last layer makes of tokens."""
        out = self.net.proj_out(tokens.to(self.net.proj_out.weight.dtype))
        sides = {"h": self.grid[0], "w": self.grid[1], "p": PATCH, "q": PATCH}
        frames: Tensor = rearrange(out, "b t v (h w) (p q c) -> b t v c (h p) (w q)", **sides)
        return frames


def run_block(
    block: Any, tokens: Tensor, text: Tensor, dials: Tensor, step: Pass, layer: int
) -> Tensor:
    """WanTransformerBlock.forward, causal over time.

    Args:
        block: the published layer.
        tokens: `[B, T, V, N / V, width]`.
        text: `[B*T, V, width]` that each frame attends to.
        dials: `[B, T, V, 6, width]` shifts, scales and gates.
        step: what all layers share.
        layer: the block's number.
    """
    dialled = (block.scale_shift_table[0] + dials.float()).unsqueeze(4).unbind(3)
    shift_a, scale_a, gate_a, shift_m, scale_m, gate_m = dialled
    dtype = tokens.dtype
    hidden = (block.norm1(tokens.float()) * (1 + scale_a) + shift_a).to(dtype)
    seen = over_time(block.attn1, hidden.flatten(2, 3), step, layer)
    tokens = (tokens.float() + seen.view(tokens.shape) * gate_a).to(dtype)
    hidden = block.norm2(tokens.float()).to(dtype)
    tokens = tokens + of_text(block.attn2, hidden.flatten(0, 1).flatten(1, 2), text).view(
        tokens.shape
    )
    hidden = (block.norm3(tokens.float()) * (1 + scale_m) + shift_m).to(dtype)
    out: Tensor = (tokens.float() + block.ffn(hidden).float() * gate_m).to(dtype)
    return out


def normed(norm: Any, x: Tensor) -> Tensor:
    """x normed in the precision of the norm's weights, which autocast leaves alone."""
    out: Tensor = norm(x.to(norm.weight.dtype)).to(x.dtype)
    return out


def over_time(attn: Any, x: Tensor, step: Pass, layer: int) -> Tensor:
    """Self-attention of x `[B, T, N, width]` over its own and earlier frames."""
    q, k, v = normed(attn.norm_q, attn.to_q(x)), normed(attn.norm_k, attn.to_k(x)), attn.to_v(x)
    q, k, v = (each.unflatten(-1, (attn.heads, -1)) for each in (q, k, v))
    q, k = step.in_space(q), step.in_space(k)
    keys, values = k, v
    if step.context is not None:
        old_k, old_v = step.context.read(layer)
        keys = torch.cat([old_k.to(k.dtype), k], dim=1)
        values = torch.cat([old_v.to(v.dtype), v], dim=1)
        if step.write:
            step.context.write(layer, k[:, : step.write].detach(), v[:, : step.write].detach())
    q, keys = step.in_time(q, step.order.turn), step.in_time(keys, step.order.key_turn)
    out: Tensor = attn.to_out[0](joint_attention(q, keys, values, step.order))
    return out


def of_text(attn: Any, x: Tensor, text: Tensor) -> Tensor:
    """Attention of x `[F, N, width]` to tokens `[F, L, width]`, frame by frame."""
    q, k = normed(attn.norm_q, attn.to_q(x)), normed(attn.norm_k, attn.to_k(text))
    v = attn.to_v(text)
    q, k, v = (each.unflatten(-1, (attn.heads, -1)).transpose(1, 2) for each in (q, k, v))
    out: Tensor = attn.to_out[0](attention(q, k, v, None).transpose(1, 2).flatten(2))
    return out
