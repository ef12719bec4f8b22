"""Policy networks on disk and in the package, and where to find them by name.

A folder holds `config.json` (what network, its shape, the world it was made for) and
`model.safetensors` in half precision. What ships lies in `worldsim/policies/checkpoints/`.
"""

import fnmatch
import re
from glob import glob
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any

import torch
from torch import nn

from worldsim.config.limits import Limit
from worldsim.errors import DataError, UsageError, unknown_name
from worldsim.files import write_json
from worldsim.models.pretrained import HUB_PREFIX, locate
from worldsim.models.weights import CONFIG, WEIGHTS, read_config, save_weights
from worldsim.spec import WorldSpec


def shipped_root() -> Path:
    """Folder of the checkpoints inside the package."""
    return Path(str(files("worldsim.policies"))) / "checkpoints"


def shipped_checkpoints() -> list[str]:
    """Names such as `push/bc_1` of what ships."""
    root = shipped_root()
    return sorted(str(path.parent.relative_to(root)) for path in root.rglob(CONFIG))


def find_checkpoint(name: str) -> Path:
    """A folder given by path, by the name of a checkpoint that ships, or `hub:owner/name`.

    Raises:
        UsageError: there is none; the message lists what ships.
    """
    if not name:
        raise UsageError("give a policy checkpoint: a folder or the name of a shipped one")
    if name.startswith(HUB_PREFIX):
        return locate(name)
    for folder in (Path(name), shipped_root() / name):
        if (folder / CONFIG).is_file():
            return folder
    if Path(name).is_dir():
        raise UsageError(f"{name} is no policy checkpoint: it holds no {CONFIG}")
    raise unknown_name("policy checkpoint (no such folder either)", name, shipped_checkpoints())


def matching_checkpoints(pattern: str) -> dict[str, str]:
    """{name: checkpoint} of several checkpoints, in the order of the numbers in their names.

    Args:
        pattern: of folders, as in a shell (`runs/p/behaviour/step_*`), or of names of checkpoints
            that ship (`push/bc_*`).

    Raises:
        UsageError: it finds none, or two of one name.
    """
    folders = [path for path in glob(pattern) if (Path(path) / CONFIG).is_file()]
    found = folders or fnmatch.filter(shipped_checkpoints(), pattern)
    named = {Path(path).name: path for path in sorted(found, key=_by_number)}
    if not named:
        raise UsageError(
            f"checkpoints={pattern!r} finds no policy checkpoint; expected a pattern of folders, "
            "such as 'runs/policies/behaviour/step_*', or of names that ship, such as 'push/bc_*'"
        )
    if len(named) < len(found):
        raise UsageError(
            f"checkpoints={pattern!r} finds {len(found)} policy checkpoints of {len(named)} names "
            f"({', '.join(named)}); a name stands for one policy, so take one folder's"
        )
    return named


def _by_number(path: str) -> list[str]:
    """A sort key by which step_500 comes before step_1000."""
    return [part.zfill(12) if part.isdigit() else part for part in re.split(r"(\d+)", path)]


Checkpoint = Annotated[
    str, Limit("a policy checkpoint", lambda name: find_checkpoint(name).is_dir())
]
"""Folder or name of a checkpoint."""
CheckpointOrNone = Annotated[
    str, Limit("a policy checkpoint", lambda name: not name or find_checkpoint(name).is_dir())
]
"""The same, or empty text for none."""


def save_checkpoint(
    folder: Path, module: nn.Module, kind: str, config: dict[str, Any], spec: WorldSpec
) -> None:
    """Write `module` in half precision, which costs a policy nothing it could tell.

    Args:
        folder: where to.
        module: the network.
        kind: which loader reads it ("behaviour", "perception").
        config: plain values that rebuild the network.
        spec: the world it was trained in.
    """
    description = {"kind": kind, **config, "spec": spec.to_json()}
    save_weights(module, folder / WEIGHTS, torch.float16)
    write_json(folder / CONFIG, description)


def read_checkpoint(folder: Path, kind: str) -> tuple[dict[str, Any], WorldSpec]:
    """The config and world of a checkpoint of the wanted `kind`.

    Raises:
        DataError: missing or broken files, or a checkpoint of another kind.
    """
    config = read_config(folder)
    if config.get("kind") != kind:
        raise DataError(f"{folder} is a {config.get('kind')!r} checkpoint, expected {kind!r}")
    if not isinstance(config.get("spec"), dict):
        raise DataError(f"{folder / CONFIG} has no world spec")
    return config, WorldSpec.from_json(config["spec"])
