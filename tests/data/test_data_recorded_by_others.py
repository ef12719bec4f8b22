"""Data that others recorded: every frame is the row's own, or the set is refused in one line."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from lerobot_testing import TOP, ForeignSet, code_of, codes, picture, png, write_film

from worldsim.cli.main import main
from worldsim.data.cache import build_cache
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.faults import Fault, errors_of
from worldsim.data.merge import merge
from worldsim.data.verify import verify
from worldsim.envs.imagination import DatasetStarts
from worldsim.errors import DataError, DataWarning

WRIST = ("observation.wrist", "observation.images.wrist")


def expected(camera: int, episode: int, length: int) -> list[int]:
    return [code_of(camera, episode, row) for row in range(length)]


def texts(faults: list[Fault]) -> str:
    return "\n".join(map(str, faults))


def quicker(version: str, times: int) -> ForeignSet:
    """A set whose films show every frame several times at so many times the rows' rate."""
    data = ForeignSet(version)
    data.films = {
        key: [f.repeat(times, axis=0) for f in films] for key, films in data.films.items()
    }
    data.film_rate = times * data.fps
    return data


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_frames_are_those_of_the_rows_times(tmp_path: Path, version: str) -> None:
    data = quicker(version, 3)
    root = data.write(tmp_path / "set")
    with pytest.warns(DataWarning, match="runs at 30 fps, info.json says 10"):
        cache = build_cache(root)
    for episode, length in enumerate(data.lengths):
        frames = cache.pixels[cache.rows(episode), 0]
        assert codes(frames) == expected(0, episode, length)
    assert not errors_of(verify(root)) and "runs at 30 fps" in texts(verify(root))
    start = DatasetStarts(root, "all").episode(2)
    assert codes(start.pixels) == expected(0, 2, 1)


def test_merging_keeps_the_frames_of_the_rows_times(tmp_path: Path) -> None:
    data = quicker("v3.0", 3)
    roots = [data.write(tmp_path / name) for name in "ab"]
    merged = merge(roots, tmp_path / "both")
    assert verify(merged.root) == []
    for episode in range(6):
        found = codes(merged.frames(episode, "top"))
        assert found == expected(0, episode % 3, data.lengths[episode % 3])


@pytest.mark.parametrize(
    ("rate", "says"),
    [(5.0, "no frame at 0.1 s"), (20.0, "the file holds"), (7.5, "no frame at 0.1 s"), (25, "at")],
)
def test_films_without_a_frame_at_each_row_are_refused(
    tmp_path: Path, rate: float, says: str
) -> None:
    """Where the file claims another rate than the rows were recorded at."""
    data = ForeignSet(lengths=(12, 12))
    data.film_rate = rate
    root = data.write(tmp_path / "set")
    with pytest.raises(DataError, match=says):
        build_cache(root)
    assert errors_of(verify(root)), "verify says what training would say"
    with pytest.raises(DataError):
        DatasetStarts(root, "all").episode(1)


def test_films_may_be_shifted_by_a_little(tmp_path: Path) -> None:
    data = ForeignSet()
    for row in data.episodes:
        row[f"videos/{TOP}/from_timestamp"] += 0.004
    dataset = LeRobotDataset(data.write(tmp_path / "set"))
    for episode, length in enumerate(data.lengths):
        assert codes(dataset.frames(episode, "top")) == expected(0, episode, length)


def test_no_episode_comes_out_of_another(tmp_path: Path) -> None:
    data = ForeignSet()
    data.episodes[2][f"videos/{TOP}/from_timestamp"] = 0.0
    root = data.write(tmp_path / "set")
    with pytest.raises(DataError, match=r"starts at 0 s, but that of episode \d, .* lasts until"):
        LeRobotDataset(root)
    assert errors_of(verify(root))


