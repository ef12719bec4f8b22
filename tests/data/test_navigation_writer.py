"""Episodes written in LHPR's layout, read back, and read as LH-VLN's own loader would."""

import gzip
import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from navigation_scene import apartment, stroll
from PIL import Image

from worldsim.data.navigation.episode import NavigationEpisode, Pose, SubTask
from worldsim.data.navigation.generator import generate
from worldsim.data.navigation.instructions import TemplateWriter
from worldsim.data.navigation.lhpr_writer import write_lhpr_episodes, write_lhpr_tasks
from worldsim.data.navigation.lhvln import read_lhvln_episodes, read_lhvln_tasks
from worldsim.data.navigation.walk import FORWARD, STOP, Walk
from worldsim.errors import DataError, UsageError


@pytest.fixture(scope="module")
def episodes() -> tuple[NavigationEpisode, ...]:
    return generate(apartment(), 6, TemplateWriter(), stroll, np.random.default_rng(3)).episodes


def same(ours: NavigationEpisode, theirs: NavigationEpisode) -> None:
    """All but the name and the expert's walk, which are compared apart; texts of angles round."""
    pose = Pose((0.0, 0.0, 0.0))
    for one, other in zip(ours.step_tasks, theirs.step_tasks, strict=True):
        assert replace(one, start=None, room="") == replace(other, start=None, room="")
        assert one.start is not None and other.start is not None
        assert one.start.position == pytest.approx(other.start.position)
        apart = one.start.heading - other.start.heading
        assert math.cos(apart) == pytest.approx(1)
    bare = {"name": "", "expert": None, "step_tasks": (), "start": pose}
    assert replace(ours, **bare) == replace(theirs, **bare)  # type: ignore[arg-type]
    assert ours.start is not None and theirs.start is not None
    assert ours.start.position == pytest.approx(theirs.start.position)


def test_tasks_are_read_as_they_were_written(
    episodes: tuple[NavigationEpisode, ...], tmp_path: Path
) -> None:
    write_lhpr_tasks(tmp_path, "batch_1", episodes)
    read = {each.instruction: each for each in read_lhvln_tasks(tmp_path, "batch_1")}
    assert len(read) == len(episodes)
    for episode in episodes:
        other = read[episode.instruction]
        order = sorted(episode.step_tasks, key=lambda step: step.instruction)
        theirs = sorted(other.step_tasks, key=lambda step: step.instruction)
        same(replace(episode, step_tasks=tuple(order)), replace(other, step_tasks=tuple(theirs)))
        ours, found = episode.expert, other.expert
        assert ours is not None and found is not None and ours.actions == found.actions
        np.testing.assert_allclose(found.positions, ours.positions, atol=1e-12)
        np.testing.assert_allclose(np.cos(found.headings - ours.headings), 1)


def test_the_compact_file_is_read_as_it_was_written(
    episodes: tuple[NavigationEpisode, ...], tmp_path: Path
) -> None:
    path = tmp_path / "episode_task" / "batch_1.json.gz"
    write_lhpr_episodes(path, episodes)
    for ours, theirs in zip(episodes, read_lhvln_episodes(path), strict=True):
        assert ours.name == theirs.name and theirs.expert is None
        same(ours, theirs)
        for task in theirs.sub_tasks:
            assert task.goals and task.expert_length


def lhvln_loads(root: Path, batch: str) -> list[dict[str, Any]]:
    """What LH-VLN's `TaskDataset` and `count_gt_step` make of a batch, told anew."""
    loaded = []
    for folder in sorted((root / "task" / batch).glob("*/*")):
        config = json.loads((folder / "config.json").read_text())
        moves = [step[9:-2].split("_") for step in config["Subtask list"] if "Move_to" in step]
        rooms = [line[1].split(": ")[1] for line in config["Object"]]
        rows = [path.name for path in (folder / "success" / "trial_1").iterdir() if path.is_dir()]
        counted = {name: sum(row.split("_")[-1] == name for row in rows) - 1 for name, _ in moves}
        steps = [json.loads(p.read_text()) for p in (root / "step_task" / batch).glob("*.json")]
        mine = [s for s in steps if config["Task instruction"] in s["trajectory path"]]
        trial = json.loads((folder / "success" / "trial_1" / "task.json").read_text())["trial"]
        rows.sort(key=lambda row: (int(row.split("_")[0]), row.split("_")[1] == "stop"))
        loaded.append({
            "folder": folder, "moves": moves, "rooms": rooms, "counted": counted,
            "steps": mine, "trial": trial, "rows": rows, "config": config,
        })  # fmt: skip
    return loaded


