"""What a denoiser is conditioned on for each frame besides its noisy latents.

Legend: B batch, T frames, V views, A action, D state (proprioception and tracked objects), M map
channels, h w latent size, E embedding.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor, nn

from worldsim.errors import UsageError
from worldsim.memory.view import MemoryView
from worldsim.models.blocks import linear

MOVED_GAIN = 4.0
"""What a state moves in a step is a fraction of its spread over a data set; this evens them."""


@dataclass(frozen=True, eq=False)
class Conditioning:
    """Conditions of a clip; row t belongs to frame t.

    Attributes:
        action: `[B, T, A]` the action that leads to the frame.
        action_mask: `[B, T]` 1 where that action is known, 0 where not (first frame, dropout).
        before: `[B, T, D]` normalised state before that action.
        after: `[B, T, D]` the same after it; counts only where the action is known.
        maps: `[B, T, V, M, h, w]` pixel-aligned maps of the step.
        view_mask: `[B, T, V]` 1 where the view exists.
        memory: what a memory tells about the frames; None has none, as a null view has.
    """

    action: Tensor
    action_mask: Tensor
    before: Tensor
    after: Tensor
    maps: Tensor
    view_mask: Tensor
    memory: MemoryView | None = None

    def frames(self, start: int, stop: int) -> "Conditioning":
        """The rows of frames start..stop-1."""
        return self._each(lambda part: part[:, start:stop])

    def pick(self, places: Tensor) -> "Conditioning":
        """The rows of some frames, in the order given."""
        return self._each(lambda part: part[:, places])

    def then(self, other: "Conditioning") -> "Conditioning":
        """These frames followed by those of `other`.

        Raises:
            UsageError: one has a memory and the other has none.
        """
        parts: dict[str, Any] = {
            name: torch.cat([getattr(self, name), getattr(other, name)], dim=1) for name in TENSORS
        }
        if self.memory is not None and other.memory is not None:
            parts["memory"] = self.memory.then(other.memory)
        elif self.memory is not other.memory:
            raise UsageError(
                "frames with a memory and frames without one cannot follow each other; give those "
                "without MemoryView.null(latents)"
            )
        return replace(self, **parts)

    def without_state(self) -> "Conditioning":
        """The same without the state, before the action and after it."""
        none = torch.zeros_like(self.before)
        return replace(self, before=none, after=none)

    def to(self, dtype: torch.dtype) -> "Conditioning":
        """Floating parts in another precision."""
        return self._each(lambda part: part.to(dtype))

    def _each(self, change: Callable[[Tensor], Tensor]) -> "Conditioning":
        parts: dict[str, Any] = {name: change(getattr(self, name)) for name in TENSORS}
        memory = None if self.memory is None else self.memory.each(change)
        return replace(self, **parts, memory=memory)


TENSORS = tuple(field.name for field in fields(Conditioning) if field.name != "memory")
"""Parts of `Conditioning` that are always there."""


@dataclass(frozen=True, eq=False)
class Levels:
    """Noise levels of a forward pass, each `[B, T]` but the last.

    Attributes:
        sigma: of each frame.
        previous: of its predecessor.
        target: the level that the frame is to be taken to, at most its own. At its own, the
            estimate is the mean of what may be underneath, as flow matching trains it; below, the
            one from which a straight line leads to where the flow arrives (CTM, 2310.02279).
            Networks without jumps do not look at it.
        history: `[B, T, R]` of all its predecessors, oldest first.
    """

    sigma: Tensor
    previous: Tensor
    target: Tensor
    history: Tensor


class LevelEmbedding(nn.Module):
    """Sinusoidal embedding of a noise level in [0, 1]: sigma `[...]` to `[..., width]`."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width

    def forward(self, sigma: Tensor) -> Tensor:
        """Embed `[...]`; computed in float32 whatever the model's precision."""
        top = math.log(200.0)
        frequencies = torch.exp(torch.linspace(0.0, top, self.width // 2, device=sigma.device))
        angle = sigma.float()[..., None] * frequencies
        return torch.cat([angle.cos(), angle.sin()], dim=-1)


class FrameConditioner(nn.Module):
    """One vector per frame and view: levels of the frame and its predecessor, action, state, view.

    Args:
        action_dim: A.
        state_dim: D.
        views: V.
        width: E.
        jumps: whether it is conditioned on the level to be reached too.
    """

    def __init__(
        self, action_dim: int, state_dim: int, views: int, width: int, *, jumps: bool = False
    ) -> None:
        super().__init__()
        self.level = LevelEmbedding(64)
        self.levels = nn.Linear(128, width)
        self.action = nn.Sequential(
            nn.Linear(action_dim + 1, width), nn.SiLU(), nn.Linear(width, width)
        )
        self.state = linear(2 * state_dim, width)
        self.view = nn.Embedding(views, width)
        self.mix = nn.Sequential(nn.SiLU(), nn.Linear(width, width), nn.SiLU())
        # No bias and zero at first: a network that knows no jumps becomes one that does, unchanged.
        self.jump = nn.Linear(64, width, bias=False) if jumps else None
        if self.jump is not None:
            nn.init.zeros_(self.jump.weight)

    def forward(self, levels: Levels, cond: Conditioning) -> Tensor:
        """Levels `[B, T]` and conditions to `[B, T, V, E]`."""
        dtype = self.levels.weight.dtype
        own = self.level(levels.sigma)
        both = torch.cat([own, self.level(levels.previous)], dim=-1).to(dtype)
        mask = cond.action_mask[..., None]
        known = torch.cat([cond.action * mask, mask], dim=-1).to(dtype)
        moved = (cond.after - cond.before) * mask * MOVED_GAIN
        state = torch.cat([cond.before, moved], dim=-1).to(dtype)
        frame = self.levels(both) + self.action(known) + self.state(state)
        if self.jump is not None:
            frame = frame + self.jump((self.level(levels.target) - own).to(dtype))
        out: Tensor = self.mix(frame[:, :, None] + self.view.weight)
        return out
