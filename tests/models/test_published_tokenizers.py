"""Autoencoders that diffusers saved are read as it reads them, and everything else is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from diffusers import AutoencoderKLTemporalDecoder, AutoencoderKLWan, AutoencoderTiny
from square_world import write_square_data
from torch import Tensor
from train_testing import train

from worldsim.errors import DataError, UsageError
from worldsim.files import read_json
from worldsim.models.tokenizers.base import Tokenizer, TokenizerConfig, build_tokenizer
from worldsim.models.world_model import WorldModel
from worldsim.training.run_folder import load_tokenizer

Coder = Callable[[Any, Tensor], Tensor]
MEAN, SPREAD = [0.3, -0.2, 0.1, 0.0], [1.5, 0.5, 2.0, 1.0]


def tiny() -> Any:
    wide, deep = (8, 8, 8, 8), (2, 2, 2)
    blocks = {"num_encoder_blocks": (1, *deep), "num_decoder_blocks": (*deep, 1)}
    channels = {"encoder_block_out_channels": wide, "decoder_block_out_channels": wide}
    return AutoencoderTiny(**channels, **blocks)


def temporal() -> Any:
    return AutoencoderKLTemporalDecoder(
        down_block_types=("DownEncoderBlock2D",) * 4,
        block_out_channels=(32, 64, 128, 128),
        layers_per_block=2,
        scaling_factor=0.3,
    )


def wan(**sizes: Any) -> Any:
    """With its resampling in time, as it is published."""
    scale = {"latents_mean": MEAN, "latents_std": SPREAD}
    return AutoencoderKLWan(**({"base_dim": 8, "z_dim": 4, "num_res_blocks": 1} | scale | sizes))


def wan_decoded(network: Any, latents: Tensor) -> Tensor:
    mean, spread = (torch.tensor(each).view(1, 4, 1, 1) for each in (MEAN, SPREAD))
    frames: Tensor = network.decode((latents * spread + mean).unsqueeze(2)).sample.squeeze(2)
    return frames


def wan_encoded(network: Any, frames: Tensor) -> Tensor:
    mean, spread = (torch.tensor(each).view(1, 4, 1, 1) for each in (MEAN, SPREAD))
    mode: Tensor = network.encode(frames.unsqueeze(2)).latent_dist.mode().squeeze(2)
    return (mode - mean) / spread


CASES: dict[str, tuple[Callable[[], Any], TokenizerConfig, Coder, Coder]] = {
    "autoencoder_tiny": (
        tiny,
        TokenizerConfig(4, 8, 2, "autoencoder_tiny"),
        lambda network, frames: network.encode(frames).latents,
        lambda network, latents: network.decode(latents).sample,
    ),
    "autoencoder_kl_temporal": (
        temporal,
        TokenizerConfig(4, 32, 2, "autoencoder_kl_temporal"),
        lambda network, frames: network.encode(frames).latent_dist.mode() * 0.3,
        lambda network, latents: network.decode(latents / 0.3, num_frames=1).sample,
    ),
    "autoencoder_kl_wan": (
        wan,
        TokenizerConfig(4, 8, 1, "autoencoder_kl_wan"),
        wan_encoded,
        wan_decoded,
    ),
}


def ours(config: TokenizerConfig) -> Tokenizer:
    torch.manual_seed(1)
    return build_tokenizer(config).eval()


@pytest.mark.parametrize("name", sorted(CASES))
@pytest.mark.parametrize("part", ["", "vae"])
@torch.no_grad()
def test_a_folder_of_diffusers_is_that_network(name: str, part: str, tmp_path: Path) -> None:
    make, config, encoded, decoded = CASES[name]
    theirs = make().eval()
    theirs.save_pretrained(tmp_path / part)
    network = ours(config)
    frames = torch.rand(2, 3, 3, 16, 32) * 2 - 1
    before = network.encode(frames)
    network.take_weights(str(tmp_path))
    latents = network.encode(frames)
    assert (latents - before).abs().max() > 1e-3
    torch.testing.assert_close(latents.flatten(0, 1), encoded(theirs, frames.flatten(0, 1)))
    shown = network.decode(latents).flatten(0, 1)
    expected = decoded(theirs, latents.flatten(0, 1))
    torch.testing.assert_close(shown.clamp(-1, 1), expected.clamp(-1, 1), atol=1e-5, rtol=1e-5)


@torch.no_grad()
def test_weights_spread_over_files(tmp_path: Path) -> None:
    temporal().save_pretrained(tmp_path, max_shard_size="5MB")
    assert len(list(tmp_path.glob("*.safetensors"))) > 1
    network = ours(CASES["autoencoder_kl_temporal"][1])
    network.take_weights(str(tmp_path))
    assert network.get_buffer("scale").flatten().tolist() == pytest.approx([1 / 0.3] * 4)
    index = next(tmp_path.glob("*.index.json"))
    index.write_text(json.dumps({"weight_map": {"a": "../elsewhere.safetensors"}}))
    with pytest.raises(DataError, match="no file beside it"):
        network.take_weights(str(tmp_path))


def test_other_networks_and_sizes_are_refused(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path / "tiny")
    wan(z_dim=8).save_pretrained(tmp_path / "wide")
    wan(latents_mean=[0.0] * 3).save_pretrained(tmp_path / "few")
    network = ours(CASES["autoencoder_kl_wan"][1])
    with pytest.raises(UsageError, match="'AutoencoderTiny', expected a 'AutoencoderKLWan'"):
        network.take_weights(str(tmp_path / "tiny"))
    with pytest.raises(UsageError, match="z_dim is 8, and the model's is 4"):
        network.take_weights(str(tmp_path / "wide"))
    with pytest.raises(DataError, match="a number for each of 4 channels"):
        network.take_weights(str(tmp_path / "few"))
    with pytest.raises(UsageError, match="no folder"):
        network.take_weights(str(tmp_path / "none"))
    with pytest.raises(UsageError, match="'autoencoder' is trained here"):
        ours(TokenizerConfig(4, 8, 1)).take_weights(str(tmp_path / "tiny"))
    with pytest.raises(UsageError, match="no multiple of 32"):
        ours(TokenizerConfig(4, 8, 1, "autoencoder_kl_temporal"))


def test_pickles_and_truncated_files_are_not_read(tmp_path: Path) -> None:
    tiny().save_pretrained(tmp_path / "old", safe_serialization=False)
    assert list((tmp_path / "old").glob("*.bin"))
    tiny().save_pretrained(tmp_path / "cut")
    file = next((tmp_path / "cut").glob("*.safetensors"))
    file.write_bytes(file.read_bytes()[:-100])
    network = ours(CASES["autoencoder_tiny"][1])
    with pytest.raises(DataError, match="only safetensors are read"):
        network.take_weights(str(tmp_path / "old"))
    with pytest.raises(DataError, match="no whole|not a whole"):
        network.take_weights(str(tmp_path / "cut"))


def test_the_hub_is_asked_for_a_revision_and_for_these_files_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import huggingface_hub

    asked: list[dict[str, Any]] = []

    def download(repository: str, **options: Any) -> str:
        asked.append({"repository": repository} | options)
        if repository != "owner/tiny":
            raise OSError("no network")
        return str(tmp_path)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    tiny().save_pretrained(tmp_path / "vae")
    network = ours(CASES["autoencoder_tiny"][1])
    network.take_weights("hub:owner/tiny@v2")
    assert (asked[0]["repository"], asked[0]["revision"]) == ("owner/tiny", "v2")
    assert "vae/config.json" in asked[0]["allow_patterns"]
    assert not any(pattern.startswith("*") for pattern in asked[0]["allow_patterns"])
    with pytest.raises(UsageError, match="cannot be had from the hub") as refused:
        network.take_weights("hub:owner/other")
    assert "\n" not in str(refused.value)


def test_training_takes_them_as_they_are(tmp_path: Path) -> None:
    """Nothing is trained, and latents keep the scale that they come in."""
    data = write_square_data(tmp_path / "data", episodes=10, length=4)
    theirs = tiny()
    theirs.save_pretrained(tmp_path / "weights")
    sizes = ("name=autoencoder_tiny", "channels=4", "width=8", "depth=2")
    named = [f"model.tokenizer.{each}" for each in (*sizes, f"weights={tmp_path}/weights")]
    assert train(data, tmp_path / "run", *named, "decoder.streams=0") == 0
    assert read_json(tmp_path / "run" / "stages" / "tokenizer.json")["steps"] == 0
    kept = load_tokenizer(tmp_path / "run" / "tokenizer").state_dict()
    for name, tensor in theirs.state_dict().items():
        assert torch.equal(kept[name], tensor)
    (tmp_path / "weights" / "config.json").unlink()  # a trained model is whole without them
    model = WorldModel.from_pretrained(tmp_path / "run")
    assert torch.equal(model.normalizer.get_buffer("latent_std"), torch.ones(4))
