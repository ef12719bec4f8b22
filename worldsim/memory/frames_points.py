"""Both memories: the map renders, frames are retrieved, and the nearest are drawn again before it.

This is Spatia's pair (2512.15716), which there gives 19.4 dB where each alone gives 17.2 and 15.6.
A map averages what was seen from everywhere, so an error of depth moves what far cameras saw. From
beside a kept frame the same error moves nearly nothing. So frames near the camera are drawn by
their own depth, and the map fills what they do not show (view-dependent textures, Debevec et al.,
Modeling and rendering architecture from photographs, SIGGRAPH 1996; the penalties for distance of
Buehler et al., Unstructured lumigraph rendering, SIGGRAPH 2001). Of frames that are all near the
first is drawn: it has been imagined through fewest others.

Legend: N rows, S kept frames, K shown frames, R redrawn frames, V views, c h w latent, H W pixels.
"""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import torch
from torch import Tensor

from worldsim.cameras.depth import convert_depth, unproject
from worldsim.cameras.projection import scale_intrinsics
from worldsim.cameras.splat import Points, Splatted, splat
from worldsim.errors import UsageError
from worldsim.memory.base import (
    FrameCameras,
    Memory,
    MemoryConfig,
    MemorySize,
    ShownFrames,
    register_memory,
)
from worldsim.memory.depth import Depth
from worldsim.memory.frame_store import FrameStore
from worldsim.memory.frames import FrameMemory
from worldsim.memory.ply import Colours
from worldsim.memory.points import PointMemory
from worldsim.memory.view import MemoryView


@dataclass(eq=False)
class DrawnFrames(FrameMemory):
    """Kept frames that can be drawn again from where another camera stands.

    Attributes:
        colours: `[N, S, V, 3, H, W]` in [-1, 1].
        metres: `[N, S, V, H, W]` of the kind that the view's projection has; 0 where unknown.
    """

    fills: ClassVar = {**FrameStore.fills, "colours": 0.0, "metres": 0.0}

    colours: Tensor
    metres: Tensor

    @classmethod
    def empty(cls, config: MemoryConfig, size: MemorySize) -> dict[str, Any]:
        """See `FrameStore`."""
        camera, views = size.spec.cameras[0], size.latent[0]
        image = (camera.height, camera.width) if config.redrawn else (0, 0)
        colours = torch.zeros(size.rows, 0, views, 3, *image, device=size.device)
        return {
            **super().empty(config, size),
            "colours": colours,
            "metres": torch.zeros(size.rows, 0, views, *image, device=size.device),
        }

    def take_in(self, shown: ShownFrames, painted: Tensor | None, depth: Depth | None) -> None:
        """`update` with the colours and the depth that a map took of the frames."""
        frames, views = shown.latents.shape[1], self.latent[0]
        image = self.colours.shape[-2:]
        metres = self.metres.new_zeros(len(self.now), frames, views, *image)
        colours = self.colours.new_zeros(len(self.now), frames, views, 3, *image)
        if painted is not None and self.config.redrawn:
            colours = painted
            metres = metres if depth is None else self._metres(shown, depth)
        self.keep(shown, {"colours": colours, "metres": metres})

    def _metres(self, shown: ShownFrames, depth: Depth) -> Tensor:
        """Depth `[N, K, V, H, W]` as projections have it, 0 where it is unknown or no view is."""
        found = []
        for view, projection in enumerate(self.projections):
            metres = depth.metres[:, :, view].float()
            intrinsics = self._intrinsics(shown.cameras, view)[:, None]
            metres = convert_depth(metres, depth.kind, projection.depth, projection, intrinsics)
            known = (
                metres.isfinite()
                & (metres > 0)
                & (shown.view_mask[:, :, view] > 0)[..., None, None]
            )
            found.append(torch.where(known, metres, 0.0))
        return torch.stack(found, 2)

    def _intrinsics(self, cameras: FrameCameras, view: int) -> Tensor:
        """`[N, 3, 3]` in pixels of the colours."""
        factor = self.colours.shape[-2] / self.latent[2]
        return scale_intrinsics(cameras.intrinsics[:, view].float(), factor)

    def nearest(self, cameras: FrameCameras, frame: int) -> Tensor:
        """Kept frames `[N, R]` to draw for one frame to come, which may be empty places."""
        apart = self.apart(cameras.pose[:, frame, None])[:, :, 0].clamp_min(self.config.near)
        # Far below any distance that matters: among equally near ones, the first.
        rank = apart + 1e-6 * self.number
        rank = rank.masked_fill(self.number < 0, torch.inf)
        return rank.topk(min(self.config.redrawn, self.width), dim=1, largest=False).indices

    def seen_by(self, cameras: FrameCameras, frame: int, view: int) -> Splatted:
        """The nearest kept frames from one camera; the last feature is the number of the frame."""
        order, projection = self.nearest(cameras, frame), self.projections[view]
        rows = torch.arange(len(order), device=order.device)[:, None]
        intrinsics = self._intrinsics(cameras, view)
        metres, number = self.metres[rows, order], self.number[rows, order]
        places, radius = [], []
        for held, kind in enumerate(self.projections):
            lens = self._intrinsics(cameras, held)[:, None]
            pose = self.pose[rows, order][:, :, held].float()
            at = lens.expand(-1, order.shape[1], 3, 3)
            places.append(unproject(metres[:, :, held], kind.depth, at, pose, kind))
            radius.append(metres[:, :, held] / (2.0 * lens[..., 1, 1, None, None]))
        there = (metres > 0) & (number >= 0)[..., None, None, None]
        valid = there.flatten(1) & (cameras.known > 0)[:, None]
        told = number[..., None, None, None].expand_as(metres)
        points = Points(
            torch.stack(places, 2).flatten(1, 4),
            self.colours[rows, order].movedim(3, -1).flatten(1, 4),
            torch.stack(radius, 2).flatten(1),
            valid,
            told.flatten(1),
        )
        pose, size = cameras.pose[:, frame, view].float(), (metres.shape[-2], metres.shape[-1])
        return splat(points, intrinsics, pose, size, projection)


