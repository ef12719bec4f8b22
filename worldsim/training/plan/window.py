"""Window selectors: which frames of a clip the loss is taken on, `[B, T]` of 0 and 1."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import torch
from torch import Tensor

from worldsim.config.limits import Count, OneOf
from worldsim.config.values import Checked
from worldsim.registry import Registry


@dataclass(frozen=True)
class WindowConfig(Checked):
    """Attributes:
    name: registered selector.
    frames: K of `last` and `random`.
    """

    name: Annotated[str, OneOf(lambda: WINDOW_SELECTORS)] = "all"
    frames: Count = 4


Selector = Callable[[WindowConfig, tuple[int, int], torch.Generator], Tensor]
WINDOW_SELECTORS: Registry[Selector] = Registry("window selector")


def select_frames(
    config: WindowConfig, shape: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """Weights `[B, T]` of the frames of a batch of clips.

    Raises:
        UsageError: no such selector.
    """
    return WINDOW_SELECTORS.get(config.name)(config, shape, generator)


@WINDOW_SELECTORS.register("all")
def select_all(config: WindowConfig, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """Every frame."""
    return torch.ones(shape)


@WINDOW_SELECTORS.register("last")
def select_last(config: WindowConfig, shape: tuple[int, int], generator: torch.Generator) -> Tensor:
    """The last K frames."""
    return (torch.arange(shape[1]) >= shape[1] - config.frames).float().expand(shape)


@WINDOW_SELECTORS.register("random")
def select_random(
    config: WindowConfig, shape: tuple[int, int], generator: torch.Generator
) -> Tensor:
    """K successive frames at a uniform place of each clip (Self-Forcing++, 2510.02283)."""
    places = max(shape[1] - config.frames, 0) + 1
    start = torch.randint(places, (shape[0], 1), generator=generator)
    frame = torch.arange(shape[1])
    return ((frame >= start) & (frame < start + config.frames)).float()
