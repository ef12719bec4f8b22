"""Memories of whole frames: `frames` chooses by what cameras see, `raw` gives the newest.

`frames` is the memory of WorldMem (2504.12369, section 3.3): points in the view of a frame to come
are looked for in the view of every kept frame; frames are chosen one by one by the share of points
that none chosen before them sees. `raw` is longer context, a strong baseline (Echo-Memory,
2606.09803).

Legend: N rows, S kept frames, K shown frames, T frames to come, V views, c h w latent, M points,
R retrieved frames.
"""

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from worldsim.cameras.alignment import angle
from worldsim.memory.base import (
    FrameCameras,
    ShownFrames,
    register_memory,
)
from worldsim.memory.frame_store import FrameStore

LOOKED_FOR = 64
"""M, points that stand for the view of one frame to come."""
LEAST_GAIN = 0.02
"""Share of the points that a frame must add; where none does, all points are looked for anew."""
NEAR_METRES, NEAR_RADIANS = 0.02, 0.035
"""Frames whose cameras are all this near to those of a kept frame add nothing to it."""


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
        apart = self.apart(self.pose)
        number = self.number[:, :, None]
        later = (number > self.number[:, None]) & (self.number >= 0)[:, None]
        return apart.masked_fill(~later, torch.inf).amin(2).argmin(1)

    def apart(self, pose: Tensor) -> Tensor:
        """Metres `[N, S, Q]` from the cameras of kept frames to those at `pose` `[N, Q, V, 4, 4]`.

        A turn counts as the way that it moves what is seen at half of `reach`.
        """
        (ours, our_turns), (theirs, their_turns) = (
            (each[..., :3, 3].flatten(2).float(), each[..., :3, :3].flatten(2).float())
            for each in (self.pose, pose)
        )
        share = self.config.reach / 2.0
        turned = torch.cdist(our_turns * share, their_turns * share)
        found: Tensor = torch.cdist(ours, theirs) + turned
        return found

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
