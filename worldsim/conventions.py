"""The one place where pixel ranges, observation keys and frame rates are written down.

Shapes: B batch, T time, V view, C channel, H, W. On disk and at env seams images are uint8
`[..., H, W, 3]`; inside models they are float `[..., 3, H, W]` in [-1, 1]. Rates are in Hz, whole
or not: 10, 29.97, 30000/1001.
"""

import math
from collections.abc import Mapping, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from worldsim.errors import UsageError

if TYPE_CHECKING:  # `import worldsim.envs` and the specs of a world do without torch
    from torch import Tensor

Observation = Mapping[str, Any]
"""`pixels` {camera: uint8 [N,H,W,3]}, `agent_pos` float32 [N,P], `task` sequence of N strings, and
where somebody tells it `rig`, a sequence of N calibrations (`CameraRig`, or None if unknown)."""

HABITAT_AXES = ((0, 0, -1), (-1, 0, 0), (0, 1, 0))
"""Rows of the matrix from Habitat's world (y up, an unturned agent looks along -z) to ours (z up,
heading 0 looks along +x). glTF's axes are Habitat's."""

LUMA = (0.299, 0.587, 0.114)
"""Weights of red, green and blue in brightness (ITU-R BT.601)."""

TOLERANCE = 1e-4
"""Share by which two notations of one rate may differ: 29.97 is 30000/1001 rounded."""
LARGEST_DENOMINATOR = 1001


def to_model_video(pixels: "Tensor | np.ndarray") -> "Tensor":
    """uint8 `[..., H, W, 3]` to float32 `[..., 3, H, W]` in [-1, 1]."""
    import torch
    from einops import rearrange

    tensor = pixels if isinstance(pixels, torch.Tensor) else torch.from_numpy(pixels)
    if tensor.dtype != torch.uint8 or tensor.shape[-1] != 3:
        raise UsageError(
            f"expected uint8 pixels [..., H, W, 3], got {tensor.dtype} {tuple(tensor.shape)}"
        )
    return rearrange(tensor, "... h w c -> ... c h w").to(torch.float32) / 127.5 - 1.0


def to_pixels(video: "Tensor") -> "Tensor":
    """float `[..., 3, H, W]` in [-1, 1] to uint8 `[..., H, W, 3]`; inverse of `to_model_video`."""
    import torch
    from einops import rearrange

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


def plain_rate(fps: float) -> float:
    """`fps` as int where it is whole up to rounding, else as float.

    Raises:
        UsageError: it is no positive number.
    """
    if not math.isfinite(fps) or fps <= 0:
        raise UsageError(f"fps must be a positive number of frames a second, got {fps}")
    whole = round(fps)
    return whole if math.isclose(fps, whole, rel_tol=1e-9) else float(fps)


def exact_rate(fps: float) -> Fraction:
    """The fraction that a rate stands for, as video files write it; 29.97 is 30000/1001."""
    thousandths = Fraction(1000 * round(fps * 1.001), 1001)
    for fraction in (Fraction(round(fps)), thousandths):
        if fraction and math.isclose(fps, fraction, rel_tol=TOLERANCE / 10):
            return fraction
    return Fraction(fps).limit_denominator(LARGEST_DENOMINATOR)


def same_rate(one: float, other: float) -> bool:
    """Whether two rates are one, up to how they are written."""
    return math.isclose(one, other, rel_tol=TOLERANCE)
