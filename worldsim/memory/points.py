"""A map of points: what was seen, where it was; rendered from every camera to come.

Every shown frame with depth is unprojected, its latents are the points' features, and what lies in
one voxel is merged. Points that a frame looks straight through are not there any more, and go
(occupancy by rays, as in KinectFusion, Newcombe et al., ISMAR 2011). The map renders as EvoWorld's
(2510.01183) and Spatia's (2512.15716) do.

Legend: N rows, P points, K shown frames, T frames to come, V views, c h w latent.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import Tensor

from worldsim.cameras.projection import Projection, projections_of, scale_intrinsics
from worldsim.cameras.splat import NEAREST, Points, Splatted, splat
from worldsim.errors import QualityWarning
from worldsim.memory.base import (
    FrameCameras,
    FrameReader,
    Memory,
    MemoryConfig,
    MemorySize,
    ShownFrames,
    register_memory,
)
from worldsim.memory.colours import cell_means, encoded, fine_depth, pictures, reader_of, to_bytes
from worldsim.memory.depth import DEPTHS, Depth, DepthSource
from worldsim.memory.frames import RawMemory
from worldsim.memory.ply import Colours, write_ply
from worldsim.memory.surfaces import Surface, surface
from worldsim.memory.view import MemoryView
from worldsim.memory.voxels import (
    EMPTY,
    MERGED_EVERY,
    Voxels,
    appended,
    bounded,
    inserted,
    summed,
    voxel_keys,
)

CLOSEST = 0.1
"""Metres; nearer views of a surface count no more."""
Look = Callable[[FrameCameras, int, int], Splatted]
"""Cameras, frame and view to what is seen there; the last feature is the number of the frame."""


@register_memory("points")
@dataclass(eq=False)
class PointMemory(Memory):
    """A map of points; see the head of this file.

    Attributes:
        settled: points of the rows, one in a voxel.
        fresh: points of the newest frames, not merged with the others yet.
        recent: newest frames, where the source of depth looks back; else None.
        without_depth: `[N]` frames that added nothing, since nobody told their depth.
        lost: `[N]` points that made room for others.
        unmerged: `[N]` frames whose points are fresh.
        config: of the memory.
        source: of depth.
        newest: `[N, V, 3, H, W]` the newest picture, where points carry colours; else `[N, 0]`.
        projections: of the V cameras.
        reader: what the model told of latents last.
    """

    reads_depth = True

    settled: Voxels
    fresh: Voxels
    recent: RawMemory | None
    without_depth: Tensor
    lost: Tensor
    unmerged: Tensor
    newest: Tensor
    config: MemoryConfig
    source: DepthSource
    projections: tuple[Projection, ...]
    reader: FrameReader | None = None

    @classmethod
    def new(cls, config: MemoryConfig, size: MemorySize) -> Self:
        source = DEPTHS.get(config.depth)(size.spec, config.reconstructor)
        window = replace(config, name="raw", retrieved=source.window, skipped=0)
        camera, views = size.spec.cameras[0], size.latent[0]
        picture = (views, 3, camera.height, camera.width) if config.colours else (0,)
        empty = Voxels.none(size.rows, 3 if config.colours else size.latent[1], size.device)
        return cls(
            size.latent,
            size.zeros(),
            size.zeros(),
            empty,
            empty,
            RawMemory.new(window, size) if source.window else None,
            size.zeros(),
            size.zeros(),
            size.zeros(),
            torch.zeros(size.rows, *picture, device=size.device),
            config,
            source,
            projections_of(size.spec.cameras),
        )

    @property
    def map(self) -> Voxels:
        """All points, the fresh ones behind the others."""
        return appended(self.settled, self.fresh)

    def update(self, shown: ShownFrames) -> None:
        self.take_in(shown)

    def take_in(self, shown: ShownFrames) -> tuple[Tensor | None, Depth | None]:
        """`update`, and what the map took of the frames.

        Returns:
            Colours `[N, K, V, 3, H, W]` in [-1, 1], and the depth of their pixels; None of what the
            map does not have.
        """
        shown.cameras.require(shown.real)
        past = self.recent.newest() if self.recent is not None and self.recent.width else None
        depth = self.source.depth(shown, past)
        if self.recent is not None:
            self.recent.update(shown)
        painted = None
        if self.config.colours:
            painted, self.reader = pictures(shown), reader_of(shown)
            last = (shown.count - 1).clamp_min(0)
            rows = torch.arange(len(last), device=last.device)
            here = (shown.count > 0)[:, None, None, None, None]
            self.newest = torch.where(here, painted[rows, last], self.newest)
        if depth is None:
            self.without_depth = self.without_depth + shown.count
        else:
            if painted is not None:
                size = (painted.shape[-2], painted.shape[-1])
                depth = fine_depth(depth, size, self.projections[0].wrap)
            for frame in range(shown.latents.shape[1]):
                self._add(shown, depth, frame, painted)
        super().update(shown)
        return painted, depth

    def _add(self, shown: ShownFrames, depth: Depth, frame: int, painted: Tensor | None) -> None:
        use = shown.real[:, frame] & (shown.cameras.known > 0)
        views, told = [], torch.zeros_like(use)
        for view in range(self.latent[0]):
            there = use & (shown.view_mask[:, frame, view] > 0)
            image = shown.latents if painted is None else painted
            sampled = surface(
                shown, depth, (frame, view), there, self.projections[view], self.config.detail
            )
            row, column = sampled.row, sampled.column
            if painted is not None:
                row, column = sampled.pixels(depth.metres.shape[-2:])
            seen = image[:, frame, view].float()
            cells = seen[:, :, row[:, None], column].flatten(2).mT
            new = self._points(sampled, cells, shown.number[:, frame])
            views.append(sampled)
            told |= new.valid.any(1)
            self.fresh = appended(self.fresh, new)
        self.without_depth = self.without_depth + (shown.real[:, frame] & ~told)
        self.unmerged = self.unmerged + told
        # Each row by its own count, so that none depends on those beside it.
        due = self.unmerged >= MERGED_EVERY
        if self.settled.width + self.fresh.width > self.config.points:
            due |= self.settled.count + self.fresh.count > self.config.points
        if bool(due.any()):
            self._merge(due.nonzero()[:, 0].tolist(), views)

    def _merge(self, rows: list[int], views: list[Surface]) -> None:
        """Merge the points of rows, without those that their newest frame looks through."""
        every = rows == list(range(len(self.unmerged)))
        held, new = self.settled, self.fresh
        if not every:
            held, new = held.select(rows), new.select(rows)
        gone = torch.zeros_like(held.valid)
        for sampled in views:
            mine = sampled if every else sampled.of_rows(rows)
            gone |= mine.looks_through(held.place)
            new = replace(new, key=new.key.masked_fill(mine.looks_through(new.place), EMPTY))
        room = MERGED_EVERY * sum(each.metres[0].numel() for each in views)
        held, lost = bounded(inserted(held, gone, summed(new)), self.config.points, room)
        left = torch.ones_like(self.fresh.valid)
        left[rows] = False
        self.fresh = self.fresh.kept(left)
        if not every:
            self.settled.put(rows, held)
            held = self.settled
        self.settled = held
        self.lost = self.lost.index_add(0, torch.tensor(rows, device=lost.device), lost)
        self.unmerged = self.unmerged.index_fill(0, torch.tensor(rows, device=lost.device), 0)
        if bool((lost > 0).any()):
            warnings.warn(
                f"a map of points is full at {self.config.points}: what was seen longest ago makes "
                "room. Raise model.memory.points, or model.memory.voxel, to keep more",
                QualityWarning,
                stacklevel=2,
            )

    def _points(self, sampled: Surface, features: Tensor, number: Tensor) -> Voxels:
        """What a view adds: features `[N, a b, c]` where its pixels are."""
        place, depth = sampled.points, sampled.metres.flatten(1)
        radius = depth / (2.0 * sampled.intrinsics[:, None, 1, 1])
        key = voxel_keys(place, depth > 0, self.config.voxel)
        weight = 1.0 / sampled.apart.flatten(1).clamp_min(CLOSEST).square()
        return Voxels(key, place, features, weight, radius, number[:, None].expand_as(key))

    def seen_by(self, cameras: FrameCameras, frame: int, view: int) -> Splatted:
        """The map from one camera of N rows; the last feature is the number of the frame."""
        known = (cameras.known > 0)[:, None]
        # Merged points stand as far apart as voxels do.
        points = [
            Points(
                each.place,
                each.features,
                each.radius.clamp_min(self.config.voxel / 2),
                each.valid & known,
                each.number,
            )
            for each in (self.settled, self.fresh)
        ]
        intrinsics, pose = cameras.intrinsics[:, view].float(), cameras.pose[:, frame, view].float()
        size = (self.latent[2], self.latent[3])
        if self.config.colours:
            size = (self.newest.shape[-2], self.newest.shape[-1])
            intrinsics = scale_intrinsics(intrinsics, size[0] / self.latent[2])
        return splat(points, intrinsics, pose, size, self.projections[view])

    def render(self, cameras: FrameCameras) -> tuple[Tensor, Tensor]:
        view = self.view(cameras)
        return view.render, view.coverage

    def view(self, cameras: FrameCameras, look: Look | None = None) -> MemoryView:
        """See `Memory`; `look` draws what a camera sees, `seen_by` unless another is given."""
        if not self.settled.width + self.fresh.width:
            return self._null(cameras)
        render, covered, nearness, age = self._rendered(cameras, look or self.seen_by)
        return MemoryView(render, covered, *self.retrieve(cameras), nearness, age)

    def _rendered(self, cameras: FrameCameras, look: Look) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Render, coverage, nearness and age of it."""
        frames, views = cameras.pose.shape[1], self.latent[0]
        seen = [[look(cameras, t, v) for v in range(views)] for t in range(frames)]
        told = torch.stack([torch.stack([s.features for s in each], 1) for each in seen], 1)
        covered = torch.stack([torch.stack([s.coverage for s in each], 1) for each in seen], 1)
        depth = torch.stack([torch.stack([s.depth for s in each], 1) for each in seen], 1)
        render, number = told[:, :, :, :-1], told[:, :, :, -1:]
        covered, there = covered[:, :, :, None], depth[:, :, :, None] > 0
        nearness = torch.where(there, 1.0 / depth[:, :, :, None].clamp_min(NEAREST), 0.0)
        ahead = self.coming(frames)[:, :, None, None, None, None]
        age = torch.where(there, ahead - number, 0.0)
        if not self.config.colours:
            return render, covered, nearness, age
        assert self.reader is not None
        size, every = (self.latent[2], self.latent[3]), torch.ones_like(covered)
        nearness, age = (cell_means(each, covered, size) for each in (nearness, age))
        render = encoded(self.reader, render, covered, self.newest)
        return render, cell_means(covered, every, size), nearness, age

    def save_ply(self, path: Path, row: int, colours: Colours | None = None) -> None:
        """Write one row's points as a PLY file; see `write_ply`."""
        points = self.map
        valid = points.valid[row]
        features = points.features[row, valid]
        colours = to_bytes if self.config.colours else colours
        write_ply(path, points.place[row, valid], features, points.number[row, valid], colours)

    def stats(self) -> dict[str, float]:
        rows = max(len(self.seen), 1)
        held = self.settled.count + self.fresh.count
        count, per_point = float(held.sum()) / rows, 4 * (self.latent[1] + 5) + 16
        return {
            **super().stats(),
            "points": count,
            "points_most": float(held.max()) if len(self.seen) else 0.0,
            "points_lost": float(self.lost.sum()) / rows,
            "frames_without_depth": float(self.without_depth.sum()) / rows,
            "bytes": count * per_point,
        }
