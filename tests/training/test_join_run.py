"""scripts/join_run.py: stages of different runs in one folder."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from square_world import write_square_data

from worldsim.config.compose import build, compose_config
from worldsim.data.cache import build_cache
from worldsim.files import read_json
from worldsim.models.weights import save_weights
from worldsim.models.world_model import WorldModel, WorldModelConfig

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "join_run.py"


def joined(root: Path) -> subprocess.CompletedProcess[str]:
    words = [f"--{name}={root / name}" for name in ("world", "dynamics", "judge", "dataset")]
    return subprocess.run(
        [sys.executable, str(SCRIPT), str(root / "out"), *words], capture_output=True, text=True
    )


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A run with a world model, one with other dynamics, one with a judge."""
    spec = build_cache(write_square_data(tmp_path / "dataset", episodes=20, length=5), None).spec
    config = compose_config("train", ["dataset=none", "out=none", "model=nano"]).model
    for name in ("world", "dynamics"):
        torch.manual_seed(len(name))
        model = WorldModel(build(WorldModelConfig, config), spec)
        model.save_pretrained(tmp_path / name / "model")
        torch.nn.init.normal_(model.dynamics.get_parameter("straight.weight"), std=1e-3)
        save_weights(model.dynamics, tmp_path / name / "dynamics" / "model.safetensors")
    (tmp_path / "world" / "config.yaml").write_text("model: nano\n")
    shutil.copytree(tmp_path / "dynamics" / "dynamics", tmp_path / "judge" / "judge")
    return tmp_path


@pytest.mark.slow
def test_every_stage_is_of_the_run_that_was_named(runs: Path) -> None:
    done = joined(runs)
    assert done.returncode == 0, done.stderr
    ours, world, other = (
        load_file(runs / path / "model.safetensors")
        for path in ("out/model", "world/model", "dynamics/dynamics")
    )
    for name, tensor in ours.items():
        source = other[name.removeprefix("dynamics.")] if "dynamics." in name else world[name]
        assert torch.equal(tensor, source), name
    assert not torch.equal(ours["dynamics.straight.weight"], world["dynamics.straight.weight"])
    assert (runs / "out/judge/model.safetensors").is_file()
    assert read_json(runs / "out/validation.json")["summary"]["psnr_model"] > 0
    assert set(read_json(runs / "out/model/quality.json")["psnr_moving"]) == {"1", "2", "4"}


def test_a_missing_stage_is_named_and_nothing_is_left(runs: Path) -> None:
    shutil.rmtree(runs / "judge")
    done = joined(runs)
    assert done.returncode == 1 and "judge/model.safetensors" in done.stderr
    assert not (runs / "out").exists()
