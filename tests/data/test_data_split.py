"""What is held out is a property of the episode, which survives merging."""

import json
from collections.abc import Callable
from pathlib import Path
from shutil import copytree

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from worldsim.data.cache import build_cache
from worldsim.data.clips import ClipDataset
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import Episode
from worldsim.data.merge import merge
from worldsim.data.split import episodes_of, folds_by_index, stored_folds
from worldsim.data.writer import LeRobotWriter
from worldsim.envs.imagination import DatasetStarts
from worldsim.errors import DataError
from worldsim.spec import WorldSpec

MakeEpisode = Callable[..., Episode]


@pytest.fixture(scope="module")
def sources(
    tmp_path_factory: pytest.TempPathFactory, spec: WorldSpec, make_episode: MakeEpisode
) -> list[Path]:
    """Sets of 13, 4 and 11 episodes, no multiple of ten; a seed names an episode."""
    roots, first = [], 0
    for count in (13, 4, 11):
        root = tmp_path_factory.mktemp("sources") / str(count)
        writer = LeRobotWriter(root, spec)
        for index in range(first, first + count):
            writer.add(make_episode(index, steps=2))
        roots.append(writer.finalize())
        first += count
    return roots


def seeds(dataset: LeRobotDataset, part: str) -> set[int]:
    chosen = episodes_of(dataset.folds, part)  # type: ignore[arg-type]
    return {dataset.meta(i).seed for i in chosen}


def test_ten_folds_by_index() -> None:
    assert episodes_of(folds_by_index(range(30)), "val") == [9, 19, 29]
    assert episodes_of(folds_by_index(range(6)), "val") == [5], "small sets still hold one out"
    assert episodes_of(folds_by_index(range(1)), "train") == [0]
    assert episodes_of(folds_by_index([3, 9, 14]), "val") == [1], "the index decides, not the place"
    folds = folds_by_index(range(30))
    both = episodes_of(folds, "train") + episodes_of(folds, "val")
    assert sorted(both) == episodes_of(folds, "all") == list(range(30))


def test_stored_folds_go_before_the_index() -> None:
    rows = [(i, {} if i % 2 else {"worldsim/fold": 9 if i == 4 else 0}) for i in range(10)]
    assert stored_folds(rows, "set") == [0, 1, 0, 3, 9, 5, 0, 7, 0, 9]
    for wrong in (10, -1, "val", 0.5):
        with pytest.raises(DataError, match=r"set: worldsim/fold of episode 7 is .*0 to 9"):
            stored_folds([(7, {"worldsim/fold": wrong})], "set")


@pytest.mark.parametrize("earlier", [False, True], ids=["folds stored", "folds by index"])
def test_merging_moves_no_episode_between_parts(
    tmp_path: Path, sources: list[Path], as_before: Callable[[Path], Path], earlier: bool
) -> None:
    roots = sources
    if earlier:
        roots = [as_before(Path(copytree(root, tmp_path / root.name))) for root in sources]
    datasets = [LeRobotDataset(root) for root in roots]
    merged = merge(roots, tmp_path / "merged")
    again = merge([roots[1], merged.root], tmp_path / "again")
    for part in ("train", "val"):
        before = set.union(*(seeds(dataset, part) for dataset in datasets))
        assert seeds(merged, part) == before
        assert seeds(again, part) == before, "a merged set keeps it too"
    assert seeds(merged, "val") == {1000 + 9, 1000 + 13 + 3, 1000 + 17 + 9}


def test_every_reader_holds_out_the_same_episodes(tmp_path: Path, sources: list[Path]) -> None:
    merged = merge(sources, tmp_path / "merged")
    held_out = seeds(merged, "val")
    cache = build_cache(merged.root, 32)
    clips = ClipDataset(cache, 2, part="val")
    assert {cache.metas[i].seed for i in clips.episodes} == held_out
    taught = ClipDataset(cache, 2, part="train").episodes
    assert {cache.metas[i].seed for i in taught} == seeds(merged, "train")
    starts = DatasetStarts(merged.root, "val", (32, 32))
    assert {starts.episode(i).seed for i in starts.episodes} == held_out


def test_caches_made_before_folds_were_stored_go_by_index(
    sources: list[Path], tmp_path: Path
) -> None:
    cache = build_cache(sources[0], 32, tmp_path)
    note = cache.folder / "cache.json"
    content = json.loads(note.read_text())
    assert content.pop("folds") == cache.folds
    note.write_text(json.dumps(content))
    assert build_cache(sources[0], 32, tmp_path).folds == folds_by_index(range(13))


def test_a_broken_fold_names_the_data_set(tmp_path: Path, sources: list[Path]) -> None:
    root: Path = copytree(sources[1], tmp_path / "set")
    path = root / "meta/episodes/chunk-000/file-000.parquet"
    table = pq.read_table(path)
    place = table.column_names.index("worldsim/fold")
    pq.write_table(table.set_column(place, "worldsim/fold", pa.array([0, 1, 77, 2])), path)
    with pytest.raises(DataError, match=f"{root}: worldsim/fold of episode 2 is 77"):
        _ = LeRobotDataset(root).folds