@pytest.mark.parametrize("version", ["v3.0", "v2.1"])
def test_no_film_serves_two_cameras_or_episodes(tmp_path: Path, version: str) -> None:
    data = ForeignSet(version, cameras=WRIST)
    root = data.write(tmp_path / "set")
    names = ("video_key",) if version == "v3.0" else ("video_key", "episode_index")
    for name in names:
        fixed = data.info["video_path"].replace("{video_key}", WRIST[0])
        if name == "episode_index":
            fixed = data.info["video_path"].replace("{episode_index:06d}", "000001")
        (root / "meta/info.json").write_text(json.dumps({**data.info, "video_path": fixed}))
        with pytest.raises(DataError, match="lasts until"):
            LeRobotDataset(root)


def test_rows_of_another_rate_are_refused_where_they_are_read(tmp_path: Path) -> None:
    data = ForeignSet(kind="image")
    data.rows[1]["timestamp"] = (np.arange(5) / 30).astype(np.float32)
    root = data.write(tmp_path / "set")
    with pytest.raises(DataError, match="episode 1: timestamps run at 30 fps, info.json says 10"):
        build_cache(root)
    assert [f.episode for f in errors_of(verify(root))] == [1]


def test_cameras_of_one_short_name_keep_their_own_films(tmp_path: Path) -> None:
    root = ForeignSet(cameras=WRIST).write(tmp_path / "set")
    dataset = LeRobotDataset(root)
    assert len(set(dataset.spec.camera_names)) == 2
    for view, name in enumerate(dataset.spec.camera_names):
        assert codes(dataset.frames(1, name)) == expected(view, 1, 5)
    cache = build_cache(root)
    assert codes(cache.pixels[cache.rows(1), 1]) == expected(1, 1, 5)


def depth_images(size: tuple[int, int]) -> ForeignSet:
    data = ForeignSet(kind="image", cameras=(TOP, "observation.images.depth"), size=size)
    data.films["observation.images.depth"] = [
        [np.full(size, 600 + 20 * row, np.uint16) for row in range(n)] for n in data.lengths
    ]
    return data


def test_images_of_depth_are_no_colour_camera(tmp_path: Path) -> None:
    root = depth_images((32, 48)).write(tmp_path / "set")
    with pytest.warns(DataWarning, match=r"observation.images.depth is left out: .* I;16"):
        dataset = LeRobotDataset(root)
    assert dataset.spec.camera_names == ("top",)
    assert "observation.images.depth is left out" in texts(verify(root))
    assert build_cache(root).pixels.shape[1] == 1


def test_one_image_of_depth_among_others_is_refused(tmp_path: Path) -> None:
    data = ForeignSet(kind="image")
    images: list[Any] = list(data.films[TOP][2])
    images[3] = np.full((32, 48), 700, np.uint16)
    data.films[TOP][2] = images
    root = data.write(tmp_path / "set")
    with pytest.raises(DataError, match=r"episode 2, frame 3: the image has mode I;16"):
        build_cache(root)
    assert [f.episode for f in errors_of(verify(root))] == [2]


def test_videos_of_depth_are_no_colour_camera(tmp_path: Path) -> None:
    data = ForeignSet(cameras=(TOP, "observation.images.range"))
    data.info["video_path"] = data.info["video_path"].replace(".mp4", ".mkv")
    root = data.write(tmp_path / "set")
    deep = np.full((sum(data.lengths), 32, 48), 9000, np.uint16)
    for key, frames in {
        TOP: np.concatenate(data.films[TOP]),
        "observation.images.range": deep,
    }.items():
        path = root / f"videos/{key}/chunk-000/file-000.mkv"
        codec, pixels = ("libx264", "yuv420p") if key == TOP else ("ffv1", "gray16le")
        write_film(path, frames, 10, codec, pixels)
    with pytest.warns(DataWarning, match=r"images.range is left out: .* gray16le"):
        assert LeRobotDataset(root).spec.camera_names == ("top",)


def test_an_episode_listed_twice_is_refused(tmp_path: Path) -> None:
    data = ForeignSet()
    data.episodes.append(data.episodes[-1])
    root = data.write(tmp_path / "set")
    with pytest.raises(DataError, match="episode 2: the episodes table lists it 2 times"):
        LeRobotDataset(root)
    assert "lists it 2 times" in texts(errors_of(verify(root)))


