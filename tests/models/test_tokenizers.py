"""Tokenizers by name: their factors decide the size of latents, and packed frames are refused."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from square_world import write_square_data
from torch import Tensor
from train_testing import train
from worldsim_testing import nano_model, nano_spec

from worldsim.config.compose import build
from worldsim.errors import UsageError
from worldsim.files import read_json
from worldsim.models.tokenizers.base import (
    TOKENIZERS,
    Tokenizer,
    TokenizerConfig,
    build_tokenizer,
    register_tokenizer,
)
from worldsim.models.world_model import WorldModel
from worldsim.training.run_folder import load_tokenizer


class Means(Tokenizer):
    """Latents are means of 4x4 pixels; there is nothing to train."""

    spatial_factor = 4

    def __init__(self, config: TokenizerConfig) -> None:
        super().__init__(config)
        self.decoder = torch.nn.Upsample(scale_factor=4)

    def encode(self, video: Tensor) -> Tensor:
        self.check_size(*video.shape[-2:])
        flat = torch.nn.functional.avg_pool2d(video.flatten(0, -4), 4)
        return flat.reshape(*video.shape[:-3], *flat.shape[1:])

    def decode(self, latents: Tensor) -> Tensor:
        frames: Tensor = self.decoder(latents.flatten(0, -4))
        return frames.reshape(*latents.shape[:-3], *frames.shape[1:])


def test_a_model_asks_its_tokenizer_for_the_size_of_latents() -> None:
    register_tokenizer("means")(Means)
    try:
        config = replace(nano_model().config, tokenizer=TokenizerConfig(3, name="means"))
        model = WorldModel(config, nano_spec())
        assert model.latent_shape == (3, 8, 8)  # of 32x32 pixels
        pixels = torch.randint(0, 255, (2, 1, 3, 32, 32, 3), dtype=torch.uint8)
        assert model.encode(pixels).shape == (2, 1, 3, 3, 8, 8)
        assert model.decode(model.encode(pixels)).shape == pixels.shape
    finally:
        del TOKENIZERS._entries["means"]


def test_what_has_nothing_to_train_is_taken_as_it_is(tmp_path: Path) -> None:
    register_tokenizer("means")(Means)
    try:
        data = write_square_data(tmp_path / "data", episodes=10, length=4)
        named = ("model.tokenizer.name=means", "model.tokenizer.channels=3")
        assert train(data, tmp_path / "run", *named, "stage=tokenizer") == 0
        assert read_json(tmp_path / "run" / "stages" / "tokenizer.json")["steps"] == 0
        assert isinstance(load_tokenizer(tmp_path / "run" / "tokenizer"), Means)
    finally:
        del TOKENIZERS._entries["means"]


def test_a_tokenizer_that_packs_frames_is_refused_in_a_line() -> None:
    class Packed(Means):
        frames_per_latent = 4

    register_tokenizer("packed")(Packed)
    try:
        config = replace(nano_model().config, tokenizer=TokenizerConfig(3, name="packed"))
        with pytest.raises(UsageError, match="'packed' packs 4 frames"):
            WorldModel(config, nano_spec())
    finally:
        del TOKENIZERS._entries["packed"]


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="autoencoder"):
        build(TokenizerConfig, {"name": "autoencode"}, "model.tokenizer")


def test_sizes_that_do_not_divide_are_refused() -> None:
    network = build_tokenizer(TokenizerConfig(channels=4, width=8, depth=1))
    with pytest.raises(UsageError, match="multiple of 8"):
        network.encode(torch.zeros(1, 3, 36, 32))
