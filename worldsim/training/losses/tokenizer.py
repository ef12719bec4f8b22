"""Loss of the tokenizer stage: the autoencoder learns to keep what is small and moves.

Legend: B rows of the data set, V view, H W pixels, c h w latent, K reference frames.
"""

from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from worldsim.config.limits import Positive, Weight
from worldsim.config.values import Checked
from worldsim.conventions import to_model_video
from worldsim.errors import UsageError
from worldsim.training.batches import Batch, Loss


@dataclass(frozen=True)
class TokenizerConfig(Checked):
    """Loss of the tokenizer.

    Attributes:
        l1: weight of the absolute error.
        l2: weight of the squared error.
        foreground: extra weight of foreground pixels; background counts 1.
        threshold: distance from background, in [-1, 1] units, at which a pixel is all foreground.
        latent: weight of the mean squared latent.
    """

    l1: Weight = 1.0
    l2: Weight = 1.0
    foreground: Weight = 4.0
    threshold: Positive = 0.15
    latent: Weight = 1e-3

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.l1 + self.l2 <= 0:
            raise UsageError(f"l1 is {self.l1} and l2 {self.l2}; expected one of them above 0")


class Codec(Protocol):
    """What the tokenizer stage trains, such as `worldsim.models.tokenizers.autoencoder`."""

    def encode(self, video: Tensor) -> Tensor:
        """Video `[..., 3, H, W]` to latents `[..., c, h, w]`."""
        ...

    def decode(self, latents: Tensor) -> Tensor:
        """Latents to video."""
        ...


REFERENCES = 3
"""K: frames of other moments a pixel must differ from to be foreground."""


def gather_frames(pixels: NDArray[np.uint8], rows: Tensor, references: Tensor) -> Batch:
    """Rows and reference rows of `pixels` `[N, V, H, W, 3]`.

    Args:
        pixels: the decoded cache.
        rows: `[B]` rows to reconstruct.
        references: `[B, K]` rows to compare with.

    Returns:
        `video` uint8 `[B, V, H, W, 3]`, `references` uint8 `[B, K, V, H, W, 3]`.
    """
    return {
        "video": torch.from_numpy(np.asarray(pixels[rows.numpy()])),
        "references": torch.from_numpy(np.asarray(pixels[references.numpy()])),
    }


def foreground(video: Tensor, references: Tensor, threshold: float) -> Tensor:
    """How far each pixel is from background, in [0, 1].

    Background is what some other moment of the data shows at the same pixel: the least
    difference to K random frames is large only where something is that is usually elsewhere.

    Args:
        video: float `[B, V, 3, H, W]`.
        references: float `[B, K, V, 3, H, W]`.
        threshold: difference that counts as 1.

    Returns:
        `[B, V, 1, H, W]`.
    """
    difference = (video[:, None] - references).abs().amax(dim=3, keepdim=True)
    return (difference.amin(dim=1) / threshold).clamp(max=1.0)


def tokenizer_loss(
    video: Tensor, rebuilt: Tensor, latents: Tensor, mask: Tensor, config: TokenizerConfig
) -> Loss:
    """Weighted reconstruction error and a small pull of the latents towards zero.

    Args:
        video: `[B, V, 3, H, W]` in [-1, 1].
        rebuilt: same shape.
        latents: any shape.
        mask: foreground `[B, V, 1, H, W]` in [0, 1].
        config: weights.
    """
    error = rebuilt.float() - video
    weight = 1.0 + config.foreground * mask
    each = config.l1 * error.abs() + config.l2 * error.square()
    rebuild = (weight * each).sum() / (3.0 * weight.sum())
    pull = latents.float().square().mean()
    logs = {
        "rebuild": rebuild.detach(),
        "latent_power": pull.detach(),
        "psnr": psnr_from_error(error.detach().square().mean()),
        "psnr_foreground": psnr_from_error(_masked_mse(error.detach(), mask > 0.5)),
    }
    return Loss(rebuild + config.latent * pull, logs)


def psnr_from_error(mse: Tensor) -> Tensor:
    """Peak signal-to-noise ratio in dB of images in [-1, 1]; at most 100."""
    return -10.0 * torch.log10((mse / 4.0).clamp_min(1e-10))


def _masked_mse(error: Tensor, mask: Tensor) -> Tensor:
    squared = error.square().mean(dim=2, keepdim=True)
    return (squared * mask).sum() / mask.sum().clamp_min(1)


class TokenizerLoss:
    """`StageLoss` of the tokenizer.

    Args:
        codec: an autoencoder.
        config: weights.
    """

    def __init__(self, codec: Codec, config: TokenizerConfig) -> None:
        self._codec, self._config = codec, config

    def __call__(self, batch: Batch, fraction: float, generator: torch.Generator) -> Loss:
        """Loss of one batch of `gather_frames`."""
        video = to_model_video(batch["video"])
        mask = foreground(video, to_model_video(batch["references"]), self._config.threshold)
        latents = self._codec.encode(video)
        return tokenizer_loss(video, self._codec.decode(latents), latents, mask, self._config)
