"""`recurrent`: a state-space memory of constant size over everything that was shown.

Each latent's history is kept as its first coefficients in Legendre polynomials over the whole past,
by the linear recurrence HiPPO-LegS (Gu et al., 2008.07669, theorem 2), out of which S4 and Mamba
grew. SSM world models (2505.20171) carry such a state per place; theirs is learnt, this one's
matrix is fixed, and the network that reads it learns what to make of it. It is read at times spread
evenly over the past.

Legend: N rows, O coefficients, K shown frames, T frames to come, V views, c h w latent, R times.
"""

from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from torch import Tensor

from worldsim.cameras.alignment import nearest_rotation
from worldsim.cameras.poses import inverse_pose
from worldsim.memory.base import (
    FrameCameras,
    Memory,
    MemoryConfig,
    MemorySize,
    ShownFrames,
    register_memory,
)


@register_memory("recurrent")
@dataclass(eq=False)
class RecurrentMemory(Memory):
    """Attributes:
    latents: `[N, O, V c h w]` coefficients of the latents.
    pose: `[N, O, V 12]` of the upper three rows of the cameras' poses.
    number: `[N, O, 1]` of the frames' numbers.
    taken: `[N]` frames taken in.
    retrieved: R.
    """

    latents: Tensor
    pose: Tensor
    number: Tensor
    taken: Tensor
    retrieved: int

    @classmethod
    def new(cls, config: MemoryConfig, size: MemorySize) -> Self:
        views, numbers = size.latent[0], int(np.prod(size.latent))
        sizes = (numbers, views * 12, 1)
        parts = (
            torch.zeros(size.rows, config.order, each, dtype=kind, device=size.device)
            for each, kind in zip(sizes, (torch.float32,) + 2 * (torch.float64,), strict=True)
        )
        latents, pose, number = parts
        begun = (size.latent, size.zeros(), size.zeros())
        return cls(*begun, latents, pose, number, size.zeros(), config.retrieved)

    def update(self, shown: ShownFrames) -> None:
        for frame in range(shown.latents.shape[1]):
            new = {
                "latents": shown.latents[:, frame].flatten(1),
                "pose": shown.cameras.pose[:, frame, :, :3].flatten(1),
                "number": shown.number[:, frame, None],
            }
            step = transition(self.taken, self.latents.shape[1])
            real = shown.real[:, frame]
            for name, value in new.items():
                held: Tensor = getattr(self, name)
                moved = advanced(held, value.to(held), step)
                setattr(self, name, torch.where(real[:, None, None], moved, held))
            self.taken = self.taken + real
        super().update(shown)

    def retrieve(self, cameras: FrameCameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        rows, frames = cameras.pose.shape[:2]
        most = self.retrieved
        times = (torch.arange(most, device=self.latents.device, dtype=torch.float64) + 0.5) / max(
            most, 1
        )
        basis = legendre(times.flip(0), self.latents.shape[1])
        read = {
            name: torch.einsum("ro,nox->nrx", basis.to(held), held)
            for name, held in (("l", self.latents), ("p", self.pose), ("n", self.number))
        }
        there = (self.taken > 0)[:, None].expand(-1, most)
        latents = read["l"].reshape(rows, most, *self.latent)
        past = self._poses(read["p"].reshape(rows, most, self.latent[0], 3, 4), there)
        apart = inverse_pose(cameras.pose[:, :, None].float()) @ past.float()[:, None]
        unit = torch.eye(4, device=apart.device)
        known = there[:, None] & (cameras.known > 0)[:, None, None]
        apart = torch.where(known[..., None, None, None], apart, unit)
        age = self.coming(frames)[:, :, None] - read["n"][:, None, :, 0]
        mask = there[:, None].expand(-1, frames, -1).float()
        whole = latents[:, None].expand(-1, frames, *latents.shape[1:])
        return whole, apart, mask, age.clamp_min(1.0).float() * mask

    @staticmethod
    def _poses(upper: Tensor, there: Tensor) -> Tensor:
        """Poses `[..., 4, 4]` nearest to what is read of their upper rows `[N, R, V, 3, 4]`."""
        unit = torch.eye(3, dtype=upper.dtype, device=upper.device)
        turn = torch.where(there[..., None, None, None], upper[..., :3], unit)
        pose = torch.zeros(*upper.shape[:-2], 4, 4, dtype=upper.dtype, device=upper.device)
        pose[..., :3, :3] = nearest_rotation(turn)
        pose[..., :3, 3], pose[..., 3, 3] = upper[..., 3], 1.0
        return pose

    def stats(self) -> dict[str, float]:
        rows = max(len(self.seen), 1)
        held = sum(part.nbytes for part in (self.latents, self.pose, self.number))
        return {**super().stats(), "bytes": held / rows}


def transition(taken: Tensor, order: int) -> Tensor:
    """What one more frame makes of coefficients, `[N, O, O]`, where `taken` `[N]` are held.

    The past shrinks to its share of the time, exactly: a matrix exponential, no rule that comes
    near it. Its matrix is lower triangular, so what is cut off changes nothing that is kept.
    """
    index = torch.arange(order, dtype=torch.float64, device=taken.device)
    odd = (2 * index + 1).sqrt()
    matrix = torch.tril(odd[:, None] * odd, diagonal=-1) + torch.diag(index + 1)
    growth = (taken.double() + 1) / taken.double().clamp_min(1)
    step: Tensor = torch.linalg.matrix_exp(-matrix * growth.log()[:, None, None])
    # Before the first frame there is no past, of which nothing stays.
    return step * (taken > 0)[:, None, None]


def advanced(held: Tensor, value: Tensor, step: Tensor) -> Tensor:
    """Coefficients `[N, O, X]` once a value `[N, X]` was held for one frame."""
    constant = torch.zeros_like(held)
    constant[:, 0] = value
    moved = constant + torch.einsum("nop,npx->nox", step.to(held), held - constant)
    return moved


def legendre(times: Tensor, order: int) -> Tensor:
    """Orthonormal Legendre polynomials `[R, O]` over [0, 1] at `times` `[R]`."""
    along, rows = 2 * times - 1, [torch.ones_like(times), 2 * times - 1]
    for n in range(1, order - 1):
        rows.append(((2 * n + 1) * along * rows[n] - n * rows[n - 1]) / (n + 1))
    scale = (2 * torch.arange(order, dtype=times.dtype, device=times.device) + 1).sqrt()
    return torch.stack(rows[:order], dim=-1) * scale
