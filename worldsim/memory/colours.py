"""Points that carry the colours of pixels: pictures out of latents, and latents out of renders.

A latent's cell may span a quarter turn of a small panorama, and a map of cells is as coarse. A map
of pixels shows a place from beside the path as it looks. Its render is a picture, which is encoded
as pictures are (EvoWorld, 2510.01183, encodes its reprojection likewise). Where it shows nothing,
the newest frame stands behind it, so that no hole has edges of its own.

Legend: N rows, K shown frames, T frames to come, V views, c h w latent, H W pixels.
"""

import torch
from torch import Tensor
from torch.nn import functional

from worldsim.errors import UsageError
from worldsim.memory.base import FrameReader, ShownFrames
from worldsim.memory.depth import Depth


def reader_of(shown: ShownFrames) -> FrameReader:
    """What turns latents into pictures and back.

    Raises:
        UsageError: nobody tells.
    """
    if shown.reader is None or shown.reader.latents is None:
        raise UsageError(
            "model.memory.colours=true needs a model that turns latents into pictures and back; "
            "take a stream or a clip of a world model, or set model.memory.colours=false"
        )
    return shown.reader


def pictures(shown: ShownFrames) -> Tensor:
    """Colours `[N, K, V, 3, H, W]` in [-1, 1] of shown frames."""
    frames = reader_of(shown).pixels(shown.latents)
    return frames.movedim(-1, -3).float() / 127.5 - 1.0


def to_bytes(colours: Tensor) -> Tensor:
    """Colours in [-1, 1] as uint8."""
    return ((colours + 1.0) * 127.5).round().clamp(0, 255).to(torch.uint8)


def fine_depth(depth: Depth, size: tuple[int, int], wrap: bool) -> Depth:
    """Depth `[N, K, V, a, b]` told for every pixel of images of `size`.

    What is coarser is interpolated in inverse depth, in which planes are straight.
    """
    metres, (high, wide) = depth.metres, size
    if metres.shape[-2] >= high:
        return depth
    flat = 1.0 / metres.flatten(0, 2)[:, None]
    if wrap:
        flat = torch.cat([flat[..., -1:], flat, flat[..., :1]], dim=-1)
    factor = wide // metres.shape[-1]
    large = functional.interpolate(flat, scale_factor=factor, mode="bilinear")
    if wrap:
        large = large[..., factor:-factor]
    return Depth(1.0 / large.reshape(*metres.shape[:3], high, wide), depth.kind)


def cell_means(values: Tensor, weight: Tensor, size: tuple[int, int]) -> Tensor:
    """Weighted means `[..., h, w]` of `[..., H, W]` over the cells of a grid of `size`."""

    def pooled(each: Tensor) -> Tensor:
        flat = functional.adaptive_avg_pool2d(each.flatten(0, -3)[:, None], size)
        return flat.reshape(*each.shape[:-2], *size)

    mean: Tensor = pooled(values * weight) / pooled(weight).clamp_min(1e-6)
    return mean


def encoded(reader: FrameReader, colours: Tensor, coverage: Tensor, behind: Tensor) -> Tensor:
    """Latents `[N, T, V, c, h, w]` of a render.

    Args:
        reader: of the model.
        colours: `[N, T, V, 3, H, W]`.
        coverage: `[N, T, V, 1, H, W]`.
        behind: `[N, V, 3, H, W]` pictures that fill what is not covered.
    """
    assert reader.latents is not None
    return reader.latents(coverage * colours + (1.0 - coverage) * behind[:, None])
