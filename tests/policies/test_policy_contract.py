"""What holds for every registered policy."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from policy_fixtures import take
from worldsim_testing import nano_model

from worldsim.envs.tabletop.gripper import ACTION, AGENT_POS
from worldsim.envs.tabletop.push import TabletopPush
from worldsim.errors import UsageError
from worldsim.models.behaviour import BehaviourConfig, BehaviourNet
from worldsim.policies.base import POLICIES, FloatArray, Policy
from worldsim.policies.behaviour_cloning import save_behaviour
from worldsim.policies.pool import build_policy, register_policies
from worldsim.spec import CameraSpec, WorldSpec

SIZE = 16
CAMERAS = ("exterior_1", "exterior_2", "wrist")
SPEC = WorldSpec(
    10,
    tuple(CameraSpec(c, SIZE, SIZE) for c in CAMERAS),
    ACTION,
    AGENT_POS,
    TabletopPush.state_spec,
)
STEPS = 4
ENVS = [3, 0, 7, 5]

register_policies()


@dataclass
class Workshop:
    """What builders of policies may use."""

    folder: Path
    stack: ExitStack


def _behaviour(workshop: Workshop) -> dict[str, Any]:
    torch.manual_seed(0)
    shape = BehaviourConfig(3, AGENT_POS.dim, ACTION.dim, 4, (SIZE, SIZE), 8, 4, 16)
    save_behaviour(workshop.folder / "bc", BehaviourNet(shape), SPEC, n_action_steps=2)
    return {"checkpoint": str(workshop.folder / "bc")}


def _remote(workshop: Workshop) -> dict[str, Any]:
    from worldsim.policies.remote_server import PolicyServer

    served = build_policy(SPEC, "served", "random")
    server = workshop.stack.enter_context(PolicyServer(served, SPEC, port=0))
    return {"port": server.port}


class _AgentOnly(gymnasium.Env[dict[str, Any], FloatArray]):
    observation_space = gymnasium.spaces.Dict(
        {"agent_pos": gymnasium.spaces.Box(-2, 2, (AGENT_POS.dim,), np.float32)}
    )
    action_space = gymnasium.spaces.Box(-1, 1, (ACTION.dim,), np.float32)


def _sb3(workshop: Workshop) -> dict[str, Any]:
    stable_baselines3 = pytest.importorskip("stable_baselines3")
    return {"model": stable_baselines3.PPO("MultiInputPolicy", _AgentOnly(), seed=0, device="cpu")}


def _planner(workshop: Workshop) -> dict[str, Any]:
    nano_model(spec=SPEC).save_pretrained(workshop.folder / "world")
    cost = {"name": "pose", "entries": ["object_x", "object_y"], "target": ["goal_x", "goal_y"]}
    search = {"name": "icem", "iterations": 2, "elites": 2}
    few = {"candidates": 4, "horizon": 3, "sampling_steps": 1}
    proposal = {"kind": "random", "hold": 2}
    model = str(workshop.folder / "world")
    return {"model": model, "cost": cost, "search": search, "proposal": proposal, **few}


def _replay(workshop: Workshop) -> dict[str, Any]:
    rng = np.random.default_rng(0)
    actions = rng.uniform(-1, 1, (8, STEPS, ACTION.dim)).astype(np.float32)
    return {"actions": list(actions)}


BUILDERS: dict[str, Callable[[Workshop], dict[str, Any]]] = {
    "behaviour_cloning": _behaviour,
    "expert": lambda workshop: {"target": "policy_fixtures:FirstNumbers", "noise": 0.3, "lag": 1},
    "planner": _planner,
    "play": lambda workshop: {"fumbling": 0.5},
    "python": lambda workshop: {"target": "worldsim.policies.simple:RandomPolicy"},
    "random": lambda workshop: {},
    "remote": _remote,
    "replay": _replay,
    "sb3": _sb3,
    "scripted": lambda workshop: (
        {"noise": 0.3, "noise_correlation": 0.5, "bias": 0.02, "lag": 1}
        | {"lapses": 0.3, "drops": 0.3, "smoothing": 0.3}
    ),
    "zero": lambda workshop: {},
}

WALKERS = {"forward", "frontier", "geodesic", "instructed", "to_and_fro"}
"""Held to the same in `test_navigation.py`, `test_walkers.py` and `test_to_and_fro.py`, in worlds
that one walks in."""


def observations(steps: int = STEPS, rows: int = len(ENVS)) -> list[dict[str, Any]]:
    """Made-up but plausible: the hand near the table's middle, the cube beside it."""
    rng = np.random.default_rng(1)
    made = []
    for _ in range(steps):
        pixels = rng.integers(0, 255, (len(CAMERAS), rows, SIZE, SIZE, 3), np.uint8)
        agent = np.zeros((rows, AGENT_POS.dim), np.float32)
        agent[:, :3] = rng.uniform([-0.1, -0.1, 0.05], [0.1, 0.1, 0.12], (rows, 3))
        agent[:, 3] = agent[:, 7] = 1
        state = rng.uniform(-0.1, 0.1, (rows, SPEC.state.dim)).astype(np.float32)
        made.append(
            {
                "pixels": dict(zip(CAMERAS, pixels, strict=True)),
                "agent_pos": agent,
                "state": state,
                "task": [f"task {i}" for i in range(rows)],
            }
        )
    return made


