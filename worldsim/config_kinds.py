"""Refuses overrides whose value is of another kind than the config's own: `workers=abc`."""

from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf

from worldsim.errors import UsageError

SWITCH, NUMBER, LIST, MAPPING = "true or false", "a number", "a list", "a mapping"
SEVERAL = {"starts.seed"}
"""Keys that take one number, or a list of them."""

_EXAMPLES = {LIST: "{key}=[{value}]", MAPPING: "{key}.NAME=VALUE"}


def check_kinds(overrides: list[str], base: DictConfig, config: DictConfig) -> None:
    """Compare what overrides made of the config with what it held before.

    A switch must stay true or false, a number a number, a list a list, a mapping a mapping. What
    holds null or text may become anything, and anything may become null.

    Args:
        overrides: as typed.
        base: the config composed without the overrides of plain keys.
        config: the config composed with them.

    Raises:
        UsageError: names the key, its value and what was expected.
    """
    parser = OverridesParser.create()
    for text in overrides:
        key = parser.parse_override(text).key_or_group.replace("/", ".")
        before, after = _value(base, key), _value(config, key)
        expected = kind(before)
        several = key in SEVERAL and kind(after) == LIST
        if after is None or expected is None or kind(after) == expected or several:
            continue
        shown = OmegaConf.to_container(after) if OmegaConf.is_config(after) else after
        example = _EXAMPLES.get(expected, "").format(key=key, value=shown)
        hint = f", as in '{example}'" if example else ""
        raise UsageError(f"{key} is {shown!r}; expected {expected}{hint}")


def kind(value: Any) -> str | None:
    """What may stand in the place of `value`; None: anything."""
    if isinstance(value, bool):
        return SWITCH
    if isinstance(value, int | float):
        return NUMBER
    if OmegaConf.is_list(value):
        return LIST
    return MAPPING if OmegaConf.is_dict(value) else None


def _value(config: DictConfig, key: str) -> Any:
    """What stands at a key; None where it does not exist, or a value is still missing."""
    return OmegaConf.select(config, key, throw_on_missing=False)
