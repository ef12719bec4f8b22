"""Scripted walkers in IndoorNav: the expert arrives, its dials spoil it, explorers explore."""

from typing import Any

import numpy as np
import pytest

from worldsim.collection.collect import usual_mixture
from worldsim.collection.record import record_episode
from worldsim.envs import make
from worldsim.errors import UsageError
from worldsim.policies.navigation import STATE, walks
from worldsim.policies.pool import build_policy

ID = "worldsim/IndoorNav-v0"
SMALL = {"image_size": 8, "rooms": (2, 5), "depth": False}


def rates(kind: str, count: int, env_kwargs: dict[str, Any], **options: Any) -> dict[str, float]:
    """Success, collisions a step and steps of some episodes."""
    env = make(ID, **{**SMALL, **env_kwargs})
    unwrapped: Any = env.unwrapped
    policy = build_policy(unwrapped.spec_world, kind, kind, **options)
    found = []
    for seed in range(count):
        episode = record_episode(env, policy, ID, seed, seed)
        steps = len(episode.action)
        bumped = episode.extras["events"][:, 0].sum() / steps
        walked = unwrapped.journey.travelled
        found.append((episode.meta.success, bumped, steps, walked))
    success, bumped, steps, walked = np.mean(found, axis=0)
    return {"success": success, "bumped": bumped, "steps": steps, "walked": walked}


@pytest.mark.parametrize(
    "env_kwargs",
    [
        {},
        {"turn": 15},
        {"sliding": False},
        {"actions": "continuous"},
        {"goals": 2, "max_episode_steps": 250},
        {"success_view": 0},
    ],
)
def test_the_expert_arrives(env_kwargs: dict[str, Any]) -> None:
    found = rates("geodesic", 10, env_kwargs)
    assert found["success"] >= 0.9
    assert found["bumped"] < 0.2


@pytest.mark.parametrize(
    ("dials", "most"),
    [({"early_stop": 3.0}, 0.4), ({"late_stop": 12}, 0.7), ({"noise": 0.7}, 0.7)],
)
def test_dials_spoil_the_expert(dials: dict[str, Any], most: float) -> None:
    assert rates("geodesic", 8, {}, **dials)["success"] <= most


def test_detours_make_ways_longer() -> None:
    plain, straying = rates("geodesic", 6, {}), rates("geodesic", 6, {}, detours=0.2)
    assert straying["steps"] > 1.2 * plain["steps"]


def test_explorers_walk_on_and_stop_when_told() -> None:
    found = rates("forward", 4, {"max_episode_steps": 60}, turning=0.05)
    assert found["steps"] == 60 and found["walked"] > 4
    assert rates("forward", 2, {}, stop_after=5)["steps"] == 6


WALKERS = (("geodesic", {"detours": 0.5, "noise": 0.2}), ("forward", {"turning": 0.5}))


@pytest.mark.parametrize("actions", ["discrete", "continuous"])
@pytest.mark.parametrize(("kind", "options"), WALKERS)
def test_walkers_are_policies_like_others(kind: str, options: dict[str, Any], actions: str) -> None:
    """Shapes and limits; an episode depends on seed and env alone; nothing before reset."""
    env = make(ID, **{**SMALL, "actions": actions})
    spec: Any = env.unwrapped.spec_world  # type: ignore[attr-defined]
    rows = [env.reset(seed=seed) for seed in range(3)]
    batch: dict[str, Any] = {
        "agent_pos": np.stack([row[0]["agent_pos"] for row in rows]),
        "state": np.stack([row[1]["state"] for row in rows]),
        "task": [row[0]["task"] for row in rows],
    }
    turned = {name: values[::-1] for name, values in batch.items()}
    last = {name: values[2:] for name, values in batch.items()}
    policy = build_policy(spec, "mine", kind, **options)
    assert policy.name == "mine"
    with pytest.raises(UsageError, match="before reset"):
        policy.act(batch, [0, 1, 2])

    def play(order: list[int], seen: dict[str, Any]) -> np.ndarray:
        policy.reset(order, 7)
        return np.stack([policy.act(seen, order) for _ in range(6)], axis=1)

    every = play([0, 1, 2], batch)
    assert every.dtype == np.float32 and every.shape == (3, 6, 1, spec.action.dim)
    for vector in every.reshape(-1, spec.action.dim):
        np.testing.assert_array_equal(spec.action.check(vector, "test"), vector)
    np.testing.assert_array_equal(play([2, 1, 0], turned)[::-1], every)
    np.testing.assert_array_equal(play([2], last), every[2:])
    policy.forget([0, 1, 2])  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="before reset"):
        policy.act(batch, [0, 1, 2])


def test_the_expert_needs_the_state_and_a_world_to_walk_in() -> None:
    env = make(ID, **SMALL)
    observation, _ = env.reset(seed=0)
    unwrapped: Any = env.unwrapped
    policy = build_policy(unwrapped.spec_world, "geodesic", "geodesic")
    policy.reset([0], 0)
    with pytest.raises(UsageError, match="state"):
        policy.act({"agent_pos": observation["agent_pos"][None]}, [0])
    table: Any = make("worldsim/TabletopPush-v0", image_size=16).unwrapped
    for kind in ("geodesic", "forward"):
        with pytest.raises(UsageError, match="walks with actions"):
            build_policy(table.spec_world, kind, kind)
    assert walks(unwrapped.spec_world.action, unwrapped.spec_world.state)
    assert not walks(table.spec_world.action, table.spec_world.state)
    assert set(STATE) <= set(unwrapped.spec_world.state.names)


def test_collections_choose_the_walkers() -> None:
    assert usual_mixture(ID, SMALL) == "navigation"
    assert usual_mixture(ID, {**SMALL, "actions": "continuous"}) == "navigation"
