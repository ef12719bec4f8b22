"""A network on disk: a folder of `config.json` and `model.safetensors`, nothing executable.

The config holds plain values only; the reader decides which class it builds, never the file.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import torch
from dacite import Config as DaciteConfig
from dacite import DaciteError, from_dict
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from worldsim.errors import DataError, UsageError
from worldsim.files import atomic_path, read_json, write_json
from worldsim.models.migrate import migrated_weights

Shape = TypeVar("Shape")

WEIGHTS = "model.safetensors"
CONFIG = "config.json"


def save_weights(
    module: nn.Module, path: Path, dtype: torch.dtype | None = None, exact: tuple[str, ...] = ()
) -> None:
    """Write a module's tensors to a safetensors file, whole or not at all.

    Args:
        dtype: store floating tensors in this precision (float16 halves a shipped file).
        exact: tensors whose names begin so keep theirs.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        plain = tensor.detach().cpu()
        if dtype is not None and plain.is_floating_point() and not name.startswith(exact):
            plain = plain.to(dtype)
        tensors[name] = plain.contiguous()
    with atomic_path(path) as temporary:
        save_file(tensors, str(temporary))
        temporary.chmod(0o644)  # safetensors leaves files that only their owner reads


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module from a safetensors file, keeping the module's own precision.

    Names of older versions are migrated, see `worldsim.models.migrate`.

    Raises:
        DataError: the file is missing, truncated, or does not fit the module.
    """
    if not path.is_file():
        raise DataError(f"no weights at {path}")
    try:
        module.load_state_dict(migrated_weights(load_file(str(path))))
    except SafetensorError as error:
        raise DataError(f"{path} is not a whole safetensors file ({error})") from error
    except RuntimeError as error:
        text = " ".join(str(error).split())[:400]
        raise DataError(f"{path} does not fit the model its config describes: {text}") from error


def read_config(folder: Path) -> dict[str, Any]:
    """The config.json of a folder.

    Raises:
        DataError: no folder, no file, or not a JSON object.
    """
    if not folder.is_dir():
        raise DataError(f"no such folder: {folder}; expected one holding {CONFIG} and {WEIGHTS}")
    config = read_json(folder / CONFIG)
    if not isinstance(config, dict):
        raise DataError(f"{folder / CONFIG} holds {json.dumps(config)[:80]}, expected an object")
    return config


def shape_of(kind: type[Shape], config: Mapping[str, Any], where: Path | str, what: str) -> Shape:
    """The shape of a network, a dataclass `kind`, from the plain values of its config.

    Args:
        kind: which dataclass.
        config: its fields.
        where: what was read, for the error.
        what: the network in words, for the error.

    Raises:
        DataError: a field is missing, unknown or of another type.
    """
    try:
        return from_dict(kind, config, DaciteConfig(cast=[tuple], strict=True))
    except (DaciteError, TypeError) as error:
        raise DataError(f"{where} does not describe {what}: {error}") from error


def save_config(folder: Path, kind: str, data: dict[str, Any]) -> None:
    """Write config.json naming what the folder holds."""
    write_json(folder / CONFIG, {"worldsim": kind, **data})


def load_config(folder: Path, kind: str) -> dict[str, Any]:
    """Read config.json.

    Raises:
        DataError: it is missing or is no JSON object.
        UsageError: the folder holds something else than `kind`.
    """
    data = read_config(folder)
    found = data.pop("worldsim", None)
    if found != kind:
        raise UsageError(f"{folder} holds {found!r}, expected a {kind!r}")
    return data
