"""Model folders: config.json and model.safetensors, written whole; never pickled code."""

from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from worldsim.errors import DataError, UsageError
from worldsim.files import read_json, write_json

SHIPPED = Path(__file__).resolve().parent / "pretrained"
SHIPPED_PREFIX = "shipped/"


def resolve_folder(reference: str | Path, revision: str | None = None) -> Path:
    """The local folder of a model.

    Args:
        reference: a folder, `shipped/<name>` for what the package carries, or a Hugging Face
            hub id `owner/name`.
        revision: branch, tag or commit on the hub.

    Raises:
        UsageError: nothing of that name exists.
    """
    text = str(reference)
    if text.startswith(SHIPPED_PREFIX):
        folder = SHIPPED / text.removeprefix(SHIPPED_PREFIX)
        if (folder / "config.json").is_file():
            return folder
        names = sorted(p.name for p in SHIPPED.glob("*") if p.is_dir())
        raise UsageError(f"no shipped model {text!r}; this package carries {names}")
    if Path(reference).is_dir():
        return Path(reference)
    if text.count("/") == 1 and not text.startswith((".", "/", "~")):
        return _from_hub(text, revision)
    raise UsageError(
        f"no model folder at {text!r}; expected a folder with config.json and model.safetensors, "
        f"'{SHIPPED_PREFIX}<name>', or a hub id 'owner/name'"
    )


def _from_hub(repository: str, revision: str | None) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        return Path(
            snapshot_download(
                repository,
                revision=revision,
                allow_patterns=["*.json", "*.safetensors", "README.md"],
            )
        )
    except (HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise UsageError(
            f"{repository!r} is neither a local folder nor reachable on the hub "
            f"({type(error).__name__}); check the path or the network"
        ) from error


def save_weights(module: nn.Module, path: Path, dtype: torch.dtype | None = None) -> None:
    """Write a module's tensors to a safetensors file, whole or not at all.

    Args:
        dtype: store floating tensors in this precision (float16 halves a shipped file).
    """
    from worldsim.files import atomic_path

    tensors: dict[str, Tensor] = {}
    for name, tensor in module.state_dict().items():
        plain = tensor.detach().cpu()
        if dtype is not None and plain.is_floating_point():
            plain = plain.to(dtype)
        tensors[name] = plain.contiguous()
    with atomic_path(path) as temporary:
        save_file(tensors, str(temporary))


def load_weights(module: nn.Module, path: Path) -> None:
    """Fill a module from a safetensors file, keeping the module's own precision.

    Raises:
        DataError: the file is missing, truncated, or does not fit the module.
    """
    if not path.is_file():
        raise DataError(f"no weights at {path}")
    try:
        tensors = load_file(str(path))
        module.load_state_dict(tensors)
    except SafetensorError as error:
        raise DataError(f"{path} is not a whole safetensors file ({error})") from error
    except RuntimeError as error:
        text = " ".join(str(error).split())[:400]
        raise DataError(f"{path} does not fit the model its config describes: {text}") from error


def save_config(folder: Path, kind: str, data: dict[str, Any]) -> None:
    """Write config.json naming what the folder holds."""
    write_json(folder / "config.json", {"worldsim": kind, **data})


def load_config(folder: Path, kind: str) -> dict[str, Any]:
    """Read config.json.

    Raises:
        DataError: it is missing or is not JSON.
        UsageError: the folder holds something else than `kind`.
    """
    data = read_json(folder / "config.json")
    found = data.pop("worldsim", None) if isinstance(data, dict) else None
    if found != kind:
        raise UsageError(f"{folder} holds {found!r}, expected a {kind!r}")
    return dict(data)
