"""Experts that are told of the map: what they are told is the simulator's state, in both worlds."""

from typing import Any

import numpy as np
import pytest
from indoor_testing import ENV, ID, indoor_model, stop_judge

from worldsim.cli.rank_results import privileged_names
from worldsim.envs import make
from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.envs.imagination.starts import SimulatorStarts
from worldsim.errors import UsageError
from worldsim.policies.pool import build_policy
from worldsim.rollout.guided import GuidedPolicy
from worldsim.rollout.rollouts import roll_out
from worldsim.rollout.worlds import ImaginedWorld, SimulatorWorld
from worldsim.validation.navigation.ranked import met_sub_tasks

TWO = {**ENV, "goals": 2}


def walk(env: Any, seed: int, steps: int) -> list[tuple[Any, Any, int]]:
    """(odometry, state, stops so far) along a walk that also stops once."""
    observation, info = env.reset(seed=seed)
    rng, stops, found = np.random.default_rng(seed), 0, []
    for step in range(steps):
        found.append((observation["agent_pos"], info["state"], stops))
        action = 0 if step == steps // 2 else int(rng.integers(1, 4))
        stops += action == 0
        observation, _, over, _, info = env.step(action)
        if over:
            break
    return found


def test_a_guide_tells_what_the_simulator_tells() -> None:
    env: Any = make(ID, **TWO).unwrapped
    guide = env.map_guide
    for seed in range(3):
        guide.begin(seed, seed)
        for agent_pos, state, stops in walk(env, seed, 30):
            told = guide.state(seed, agent_pos, stops)
            # A way of equal length may begin at another corner, by rounding alone.
            same = [i for i, name in enumerate(env.spec_world.state.names) if "way" not in name]
            np.testing.assert_allclose(told[same], state[same], atol=2e-3)
    guide.forget(0)
    with pytest.raises(UsageError, match="no episode of env 0"):
        guide.state(0, np.array([0, 0, 1, 0]), 0)


def test_errands_lead_elsewhere() -> None:
    env: Any = make(ID, **TWO).unwrapped
    guide, here = env.map_guide, np.array([0, 0, 1, 0], np.float32)

    def goals(errand: str) -> list[tuple[float, float]]:
        guide.begin(0, 5, errand)
        return [tuple(guide.state(0, here, stops)[:2].round(4)) for stops in (0, 1)]

    asked = goals("asked")
    assert goals("reversed") == asked[::-1] and goals("repeated") == [asked[0]] * 2
    assert not set(goals("other")) & set(asked)


def test_the_expert_goes_the_same_way_with_and_without_a_guide() -> None:
    source, world = SimulatorStarts(ID, TWO), SimulatorWorld(ID, TWO)
    starts = [source.seeded(seed) for seed in range(3)]
    policy = build_policy(source.spec, "expert", "geodesic", map=True)
    guided = GuidedPolicy(policy, world.map_guide, starts, source.spec.action)  # type: ignore[arg-type]
    batch = roll_out(guided, world, starts, max_steps=90)
    assert (
        batch.failures == [] and [met_sub_tasks(t) for t in batch.trajectories] == [[True] * 2] * 3
    )
    assert batch.rate == 1
    env: Any = make(ID, **TWO)
    env.reset(seed=0)
    for action in batch.trajectories[0].action:
        *_, info = env.step(int(action.argmax()))
    assert info["success"] and info["stages"].tolist() == [0, 2]
    world.close()


def test_in_imagination_experts_go_by_imagined_odometry() -> None:
    """Where dynamics are exact and nothing is run into, they stop as often as in the simulator."""
    source, model = SimulatorStarts(ID, TWO), indoor_model()
    starts = [source.seeded(seed) for seed in range(2)]
    guide: Any = make(ID, **TWO).unwrapped.map_guide  # type: ignore[attr-defined]
    policy = build_policy(source.spec, "expert", "geodesic", map=True)
    guided = GuidedPolicy(policy, guide, starts, source.spec.action)
    world = ImaginedWorld(ImaginationEngine(model, stop_judge(1e-6), 1))
    batch = roll_out(guided, world, starts, max_steps=90)
    assert batch.failures == []
    for trajectory in batch.trajectories:
        assert trajectory.stages is not None and trajectory.stages[0].tolist() == [2, 0]
        assert trajectory.stages[-1].tolist() == [0, 2] and trajectory.success[-1]
        assert trajectory.steps < 90 and trajectory.pose is not None
    with pytest.raises(UsageError, match="does not name"):
        nameless = [type(starts[0])(starts[0].pixels, starts[0].agent_pos, "stop")]
        GuidedPolicy(policy, guide, nameless, source.spec.action).reset([0], 0)


def test_errands_need_the_map_and_pools_name_who_has_it() -> None:
    spec = SimulatorStarts(ID, ENV).spec
    with pytest.raises(UsageError, match="map: true"):
        build_policy(spec, "p", "geodesic", errand="reversed")
    pool: dict[str, dict[str, Any]] = {
        "a": {"kind": "geodesic", "map": True},
        "b": {"kind": "forward"},
    }
    assert privileged_names(pool) == ["a"]
    spoiled: Any = build_policy(spec, "p", "geodesic", map=True, noise=0.1, errand="other")
    assert spoiled.privileged and spoiled.errand == "other"
