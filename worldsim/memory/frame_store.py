"""`FrameStore`: base of memories that keep frames whole.

Legend: N rows, S kept frames, K shown frames, T frames to come, V views, c h w latent, R retrieved
frames.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worldsim.cameras.poses import inverse_pose
from worldsim.cameras.projection import Projection, projections_of
from worldsim.memory.base import FrameCameras, Memory, MemoryConfig, MemorySize, ShownFrames
from worldsim.memory.growing import GrowingRows, writable


@dataclass(eq=False)
class FrameStore(GrowingRows, Memory):
    """Base of memories that keep frames whole.

    Attributes:
        latents: `[N, S, V, c, h, w]`.
        pose: `[N, S, V, 4, 4]`.
        view_mask: `[N, S, V]`.
        number: `[N, S]` of each in its stream or episode; -1 where there is none.
        intrinsics: `[N, V, 3, 3]` in cells of the latents.
        config: of the memory.
        projections: of the V cameras.
    """

    fills: ClassVar = {"latents": 0.0, "pose": 0.0, "view_mask": 0.0, "number": -1}

    latents: Tensor
    pose: Tensor
    view_mask: Tensor
    number: Tensor
    intrinsics: Tensor
    config: MemoryConfig
    projections: tuple[Projection, ...]

    @classmethod
    def new(cls, config: MemoryConfig, size: MemorySize) -> Self:
        return cls(**cls.empty(config, size))

    @classmethod
    def empty(cls, config: MemoryConfig, size: MemorySize) -> dict[str, Any]:
        """Its fields while nothing is kept."""
        rows, views, device = size.rows, size.latent[0], size.device
        return {
            "latent": size.latent,
            "seen": size.zeros(),
            "now": size.zeros(),
            "latents": torch.zeros(rows, 0, *size.latent, device=device),
            "pose": torch.zeros(rows, 0, views, 4, 4, device=device),
            "view_mask": torch.zeros(rows, 0, views, device=device),
            "number": torch.zeros(rows, 0, dtype=torch.long, device=device),
            "intrinsics": torch.eye(3, device=device).repeat(rows, views, 1, 1),
            "config": config,
            "projections": projections_of(size.spec.cameras),
        }

    @property
    def held(self) -> Tensor:
        """`[N]` how many frames each row keeps."""
        return (self.number >= 0).sum(1)

    def kept(self, shown: ShownFrames, frame: int) -> Tensor:
        """`[N]` bool, rows that keep this shown frame."""
        return shown.real[:, frame]

    def place(self) -> Tensor:
        """`[N]` where the next kept frame goes, given that rows are full at `most`."""
        raise NotImplementedError("a store of frames says which frame makes room")

    @property
    def most(self) -> int:
        """Frames that a row keeps."""
        return self.config.frames

    def update(self, shown: ShownFrames) -> None:
        self.keep(shown, {})

    def keep(self, shown: ShownFrames, beside: Mapping[str, Tensor]) -> None:
        """`update` with what a subclass keeps `beside` each frame, `[N, K, ...]` by its field."""
        new = {
            "latents": shown.latents,
            "pose": shown.cameras.pose,
            "view_mask": shown.view_mask,
            "number": shown.number,
            **beside,
        }
        self.intrinsics = shown.cameras.intrinsics.to(self.intrinsics).clone()
        for frame in range(shown.latents.shape[1]):
            rows = self.kept(shown, frame).nonzero()[:, 0]
            if len(rows):
                self._keep(new, frame, rows)
        super().update(shown)

    def _keep(self, new: Mapping[str, Tensor], frame: int, rows: Tensor) -> None:
        full = self.held >= self.most
        place = torch.where(full, self.place() if bool(full.any()) else self.held, self.held)[rows]
        # Room for some more at once: to widen is to copy all that is kept.
        needed = int(place.max()) + 1
        if needed > self.width:
            wide = self.widened(min(needed + self.width // 4, max(self.most, needed)))
            for name in self.fills:
                setattr(self, name, getattr(wide, name))
        for name, value in new.items():
            held: Tensor = getattr(self, name)
            held = held if writable(held) else held.clone()
            held[rows, place] = value[rows, frame].to(held.dtype)
            setattr(self, name, held)

    def chosen(
        self, cameras: FrameCameras, order: Tensor, mask: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """What `Memory.retrieve` gives of the frames `order` `[N, T, <= R]` where `mask` is 1."""
        lacking = self.config.retrieved - order.shape[2]
        # As many in every view, so that views of earlier and later frames fit together.
        order, mask = (functional.pad(part, (0, lacking)) for part in (order, mask))
        rows = torch.arange(len(order), device=order.device)[:, None, None]
        there = mask[..., None, None, None, None]
        latents = self.latents[rows, order] * there
        unit = torch.eye(4, device=order.device)
        ours, theirs = self.pose[rows, order], cameras.pose[:, :, None].float()
        known = (mask * (cameras.known > 0)[:, None, None])[..., None, None, None] > 0
        relative = inverse_pose(theirs) @ torch.where(known, ours, unit)
        relative = torch.where(known, relative, unit)
        ahead = self.coming(order.shape[1])[:, :, None]
        age = (ahead - self.number[rows, order]).float() * mask
        return latents, relative, mask, age

    def stats(self) -> dict[str, float]:
        kept = self.held.double()
        return {
            **super().stats(),
            "frames_kept": float(kept.mean()) if len(kept) else 0.0,
            "bytes": float(kept.mean()) * 4 * int(np.prod(self.latent)) if len(kept) else 0.0,
        }
