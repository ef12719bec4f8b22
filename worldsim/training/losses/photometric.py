"""Depth learnt from frames and poses alone: what one camera sees, another sees from beside it.

Every pixel is put at the depth that the head tells and looked for in other frames of the clip. What
it shows there is what it shows here, if the depth is right (Zhou et al., 1704.07813; the least of
several frames, since a thing may be hidden in one: Godard et al., 1806.01260). Poses are known, so
depth is in metres. No simulator is asked.

Legend: B clips, T frames, V views, a b pixels of the depth, M looked-at frames, C colours.
"""

import torch
from torch import Tensor
from torch.nn import functional

from worldsim.cameras.depth import unproject
from worldsim.cameras.projection import Projection, project, projections_of, scale_intrinsics
from worldsim.memory.base import FrameCameras
from worldsim.models.heads.depth import DepthHead
from worldsim.models.recall import frame_cameras
from worldsim.models.world_model import WorldModel
from worldsim.training.losses.clip import Clip

OFFSETS = (-6, -3, -1, 1, 3, 6)
"""Frames later, in which pixels are looked for; a step is a fraction of a pixel for what is far."""
LEAST_WAY = 0.2
"""Metres between two cameras, below which they tell nothing."""
SMOOTH = 0.02
"""Weight of how much the logarithm of depth changes where the picture does not."""
EDGE = 5.0
"""How fast that weight falls with the change of colours."""


def clip_photometric(
    model: WorldModel, head: DepthHead, clip: Clip, generator: torch.Generator
) -> Tensor:
    """`photometric_loss` of what a head reads off a quarter of a clip's recorded frames."""
    frames, wide = clip.shape[1], clip.x0.shape[-1]
    targets = torch.randperm(frames, generator=generator)[: max(frames // 4, 1)].to(clip.x0.device)
    told = head(clip.x0[:, targets]).float()
    with torch.no_grad(), torch.autocast(clip.x0.device.type, enabled=False):
        video, cameras = model.decode_video(clip.x0).float(), frame_cameras(model, clip.steps)
    scaled = scale_intrinsics(cameras.intrinsics, told.shape[-1] / wide)
    near = FrameCameras(cameras.pose, scaled, cameras.known)
    there = clip.view_mask * clip.frame_mask[..., None]
    with torch.autocast(clip.x0.device.type, enabled=False):
        kinds = projections_of(model.spec.cameras)
        return photometric_loss(told, video, near, there, kinds, targets)


def photometric_loss(
    told: Tensor,
    video: Tensor,
    cameras: FrameCameras,
    there: Tensor,
    projections: tuple[Projection, ...],
    targets: Tensor,
) -> Tensor:
    """Mean absolute difference of colours, and how rough the depth is; 0 if nobody moved.

    Args:
        told: `[B, M, V, a, b]` logarithms of metres of the target frames, of the kind that the
            projection has; with gradients.
        video: `[B, T, V, C, H, W]` of all frames.
        cameras: of all frames, intrinsics in pixels of an image `[.., w]` of which b is a multiple.
        there: `[B, T, V]` 1 where a frame is no padding and the view exists.
        projections: of the V views.
        targets: `[M]` numbers of the target frames in the clip.
    """
    size = (told.shape[-2], told.shape[-1])
    small = functional.adaptive_avg_pool2d(video.flatten(0, 2), size)
    small = small.reshape(*video.shape[:4], *size)
    total, count = told.new_zeros(()), told.new_zeros(())
    for view, projection in enumerate(projections):
        frames, poses = small[:, :, view], cameras.pose[:, :, view].float()
        intrinsics = cameras.intrinsics[:, view].float()
        seen = there[:, :, view] * cameras.known[:, None]
        depth = told[:, :, view].exp()
        sphere = projection.area_weight(*size).to(depth)
        at = intrinsics[:, None].expand(-1, len(targets), 3, 3)
        place = unproject(depth, projection.depth, at, poses[:, targets], projection)
        errors = []
        for offset in OFFSETS:
            other = (targets + offset).clamp(0, frames.shape[1] - 1)
            moved = (poses[:, targets, :3, 3] - poses[:, other, :3, 3]).norm(dim=-1)
            able = seen[:, targets] * seen[:, other] * (moved > LEAST_WAY)
            able = able * (other == targets + offset)
            found, inside = _looked_up(frames[:, other], place, at, poses[:, other], projection)
            error = (found - frames[:, targets]).abs().mean(2)
            unseen = ~(inside & (able[..., None, None] > 0))
            errors.append(error.masked_fill(unseen, torch.inf))
        least = torch.stack(errors).amin(0)
        known = least.isfinite() * sphere
        rough = _roughness(told[:, :, view], frames[:, targets], projection.wrap)
        total = total + (torch.where(known > 0, least, 0.0) * known).sum()
        total = total + SMOOTH * (rough * (known > 0).any(-1, keepdim=True) * sphere).sum()
        count = count + known.sum()
    return total / count.clamp_min(1e-6)


def _looked_up(
    frames: Tensor, place: Tensor, intrinsics: Tensor, poses: Tensor, projection: Projection
) -> tuple[Tensor, Tensor]:
    """What frames `[B, M, C, a, b]` show of places `[B, M, a, b, 3]`, and whether they do."""
    high, wide = frames.shape[-2:]
    intrinsics, poses = intrinsics[:, :, None, None], poses[:, :, None, None]
    pixel, depth = project(place, intrinsics, poses, projection)
    images, column = frames.flatten(0, 1), pixel[..., 0]
    if projection.wrap:
        images = torch.cat([images[..., -1:], images, images[..., :1]], dim=-1)
        column = column.remainder(wide) + 1.0
    grid = torch.stack([2 * column / images.shape[-1] - 1, 2 * pixel[..., 1] / high - 1], -1)
    found = functional.grid_sample(
        images, grid.flatten(0, 1), padding_mode="border", align_corners=False
    )
    inside = (depth > 0) & (pixel[..., 1] >= 0) & (pixel[..., 1] <= high)
    if not projection.wrap:
        inside = inside & (pixel[..., 0] >= 0) & (pixel[..., 0] <= wide)
    return found.reshape(frames.shape), inside


def _roughness(told: Tensor, frames: Tensor, wrap: bool) -> Tensor:
    """Change of logarithms of depth `[B, M, a, b]` to the right and down, less at edges."""
    parts = []
    for dim in (-1, -2):
        change = (told.roll(-1, dim) - told).abs()
        edge = (frames.roll(-1, dim) - frames).abs().mean(2)
        if dim == -2 or not wrap:
            last = torch.zeros_like(change)
            keep = torch.ones_like(change).narrow(dim, 0, change.shape[dim] - 1)
            change = change * torch.cat([keep, last.narrow(dim, 0, 1)], dim)
        parts.append(change * (-EDGE * edge).exp())
    return parts[0] + parts[1]
