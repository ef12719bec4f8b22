"""Own data sets: layout as LeRobot v3.0 wants it, and the way back."""

import json
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import Episode
from worldsim.data.layout import Limits
from worldsim.data.writer import LeRobotWriter
from worldsim.errors import DataError, UsageError
from worldsim.spec import WorldSpec

pd: Any = import_module("pandas")
WriteSet = Callable[..., Path]
MakeEpisode = Callable[..., Episode]
EXACT = ("agent_pos", "state", "action", "action_achieved", "reward", "success", "progress")


def assert_same(found: Episode, wrote: Episode) -> None:
    for name in EXACT:
        ours, theirs = getattr(found, name), getattr(wrote, name)
        assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs), name
    assert found.task == wrote.task
    for camera, frames in wrote.pixels.items():
        assert found.pixels[camera].shape == frames.shape
        assert np.abs(found.pixels[camera].astype(int) - frames).max() <= 4, camera


def test_round_trip(
    tmp_path: Path, spec: WorldSpec, make_episode: MakeEpisode, write_set: WriteSet
) -> None:
    dataset = LeRobotDataset(write_set(tmp_path / "set"))
    assert dataset.spec == spec and dataset.num_episodes == 5
    assert dataset.env_info == {"id": "test/World-v0", "kwargs": {}}
    for index in range(5):
        wrote, found = make_episode(index), dataset.episode(index)
        assert_same(found, wrote)
        before, after = wrote.meta, found.meta
        for name in ("env_id", "seed", "policy", "success", "initial_state", "behaviour"):
            assert getattr(after, name) == getattr(before, name)
        assert after.factors == before.factors
        assert after.rig is not None and before.rig is not None
        assert after.rig.names == before.rig.names
        np.testing.assert_array_equal(after.rig.intrinsics, before.rig.intrinsics)
        np.testing.assert_array_equal(after.rig.mounted, before.rig.mounted)


def test_layout(tmp_path: Path, write_set: WriteSet, make_episode: MakeEpisode) -> None:
    root = write_set(tmp_path / "set")
    assert not [p for p in root.iterdir() if p.name.startswith(".")], "staging was left behind"
    info = json.loads((root / "meta/info.json").read_text())
    lengths = [make_episode(i).length + 1 for i in range(5)]
    assert info["codebase_version"] == "v3.0" and info["fps"] == 10
    assert info["total_episodes"] == 5 and info["total_frames"] == sum(lengths)
    assert info["splits"] == {"train": "0:5"} and info["chunks_size"] == 1000
    assert info["features"]["observation.images.wrist"]["shape"] == [32, 48, 3]
    assert info["features"]["timestamp"]["dtype"] == "float32"

    file = pq.ParquetFile(root / "data/chunk-000/file-000.parquet")
    assert [file.metadata.row_group(g).num_rows for g in range(5)] == lengths
    assert file.metadata.row_group(0).column(0).compression == "SNAPPY"
    schema = file.schema_arrow
    assert schema.field("action").type == pa.list_(pa.float32(), 2)
    assert schema.field("success").type == pa.bool_()
    assert not [name for name in schema.names if "images" in name]
    table = file.read().to_pandas()
    assert (table["index"] == np.arange(len(table))).all()
    first = table[table.episode_index == 1]
    assert (first.frame_index == np.arange(lengths[1])).all()
    assert first.timestamp.dtype == np.float32
    assert list(first.valid_action) == [True] * (lengths[1] - 1) + [False]


def test_episodes_table(tmp_path: Path, write_set: WriteSet, make_episode: MakeEpisode) -> None:
    root = write_set(tmp_path / "set")
    table = pd.read_parquet(root / "meta/episodes/chunk-000/file-000.parquet")
    lengths = np.array([make_episode(i).length + 1 for i in range(5)])
    ends = np.cumsum(lengths)
    assert list(table.dataset_to_index) == list(ends)
    assert list(table.dataset_from_index) == list(ends - lengths)
    key = "videos/observation.images.front"
    np.testing.assert_allclose(table[f"{key}/from_timestamp"], (ends - lengths) / 10)
    np.testing.assert_allclose(table[f"{key}/to_timestamp"], ends / 10)
    assert list(table.seed) == [1000 + i for i in range(5)]
    assert list(table["meta/episodes/file_index"]) == [0] * 5
    action = make_episode(2).action
    np.testing.assert_allclose(table["stats/action/max"][2], action.max(0))
    np.testing.assert_allclose(
        table["stats/action/q10"][2], np.quantile(action.astype(float), 0.1, axis=0)
    )
    assert np.shape(table["stats/observation.images.front/mean"][0]) == (3,)  # nested (3, 1, 1)


