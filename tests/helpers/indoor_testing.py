"""A few recorded walks through small apartments, and a judge and a model of that world."""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import mkdtemp
from typing import Any

import torch
from imagination_testing import REPORT
from worldsim_testing import nano_model

from worldsim.cli.main import main
from worldsim.data.cache import CachedDataset, build_cache
from worldsim.envs import make
from worldsim.judge.report import VerdictRule
from worldsim.judge.stops import StopJudge
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.instructed import GlanceConfig
from worldsim.models.stop_reader import StopReader
from worldsim.models.world_model import WorldModel
from worldsim.spec import VectorSpec, WorldSpec

ID = "worldsim/IndoorNav-v0"
SIZE = 16
ENV: dict[str, Any] = {"image_size": SIZE, "rooms": (2, 3), "depth": False}
GLANCE = GlanceConfig(1, (SIZE, 2 * SIZE), width=8, keypoints=4, text=16, buckets=64)


@cache
def indoor_spec() -> WorldSpec:
    """The world of `ENV`."""
    unwrapped: Any = make(ID, **ENV).unwrapped
    spec: WorldSpec = unwrapped.spec_world
    return spec


@cache
def recorded_walks(episodes: int = 20) -> CachedDataset:
    """Walks of the navigation mixture, of one goal each; shared by tests, who only read."""
    root = Path(mkdtemp()) / "walks"
    command = ["collect", "env=indoor", f"episodes={episodes}", "workers=0", "max_steps=60"]
    own = [f"env.image_size={SIZE}", "env.rooms=[2,3]", "env.depth=false", f"out={root}"]
    assert main([*command, *own]) == 0
    return build_cache(root)


def stop_judge(threshold: float = 0.5) -> StopJudge:
    """A judge of stops with random weights."""
    torch.manual_seed(2)
    reader = StopReader(GLANCE, hidden=16).eval()
    return StopJudge(reader, indoor_spec(), VerdictRule(threshold), REPORT)


def indoor_model() -> WorldModel:
    """A world model of `ENV` with random weights, whose odometry is exact where nothing stops."""
    torch.manual_seed(3)
    config = nano_model().config
    dynamics = DynamicsConfig("pose", width=16, depth=1)

    config = replace(config, dynamics=dynamics, conditioners=("rays", "action"))
    return WorldModel(config, replace(indoor_spec(), state=VectorSpec((), ())))
