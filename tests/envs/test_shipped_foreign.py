"""Push-T and Meta-World by their configs, where they are installed."""

from functools import partial
from typing import Any

import numpy as np
import pytest

from worldsim.cli.settings.env import check_env_node, split_env_node
from worldsim.config.compose import compose_config
from worldsim.envs import make
from worldsim.envs.simulator_check import check_simulator
from worldsim.policies.base import Policy
from worldsim.policies.pool import build_policy
from worldsim.spec import WorldSpec

NEEDED = {"pusht": "gym_pusht", "metaworld": "metaworld"}


def shipped(name: str) -> tuple[Any, Any]:
    """The env of a config, and the expert that goes with it."""
    pytest.importorskip(NEEDED[name])
    config: Any = compose_config("collect", [f"env={name}", f"own={name}", "out=x"])
    check_env_node(config.env, {}, "factors")
    env_id, kwargs = split_env_node(config.env)
    env = make(str(env_id), **kwargs)
    check_simulator(partial(make, str(env_id), **kwargs), name)
    policy = build_policy(env.unwrapped.spec_world, "mine", "expert", **config.own.options)  # type: ignore[attr-defined]
    return env, policy


def succeeds(env: Any, policy: Policy, seed: int) -> bool:
    observation, info = env.reset(seed=seed)
    policy.reset([0], 0)
    over = False
    while not over:
        seen = {**observation, "state": info["state"][None]}
        observation, _, ended, out_of_time, info = env.step(policy.act(seen, [0])[0, 0])
        over = ended or out_of_time
    return bool(info["success"])


@pytest.mark.parametrize("name", sorted(NEEDED))
def test_the_expert_solves_it_and_its_starts_come_again(name: str) -> None:
    env, policy = shipped(name)
    spec: WorldSpec = env.unwrapped.spec_world
    assert spec.fps == {"pusht": 10, "metaworld": 20}[name]
    assert sum(succeeds(env, policy, seed) for seed in (1, 2, 3, 4)) >= 3
    env.close()


def test_a_displacement_of_meta_world_is_in_metres_over_the_stride() -> None:
    env, _ = shipped("metaworld")
    before, _ = env.reset(seed=0)
    for _ in range(5):
        after, *_ = env.step(np.array([0.0, 0.5, 0.0, 0.0], np.float32))
    scale = env.unwrapped.spec_world.action.scale
    moved = (after["agent_pos"] - before["agent_pos"])[:3]
    assert moved[1] == pytest.approx(5 * 0.5 * scale[1], rel=0.25)
    assert np.abs(moved[[0, 2]]).max() < 0.02
    env.close()