def test_pandas_reads_tasks(tmp_path: Path, write_set: WriteSet) -> None:
    tasks = pd.read_parquet(write_set(tmp_path / "set") / "meta/tasks.parquet")
    assert tasks.index.name == "task" and list(tasks.index) == ["task 0", "task 1"]
    assert list(tasks.columns) == ["task_index"] and list(tasks.task_index) == [0, 1]


def test_global_quantiles_are_exact(
    tmp_path: Path, write_set: WriteSet, make_episode: MakeEpisode
) -> None:
    root = write_set(tmp_path / "set")
    stats = json.loads((root / "meta/stats.json").read_text())
    states = np.concatenate([make_episode(i).agent_pos for i in range(5)]).astype(np.float64)
    for name, q in (("q01", 0.01), ("q50", 0.5), ("q99", 0.99)):
        np.testing.assert_allclose(
            stats["observation.state"][name], np.quantile(states, q, axis=0), rtol=1e-12
        )
    assert stats["observation.state"]["count"] == [len(states)]
    assert np.shape(stats["observation.images.wrist"]["std"]) == (3, 1, 1)
    blue = stats["observation.images.wrist"]["mean"][2][0][0]
    assert abs(blue - 96 / 255) < 0.02


def test_cameras_wrap_at_different_episodes(
    tmp_path: Path, write_set: WriteSet, make_episode: MakeEpisode
) -> None:
    limits = Limits(chunks_size=2, data_files_size_in_mb=0.001, video_files_size_in_mb=0.00195)
    dataset = LeRobotDataset(write_set(tmp_path / "set", range(8), limits=limits))
    places = {
        camera.name: [dataset.record(i).videos[camera.key].path for i in range(8)]
        for camera in dataset.index.cameras
    }
    switches = {
        name: [a != b for a, b in zip(p, p[1:], strict=False)] for name, p in places.items()
    }
    assert switches["front"] != switches["wrist"], "the test needs offsets that differ by camera"
    assert any("chunk-001/file-000" in str(path) for path in places["wrist"])
    assert len({dataset.record(i).data for i in range(8)}) > 2
    for index in range(8):
        assert_same(dataset.episode(index), make_episode(index))


def test_drifted_timestamps_still_name_the_right_frame(
    tmp_path: Path, write_set: WriteSet, make_episode: MakeEpisode
) -> None:
    root = write_set(tmp_path / "set")
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    name = "videos/observation.images.front/from_timestamp"
    drifted = pa.array(table[name].to_numpy() + 0.004)  # forty times LeRobot's own tolerance
    pq.write_table(table.set_column(table.column_names.index(name), name, drifted), path)
    for index in range(5):
        assert_same(LeRobotDataset(root).episode(index), make_episode(index))


def test_same_episodes_same_files(tmp_path: Path, write_set: WriteSet) -> None:
    a, b = write_set(tmp_path / "a"), write_set(tmp_path / "b")
    files = sorted(p.relative_to(a) for p in a.rglob("*") if p.is_file())
    assert len(files) == 7
    assert all((a / f).read_bytes() == (b / f).read_bytes() for f in files)


def test_writer_refuses(tmp_path: Path, spec: WorldSpec, make_episode: MakeEpisode) -> None:
    writer = LeRobotWriter(tmp_path / "set", spec)
    good = make_episode(0)
    with pytest.raises(UsageError, match="action has shape"):
        writer.add(Episode(**{**vars(good), "action": good.action[:, :1]}))
    with pytest.raises(UsageError, match="reward holds NaN"):
        writer.add(Episode(**{**vars(good), "reward": good.reward * np.nan}))
    with pytest.raises(UsageError, match="camera 'wrist' has nothing"):
        writer.add(Episode(**{**vars(good), "pixels": {"front": good.pixels["front"]}}))
    with pytest.raises(UsageError, match="another process is writing"):
        LeRobotWriter(tmp_path / "set", spec)
    with pytest.raises(UsageError, match="nothing can be assembled"):
        writer.finalize()
    writer.add(good)
    with pytest.raises(DataError, match="unfinished collection"):
        LeRobotDataset(tmp_path / "set")
    writer.close()
    with pytest.raises(UsageError, match="another collection"):
        LeRobotWriter(tmp_path / "set", spec, collection={"seed": 1})
    LeRobotWriter(tmp_path / "set", spec).finalize()
    with pytest.raises(UsageError, match="finished data set"):
        LeRobotWriter(tmp_path / "set", spec)
