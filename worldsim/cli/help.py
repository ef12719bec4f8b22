"""Help texts, made from each command's own words and its config file, without importing torch."""

import ast
from importlib.resources import files

from worldsim.cli.commands import COMMANDS
from worldsim.config_groups import group_options, read_command_file

OVERRIDES = """\
How overrides work:
  key=value            change a value, dots for nesting: trainer.max_steps=2000
  group=option         choose a file of configs/<group>/: experiment=push_tiny
  'key=[a,b]'          lists and dictionaries, quoted for the shell
  --config             print the composed configuration and stop
"""


def overview() -> str:
    """`worldsim --help`."""
    lines = [f"  {name:<9} {command.summary}" for name, command in COMMANDS.items()]
    return (
        "usage: worldsim COMMAND [key=value ...]\n\n"
        "Train a world model on recorded episodes, roll policies out in its imagination,\n"
        "rank them, and check the ranking against the simulator.\n\n"
        "commands:\n" + "\n".join(lines) + "\n\n"
        "options:\n"
        "  --help     this text, or with a command its keys and examples\n"
        "  --config   with a command: print the composed configuration and stop\n"
        "  --version  print the version\n\n"
        "`worldsim COMMAND --help` shows examples. Start with `worldsim doctor`.\n"
    )


def command_help(name: str) -> str:
    """`worldsim <name> --help`: what it does, examples, groups, keys with defaults."""
    words = _words(name)
    file = read_command_file(name)
    actions = "|".join(COMMANDS[name].actions)
    usage = f"usage: worldsim {name} {actions + ' ' if actions else ''}[key=value ...]"
    parts = [usage, words["DESCRIPTION"].strip(), "examples:\n" + _indent(words["EXAMPLES"])]
    if file.groups:
        parts.append("groups:\n" + "\n".join(_group_lines(file.groups)))
    if file.text:
        parts.append(f"keys and defaults (configs/{name}.yaml):\n" + _indent(file.text))
    return "\n\n".join([*parts, OVERRIDES])


def _words(name: str) -> dict[str, str]:
    """DESCRIPTION and EXAMPLES of a command, read without importing it: imports cost seconds."""
    source = files("worldsim.cli").joinpath(f"{name}.py").read_text(encoding="utf-8")
    return {
        node.targets[0].id: node.value.value
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant)
        and isinstance(node.value.value, str)
    }


def _indent(text: str) -> str:
    return "\n".join(f"  {line}".rstrip() for line in text.strip().splitlines())


def _group_lines(groups: dict[str, str | None]) -> list[str]:
    return [
        f"  {group}={choice or 'null'}   one of: {', '.join(group_options(group)) or '(none)'}"
        for group, choice in groups.items()
    ]
