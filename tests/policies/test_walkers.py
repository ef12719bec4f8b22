"""Walkers that see what a robot sees: the frontier explorer and instructed networks."""

from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from indoor_testing import ENV, GLANCE, ID, SIZE, indoor_spec, recorded_walks
from omegaconf import OmegaConf

from worldsim.collection.record import record_episode
from worldsim.envs import make
from worldsim.errors import DataError, UsageError
from worldsim.imitation.walking import WalkingLesson, WalkingTraining, train_walking
from worldsim.models.instructed import InstructedConfig, InstructedNet
from worldsim.policies.base import Policy
from worldsim.policies.frontier import CELL, FREE, TAKEN, UNKNOWN, FloorMap, floor_ranges
from worldsim.policies.instructed import save_instructed
from worldsim.policies.pool import build_policy, pool_entries
from worldsim.training.config import FitConfig


def test_a_floor_that_ends_at_a_row_ends_at_its_distance() -> None:
    """Of 32 rows the floor fills the lowest ten: its edge lies 33.75 degrees below the horizon."""
    picture = np.full((32, 64, 3), 200, np.uint8)
    picture[22:] = 60
    expected = 1.25 / np.tan(np.deg2rad(33.75))
    np.testing.assert_allclose(floor_ranges(picture, 1.25), expected)
    assert (floor_ranges(np.full((32, 64, 3), 90, np.uint8), 1.25) > 100).all()


def test_a_map_leads_to_what_is_not_known_yet() -> None:
    known = FloorMap()
    ranges = np.full(64, 0.7)
    ranges[26:38] = 9.0  # an opening ahead
    known.look(0.0, 0.0, 0.0, ranges)
    assert known.cells[known.cell(0.5, 0.0)] == FREE
    assert known.cells[known.cell(-0.7, 0.0)] == TAKEN
    # An end of the floor that is further off may be a rug's edge.
    open_ = FloorMap()
    open_.look(0.0, 0.0, 0.0, np.full(64, 1.2))
    assert open_.cells[open_.cell(-1.3, 0.0)] == UNKNOWN == known.cells[known.cell(5.0, 0.0)]
    shut = FloorMap()
    shut.look(0.0, 0.0, 0.0, np.full(64, 0.7))
    assert open_.path(0.0, 0.0) and shut.path(0.0, 0.0) == []
    way = known.path(0.0, 0.0)
    x, y = known.place(way[-1])
    assert way[0] == known.cell(0.0, 0.0) and x > 0.5
    steps = np.abs(np.diff(np.array(way), axis=0)).sum(axis=1)
    assert (steps == 1).all() and abs(y) < x + 2 * CELL


def test_the_frontier_explorer_walks_and_stops_when_told() -> None:
    env = make(ID, **{**ENV, "image_size": 32, "max_episode_steps": 40})
    unwrapped: Any = env.unwrapped
    policy = build_policy(unwrapped.spec_world, "frontier", "frontier", stop_after=30)
    lengths, walked = [], []
    for seed in range(3):
        episode = record_episode(env, policy, ID, seed, seed)
        lengths.append(len(episode.action))
        walked.append(unwrapped.journey.travelled)
    assert lengths == [31] * 3 and np.mean(walked) > 1
    front: Any = make(ID, sensor="front", image_size=16, depth=False).unwrapped
    with pytest.raises(UsageError, match="panorama"):
        build_policy(front.spec_world, "p", "frontier")


def instructed(folder: Path) -> str:
    """A checkpoint with random weights."""
    torch.manual_seed(4)
    shape = InstructedConfig(GLANCE, choices=4, history=2, stride=2, trail=3, hidden=16)
    save_instructed(folder / "net", InstructedNet(shape), indoor_spec())
    return str(folder / "net")


