"""Models that older versions wrote still load, and later ones are refused in a line."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from worldsim_testing import nano_model

from worldsim.errors import UsageError
from worldsim.files import read_json, write_json
from worldsim.models.migrate import CONFIG_VERSION
from worldsim.models.pretrained import SHIPPED
from worldsim.models.world_model import TABLETOP, WorldModel, trained_config

OLD_NAMES = {
    "dynamics.step_size": "dynamics.step",
    "denoiser.conditioner.state.weight": "denoiser.conditioner.body.weight",
    "denoiser.conditioner.state.bias": "denoiser.conditioner.body.bias",
}


def as_first_version(folder: Path, *, bodies: bool = True) -> None:
    """Rewrite a saved model as the first version wrote it."""
    data = read_json(folder / "config.json")
    config = data["config"] | {"bodies": bodies}
    del data["config_version"], config["dynamics"]["name"]
    del config["conditioners"], config["condition_on_state"], config["memory"]
    config["autoencoder"] = config.pop("tokenizer")
    data["config"] = config
    write_json(folder / "config.json", data)
    tensors = load_file(folder / "model.safetensors")
    old = {OLD_NAMES.get(name, name): tensor.clone() for name, tensor in tensors.items()}
    save_file(old, folder / "model.safetensors")


def test_the_first_version_loads_as_the_same_model(tmp_path: Path) -> None:
    model = nano_model()
    model.save_pretrained(tmp_path)
    as_first_version(tmp_path)
    loaded = WorldModel.from_pretrained(tmp_path)
    assert loaded.config == model.config == trained_config(tmp_path)
    for name, tensor in model.state_dict().items():
        assert torch.equal(loaded.state_dict()[name], tensor), name


def test_a_first_version_without_any_state_is_refused_in_one_line(tmp_path: Path) -> None:
    nano_model().save_pretrained(tmp_path)
    as_first_version(tmp_path, bodies=False)
    with pytest.raises(
        UsageError, match=r"train it again with model\.conditioners=\[\]"
    ) as refusal:
        WorldModel.from_pretrained(tmp_path)
    assert "\n" not in str(refusal.value)


@pytest.mark.parametrize("version", [CONFIG_VERSION + 1, 0, "two"])
def test_another_version_is_refused_in_one_line(tmp_path: Path, version: object) -> None:
    nano_model().save_pretrained(tmp_path)
    data = read_json(tmp_path / "config.json")
    write_json(tmp_path / "config.json", data | {"config_version": version})
    with pytest.raises(UsageError, match="config_version") as refusal:
        WorldModel.from_pretrained(tmp_path)
    assert "update worldsim" in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("name", ["push", "pick_place", "shuttle"])
def test_shipped_models_are_of_contact(name: str) -> None:
    config = trained_config(SHIPPED / name)
    assert config.dynamics.name == "contact" and config.conditioners == TABLETOP
