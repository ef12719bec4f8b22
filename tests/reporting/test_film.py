"""Films: layout, what the overlay shows, and files that decode whole."""

from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from worldsim.data.video import read_video
from worldsim.errors import UsageError
from worldsim.reporting.encode import write_frames
from worldsim.reporting.film import GAP, SUCCESS, FilmStyle, film_frames, write_film
from worldsim.reporting.film_overlay import GOOD, fit_text, font
from worldsim.rollout.record import RolloutRecord

PLAIN = FilmStyle(tile=40, overlay=False)


def compose_film(record: RolloutRecord, style: FilmStyle | None = None) -> np.ndarray:
    return np.stack(list(film_frames(record, style)))


def test_truth_is_left_and_imagination_right_one_row_per_camera(rollout: RolloutRecord) -> None:
    assert rollout.truth is not None and rollout.imagined is not None
    other = rollout.imagined.copy()
    other[:, 1] = (10, 200, 30)
    frames = compose_film(replace(rollout, imagined=other, truth_success=None), PLAIN)
    height, width = 32, 40  # 16 x 20 twice enlarged
    assert frames.shape == (9, 3 * (height + GAP) + GAP, 2 * (width + GAP) + GAP, 3)
    row = GAP + height + GAP  # second camera
    left = frames[2, row : row + height, GAP : GAP + width]
    right = frames[2, row : row + height, GAP + width + GAP : GAP + 2 * width + GAP]
    assert np.array_equal(left[::2, ::2], rollout.truth[2, 1])
    assert np.array_equal(left[1::2, 1::2], rollout.truth[2, 1])
    assert (right == (10, 200, 30)).all()


def test_a_world_that_ended_holds_its_last_frame_dimmed(rollout: RolloutRecord) -> None:
    assert rollout.truth is not None
    frames = compose_film(replace(rollout, truth_success=None), PLAIN)
    tile = frames[8, GAP : GAP + 32, GAP : GAP + 40]
    assert np.array_equal(tile[::2, ::2], rollout.truth[5, 0] // 2)


def test_success_frames_the_truth_from_then_on(rollout: RolloutRecord) -> None:
    frames = compose_film(rollout, PLAIN)
    corner = frames[:, GAP, GAP]
    assert not (corner[4] == SUCCESS).all()
    assert (corner[5:] == SUCCESS).all()


def test_overlay_shows_the_judge_crossing_its_threshold(rollout: RolloutRecord) -> None:
    frames = compose_film(rollout, FilmStyle(tile=160))

    def green(step: int) -> int:
        strip = frames[step, -80:]
        return int((strip == GOOD).all(axis=-1).sum())

    assert green(3) == 0
    assert green(8) > green(5) > 0


def test_overlay_changes_with_the_action(rollout: RolloutRecord) -> None:
    assert rollout.actions is not None
    flipped = replace(rollout, actions=-rollout.actions)
    one, other = compose_film(rollout)[2], compose_film(flipped)[2]
    changed = np.argwhere((one != other).any(axis=-1))
    assert len(changed) and changed[:, 0].min() > one.shape[0] - 30


def test_one_world_alone_is_a_row(rollout: RolloutRecord) -> None:
    frames = compose_film(replace(rollout, truth=None, truth_success=None), PLAIN)
    assert frames.shape[1:3] == (36 + GAP, 3 * 44 + GAP)


@pytest.mark.parametrize("views", [1, 2, 4, 9])
def test_any_number_of_views(views: int) -> None:
    pixels = np.zeros((2, views, 9, 7, 3), np.uint8)
    names = tuple(f"camera {i}" for i in range(views))
    record = RolloutRecord(names, 5, truth=pixels, imagined=pixels[:1])
    assert len(compose_film(record)) == 2


def test_mp4_decodes_whole_and_plays_in_browsers(rollout: RolloutRecord, tmp_path: Path) -> None:
    path = tmp_path / "film.mp4"
    write_film(path, rollout)
    composed = compose_film(rollout)
    decoded = read_video(path)
    assert len(decoded) == len(composed) == 9
    height, width = composed.shape[1:3]
    difference = np.abs(decoded[:, :height, :width].astype(int) - composed)
    assert difference.mean() < 4
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        assert stream.codec_context.name == "h264"
        assert stream.codec_context.pix_fmt == "yuv420p"
        assert stream.average_rate == 10
        assert stream.width % 2 == 0 and stream.height % 2 == 0
    data = path.read_bytes()
    assert data.index(b"moov") < data.index(b"mdat")  # the index stands first


def test_gif_has_every_frame_and_loops(rollout: RolloutRecord, tmp_path: Path) -> None:
    path = tmp_path / "film.gif"
    write_film(path, rollout, speed=0.5)
    with Image.open(path) as image:
        assert getattr(image, "n_frames", 1) == 9
        assert image.info["duration"] == 200
        assert image.info["loop"] == 0


def test_odd_sizes_are_padded(tmp_path: Path) -> None:
    frames = np.random.default_rng(0).integers(0, 255, (3, 33, 35, 3)).astype(np.uint8)
    write_frames(tmp_path / "a.mp4", frames, 7.5)
    assert read_video(tmp_path / "a.mp4").shape == (3, 34, 36, 3)


def test_nothing_is_left_behind_when_writing_fails(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(av.VideoFrame, "from_ndarray", full)
    with pytest.raises(OSError, match="No space"):
        write_frames(tmp_path / "a.mp4", np.zeros((2, 8, 8, 3), np.uint8), 10)
    assert not list(tmp_path.iterdir())


def test_wrong_requests(rollout: RolloutRecord, tmp_path: Path) -> None:
    frames = np.zeros((2, 8, 8, 3), np.uint8)
    with pytest.raises(UsageError, match=r"\.mp4 or \.gif"):
        write_frames(tmp_path / "a.avi", frames, 10)
    with pytest.raises(UsageError, match="frames per second"):
        write_frames(tmp_path / "a.mp4", frames, 0)
    with pytest.raises(UsageError, match="uint8 frames"):
        write_frames(tmp_path / "a.mp4", frames[:0], 10)
    with pytest.raises(UsageError, match="speed"):
        write_film(tmp_path / "a.mp4", rollout, speed=0)
    with pytest.raises(UsageError, match="tile"):
        FilmStyle(tile=3)


def test_text_is_cut_to_fit() -> None:
    text = fit_text("a title that is far too long for a film of this width", 100)
    assert text.endswith("...") and font().getlength(text) <= 100
    assert fit_text("short", 100) == "short"
