"""A memory for tests: it keeps the newest frames, and shows the one whose camera stood nearest.

Legend: N rows, S kept frames, K shown frames, T frames to come, V views, c h w latent.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor

from worldsim.memory.base import (
    FrameCameras,
    Memory,
    MemoryConfig,
    MemorySize,
    ShownFrames,
    register_memory,
)

KEPT = 6


@register_memory("nearest")
@dataclass(eq=False)
class NearestMemory(Memory):
    """Attributes:
    latents: `[N, S, V, c, h, w]`, newest last.
    pose: `[N, S, V, 4, 4]`.
    number: `[N, S]` of each frame in its stream or episode; -1 where there is none.
    most: frames that are retrieved.
    """

    latents: Tensor
    pose: Tensor
    number: Tensor
    most: int

    @classmethod
    def new(cls, config: MemoryConfig, size: MemorySize) -> Self:
        kept, device = (size.rows, KEPT), size.device
        return cls(
            size.latent,
            size.zeros(),
            size.zeros(),
            torch.zeros(*kept, *size.latent, device=device),
            torch.eye(4, device=device).repeat(*kept, size.latent[0], 1, 1),
            torch.full(kept, -1, device=device),
            min(config.retrieved, KEPT),
        )

    def update(self, shown: ShownFrames) -> None:
        for frame in range(shown.latents.shape[1]):
            real = shown.real[:, frame]
            arrays = (shown.latents, shown.cameras.pose, shown.number)
            new = (array[:, frame] for array in arrays)
            for name, value in zip(("latents", "pose", "number"), new, strict=True):
                old = getattr(self, name)
                moved = torch.cat([old[:, 1:], value[:, None].to(old.dtype)], dim=1)
                at = real.reshape(-1, *(1,) * (old.ndim - 1))
                setattr(self, name, torch.where(at, moved, old))
        super().update(shown)

    def _order(self, cameras: FrameCameras) -> tuple[Tensor, Tensor]:
        """Kept frames `[N, T, S]` by the distance of their cameras, nearest and newest first."""
        apart = cameras.pose[:, :, None, :, :3] - self.pose[:, None, :, :, :3]
        distance = apart.square().flatten(3).sum(-1) - 1e-4 * self.number[:, None]
        distance = distance.masked_fill(self.number[:, None] < 0, torch.inf)
        nearest = distance.sort(dim=-1)
        return nearest.indices, nearest.values

    def render(self, cameras: FrameCameras) -> tuple[Tensor, Tensor]:
        first, distance = self._order(cameras)
        rows = torch.arange(len(first), device=first.device)[:, None]
        known = (distance[..., 0].isfinite() & (cameras.known[:, None] > 0)).float()
        covered = known[:, :, None, None, None, None]
        latents = self.latents[rows, first[..., 0]]
        return latents * covered, torch.ones_like(latents[:, :, :, :1]) * 0.5 * covered

    def retrieve(self, cameras: FrameCameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        order, distance = (part[..., : self.most] for part in self._order(cameras))
        rows = torch.arange(len(order), device=order.device)[:, None, None]
        relative = torch.linalg.inv(cameras.pose)[:, :, None] @ self.pose[rows, order]
        age = self.coming(order.shape[1])[:, :, None] - self.number[rows, order]
        return self.latents[rows, order], relative, distance.isfinite().float(), age.float()