def over(front: Splatted, behind: Splatted) -> Splatted:
    """What is drawn in front, and what lies behind where that shows nothing."""
    left = (1.0 - front.coverage) * behind.coverage
    coverage = front.coverage + left
    share = front.coverage / coverage.clamp_min(1e-6), left / coverage.clamp_min(1e-6)
    features = share[0][:, None] * front.features + share[1][:, None] * behind.features
    depth = share[0] * front.depth + share[1] * behind.depth
    return Splatted(features, depth, coverage)


@register_memory("frames_points")
@dataclass(eq=False)
class FramesPointsMemory(Memory):
    """See the head of this file.

    Attributes:
        frames: kept whole.
        points: the map.
    """

    reads_depth = True

    frames: DrawnFrames
    points: PointMemory

    @classmethod
    def new(cls, config: MemoryConfig, size: MemorySize) -> Self:
        if config.redrawn and not config.colours:
            raise UsageError(
                f"model.memory.redrawn={config.redrawn} draws kept frames by their pixels, and "
                "model.memory.colours is false; set it to true, or redrawn to 0"
            )
        parts = DrawnFrames.new(config, size), PointMemory.new(config, size)
        return cls(size.latent, size.zeros(), size.zeros(), *parts)

    def update(self, shown: ShownFrames) -> None:
        self.frames.take_in(shown, *self.points.take_in(shown))
        super().update(shown)

    def seen_by(self, cameras: FrameCameras, frame: int, view: int) -> Splatted:
        """The nearest frames before the map; the last feature is the number of the frame."""
        behind = self.points.seen_by(cameras, frame, view)
        if not self.frames.config.redrawn or not self.frames.width:
            return behind
        return over(self.frames.seen_by(cameras, frame, view), behind)

    def render(self, cameras: FrameCameras) -> tuple[Tensor, Tensor]:
        found = self.points.view(cameras, self.seen_by)
        return found.render, found.coverage

    def view(self, cameras: FrameCameras) -> MemoryView:
        shown, found = self.points.view(cameras, self.seen_by), self.retrieve(cameras)
        names = ("retrieved", "poses", "mask", "age")
        return replace(shown, **dict(zip(names, found, strict=True)))

    def retrieve(self, cameras: FrameCameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        self.frames.now = self.now
        return self.frames.retrieve(cameras)

    def save_ply(self, path: Path, row: int, colours: Colours | None = None) -> None:
        """See `PointMemory.save_ply`."""
        self.points.save_ply(path, row, colours)

    def stats(self) -> dict[str, float]:
        one, other = self.frames.stats(), self.points.stats()
        drawn = float(self.frames.held.double().mean()) if len(self.seen) else 0.0
        one["bytes"] += drawn * 4 * 4 * self.frames.metres[:1, :1].numel()
        return {**one, **other, "bytes": one["bytes"] + other["bytes"]}
