"""`worldsim export` from rollouts and from data sets."""

from pathlib import Path

import pytest

from worldsim.cli.export import run
from worldsim.config import compose_config
from worldsim.data.video import read_video
from worldsim.errors import DataError, UsageError
from worldsim.evaluation.record import RolloutRecord


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


def test_refusals(rollout: RolloutRecord, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file or folder"):
        export(f"source={tmp_path / 'absent'}")
    with pytest.raises(DataError, match="neither a LeRobot data set"):
        export(f"source={tmp_path}")
    rollout.save(tmp_path / "a.npz")
    with pytest.raises(UsageError, match="format"):
        export(f"source={tmp_path}", "format=avi")
