"""Names and rows as LeRobot's own policies take them, and sets written under earlier names."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import Episode
from worldsim.data.layout import Limits
from worldsim.data.merge import merge
from worldsim.data.verify import verify
from worldsim.data.writer import LeRobotWriter
from worldsim.spec import WorldSpec

WriteSet = Callable[..., Path]
MakeEpisode = Callable[..., Episode]
CHANNELS = ("agent_pos", "state", "action", "action_achieved", "reward", "success", "progress")


def test_a_lerobot_policy_is_given_only_what_a_robot_has(
    tmp_path: Path, write_set: WriteSet
) -> None:
    """LeRobot types inputs and outputs by the beginnings of their names."""
    features = json.loads((write_set(tmp_path / "set") / "meta/info.json").read_text())["features"]
    seen = {key for key in features if key.startswith("observation")}
    assert seen == {
        "observation.images.front",
        "observation.images.wrist",
        "observation.state",
    }
    assert [key for key in features if key.startswith("action")] == ["action"]


def test_every_row_holds_an_action_that_was_commanded(
    tmp_path: Path, write_set: WriteSet, make_episode: MakeEpisode
) -> None:
    root = write_set(tmp_path / "set")
    table = pq.read_table(root / "data/chunk-000/file-000.parquet")
    for name, truth in (("action", "action"), ("achieved_action", "action_achieved")):
        found = np.stack(table[name].to_numpy())
        first = 0
        for index in range(5):
            commanded = getattr(make_episode(index), truth)
            rows = found[first : first + len(commanded) + 1]
            np.testing.assert_array_equal(rows[:-1], commanded)
            np.testing.assert_array_equal(rows[-1], commanded[-1])
            first += len(rows)


def test_statistics_count_only_actions_that_were_taken(
    tmp_path: Path, write_set: WriteSet, make_episode: MakeEpisode
) -> None:
    stats = json.loads((write_set(tmp_path / "set") / "meta/stats.json").read_text())
    for name, channel in (("action", "action"), ("achieved_action", "action_achieved")):
        taken = np.concatenate([getattr(make_episode(i), channel) for i in range(5)])
        assert stats[name]["count"] == [len(taken)]
        np.testing.assert_allclose(stats[name]["mean"], taken.astype(float).mean(0), rtol=1e-12)


def test_the_episodes_table_has_few_row_groups(
    tmp_path: Path, spec: WorldSpec, make_episode: MakeEpisode
) -> None:
    writer = LeRobotWriter(tmp_path / "set", spec)
    for index in range(12):
        writer.add(make_episode(index % 4, steps=1))
    path = writer.finalize() / "meta/episodes/chunk-000/file-000.parquet"
    file = pq.ParquetFile(path)
    assert file.metadata.num_row_groups == 1 and file.metadata.num_rows == 12
    assert file.read()["episode_index"].to_pylist() == list(range(12))


def test_a_full_episodes_file_starts_the_next(tmp_path: Path, write_set: WriteSet) -> None:
    root = write_set(tmp_path / "set", range(6), limits=Limits(data_files_size_in_mb=0.005))
    files = sorted((root / "meta/episodes").glob("*/*.parquet"))
    assert len(files) > 1
    for number, path in enumerate(files):
        assert set(pq.read_table(path)["meta/episodes/file_index"].to_pylist()) == {number}
    assert LeRobotDataset(root).num_episodes == 6 and verify(root) == []


def test_sets_of_earlier_names_read_as_before(
    tmp_path: Path, write_set: WriteSet, as_before: Callable[[Path], Path]
) -> None:
    new = LeRobotDataset(write_set(tmp_path / "new"))
    old = LeRobotDataset(as_before(write_set(tmp_path / "old")))
    assert verify(old.root) == []
    for index in range(5):
        ours, theirs = new.episode(index), old.episode(index)
        for name in CHANNELS:
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))


def test_merging_brings_earlier_sets_to_todays_form(
    tmp_path: Path, write_set: WriteSet, as_before: Callable[[Path], Path]
) -> None:
    old, new = as_before(write_set(tmp_path / "old", range(3))), write_set(tmp_path / "new")
    merged = merge([old, new], tmp_path / "both")
    again = merge([write_set(tmp_path / "same", range(3)), new], tmp_path / "again")
    parts = ("data", "meta")
    files = [p.relative_to(again.root) for part in parts for p in (again.root / part).rglob("*.*")]
    assert len(files) == 5
    for file in files:
        assert (merged.root / file).read_bytes() == (again.root / file).read_bytes(), file


def test_a_collection_begun_under_earlier_names_is_finished(
    tmp_path: Path, spec: WorldSpec, make_episode: MakeEpisode, write_set: WriteSet
) -> None:
    writer = LeRobotWriter(tmp_path / "set", spec, {"id": "test/World-v0", "kwargs": {}})
    for index in range(2):
        writer.add(make_episode(index))
    rows = writer.staging.path(0) / "rows.parquet"
    earlier = {
        "privileged_state": "observation.environment_state",
        "achieved_action": "action_achieved",
        "valid_action": "action_mask",
    }
    table = pq.read_table(rows)
    pq.write_table(table.rename_columns([earlier.get(n, n) for n in table.column_names]), rows)
    root, whole = writer.finalize(), write_set(tmp_path / "whole", range(2))
    file = "data/chunk-000/file-000.parquet"
    assert (root / file).read_bytes() == (whole / file).read_bytes()


@pytest.mark.parametrize("steps", [1, 4])
def test_the_reader_masks_the_last_action(
    tmp_path: Path, spec: WorldSpec, make_episode: MakeEpisode, steps: int
) -> None:
    writer = LeRobotWriter(tmp_path / "set", spec)
    writer.add(make_episode(0, steps=steps))
    arrays = LeRobotDataset(writer.finalize()).arrays(0)
    assert list(arrays["action_mask"]) == [True] * steps + [False]
    assert not arrays["action"][-1].any() and not arrays["action_achieved"][-1].any()
