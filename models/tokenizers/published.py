"""Autoencoders of `diffusers`, one frame at a time: AutoencoderTiny, that of SVD, that of Wan.

Latents come in the scale that each was published with, which a network of random weights has not.
Those of a video packed in time (Wan's four frames in one) are not made: a frame stands alone here,
as the first frame of a video does there, so that a stream can show every frame as it comes.

Legend: F frames (all leading axes merged), H W pixels, c latent channels, h w latent size.
"""

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from worldsim.errors import DataError, UsageError
from worldsim.models.published import Source
from worldsim.models.tokenizers.base import Tokenizer, TokenizerConfig, register_tokenizer

GROUPS = 32
"""Of the group norms in SVD's networks; diffusers has no argument for it."""
LEAST_DEPTH = 2
"""Of SVD's decoder, whose attention stands between layers."""
LEVELS = (1, 2, 4, 4)
"""Channels of each resolution, in those of the finest."""


class PublishedTokenizer(Tokenizer):
    """An autoencoder of images that diffusers defines.

    A subclass names its class and arguments, and says how parts are put together.

    Attributes:
        shift: `[c, 1, 1]` that latents are moved by.
        scale: `[c, 1, 1]` that they are divided by.
        part: the folder of such a network in a pipeline's.
        others: parts beside encoder and decoder.
        not_compared: arguments that may differ from a published network's.
    """

    spatial_factor = 8
    part: ClassVar[str] = "vae"
    others: ClassVar[tuple[str, ...]] = ()
    not_compared: ClassVar[tuple[str, ...]] = ()
    encoder: nn.Module
    shift: Tensor
    scale: Tensor

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        network: Any = self.network()(**self.sizes())
        for name in ("encoder", *self.others, "decoder"):
            setattr(self, name, getattr(network, name))
        self.register_buffer("shift", torch.zeros(config.channels, 1, 1))
        self.register_buffer("scale", torch.ones(config.channels, 1, 1))

    @staticmethod
    def network() -> Any:
        """The class of diffusers, imported where it is asked for."""
        raise NotImplementedError("a published tokenizer names its class")

    def sizes(self) -> dict[str, Any]:
        """Arguments of the class."""
        raise NotImplementedError("a published tokenizer says its sizes")

    def encode_frames(self, frames: Tensor) -> Tensor:
        """`[F, 3, H, W]` to latents `[F, c, h, w]` in the network's own scale."""
        raise NotImplementedError("a published tokenizer encodes frames")

    def decode_frames(self, latents: Tensor) -> Tensor:
        """The inverse of `encode_frames`."""
        raise NotImplementedError("a published tokenizer decodes latents")

    def published_scale(self, config: Mapping[str, Any]) -> tuple[Any, Any]:
        """Shift and scale, of all channels or of each, that a published config tells."""
        factor = float(config.get("scaling_factor", 1.0))
        return float(config.get("shift_factor") or 0.0), 1.0 / factor

    def encode(self, video: Tensor) -> Tensor:
        """See `Tokenizer.encode`."""
        self.check_size(*video.shape[-2:])
        latents = self.encode_frames(video.reshape(-1, *video.shape[-3:]))
        latents = (latents - self.shift) / self.scale
        return latents.reshape(*video.shape[:-3], *latents.shape[1:])

    def decode(self, latents: Tensor) -> Tensor:
        """See `Tokenizer.decode`."""
        frames = latents.reshape(-1, *latents.shape[-3:])
        video = self.decode_frames(frames * self.scale + self.shift)
        return video.reshape(*latents.shape[:-3], *video.shape[1:])

    def take_weights(self, reference: str) -> None:
        """See `Tokenizer.take_weights`."""
        network = self.network()
        source = Source.of(reference, self.part, network)
        compared = {k: v for k, v in self.sizes().items() if k not in self.not_compared}
        source.require(network, compared)
        # Resampling in time is what a frame that stands alone passes by.
        told = {k: v for k, v in source.tensors().items() if ".time_conv." not in k}
        shift, scale = (torch.as_tensor(x).float() for x in self.published_scale(source.config))
        for values in (shift, scale):
            if values.numel() not in (1, self.config.channels) or not values.isfinite().all():
                raise DataError(
                    f"{source.folder}/config.json scales latents by {values.tolist()}, expected a "
                    f"number for each of {self.config.channels} channels"
                )
        self.shift.copy_(shift.reshape(-1, 1, 1).expand_as(self.shift))
        self.scale.copy_(scale.reshape(-1, 1, 1).expand_as(self.scale))
        source.fill(self, told | {"shift": self.shift, "scale": self.scale})


