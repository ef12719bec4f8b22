"""A tokenizer of one's own: pixels shuffled into channels, of which one matrix keeps some."""

import torch
from torch import Tensor, nn

from worldsim.models.tokenizers.base import Tokenizer, TokenizerConfig, register_tokenizer

NAME = "shuffle"
FACTOR = 4


@register_tokenizer(NAME)
class Shuffle(Tokenizer):
    """A linear code of each square of pixels."""

    spatial_factor = FACTOR

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        flat = 3 * FACTOR**2
        self.encoder = nn.Sequential(
            nn.PixelUnshuffle(FACTOR), nn.Conv2d(flat, config.channels, 1, bias=False)
        )
        self.decoder = nn.Sequential(
            nn.Conv2d(config.channels, flat, 1, bias=False), nn.PixelShuffle(FACTOR)
        )

    def encode(self, video: Tensor) -> Tensor:
        self.check_size(*video.shape[-2:])
        return self._each(self.encoder, video)

    def decode(self, latents: Tensor) -> Tensor:
        return self._each(self.decoder, latents)

    @staticmethod
    def _each(network: nn.Module, images: Tensor) -> Tensor:
        out: Tensor = network(images.reshape(-1, *images.shape[-3:]))
        return out.reshape(*images.shape[:-3], *torch.Size(out.shape[1:]))
