"""A memory of one's own: the newest frame of a camera that sees all round, rolled as it turns."""

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

NAME = "rolled"
FADES = 0.25
"""Metres after which little of the newest frame is trusted."""


@register_memory(NAME)
@dataclass(eq=False)
class RolledMemory(Memory):
    """Attributes:
    newest: `[N, V, c, h, w]`.
    pose: `[N, V, 4, 4]` of its cameras.
    """

    newest: Tensor
    pose: Tensor

    @classmethod
    def new(cls, config: MemoryConfig, size: MemorySize) -> Self:
        pose = torch.eye(4, device=size.device).repeat(size.rows, size.latent[0], 1, 1)
        newest = torch.zeros(size.rows, *size.latent, device=size.device)
        return cls(size.latent, size.zeros(), size.zeros(), newest, pose)

    def update(self, shown: ShownFrames) -> None:
        last = (shown.count - 1).clamp_min(0)
        rows = torch.arange(len(last), device=last.device)
        new = (shown.count > 0)[:, None, None, None]
        latents, pose = shown.latents[rows, last].float(), shown.cameras.pose[rows, last]
        self.newest = torch.where(new[..., None], latents, self.newest)
        self.pose = torch.where(new, pose, self.pose)
        super().update(shown)

    def render(self, cameras: FrameCameras) -> tuple[Tensor, Tensor]:
        before, after = (torch.atan2(p[..., 1, 2], p[..., 0, 2]) for p in (self.pose, cameras.pose))
        turn = (after - before[:, None]) * cameras.intrinsics[:, None, :, 0, 0]
        width = self.newest.shape[-1]
        column = torch.arange(width, device=turn.device) - turn.round()[..., None]
        column = (column % width).long()[..., None, None, :]
        old = self.newest[:, None].expand(-1, turn.shape[1], *self.newest.shape[1:])
        apart = (cameras.pose[..., :3, 3] - self.pose[:, None, :, :3, 3]).norm(dim=-1)
        known = (self.seen > 0)[:, None, None] & (cameras.known > 0)[:, None, None]
        share = torch.exp(-apart / FADES) * known
        render = old.gather(-1, column.expand(old.shape)) * known[..., None, None, None]
        return render, share[..., None, None, None].expand(*old.shape[:3], 1, *old.shape[-2:])
