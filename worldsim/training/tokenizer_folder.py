"""The tokenizer of a run, on disk."""

from dataclasses import asdict
from pathlib import Path

from worldsim.config.compose import build
from worldsim.models.tokenizers.autoencoder import Autoencoder, AutoencoderConfig
from worldsim.models.weights import (
    CONFIG,
    WEIGHTS,
    load_config,
    load_weights,
    save_config,
    save_weights,
)

TOKENIZER_KIND = "tokenizer"


def save_tokenizer(network: Autoencoder, folder: Path) -> None:
    """Write an autoencoder's sizes and weights into `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    save_weights(network, folder / WEIGHTS)
    save_config(folder, TOKENIZER_KIND, {"config": asdict(network.config)})


def tokenizer_config(folder: Path) -> AutoencoderConfig:
    """Sizes of the tokenizer in a folder.

    Raises:
        DataError: files are missing or do not fit.
    """
    data = load_config(folder, TOKENIZER_KIND)
    return build(AutoencoderConfig, data["config"], file=folder / CONFIG)


def load_tokenizer(folder: Path) -> Autoencoder:
    """Inverse of `save_tokenizer`, in evaluation mode.

    Raises:
        DataError: files are missing or do not fit.
    """
    network = Autoencoder(tokenizer_config(folder))
    load_weights(network, folder / WEIGHTS)
    return network.eval().requires_grad_(False)
