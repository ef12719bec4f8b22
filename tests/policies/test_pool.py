"""Pools from configs, and what ships."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from policy_fixtures import make_spec

from worldsim.config.compose import build, compose_config
from worldsim.envs.tabletop.drawer import TabletopDrawer
from worldsim.envs.tabletop.gripper import ACTION, AGENT_POS
from worldsim.envs.tabletop.pick_place import TabletopPickPlace
from worldsim.envs.tabletop.push import TabletopPush
from worldsim.envs.tabletop.reach import TabletopReach
from worldsim.envs.tabletop.scene import CAMERAS
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.files import read_json
from worldsim.imitation.stage import PolicyTraining
from worldsim.policies.behaviour_cloning import BCPolicy
from worldsim.policies.checkpoints import shipped_checkpoints, shipped_root
from worldsim.policies.pool import build_policy, load_pool, pool_entries
from worldsim.spec import CameraSpec, VectorSpec, WorldSpec, discrete_actions

SPEC = make_spec()
TASKS = {
    "drawer": TabletopDrawer.state_spec,
    "pick_place": TabletopPickPlace.state_spec,
    "push": TabletopPush.state_spec,
    "reach": TabletopReach.state_spec,
}
CLOSE = 0.3
"""Between the best and the worst of the checkpoints that a pool compares among themselves."""


def tabletop_spec(state: VectorSpec) -> WorldSpec:
    cameras = tuple(CameraSpec(name, 64, 64) for name in CAMERAS)
    return WorldSpec(10, cameras, ACTION, AGENT_POS, state)


def test_a_pattern_stands_for_its_checkpoints_in_the_order_of_their_numbers(
    tmp_path: Path,
) -> None:
    for step in (500, 1000, 90):
        folder = tmp_path / "behaviour" / f"step_{step}"
        shutil.copytree(shipped_root() / "push" / "bc_1", folder)
    (tmp_path / "behaviour" / "step_7").mkdir()  # holds no checkpoint
    pattern = f"{tmp_path}/behaviour/step_*"
    pool = {"checkpoints": pattern, "policies": {"zero": {"kind": "zero"}}}
    entries = pool_entries(pool)
    assert list(entries) == ["step_90", "step_500", "step_1000", "zero"]
    spec = tabletop_spec(TASKS["push"])
    loaded = load_pool({"policies": entries}, spec, only=["step_90"])[0]
    assert isinstance(loaded, BCPolicy) and loaded.name == "step_90"
    shipped = pool_entries({"checkpoints": "push/bc_*"})
    assert list(shipped) == [f"bc_{i}" for i in range(1, 7)]
    assert pool_entries({"checkpoints": None, "policies": {}}) == {}
    assert pool_entries({"checkpoints": "push/bc_2"})["bc_2"]["checkpoint"] == "push/bc_2"
    for wrong, words in (("nowhere/*", "finds no policy"), ("p*/bc_1", "finds 2 .* 1 names")):
        with pytest.raises(UsageError, match=words):
            pool_entries({"checkpoints": wrong})


def test_pool_keeps_order_and_names() -> None:
    config = {"policies": {"b": {"kind": "zero"}, "a": {"kind": "random", "hold": 2}}}
    for given in (config, OmegaConf.create(config)):
        pool = load_pool(given, SPEC)
        assert [p.name for p in pool] == ["b", "a"] and pool[1].n_action_steps == 2
    assert [p.name for p in load_pool(config, SPEC, only=["a"])] == ["a"]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "at least one entry"),
        ({"policies": {}}, "at least one entry"),
        ({"policies": {"x": {}}}, "needs a `kind`"),
        ({"policies": {"x": {"kind": "randon"}}}, "Did you mean 'random'"),
        ({"policies": {"x": {"kind": "random", "hld": 2}}}, "Did you mean 'hold'"),
        ({"policies": {"x": {"kind": "random", "hold": "often"}}}, "policy 'x'"),
        ({"policies": {"x": {"kind": "random", "spec": 1}}}, "unknown key in policy"),
        ({"policies": {"x": {"kind": "behaviour_cloning", "checkpoint": "no/such"}}}, "no/such"),
    ],
)
def test_bad_pools(config: Mapping[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        load_pool(config, SPEC)


def test_unknown_member() -> None:
    with pytest.raises(UsageError, match="Did you mean 'expert'"):
        load_pool({"policies": {"expert": {"kind": "zero"}}}, SPEC, only=["expret"])


def test_scripted_expert_for_another_world() -> None:
    with pytest.raises(UsageError, match="no scripted controller"):
        build_policy(SPEC, "expert", "scripted")


MOVES = replace(SPEC, action=discrete_actions(("forward", "left", "right")))


@pytest.mark.parametrize(
    ("kind", "options"),
    [("scripted", {}), ("sb3", {"path": "no.zip"}), ("remote", {"host": "nowhere"})],
)
def test_a_policy_that_does_not_speak_choices_is_refused_in_one_line(
    kind: str, options: dict[str, Any]
) -> None:
    with pytest.raises(SpecMismatchError) as error:
        build_policy(MOVES, "mine", kind, **options)
    said = str(error.value)
    assert said.startswith(f"policy 'mine' (kind {kind!r}) speaks box actions, the environment")
    assert "discrete ones (forward, left, right)" in said and "\n" not in said


def test_doing_nothing_is_refused_where_every_choice_does_something() -> None:
    with pytest.raises(SpecMismatchError, match=r"\(forward, left, right\) does something"):
        build_policy(MOVES, "mine", "zero")


def test_random_and_replayed_choices_are_choices() -> None:
    drawn = build_policy(MOVES, "random", "random", hold=2)
    drawn.reset(range(60), seed=0)
    actions = drawn.act({}, range(60))
    choices = MOVES.action.command(MOVES.action.check(actions, "random"))
    np.testing.assert_array_equal(choices[:, 0], choices[:, 1])
    assert np.bincount(choices[:, 0], minlength=3).min() > 10
    recording = MOVES.action.vector(np.array([2, 0]), "test")
    again = build_policy(MOVES, "again", "replay", actions=[recording])
    again.reset([0], seed=0)
    played = [again.act({}, [0])[0, 0] for _ in range(3)]
    np.testing.assert_array_equal(MOVES.action.command(np.stack(played)), [2, 0, 0])


@pytest.mark.parametrize("task", sorted(TASKS))
def test_shipped_pool(task: str) -> None:
    config = compose_config("rank", ["out=unused", f"policy=pool_{task}"]).policy
    spec = tabletop_spec(TASKS[task])
    pool = load_pool(config, spec)
    assert len(pool) >= 12 and len({p.name for p in pool}) == len(pool)
    assert [p.name for p in pool] == list(config.policies)
    close = set(config.groups.close)
    networks = [p for p in pool if p.name in close]
    assert len(networks) >= 6 and all(isinstance(p, BCPolicy) for p in networks)
    rng = np.random.default_rng(0)
    shape = (2, 64, 64, 3)
    observation = {
        "pixels": {name: rng.integers(0, 255, shape, np.uint8) for name in CAMERAS},
        "agent_pos": np.zeros((2, AGENT_POS.dim), np.float32),
        "task": ["", ""],
    }
    chunks = []
    for policy in pool:
        policy.reset([0, 1], 0)
        chunks.append(policy.act(observation, [0, 1])[:, 0])
        assert np.isfinite(chunks[-1]).all() and chunks[-1].shape == (2, ACTION.dim)
    first = [c.tobytes() for c, p in zip(chunks, pool, strict=True) if p.name in close]
    assert len(set(first)) == len(first)


@pytest.mark.parametrize("task", sorted(TASKS))
def test_shipped_files_are_small_and_hold_no_pickle(task: str) -> None:
    files = [path for path in (shipped_root() / task).rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) < 4e6
    assert {path.suffix for path in files} == {".json", ".safetensors"}
    assert {f"{task}/bc_{i}" for i in range(1, 7)} | {f"{task}/perception"} <= set(
        shipped_checkpoints()
    )


@pytest.mark.parametrize("task", sorted(TASKS))
def test_cloned_policies_are_neither_hopeless_nor_perfect_and_close_together(task: str) -> None:
    """As the simulator measured them when they were chosen (`scripts/make_pool.py`)."""
    rates = read_json(shipped_root() / task / "rates.json")["rates"]
    assert len(rates) == 6 and max(rates.values()) - min(rates.values()) <= CLOSE
    assert 0.1 < min(rates.values()) and max(rates.values()) < 0.95


def test_training_config_is_read_whole() -> None:
    config = compose_config("train", ["dataset=d", "out=o"]).policy_training
    plain = OmegaConf.to_container(config)
    assert isinstance(plain, dict) and set(plain) == {"perception", "behaviour", "walking"}
    training = build(PolicyTraining, config)
    assert training.perception is not None and training.behaviour is not None
    assert training.perception.fit.max_steps == config.perception.max_steps
    assert training.behaviour.ladder == tuple(config.behaviour.ladder)
    with pytest.raises(UsageError, match="unknown key in behaviour 'lader'. Did you mean 'ladder'"):
        build(PolicyTraining, {"perception": {}, "behaviour": {"lader": [1]}})
