"""`ground`: the newest frame as a camera that has moved sees it, over a horizontal plane.

A network that has to shift a whole view at every step blurs it, the sooner the faster the camera
moves. Where a camera stands is known, and most of what one on a wrist or a walker sees lies near a
plane: the homography between its two views is exact there, and needs neither depth nor training.
What stands above the plane is off by its parallax, which is left to the network.

Only cameras that move are told of: the newest frame itself is what others see. Pixels are warped,
not latents, since those of an autoencoder do not interpolate.

Legend: N rows, T frames to come, V views, M of them mounted, c h w latent, H W pixels.
"""

from dataclasses import dataclass
from typing import Self

import torch
from torch import Tensor
from torch.nn import functional

from worldsim.cameras.projection import Projection, project, projections_of, scale_intrinsics
from worldsim.conventions import to_model_video
from worldsim.memory.base import (
    FrameCameras,
    FrameReader,
    Memory,
    MemoryConfig,
    MemorySize,
    ShownFrames,
    register_memory,
)

NEAREST = 1e-3
"""Metres; a plane as close to a camera's centre as this is not seen by it."""


@register_memory("ground")
@dataclass(eq=False)
class GroundMemory(Memory):
    """Attributes:
    newest: `[N, M, c, h, w]` latents of the newest frame.
    pose: `[N, M, 4, 4]` where its cameras stood.
    held: `[N, M]` bool, which of them there are, with calibration.
    moving: numbers of the views whose cameras are mounted.
    projections: of these cameras.
    height: metres, of the plane.
    reader: of the model whose latents these are.
    """

    newest: Tensor
    pose: Tensor
    held: Tensor
    moving: tuple[int, ...]
    projections: tuple[Projection, ...]
    height: float
    reader: FrameReader | None = None

    @classmethod
    def new(cls, config: MemoryConfig, size: MemorySize) -> Self:
        cameras = size.spec.cameras
        moving = tuple(view for view, each in enumerate(cameras) if each.carrier is not None)
        count = len(moving)
        return cls(
            size.latent,
            size.zeros(),
            size.zeros(),
            torch.zeros(size.rows, count, *size.latent[1:], device=size.device),
            torch.eye(4, device=size.device).repeat(size.rows, count, 1, 1),
            torch.zeros(size.rows, count, dtype=torch.bool, device=size.device),
            moving,
            tuple(projections_of(cameras)[view] for view in moving),
            config.ground,
        )

    def update(self, shown: ShownFrames) -> None:
        shown.cameras.require(shown.real)
        if self.moving and shown.reader is not None:
            self.reader = shown.reader
            last = (shown.count - 1).clamp_min(0)
            rows = torch.arange(len(last), device=last.device)
            some, moving = shown.count > 0, list(self.moving)
            fresh = shown.latents[rows, last][:, moving].to(self.newest)
            there = (shown.view_mask[rows, last][:, moving] > 0) & (
                shown.cameras.known[:, None] > 0
            )
            pose = shown.cameras.pose[rows, last][:, moving].to(self.pose)
            self.newest = torch.where(some[:, None, None, None, None], fresh, self.newest)
            self.pose = torch.where(some[:, None, None, None], pose, self.pose)
            self.held = torch.where(some[:, None], there, self.held)
        super().update(shown)

    def render(self, cameras: FrameCameras) -> tuple[Tensor, Tensor]:
        """See `Memory.render`; covered is what the newest frame saw of the plane."""
        null, reader = self._null(cameras), self.reader
        use = self.held & (cameras.known > 0)[:, None]
        if reader is None or reader.latents is None or not bool(use.any()):
            return null.render, null.coverage
        moving, frames = list(self.moving), cameras.pose.shape[1]
        # Poses of unknown cameras mean nothing, and need not be finite.
        eye = torch.eye(4).to(self.pose)
        pose = torch.where(use[:, None, :, None, None], cameras.pose[:, :, moving].to(eye), eye)
        before = torch.where(use[..., None, None], self.pose, eye)
        pixels = to_model_video(reader.pixels(self.newest))
        size = (pixels.shape[-2], pixels.shape[-1])
        factor = size[0] / self.newest.shape[-2]
        intrinsics = scale_intrinsics(cameras.intrinsics[:, moving].to(eye), factor)
        found, seen = [], []
        for view, projection in enumerate(self.projections):
            rig = (intrinsics[:, None, view], pose[:, :, view], before[:, None, view])
            source, inside = ground_flow(projection, *rig, self.height, size)
            images = pixels[:, None, view].expand(-1, frames, -1, -1, -1).flatten(0, 1)
            drawn = functional.grid_sample(
                images, source.flatten(0, 1), "bicubic", "border", align_corners=False
            )
            found.append(drawn.view(-1, frames, *drawn.shape[1:]))
            seen.append(inside)
        latents = reader.latents(torch.stack(found, dim=2).clamp(-1, 1)).to(null.render)
        whole = (torch.stack(seen, dim=2) & use[:, None, :, None, None]).to(latents)
        # A cell counts as far as all of it was seen.
        covered = -functional.adaptive_max_pool2d(-whole.flatten(0, 1), latents.shape[-2:])
        covered = covered.view(*whole.shape[:3], *latents.shape[-2:])[:, :, :, None]
        null.coverage[:, :, moving] = covered
        null.render[:, :, moving] = latents * covered
        return null.render, null.coverage

    def joined(self, other: Self) -> Self:
        both = super().joined(other)
        both.reader = self.reader or other.reader
        return both


def ground_flow(
    projection: Projection,
    intrinsics: Tensor,
    pose: Tensor,
    before: Tensor,
    height: float,
    size: tuple[int, int],
) -> tuple[Tensor, Tensor]:
    """Where a camera that has moved saw before what it sees now of a plane z = `height`.

    Args:
        projection: of the camera.
        intrinsics: `[..., 3, 3]` in pixels.
        pose: `[..., 4, 4]` camera to world now.
        before: `[..., 4, 4]` camera to world then.
        height: metres.
        size: (H, W).

    Returns:
        Places `[..., H, W, 2]` as `grid_sample` takes them, and bool `[..., H, W]`: whether the
        plane is seen there, now and then. Elsewhere places mean nothing, and are finite.
    """
    rays = projection.rays(intrinsics, pose[..., :3, :3], *size).movedim(-3, -1)
    origin = pose[..., None, None, :3, 3]
    down = -rays[..., 2]
    reach = (origin[..., 2] - height) / torch.where(down.abs() < NEAREST, NEAREST, down)
    hits = (reach > NEAREST) & (down.abs() >= NEAREST)
    points = origin + rays * torch.where(hits, reach, 1.0)[..., None]
    at = (intrinsics[..., None, None, :, :], before[..., None, None, :, :])
    places, depth = project(points, *at, projection)
    source = 2 * places / places.new_tensor([size[1], size[0]]) - 1
    seen = hits & (depth > NEAREST) & (source.abs() <= 1).all(-1)
    return torch.where(depth[..., None] > NEAREST, source, 0.0), seen
