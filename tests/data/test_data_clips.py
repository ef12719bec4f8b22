"""The decoded cache and the windows cut from it."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import worldsim.data.cache as cache_module
from worldsim.data.cache import CachedDataset, build_cache
from worldsim.data.clips import ClipDataset
from worldsim.data.dataset import LeRobotDataset
from worldsim.data.episode import Episode
from worldsim.data.memory_sampler import MEMORY_SAMPLERS, MemorySamplerConfig
from worldsim.data.split import HELD_OUT
from worldsim.errors import DataError, UsageError

WriteSet = Callable[..., Path]
MakeEpisode = Callable[..., Episode]


@pytest.fixture
def cache(tmp_path: Path, write_set: WriteSet) -> CachedDataset:
    return build_cache(write_set(tmp_path / "set", range(6)), image_size=32)


def test_cache_holds_what_the_episodes_hold(
    cache: CachedDataset, make_episode: MakeEpisode
) -> None:
    for index in range(6):
        rows, episode = cache.rows(index), make_episode(index)
        assert rows.stop - rows.start == episode.length + 1
        for name in ("agent_pos", "state", "reward", "success", "progress"):
            np.testing.assert_array_equal(getattr(cache, name)[rows], getattr(episode, name))
        np.testing.assert_array_equal(cache.action[rows][:-1], episode.action)
        assert not cache.action[rows][-1].any()
        assert list(cache.action_mask[rows]) == [True] * episode.length + [False]
        front = cache.pixels[rows, 0].astype(int)
        assert np.abs(front - episode.pixels["front"]).max() <= 4
        assert cache.tasks[index] == episode.task
        assert cache.metas[index].seed == 1000 + index
    assert isinstance(cache.pixels, np.memmap) and not cache.pixels.flags.writeable


def test_resized_cameras_keep_their_rays(cache: CachedDataset) -> None:
    # The wrist camera is 32x48 on disk and 32x32 in the cache: only x shrinks.
    wrist = cache.rigs.intrinsics[0, 1]
    expected = np.array([[20.0, 0.0, 32 / 3], [0.0, 30.0, 16.0], [0.0, 0.0, 1.0]])
    np.testing.assert_allclose(wrist, expected, rtol=1e-6)
    np.testing.assert_allclose(cache.rigs.intrinsics[0, 0, 0], [30, 0, 16])
    assert cache.rigs.known.all() and list(cache.rigs.mounted[3]) == [False, True]


def test_a_camera_that_is_black_in_a_whole_episode_is_missing_there(cache: CachedDataset) -> None:
    pixels = np.array(cache.pixels)
    pixels[cache.rows(2), 1] = 5  # what a codec makes of black
    pixels[cache.rows(4).start, 1] = 0  # dark at first only
    dark = replace(cache, pixels=pixels)
    expected = np.ones((6, 2), bool)
    expected[2, 1] = False
    np.testing.assert_array_equal(dark.views_seen, expected)
    clips = ClipDataset(dark, 3)
    batch = clips.batch(np.arange(len(clips)))
    missing = (batch["episode"] == 2)[:, None] & batch["frame_mask"]
    assert torch.equal(batch["view_mask"][..., 1], batch["frame_mask"] & ~missing)
    assert torch.equal(batch["view_mask"][..., 0], batch["frame_mask"])


def test_a_cache_of_no_data_set_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no LeRobot data set"):
        build_cache(tmp_path / "none")
    assert list(tmp_path.iterdir()) == []


def test_mixed_camera_sizes_need_a_size(tmp_path: Path, write_set: WriteSet) -> None:
    with pytest.raises(UsageError, match="image_size"):
        build_cache(write_set(tmp_path / "set"))


def test_statistics_count_real_actions_only(
    cache: CachedDataset, make_episode: MakeEpisode
) -> None:
    actions = np.concatenate([make_episode(i).action for i in (1, 4)]).astype(np.float64)
    found = cache.statistics([1, 4])["action"]
    np.testing.assert_allclose(found.q90, np.quantile(actions, 0.9, axis=0), rtol=1e-12)
    assert found.count == len(actions)


def test_cache_is_reused_until_the_data_change(
    tmp_path: Path, write_set: WriteSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = write_set(tmp_path / "set")
    opened: list[Path] = []

    class Counted(LeRobotDataset):
        def __init__(self, root: Path | str, *rest: Any) -> None:
            opened.append(Path(root))
            super().__init__(root, *rest)

    monkeypatch.setattr(cache_module, "LeRobotDataset", Counted)
    first = build_cache(root, 32)
    build_cache(root, 32)
    assert len(opened) == 1
    build_cache(root, 16)
    assert len(opened) == 2, "another image size is another cache"
    os.utime(root / "data/chunk-000/file-000.parquet", (1, 1))
    again = build_cache(root, 32)
    assert len(opened) == 3 and again.fingerprint != first.fingerprint
    np.testing.assert_array_equal(again.pixels, first.pixels)


def test_failed_builds_leave_nothing(tmp_path: Path, write_set: WriteSet) -> None:
    root = write_set(tmp_path / "set")
    video = root / "videos/observation.images.wrist/chunk-000/file-000.mp4"
    video.write_bytes(video.read_bytes()[:-100])
    with pytest.raises(DataError, match=r"wrist/chunk-000/file-000.mp4"):
        build_cache(root, 32)
    assert not list((root / "cache").iterdir())
    (root / "cache/.32x32.999999999.tmp").mkdir()  # as a kill -9 leaves it
    with pytest.raises(DataError):
        build_cache(root, 32)
    assert not list((root / "cache").iterdir())


def test_windows_cover_first_and_last_frame_and_stay_inside(cache: CachedDataset) -> None:
    clips = ClipDataset(cache, 5)
    lengths = np.diff(cache.episode_start)
    assert len(clips) == sum(max(n - 4, 1) for n in lengths)
    batch = clips.batch(np.arange(len(clips)))
    for episode, length in enumerate(lengths):
        starts = batch["start"][batch["episode"] == episode]
        assert starts.min() == 0 and starts.max() == max(length - 5, 0)
    strided = ClipDataset(cache, 5, stride=4)
    ends = strided.batch(np.arange(len(strided)))["start"].numpy() + 5
    assert set(np.minimum(ends, lengths.max()).tolist()) >= set(lengths[lengths >= 5].tolist())


def test_rows_of_a_clip_belong_together(cache: CachedDataset, make_episode: MakeEpisode) -> None:
    clips = ClipDataset(cache, 4)
    for index in range(len(clips)):
        clip = clips[index]
        episode, start = int(clip["episode"]), int(clip["start"])
        truth = make_episode(episode)
        for t in range(4):
            # Green codes the frame: observation, state and action of row t are one instant's.
            green = clip["pixels"][t, 0, ..., 1].float().mean()
            assert abs(green - (20 + 8 * (start + t))) < 3
            np.testing.assert_array_equal(clip["state"][t], truth.state[start + t])
            if start + t < truth.length:
                np.testing.assert_array_equal(clip["action"][t], truth.action[start + t])
                assert clip["action_mask"][t]
            else:
                assert not clip["action_mask"][t] and not clip["action"][t].any()
    assert clip["view_mask"].shape == (4, 2) and clip["view_mask"].all()


def test_batches_equal_single_items(cache: CachedDataset) -> None:
    clips = ClipDataset(cache, 3)
    chosen = [7, 0, len(clips) - 1, 7]
    batch = clips.batch(torch.tensor(chosen))
    for row, index in enumerate(chosen):
        item = clips[index]
        assert item.keys() == batch.keys()
        assert all(torch.equal(item[name], batch[name][row]) for name in item)
    with pytest.raises(IndexError):
        clips[len(clips)]


def test_short_episodes_are_padded_and_masked(cache: CachedDataset) -> None:
    length = int(np.diff(cache.episode_start).min())
    episode = int(np.diff(cache.episode_start).argmin())
    clips = ClipDataset(cache, length + 3, episodes=[episode])
    assert len(clips) == 1
    clip = clips[0]
    assert clip["frame_mask"].tolist() == [True] * length + [False] * 3
    assert clip["action_mask"].tolist() == [True] * (length - 1) + [False] * 4
    assert not clip["view_mask"][length:].any()
    assert torch.equal(clip["pixels"][-1], clip["pixels"][length - 1])
    assert not clip["action"][length - 1 :].any()


def test_latents_replace_pixels(cache: CachedDataset) -> None:
    count = len(cache.pixels)
    latents = np.arange(count, dtype=np.float16).reshape(count, 1, 1, 1, 1).repeat(2, axis=1)
    clip = ClipDataset(cache, 3, latents=latents)[2]
    assert "pixels" not in clip and clip["latents"].shape == (3, 2, 1, 1, 1)
    assert clip["latents"][:, 0, 0, 0, 0].tolist() == [2, 3, 4]
    with pytest.raises(UsageError, match="latents for"):
        ClipDataset(cache, 3, latents=latents[:-1])


def test_clips_of_a_part_are_of_its_episodes(cache: CachedDataset) -> None:
    third = replace(cache, folds=[0, 1, HELD_OUT, 3, 4, HELD_OUT])
    train, held_out = (ClipDataset(third, 3, part=part) for part in ("train", "val"))
    owners = [set(c.batch(np.arange(len(c)))["episode"].tolist()) for c in (train, held_out)]
    assert owners == [{0, 1, 3, 4}, {2, 5}]


@pytest.mark.parametrize("name", sorted(MEMORY_SAMPLERS))
def test_remembered_rows_lie_before_their_clip(name: str, square_data: CachedDataset) -> None:
    clips = ClipDataset(square_data, 4, memory=MemorySamplerConfig(name, 3))

    def draw(seed: int) -> dict[str, torch.Tensor]:
        return clips.batch(range(12), torch.Generator().manual_seed(seed))

    batch = draw(0)
    if name == "none":
        assert "memory_rows" not in batch
        return
    starts = torch.from_numpy(square_data.episode_start)[batch["episode"]]
    for row in range(12):
        kept = batch["memory_rows"][row][batch["memory_frame_mask"][row]] - starts[row]
        numbers = batch["memory_number"][row][batch["memory_frame_mask"][row]]
        assert len(kept) == min(3, int(batch["start"][row])) and torch.equal(numbers, kept)
        assert (kept.diff() > 0).all() and (kept < batch["start"][row]).all()
        agent = torch.from_numpy(square_data.agent_pos[batch["memory_rows"][row].numpy()])
        assert torch.equal(batch["memory_agent_pos"][row], agent)
    assert torch.equal(draw(0)["memory_rows"], batch["memory_rows"])
