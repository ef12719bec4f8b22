"""The seam behind which tokenizers stand: frames to latents and back, by registered name.

Legend: H W pixels, c latent channels, h w latent size.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar

from torch import Tensor, nn

from worldsim.config.limits import Count, OneOf, Text
from worldsim.config.values import Checked
from worldsim.errors import UsageError
from worldsim.registry import Registry


@dataclass(frozen=True)
class TokenizerConfig(Checked):
    """One set of sizes for every row of the registry.

    Attributes:
        channels: c.
        width: channels of the finest features; coarser ones have more.
        depth: residual blocks per resolution.
        name: registered tokenizer.
        weights: those that others published, a folder that diffusers wrote or
            `hub:owner/name@revision`, which are then taken as they are, with the scale of their
            latents; null trains.
    """

    channels: Count = 16
    width: Count = 32
    depth: Count = 2
    name: Annotated[str, OneOf(lambda: _registered())] = "autoencoder"
    weights: Text | None = None


class Tokenizer(nn.Module):
    """Base of all tokenizers.

    Attributes:
        spatial_factor: pixels along a side of a latent cell; h = H / spatial_factor.
        frames_per_latent: consecutive frames that one latent packs.
        decoder: the part that turns latents into pixels, which may be trained further alone.
    """

    spatial_factor: ClassVar[int]
    frames_per_latent: ClassVar[int] = 1
    decoder: nn.Module

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__()
        self.config = config

    @property
    def learns(self) -> bool:
        """Whether there is anything to train."""
        return any(True for _ in self.parameters())

    def take_weights(self, reference: str) -> None:
        """Become the network that others published under `reference`.

        Raises:
            UsageError: none of this kind is published, nothing is there, or sizes differ.
            DataError: files are missing or do not fit.
        """
        raise UsageError(
            f"tokenizer {self.config.name!r} is trained here, and model.tokenizer.weights="
            f"{reference} are of a network that others published; set model.tokenizer.weights=null "
            "or name its tokenizer"
        )

    def encode(self, video: Tensor) -> Tensor:
        """float `[..., 3, H, W]` in [-1, 1] to latents `[..., c, h, w]`.

        Raises:
            UsageError: H or W is no multiple of `spatial_factor`.
        """
        raise NotImplementedError("a tokenizer encodes frames")

    def decode(self, latents: Tensor) -> Tensor:
        """`[..., c, h, w]` to float `[..., 3, H, W]`, about [-1, 1]."""
        raise NotImplementedError("a tokenizer decodes latents")

    def forward(self, video: Tensor) -> Tensor:
        """Reconstruct."""
        return self.decode(self.encode(video))

    def latent_shape(self, height: int, width: int) -> tuple[int, int, int]:
        """(c, h, w) of frames of that size."""
        factor = self.spatial_factor
        return self.config.channels, height // factor, width // factor

    def check_size(self, height: int, width: int) -> None:
        """Refuse frames that do not divide into cells.

        Raises:
            UsageError: a side is no multiple of `spatial_factor`.
        """
        if height % self.spatial_factor or width % self.spatial_factor:
            raise UsageError(
                f"image size {height}x{width} must be a multiple of {self.spatial_factor}"
            )


TOKENIZERS: Registry[type[Tokenizer]] = Registry("tokenizer")


def register_tokenizer(name: str) -> Callable[[Any], Any]:
    """Class decorator that files a tokenizer under `name`."""
    return TOKENIZERS.register(name)


def _registered() -> Registry[type[Tokenizer]]:
    # The rows import this module, so they are named where a name is first looked up.
    import worldsim.models.tokenizers.autoencoder
    import worldsim.models.tokenizers.published  # noqa: F401

    return TOKENIZERS


def build_tokenizer(config: TokenizerConfig) -> Tokenizer:
    """Build a registered tokenizer.

    Raises:
        UsageError: the name is not registered.
    """
    return _registered().get(config.name)(config)


def spatial_factor(config: TokenizerConfig) -> int:
    """Pixels along a side of a latent cell, of a registered tokenizer that need not be built.

    Raises:
        UsageError: the name is not registered.
    """
    return _registered().get(config.name).spatial_factor


def require_image_size(height: int, width: int, factor: int) -> None:
    """Refuse frames that do not divide into latents and halves of them.

    Args:
        height: pixels.
        width: pixels.
        factor: pixels along a side of a latent cell.

    Raises:
        UsageError: a side is no multiple of twice the factor.
    """
    if height % (2 * factor) or width % (2 * factor):
        raise UsageError(
            f"frames of {height}x{width}: height and width must be multiples of {2 * factor}; "
            f"image_size=64 or image_size=[HEIGHT,WIDTH] resizes them"
        )
