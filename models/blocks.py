"""Layers, blocks and a loss that networks share, and the normalisation of what they read and give.

Images are `[F, channels, h, w]`.
"""

import math
import warnings
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.errors import DataError

FIELDS = ("latent", "agent_pos", "state")
LEAST_STD = 1e-4
RAREST = 0.05
"""Share of a batch below which an outcome weighs less than the other, so that no frame of it weighs
without bound."""


class ChannelNorm(nn.LayerNorm):
    """Layer norm over the channels of each pixel, as ConvNeXt (2201.03545) has it.

    On CPUs, in channels-last bfloat16, it takes a third of GroupNorm's time.
    """

    def forward(self, x: Tensor) -> Tensor:
        """`[F, channels, h, w]` to the same shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


def channels_last(network: nn.Module) -> None:
    """Lay out weights of convolutions as images come, channels last, in place.

    Convolutions over time too, which have an axis more, stay as they are.
    """
    network._apply(  # type: ignore[no-untyped-call]
        lambda each: each.contiguous(memory_format=torch.channels_last) if each.ndim == 4 else each
    )


def linear(inputs: int, outputs: int) -> nn.Linear:
    """A layer whose inputs or outputs may be none, as of a world without a state.

    Torch has nothing to initialise there, and would warn of it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Initializing zero-element tensors")
        return nn.Linear(inputs, outputs)


def zero_init(module: nn.Conv2d | nn.Linear) -> nn.Conv2d | nn.Linear:
    """Start a layer at zero, so that its branch begins as the identity."""
    nn.init.zeros_(module.weight)
    if module.bias is not None:
        nn.init.zeros_(module.bias)
    return module


class ResBlock(nn.Module):
    """Two 3x3 convolutions with a skip; FiLM (scale, shift) by a condition vector if given one.

    Args:
        inputs: channels in.
        width: channels out.
        cond_width: E of the condition vector, or None for an unconditional block.
        norm: normalise channels; shallow stacks train well without it, a quarter faster on CPUs.
    """

    def __init__(
        self, inputs: int, width: int, cond_width: int | None = None, *, norm: bool = True
    ) -> None:
        super().__init__()
        self.norm_in = ChannelNorm(inputs) if norm else nn.Identity()
        self.conv_in = nn.Conv2d(inputs, width, 3, padding=1)
        self.norm_out = ChannelNorm(width) if norm else nn.Identity()
        self.conv_out = zero_init(nn.Conv2d(width, width, 3, padding=1))
        self.skip = nn.Conv2d(inputs, width, 1) if inputs != width else nn.Identity()
        self.film = zero_init(nn.Linear(cond_width, 2 * width)) if cond_width else None

    def forward(self, x: Tensor, cond: Tensor | None = None) -> Tensor:
        """x `[F, inputs, h, w]`, cond `[F, E]` to `[F, width, h, w]`."""
        hidden = self.norm_out(self.conv_in(nn.functional.silu(self.norm_in(x))))
        if self.film is not None and cond is not None:
            scale, shift = self.film(cond)[..., None, None].chunk(2, dim=1)
            hidden = torch.addcmul(shift, hidden, 1 + scale)
        out: Tensor = self.skip(x) + self.conv_out(nn.functional.silu(hidden))
        return out


def keypoints(maps: Tensor) -> Tensor:
    """Spatial soft-argmax (1509.06113) of K maps `[F, K, h, w]`.

    Returns:
        x, y in [-1, 1] and height of the peak of each, `[F, 3K]` float32.
    """
    logits = maps.float().flatten(2)
    weights = logits.softmax(dim=-1).reshape(*maps.shape)
    x = torch.linspace(-1.0, 1.0, maps.shape[-1], device=maps.device)
    y = torch.linspace(-1.0, 1.0, maps.shape[-2], device=maps.device)
    across, down = (weights.sum(2) * x).sum(-1), (weights.sum(3) * y).sum(-1)
    height = torch.logsumexp(logits, dim=-1) - math.log(logits.shape[-1])
    return torch.cat([across, down, height], dim=1)


