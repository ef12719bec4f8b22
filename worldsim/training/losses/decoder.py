"""Loss of the decoder stage: pixels, and the strength of edges.

Errors of pixels alone would blur where latents leave open which of several frames is meant. So
edges are also asked to be as strong as in the true frame, wherever they are: in each square of it,
and in all of a camera's frames together, since squares weighed against pixels stay below.

Legend: B batch, V view, H W pixels, c h w latent, N images.
"""

from dataclasses import dataclass

import torch
from einops import rearrange
from torch import Tensor
from torch.nn import functional as F

from worldsim.config.limits import Count, Fraction, Positive, Weight, Whole
from worldsim.config.values import Checked
from worldsim.conventions import LUMA, to_model_video
from worldsim.models.world_model import WorldModel
from worldsim.training.batches import Batch, Loss
from worldsim.training.losses.tokenizer import foreground, psnr_from_error

FILTERS = (
    ((0.0, 1.0, 0.0), (1.0, -4.0, 1.0), (0.0, 1.0, 0.0)),
    ((0.0, 0.0, 0.0), (-1.0, 0.0, 1.0), (0.0, 0.0, 0.0)),
    ((0.0, -1.0, 0.0), (0.0, 0.0, 0.0), (0.0, 1.0, 0.0)),
)
"""Laplacian, and slopes two pixels wide, which fine grain has none of."""
LEAST_POWER = 0.01
"""Power, in [-1, 1] units squared, that is assumed in a square without edges."""
LEAST_MEAN_POWER = 1e-4
"""The same of all frames of a camera together."""


@dataclass(frozen=True)
class DecoderConfig(Checked):
    """Attributes:
    streams: recorded episodes that are imagined again, of each `stretch` steps; 0 leaves the stage
        out.
    stretch: steps imagined of each, fewer where no episode lasts so long.
    encoded: share of encoded frames in a batch, which keeps them as good as they were.
    edges: weight of how much the strength of edges is off, beside the error of pixels.
    patch: side in pixels of the squares whose edges are summed up.
    strength: weight of how much the strength of edges is off in all frames of a camera together.
    foreground: extra weight of foreground pixels; background counts 1.
    threshold: distance from background, in [-1, 1] units, at which a pixel is all foreground.
    """

    streams: Whole = 512
    stretch: Count = 24
    encoded: Fraction = 0.3
    edges: Weight = 3.0
    patch: Count = 8
    strength: Weight = 0.5
    foreground: Weight = 8.0
    threshold: Positive = 0.15


def edge_power(video: Tensor, patch: int) -> Tensor:
    """Mean squared answer of brightness to each of the filters, in overlapping squares.

    Args:
        video: `[N, 3, H, W]`.
        patch: side of the squares.

    Returns:
        `[N, filters, h, w]`.
    """
    luma = video.new_tensor(LUMA, dtype=torch.float32)[:, None, None]
    grey = (video.float() * luma).sum(1, keepdim=True)
    answers = F.conv2d(grey, grey.new_tensor(FILTERS)[:, None])
    side = min(patch, *answers.shape[-2:])
    return F.avg_pool2d(answers.square(), side, stride=max(side // 2, 1))


def edge_error(shown: Tensor, true: Tensor) -> Tensor:
    """How much the strength of edges is off, in units of their own, from two `edge_power`s.

    The weight depends on what is shown alone, so the power that is expected has the least error:
    one that also depended on the true power would settle below it.
    """
    gap = (shown - true).square() / (shown.detach() + LEAST_POWER)
    return 0.25 * gap.mean()


def strength_error(shown: Tensor, true: Tensor) -> Tensor:
    """How much the mean strength of edges is off, in squared logarithms of their ratio.

    Args:
        shown: `edge_power` of B frames of V cameras, `[B, V, filters, h, w]`.
        true: the same of the true frames.
    """
    ours, theirs = (x.mean((0, 3, 4)) + LEAST_MEAN_POWER for x in (shown, true))
    return (ours / theirs).log().square().mean()


class DecoderLoss:
    """`StageLoss` of the decoder.

    Args:
        model: whose decoder is trained; everything else of it is frozen.
        config: weights.
    """

    def __init__(self, model: WorldModel, config: DecoderConfig) -> None:
        self._model, self._config = model, config

    def __call__(self, batch: Batch, fraction: float, generator: torch.Generator) -> Loss:
        """Loss of one batch of `decoder_batch`."""
        config, model = self._config, self._model
        video = to_model_video(batch["video"])
        with torch.no_grad():
            encoded = model.encode_video(video)
        imagined = batch["imagined"][:, None, None, None, None]
        latents = torch.where(imagined > 0, batch["latents"], encoded)
        raw = model.normalizer.denormalize("latent", latents)
        shown = model.tokenizer.decode(raw).float()
        error = shown - video
        mask = foreground(video, to_model_video(batch["references"]), config.threshold)
        weight = 1.0 + config.foreground * mask
        pixel = (weight * (error.abs() + error.square())).sum() / (3.0 * weight.sum())
        cameras = {"v": video.shape[1]}
        power, wanted = (
            rearrange(edge_power(x.flatten(0, 1), config.patch), "(b v) ... -> b v ...", **cameras)
            for x in (shown, video)
        )
        edges, strength = edge_error(power, wanted), strength_error(power, wanted)
        ratio = power.detach()[:, :, 0].mean() / wanted[:, :, 0].mean()
        logs = {
            "pixels": pixel.detach(),
            "edges": edges.detach(),
            "edge_power_ratio": ratio,
            "psnr": psnr_from_error(error.detach().square().mean()),
        }
        return Loss(pixel + config.edges * edges + config.strength * strength, logs)
