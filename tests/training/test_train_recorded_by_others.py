"""`worldsim train` on sets that others recorded: it finishes, or refuses before its first stage."""

import json
from pathlib import Path

import numpy as np
import pytest
from lerobot_testing import TOP, ForeignSet
from train_testing import train

from worldsim.cli.main import main
from worldsim.data.dataset import LeRobotDataset

FEW = [
    *("tokenizer.max_steps=2", "dynamics.max_steps=2", "trainer.max_steps=2"),
    *("decoder.max_steps=1", "decoder.streams=2", "judge.steps=1", "judge.imagined_steps=2"),
    "validation.step_counts=[1]",
]


def lengths(short: set[int]) -> list[int]:
    """Of 20 episodes, two of which are held out; those of `short` hold one row."""
    return [1 if episode in short else 6 for episode in range(20)]


def test_on_cameras_and_actions_alone(tmp_path: Path) -> None:
    """Without proprioception, and with episodes of a single row among both parts."""
    data = ForeignSet(lengths=[*lengths({3, 9}), *lengths({9})], state=False)
    root = data.write(tmp_path / "set")
    assert LeRobotDataset(root).spec.agent_pos.dim == 0
    gated = ("judge.gate_steps=2", "judge.gate_draws=2")
    assert train(root, tmp_path / "run", *FEW, *gated) == 0
    for gate in ("gate", "gate_resampling"):
        assert (tmp_path / "run/judge" / gate / "gate.json").is_file()
    found = json.loads((tmp_path / "run/validation.json").read_text())
    assert found["summary"]["psnr_moving_model"] > 0 and found["episodes"][0] == 2
    rollout = [f"model={tmp_path / 'run/model'}", f"starts.dataset={root}", "starts.count=2"]
    rollout += ["world=imagination", "policy=baselines", "name=random", "max_steps=2"]
    assert main(["rollout", *rollout, f"out={tmp_path / 'rollout'}"]) == 0


@pytest.mark.slow
def test_on_frames_without_an_edge(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = ForeignSet(lengths=lengths(set()))
    data.films[TOP] = [
        np.broadcast_to(film[:, -1:, -1:], film.shape).copy() for film in data.films[TOP]
    ]
    root = data.write(tmp_path / "set")
    assert train(root, tmp_path / "run", *FEW) == 0
    assert "nothing moved;" in capsys.readouterr().err
    found = json.loads((tmp_path / "run/validation.json").read_text())
    assert found["summary"]["psnr_moving_model"] is None and found["summary"]["psnr_model"] > 0
    losses = json.loads((tmp_path / "run/stages/decoder.json").read_text())["losses"]
    assert losses["edge_power_ratio"] is None and losses["psnr"] > 0


@pytest.mark.parametrize("spoil", ["frames", "rows", "action", "double"])
def test_a_broken_set_is_refused_before_the_first_stage(
    tmp_path: Path, spoil: str, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ForeignSet(lengths=lengths(set()), kind="image")
    if spoil == "frames":
        data.films[TOP][11] = [b"no image"] * 6
    elif spoil == "rows":
        data.rows[11]["action"][2][1] = float("nan")
    elif spoil == "action":
        del data.info["features"]["action"]
    else:
        data.episodes.append(data.episodes[11])
    root = data.write(tmp_path / "set")
    assert train(root, tmp_path / "run", *FEW) == 1
    line = capsys.readouterr().err.splitlines()[-1]
    assert line.startswith("worldsim: ") and ("11" in line or spoil == "action")
    assert not (tmp_path / "run").exists()