def pick(observation: dict[str, Any], rows: list[int]) -> dict[str, Any]:
    return {**take(observation, rows), "state": observation["state"][rows]}


def run(policy: Policy, order: list[int], seed: int = 11, keep: int = STEPS) -> list[FloatArray]:
    """Actions of `keep` steps for the rows `order` of ENVS."""
    ids = [ENVS[i] for i in order]
    policy.reset(ids, seed)
    return [policy.act(pick(o, order), ids) for o in observations()[:keep]]


@pytest.fixture(params=sorted(BUILDERS))
def policy(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Policy]:
    with ExitStack() as stack:
        options = BUILDERS[request.param](Workshop(tmp_path, stack))
        built = build_policy(SPEC, "mine", request.param, **options)
        yield built
        close = getattr(built, "close", None)
        if close is not None:
            close()


def test_every_registered_policy_is_tested() -> None:
    assert set(BUILDERS) | WALKERS == set(POLICIES)


def test_shape_range_and_name(policy: Policy) -> None:
    assert isinstance(policy, Policy) and policy.name == "mine"
    for actions in run(policy, [0, 1, 2, 3]):
        assert actions.dtype == np.float32 and actions.ndim == 3
        assert actions.shape[0] == 4 and actions.shape[2] == ACTION.dim
        assert 1 <= policy.n_action_steps <= actions.shape[1]
        assert np.abs(actions).max() <= 1


def test_same_seed_same_actions_after_reset(policy: Policy) -> None:
    first = run(policy, [0, 1, 2, 3])
    run(policy, [0, 1, 2, 3], seed=99, keep=2)
    for before, after in zip(first, run(policy, [0, 1, 2, 3]), strict=True):
        np.testing.assert_allclose(after, before, atol=1e-6)


def test_permuting_envs_permutes_actions(policy: Policy) -> None:
    order = [2, 0, 3, 1]
    straight = run(policy, [0, 1, 2, 3])
    for plain, permuted in zip(straight, run(policy, order), strict=True):
        np.testing.assert_allclose(permuted, plain[order], atol=1e-5)


def test_rows_do_not_depend_on_their_batch(policy: Policy) -> None:
    straight = run(policy, [0, 1, 2, 3])
    for plain, alone in zip(straight, run(policy, [2]), strict=True):
        np.testing.assert_allclose(alone[0], plain[2], atol=1e-5)


def test_envs_may_leave(policy: Policy) -> None:
    straight = run(policy, [0, 1, 2, 3])
    policy.reset(ENVS, 11)
    first, *rest = observations()
    policy.act(first, ENVS)
    for observation, plain in zip(rest, straight[1:], strict=True):
        part = policy.act(pick(observation, [1, 3]), [ENVS[1], ENVS[3]])
        np.testing.assert_allclose(part, plain[[1, 3]], atol=1e-5)


def test_resetting_some_leaves_the_others_alone(policy: Policy) -> None:
    straight = run(policy, [0, 1, 2, 3])
    policy.reset(ENVS, 11)
    first, second, *_ = observations()
    policy.act(first, ENVS)
    policy.reset([ENVS[0]], 11)
    np.testing.assert_allclose(policy.act(second, ENVS)[1:], straight[1][1:], atol=1e-5)


@pytest.mark.parametrize("kind", ["random", "replay", "scripted", "play", "remote"])
def test_policies_with_memory_want_a_reset_first(kind: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        options = BUILDERS[kind](Workshop(tmp_path, stack))
        policy = build_policy(SPEC, "mine", kind, **options)
        policy.reset([3], 0)
        with pytest.raises(UsageError, match="reset"):
            policy.act(observations()[0], ENVS)


@pytest.mark.parametrize("kind", ["random", "replay", "scripted", "play"])
def test_what_is_forgotten_wants_a_reset(kind: str) -> None:
    options = BUILDERS[kind](Workshop(Path(), ExitStack()))
    policy = build_policy(SPEC, "mine", kind, **options)
    policy.reset(ENVS, 0)
    policy.forget(ENVS[1:])  # type: ignore[attr-defined]
    policy.act(pick(observations()[0], [0]), ENVS[:1])
    with pytest.raises(UsageError, match="reset"):
        policy.act(pick(observations()[0], [1]), ENVS[1:2])
    # Only the first env is remembered, by whatever is kept for each.
    kept = [value for value in vars(policy).values() if isinstance(value, dict)]
    assert all(set(each) <= {ENVS[0]} for each in kept)


@pytest.mark.parametrize("kind", ["random", "scripted", "play"])
def test_randomness_follows_seed_and_env(kind: str) -> None:
    options = BUILDERS[kind](Workshop(Path(), ExitStack()))
    policy = build_policy(SPEC, "mine", kind, **options)
    first, other = run(policy, [0, 1])[-1], run(policy, [0, 1], seed=12)[-1]
    assert not np.allclose(first, other)
