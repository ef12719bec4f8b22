"""What is typed on the command line: refused in one sentence, or put as Hydra wants it.

Names of files and folders stay as they were typed: a folder called 20261126 would become a
number, and 2026_11_26 the same one. Mappings that the configs leave empty take any key.
"""

import re
from collections.abc import Sequence
from difflib import get_close_matches
from typing import Any

from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf

from worldsim.config.groups import (
    CommandFile,
    group_options,
    options_of,
    read_command_file,
)
from worldsim.errors import UsageError, unknown_name

TEXT_KEYS = frozenset(
    {"also", "cache", "checkpoint", "csv", "dataset", "judge", "model", "name", "out", "path"}
    | {"reuse", "root", "roots", "source", "start_from", "title", "transfer_from"}
)
"""Last parts of the keys whose values are names or paths, or lists of them."""
_WORD = re.compile(r"[\w.+-]+")


def check_overrides(command: str, overrides: list[str]) -> None:
    """Refuse what can be seen to be wrong before composing: syntax and unknown group options.

    Raises:
        UsageError: says which override is wrong and what is accepted instead.
    """
    file = read_command_file(command)
    for text in overrides:
        _check_syntax(text)
        key, value = _split(text)
        options = options_of(command, key) if key in file.groups else ()
        if key == "experiment" and value in set(group_options(key)) - set(options):
            raise UsageError(
                f"experiment {value} is not one of `worldsim {command}`; those are: "
                + (", ".join(options) or "none")
            )
        if options and value not in {*options, "null"} and not text.startswith("~"):
            raise unknown_name(f"option of {key!r}", value, options)


def unknown_key(command: str, overrides: list[str], base: DictConfig) -> UsageError | None:
    """Find the override whose key does not exist and say what was probably meant.

    Args:
        command: the primary config's name.
        overrides: as typed.
        base: the config composed without the overrides of plain keys.

    Returns:
        The error to raise, or None if every key exists.
    """
    file = read_command_file(command)
    for text in overrides:
        key, _ = _split(text)
        if text.startswith("+") or key in file.groups:
            continue
        error = _missing_part(key, base, file)
        if error is not None:
            return error
    return None


def group_overrides(command: str, overrides: list[str]) -> list[str]:
    """The overrides that choose an option of a group, which decide what keys there are."""
    groups = read_command_file(command).groups
    return [text for text in overrides if _split(text)[0] in groups]


def for_hydra(command: str, overrides: list[str]) -> tuple[list[str], dict[str, Any]]:
    """Overrides as Hydra takes them, and the values that are to be set by key afterwards.

    Hydra does not take `group=null` as it stands. It takes every `model=X` for a choice of group
    `model`, where such a group exists at all; in `worldsim rank` it is a folder.
    """
    file = read_command_file(command)
    plain = {key for key in file.keys if key not in file.groups and group_options(key)}
    taken: list[str] = []
    after: dict[str, Any] = {}
    for text in overrides:
        key, value = _split(text)
        if key in file.groups and value == "null" and text[0] != "~":
            if file.groups[key] is not None and key not in after:
                taken.append(f"~{key}")
                after[key] = None
        elif key in plain and text[0] not in "+~":
            after[key] = OverridesParser.create().parse_override(text).value()
        else:
            taken.append(text)
    return taken, after


def _check_syntax(text: str) -> None:
    if "=" not in text and not text.startswith("~"):
        raise UsageError(
            f"{text!r} is not an override; write key=value (or group=option), as in `out=runs/a`"
        )
    try:
        OverridesParser.create().parse_override(text)
    except HydraException as error:
        raise UsageError(
            f"cannot parse the override {text!r}; put values with '=', spaces, brackets or commas "
            f"in quotes for both shell and config, as in 'key=\"a=b\"' or 'key=[1,2]'"
        ) from error


def _split(text: str) -> tuple[str, str]:
    key, _, value = text.partition("=")
    return key.lstrip("+~").strip(), value.strip().strip("'\"")


def _missing_part(key: str, base: DictConfig, file: CommandFile) -> UsageError | None:
    node: Any = base
    path: list[str] = []
    for part in key.split("."):
        if OmegaConf.is_list(node) or part in (known := _keys(node)):
            node = None if OmegaConf.is_list(node) else OmegaConf.select(node, part)
            path.append(part)
            continue
        if not path:
            return _unknown_top_level(key, {*known, *file.groups}, file)
        where = ".".join(path)
        return unknown_name("config key", key, [f"{where}.{name}" for name in known])
    return None


def _unknown_top_level(key: str, known: set[str], file: CommandFile) -> UsageError:
    error = unknown_name("config key", key, known)
    near = get_close_matches(key, sorted(known), n=1)
    if near and near[0] in file.groups:
        options = ", ".join(group_options(near[0])) or "none yet"
        return UsageError(f"{error}. Options of {near[0]!r}: {options}")
    return error


def _keys(node: Any) -> list[str]:
    return [str(key) for key in node] if OmegaConf.is_dict(node) else []


def open_mappings(overrides: Sequence[str], base: DictConfig) -> list[str]:
    """Overrides as Hydra wants them where they set or fill a mapping that is empty in the config.

    `env.source_kwargs={seed: 3}` and `factors.light=1` need no `+`: what stands before the keys is
    there, and empty in order to be filled.

    Args:
        overrides: as typed.
        base: the config composed without the overrides of plain keys.
    """
    return [f"++{text}" if _fills(text, base) else text for text in overrides]


def _fills(text: str, base: DictConfig) -> bool:
    key, _, value = text.partition("=")
    if text[0] in "+~" or not value:
        return False
    node = base
    for part in key.strip().split("."):
        if not OmegaConf.is_dict(node):
            return False
        if not node:
            return True
        node = OmegaConf.select(node, part, throw_on_missing=False)
    return OmegaConf.is_dict(node) and not node and value.strip().startswith("{")


def keep_texts(overrides: list[str]) -> list[str]:
    """Overrides with those names quoted that Hydra would read as numbers or switches."""
    return [_kept(text) for text in overrides]


def _kept(text: str) -> str:
    key, sign, value = text.partition("=")
    if key.split(".")[-1].strip().lstrip("+~") not in TEXT_KEYS:
        return text
    bare = value.strip()
    if bare.startswith("[") and bare.endswith("]"):
        items = ",".join(_quoted(item.strip()) for item in bare[1:-1].split(","))
        return f"{key}{sign}[{items}]"
    return f"{key}{sign}{_quoted(bare)}" if bare else text


def _quoted(word: str) -> str:
    """`word` in quotes if it is a single one that would be no text, and not null."""
    if not _WORD.fullmatch(word) or word == "null":
        return word
    try:
        value = OverridesParser.create().parse_override(f"key={word}").value()
    except HydraException:
        return word
    return word if isinstance(value, str) else f"'{word}'"
