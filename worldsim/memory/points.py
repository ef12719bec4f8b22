"""A map of points: what was seen, where it was; rendered from every camera to come.

Every shown frame with depth is unprojected, its latents are the points' features, and what lies in
one voxel is merged. Points that a frame looks straight through are not there any more, and go
(occupancy by rays, as in KinectFusion, Newcombe et al., ISMAR 2011). The map renders as EvoWorld's
(2510.01183) and Spatia's (2512.15716) do; `frames_points` is Spatia's pair of both memories, which
there gives 19.4 dB where each alone gives 17.2 and 15.6.

Legend: N rows, P points, K shown frames, T frames to come, V views, c h w latent, d points along
the side of a cell, H W size of the depth.
"""

import warnings
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from worldsim.cameras.depth import convert_depth, unproject
from worldsim.cameras.projection import Projection, project, projections_of, scale_intrinsics
from worldsim.cameras.splat import Points, Splatted, splat
from worldsim.errors import QualityWarning
from worldsim.memory.base import (
    FrameCameras,
    Memory,
    MemoryConfig,
    MemorySize,
    ShownFrames,
    register_memory,
)
from worldsim.memory.depth import DEPTHS, Depth, DepthSource
from worldsim.memory.frames import FrameMemory, RawMemory
from worldsim.memory.ply import Colours, write_ply
from worldsim.memory.voxels import EMPTY, Voxels, bounded, merged, voxel_keys

THROUGH = 0.1
"""Share of its depth by which a frame must see further than a point to say that it is gone."""
CLOSEST = 0.1
"""Metres; nearer views of a surface count no more."""


@dataclass(frozen=True, eq=False)
class _Sampled:
    """One view of one frame, of whose depth some pixels are taken.

    Attributes:
        metres: `[N, a, b]` of the projection's kind, 0 where unknown.
        row: `[a]` of the latent's cell of each pixel.
        column: `[b]`.
        intrinsics: `[N, 3, 3]` in these pixels.
        pose: `[N, 4, 4]`.
        projection: of the camera.
    """

    metres: Tensor
    row: Tensor
    column: Tensor
    intrinsics: Tensor
    pose: Tensor
    projection: Projection

    @property
    def points(self) -> Tensor:
        """`[N, a b, 3]` in the world."""
        kind = self.projection.depth
        found = unproject(self.metres, kind, self.intrinsics, self.pose, self.projection)
        return found.flatten(1, 2)

    def looks_through(self, place: Tensor) -> Tensor:
        """`[N, P]` bool, whether it sees clearly further than points `[N, P, 3]`, and all round."""
        high, wide = self.metres.shape[1:]
        # The least depth around: at the edge of a thing nobody knows which of both is seen.
        around = -functional.max_pool2d(-self.metres[:, None], 3, stride=1, padding=1)
        pixel, depth = project(place, self.intrinsics[:, None], self.pose[:, None], self.projection)
        column, row = pixel.floor().unbind(-1)
        if self.projection.wrap:
            column, row = column.remainder(wide), row.clamp(0, high - 1)
        inside = (column >= 0) & (column < wide) & (row >= 0) & (row < high) & (depth > 0)
        index = torch.where(inside, row * wide + column, 0.0).long()
        return inside & (depth < (1 - THROUGH) * around.flatten(1).gather(1, index))


