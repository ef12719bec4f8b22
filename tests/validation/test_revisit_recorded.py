"""Recorded episodes as walks: what is shown and imagined, what comes back, and what is refused."""

import json
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from toy_room import FORWARD, TURN, Move, Walker, seen
from toy_room_data import CAMERA, SPEC, episode

from worldsim.cli.main import main
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import Episode
from worldsim.data.writer import LeRobotWriter
from worldsim.errors import DataError, UsageError
from worldsim.memory.base import MemoryConfig
from worldsim.models.denoisers.base import DenoiserConfig
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state import HeadConfig
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.sampling.sampler import Sampler
from worldsim.spec import WorldSpec
from worldsim.validation.revisit.measure import measure_places
from worldsim.validation.revisit.places import Place, RevisitConfig
from worldsim.validation.revisit.recorded import RecordedConfig, recorded_places, recorded_walk
from worldsim.validation.video_metrics import psnr_of

STEPS, BACK, GAP = 15, 8, 3
BLIND = SPEC.without_extras()
"""The same world, of which no pose is recorded."""


def spun(seed: int, steps: int = STEPS) -> Episode:
    """A way out and back: half the steps to the left, the others to the right."""
    moves = [Move.LEFT if t < steps // 2 else Move.RIGHT for t in range(steps)]
    walkers = [Walker(-0.5, 0.1 * seed, 0.0)]
    for move in moves:
        walkers.append(walkers[-1].moved(move))
    frames, depths = zip(*map(seen, walkers), strict=True)
    like, none = episode(seed, steps), np.zeros(steps + 1, np.float32)
    action = SPEC.action.vector(np.array(moves, np.int64), "toy room")
    agent = [(w.x, w.y, np.cos(w.yaw), np.sin(w.yaw)) for w in walkers]
    extras = {
        "camera_pose": np.stack([w.pose for w in walkers])[:, None],
        "depth": np.stack(depths)[:, None],
        "events": np.zeros((steps + 1, 2), np.float32),
    }
    return replace(
        like,
        pixels={CAMERA: np.stack(frames)},
        agent_pos=np.array(agent, np.float32),
        action=action,
        action_achieved=action,
        reward=none,
        success=none.astype(bool),
        progress=none,
        meta=replace(like.meta, success=False, behaviour="spun" if seed % 2 else ""),
        extras=extras,
    )


def written(root: Path, spec: WorldSpec = SPEC, episodes: int = 3) -> LeRobotDataset:
    writer = LeRobotWriter(root, spec, {})
    for seed in range(episodes):
        made = spun(seed)
        kept = {k: v for k, v in made.extras.items() if spec.events or k == "camera_pose"}
        writer.add(replace(made, extras=kept if spec.camera_pose else {}))
    writer.finalize()
    return LeRobotDataset(root)


@cache
def nano_room_model() -> WorldModel:
    """A random model of the toy room that carries the agent's pose alone."""
    torch.manual_seed(0)
    config = WorldModelConfig(
        TokenizerConfig(channels=4, width=8, depth=1),
        DenoiserConfig("stnet", width=16, depth=1, cond_width=16, head_dim=16),
        HeadConfig(width=8, keypoints=8),
        DynamicsConfig("pose", width=16, depth=1),
        MemoryConfig("frames", retrieved=2),
        recent=2,
        conditioners=("rays", "retrieved"),
    )
    return WorldModel(config, SPEC).eval().requires_grad_(False)


def placed(dataset: LeRobotDataset, **keys: int | str | None) -> list[Place]:
    recorded = RecordedConfig(**{"part": "all", "shown": BACK, **keys})  # type: ignore[arg-type]
    return recorded_places(dataset, nano_room_model(), RevisitConfig(), recorded, GAP)


def test_an_episode_is_shown_at_first_and_imagined_then(tmp_path: Path) -> None:
    dataset = written(tmp_path / "data")
    made = dataset.episode(1)
    walk = recorded_walk(dataset, 1, RecordedConfig(shown=5, imagined=4))
    assert (walk.route, walk.scene.number, walk.back) == ("spun", 1, 5)
    assert recorded_walk(dataset, 0, RecordedConfig()).route == "episode"
    assert recorded_walk(dataset, 0, RecordedConfig()).back == (STEPS + 1) // 2
    np.testing.assert_array_equal(walk.pixels[:, 0], made.pixels[CAMERA][:9])
    np.testing.assert_array_equal(walk.actions, made.action[:8])
    np.testing.assert_array_equal(walk.agent_pos, made.agent_pos[:9])
    np.testing.assert_allclose(walk.places, made.agent_pos[:9, :2], atol=1e-6)
    turned = np.exp(1j * walk.headings) - (made.agent_pos[:9, 2] + 1j * made.agent_pos[:9, 3])
    np.testing.assert_allclose(np.abs(turned), 0, atol=1e-5)


def test_frames_are_near_where_place_and_heading_come_back(tmp_path: Path) -> None:
    walk = recorded_walk(written(tmp_path / "data"), 0, RecordedConfig(shown=4, imagined=10))
    # Three turns are shown: to the left four more follow, which nothing showed, and then all back.
    lefts = STEPS // 2
    yaws = [min(t, 2 * lefts - t) for t in range(14)]
    near = [any(abs(yaw - shown) <= 1 for shown in yaws[:4]) for yaw in yaws[4:]]
    np.testing.assert_array_equal(walk.nears(0.1, 1.01 * TURN), near)
    assert 0 < sum(near) < 10
    aside = replace(walk, places=walk.places + np.where(np.arange(14) < 4, 0, FORWARD)[:, None])
    assert not aside.nears(FORWARD, np.pi).any() and aside.nears(1.5 * FORWARD, np.pi).all()


def test_seen_pixels_are_those_of_recorded_depth_and_all_arms_are_scored(tmp_path: Path) -> None:
    places = placed(written(tmp_path / "data"))
    assert [p.walk.scene.number for p in places] == [0, 1, 2]
    assert all(p.scored.masks["seen"].mean() > 0.9 for p in places)  # a whole turn is seen at once
    arms = ("none", "frames", "points_simulator", "wrong_room", "copy_pixels")
    config = RevisitConfig(arms=arms, seeds=1)
    report = measure_places(nano_room_model(), places, Sampler(steps=1), config)
    assert report.arms == arms and not report.left_out
    assert report.routes == ("episode", "spun")
    copied, none = (report.figure(a, "near", "truth").value for a in ("copy_pixels", "none"))
    assert copied is not None and none is not None and copied > none + 3
    # Both regions are whole frames, so the figure of all is what a plain mean over pixels gives.
    row = next(each for each in report.rows if each.arm == "none")
    weight = places[0].scored.weight
    total = row.tally.sums[("all", "truth")]
    assert np.isclose(total[1], weight.sum() * (STEPS + 1 - BACK))
    assert np.isclose(row.tally.figure("all", "truth"), psnr_of(total[0] / total[1]))
    assert report.gain("none", region="near").value == 0


def test_without_depth_nothing_counts_as_seen_and_arms_that_are_told_it_are_left_out(
    tmp_path: Path,
) -> None:
    spec = replace(SPEC, depth=None, events=())
    places = placed(written(tmp_path / "data", spec))
    masks = places[0].scored.masks
    assert not masks["seen"].any() and not masks["never"].any() and masks["near"].any()
    told = ("none", "points_simulator", "points_corrupted", "copy_pixels")
    config = RevisitConfig(arms=told, seeds=1)
    report = measure_places(nano_room_model(), places, Sampler(steps=1), config)
    assert set(report.left_out) == set(told[1:]) and "no" in report.left_out["copy_pixels"]
    assert report.figure("none", "returned", "truth").value is None
    assert report.figure("none", "all", "truth").value is not None


def test_what_cannot_be_is_refused(tmp_path: Path) -> None:
    dataset = written(tmp_path / "data")
    for shown, imagined in ((STEPS + 1, None), (STEPS + 5, 1), (10, 7)):
        with pytest.raises(DataError, match=f"episode 0 has {STEPS + 1} frames; expected {shown}"):
            placed(dataset, shown=shown, imagined=imagined)
    with pytest.raises(UsageError, match="records no poses of cameras"):
        placed(written(tmp_path / "blind", BLIND))
    config = RevisitConfig(first_scene=3)
    with pytest.raises(DataError, match="3 episodes in part=all, and none from first_scene=3"):
        recorded_places(dataset, nano_room_model(), config, RecordedConfig(part="all"), GAP)
    held_out = placed(dataset, part="val")
    assert [place.walk.scene.number for place in held_out] == [2]


def test_the_command_scores_recorded_episodes(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    model, out = tmp_path / "model", tmp_path / "out"
    written(tmp_path / "data")
    nano_room_model().save_pretrained(model)
    words = [f"model={model}", f"dataset={tmp_path / 'data'}", f"out={out}", "seeds=1"]
    words += ["part=all", "scenes=2", f"shown={BACK}", "gap=3", "sampler.steps=1"]
    words += ["arms=[none,frames]", "film_arms=[frames]"]
    assert main(["revisit", *words]) == 0
    told = json.loads((out / "revisit.json").read_text())
    assert [walk["back"] for walk in told["walks"]] == [BACK, BACK]
    assert told["arms"]["frames"]["regions"]["near"]["truth"]["value"] > 0
    page, said = (out / "revisit.html").read_text(), capsys.readouterr().err
    assert "Whole frames" in page and page.count("<video") == 1 and "whole frames" in said
    assert max(map(len, said[said.index("arm ") :].splitlines()[:-1])) <= 80
    # Without weights of LPIPS its columns are not there, and nothing is cut off.
    frames = said[said.index("whole frames") :].split("PSNR by route")[0]
    assert "…" not in frames and "LPIPS" not in frames
    assert main(["revisit", *words, f"dataset={tmp_path / 'none'}"]) == 2
    assert "dataset" in capsys.readouterr().err
