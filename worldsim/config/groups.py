"""What can be configured: command files, their default choices, and the options of each group.

Reads the YAML files by themselves, without Hydra, so that help stays fast and error messages
can name what exists even when nothing composes.
"""

from dataclasses import dataclass
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Any

from omegaconf import OmegaConf

from worldsim.errors import unknown_name


@dataclass(frozen=True)
class CommandFile:
    """A primary config, `configs/<name>.yaml`.

    Attributes:
        text: the file after its defaults list, comments included.
        groups: chosen option (or None) of each group in its defaults list.
        keys: its own top-level keys.
    """

    text: str
    groups: dict[str, str | None]
    keys: tuple[str, ...]


def read_command_file(name: str) -> CommandFile:
    """Parse `configs/<name>.yaml`.

    Raises:
        UsageError: there is no such file.
    """
    path = _root().joinpath(f"{name}.yaml")
    if not path.is_file():
        raise unknown_name("config", name, _stems(_root()))
    text = path.read_text(encoding="utf-8")
    data = _plain(text)
    groups: dict[str, str | None] = {}
    for entry in data.pop("defaults", []):
        if isinstance(entry, dict):
            ((group, choice),) = entry.items()
            groups[_group(group)] = choice
    return CommandFile(_without_defaults(text), groups, tuple(data))


def group_options(group: str) -> tuple[str, ...]:
    """Names that `group=NAME` accepts; empty if there is no such group."""
    folder = _root()
    for part in group.split("@")[0].split("/"):
        folder = folder.joinpath(part)
    return _stems(folder) if folder.is_dir() else ()


def options_of(command: str, group: str) -> tuple[str, ...]:
    """Names that `worldsim <command> group=NAME` accepts.

    An experiment is for the commands that have all groups and keys which it sets.
    """
    options = group_options(group)
    if group != "experiment":
        return options
    file = read_command_file(command)
    known = {*file.groups, *file.keys}
    return tuple(
        name for name in options if {key.split(".")[0] for key in set_by_experiment(name)} <= known
    )


def set_by_experiment(experiment: str) -> frozenset[str]:
    """Dotted names of the keys that an experiment sets, with those of what it builds on.

    A group of which it chooses an option is among them by its own name.
    """
    data = _plain(_root().joinpath("experiment", f"{experiment}.yaml").read_text("utf-8"))
    found: set[str] = set()
    for entry in data.pop("defaults", []):
        if isinstance(entry, dict):
            found |= {_group(name) for name in entry}
        elif entry != "_self_":
            found |= set_by_experiment(entry)
    return frozenset(found.union(*(leaves(key, value) for key, value in data.items())))


def _group(entry: str) -> str:
    """The group that an entry of a defaults list chooses an option of."""
    return entry.removeprefix("override ").removeprefix("optional ").lstrip("/")


def leaves(key: str, value: Any) -> set[str]:
    """Dotted names of the plain values in `value`, which stands at `key`."""
    if not isinstance(value, dict) or not value:
        return {key}
    return set().union(*(leaves(f"{key}.{name}", inner) for name, inner in value.items()))


def _plain(text: str) -> Any:
    return OmegaConf.to_container(OmegaConf.create(text), resolve=False)


def _root() -> Traversable:
    return files("worldsim.configs")


def _stems(folder: Traversable) -> tuple[str, ...]:
    names = (entry.name for entry in folder.iterdir())
    return tuple(sorted(name.removesuffix(".yaml") for name in names if name.endswith(".yaml")))


def _without_defaults(text: str) -> str:
    """Drop the `defaults:` block and a `# @package` line; keep everything else as written."""
    kept: list[str] = []
    inside = False
    for line in text.splitlines():
        if line.startswith("defaults:"):
            inside = True
        elif inside and (not line.strip() or line[0] in " -"):
            continue
        else:
            inside = False
            if not line.startswith("# @package"):
                kept.append(line)
    return "\n".join(kept).strip()
