"""Which earlier frames of its episode a training clip remembers.

A stream's memory has taken in all that was shown; a clip's is filled with some frames before it
(as WorldMem, 2504.12369, trains). What one samples is up to a registered function.

Legend: B clips, K remembered frames.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from worldsim.config.limits import Count, OneOf, Share
from worldsim.config.values import Checked
from worldsim.registry import Registry

Sample = Callable[[int, int, torch.Generator], Tensor]
"""(before, most, generator) to at most `most` distinct numbers below `before`, in any order."""
MEMORY_SAMPLERS: Registry[Sample] = Registry("memory sampler")


@dataclass(frozen=True)
class MemorySamplerConfig(Checked):
    """Attributes:
    name: registered memory sampler; `none` lets memories begin empty with each clip.
    frames: K, most frames that a clip remembers.
    empty: chance that a clip remembers nothing, as a stream that begins.
    drop: chance of each remembered frame to be missing.
    noise: highest noise level of remembered frames, each uniform from 0.
    widen: fraction of training over which clips come to remember what is older; 0 has no bound.
    near: frames before the clip that are remembered at the beginning of that.
    """

    name: Annotated[str, OneOf(lambda: MEMORY_SAMPLERS)] = "none"
    frames: Count = 8
    empty: Share = 0.0
    drop: Share = 0.0
    noise: Share = 0.0
    widen: Share = 0.0
    near: Count = 16


@MEMORY_SAMPLERS.register("none")
def nothing(before: int, most: int, generator: torch.Generator) -> Tensor:
    """No frames."""
    return torch.zeros(0, dtype=torch.long)


@MEMORY_SAMPLERS.register("recent")
def recent(before: int, most: int, generator: torch.Generator) -> Tensor:
    """The newest frames."""
    return torch.arange(max(before - most, 0), before)


@MEMORY_SAMPLERS.register("random")
def spread(before: int, most: int, generator: torch.Generator) -> Tensor:
    """Frames drawn evenly from all of them."""
    return torch.randperm(before, generator=generator)[:most]


def remembered_frames(
    start: Tensor, config: MemorySamplerConfig, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Frames that clips remember.

    Args:
        start: `[B]` first frame of each clip in its episode.
        config: which, and how many.
        generator: of the draws.

    Returns:
        Their numbers in the episode `[B, K]`, oldest first, and a mask `[B, K]` bool; what is
        beyond the mask, at the end, is frame 0.
    """
    sample = MEMORY_SAMPLERS.get(config.name)
    frames = torch.zeros(len(start), config.frames, dtype=torch.long)
    mask = torch.zeros(frames.shape, dtype=torch.bool)
    for row, before in enumerate(start.tolist()):
        drawn = sample(before, config.frames, generator).sort().values
        frames[row, : len(drawn)], mask[row, : len(drawn)] = drawn, True
    return frames, mask
