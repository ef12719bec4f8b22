"""A small convolutional autoencoder, one latent grid per view.

Legend: F frames (all leading axes merged), H W pixels, c latent channels, h = H / 8, w = W / 8.
Half of the down-sampling is a pixel shuffle by 4, so no convolution runs at full resolution.
"""

import torch
from torch import Tensor, nn

from worldsim.models.blocks import ResBlock
from worldsim.models.tokenizers.base import Tokenizer, TokenizerConfig, register_tokenizer

PATCH = 4


@register_tokenizer("autoencoder")
class Autoencoder(Tokenizer):
    """Deterministic, with a bounded latent (scaled tanh), since the denoiser adds its own noise."""

    spatial_factor = 8

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

    def encode(self, video: Tensor) -> Tensor:
        """float `[..., 3, H, W]` in [-1, 1] to `[..., c, H/8, W/8]` in [-4, 4].

        Raises:
            UsageError: H or W is not a multiple of 8.
        """
        lead, (height, width) = video.shape[:-3], video.shape[-2:]
        self.check_size(height, width)
        frames = video.reshape(-1, *video.shape[-3:]).contiguous(memory_format=torch.channels_last)
        latents = 4.0 * torch.tanh(self.encoder(frames) / 4.0)
        return latents.reshape(*lead, *latents.shape[1:])

    def decode(self, latents: Tensor) -> Tensor:
        """`[..., c, h, w]` to float `[..., 3, 8h, 8w]`, about [-1, 1]."""
        lead = latents.shape[:-3]
        frames = latents.reshape(-1, *latents.shape[-3:])
        video: Tensor = self.decoder(frames.contiguous(memory_format=torch.channels_last))
        return video.reshape(*lead, *video.shape[1:])
