"""A ring of keys and values per layer, with an attention sink, and the latest clean latents.

Keys are stored un-rotated; what is read is their age, so a stream never runs out of positions.
The first `sink` frames stay for ever and are re-indexed to stand right before the recent frames
(Rolling Forcing, 2509.25161, section on the sink). Every env keeps its own count, so envs may
be reset alone. Shapes are fixed whatever the length of the stream.

Legend: B envs, W slots (sink + recent), N tokens, H heads, D head channels, R predecessors.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from typing import Any

import torch
from torch import Tensor

from worldsim.models.denoisers.base import ContextShape

ROWS = "rows"
"""Metadata of a field that holds a tensor: the axis of its rows."""


@dataclass(eq=False)
class Context:
    """Mutable memory of a batch of streams; make one with `new_context`.

    Its tensors are found by their fields, whose metadata says on which axis the rows lie.

    Attributes:
        keys: `[L, B, W, N, H, D]`.
        values: the same shape.
        count: `[B]` frames committed so far.
        latents: `[B, R, V, c, h, w]` last committed clean frames, oldest first.
        levels: `[B, R]` their noise label; 1 where there is none yet.
        sink: frames that are never evicted.
        least: frames that every row is known, without asking the device, to have committed.
    """

    keys: Tensor = field(metadata={ROWS: 1})
    values: Tensor = field(metadata={ROWS: 1})
    count: Tensor = field(metadata={ROWS: 0})
    latents: Tensor = field(metadata={ROWS: 0})
    levels: Tensor = field(metadata={ROWS: 0})
    sink: int
    least: int = 0

    def tensors(self) -> dict[str, Tensor]:
        """Every tensor by the name of its field."""
        return {
            each.name: getattr(self, each.name) for each in fields(self) if ROWS in each.metadata
        }

    @property
    def slots(self) -> int:
        """W."""
        return self.keys.shape[2]

    @property
    def full(self) -> bool:
        """Whether every slot of every row is known to hold a frame."""
        return self.least >= self.slots

    def _slot_of(self, frame: Tensor) -> Tensor:
        recent = self.slots - self.sink
        ring = self.sink + (frame - self.sink) % recent
        return torch.where(frame < self.sink, frame, ring)

    def read(self, layer: int) -> tuple[Tensor, Tensor]:
        """Keys and values `[B, W, N, H, D]` of one layer."""
        return self.keys[layer], self.values[layer]

    def _frames(self) -> Tensor:
        """`[B, W]` number of the frame each slot holds (meaningless where not valid)."""
        slot = torch.arange(self.slots, device=self.count.device)
        recent = self.slots - self.sink
        last = self.count[:, None] - 1
        newest = last - (last - self.sink - (slot - self.sink)) % recent
        return torch.where(slot < self.sink, slot, newest)

    def ages(self) -> Tensor:
        """`[B, W]` distance to the next frame; evicted gaps before the recent frames are closed."""
        age = self.count[:, None] - self._frames()
        slot = torch.arange(self.slots, device=self.count.device)
        closed = (self.slots - slot).expand_as(age)
        return torch.where((slot < self.sink) & (age > closed), closed, age)

    def valid(self) -> Tensor:
        """`[B, W]` bool."""
        slot = torch.arange(self.slots, device=self.count.device)
        in_ring = (self._frames() >= self.sink) & (slot >= self.sink)
        return torch.where(slot < self.sink, slot < self.count[:, None], in_ring)

    def predecessors(self) -> tuple[Tensor, Tensor]:
        """Latents `[B, R, V, c, h, w]` and levels `[B, R]`."""
        return self.latents, self.levels

    def write(self, layer: int, keys: Tensor, values: Tensor) -> None:
        """Store n frames `[B, n, N, H, D]` that follow the committed ones; `commit` counts them."""
        rows = torch.arange(keys.shape[0], device=keys.device)[:, None]
        offsets = torch.arange(keys.shape[1], device=keys.device)
        slots = self._slot_of(self.count[:, None] + offsets)
        self.keys[layer, rows, slots] = keys.to(self.keys.dtype)
        self.values[layer, rows, slots] = values.to(self.values.dtype)

    def commit(self, latents: Tensor, levels: Tensor) -> None:
        """Count n written frames `[B, n, V, c, h, w]` with labels `[B, n]` as the new past."""
        self.count = self.count + latents.shape[1]
        self.least += latents.shape[1]
        kept = self.latents.shape[1]
        both = torch.cat([self.latents, latents.to(self.latents.dtype)], 1)
        self.latents = both[:, -kept:]
        self.levels = torch.cat([self.levels, levels.to(self.levels.dtype)], 1)[:, -kept:]

    def reset(self, env_ids: Sequence[int] | Tensor) -> None:
        """Forget everything about some envs; the others are not touched."""
        rows = torch.as_tensor(env_ids, dtype=torch.long, device=self.count.device)
        self.count = self.count.index_fill(0, rows, 0)
        self.least = 0
        self.latents = self.latents.index_fill(0, rows, 0.0)
        self.levels = self.levels.index_fill(0, rows, 1.0)

    def select(self, rows: Sequence[int] | Tensor) -> "Context":
        """A copy that holds only `rows`, in that order; repeated rows branch a stream."""
        index = torch.as_tensor(rows, dtype=torch.long, device=self.count.device)
        kept: dict[str, Any] = {
            name: each.index_select(_axis(name), index) for name, each in self.tensors().items()
        }
        return replace(self, **kept)

    def joined(self, other: "Context") -> "Context":
        """The rows of this context followed by those of another of the same shape."""
        pairs = zip(self.tensors().items(), other.tensors().values(), strict=True)
        both: dict[str, Any] = {n: torch.cat([here, there], _axis(n)) for (n, here), there in pairs}
        return replace(self, **both, least=min(self.least, other.least))

    def put(self, rows: Sequence[int] | Tensor, other: "Context") -> None:
        """Overwrite `rows` by the rows of another context of the same shape."""
        index = torch.as_tensor(rows, dtype=torch.long, device=self.count.device)
        for name, there in other.tensors().items():
            here, axis = getattr(self, name), _axis(name)
            # The rings are large and only ever changed in place.
            changed = here.clone() if axis == 0 else here
            setattr(self, name, changed.index_copy_(axis, index, there))
        self.least = min(self.least, other.least)

    def fork(self) -> "Context":
        """An independent copy."""
        return self.select(torch.arange(len(self.count), device=self.count.device))

    def detach(self) -> "Context":
        """The same memory cut from any autograd graph."""
        for name, each in self.tensors().items():
            setattr(self, name, each.detach())
        return self


def _axis(name: str) -> int:
    """On which axis of a context's tensor the rows lie."""
    axis: int = Context.__dataclass_fields__[name].metadata[ROWS]
    return axis


def new_context(
    batch: int,
    shape: ContextShape,
    latent: tuple[int, int, int, int],
    *,
    sink: int,
    recent: int,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Context:
    """An empty context.

    Args:
        batch: B.
        shape: what the backbone keeps (`Denoiser.context_shape`).
        latent: (V, c, h, w).
        sink: frames that are never forgotten.
        recent: ring length in frames.
        dtype: of keys and values.
    """
    size = (shape.layers, batch, sink + recent, shape.tokens, shape.heads, shape.head_dim)
    return Context(
        keys=torch.zeros(size, device=device, dtype=dtype),
        values=torch.zeros(size, device=device, dtype=dtype),
        count=torch.zeros(batch, dtype=torch.long, device=device),
        latents=torch.zeros(batch, shape.history, *latent, device=device),
        levels=torch.ones(batch, shape.history, device=device),
        sink=sink,
    )
