"""`MemoryView`: what a model reads of a memory when it makes frames.

A memory keeps what a stream has shown. For the frames to come it gives one view: its own rendering
of what their cameras will see, and the past frames that tell most about each. The view travels in
the conditions of these frames. It is a holder of rows (`worldsim.rows`), so that it is
selected, branched and exchanged with its stream.

Legend: B rows, T frames to come, V views, c latent channels, h w latent size, K retrieved frames.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class MemoryView:
    """What a memory tells about T frames to come.

    Attributes:
        render: `[B, T, V, c, h, w]` latents of what it expects to be seen; zero where unknown.
        coverage: `[B, T, V, 1, h, w]` from 0 to 1, how much of each cell the render covers.
        retrieved: `[B, T, K, V, c, h, w]` latents of past frames.
        poses: `[B, T, K, V, 4, 4]` from the cameras of a retrieved frame to those of the frame.
        mask: `[B, T, K]` 1 where there is a retrieved frame.
        age: `[B, T, K]` how many frames before the frame it was shown.
        nearness: `[B, T, V, 1, h, w]` 1 over metres to what the render shows, zero where unknown.
        render_age: `[B, T, V, 1, h, w]` how many frames before the frame that was shown.
    """

    render: Tensor
    coverage: Tensor
    retrieved: Tensor
    poses: Tensor
    mask: Tensor
    age: Tensor
    nearness: Tensor
    render_age: Tensor

    @staticmethod
    def null(latents: Tensor) -> "MemoryView":
        """The view of a memory that holds nothing.

        Args:
            latents: `[B, T, V, c, h, w]` of the size, precision and device that it shall have.
        """
        batch, frames, views = latents.shape[:3]
        none, cells = latents.new_zeros(batch, frames, 0), torch.zeros_like(latents[:, :, :, :1])
        return MemoryView(
            torch.zeros_like(latents),
            cells,
            latents.new_zeros(batch, frames, 0, *latents.shape[2:]),
            latents.new_zeros(batch, frames, 0, views, 4, 4),
            none,
            none,
            cells,
            cells,
        )

    def each(self, change: Callable[[Tensor], Tensor]) -> "MemoryView":
        """A view whose every part is what `change` makes of it."""
        return replace(self, **{f.name: change(getattr(self, f.name)) for f in fields(self)})

    def then(self, other: "MemoryView") -> "MemoryView":
        """These frames followed by those of `other`, which retrieved as many."""
        parts = {
            f.name: torch.cat([getattr(self, f.name), getattr(other, f.name)], dim=1)
            for f in fields(self)
        }
        return replace(self, **parts)


def reference(previous: Tensor, memory_render: Tensor, coverage: Tensor) -> Tensor:
    """The frame that a frame to come is compared with, `[B, T, V, c, h, w]`.

    Where cameras stand still that is the previous frame. Where they move, the memory's render shows
    the same place from the new camera, as far as it covers it.

    Args:
        previous: `[B, T, V, c, h, w]`.
        memory_render: of the same shape, see `MemoryView`.
        coverage: `[B, T, V, 1, h, w]`; 0 gives `previous` and 1 the render, both exactly.
    """
    return coverage * memory_render + (1.0 - coverage) * previous
