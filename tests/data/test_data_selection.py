"""Some episodes of a data set, chosen or downloaded."""

import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from lerobot_testing import TOP, ForeignSet, codes

from worldsim.data.cache import build_cache
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.faults import errors_of
from worldsim.data.merge import merge
from worldsim.data.selection import Selection, Span, read_episodes, read_selection
from worldsim.data.split import episodes_of
from worldsim.data.verify import verify
from worldsim.envs.imagination import DatasetStarts
from worldsim.errors import DataError, DataWarning, UsageError

LENGTHS = (6, 5, 7, 4, 6)


def some(episodes: Any) -> Any:
    return read_selection(episodes=episodes)


@pytest.fixture
def whole(tmp_path: Path) -> Path:
    return ForeignSet("v2.1", lengths=LENGTHS).write(tmp_path / "whole")


@pytest.mark.parametrize(
    ("given", "spans"),
    [
        (None, ()),
        (3, ((0, 3),)),
        ("1:4", ((1, 4),)),
        (":4", ((0, 4),)),
        ("2:", ((2, None),)),
        ([1, 4], ((1, 2), (4, 5))),
        ([0, "2:4"], ((0, 1), (2, 4))),
    ],
)
def test_ranges_and_lists(given: Any, spans: tuple[Span, ...]) -> None:
    assert read_episodes(given) == spans


@pytest.mark.parametrize("given", [0, -1, True, "4", "4:2", "a:b", "1:2:3", [], [-1], [1.5], {}])
def test_what_names_no_episodes_is_refused(given: Any) -> None:
    with pytest.raises(UsageError, match="episodes"):
        read_episodes(given)


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_chosen_episodes_are_those_of_the_whole(version: str, tmp_path: Path) -> None:
    root = ForeignSet(version, lengths=LENGTHS).write(tmp_path / "set")
    every, chosen = LeRobotDataset(root), LeRobotDataset(root, some([1, "3:5"]))
    assert [record.index for record in chosen.index.records] == [1, 3, 4]
    for place, episode in enumerate((1, 3, 4)):
        one, other = chosen.episode(place), every.episode(episode)
        np.testing.assert_array_equal(one.action, other.action)
        assert codes(one.pixels["top"]) == codes(other.pixels["top"])
    assert verify(root, selection=some([1, "3:5"])) == []


@pytest.mark.parametrize(("given", "shown"), [([7], "7"), ("2:9", "2:9"), ("8:", "8:"), (6, "0:6")])
def test_episodes_beyond_the_last_are_refused(given: Any, shown: str, whole: Path) -> None:
    with pytest.raises(UsageError, match=f"episodes names {shown}, but .* has 5 episodes, 0 to 4"):
        LeRobotDataset(whole, some(given))


def test_selections_have_caches_of_their_own(whole: Path) -> None:
    caches = [build_cache(whole, selection=chosen) for chosen in (None, some(2), some([4]))]
    assert [len(cache.pixels) for cache in caches] == [sum(LENGTHS), 11, 6]
    assert len({cache.folder for cache in caches} | {c.fingerprint for c in caches}) == 6
    assert build_cache(whole, selection=some(2)).fingerprint == caches[1].fingerprint
    assert caches[0].folder.name == "native"


@pytest.mark.parametrize("told", ["rows", "episodes"])
def test_episodes_of_one_outcome(told: str, tmp_path: Path) -> None:
    made = ForeignSet(lengths=LENGTHS)  # rows tell that even ones succeed
    if told == "episodes":
        for episode, row in enumerate(made.episodes):
            row["success"] = episode in (1, 2)
    root = made.write(tmp_path / "set")
    won = [0, 2, 4] if told == "rows" else [1, 2]
    every = LeRobotDataset(root)
    for outcome, kept in (("success", won), ("failure", [i for i in range(5) if i not in won])):
        chosen = Selection(outcome=outcome)  # type: ignore[arg-type]
        dataset = LeRobotDataset(root, chosen)
        assert [record.index for record in dataset.index.records] == kept
        for place, episode in enumerate(kept):
            assert dataset.meta(place).success == (outcome == "success")
            np.testing.assert_array_equal(
                dataset.episode(place).action, every.episode(episode).action
            )
        cache = build_cache(root, selection=chosen)
        assert len(cache.pixels) == sum(LENGTHS[i] for i in kept)
        assert [meta.success for meta in cache.metas] == [outcome == "success"] * len(kept)
    both = LeRobotDataset(root, read_selection(episodes="1:4", outcome="success"))
    assert [r.index for r in both.index.records] == [i for i in won if 1 <= i < 4]


