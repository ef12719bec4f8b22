"""Hydra configs to frozen dataclasses. Modules receive the dataclass, never raw YAML."""

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

from hydra import compose, initialize_config_module
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from worldsim.config.groups import leaves, set_by_experiment
from worldsim.config.overrides import (
    check_overrides,
    for_hydra,
    group_overrides,
    keep_texts,
    open_mappings,
    unknown_key,
)
from worldsim.config.values import read_dataclass
from worldsim.errors import UsageError

T = TypeVar("T")


def compose_config(name: str, overrides: list[str]) -> DictConfig:
    """Compose `configs/<name>.yaml` with Hydra overrides such as `model=dit trainer.max_steps=9`.

    Raises:
        UsageError: a group, option or key does not exist, or a value cannot be parsed.
    """
    overrides = keep_texts(overrides)
    check_overrides(name, overrides)
    try:
        config = _compose_filled(name, overrides)
        OmegaConf.resolve(config)
        return config
    except (HydraException, OmegaConfBaseException) as error:
        raise _explain(name, overrides, error) from error


def stated_keys(overrides: list[str], group: str) -> frozenset[str]:
    """Keys below `group` that were given values, on the command line or by its experiment.

    What a config holds beside them are defaults that nobody asked for.

    Returns:
        Dotted names; the group's own name where one of its options was chosen.
    """
    found: set[str] = set()
    for override in OverridesParser.create().parse_overrides(overrides):
        key, value = override.key_or_group, override.value()
        if key == "experiment" and isinstance(value, str):
            found |= set_by_experiment(value)
        else:
            found |= leaves(key, value)
    return frozenset(name for name in found if name.split(".")[0] == group)


def _compose_filled(name: str, overrides: list[str]) -> DictConfig:
    """Compose, with keys of empty mappings given as plainly as all others."""
    try:
        return _compose(name, overrides)
    except HydraException:
        filled = open_mappings(overrides, _compose(name, group_overrides(name, overrides)))
        if filled == overrides:
            raise
        return _compose(name, filled)


def _compose(name: str, overrides: list[str]) -> DictConfig:
    GlobalHydra.instance().clear()
    taken, after = for_hydra(name, overrides)
    with initialize_config_module("worldsim.configs", version_base="1.3"):
        config = compose(name, overrides=taken)
    for key, value in after.items():
        OmegaConf.update(config, key, value, force_add=True)
    return config


def _explain(name: str, overrides: list[str], error: Exception) -> UsageError:
    """The most helpful message for a failed composition: the wrong key, or Hydra's own words."""
    with suppress(HydraException, OmegaConfBaseException):
        known = _compose(name, group_overrides(name, overrides))
        if (found := unknown_key(name, overrides, known)) is not None:
            return found
    said = str(error).split("Config search path")[0]
    text = " ".join(line.strip() for line in said.splitlines() if line.strip())
    return UsageError(f"config {name!r} with {overrides}: {text}")


def build(
    cls: type[T],
    config: DictConfig | Mapping[str, Any],
    where: str = "",
    file: Path | None = None,
) -> T:
    """Build the frozen dataclass `cls` from a config node, nested dataclasses included.

    Args:
        cls: says by its types, and their limits (`worldsim.config.limits`), what is accepted.
        config: the node.
        where: key of the node in the config, which comes before those of its values in messages.
        file: where the node was read from, which comes before that.

    Raises:
        UsageError: a key is unknown, missing, or its value does not fit; names the key.
    """
    data = OmegaConf.to_container(config, resolve=True) if OmegaConf.is_config(config) else config
    assert isinstance(data, Mapping)
    try:
        built: T = read_dataclass(cls, {str(key): value for key, value in data.items()}, where)
        return built
    except UsageError as error:
        raise error if file is None else UsageError(f"{file}: {error}") from error
