"""`MemoryView`: what a model reads of a memory when it makes frames.

A memory keeps what a stream has shown. For the frames to come it gives one view: its own rendering
of what their cameras will see, and the past frames that tell most about them. The view is a holder
of rows (`worldsim.sampling.rows`), so that it is selected, branched and exchanged with its stream.

Legend: B rows, T frames to come, V views, c latent channels, h w latent size, K retrieved frames.
"""

from dataclasses import dataclass, fields, replace

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class MemoryView:
    """What a memory tells about T frames to come.

    Attributes:
        render: `[B, T, V, c, h, w]` latents of what it expects to be seen; zero where unknown.
        coverage: `[B, T, V, 1, h, w]` from 0 to 1, how much of each cell the render covers.
        retrieved: `[B, K, V, c, h, w]` latents of past frames.
        poses: `[B, T, K, V, 4, 4]` from cameras of the retrieved frames to those of the
            frames to come.
        mask: `[B, K]` 1 where there is a retrieved frame.
        age: `[B, K]` frames since it was shown, at the first of the T frames.
    """

    render: Tensor
    coverage: Tensor
    retrieved: Tensor
    poses: Tensor
    mask: Tensor
    age: Tensor

    @staticmethod
    def null(latents: Tensor) -> "MemoryView":
        """The view of a memory that holds nothing.

        Args:
            latents: `[B, T, V, c, h, w]` of the size, precision and device that it shall have.
        """
        batch, frames, views = latents.shape[:3]
        return MemoryView(
            torch.zeros_like(latents),
            torch.zeros_like(latents[:, :, :, :1]),
            torch.zeros_like(latents[:, :0]),
            latents.new_zeros(batch, frames, 0, views, 4, 4),
            latents.new_zeros(batch, 0),
            latents.new_zeros(batch, 0),
        )

    def to(self, dtype: torch.dtype) -> "MemoryView":
        """All parts in another precision."""
        return replace(self, **{f.name: getattr(self, f.name).to(dtype) for f in fields(self)})
