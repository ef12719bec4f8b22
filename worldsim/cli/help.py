"""Help texts, made from each command's own words and its config file, without importing torch."""

import ast
from importlib.resources import files
from itertools import groupby
from textwrap import wrap

from worldsim.cli.commands import COMMANDS
from worldsim.config.groups import group_options, options_of, read_command_file

WIDTH = 79

HOW = "How overrides work:"
VALUE = "  key=value            change a value, dots for nesting: a.b=2000"
GROUP = "  group=option         choose a file of configs/<group>/: {group}={option}"
REST = """\
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
    examples = "\n".join(map(_broken_command, words["EXAMPLES"].strip().splitlines()))
    description = wrap(words["DESCRIPTION"].strip(), WIDTH)
    parts = [usage, "\n".join(description), "examples:\n" + _indent(examples)]
    if file.groups:
        parts.append("groups:\n" + "\n".join(_group_lines(name, file.groups)))
    if file.text:
        keys = "\n".join(_reflowed(file.text.strip().splitlines(), WIDTH - 2))
        parts.append(f"keys and defaults (configs/{name}.yaml):\n" + _indent(keys))
    return "\n\n".join([*parts, _overrides(file.groups)])


def _overrides(groups: dict[str, str | None]) -> str:
    lines = [HOW, VALUE]
    if groups:
        group = next(iter(groups))
        lines.append(GROUP.format(group=group, option=group_options(group)[0]))
    return "\n".join([*lines, REST])


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


def _group_lines(command: str, groups: dict[str, str | None]) -> list[str]:
    lines = []
    for group, choice in groups.items():
        lines.append(f"  {group}={choice or 'null'}, one of")
        options = ", ".join(options_of(command, group)) or "(none)"
        lines += wrap(options, WIDTH, initial_indent=" " * 6, subsequent_indent=" " * 6)
    return lines


def _broken_command(line: str) -> str:
    """A command over several lines of the terminal, as a shell takes it."""
    pieces = wrap(line, WIDTH - 4, break_long_words=False, break_on_hyphens=False)
    return " \\\n    ".join(pieces)


def _reflowed(lines: list[str], width: int) -> list[str]:
    """Lines of a config: comments refilled block by block, what is still too long broken."""
    found: list[str] = []
    for (indent, comment), block in groupby(lines, _kind):
        head = indent + "# " if comment else ""
        bare = [line.strip().removeprefix("#").strip() if comment else line for line in block]
        for text in [" ".join(bare)] if comment else bare:
            found += wrap(
                text,
                width,
                initial_indent=head,
                subsequent_indent=head or indent + " " * 6,
                break_long_words=False,
                break_on_hyphens=False,
                drop_whitespace=True,
            ) or [""]
    return found


def _kind(line: str) -> tuple[str, bool]:
    """Indentation of a line, and whether it is a comment."""
    bare = line.lstrip()
    return line[: len(line) - len(bare)], bare.startswith("#")
