"""Video files: fidelity, exact frame addressing, truncation."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from video_testing import write_with

from worldsim.data.video import VideoFile, read_video
from worldsim.data.video_writer import CutError, VideoJoiner, VideoSegment, encode_video, reencode
from worldsim.errors import DataError, UsageError


def moving_square(count: int, height: int = 64, width: int = 64) -> NDArray[np.uint8]:
    """A 6-pixel square on a plain table: what a pushed cube looks like at 64x64."""
    frames = np.full((count, height, width, 3), (205, 198, 190), np.uint8)
    for i in range(count):
        x = (2 * i) % (width - 6)
        frames[i, 20:26, x : x + 6] = (200, 40, 40)
    return frames


def psnr(a: NDArray[np.uint8], b: NDArray[np.uint8]) -> float:
    error = np.mean((a.astype(float) - b.astype(float)) ** 2)
    return float(10 * np.log10(255**2 / error))


def test_small_objects_survive_the_codec(tmp_path: Path) -> None:
    frames = moving_square(40)
    encode_video(tmp_path / "a.mp4", frames, 10)
    back = read_video(tmp_path / "a.mp4")
    assert back.shape == frames.shape
    assert psnr(frames, back) > 38
    # The square itself, not only the table, keeps its colour.
    for i, frame in enumerate(back):
        x = (2 * i) % 58
        centre = frame[22:24, x + 2 : x + 4].reshape(-1, 3).mean(0)
        assert np.abs(centre - (200, 40, 40)).max() < 25


def test_the_same_frames_give_the_same_bytes(tmp_path: Path) -> None:
    """Whatever lies in memory: x264's macroblock tree made one encoding in fifty differ."""
    rng = np.random.default_rng(0)
    frames = moving_square(12, 32, 32)
    frames[:, :8] = rng.integers(0, 255, (12, 8, 32, 3))
    contents = set()
    for i in range(40):
        litter = [np.full(rng.integers(100, 100_000), i, np.uint8) for _ in range(4)]
        encode_video(tmp_path / "a.mp4", frames, 10)
        contents.add((tmp_path / "a.mp4").read_bytes())
        del litter
    assert len(contents) == 1


def test_windows_equal_the_whole_file(tmp_path: Path) -> None:
    frames = moving_square(23)
    encode_video(tmp_path / "a.mp4", frames, 10)
    whole = read_video(tmp_path / "a.mp4")
    with VideoFile(tmp_path / "a.mp4") as video:
        assert video.frame_count == 23 and video.fps == 10
        for first, count in [(0, 1), (22, 1), (3, 7), (17, 6), (0, 23), (1, 2)]:
            assert np.array_equal(video.read(first, count), whole[first : first + count])


@pytest.mark.parametrize(
    ("codec", "options"),
    [
        ("libx264", {"g": "250", "bf": "3", "crf": "4"}),  # reordered frames, one key frame
        ("libsvtav1", {"g": "2", "crf": "20", "preset": "10"}),  # LeRobot's default
    ],
)
def test_third_party_codecs_are_addressed_by_frame(
    tmp_path: Path, codec: str, options: dict[str, str]
) -> None:
    ramp = np.tile(np.arange(20, 220, 8, dtype=np.uint8)[:, None, None, None], (1, 64, 64, 3))
    write_with(tmp_path / "a.mp4", ramp, codec, options)
    with VideoFile(tmp_path / "a.mp4") as video:
        assert video.frame_count == len(ramp)
        for first in (0, 7, 13, len(ramp) - 3):
            grey = video.read(first, 3).mean((1, 2, 3))
            assert np.abs(grey - ramp[first : first + 3, 0, 0, 0]).max() < 3.5


def test_truncation_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "late_index.mp4"
    encode_video(path, moving_square(30), 10)
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(DataError, match="late_index.mp4.*truncated"):
        VideoFile(path)
    # With its index in front the file opens, and only counting the frames tells.
    early = tmp_path / "early_index.mp4"
    write_with(early, moving_square(30), "libx264", {"bf": "0"})
    early.write_bytes(early.read_bytes()[: early.stat().st_size * 2 // 3])
    with VideoFile(early) as video:
        assert video.frame_count < 30
        with pytest.raises(DataError, match="early_index.mp4.*truncated"):
            video.read(0, 30)


def test_bad_frames_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no frames"):
        encode_video(tmp_path / "a.mp4", np.zeros((0, 32, 32, 3), np.uint8), 10)
    with pytest.raises(UsageError, match=r"expected uint8 frames \(32, 32, 3\), got uint8 \(16"):
        encode_video(tmp_path / "a.mp4", [np.zeros((n, n, 3), np.uint8) for n in (32, 16)], 10)
    with pytest.raises(UsageError, match="float32"):
        encode_video(tmp_path / "a.mp4", np.zeros((2, 32, 32, 3), np.float32), 10)
    with pytest.raises(DataError, match="no such video"):
        VideoFile(tmp_path / "absent.mp4")


@pytest.mark.parametrize(("height", "width"), [(31, 32), (32, 47), (33, 45)])
def test_odd_sizes_keep_every_pixel(tmp_path: Path, height: int, width: int) -> None:
    frames = moving_square(5, 48, 48)[:, :height, :width]
    encode_video(tmp_path / "a.mp4", frames, 10)
    found = read_video(tmp_path / "a.mp4")
    assert found.shape == frames.shape
    assert np.abs(found.astype(int) - frames).mean() < 2
    # Cut where no key frame is, they are encoded anew.
    again = reencode(VideoSegment(tmp_path / "a.mp4", 1, 3), tmp_path / "b.mp4", 10)
    assert np.abs(read_video(again.path).astype(int) - frames[1:4]).mean() < 3


def test_joining_copies_frames_exactly(tmp_path: Path) -> None:
    parts = [moving_square(n)[:, :, ::-1] for n in (7, 12, 1, 30)]
    for i, part in enumerate(parts):
        encode_video(tmp_path / f"{i}.mp4", np.ascontiguousarray(part), 10)
    joiner = VideoJoiner(tmp_path / "joined.mp4", 10)
    for i, part in enumerate(parts):
        with VideoFile(tmp_path / f"{i}.mp4") as source:
            assert joiner.append(source, 0, len(part))
    joiner.close()
    separate = np.concatenate([read_video(tmp_path / f"{i}.mp4") for i in range(4)])
    with VideoFile(tmp_path / "joined.mp4") as joined:
        assert joined.fps == 10
        assert np.array_equal(joined.read(0, 50), separate)
        # Cut an episode out of the middle again.
        cutter = VideoJoiner(tmp_path / "cut.mp4", 10)
        assert cutter.append(joined, 7, 12)
        cutter.close()
        with pytest.raises(CutError, match="key frame"):
            VideoJoiner(tmp_path / "bad.mp4", 10).append(joined, 8, 5)
    assert np.array_equal(read_video(tmp_path / "cut.mp4"), separate[7:19])


def test_joining_refuses_another_encoding(tmp_path: Path) -> None:
    encode_video(tmp_path / "a.mp4", moving_square(4), 10)
    encode_video(tmp_path / "b.mp4", moving_square(4, 32, 32), 10)
    joiner = VideoJoiner(tmp_path / "joined.mp4", 10)
    with VideoFile(tmp_path / "a.mp4") as a, VideoFile(tmp_path / "b.mp4") as b:
        assert joiner.append(a, 0, 4)
        assert not joiner.append(b, 0, 4)
    joiner.close()
    assert len(read_video(tmp_path / "joined.mp4")) == 4
