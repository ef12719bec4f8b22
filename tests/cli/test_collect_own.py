"""Envs and experts of the user's own, from the command line alone."""

import json
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from worldsim.cli.main import main
from worldsim.data.dataset import LeRobotDataset

HELPERS = Path(__file__).resolve().parents[1] / "helpers" / "picture_testing.py"
EXPERT = f"own.options.target={HELPERS}:DotExpert"
ENV = ("env=gymnasium", "env.id=ImportedDot-v0", "env.success={key: reached}")


def collect(out: Path, *overrides: str) -> int:
    env = (*ENV, "env.image_size=16", f"env.import={HELPERS}")
    return main(["collect", *env, f"out={out}", *overrides])


def test_an_own_env_and_an_own_expert_are_recorded_in_workers(tmp_path: Path) -> None:
    out = tmp_path / "set"
    gymnasium.registry.pop("ImportedDot-v0", None)
    assert collect(out, "own=expert", EXPERT, "episodes=6", "workers=1", "max_steps=8") == 0
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
        (("env.import=no_such_module",), "env.import=no_such_module: ModuleNotFoundError"),
        (("env.import=no_such.py",), "no such file"),
        (("own=expert",), "own.options.target is null"),
        (("own=expert", f"own.options.target={HELPERS}:Nobody"), "no class or function 'Nobody'"),
        (("own=expert", EXPERT, "own.options.noise=-1"), "noise"),
    ],
)
def test_refusals(
    overrides: tuple[str, ...], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = (*ENV, f"env.import={HELPERS}", *overrides, f"out={tmp_path / 'set'}", "episodes=1")
    assert main(["collect", *given]) == 2
    captured = capsys.readouterr()
    assert said in captured.err and captured.err.count("\n") <= 2
    assert not (tmp_path / "set").exists()
