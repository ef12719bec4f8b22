"""How cameras move in a step, as each pixel sees it.

A thing at distance r in the direction of a ray moves across the image by the part of the camera's
way that lies across that ray, over r. So a map of that part says all of a move but the distances,
which pictures tell. It is the same whatever way the agent faces: a network of convolutions that
wrap learns a step in one direction and knows it in all.

Legend: B batch, T frames, V views, h w map size.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from worldsim.cameras.projection import Projection, projections_of
from worldsim.memory.view import MemoryView
from worldsim.models.conditioners.base import MOTION_GAIN, Conditioner, register_conditioner
from worldsim.models.conditioners.steps import StepGeometry
from worldsim.spec import WorldSpec


def ray_axes(
    projections: Sequence[Projection], intrinsics: Tensor, height: int, width: int
) -> Tensor:
    """Axes of every pixel, in its camera's frame.

    Args:
        projections: of V cameras.
        intrinsics: `[..., V, 3, 3]` of `height` x `width` images.
        height: rows.
        width: columns.

    Returns:
        `[..., V, 3, 3, height, width]`: unit vectors right, down and along the ray, each x, y, z.
    """
    views = []
    for view, projection in enumerate(projections):
        sizes = intrinsics[..., view, :, :]
        eye = torch.eye(3, device=sizes.device, dtype=sizes.dtype).expand(sizes.shape)
        along = projection.rays(sizes, eye, height, width)
        none = torch.zeros_like(along[..., 0, :, :])
        # Where a ray runs along the vertical there is no right; no pixel's centre does.
        right = torch.stack([along[..., 2, :, :], none, -along[..., 0, :, :]], dim=-3)
        right = torch.nn.functional.normalize(right, dim=-3)
        down = torch.linalg.cross(along, right, dim=-3)
        views.append(torch.stack([right, down, along], dim=-4))
    return torch.stack(views, dim=-5)


@register_conditioner("parallax")
class Parallax(Conditioner):
    """The camera's way in the step, right, down and along each pixel's ray (3); the ray's slope."""

    def __init__(self, spec: WorldSpec, *, objects: bool) -> None:
        super().__init__(spec, objects=objects)
        self.channels = ("parallax_right", "parallax_down", "parallax_along", "ray_down")
        self.projections = projections_of(spec.cameras)

    def maps(self, step: StepGeometry, memory: MemoryView | None) -> Tensor:
        """See the class."""
        before, after = step.cameras
        axes = ray_axes(self.projections, step.intrinsics, *step.size)
        gone = after[..., :3, 3] - before[..., :3, 3]
        own = torch.einsum("...ji,...j->...i", after[..., :3, :3], gone)
        moved = MOTION_GAIN * torch.einsum("...axhw,...x->...ahw", axes, own)
        slope = axes[..., 2, 1:2, :, :].expand(*moved.shape[:-3], -1, -1, -1)
        return torch.cat([moved, slope], dim=3)
