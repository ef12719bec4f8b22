"""A network on disk: a folder of `config.json` and `model.safetensors`, nothing executable.

The config holds plain values only; the reader decides which class it builds, never the file.
"""

import json
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from worldsim.errors import DataError
from worldsim.files import read_json, write_json
from worldsim.models.pretrained import save_weights as write_tensors

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def save_weights(folder: Path, module: nn.Module, config: dict[str, Any]) -> None:
    """Write parameters, buffers and `config` into `folder`; each file is whole or absent."""
    folder.mkdir(parents=True, exist_ok=True)
    write_tensors(module, folder / WEIGHTS)
    write_json(folder / CONFIG, config)


def read_config(folder: Path) -> dict[str, Any]:
    """The config that `save_weights` wrote.

    Raises:
        DataError: no folder, no file, or not a JSON object.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}; expected one holding {CONFIG} and {WEIGHTS}")
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise DataError(f"{folder / CONFIG} holds {json.dumps(config)[:80]}, expected an object")
    return config


def load_weights(folder: Path, module: nn.Module) -> None:
    """Fill `module` with the tensors of `folder`, every one of them and no other.

    Raises:
        DataError: the file is missing or truncated, or its tensors do not fit the module.
    """
    path = folder / WEIGHTS
    try:
        tensors: dict[str, Tensor] = load_file(path)
    except (OSError, SafetensorError) as error:
        raise DataError(f"cannot read weights {path}: {error}") from error
    expected = module.state_dict()
    wrong = sorted(set(tensors) ^ set(expected))
    wrong += sorted(
        name for name in set(tensors) & set(expected) if tensors[name].shape != expected[name].shape
    )
    if wrong:
        raise DataError(f"{path} does not fit its {CONFIG}: tensors {wrong[:4]} differ")
    module.load_state_dict(tensors)
