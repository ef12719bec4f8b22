"""Envs and experts of the user's own, from the command line alone."""

import json
from pathlib import Path

import numpy as np
import pytest
from picture_testing import ChoiceDot, register

from worldsim.cli.main import main
from worldsim.data.dataset import LeRobotDataset

HELPERS = Path(__file__).resolve().parents[1] / "helpers" / "picture_testing.py"
REGISTERS = """
import gymnasium
gymnasium.register("{0}-v0", "picture_testing:DotEnv", max_episode_steps=40)
"""
EXPERT = f"own.options.target={HELPERS}:DotExpert"


def imported(folder: Path, name: str) -> list[str]:
    """An env that a file registers when it is imported."""
    file = folder / f"{name}.py"
    file.write_text(REGISTERS.format(name))
    env = ["env=gymnasium", f"env.id={name}-v0", "env.success={key: reached}"]
    return [*env, "env.image_size=16", f"env.import={file}"]


@pytest.mark.slow
def test_an_own_env_and_an_own_expert_are_recorded_in_workers(tmp_path: Path) -> None:
    out = tmp_path / "set"
    command = ["collect", *imported(tmp_path, "own_dots"), "own=expert", EXPERT, f"out={out}"]
    assert main([*command, "episodes=6", "workers=1", "max_steps=8"]) == 0
    dataset = LeRobotDataset(out)
    episodes = [dataset.episode(i) for i in range(6)]
    best = [e for e in episodes if e.meta.behaviour in ("expert", "noisy", "aside", "sluggish")]
    assert len(best) == 5 and all(e.meta.success and e.meta.rig is None for e in best)
    assert all(np.diff(e.agent_pos[:, 0]).max() > 0.1 for e in best)
    # What is imported is of the command, and not written where others would import it.
    written = json.loads((out / "meta" / "info.json").read_text())["worldsim"]
    assert "import" not in written["env"]["kwargs"]
    assert main(["data", "verify", f"root={out}"]) == 0


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (("env.import=no_such_module",), "cannot import no_such_module: ModuleNotFoundError"),
        (("env.import=no_such.py",), "no such file"),
        (("env.import=metaworlds",), "cannot import metaworlds"),
        (("own=expert",), "own.options.target is null"),
        (("own=expert", f"own.options.target={HELPERS}:Nobody"), "no class or function 'Nobody'"),
        (("own=expert", EXPERT, "own.options.noise=-1"), "noise"),
    ],
)
def test_refusals(
    overrides: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [*imported(tmp_path, "refused_dots"), *overrides, f"out={tmp_path / 'set'}"]
    assert main(["collect", *given, "episodes=1"]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") <= 2
    assert not (tmp_path / "set").exists()


def test_a_file_named_like_another_module_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["collect", *imported(tmp_path, "random"), f"out={tmp_path / 'set'}"]
    assert main(command) == 2
    assert "another module is called 'random'" in capsys.readouterr().err


def test_an_env_of_choices_needs_no_mixture(tmp_path: Path) -> None:
    env_id = register(ChoiceDot)
    env = ("env=gymnasium", f"env.id={env_id}", "env.success={of: end}", "env.image_size=16")
    out = tmp_path / "set"
    assert main(["collect", *env, f"out={out}", "episodes=4", "workers=0", "max_steps=4"]) == 0
    dataset = LeRobotDataset(out)
    assert dataset.spec.action.kind == "discrete"
    assert {dataset.meta(i).behaviour for i in range(4)} <= {"random", "drifting"}
    assert main(["data", "verify", f"root={out}"]) == 0
