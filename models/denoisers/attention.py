"""Scaled dot-product attention with a temporal rotary embedding applied at read.

Legend: B batch, T new frames, W context slots, N tokens a frame, D channels a head, H heads.
Keys are kept un-rotated; only differences of `positions` matter, so a stream has no length limit.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from einops import rearrange
from torch import Tensor, nn

FEW_FRAMES = 2


class KeyValueContext(Protocol):
    """What a denoiser needs of a context (see `worldsim.sampling.context`)."""

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values `[B, W, N, H, D]` of one layer, un-rotated."""
        ...

    def ages(self) -> Tensor:
        """`[B, W]` distance in frames from each slot to the next new frame (1: predecessor)."""
        ...

    def valid(self) -> Tensor:
        """`[B, W]` bool, whether the slot holds a frame."""
        ...

    @property
    def full(self) -> bool:
        """Whether every slot is known to hold a frame, without asking the device."""
        ...

    def predecessors(self) -> tuple[Tensor, Tensor]:
        """Latents `[B, R, V, c, h, w]` of the last R committed frames, oldest first, and their
        levels `[B, R]` (level 1 where there is none)."""
        ...

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Store keys and values `[B, n, N, H, D]` of n new frames."""
        ...


Turn = tuple[Tensor, Tensor]
"""Cosine and sine `[B, T, 1, 1, D/2]` of a rotary embedding over time."""


def turn_of(positions: Tensor, head_dim: int) -> Turn:
    """How heads of `head_dim` channels are turned at positions `[B, T]`, in frames."""
    half = head_dim // 2
    frequencies = torch.exp(
        torch.arange(half, device=positions.device, dtype=torch.float32) * (-math.log(100.0) / half)
    )
    angle = positions.float()[:, :, None, None, None] * frequencies
    return angle.cos(), angle.sin()


def rotate(x: Tensor, turn: Turn) -> Tensor:
    """Rotary embedding over time of x `[B, T, N, H, D]`."""
    cos, sin = turn
    first, second = x.float().chunk(2, dim=-1)
    turned = torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return turned.to(x.dtype)


@dataclass(frozen=True, eq=False)
class FrameOrder:
    """Where the frames of a pass stand in time and which of them see which; one for all layers.

    Attributes:
        turn: of the new frames.
        key_turn: of the context's frames and the new ones.
        valid: `[B, W]` bool, which of the context's frames are there; None: all.
        blocks: sizes of consecutive groups of new frames; a frame sees the new frames of its own
            group and of earlier ones. Known without asking the device.
    """

    turn: Turn
    key_turn: Turn
    valid: Tensor | None
    blocks: tuple[int, ...]

    @classmethod
    def of(
        cls,
        positions: Tensor,
        head_dim: int,
        blocks: Sequence[int] | None = None,
        context: KeyValueContext | None = None,
    ) -> "FrameOrder":
        """Make it.

        Args:
            positions: `[B, T]` frame numbers; only differences matter.
            head_dim: channels of a head.
            blocks: see the class; None: every frame on its own.
            context: earlier frames, all of which that are valid are seen.
        """
        turn = turn_of(positions, head_dim)
        groups = (1,) * positions.shape[1] if blocks is None else tuple(blocks)
        if context is None:
            return cls(turn, turn, None, groups)
        past = positions[:, :1] - context.ages().to(positions.dtype)
        key_turn = turn_of(torch.cat([past, positions], dim=1), head_dim)
        return cls(turn, key_turn, None if context.full else context.valid(), groups)

    def mask(self, past: int) -> Tensor:
        """`[B, T, W + T]` bool (B is 1 where all rows are alike), whom each new frame may look at.

        Args:
            past: W.
        """
        device = self.turn[0].device
        # Made on the device: a copy from the host would be waited for.
        number = torch.cat([torch.full((n,), i, device=device) for i, n in enumerate(self.blocks)])
        new = (number[None, :] <= number[:, None])[None]
        valid = new.new_ones(1, past) if self.valid is None else self.valid
        seen = valid[:, None, :].expand(-1, new.shape[1], -1)
        return torch.cat([seen, new.expand(len(valid), -1, -1)], dim=2)


DENSE = 1024
"""Keys up to which plain products beat torch's fused attention on CPUs, severalfold in backward."""


def attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None) -> Tensor:
    """Scaled dot-product attention `[..., L, D]`, by plain products where that is faster.

    Args:
        q: `[..., L, D]`.
        k: `[..., K, D]`.
        v: `[..., K, D]`.
        mask: bool, broadcastable to `[..., L, K]`, True where a key may be seen.
    """
    if q.device.type != "cpu" or k.shape[-2] > DENSE:
        fused: Tensor = nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return fused
    lead, scale = q.shape[:-2], q.shape[-1] ** -0.5
    flat_q, flat_k, flat_v = (x.flatten(0, -3) for x in (q, k, v))
    if mask is None:
        scores = torch.bmm(flat_q * scale, flat_k.transpose(1, 2))
    else:
        bias = q.new_zeros(mask.shape).masked_fill_(~mask, -torch.inf)
        # Queries that see the same keys share a row of the bias.
        bias = bias.expand(*lead, *bias.shape[-2:]).flatten(0, -3)
        scores = torch.baddbmm(bias, flat_q, flat_k.transpose(1, 2), alpha=scale)
    out = torch.bmm(scores.softmax(dim=-1).to(v.dtype), flat_v)
    return out.view(*lead, *out.shape[1:])


class TimeAttention(nn.Module):
    """Causal attention over time: each token attends to the same place in earlier frames, or,
    with `joint`, to all tokens of its own and of earlier frames.

    Args:
        width: channels of a token.
        heads: attention heads.
        joint: attend over space and time at once (a video DiT) rather than time alone.
    """

    def __init__(self, width: int, heads: int, *, joint: bool) -> None:
        super().__init__()
        self.heads, self.joint = heads, joint
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(
        self,
        x: Tensor,
        order: FrameOrder,
        layer: int,
        context: KeyValueContext | None = None,
        write: int = 0,
    ) -> Tensor:
        """x `[B, T, N, width]` to the same shape; the first `write` frames enter the context."""
        q, k, v = rearrange(
            self.qkv(x), "b t n (three h d) -> three b t n h d", three=3, h=self.heads
        )
        keys, values = k, v
        if context is not None:
            old_k, old_v = context.read(layer)
            keys = torch.cat([old_k.to(k.dtype), k], dim=1)
            values = torch.cat([old_v.to(v.dtype), v], dim=1)
            if write:
                context.write(layer, k[:, :write].detach(), v[:, :write].detach())
        out = self._attend(q, keys, values, order)
        result: Tensor = self.out(out)
        return result

    def _attend(self, q: Tensor, k: Tensor, v: Tensor, order: FrameOrder) -> Tensor:
        frames, tokens = q.shape[1], q.shape[2]
        if not self.joint and frames <= FEW_FRAMES:
            return few_queries_attention(q, k, v, order)
        q, k = rotate(q, order.turn), rotate(k, order.key_turn)
        if self.joint:
            return joint_attention(q, k, v, order)
        mask = order.mask(k.shape[1] - frames).unsqueeze(1)
        merge = "b t n h d -> b (n h) t d"
        q, k, v = rearrange(q, merge), rearrange(k, merge), rearrange(v, merge)
        return rearrange(attention(q, k, v, mask), "b (n h) t d -> b t n (h d)", n=tokens)