@register_memory("points")
@dataclass(eq=False)
class PointMemory(Memory):
    """A map of points; see the head of this file.

    Attributes:
        map: points of the rows.
        recent: newest frames, where the source of depth looks back; else None.
        without_depth: `[N]` frames that added nothing, since nobody told their depth.
        lost: `[N]` points that made room for others.
        config: of the memory.
        source: of depth.
        projections: of the V cameras.
    """

    reads_depth = True

    map: Voxels
    recent: RawMemory | None
    without_depth: Tensor
    lost: Tensor
    config: MemoryConfig
    source: DepthSource
    projections: tuple[Projection, ...]

    @classmethod
    def new(cls, config: MemoryConfig, size: MemorySize) -> Self:
        source = DEPTHS.get(config.depth)(size.spec, config.reconstructor)
        window = replace(config, name="raw", retrieved=source.window, skipped=0)
        return cls(
            size.latent,
            size.zeros(),
            size.zeros(),
            Voxels.none(size.rows, size.latent[1], size.device),
            RawMemory.new(window, size) if source.window else None,
            size.zeros(),
            size.zeros(),
            config,
            source,
            projections_of(size.spec.cameras),
        )

    def update(self, shown: ShownFrames) -> None:
        shown.cameras.require(shown.real)
        past = self.recent.newest() if self.recent is not None and self.recent.width else None
        depth = self.source.depth(shown, past)
        if self.recent is not None:
            self.recent.update(shown)
        if depth is None:
            self.without_depth = self.without_depth + shown.count
        else:
            for frame in range(shown.latents.shape[1]):
                self._take_in(shown, depth, frame)
        super().update(shown)

    def _take_in(self, shown: ShownFrames, depth: Depth, frame: int) -> None:
        use = shown.real[:, frame] & (shown.cameras.known > 0)
        held, new = self.map, []
        for view in range(self.latent[0]):
            there = use & (shown.view_mask[:, frame, view] > 0)
            sampled = self._sampled(shown, depth, frame, view, there)
            if held.width:
                gone = sampled.looks_through(held.place)
                held = replace(held, key=held.key.masked_fill(gone, EMPTY))
            latents = shown.latents[:, frame, view].float()
            cells = latents[:, :, sampled.row[:, None], sampled.column].flatten(2).mT
            new.append(self._points(sampled, cells, shown.number[:, frame]))
        told = torch.stack([part.valid.any(1) for part in new]).any(0)
        self.without_depth = self.without_depth + (shown.real[:, frame] & ~told)
        for part in new:
            held = merged(held, part)
        self.map, lost = bounded(held, self.config.points)
        if bool((lost > 0).any()):
            warnings.warn(
                f"a map of points is full at {self.config.points}: what was seen longest ago makes "
                "room. Raise model.memory.points, or model.memory.voxel, to keep more",
                QualityWarning,
                stacklevel=2,
            )
        self.lost = self.lost + lost

    def _sampled(
        self, shown: ShownFrames, depth: Depth, frame: int, view: int, there: Tensor
    ) -> _Sampled:
        """Pixels of a view that become points: `detail` along each side of a cell, or all."""
        projection, (high, wide) = self.projections[view], self.latent[2:]
        metres = depth.metres[:, frame, view].float()
        whole = metres.shape[-1] / wide
        step = max(metres.shape[-2] // (high * self.config.detail), 1)
        intrinsics = scale_intrinsics(shown.cameras.intrinsics[:, view].float(), whole)
        metres = convert_depth(metres, depth.kind, projection.depth, projection, intrinsics)
        first = step // 2
        rows, columns = (
            torch.arange(first, size, step, device=metres.device) for size in metres.shape[-2:]
        )
        # The same camera, of whose image every `step`-th pixel is left.
        scale, middle = 1.0 / step, (first + 0.5) / step
        intrinsics = scale_intrinsics(intrinsics, scale)
        intrinsics[..., :2, 2] += 0.5 - middle
        metres = metres[:, first::step, first::step]
        known = metres.isfinite() & (metres > 0) & there[:, None, None]
        metres = torch.where(known, metres, torch.zeros_like(metres))
        cells = [((each + 0.5) / whole).long() for each in (rows, columns)]
        pose = shown.cameras.pose[:, frame, view].float()
        return _Sampled(metres, cells[0], cells[1], intrinsics, pose, projection)

    def _points(self, sampled: _Sampled, features: Tensor, number: Tensor) -> Voxels:
        """What a view adds: features `[N, a b, c]` where its pixels are."""
        place, depth = sampled.points, sampled.metres.flatten(1)
        key = voxel_keys(place, depth > 0, self.config.voxel)
        apart = (place - sampled.pose[:, None, :3, 3]).norm(dim=-1)
        weight = apart.clamp_min(CLOSEST).pow(-2)
        radius = depth / (2.0 * sampled.intrinsics[:, None, 1, 1])
        return Voxels(key, place, features, weight, radius, number[:, None].expand_as(key))

    def seen_by(self, cameras: FrameCameras, frame: int, view: int) -> Splatted:
        """The map from one camera of N rows."""
        valid = self.map.valid & (cameras.known > 0)[:, None]
        points = Points(self.map.place, self.map.features, self.map.radius, valid)
        intrinsics, pose = cameras.intrinsics[:, view].float(), cameras.pose[:, frame, view].float()
        size = (self.latent[2], self.latent[3])
        return splat(points, intrinsics, pose, size, self.projections[view])

    def render(self, cameras: FrameCameras) -> tuple[Tensor, Tensor]:
        if not self.map.width:
            return super().render(cameras)
        frames, views = cameras.pose.shape[1], self.latent[0]
        seen = [[self.seen_by(cameras, t, v) for v in range(views)] for t in range(frames)]
        render = torch.stack([torch.stack([s.features for s in each], 1) for each in seen], 1)
        covered = torch.stack([torch.stack([s.coverage for s in each], 1) for each in seen], 1)
        return render, covered[:, :, :, None]

    def save_ply(self, path: Path, row: int, colours: Colours | None = None) -> None:
        """Write one row's points as a PLY file; see `write_ply`."""
        valid = self.map.valid[row]
        features = self.map.features[row, valid]
        write_ply(path, self.map.place[row, valid], features, self.map.number[row, valid], colours)

    def stats(self) -> dict[str, float]:
        rows = max(len(self.seen), 1)
        count, per_point = float(self.map.count.sum()) / rows, 4 * (self.latent[1] + 5) + 16
        return {
            **super().stats(),
            "points": count,
            "points_most": float(self.map.count.max()) if len(self.seen) else 0.0,
            "points_lost": float(self.lost.sum()) / rows,
            "frames_without_depth": float(self.without_depth.sum()) / rows,
            "bytes": count * per_point,
        }


@register_memory("frames_points")
@dataclass(eq=False)
class FramesPointsMemory(Memory):
    """Both: the map renders, and frames are retrieved.

    Attributes:
        frames: kept whole.
        points: the map.
    """

    reads_depth = True

    frames: FrameMemory
    points: PointMemory

    @classmethod
    def new(cls, config: MemoryConfig, size: MemorySize) -> Self:
        parts = FrameMemory.new(config, size), PointMemory.new(config, size)
        return cls(size.latent, size.zeros(), size.zeros(), *parts)

    def update(self, shown: ShownFrames) -> None:
        self.frames.update(shown)
        self.points.update(shown)
        super().update(shown)

    def render(self, cameras: FrameCameras) -> tuple[Tensor, Tensor]:
        return self.points.render(cameras)

    def retrieve(self, cameras: FrameCameras) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        self.frames.now = self.now
        return self.frames.retrieve(cameras)

    def save_ply(self, path: Path, row: int, colours: Colours | None = None) -> None:
        """See `PointMemory.save_ply`."""
        self.points.save_ply(path, row, colours)

    def stats(self) -> dict[str, float]:
        one, other = self.frames.stats(), self.points.stats()
        return {**one, **other, "bytes": one["bytes"] + other["bytes"]}