def test_an_outcome_that_no_episode_has_is_refused(whole: Path) -> None:
    with pytest.raises(UsageError, match="outcome=success leaves none of 1 episodes, of which 0"):
        LeRobotDataset(whole, read_selection(episodes=[1], outcome="success"))


def test_selections_without_an_outcome_are_named_as_before() -> None:
    assert "outcome" not in some(2).key and Selection().key == ""
    assert Selection(outcome="success").key


def test_starts_and_merged_sets_are_of_chosen_episodes(whole: Path, tmp_path: Path) -> None:
    starts = DatasetStarts(whole, "all", selection=some("1:3"))
    np.testing.assert_array_equal(
        starts.episode(0).agent_pos, LeRobotDataset(whole).episode(1).agent_pos[0]
    )
    other = ForeignSet("v2.1", lengths=LENGTHS).write(tmp_path / "other")
    merged = merge([whole, other], tmp_path / "both", selection=some([3]))
    assert [record.length for record in merged.index.records] == [4, 4]


def absent_in(root: Path, *files: str) -> Path:
    for file in files:
        (root / file).unlink()
    return root


DATA = "data/chunk-000/episode_00000{}.parquet"
FILM = f"videos/chunk-000/{TOP}/episode_00000{{}}.mp4"


def test_a_partial_download_is_used_and_said(whole: Path) -> None:
    root = absent_in(whole, DATA.format(0), FILM.format(0), FILM.format(3))
    with pytest.warns(DataWarning, match=r"2 of 5 episodes are left out.*episode_000000.parquet"):
        dataset = LeRobotDataset(root)
    assert [record.index for record in dataset.index.records] == [1, 2, 4]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert LeRobotDataset(root, some([1, 4])).num_episodes == 2
    faults = verify(root)
    assert {fault.episode for fault in faults} == {0, 3}, "verify says what is not there"
    assert [dataset.place(index) for index in (1, 2, 4)] == [0, 1, 2]
    with pytest.raises(UsageError, match="no episode 3 among the 3 from 1 to 4"):
        dataset.place(3)


def test_a_file_that_several_episodes_share_takes_them_all(tmp_path: Path) -> None:
    made = ForeignSet("v3.0", lengths=LENGTHS)
    for episode in (3, 4):
        made.episodes[episode][f"videos/{TOP}/file_index"] = 1
    with pytest.warns(DataWarning, match="2 of 5 episodes"):
        dataset = LeRobotDataset(made.write(tmp_path / "set"))
    assert dataset.num_episodes == 3


def test_absent_episodes_that_were_asked_for_are_an_error(whole: Path) -> None:
    root = absent_in(whole, FILM.format(3))
    with pytest.raises(DataError, match=r"episode_000003.mp4, which holds episode 3; .*downloaded"):
        LeRobotDataset(root, some([1, 3]))
    with pytest.warns(DataWarning, match="1 of 3 episodes"):
        assert LeRobotDataset(root, some("1:4")).num_episodes == 2
    shutil.rmtree(root / "data")
    with pytest.raises(DataError, match="no such file"):
        LeRobotDataset(root)


@pytest.mark.filterwarnings("ignore::worldsim.errors.DataWarning")
def test_what_is_downloaded_later_comes_into_the_cache(whole: Path, tmp_path: Path) -> None:
    film = whole / FILM.format(3)
    kept = shutil.move(film, tmp_path / "film.mp4")
    assert build_cache(whole).num_episodes == 4
    shutil.move(kept, film)
    assert build_cache(whole).num_episodes == 5


def test_what_is_held_out_stays_so_whatever_is_selected(tmp_path: Path) -> None:
    root = ForeignSet("v3.0", lengths=(3,) * 12).write(tmp_path / "set")
    whole = LeRobotDataset(root)
    assert episodes_of(whole.folds, "val") == [9]
    chosen = LeRobotDataset(root, some("7:12"))
    assert [chosen.index.records[i].index for i in episodes_of(chosen.folds, "val")] == [9]
    assert LeRobotDataset(root, some([9])).folds == [9]
    assert episodes_of(LeRobotDataset(root, some("2:5")).folds, "val") == [2], "one must be"


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_faults_of_other_episodes_forbid_nothing(version: str, tmp_path: Path) -> None:
    made = ForeignSet(version, lengths=LENGTHS)
    made.episodes[1]["length"] = -1
    made.rows[2]["action"][1] = [float("nan"), 9.0, 9.0]
    root = made.write(tmp_path / "set")
    with pytest.raises(DataError):
        LeRobotDataset(root)
    with pytest.raises(DataError, match="episode 1: length is -1"):
        LeRobotDataset(root, some([1]))
    chosen = LeRobotDataset(root, some([0, 3]))
    own = np.concatenate([made.rows[episode]["action"] for episode in (0, 3)])
    np.testing.assert_allclose(chosen.spec.action.high, own.max(axis=0))
    assert not errors_of(verify(root, selection=some([0, 3])))