def test_lhvlns_own_loader_understands_what_is_written(
    episodes: tuple[NavigationEpisode, ...], tmp_path: Path
) -> None:
    write_lhpr_tasks(tmp_path, "batch_1", episodes)
    by_text = {episode.instruction: episode for episode in episodes}
    for loaded in lhvln_loads(tmp_path, "batch_1"):
        episode = by_text[loaded["config"]["Task instruction"]]
        walk = episode.expert
        assert walk is not None and loaded["folder"].parent.name == str(len(episode.sub_tasks))
        assert loaded["moves"] == [[task.target, task.region] for task in episode.sub_tasks]
        assert loaded["rooms"] == [task.room for task in episode.sub_tasks]
        counted = [loaded["counted"][task.target] for task in episode.sub_tasks]
        stored = [task.expert_steps for task in episode.sub_tasks]
        assert counted[0] == (stored[0] or 0) + 1, "the first counts its look-around stop"
        assert counted[1:] == stored[1:]
        parts = [loaded["trial"][f"trial_{i}"] for i in range(len(episode.sub_tasks))]
        assert sum(len(part["pos"]) for part in parts) == len(loaded["rows"]) == walk.steps + 1
        labels = ["_".join(row.split("_")[1:-2]) for row in loaded["rows"]]
        assert labels == [STOP, *walk.actions]
        assert len(loaded["steps"]) == len(episode.step_tasks)
        assert parts[0]["pos"][0] == pytest.approx([0, 0, 0]) or episode.start != Pose((0.0, 0, 0))


def test_pictures_of_every_row(episodes: tuple[NavigationEpisode, ...], tmp_path: Path) -> None:
    walk = episodes[0].expert
    assert walk is not None
    shades = np.arange(walk.steps + 1, dtype=np.uint8)[:, None, None, None]
    views = {"front": np.broadcast_to(shades, (walk.steps + 1, 4, 6, 3))}
    (folder,) = write_lhpr_tasks(tmp_path, "b", episodes[:1], frames=lambda episode: views)
    rows = lhvln_loads(tmp_path, "b")[0]["rows"]
    for number, row in enumerate(rows):
        picture = np.array(Image.open(folder / "success" / "trial_1" / row / "front.png"))
        assert picture.shape == (4, 6, 3) and (picture == number).all()
    with pytest.raises(UsageError, match="expected uint8"):
        write_lhpr_tasks(
            tmp_path, "c", episodes[:1], frames=lambda e: {"front": views["front"][1:]}
        )
    assert not list((tmp_path / "task" / "c").rglob("config.json")), "nothing half-written"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"instruction": "left/right"}, "without '/'"),
        ({"instruction": "x" * 201}, "at most 200"),
        ({"instruction": ".hidden"}, "begin with"),
        ({"sub_tasks": ()}, "no sub-task"),
        ({"sub_tasks": (SubTask("floor_lamp", "0"),)}, "without _"),
        ({"sub_tasks": (SubTask("lamp"),)}, "does not fit"),
    ],
)
def test_what_the_layout_cannot_hold(
    episodes: tuple[NavigationEpisode, ...], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    bad = replace(episodes[0], **changes)
    for refuse in (
        lambda: write_lhpr_tasks(tmp_path, "b", [episodes[1], bad]),
        lambda: write_lhpr_episodes(tmp_path / "b.json.gz", [episodes[1], bad]),
    ):
        with pytest.raises(UsageError, match=message):
            refuse()
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_over(episodes: tuple[NavigationEpisode, ...], tmp_path: Path) -> None:
    write_lhpr_tasks(tmp_path, "b", episodes[:1])
    count = len(list((tmp_path / "step_task" / "b").iterdir()))
    with pytest.raises(UsageError, match="is part of .* choose another batch"):
        write_lhpr_tasks(tmp_path, "b", episodes[:1])
    with pytest.raises(UsageError, match="is part of"):
        write_lhpr_tasks(tmp_path, "c", [episodes[0], episodes[0]])
    with pytest.raises(UsageError, match="two episodes are named"):
        write_lhpr_episodes(tmp_path / "b.json.gz", [episodes[0], episodes[0]])
    other = replace(episodes[0], instruction="Another", name="x")
    write_lhpr_tasks(tmp_path, "b", [other])  # its step tasks have the same texts
    assert len(list((tmp_path / "step_task" / "b").iterdir())) == 2 * count
    stopped = replace(
        episodes[0],
        instruction="Third",
        expert=Walk(np.zeros((2, 3)), np.zeros(2), (FORWARD,)),
        step_tasks=(),
    )
    with pytest.raises(DataError, match="closes 0 of"):
        write_lhpr_tasks(tmp_path, "b", [stopped])
    assert not (tmp_path / "task" / "b" / "2" / "Third").exists()
    path = tmp_path / "same.json.gz"
    write_lhpr_episodes(path, episodes)
    first = path.read_bytes()
    write_lhpr_episodes(path, episodes)
    assert path.read_bytes() == first and gzip.decompress(first)