def joint_attention(q: Tensor, k: Tensor, v: Tensor, order: FrameOrder) -> Tensor:
    """Attention over space and time at once, block after block of new frames.

    All tokens of a block see the same keys, a prefix of them; so nothing that would have to be
    masked is computed, and where the context is full no mask is left, which fused kernels on GPUs
    are fastest without.

    Args:
        q: `[B, T, N, H, D]`, turned.
        k: `[B, W + T, N, H, D]`, turned.
        v: `[B, W + T, N, H, D]`.
        order: where the frames stand in time, of T new and W + T seen ones.

    Returns:
        `[B, T, N, H * D]`.
    """
    frames, tokens, past = q.shape[1], q.shape[2], k.shape[1] - q.shape[1]
    merge = "b t n h d -> b h (t n) d"
    q, k, v = rearrange(q, merge), rearrange(k, merge), rearrange(v, merge)
    out, stop = [], 0
    for size in order.blocks:
        start, stop = stop, stop + size
        seen, mask = (past + stop) * tokens, None
        if order.valid is not None:
            known = torch.nn.functional.pad(order.valid, (0, stop), value=True)
            mask = known.repeat_interleave(tokens, dim=1)[:, None, None]
        block = q[:, :, start * tokens : stop * tokens]
        out.append(attention(block, k[:, :, :seen], v[:, :, :seen], mask))
    return rearrange(torch.cat(out, dim=2), "b h (t n) d -> b t n (h d)", t=frames)


def few_queries_attention(q: Tensor, k: Tensor, v: Tensor, order: FrameOrder) -> Tensor:
    """Attention over time alone for a handful of new frames, as broadcast products.

    A fused kernel spends its time on set-up when every one of B*N*H problems is this small. What
    the rotary embedding does to a product of query and key depends on their distance in time
    alone, so it is applied to the products: turning every key of the context costs more than all
    the rest.

    Args:
        q: `[B, T, N, H, D]`.
        k: `[B, W, N, H, D]`, un-rotated.
        v: `[B, W, N, H, D]`.
        order: where the frames stand in time, of T new and W seen ones.

    Returns:
        `[B, T, N, H * D]`.
    """
    cos, sin = (x[:, :, 0, 0].repeat(1, 1, 2) for x in order.turn)
    key_cos, key_sin = (x[:, :, 0, 0].repeat(1, 1, 2) for x in order.key_turn)
    first, second = q.chunk(2, dim=-1)
    across = torch.cat([-second, first], dim=-1)
    heads, mask = "b w n h d -> (b w) (n h) d", order.mask(k.shape[1] - q.shape[1])
    out = []
    for t in range(q.shape[1]):
        here_cos, here_sin = cos[:, t : t + 1], sin[:, t : t + 1]
        lag_cos = (here_cos * key_cos + here_sin * key_sin).to(q.dtype)
        lag_sin = (here_sin * key_cos - here_cos * key_sin).to(q.dtype)
        scores = torch.bmm(
            rearrange(k * q[:, t : t + 1], heads), rearrange(lag_cos, "b w d -> (b w) d 1")
        ) + torch.bmm(
            rearrange(k * across[:, t : t + 1], heads), rearrange(lag_sin, "b w d -> (b w) d 1")
        )
        scores = scores.view(k.shape[:-1]).float() / math.sqrt(q.shape[-1])
        scores = scores.masked_fill(~mask[:, t, :, None, None], -torch.inf)
        weights = scores.softmax(dim=1).to(v.dtype)
        out.append((weights.unsqueeze(-1) * v).sum(1))
    return torch.stack(out, dim=1).flatten(-2)


class SpaceAttention(nn.Module):
    """Bidirectional attention among all tokens of one frame, all views together."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor, view_mask: Tensor) -> Tensor:
        """x `[F, N, width]`, the tokens of one view after the other's; view_mask `[F, V]`, 1 where
        the view exists.

        A frame without any view (the padding of a short episode) sees all of itself: what is made
        of it counts nowhere, and a softmax over nothing would be NaN everywhere.
        """
        seen = view_mask.bool().repeat_interleave(x.shape[1] // view_mask.shape[1], dim=1)
        seen = seen | ~seen.any(dim=-1, keepdim=True)
        q, k, v = rearrange(self.qkv(x), "f n (three h d) -> three f h n d", three=3, h=self.heads)
        out = attention(q, k, v, seen[:, None, None, :])
        result: Tensor = self.out(rearrange(out, "f h n d -> f n (h d)"))
        return result