@pytest.mark.parametrize("kind", ["frontier", "instructed"])
def test_walkers_are_policies_like_others(kind: str, tmp_path: Path) -> None:
    """An episode depends on seed and env alone; nothing before reset, nothing after forget."""
    options = {"checkpoint": instructed(tmp_path), "temperature": 1.0}
    policy: Policy = build_policy(
        indoor_spec(), "mine", kind, **(options if kind == "instructed" else {})
    )
    rng = np.random.default_rng(0)
    seen: list[Any] = []
    for step in range(5):
        pixels = rng.integers(0, 255, (3, SIZE, 2 * SIZE, 3)).astype(np.uint8)
        agent = np.tile(np.array([0.1 * step, 0, 1, 0], np.float32), (3, 1))
        tasks = ["go to the bed and stop", "find the sofa", "go to a lamp, then go to a bed"]
        seen.append({"pixels": {"panorama": pixels}, "agent_pos": agent, "task": tasks})
    with pytest.raises(UsageError, match="before reset"):
        policy.act(seen[0], [0, 1, 2])

    def play(order: list[int]) -> np.ndarray:
        policy.reset(order, 7)
        rows: list[Any] = [
            {
                "pixels": {"panorama": each["pixels"]["panorama"][order]},
                "agent_pos": each["agent_pos"][order],
                "task": [each["task"][i] for i in order],
            }
            for each in seen
        ]
        return np.stack([policy.act(row, order) for row in rows], axis=1)

    every = play([0, 1, 2])
    assert every.shape == (3, 5, 1, 4) and (every.sum(-1) == 1).all()
    np.testing.assert_array_equal(play([2, 0]), every[[2, 0]])
    policy.forget([0, 2])  # type: ignore[attr-defined]
    with pytest.raises(UsageError, match="before reset"):
        policy.act(seen[0], [0, 1, 2])


def test_a_ladder_and_a_memory_are_trained_and_act(tmp_path: Path) -> None:
    data = recorded_walks()
    config = WalkingTraining(
        fit=FitConfig(max_steps=40, batch_size=32, lr=3e-3, ema_decay=0.8),
        ladder=(1, 40),
        policies={"expert": 1.0, "straying": 1.0},
        width=8,
        keypoints=4,
        hidden=32,
        memory_slots=3,
        memory_steps=5,
        bank=20,
    )
    folders = train_walking(data, config, tmp_path)
    assert [folder.name for folder in folders] == ["step_000001", "step_000040", "mgdm"]
    entries = pool_entries({"checkpoints": f"{tmp_path}/walking/*"})
    assert {name: entry["kind"] for name, entry in entries.items()} == dict.fromkeys(
        ("mgdm", "step_000001", "step_000040"), "instructed"
    )
    lesson = WalkingLesson.of(data, config)
    rows = np.arange(0, len(lesson.rows), 3)
    shares = []
    for folder in folders:
        env = make(ID, **{**ENV, "max_episode_steps": 12})
        policy = build_policy(indoor_spec(), "p", "instructed", checkpoint=str(folder))
        assert len(record_episode(env, policy, ID, 3, 3).action) >= 1
        net = policy._plain  # type: ignore[attr-defined]
        batch = lesson.gather(rows, net.config)
        frames = batch["pixels"].movedim(-1, -3).float() / 127.5 - 1
        with torch.inference_mode():
            right = net(frames, batch["trail"], batch["tokens"]).argmax(1) == batch["choice"]
        shares.append(float(right.float().mean()))
    assert shares[1] > max(shares[0], 0.5) and shares[2] == shares[1]


def test_who_does_not_walk_is_no_teacher() -> None:
    from policy_fixtures import make_recordings

    with pytest.raises(DataError, match="choices with a stop"):
        WalkingLesson.of(make_recordings(), WalkingTraining())


def test_every_policy_of_the_pools_acts_in_apartments() -> None:
    pool = OmegaConf.to_container(
        OmegaConf.create(files("worldsim.configs").joinpath("policy/pool_indoor.yaml").read_text())
    )
    spec, env = indoor_spec(), make(ID, **ENV)
    observation, info = env.reset(seed=3)
    seen: Any = {"pixels": {n: look[None] for n, look in observation["pixels"].items()}}
    seen |= {"agent_pos": observation["agent_pos"][None], "state": info["state"][None]}
    seen["task"] = [observation["task"]]
    chosen: Any = pool
    for part in (chosen, chosen["validation"], chosen["release"]):
        first = {}
        for name, entry in part["policies"].items():
            policy = build_policy(spec, name, entry.pop("kind"), **entry)
            assert "discrete" in policy.action_kinds, name  # type: ignore[attr-defined]
            policy.reset([0], 5)
            action = policy.act(seen, [0])[0, 0]
            assert sorted(action) == [0, 0, 0, 1], name
            first[name] = spec.action.names[int(action.argmax())]
        if "zero" in first:
            assert first.pop("zero") == "stop"
        walking = {name: move for name, move in first.items() if name != "random"}
        assert set(walking.values()) <= {"forward", "turn_left", "turn_right"}, walking