@pytest.mark.parametrize("spoil", ["cut", "bytes", "size", "null"])
def test_stored_images_are_looked_into(tmp_path: Path, spoil: str) -> None:
    data = ForeignSet(kind="image")
    root = data.write(tmp_path / "set")
    path = root / "data/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    images = table[TOP].to_pylist()
    whole = images[8]["bytes"]
    images[8] = {
        "cut": {"bytes": whole[:-30], "path": None},
        "bytes": {"bytes": whole[:40], "path": None},
        "size": {"bytes": png(picture(1, (16, 16))), "path": None},
        "null": None,
    }[spoil]
    column = pa.array(images, table[TOP].type)
    pq.write_table(table.set_column(table.column_names.index(TOP), TOP, column), path)
    assert [f.episode for f in errors_of(verify(root))] == [1]
    with pytest.raises(DataError, match=r"episode 1, frame 2"):
        build_cache(root)


@pytest.mark.parametrize("kind", ["video", "image"])
def test_verify_says_what_training_would_say(tmp_path: Path, kind: str) -> None:
    data = ForeignSet(kind=kind)
    del data.info["features"]["action"]
    root = data.write(tmp_path / "set")
    with pytest.raises(DataError) as refusal:
        _ = LeRobotDataset(root).spec
    assert str(refusal.value) in texts(errors_of(verify(root)))
    short = ForeignSet(kind=kind, lengths=(1, 1, 1)).write(tmp_path / "short")
    assert "no episode has two rows" in texts(errors_of(verify(short)))


def test_limits_are_those_of_the_rows(tmp_path: Path) -> None:
    data = ForeignSet()
    root = data.write(tmp_path / "set")
    wrong = {"action": {"min": [-9.0] * 3, "max": [0.1] * 3}}
    (root / "meta/stats.json").write_text(json.dumps(wrong))
    spec = LeRobotDataset(root).spec
    actions = np.concatenate([rows["action"] for rows in data.rows])
    np.testing.assert_allclose(spec.action.low, actions.min(axis=0), rtol=1e-6)
    np.testing.assert_allclose(spec.action.high, actions.max(axis=0), rtol=1e-6)
    assert "action lies between" in texts(verify(root)) and not errors_of(verify(root))


def test_merging_av1_copies_packets(tmp_path: Path) -> None:
    data = ForeignSet(lengths=(10, 10), size=(64, 96))
    data.codec = "libsvtav1"
    roots = [data.write(tmp_path / name) for name in "ab"]
    merged = merge(roots, tmp_path / "both")
    assert not errors_of(verify(merged.root))
    for episode in range(4):
        found = merged.frames(episode, "top")
        assert codes(found) == expected(0, episode % 2, 10)
        truth = LeRobotDataset(roots[0]).frames(episode % 2, "top")
        np.testing.assert_array_equal(found, truth)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        (f"videos/{TOP}/from_timestamp", float("nan")),
        (f"videos/{TOP}/from_timestamp", -1.0),
        (f"videos/{TOP}/file_index", None),
        ("data/chunk_index", None),
        ("length", None),
        ("length", 0),
    ],
)
def test_one_line_names_episode_and_column(
    tmp_path: Path, column: str, value: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    data = ForeignSet()
    data.episodes[1] = {**data.episodes[1], column: value}
    root = data.write(tmp_path / "set")
    for action in ("inspect", "verify", "preview"):
        assert main(["data", action, f"root={root}", f"out={tmp_path / 'x.png'}"]) == 1
        line = capsys.readouterr().err.splitlines()[-1]
        assert "episode 1" in line and column in line and "Traceback" not in line


def test_a_set_without_a_path_for_its_videos_names_the_camera(tmp_path: Path) -> None:
    data = ForeignSet()
    data.info["video_path"] = None
    with pytest.raises(DataError, match=rf"info.json: video_path is None.*{TOP}"):
        LeRobotDataset(data.write(tmp_path / "set"))
