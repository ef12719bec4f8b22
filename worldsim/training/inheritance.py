"""Sizes of a run that builds on earlier ones: those of what it takes over hold.

What nobody stated becomes as it is there; what was stated otherwise is refused, since it could
not be followed.
"""

import copy
from collections.abc import Callable, Collection, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from worldsim.errors import UsageError
from worldsim.models.world_model import trained_config
from worldsim.training.layout import RunFolder
from worldsim.training.tokenizer_folder import tokenizer_config

CONTEXT = ("recent", "sink")
"""Keys of `model` that a model trained further may have otherwise."""
LEARNT = ("ladder", "calibrated")
"""Those that say what it was trained for, which training decides."""


@dataclass(frozen=True)
class Inheritance:
    """Sizes that hold in a run because it takes over what has them.

    Attributes:
        option: by which they were taken over, such as `start_from=runs/push`.
        sizes: {key of `model`, dotted: value}.
    """

    option: str
    sizes: dict[str, Any]


def inherited(config: DictConfig, stated: Collection[str]) -> DictConfig:
    """The config of a run with the sizes of what it takes over.

    Args:
        config: a composed `configs/train.yaml`; it is left as it is.
        stated: keys of `model` that were given values, see `worldsim.config.compose.stated_keys`.

    Raises:
        UsageError: a stated size differs from that of what is taken over, or that is not there.
    """
    config = copy.deepcopy(config)
    for source in _sources(config):
        wrong = []
        for name, value in source.sizes.items():
            key = f"model.{name}"
            given = OmegaConf.select(config, key, default=value)
            if given == value:
                continue
            if not _is_stated(key, stated):
                OmegaConf.update(config, key, value)
            elif name not in CONTEXT:
                wrong.append(f"{key}={_shown(given)} (there {_shown(value)})")
        if wrong:
            raise UsageError(
                f"{source.option} brings its own sizes, and these were asked to be others: "
                f"{', '.join(wrong)}. Leave them out of command line and experiment, and its own "
                "hold; for others train afresh (reuse=FOLDER takes a tokenizer over), or, where "
                "only model.dynamics differs, begin with it by transfer_from="
            )
    return config


def _sources(config: DictConfig) -> Iterator[Inheritance]:
    """What the run takes over, as `worldsim.training.parents.Parents` does."""
    if config.start_from:
        yield _of_model("start_from", str(config.start_from), lambda _: True)
        return
    if config.transfer_from:
        yield _of_model("transfer_from", str(config.transfer_from), _is_not_dynamics)
    elif config.reuse:
        yield Inheritance(f"reuse={config.reuse}", _tokenizer_sizes(Path(config.reuse)))
    if config.reuse and config.dynamics.keep:
        yield _of_model("reuse", str(config.reuse), lambda name: not _is_not_dynamics(name))


def _of_model(option: str, reference: str, holds: Callable[[str], bool]) -> Inheritance:
    sizes = _flat({k: v for k, v in asdict(trained_config(reference)).items() if k not in LEARNT})
    kept = {name: value for name, value in sizes.items() if holds(name)}
    return Inheritance(f"{option}={reference}", kept)


def _tokenizer_sizes(reference: Path) -> dict[str, Any]:
    folder = RunFolder(reference).tokenizer
    if folder.is_dir():
        return _flat({"autoencoder": asdict(tokenizer_config(folder))})
    return _flat({"autoencoder": asdict(trained_config(reference).autoencoder)})


def _is_not_dynamics(name: str) -> bool:
    return not name.startswith("dynamics.")


def _flat(sizes: dict[str, Any], above: str = "") -> dict[str, Any]:
    """Nested sizes by dotted names."""
    found: dict[str, Any] = {}
    for name, value in sizes.items():
        nested = isinstance(value, dict)
        found |= _flat(value, f"{above}{name}.") if nested else {f"{above}{name}": value}
    return found


def _is_stated(key: str, stated: Collection[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in stated)


def _shown(value: Any) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
