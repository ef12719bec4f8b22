"""The one place where pixel ranges and observation keys are written down.

Shapes: B batch, T time, V view, C channel, H, W. On disk and at env seams images are uint8
`[..., H, W, 3]`; inside models they are float `[..., 3, H, W]` in [-1, 1].
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from einops import rearrange
from torch import Tensor

from worldsim.errors import UsageError

Observation = Mapping[str, Any]
"""`pixels` {camera: uint8 [N,H,W,3]}, `agent_pos` float32 [N,P], `task` sequence of N strings."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""


def to_model_video(pixels: Tensor | np.ndarray) -> Tensor:
    """uint8 `[..., H, W, 3]` to float32 `[..., 3, H, W]` in [-1, 1]."""
    tensor = pixels if isinstance(pixels, Tensor) else torch.from_numpy(pixels)
    if tensor.dtype != torch.uint8 or tensor.shape[-1] != 3:
        raise UsageError(
            f"expected uint8 pixels [..., H, W, 3], got {tensor.dtype} {tuple(tensor.shape)}"
        )
    return rearrange(tensor, "... h w c -> ... c h w").to(torch.float32) / 127.5 - 1.0


def to_pixels(video: Tensor) -> Tensor:
    """float `[..., 3, H, W]` in [-1, 1] to uint8 `[..., H, W, 3]`; inverse of `to_model_video`."""
    scaled = ((video.float().clamp(-1.0, 1.0) + 1.0) * 127.5).round().to(torch.uint8)
    return rearrange(scaled, "... c h w -> ... h w c")


def stack_views(pixels: Mapping[str, np.ndarray], cameras: Sequence[str]) -> np.ndarray:
    """{camera: uint8 [..., H, W, 3]} to uint8 `[..., V, H, W, 3]` in the order of `cameras`.

    Raises:
        UsageError: a camera is missing.
    """
    missing = [name for name in cameras if name not in pixels]
    if missing:
        raise UsageError(f"observation lacks cameras {missing}; it has {sorted(pixels)}")
    return np.stack([pixels[name] for name in cameras], axis=-4)


def split_views(stacked: np.ndarray, cameras: Sequence[str]) -> dict[str, np.ndarray]:
    """uint8 `[..., V, H, W, 3]` to {camera: uint8 [..., H, W, 3]}; inverse of `stack_views`."""
    return {name: np.ascontiguousarray(stacked[..., i, :, :, :]) for i, name in enumerate(cameras)}
