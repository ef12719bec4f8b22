"""Data sets that worldsim did not record: LeRobot v2.1, and v3.0 without our keys."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from worldsim.data.cache import build_cache
from worldsim.data.clips import ClipDataset
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.faults import errors_of
from worldsim.data.merge import merge
from worldsim.data.rows import success_of
from worldsim.data.verify import verify
from worldsim.data.video_writer import encode_video
from worldsim.envs.imagination import DatasetStarts
from worldsim.errors import DataError, UsageError

LENGTHS = (9, 6, 12)
CAMERA = "observation.images.top"


def frames_of(episode: int, size: tuple[int, int] = (48, 64)) -> np.ndarray:
    frames = np.full((LENGTHS[episode], *size, 3), 40 * (episode + 1), np.uint8)
    frames[..., 1] = (20 + 10 * np.arange(LENGTHS[episode]))[:, None, None]
    return frames


def actions_of(episode: int) -> np.ndarray:
    values = np.arange(LENGTHS[episode] * 3).reshape(-1, 3) * (episode + 1)
    return values.astype(np.float32)


def rows_of(episode: int, start: int) -> dict[str, Any]:
    rows = LENGTHS[episode]
    return {
        "action": actions_of(episode).tolist(),
        "observation.state": (actions_of(episode) + 0.5).tolist(),
        "next.reward": np.linspace(0, 1, rows, dtype=np.float32),
        "next.success": np.arange(rows) >= rows - (1 if episode == 0 else 3),
        "timestamp": (np.arange(rows) / 5).astype(np.float32),
        "frame_index": np.arange(rows),
        "episode_index": np.full(rows, episode),
        "index": np.arange(rows) + start,
        "task_index": np.full(rows, episode % 2),
    }


def features(kind: str = "video") -> dict[str, Any]:
    return {
        CAMERA: {"dtype": kind, "shape": [48, 64, 3], "names": ["height", "width", "channel"]},
        "observation.images.depth": {
            "dtype": "video",
            "shape": [48, 64, 1],
            "names": None,
            "info": {"video.is_depth_map": True},
        },
        "action": {"dtype": "float32", "shape": [3], "names": {"motors": ["j1", "j2", "j3"]}},
        "observation.state": {"dtype": "float32", "shape": [3], "names": None},
        "next.reward": {"dtype": "float32", "shape": [1], "names": None},
        "next.success": {"dtype": "bool", "shape": [1], "names": None},
    }


def write_v21(root: Path) -> Path:
    """One parquet and one mp4 an episode, metadata as JSON lines."""
    (root / "meta").mkdir(parents=True)
    info = {
        "codebase_version": "v2.1",
        "robot_type": "so100",
        "fps": 5,
        "chunks_size": 2,
        "total_episodes": 3,
        "total_frames": sum(LENGTHS),
        "features": features(),
        "data_path": "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet",
        "video_path": "videos/chunk-{episode_chunk:03d}/{video_key}/"
        "episode_{episode_index:06d}.mp4",
        "a_key_of_the_future": {"x": 1},
    }
    (root / "meta/info.json").write_text(json.dumps(info))
    tasks = [{"task_index": i, "task": f"do {i}"} for i in range(2)]
    episodes = [
        {"episode_index": i, "tasks": [f"do {i % 2}"], "length": n} for i, n in enumerate(LENGTHS)
    ]
    for name, lines in (("tasks", tasks), ("episodes", episodes)):
        text = "".join(json.dumps(line) + "\n" for line in lines)
        (root / f"meta/{name}.jsonl").write_text(text)
    for episode in range(3):
        names = {"episode_chunk": episode // 2, "episode_index": episode}
        data = root / str(info["data_path"]).format(**names)
        video = root / str(info["video_path"]).format(video_key=CAMERA, **names)
        data.parent.mkdir(parents=True, exist_ok=True)
        video.parent.mkdir(parents=True, exist_ok=True)
        pq.write_table(pa.table(rows_of(episode, sum(LENGTHS[:episode]))), data)
        encode_video(video, frames_of(episode), 5)
    return root


def write_v3_images(root: Path) -> Path:
    """v3.0 with images inside the rows, all episodes in one row group, an old tasks file."""
    (root / "meta/episodes/chunk-000").mkdir(parents=True)
    (root / "data/chunk-000").mkdir(parents=True)
    info = {
        "codebase_version": "v3.0",
        "fps": 5,
        "features": features("image"),
        "data_path": "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        "video_path": None,
    }
    del info["features"]["observation.images.depth"]  # type: ignore[attr-defined]
    (root / "meta/info.json").write_text(json.dumps(info))
    tables = []
    for episode in range(3):
        rows = rows_of(episode, sum(LENGTHS[:episode]))
        rows[CAMERA] = [{"bytes": png(frame), "path": ""} for frame in frames_of(episode)]
        tables.append(pa.table(rows))
    pq.write_table(pa.concat_tables(tables), root / "data/chunk-000/file-000.parquet")
    starts = [sum(LENGTHS[:i]) for i in range(3)]
    episodes = {
        "episode_index": [0, 1, 2],
        "length": list(LENGTHS),
        "data/chunk_index": [0, 0, 0],
        "data/file_index": [0, 0, 0],
        "dataset_from_index": starts,
        "dataset_to_index": [s + n for s, n in zip(starts, LENGTHS, strict=True)],
    }
    pq.write_table(pa.table(episodes), root / "meta/episodes/chunk-000/file-000.parquet")
    tasks = pa.table({"task_index": [0, 1], "__index_level_0__": ["do 0", "do 1"]})
    pq.write_table(tasks, root / "meta/tasks.parquet")
    return root


def png(frame: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.mark.parametrize("write", [write_v21, write_v3_images])
def test_foreign_sets_read(tmp_path: Path, write: Callable[[Path], Path]) -> None:
    dataset = LeRobotDataset(write(tmp_path / "set"))
    spec = dataset.spec
    assert spec.fps == 5 and spec.camera_names == ("top",), "depth maps are no colour camera"
    assert spec.action.names == ("j1", "j2", "j3") and spec.action.mode == "absolute"
    assert spec.action.low == (0.0, 1.0, 2.0)
    assert spec.action.high == tuple(3.0 * x for x in (33, 34, 35))
    assert spec.agent_pos.names == ("state_0", "state_1", "state_2") and spec.state.dim == 0
    for index, length in enumerate(LENGTHS):
        episode = dataset.episode(index)
        # N rows are N observations and N - 1 actions whose outcome was seen.
        assert episode.length == length - 1
        np.testing.assert_array_equal(episode.action, actions_of(index)[:-1])
        np.testing.assert_array_equal(episode.agent_pos, actions_of(index) + 0.5)
        assert np.abs(episode.pixels["top"].astype(int) - frames_of(index)).max() <= 4
        assert episode.task == f"do {index % 2}" and episode.meta.rig is None
        assert episode.state.shape == (length, 0)


def test_next_columns_belong_to_the_following_row(tmp_path: Path) -> None:
    dataset = LeRobotDataset(write_v21(tmp_path / "set"))
    episode = dataset.episode(1)
    assert list(episode.success) == [False] * 4 + [True] * 2
    np.testing.assert_allclose(episode.reward[1:], np.linspace(0, 1, 6)[:-1], rtol=1e-6)
    name = next(iter(episode.pixels))
    few = dataset.frames(1, name, most=2)
    np.testing.assert_array_equal(few, dataset.frames(1, name)[:2])
    assert len(dataset.frames(1, name, most=99)) == LENGTHS[1]
    assert episode.reward[0] == 0
    # Success after the last recorded observation is the last one's: nothing later was seen.
    assert list(dataset.episode(0).success) == [False] * 8 + [True] and dataset.meta(0).success


def test_an_episode_that_is_called_successful_ends_in_success() -> None:
    def rows(succeeded: bool) -> pa.Table:
        return pa.table({"is_episode_successful": [succeeded] * 4})

    assert list(success_of(rows(True))) == [False] * 3 + [True]
    assert not success_of(rows(False)).any() and not success_of(pa.table({"a": [0, 1]})).any()


def test_starts_are_of_the_size_asked_and_of_episodes_held_out(tmp_path: Path) -> None:
    starts = DatasetStarts(write_v21(tmp_path / "set"), "val", (16, 32))
    assert starts.episodes == [2], "what `worldsim train` holds out of three"
    assert starts.spec.cameras[0].height == 16 and starts.episode(2).pixels.shape == (1, 16, 32, 3)
    assert DatasetStarts(tmp_path / "set", "train").spec.cameras[0].height == 48


def test_foreign_sets_train(tmp_path: Path) -> None:
    """What `worldsim train` makes of such a set."""
    cache = build_cache(write_v21(tmp_path / "set"), image_size=32)
    assert cache.pixels.shape == (sum(LENGTHS), 1, 32, 32, 3)
    assert cache.spec.cameras[0].width == 32 and not cache.rigs.known.any()
    assert set(cache.statistics()) == {"agent_pos", "action"}
    batch = ClipDataset(cache, 4).batch([0, 1])
    assert batch["state"].shape == (2, 4, 0) and not batch["rig_known"].any()
    assert batch["intrinsics"].det().abs().min() > 0, "placeholder cameras must be invertible"


def test_foreign_sets_merge_and_verify(tmp_path: Path) -> None:
    roots = [write_v21(tmp_path / name) for name in "ab"]
    for root in roots:
        info = json.loads((root / "meta/info.json").read_text())
        del info["features"]["observation.images.depth"]  # it has no files here
        (root / "meta/info.json").write_text(json.dumps(info))
        assert [f.message[:26] for f in verify(root)] == ["actions are not normalised"]
    merged = merge(roots, tmp_path / "both")
    assert merged.info["codebase_version"] == "v3.0" and merged.info["robot_type"] == "so100"
    assert errors_of(verify(merged.root)) == []
    for index in range(6):
        found, truth = merged.episode(index), LeRobotDataset(roots[0]).episode(index % 3)
        np.testing.assert_array_equal(found.pixels["top"], truth.pixels["top"])
        np.testing.assert_array_equal(found.action, truth.action)
        np.testing.assert_array_equal(found.success, truth.success)
        assert found.task == truth.task


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no LeRobot data set"):
        LeRobotDataset(tmp_path)
    root = write_v21(tmp_path / "set")
    info = json.loads((root / "meta/info.json").read_text())
    (root / "meta/info.json").write_text(json.dumps({**info, "codebase_version": "v1.6"}))
    with pytest.raises(DataError, match=r"'v1.6' is not readable"):
        LeRobotDataset(root)
    (root / "meta/info.json").write_text(json.dumps(info)[:-30])
    with pytest.raises(DataError, match=r"info.json is not valid JSON"):
        LeRobotDataset(root)
    (root / "meta/info.json").write_text(json.dumps(info))
    (root / "meta/episodes.jsonl").write_text('{"episode_index": 0, "tasks": []}\n')
    with pytest.raises(DataError, match="lacks the column 'length'"):
        LeRobotDataset(root)


def test_a_set_without_actions_is_refused(tmp_path: Path) -> None:
    root = write_v21(tmp_path / "set")
    info = json.loads((root / "meta/info.json").read_text())
    del info["features"]["action"]
    (root / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(DataError, match="needs camera features and 'action'"):
        _ = LeRobotDataset(root).spec
    with pytest.raises(UsageError, match="has episodes 0 to 2, not 3"):
        LeRobotDataset(root).rows(3)
