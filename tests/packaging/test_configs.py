"""Every YAML under configs/ is reachable: commands compose, group options parse."""

from pathlib import Path

import pytest
from omegaconf import OmegaConf

from worldsim.cli.commands import COMMANDS
from worldsim.config.compose import compose_config
from worldsim.config.groups import group_options, read_command_file

ROOT = Path(__file__).resolve().parents[2]
CONFIGS = ROOT / "configs"


def choices() -> list[tuple[str, str, str]]:
    """(command, group, option) for every option of every group that a command lists."""
    return [
        (command, group, option)
        for command in COMMANDS
        if (CONFIGS / f"{command}.yaml").is_file()
        for group in read_command_file(command).groups
        for option in group_options(group)
        if group != "experiment"
    ]


@pytest.mark.parametrize("command", sorted(COMMANDS))
def test_command_composes_and_has_an_out_folder(command: str) -> None:
    assert "out" in set(compose_config(command, []))


@pytest.mark.parametrize(("command", "group", "option"), choices())
def test_every_group_option_composes(command: str, group: str, option: str) -> None:
    compose_config(command, [f"{group}={option}"])


@pytest.mark.parametrize("experiment", group_options("experiment"))
def test_every_experiment_composes_with_a_command_and_states_its_command(experiment: str) -> None:
    header = (CONFIGS / "experiment" / f"{experiment}.yaml").read_text(encoding="utf-8")
    named = [name for name in COMMANDS if f"worldsim {name} experiment={experiment}" in header]
    assert named, "the header states the command that runs the experiment"
    for command in named:
        compose_config(command, [f"experiment={experiment}"])


def test_every_file_belongs_to_a_command_or_to_a_group_of_one() -> None:
    groups = {group for name in COMMANDS for group in read_command_file(name).groups}
    stray = []
    for path in sorted(CONFIGS.rglob("*.yaml")):
        folder = path.parent.relative_to(CONFIGS).as_posix()
        if folder == "." and path.stem not in COMMANDS:
            stray.append(path.name)
        if folder != "." and not any(folder.startswith(group.split("@")[0]) for group in groups):
            stray.append(f"{folder}/{path.name}")
        OmegaConf.load(path)
    assert stray == []
