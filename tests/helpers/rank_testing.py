"""A nano ranking: random world model and judge, three policies that ignore what they see.

As a script it runs the ranking given by its arguments, so that a test can kill it.
"""

import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import torch
from imagination_testing import REPORT
from omegaconf import DictConfig, OmegaConf
from worldsim_testing import nano_model

from worldsim.judge.judge import LearnedJudge, ObservedFrame
from worldsim.judge.report import VerdictRule
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state_estimator import StateEstimator, StateEstimatorConfig
from worldsim.models.world_model import WorldModel
from worldsim.spec import VectorSpec

ENV: dict[str, Any] = {"id": "worldsim/TabletopReach-v0", "image_size": 32}
POLICIES: dict[str, dict[str, Any]] = {
    "zero": {"kind": "zero"},
    "random": {"kind": "random"},
    "slow": {"kind": "random", "hold": 8},
}
RELEASE_POLICIES: dict[str, dict[str, Any]] = {
    "zero": {"kind": "zero"},
    "slower": {"kind": "random", "hold": 11},
}


def save_nano_run(folder: Path, backbone: str = "stnet", *, pixels_alone: bool = False) -> None:
    """`model/` and `judge/`, as a training run leaves them; the judge says yes now and then.

    With `pixels_alone` neither was ever told the simulator's state.
    """
    from worldsim.envs.imagination import SimulatorStarts

    source = SimulatorStarts(ENV["id"], {"image_size": ENV["image_size"]})
    torch.manual_seed(0)
    spec, config = source.spec, nano_model(backbone).config
    if pixels_alone:
        spec = replace(spec, state=VectorSpec((), ()))
        config = replace(
            config, dynamics=DynamicsConfig("agent"), conditioners=("effector", "rays", "action")
        )
    WorldModel(config, spec).save_pretrained(folder / "model")
    estimator = StateEstimator(StateEstimatorConfig(3, spec.state.dim, (32, 32), 8, 4)).eval()
    draft = LearnedJudge(estimator, spec, VerdictRule(), REPORT)
    start = source.seeded(0)
    shown = ObservedFrame(start.pixels[None], start.agent_pos[None])
    threshold = float(draft.read(shown, None).success_probability[0])
    judge = LearnedJudge(estimator, spec, VerdictRule(threshold), REPORT)
    judge.save_pretrained(folder / "judge")
    source.close()


def rank_config(run: Path, out: Path, *overrides: str) -> DictConfig:
    """`configs/rank.yaml` with the nano world filled in."""
    config = OmegaConf.load(str(files("worldsim.configs").joinpath("rank.yaml")))
    assert isinstance(config, DictConfig)
    config.pop("defaults")
    blocks = OmegaConf.load(str(files("worldsim.configs").joinpath("start_blocks", "default.yaml")))
    nano = {
        "env": ENV,
        "policy": {"policies": POLICIES, "release": {"policies": RELEASE_POLICIES}},
        "start_blocks": blocks,
        "model": str(run),
        "out": str(out),
        "workers": 0,
        "max_steps": 6,
        "bootstrap_samples": 50,
        "starts": {"count": 4},
        "films": {"starts": 1, "each": 1},
        "baselines": {"first_frame": False, "kinematic": False},
    }
    merged = OmegaConf.merge(config, nano, OmegaConf.from_dotlist(list(overrides)))
    assert isinstance(merged, DictConfig)
    return merged


if __name__ == "__main__":
    from worldsim.cli import rank

    torch.set_num_threads(1)
    rank.run(rank_config(Path(sys.argv[1]), Path(sys.argv[2]), *sys.argv[3:]))
