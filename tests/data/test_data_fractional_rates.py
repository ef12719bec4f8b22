"""Data recorded at a rate that is no whole number of frames a second."""

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from lerobot_testing import ForeignSet, codes
from PIL import Image

from worldsim.data.assemble import episode_row
from worldsim.data.cache import build_cache
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.layout import Slot
from worldsim.data.merge import merge
from worldsim.data.summary import describe, preview
from worldsim.data.verify import verify
from worldsim.data.video import VideoFile
from worldsim.errors import DataError
from worldsim.reporting.film import write_film
from worldsim.rollout.record import RolloutRecord

NTSC = Fraction(30000, 1001)


def recorded(root: Path, fps: float, version: str = "v3.0") -> Path:
    """A film as a camera writes it, and a table that says its rate in one of two ways."""
    made = ForeignSet(version, fps=fps, lengths=(9, 8, 10))
    made.film_rate = float(NTSC)
    return made.write(root)


@pytest.mark.parametrize("fps", [29.97, float(NTSC)])
@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_sets_at_fractional_rates_are_read(version: str, fps: float, tmp_path: Path) -> None:
    root = recorded(tmp_path / "set", fps, version)
    dataset = LeRobotDataset(root)
    assert dataset.spec.fps == fps and "rate: 29.97 fps" in describe(dataset)
    assert verify(root) == []
    assert codes(dataset.frames(1, "top")) == [(row + 7) % 28 for row in range(8)]
    assert build_cache(root).spec.fps == fps


def test_both_notations_merge_at_the_exact_rate(tmp_path: Path) -> None:
    roots = [recorded(tmp_path / "a", 29.97), recorded(tmp_path / "b", float(NTSC), "v2.1")]
    merged = merge(roots, tmp_path / "both")
    assert merged.info["fps"] == 29.97 and verify(merged.root) == []
    for record in merged.index.records:
        with VideoFile(next((merged.root / "videos").rglob("*.mp4"))) as video:
            assert video.fps == NTSC
        times = merged.rows(record.index)["timestamp"].to_numpy()
        np.testing.assert_allclose(times, np.arange(record.length) / 29.97, rtol=1e-6)
    assert codes(merged.frames(4, "top")) == codes(LeRobotDataset(roots[1]).frames(1, "top"))


@pytest.mark.parametrize("fps", [0, -3])
def test_what_is_no_rate_is_refused(fps: float, tmp_path: Path) -> None:
    made = ForeignSet("v3.0")
    made.info["fps"] = fps
    with pytest.raises(DataError, match="fps"):
        _ = LeRobotDataset(made.write(tmp_path / "set")).spec


def test_films_and_previews_play_at_the_rate(tmp_path: Path) -> None:
    dataset = LeRobotDataset(recorded(tmp_path / "set", 29.97))
    for name in ("film.mp4", "film.gif"):
        preview(dataset, 0, tmp_path / name)
    with VideoFile(tmp_path / "film.mp4") as video:
        assert video.fps == NTSC
    with Image.open(tmp_path / "film.gif") as film:
        assert film.info["duration"] in (30, 33)
    frames = dataset.frames(0, "top")[:, None]
    record = RolloutRecord(("top",), 29.97, truth=frames)
    record.save(tmp_path / "a.npz")
    back = RolloutRecord.load(tmp_path / "a.npz")
    assert back.fps == 29.97
    imagined = RolloutRecord(("top",), float(NTSC), imagined=frames)
    assert back.beside(imagined).truth is not None
    write_film(tmp_path / "b.mp4", back)
    with VideoFile(tmp_path / "b.mp4") as video:
        assert video.fps == NTSC


def test_long_films_are_found_at_their_own_rate() -> None:
    """At the rounded rate, an hour-long film would run away from its episodes' places."""
    first, length = 200_000, 10
    row = episode_row(0, (), 0, length, 29.97, Slot(), {"top": (Slot(), first)})
    assert row["videos/top/from_timestamp"] == float(first / NTSC)
    assert row["videos/top/to_timestamp"] == float((first + length) / NTSC)