class FeedForward(nn.Module):
    """Token-wise MLP `[..., width]` to the same shape."""

    def __init__(self, width: int, factor: int = 4) -> None:
        super().__init__()
        self.up = nn.Linear(width, factor * width)
        self.down = nn.Linear(factor * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Expand, GELU, contract."""
        out: Tensor = self.down(nn.functional.gelu(self.up(x), approximate="tanh"))
        return out


class Normalizer(nn.Module):
    """Brings latents and vectors to unit variance; its statistics are stored as readable JSON.

    They are mean and standard deviation of latent channels `[c]`, agent_pos `[P]` and state `[S]`.
    """

    def __init__(self, channels: int, agent_pos_dim: int, state_dim: int) -> None:
        super().__init__()
        for name, size in zip(FIELDS, (channels, agent_pos_dim, state_dim), strict=True):
            self.register_buffer(f"{name}_mean", torch.zeros(size))
            self.register_buffer(f"{name}_std", torch.ones(size))

    def fit(self, name: str, mean: Tensor, std: Tensor) -> None:
        """Set the statistics of one of `FIELDS`.

        Entries that hardly vary (a constant rotation) keep their scale, so that noise in them is
        not blown up.
        """
        std = torch.where(std < LEAST_STD, torch.ones_like(std), std)
        getattr(self, f"{name}_mean").copy_(mean)
        getattr(self, f"{name}_std").copy_(std)

    def normalize(self, name: str, value: Tensor) -> Tensor:
        """To unit variance; latents are `[..., c, h, w]`, vectors `[..., dim]`."""
        mean, std = self._statistics(name)
        return (value - mean) / std

    def denormalize(self, name: str, value: Tensor) -> Tensor:
        """Inverse of `normalize`."""
        mean, std = self._statistics(name)
        return value * std + mean

    def _statistics(self, name: str) -> tuple[Tensor, Tensor]:
        mean, std = getattr(self, f"{name}_mean"), getattr(self, f"{name}_std")
        if name == "latent":
            return mean[:, None, None], std[:, None, None]
        return mean, std

    def to_json(self) -> dict[str, Any]:
        """`{name: {mean, std}}` as lists."""
        return {
            name: {part: getattr(self, f"{name}_{part}").tolist() for part in ("mean", "std")}
            for name in FIELDS
        }

    def load_json(self, data: dict[str, Any]) -> None:
        """Inverse of `to_json`.

        Raises:
            DataError: a field is missing or has the wrong length.
        """
        for name in FIELDS:
            for part in ("mean", "std"):
                buffer: Tensor = getattr(self, f"{name}_{part}")
                values = torch.tensor(data.get(name, {}).get(part, []), dtype=buffer.dtype)
                if values.shape != buffer.shape:
                    raise DataError(
                        f"normalizer.json: {name}.{part} has {values.numel()} numbers, "
                        f"the model needs {buffer.numel()}"
                    )
                buffer.copy_(values)


def balanced_loss(logit: Tensor, outcome: Tensor, weight: Tensor | None = None) -> Tensor:
    """Binary cross entropy in which both outcomes of a batch weigh the same, of each event its own.

    Args:
        logit: `[N]` or `[N, E]`, of N frames and E events.
        outcome: the same shape, 0 or 1.
        weight: `[N]` of the frames, 0 where one does not count; None counts all alike.

    Returns:
        The mean; 0 where nothing counts.
    """
    if weight is None:
        weight = outcome.new_ones(len(outcome))
    counted = weight.reshape(-1, *[1] * (outcome.ndim - 1)).expand_as(outcome)
    count = counted.sum(0).clamp_min(1e-6)
    positive = ((outcome * counted).sum(0) / count).clamp(RAREST, 1 - RAREST)
    balance = torch.where(outcome > 0.5, 0.5 / positive, 0.5 / (1 - positive))
    each = nn.functional.binary_cross_entropy_with_logits(
        logit, outcome, balance * counted, reduction="none"
    )
    return (each.sum(0) / count).mean()
