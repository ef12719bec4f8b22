"""`worldsim export` from rollouts and from data sets."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from worldsim.cli.export import run
from worldsim.config.compose import compose_config
from worldsim.data.episode import Episode, EpisodeMeta
from worldsim.data.video import read_video
from worldsim.data.writer import LeRobotWriter
from worldsim.errors import DataError, UsageError
from worldsim.reporting.film import film_frames
from worldsim.rollout.record import RolloutRecord
from worldsim.spec import ActionSpec, CameraSpec, VectorSpec, WorldSpec


def export(*overrides: str) -> None:
    run(compose_config("export", list(overrides)))


def test_one_rollout(rollout: RolloutRecord, tmp_path: Path) -> None:
    rollout.save(tmp_path / "a.npz")
    export(f"source={tmp_path / 'a.npz'}", f"out={tmp_path / 'out'}")
    assert len(read_video(tmp_path / "out" / "a.mp4")) == 9


def test_a_folder_of_rollouts_as_gif(rollout: RolloutRecord, tmp_path: Path) -> None:
    for name in ("a", "b"):
        rollout.save(tmp_path / f"{name}.npz")
    export(f"source={tmp_path}", f"out={tmp_path / 'out'}", "format=gif", "overlay=false")
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["a.gif", "b.gif"]


def test_the_worlds_of_one_rollout_are_joined(rollout: RolloutRecord, tmp_path: Path) -> None:
    folder = tmp_path / "films" / "expert"
    truth = replace(rollout, imagined=None, actions=None, success_probability=None, progress=None)
    truth.save(folder / "0003.simulator.npz")
    dream = replace(rollout, truth=None, truth_success=None)
    dream.save(folder / "0003.imagination.npz")
    dream.save(folder / "0004.imagination.npz")
    trajectories = tmp_path / "results" / "simulator" / "expert.npz"  # as a ranking's folder has
    trajectories.parent.mkdir(parents=True)
    np.savez(trajectories, frames=np.ones(1))
    export(f"source={tmp_path}", f"out={tmp_path / 'out'}")
    made = tmp_path / "out" / "films" / "expert"
    assert sorted(path.name for path in made.iterdir()) == ["0003.mp4", "0004.mp4"]
    whole = np.stack(list(film_frames(rollout)))
    assert np.abs(read_video(made / "0003.mp4").astype(int) - whole).mean() < 4


def test_worlds_that_do_not_fit_are_refused(rollout: RolloutRecord, tmp_path: Path) -> None:
    truth = replace(rollout, imagined=None, actions=None, success_probability=None, progress=None)
    truth.save(tmp_path / "a.simulator.npz")
    replace(rollout, fps=5).save(tmp_path / "a.imagination.npz")
    with pytest.raises(UsageError, match="at 10 Hz"):
        export(f"source={tmp_path}", f"out={tmp_path / 'out'}")


def test_an_episode_of_a_data_set(tmp_path: Path) -> None:
    spec = WorldSpec(
        fps=10,
        cameras=(CameraSpec("front", 32, 32), CameraSpec("wrist", 16, 48)),
        action=ActionSpec(("dx",), (-1.0,), (1.0,), ("m",), (0.05,)),
        agent_pos=VectorSpec(("x",), ("m",)),
        state=VectorSpec((), ()),
    )
    steps = np.linspace(0, 1, 5, dtype=np.float32)
    episode = Episode(
        pixels={c.name: np.full((5, c.height, c.width, 3), 90, np.uint8) for c in spec.cameras},
        agent_pos=steps[:, None],
        state=np.zeros((5, 0), np.float32),
        action=steps[:4, None],
        action_achieved=steps[:4, None],
        reward=steps,
        success=steps >= 1,
        progress=steps,
        task="push",
        meta=EpisodeMeta("test/World-v0", 1, "tester", True),
    )
    writer = LeRobotWriter(tmp_path / "data", spec)
    writer.add(episode)
    writer.finalize()
    export(f"source={tmp_path / 'data'}", f"out={tmp_path / 'out'}")
    film = read_video(tmp_path / "out" / "episode_000000.mp4")
    assert len(film) == 5
    with pytest.raises(UsageError, match="no episode 7"):
        export(f"source={tmp_path / 'data'}", "episode=7")


def test_refusals(rollout: RolloutRecord, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="expected a file or folder that exists"):
        export(f"source={tmp_path / 'absent'}")
    with pytest.raises(DataError, match="neither a LeRobot data set"):
        export(f"source={tmp_path}")
    rollout.save(tmp_path / "a.npz")
    with pytest.raises(UsageError, match="format"):
        export(f"source={tmp_path}", "format=avi")
