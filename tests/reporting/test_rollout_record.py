"""Rollouts on disk: round trip, refusals, damaged and hostile files."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from worldsim.errors import DataError, UsageError
from worldsim.rollout.record import OPTIONAL, RolloutRecord


def test_round_trip(rollout: RolloutRecord, tmp_path: Path) -> None:
    rollout.save(tmp_path / "a.npz")
    back = RolloutRecord.load(tmp_path / "a.npz")
    assert (back.cameras, back.fps, back.title) == (rollout.cameras, 10, rollout.title)
    for name in OPTIONAL:
        assert np.array_equal(getattr(back, name), getattr(rollout, name)), name
    assert [path.name for path in tmp_path.iterdir()] == ["a.npz"]


def test_absent_arrays_stay_absent(rollout: RolloutRecord, tmp_path: Path) -> None:
    RolloutRecord(rollout.cameras, 10, truth=rollout.truth).save(tmp_path / "a.npz")
    back = RolloutRecord.load(tmp_path / "a.npz")
    assert back.imagined is None and back.actions is None and back.length == 6


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"truth": None, "imagined": None}, "neither truth nor imagined"),
        ({"fps": 0}, "fps must be positive"),
        ({"cameras": ("one",)}, "1 cameras"),
        ({"imagined": np.zeros((3, 3, 8, 8, 3), np.float32)}, "float32"),
        ({"truth": np.zeros((0, 3, 8, 8, 3), np.uint8)}, "T, H, W > 0"),
        ({"actions": np.zeros((10, 5), np.float32)}, "at most 9 rows"),
        ({"progress": np.zeros((3, 1), np.float32)}, "expected 1 axes"),
    ],
)
def test_inconsistent_rollouts_are_refused(
    rollout: RolloutRecord, change: dict[str, Any], message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        replace(rollout, **change)


def test_damaged_files(rollout: RolloutRecord, tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    with pytest.raises(DataError, match="no such file"):
        RolloutRecord.load(path)
    rollout.save(path)
    whole = path.read_bytes()
    for size in (0, 10, len(whole) // 2, len(whole) - 5):
        path.write_bytes(whole[:size])
        with pytest.raises(DataError):
            RolloutRecord.load(path)
    np.savez(path, fps=10)
    with pytest.raises(DataError, match="lacks 'cameras'"):
        RolloutRecord.load(path)


def test_pickles_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "a.npz"
    np.savez(path, cameras=np.array([{"a": 1}], dtype=object), fps=10)
    with pytest.raises(DataError, match="cannot be read"):
        RolloutRecord.load(path)


def test_other_suffixes_are_refused(rollout: RolloutRecord, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"\.npz"):
        rollout.save(tmp_path / "a.npy")