@register_tokenizer("autoencoder_tiny")
class PublishedTiny(PublishedTokenizer):
    """AutoencoderTiny (TAESD, github.com/madebyollin/taesd): 2 M parameters, for CPUs too."""

    @staticmethod
    def network() -> Any:
        """See `PublishedTokenizer.network`."""
        from diffusers.models.autoencoders.autoencoder_tiny import AutoencoderTiny

        return AutoencoderTiny

    def sizes(self) -> dict[str, Any]:
        """See `PublishedTokenizer.sizes`."""
        width, depth = (self.config.width,) * len(LEVELS), (self.config.depth,) * (len(LEVELS) - 1)
        return {
            "latent_channels": self.config.channels,
            "encoder_block_out_channels": width,
            "decoder_block_out_channels": width,
            "num_encoder_blocks": (1, *depth),
            "num_decoder_blocks": (*depth, 1),
        }

    def encode_frames(self, frames: Tensor) -> Tensor:
        """See `PublishedTokenizer.encode_frames`."""
        latents: Tensor = self.encoder(frames)
        return latents

    def decode_frames(self, latents: Tensor) -> Tensor:
        """See `PublishedTokenizer.decode_frames`."""
        frames: Tensor = self.decoder(latents)
        return frames


@register_tokenizer("autoencoder_kl_temporal")
class PublishedTemporal(PublishedTokenizer):
    """AutoencoderKLTemporalDecoder (SVD, 2311.15127): images in, and a decoder with time.

    Its decoder sees one frame, so nothing of it smooths what flickers from frame to frame.
    """

    others = ("quant_conv",)

    def __init__(self, config: TokenizerConfig) -> None:
        if config.width % GROUPS:
            raise UsageError(
                f"tokenizer {config.name!r} norms groups of channels; width {config.width} is no "
                f"multiple of {GROUPS}"
            )
        if config.depth < LEAST_DEPTH:
            raise UsageError(
                f"tokenizer {config.name!r} of depth {config.depth} never uses the attention that "
                f"it has; take {LEAST_DEPTH} or more"
            )
        super().__init__(config)

    @staticmethod
    def network() -> Any:
        """See `PublishedTokenizer.network`."""
        from diffusers.models.autoencoders.autoencoder_kl_temporal_decoder import (
            AutoencoderKLTemporalDecoder,
        )

        return AutoencoderKLTemporalDecoder

    def sizes(self) -> dict[str, Any]:
        """See `PublishedTokenizer.sizes`."""
        return {
            "latent_channels": self.config.channels,
            "block_out_channels": tuple(level * self.config.width for level in LEVELS),
            "down_block_types": ("DownEncoderBlock2D",) * len(LEVELS),
            "layers_per_block": self.config.depth,
        }

    def encode_frames(self, frames: Tensor) -> Tensor:
        """The mean of the posterior."""
        mean, _ = self.get_submodule("quant_conv")(self.encoder(frames)).chunk(2, dim=1)
        latents: Tensor = mean
        return latents

    def decode_frames(self, latents: Tensor) -> Tensor:
        """See `PublishedTokenizer.decode_frames`."""
        alone = latents.new_zeros(len(latents), 1)
        frames: Tensor = self.decoder(latents, image_only_indicator=alone, num_frames=1)
        return frames


@register_tokenizer("autoencoder_kl_wan")
class PublishedWan(PublishedTokenizer):
    """AutoencoderKLWan (Wan 2.1, 2503.20314), without its resampling in time."""

    others = ("quant_conv", "post_quant_conv")
    not_compared = ("temperal_downsample",)

    @staticmethod
    def network() -> Any:
        """See `PublishedTokenizer.network`."""
        from diffusers.models.autoencoders.autoencoder_kl_wan import AutoencoderKLWan

        return AutoencoderKLWan

    def sizes(self) -> dict[str, Any]:
        """See `PublishedTokenizer.sizes`."""
        return {
            "z_dim": self.config.channels,
            "base_dim": self.config.width,
            "decoder_base_dim": None,
            "dim_mult": list(LEVELS),
            "num_res_blocks": self.config.depth,
            "attn_scales": [],
            "temperal_downsample": [False] * (len(LEVELS) - 1),
            "is_residual": False,
            "patch_size": None,
        }

    def published_scale(self, config: Mapping[str, Any]) -> tuple[Any, Any]:
        """Mean and spread of each channel."""
        return config.get("latents_mean", []), config.get("latents_std", [])

    def encode_frames(self, frames: Tensor) -> Tensor:
        """The mean of the posterior."""
        moments = self.get_submodule("quant_conv")(self.encoder(frames.unsqueeze(2)))
        latents: Tensor = moments.squeeze(2).chunk(2, dim=1)[0]
        return latents

    def decode_frames(self, latents: Tensor) -> Tensor:
        """See `PublishedTokenizer.decode_frames`."""
        frames: Tensor = self.decoder(self.get_submodule("post_quant_conv")(latents.unsqueeze(2)))
        return frames.squeeze(2)