@pytest.mark.parametrize("earlier", [False, True])
def test_some_cameras_and_episodes_of_a_set_that_worldsim_recorded(
    earlier: bool,
    write_set: Callable[..., Path],
    as_before: Callable[[Path], Path],
    tmp_path: Path,
) -> None:
    root = write_set(tmp_path / "set")
    root = as_before(root) if earlier else root
    whole = LeRobotDataset(root)
    wanted = read_selection({"cameras": ["wrist"]}, [1])
    chosen = LeRobotDataset(root, wanted)
    assert chosen.spec == whole.spec.seen_by(["wrist"])
    one, other = chosen.episode(0), whole.episode(1)
    np.testing.assert_array_equal(one.pixels["wrist"], other.pixels["wrist"])
    np.testing.assert_array_equal(one.state, other.state)
    assert not verify(root, selection=wanted)
    with pytest.raises(UsageError, match="says itself"):
        LeRobotDataset(root, read_selection({"action": "achieved_action"}))


WRIST = "observation.images.wrist"


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_a_camera_that_is_missing_in_an_episode_shows_black(tmp_path: Path, version: str) -> None:
    made = ForeignSet(version, cameras=(TOP, WRIST), lengths=LENGTHS)
    if version == "v3.0":
        for name in ("chunk_index", "file_index", "from_timestamp", "to_timestamp"):
            made.episodes[2][f"videos/{WRIST}/{name}"] = None
    root = made.write(tmp_path / "set")
    if version == "v2.1":
        absent_in(root, FILM.format(2).replace(TOP, WRIST))
    told = "camera observation.images.wrist is missing in 1 of 5 episodes, and shows black there"
    with pytest.warns(DataWarning, match=told):
        dataset = LeRobotDataset(root)
    assert dataset.num_episodes == 5
    for episode, length in enumerate(LENGTHS):
        assert codes(dataset.frames(episode, "top")) == [
            (r + 7 * episode) % 28 for r in range(length)
        ]
        assert (dataset.frames(episode, "wrist").max() == 0) == (episode == 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert build_cache(root).views_seen.tolist() == [
            [True, episode != 2] for episode in range(5)
        ]
        other = ForeignSet("v3.0", cameras=(TOP, WRIST), lengths=LENGTHS).write(tmp_path / "other")
        merged = merge([root, other], tmp_path / "both")
    assert merged.frames(2, "wrist").max() <= 12 and merged.frames(7, "wrist").max() > 100
    if version == "v3.0":
        assert not errors_of(verify(root))


@pytest.mark.parametrize("version", ["v2.1", "v3.0"])
def test_episodes_without_labels_or_instruction_count_as_none(tmp_path: Path, version: str) -> None:
    made = ForeignSet(version, lengths=LENGTHS, kind="image")
    made.rows[2]["next.success"] = [None] * LENGTHS[2]
    made.rows[2]["task_index"] = [None] * LENGTHS[2]
    if version == "v3.0":  # one file has one type
        made.rows[2]["next.success"] = pa.array([None] * LENGTHS[2], pa.bool_())
        made.rows[2]["task_index"] = pa.array([None] * LENGTHS[2], pa.int64())
    root = made.write(tmp_path / "set")
    dataset = LeRobotDataset(root)
    with pytest.warns(DataWarning, match="next.success is not told in some rows"):
        found = dataset.episode(2)
    assert not found.meta.success and not found.success.any() and found.task == ""
    assert dataset.episode(0).meta.success and dataset.episode(4).meta.success
    assert dataset.episode(1).task == "push it"
    with pytest.warns(DataWarning, match="task_index is not told"):
        assert not errors_of(verify(root))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        merged = merge([root, made.write(tmp_path / "again")], tmp_path / "both")
    assert merged.task(2) == "" and merged.task(3) == "push it"
