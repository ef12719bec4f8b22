"""Merging and previewing."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from video_testing import write_with

from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import Episode
from worldsim.data.merge import merge
from worldsim.data.summary import preview
from worldsim.data.verify import verify
from worldsim.data.video import read_video
from worldsim.data.writer import LeRobotWriter
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.spec import CameraSpec, WorldSpec

WriteSet = Callable[..., Path]
MakeEpisode = Callable[..., Episode]


def test_merge_renumbers_and_keeps_everything(
    tmp_path: Path, write_set: WriteSet, spec: WorldSpec, make_episode: MakeEpisode
) -> None:
    first = write_set(tmp_path / "a", range(3))
    writer = LeRobotWriter(tmp_path / "b", spec, {"id": "other/World-v0", "kwargs": {}})
    writer.add(make_episode(7, task="a new task"))
    writer.add(make_episode(8, task="task 1"))
    second = writer.finalize()
    merged = merge([first, second], tmp_path / "both")
    assert verify(merged.root) == []
    assert merged.num_episodes == 5 and merged.spec == spec
    assert sorted(merged.index.tasks.values()) == ["a new task", "task 0", "task 1"]
    sources = [(LeRobotDataset(first), i) for i in range(3)]
    sources += [(LeRobotDataset(second), i) for i in range(2)]
    for index, (dataset, i) in enumerate(sources):
        found, truth = merged.episode(index), dataset.episode(i)
        for camera in spec.camera_names:
            # Packets are copied, so the frames are equal to the bit.
            np.testing.assert_array_equal(found.pixels[camera], truth.pixels[camera])
        np.testing.assert_array_equal(found.action, truth.action)
        np.testing.assert_array_equal(found.state, truth.state)
        assert found.task == truth.task and found.meta.seed == truth.meta.seed
    stats = json.loads((merged.root / "meta/stats.json").read_text())
    states = np.concatenate([merged.episode(i).agent_pos for i in range(5)]).astype(float)
    np.testing.assert_allclose(stats["observation.state"]["q50"], np.median(states, axis=0))


def test_a_merged_set_keeps_the_env_of_its_parts_whatever_their_horizons(
    tmp_path: Path, spec: WorldSpec, make_episode: MakeEpisode
) -> None:
    roots = []
    for name, kwargs in {
        "a": {"image_size": 64, "max_episode_steps": None},
        "b": {"image_size": 64, "max_episode_steps": 200},
        "c": {"image_size": 32, "max_episode_steps": None},
    }.items():
        writer = LeRobotWriter(tmp_path / name, spec, {"id": "some/World-v0", "kwargs": kwargs})
        writer.add(make_episode(0))
        roots.append(writer.finalize())
    first = LeRobotDataset(roots[0]).env_info
    assert merge(roots[:2], tmp_path / "horizons").env_info == first
    assert merge([roots[0], roots[2]], tmp_path / "sizes").env_info == {}


def test_merge_refuses_different_worlds(
    tmp_path: Path, write_set: WriteSet, spec: WorldSpec, make_episode: MakeEpisode
) -> None:
    first = write_set(tmp_path / "a", range(1))
    writer = LeRobotWriter(tmp_path / "b", replace(spec, fps=20))
    writer.add(make_episode(0))
    second = writer.finalize()
    with pytest.raises(SpecMismatchError, match="fps: .*a has 10, .*b has 20"):
        merge([first, second], tmp_path / "both")
    assert not (tmp_path / "both").exists()
    with pytest.raises(UsageError, match="at least two"):
        merge([first], tmp_path / "both")
    with pytest.raises(UsageError, match="exists already"):
        merge([first, tmp_path / "other"], second)
    with pytest.raises(UsageError, match="twice"):
        merge([first, first / ".." / first.name], tmp_path / "both")


def test_odd_frame_sizes_are_collected_and_merged(
    tmp_path: Path, spec: WorldSpec, make_episode: MakeEpisode
) -> None:
    """Packets are copied where they can be; another codec's segments are encoded anew."""
    odd = replace(spec, cameras=(CameraSpec("front", 31, 29),))
    roots, episodes = [], []
    for name, first in (("a", 0), ("b", 3)):
        writer = LeRobotWriter(tmp_path / name, odd)
        for index in range(first, first + 2):
            whole = make_episode(index, steps=5)
            episodes.append(replace(whole, pixels={"front": whole.pixels["front"][:, :31, :29]}))
            writer.add(episodes[-1])
        roots.append(writer.finalize())
    video = roots[1] / "videos/observation.images.front/chunk-000/file-000.mp4"
    write_with(video, read_video(video), "mpeg4", {"g": "12", "q": "2"})
    merged = merge(roots, tmp_path / "both")
    assert verify(merged.root) == []
    for index, episode in enumerate(episodes):
        truth = episode.pixels["front"].astype(int)
        assert np.abs(merged.frames(index, "front") - truth).mean() < 4


def test_preview(tmp_path: Path, write_set: WriteSet) -> None:
    dataset = LeRobotDataset(write_set(tmp_path / "set"))
    rows = dataset.record(1).length
    sheet = Image.open(preview(dataset, 1, tmp_path / "sheet.png", frames=4, scale=2))
    assert sheet.size == (4 * (96 + 2), 2 * (64 + 2))
    film = read_video(preview(dataset, 1, tmp_path / "film.mp4", scale=1))
    assert film.shape[:3] == (rows, 32, 32 + 2 + 48)
    animation = Image.open(preview(dataset, 1, tmp_path / "film.gif"))
    assert getattr(animation, "n_frames", 1) == rows
    with pytest.raises(UsageError, match="got .*film.avi"):
        preview(dataset, 1, tmp_path / "film.avi")
