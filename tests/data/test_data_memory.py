"""Memory does not grow with an episode's length."""

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2  # noqa: F401  (imports are no episode's memory)
import numpy as np
import pytest

from worldsim.cli.export import _episodes
from worldsim.collection.record import record_episode
from worldsim.data.cache import build_cache
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import Episode
from worldsim.data.summary import preview
from worldsim.data.verify import verify
from worldsim.data.video_writer import VideoSegment, reencode
from worldsim.data.writer import LeRobotWriter
from worldsim.envs.imagination import DatasetStarts
from worldsim.policies.simple import ZeroPolicy
from worldsim.reporting.film import FilmStyle, write_film
from worldsim.spec import CameraSpec, WorldSpec

STEPS, HEIGHT, WIDTH = 300, 96, 128
MOST = STEPS * HEIGHT * WIDTH * 3 // 4
"""Bytes: a quarter of one camera's frames."""


@pytest.fixture(scope="module")
def big(spec: WorldSpec) -> WorldSpec:
    cameras = tuple(CameraSpec(name, HEIGHT, WIDTH) for name in spec.camera_names)
    return replace(spec, cameras=cameras)


@pytest.fixture(scope="module")
def long_set(
    tmp_path_factory: pytest.TempPathFactory,
    big: WorldSpec,
    make_episode: Callable[..., Episode],
) -> Path:
    """One long episode; its second camera is black throughout."""
    frames = np.empty((STEPS + 1, HEIGHT, WIDTH, 3), np.uint8)
    frames[:] = (20 + np.arange(STEPS + 1) % 200)[:, None, None, None]
    pixels = {"front": frames, "wrist": np.zeros_like(frames)}
    writer = LeRobotWriter(tmp_path_factory.mktemp("long") / "set", big)
    writer.add(replace(make_episode(0, steps=STEPS), pixels=pixels))
    return writer.finalize()


def uses_little(work: Callable[[], Any]) -> None:
    tracemalloc.start()
    try:
        work()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < MOST, f"{peak / 1e6:.1f} MB for {4 * MOST / 1e6:.1f} MB of frames a camera"


@pytest.mark.parametrize("size", [32, None], ids=["resized", "native"])
def test_building_a_cache(long_set: Path, tmp_path: Path, size: int | None) -> None:
    uses_little(lambda: build_cache(long_set, size, tmp_path))
    cache = build_cache(long_set, size, tmp_path)
    levels = cache.pixels[:, 0].mean((1, 2, 3))
    assert np.abs(levels - (20 + np.arange(STEPS + 1) % 200)).max() < 2


def test_verifying(long_set: Path) -> None:
    uses_little(lambda: verify(long_set))


def test_a_start_with_a_black_camera(long_set: Path) -> None:
    starts = DatasetStarts(long_set, "all")
    uses_little(lambda: starts.episode(0))
    views = starts.episode(0).views
    assert views is not None and views.tolist() == [True, False]


@pytest.mark.parametrize("name", ["film.mp4", "sheet.png"])
def test_previewing(long_set: Path, tmp_path: Path, name: str) -> None:
    uses_little(lambda: preview(LeRobotDataset(long_set), 0, tmp_path / name, frames=4, scale=1))


def test_exporting(long_set: Path, tmp_path: Path) -> None:
    def export() -> None:
        _, films = _episodes(long_set, 0)
        for _, record in films:
            write_film(tmp_path / "film.mp4", record, FilmStyle(tile=16))

    uses_little(export)


def test_encoding_a_segment_anew(long_set: Path, tmp_path: Path) -> None:
    (video,) = long_set.glob("videos/observation.images.front/*/*.mp4")
    segment = VideoSegment(video, 1, STEPS)
    uses_little(lambda: reencode(segment, tmp_path / "again.mp4", 10))


class Screen:
    """An env whose frames count its steps."""

    camera_rig = None

    def __init__(self, spec: WorldSpec) -> None:
        self.spec_world, self.unwrapped, self.steps = spec, self, 0

    def _observed(self) -> tuple[dict[str, Any], dict[str, Any]]:
        frame = np.full((HEIGHT, WIDTH, 3), self.steps % 256, np.uint8)
        pixels = {name: frame.copy() for name in self.spec_world.camera_names}
        info = {"state": np.zeros(2), "success": False, "progress": 0.0}
        return {"pixels": pixels, "agent_pos": np.zeros(3), "task": "count"}, info

    def reset(self, **_: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return self._observed()

    def step(self, action: Any) -> tuple[Any, ...]:
        self.steps += 1
        observation, info = self._observed()
        return observation, 0.0, False, self.steps == STEPS, info

    def get_state(self) -> dict[str, Any]:
        return {"physics": np.zeros(2)}


def test_recording(big: WorldSpec, tmp_path: Path) -> None:
    writer = LeRobotWriter(tmp_path / "set", big)

    def record() -> None:
        with writer.staging.begin(0, big, writer.codec) as staged:
            staged.finish(
                record_episode(Screen(big), ZeroPolicy(big), "screen", 0, 0, film=staged.write)
            )

    uses_little(record)
    dataset = LeRobotDataset(writer.finalize())
    assert dataset.record(0).length == STEPS + 1
    last = list(dataset.each_frame(0, "wrist"))[-1]
    assert np.abs(last.astype(int) - STEPS % 256).max() < 3
