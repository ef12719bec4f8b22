"""Memories of whole frames: `frames` chooses by what cameras see, `raw` gives the newest.

`frames` is the memory of WorldMem (2504.12369, section 3.3): points in the view of a frame to come
are looked for in the view of every kept frame; frames are chosen one by one by the share of points
that none chosen before them sees. `raw` is longer context, a strong baseline (Echo-Memory,
2606.09803).

Legend: N rows, S kept frames, K shown frames, T frames to come, V views, c h w latent, M points,
R retrieved frames.
"""

from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from worldsim.cameras.alignment import angle
from worldsim.cameras.poses import inverse_pose
from worldsim.cameras.projection import Projection, projections_of
from worldsim.memory.base import (
    FrameCameras,
    Memory,
    MemoryConfig,
    MemorySize,
    ShownFrames,
    register_memory,
)
from worldsim.memory.growing import GrowingRows, writable

LOOKED_FOR = 64
"""M, points that stand for the view of one frame to come."""
LEAST_GAIN = 0.02
"""Share of the points that a frame must add; where none does, all points are looked for anew."""
NEAR_METRES, NEAR_RADIANS = 0.02, 0.035
"""Frames whose cameras are all this near to those of a kept frame add nothing to it."""


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
        rows, views, device = size.rows, size.latent[0], size.device
        return cls(
            size.latent,
            size.zeros(),
            size.zeros(),
            torch.zeros(rows, 0, *size.latent, device=device),
            torch.zeros(rows, 0, views, 4, 4, device=device),
            torch.zeros(rows, 0, views, device=device),
            torch.zeros(rows, 0, dtype=torch.long, device=device),
            torch.eye(3, device=device).repeat(rows, views, 1, 1),
            config,
            projections_of(size.spec.cameras),
        )

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
        self.intrinsics = shown.cameras.intrinsics.to(self.intrinsics).clone()
        for frame in range(shown.latents.shape[1]):
            rows = self.kept(shown, frame).nonzero()[:, 0]
            if len(rows):
                self._keep(shown, frame, rows)
        super().update(shown)

    def _keep(self, shown: ShownFrames, frame: int, rows: Tensor) -> None:
        full = self.held >= self.most
        place = torch.where(full, self.place() if bool(full.any()) else self.held, self.held)[rows]
        # Room for some more at once: to widen is to copy all that is kept.
        needed = int(place.max()) + 1
        if needed > self.width:
            wide = self.widened(min(needed + self.width // 4, max(self.most, needed)))
            for name in self.fills:
                setattr(self, name, getattr(wide, name))
        new = {
            "latents": shown.latents,
            "pose": shown.cameras.pose,
            "view_mask": shown.view_mask,
            "number": shown.number,
        }
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


@register_memory("raw")
@dataclass(eq=False)
class RawMemory(FrameStore):
    """The newest frames as they were shown."""

    @property
    def most(self) -> int:
        """Frames that a row keeps."""
        return max(self.config.retrieved + self.config.skipped, 1)

    def place(self) -> Tensor:
        """The oldest frame goes."""
        return self.number.masked_fill(self.number < 0, torch.iinfo(torch.long).max).argmin(1)

    def newest(self) -> ShownFrames:
        """All that is kept, oldest first, as it was shown."""
        order = self.number.masked_fill(self.number < 0, torch.iinfo(torch.long).max).argsort(1)
        rows = torch.arange(len(order), device=order.device)[:, None]
        known = torch.ones(len(order), device=order.device)
        cameras = FrameCameras(self.pose[rows, order], self.intrinsics, known)
        number, seen = self.number[rows, order], self.view_mask[rows, order]
        return ShownFrames(self.latents[rows, order], cameras, seen, self.held, number)

    def retrieve(self, cameras: FrameCameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if not self.width:
            return self.widened(1).retrieve(cameras)
        after = self.coming(1) - self.config.skipped
        number = self.number.masked_fill(self.number >= after, -1)
        best = number.topk(min(self.config.retrieved, self.width), dim=1)
        frames = cameras.pose.shape[1]
        order = best.indices[:, None].expand(-1, frames, -1)
        return self.chosen(cameras, order, (best.values >= 0).float()[:, None].expand_as(order))


@register_memory("frames")
@dataclass(eq=False)
class FrameMemory(FrameStore):
    """Frames chosen by what their cameras and those to come both see; see the head of this file.

    A frame of an uncalibrated camera cannot be found again, and is not kept. Nor is one whose
    cameras stand where those of a kept frame stood: what was seen first has drifted least.
    """

    def kept(self, shown: ShownFrames, frame: int) -> Tensor:
        """See `FrameStore`."""
        if frame == 0:
            shown.cameras.require(shown.real)
        rows = shown.real[:, frame] & (shown.cameras.known > 0)
        if not self.width:
            return rows
        pose = shown.cameras.pose[:, None, frame].float()
        apart = (self.pose[..., :3, 3] - pose[..., :3, 3]).norm(dim=-1)
        turned = angle(self.pose[..., :3, :3], pose[..., :3, :3])
        same = ((apart < NEAR_METRES) & (turned < NEAR_RADIANS)).all(-1) & (self.number >= 0)
        kept: Tensor = rows & ~same.any(1)
        return kept

    def place(self) -> Tensor:
        """Of the two frames whose cameras stand nearest to each other, the later one goes."""
        places = self.pose[..., :3, 3].flatten(2)
        turns = self.config.reach * self.pose[..., :3, :3].flatten(2) / 2.0
        apart = torch.cdist(places, places) + torch.cdist(turns, turns)
        number = self.number[:, :, None]
        later = (number > self.number[:, None]) & (self.number >= 0)[:, None]
        return apart.masked_fill(~later, torch.inf).amin(2).argmin(1)

    def retrieve(self, cameras: FrameCameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        if not self.width:
            return self.widened(1).retrieve(cameras)
        frames, most = cameras.pose.shape[1], min(self.config.retrieved, self.width)
        found = [self._choose(cameras, frame, most) for frame in range(frames)]
        order, mask = (torch.stack(part, dim=1) for part in zip(*found, strict=True))
        return self.chosen(cameras, order, mask)

    def _choose(self, cameras: FrameCameras, frame: int, most: int) -> tuple[Tensor, Tensor]:
        """Kept frames `[N, R]` for one frame to come, and which are any, `[N, R]`."""
        after = self.coming(frame + 1)[:, frame, None]
        able = (self.number >= 0) & (self.number < self.now[:, None] - self.config.skipped)
        able = able & (cameras.known > 0)[:, None]
        points, weight = self._looked_for(cameras, frame)
        sees = self._sees(points)
        old = (after - self.number).float() / after.clamp_min(1)
        penalty = self.config.age_penalty * old
        open_to_all = torch.ones_like(sees[:, 0])
        left, chosen, mask = open_to_all, [], []
        for _ in range(most):
            gain = (sees * (weight * left)[:, None]).sum(-1)
            anew = gain.masked_fill(~able, 0.0).amax(1) < LEAST_GAIN
            left = torch.where(anew[:, None], open_to_all, left)
            gain = torch.where(anew[:, None], (sees * weight[:, None]).sum(-1), gain)
            useful = able & (gain >= LEAST_GAIN)
            best = (gain - penalty).masked_fill(~useful, -torch.inf).argmax(1)
            chosen.append(best)
            mask.append(useful.gather(1, best[:, None])[:, 0])
            able = able & ~functional.one_hot(best, self.width).bool()
            left = left * (1.0 - sees[torch.arange(len(best), device=best.device), best])
        none = self.number.new_zeros(len(self.number), 0)
        if not chosen:
            return none, none.float()
        return torch.stack(chosen, 1), torch.stack(mask, 1).float()

    def _looked_for(self, cameras: FrameCameras, frame: int) -> tuple[Tensor, Tensor]:
        """Points `[N, M, 3]` in the view of a frame to come, and their weights `[N, M]` of sum 1.

        They fill the volume up to `reach` evenly, the same in every call.
        """
        views, (high, wide) = self.latent[0], self.latent[2:]
        draws = torch.Generator().manual_seed(0)
        points, weights = [], []
        for view, projection in enumerate(self.projections):
            pose = cameras.pose[:, frame, view].float()
            some = torch.randperm(high * wide, generator=draws)[: max(LOOKED_FOR // views, 1)]
            far = self.config.reach * torch.rand(len(some), generator=draws) ** (1 / 3)
            rays = projection.rays(cameras.intrinsics[:, view].float(), pose[:, :3, :3], high, wide)
            ahead = rays.flatten(2)[..., some.to(rays.device)].mT * far.to(rays)[:, None]
            points.append(pose[:, None, :3, 3] + ahead)
            weights.append(projection.area_weight(high, wide).flatten()[some])
        weight = torch.cat(weights).to(points[0])
        return torch.cat(points, 1), (weight / weight.sum()).expand(len(points[0]), -1)

    def _sees(self, points: Tensor) -> Tensor:
        """`[N, S, M]` 1 where a camera of a kept frame sees a point `[N, M, 3]`."""
        high, wide = self.latent[2:]
        seen = points.new_zeros(*self.number.shape, points.shape[1])
        for view, projection in enumerate(self.projections):
            pose = self.pose[:, :, view]
            # One product for all cameras of a row, each axis side by side in memory.
            turn = pose[..., :3, :3].mT
            places = turn.flatten(1, 2) @ points.mT
            local = places.reshape(*turn.shape[:3], points.shape[1]) - turn @ pose[..., :3, 3:]
            pixel, depth = projection.project(local.mT, self.intrinsics[:, None, None, view])
            across = pixel[..., 0].remainder(wide) if projection.wrap else pixel[..., 0]
            inside = (across >= 0) & (across < wide) & (pixel[..., 1] >= 0)
            inside = inside & (pixel[..., 1] <= high) & (depth > 0)
            near = local.square().sum(2) <= self.config.reach**2
            there = self.view_mask[:, :, view, None] > 0
            seen = torch.maximum(seen, (inside & near & there).to(seen))
        return seen
