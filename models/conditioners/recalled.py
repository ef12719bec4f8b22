"""What a memory tells, as maps: its render, and the past frames that it retrieves.

`memory` has [render x mask, mask, inverse depth, age] by channel, beside the reference that every
denoiser takes of a render (`worldsim.memory.view`). `retrieved` has each past frame whole, with
where its camera stood as every pixel sees it: all-in-one concatenation, as Context-as-Memory
(2506.03141) has it along time. Where views are turned to one heading, past frames face as the frame
to come does. The weights of all these channels begin at zero.

Legend: B batch, T frames, V views, K retrieved frames, c latent channels, h w map size.
"""

import math

import torch
from torch import Tensor

from worldsim.cameras.projection import projections_of
from worldsim.memory.view import MemoryView
from worldsim.models.conditioners.base import (
    Conditioner,
    RecalledShape,
    numbered,
    register_conditioner,
)
from worldsim.models.conditioners.motion import ray_axes
from worldsim.models.conditioners.steps import StepGeometry
from worldsim.spec import WorldSpec

_LONG = math.log(100.0)
"""Ages count by their logarithm; this one is 1."""


class Recalled(Conditioner):
    """Base of conditioners that draw what a memory tells; without a memory all is zero."""

    recalls = True

    def __init__(self, spec: WorldSpec, *, objects: bool, told: RecalledShape) -> None:
        super().__init__(spec, objects=objects)
        self.told = told

    def maps(self, step: StepGeometry, memory: MemoryView | None) -> Tensor:
        """See `Conditioner.maps`."""
        if memory is None:
            batch, frames = step.action.shape[:2]
            views = len(self.spec.cameras)
            return step.action.new_zeros(batch, frames, views, len(self.channels), *step.size)
        return self.drawn(step, memory)

    def drawn(self, step: StepGeometry, memory: MemoryView) -> Tensor:
        """The maps `[B, T, V, M, h, w]` of what a memory tells."""
        raise NotImplementedError("a conditioner draws what a memory tells")


@register_conditioner("memory")
class Rendered(Recalled):
    """The render where it covers (c), how much it covers, inverse depth and age (3)."""

    def __init__(self, spec: WorldSpec, *, objects: bool, told: RecalledShape) -> None:
        super().__init__(spec, objects=objects, told=told)
        further = ("memory_coverage", "memory_nearness", "memory_age")
        self.channels = (*numbered("memory", told.channels), *further)

    def drawn(self, step: StepGeometry, memory: MemoryView) -> Tensor:
        """See the class."""
        age = memory.render_age.clamp_min(0.0).log1p() / _LONG
        covered = memory.coverage * memory.render
        return torch.cat([covered, memory.coverage, memory.nearness, age], dim=3)


@register_conditioner("retrieved")
class Retrieved(Recalled):
    """Of each of K past frames its latents (c), whether there is one, its age (2), and where its
    camera stood from that of the frame to come: right, down, along each ray, in metres (3)."""

    def __init__(self, spec: WorldSpec, *, objects: bool, told: RecalledShape) -> None:
        super().__init__(spec, objects=objects, told=told)
        each = (*numbered("latent", told.channels), "there", "age", "right", "down", "along")
        self.channels = tuple(
            f"retrieved_{frame}_{name}" for frame in range(told.retrieved) for name in each
        )
        self.projections = projections_of(spec.cameras)

    def drawn(self, step: StepGeometry, memory: MemoryView) -> Tensor:
        """See the class."""
        frames = memory.retrieved.shape[2]
        axes = ray_axes(self.projections, step.intrinsics, *step.size).unsqueeze(2)
        apart = memory.poses[..., :3, 3] * memory.mask[..., None, None]
        where = torch.einsum("...axhw,...x->...ahw", axes, apart)
        cells = (*where.shape[:-3], 1, *step.size)
        age = memory.age.clamp_min(0.0).log1p() / _LONG
        flags = [value[..., None, None, None, None].expand(cells) for value in (memory.mask, age)]
        parts = torch.cat([memory.retrieved, *flags, where], dim=4)
        # Fewer than K where the memory holds no more; the others are zero.
        lacking = self.told.retrieved - frames
        parts = torch.nn.functional.pad(parts, (0, 0, 0, 0, 0, 0, 0, 0, 0, lacking))
        return parts.transpose(2, 3).flatten(3, 4)
