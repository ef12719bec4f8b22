"""Small convolutional autoencoders, one latent grid per view.

Legend: F frames (all leading axes merged), H W pixels, c latent channels, h w latent size.
Pixels are shuffled by 4 before anything else, so no convolution runs at full resolution.
"""

import torch
from torch import Tensor, nn

from worldsim.models.blocks import ResBlock
from worldsim.models.tokenizers.base import Tokenizer, TokenizerConfig, register_tokenizer

PATCH = 4


class ConvTokenizer(Tokenizer):
    """Deterministic, with a bounded latent (scaled tanh), since the denoiser adds its own noise.

    A subclass makes `encoder` and `decoder`.
    """

    encoder: nn.Module

    def encode(self, video: Tensor) -> Tensor:
        """float `[..., 3, H, W]` in [-1, 1] to `[..., c, h, w]` in [-4, 4].

        Raises:
            UsageError: H or W is no multiple of `spatial_factor`.
        """
        lead, (height, width) = video.shape[:-3], video.shape[-2:]
        self.check_size(height, width)
        frames = video.reshape(-1, *video.shape[-3:]).contiguous(memory_format=torch.channels_last)
        latents = 4.0 * torch.tanh(self.encoder(frames) / 4.0)
        return latents.reshape(*lead, *latents.shape[1:])

    def decode(self, latents: Tensor) -> Tensor:
        """`[..., c, h, w]` to float `[..., 3, H, W]`, about [-1, 1]."""
        lead = latents.shape[:-3]
        frames = latents.reshape(-1, *latents.shape[-3:])
        video: Tensor = self.decoder(frames.contiguous(memory_format=torch.channels_last))
        return video.reshape(*lead, *video.shape[1:])


@register_tokenizer("autoencoder")
class Autoencoder(ConvTokenizer):
    """Latents at an eighth of the frame's side."""

    spatial_factor = 2 * PATCH

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        fine, coarse, depth = config.width, 2 * config.width, config.depth
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(PATCH),
            nn.Conv2d(3 * PATCH**2, fine, 3, padding=1),
            *[ResBlock(fine, fine, norm=False) for _ in range(depth)],
            nn.Conv2d(fine, coarse, 3, stride=2, padding=1),
            *[ResBlock(coarse, coarse, norm=False) for _ in range(depth)],
            nn.SiLU(),
            nn.Conv2d(coarse, config.channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.channels, coarse, 3, padding=1),
            *[ResBlock(coarse, coarse, norm=False) for _ in range(depth)],
            nn.Conv2d(coarse, 4 * fine, 1),
            nn.PixelShuffle(2),
            *[ResBlock(fine, fine, norm=False) for _ in range(depth)],
            nn.SiLU(),
            nn.Conv2d(fine, 3 * PATCH**2, 3, padding=1),
            nn.PixelShuffle(PATCH),
        )


@register_tokenizer("autoencoder_quarter")
class QuarterAutoencoder(ConvTokenizer):
    """Latents at a quarter of the frame's side, where small things keep cells of their own."""

    spatial_factor = PATCH

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        width, depth = config.width, config.depth
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(PATCH),
            nn.Conv2d(3 * PATCH**2, width, 3, padding=1),
            *[ResBlock(width, width, norm=False) for _ in range(depth)],
            nn.SiLU(),
            nn.Conv2d(width, config.channels, 1),
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.channels, width, 3, padding=1),
            *[ResBlock(width, width, norm=False) for _ in range(depth)],
            nn.SiLU(),
            nn.Conv2d(width, 3 * PATCH**2, 3, padding=1),
            nn.PixelShuffle(PATCH),
        )
