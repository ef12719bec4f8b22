"""Options of a command, held to what they may be before any work begins."""

from collections.abc import Mapping, Sequence
from importlib import import_module
from numbers import Real
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from worldsim.config.compose import build, compose_config
from worldsim.config.values import keys_of, read_value, takes_text
from worldsim.errors import unknown_name


def settings_of(command: str) -> Any:
    """The dataclass `Settings` of a command's keys.

    It stands beside the command's `run`, or in `worldsim.cli.settings.<command>` where it needs
    modules that are slow to import.
    """
    module = import_module(f"worldsim.cli.{command}")
    if not hasattr(module, "Settings"):
        module = import_module(f"worldsim.cli.settings.{command}")
    return module.Settings


def check_options(command: str, config: DictConfig, overrides: Sequence[str] = ()) -> None:
    """Refuse a composed config before anything is opened, written or computed.

    Its keys are those of the command's `Settings`. A key of the command's file
    that is not named there yet must be of the kind that stands in the file.

    Args:
        command: whose config it is.
        config: what was composed. A name or path that looks like a number (`dataset=2026_11_26`)
            is put back into it as it was typed.
        overrides: as typed.

    Raises:
        UsageError: names the key, what was given and what was expected.
    """
    settings = settings_of(command)
    for text in overrides:
        override = OverridesParser.create().parse_override(text)
        key, typed = override.key_or_group, text.partition("=")[2].strip()
        if isinstance(override.value(), Real) and takes_text(settings, key.split(".")):
            OmegaConf.update(config, key, typed)
    plain = OmegaConf.to_container(config, resolve=True)
    assert isinstance(plain, dict)
    check_values(command, plain)


def check_values(command: str, plain: Mapping[Any, Any]) -> None:
    """`check_options` of a config in plain values."""
    settings = settings_of(command)
    own = keys_of(settings)
    build(settings, {str(key): value for key, value in plain.items() if key in own})
    if others := [str(key) for key in plain if key not in own]:
        default = OmegaConf.to_container(compose_config(command, []))
        assert isinstance(default, dict)
        for key in others:
            if key not in default:
                raise unknown_name("key", key, [*own, *map(str, default)])
            _check_kind(default[key], plain[key], key)


def _check_kind(default: Any, value: Any, key: str) -> None:
    """Hold a value to the kind of another; null says nothing of it."""
    if isinstance(default, dict):
        read_value(Mapping, value, key)
        for name in value:
            _check_kind(default.get(name), value[name], f"{key}.{name}")
    elif default is not None:
        read_value(Sequence if isinstance(default, list) else type(default), value, key)
