"""A judge learns a drawn world: a square that succeeds when it reaches a disc."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from worldsim.data.cache import CachedDataset
from worldsim.data.split import folds_by_index
from worldsim.errors import DataError, UsageError
from worldsim.judge.augment import AugmentConfig, augment
from worldsim.judge.judge import REPORT, ObservedFrame, load_pretrained_judge
from worldsim.judge.sampling import (
    CALIBRATED,
    REPORTED,
    JudgeConfig,
    RowKinds,
    draw_rows,
    sort_rows,
    taught_rows,
)
from worldsim.judge.training import train_judge
from worldsim.spec import ActionSpec, CameraSpec, VectorSpec, WorldSpec

SIZE, STEPS, REACH = 32, 8, 0.03
SPEC = WorldSpec(
    fps=10,
    cameras=(CameraSpec("top", SIZE, SIZE),),
    action=ActionSpec(("dx", "dy"), (-1, -1), (1, 1), ("m", "m"), (0.05, 0.05)),
    agent_pos=VectorSpec(("ee_x",), ("m",)),
    state=VectorSpec(("square_x", "square_y", "disc_x", "disc_y"), ("m",) * 4),
)


@dataclass(frozen=True, eq=False)
class Drawn:
    pixels: NDArray[np.uint8]
    state: NDArray[np.float32]
    success: NDArray[np.bool_]
    progress: NDArray[np.float32]
    episode_start: NDArray[np.int64]
    folds: list[int]


def draw(square: np.ndarray, disc: np.ndarray) -> np.ndarray:
    """A view 0.4 m wide, anti-aliased, with a red square of 4 cm and a green disc of 3 cm."""
    centres = (np.arange(SIZE) + 0.5) * 0.4 / SIZE - 0.2
    x, y = np.meshgrid(centres, centres)
    pixel = 0.4 / SIZE
    image = np.full((SIZE, SIZE, 3), 120.0)
    round_cover = np.clip((0.015 - np.hypot(x - disc[0], y - disc[1])) / pixel + 0.5, 0, 1)
    side = np.maximum(np.abs(x - square[0]), np.abs(y - square[1]))
    square_cover = np.clip((0.02 - side) / pixel + 0.5, 0, 1)
    for cover, colour in ((round_cover, (40, 180, 40)), (square_cover, (200, 40, 40))):
        image = image * (1 - cover[..., None]) + np.array(colour) * cover[..., None]
    return image.astype(np.uint8)


def shown(pixels: np.ndarray) -> ObservedFrame:
    return ObservedFrame(pixels, np.zeros((len(pixels), 0), np.float32))


def draw_world(episodes: int) -> CachedDataset:
    rng = np.random.default_rng(0)
    pixels, states, success, progress = [], [], [], []
    for _ in range(episodes):
        start, disc = rng.uniform(-0.15, 0.15, (2, 2))
        miss = 0.0 if rng.random() < 0.5 else rng.uniform(0.07, 0.12)
        angle = rng.uniform(0, 2 * np.pi)
        end = disc + miss * np.array([np.cos(angle), np.sin(angle)])
        for share in np.linspace(0, 1, STEPS):
            square = start + share * (end - start)
            gap = float(np.linalg.norm(square - disc))
            pixels.append(draw(square, disc)[None])
            states.append(np.concatenate([square, disc]))
            success.append(gap < REACH)
            progress.append(np.clip(1 - gap / 0.3, 0, 1))
    starts = np.arange(episodes + 1, dtype=np.int64) * STEPS
    arrays = np.array(states, np.float32), np.array(success), np.array(progress, np.float32)
    drawn = Drawn(np.stack(pixels), *arrays, starts, folds_by_index(range(episodes)))
    return cast(CachedDataset, drawn)


@pytest.fixture(scope="module")
def world() -> CachedDataset:
    return draw_world(240)


@pytest.mark.slow
def test_learns_verdict_and_state_and_survives_the_disk(
    world: CachedDataset, tmp_path: Path
) -> None:
    config = JudgeConfig(
        width=12,
        keypoints=16,
        hidden=128,
        steps=300,
        learning_rate=6e-3,
        holds=(1,),
        augment=AugmentConfig(0.05, 0.05, 0.02, 0.1),
    )
    judge = train_judge(world, SPEC, config, tmp_path, source="drawn", show_progress=False)
    report = judge.report
    assert report.positives + report.negatives == 24
    assert report.tpr is not None and report.tpr >= 0.75
    assert report.tnr is not None and report.tnr >= 0.75
    # A pixel is 12.5 mm wide; guessing the mean would be off by 75 mm.
    assert report.state_error_m is not None and report.state_error_m < 0.015
    again = load_pretrained_judge(tmp_path)
    assert again.report == report and again.rule == judge.rule and again.spec == SPEC
    for ours, theirs in zip(
        judge.read(shown(world.pixels[:5]), None),
        again.read(shown(world.pixels[:5]), None),
        strict=True,
    ):
        np.testing.assert_array_equal(ours, theirs)


def test_rows_are_filed_by_kind(world: CachedDataset) -> None:
    kinds = sort_rows(world, list(range(20)), close_rows=1)
    rows = np.sort(np.concatenate([kinds.success, kinds.close, kinds.other]))
    np.testing.assert_array_equal(rows, np.arange(20 * STEPS))
    assert world.success[kinds.success].all()
    assert not world.success[np.concatenate([kinds.close, kinds.other])].any()
    before = [r for r in range(20 * STEPS - 1) if world.success[r + 1] and not world.success[r]]
    before = [row for row in before if (row + 1) % STEPS]
    assert before and set(before) <= set(kinds.close.tolist())


def test_batches_hold_the_configured_shares() -> None:
    kinds = RowKinds(np.arange(3), np.arange(10, 13), np.arange(20, 90))
    config = JudgeConfig(batch_size=20, success_share=0.25, close_share=0.5)
    rows = draw_rows(kinds, config, np.random.default_rng(0))
    assert [int(((low <= rows) & (rows < low + 10)).sum()) for low in (0, 10)] == [5, 10]
    nothing_close = RowKinds(kinds.success, np.zeros(0, np.int64), kinds.other)
    rows = draw_rows(nothing_close, config, np.random.default_rng(0))
    assert len(rows) == 20 and (rows < 10).sum() == 5


def test_one_outcome_alone_is_refused(world: CachedDataset, tmp_path: Path) -> None:
    nobody = replace(world, success=np.zeros_like(world.success))
    with pytest.raises(DataError, match="0 successful"):
        train_judge(nobody, SPEC, JudgeConfig(steps=1), tmp_path, show_progress=False)


def test_augmentation_changes_each_row_its_own_way_and_nothing_at_zero() -> None:
    video = torch.rand(6, 2, 3, 8, 8) - 0.5
    generator = torch.Generator().manual_seed(0)
    same = augment(video.clone(), AugmentConfig(0, 0, 0, 0), generator)
    torch.testing.assert_close(same, video)
    one = video[:1].expand(6, -1, -1, -1, -1).clone()
    changed = augment(one, AugmentConfig(), generator)
    assert all((changed[0] - changed[i]).abs().max() > 1e-3 for i in range(1, 6))
    blurred = augment(one, AugmentConfig(0, 0, 0, 1.0), generator)
    assert (blurred.std(dim=(-1, -2)) < one.std(dim=(-1, -2))).all()


def test_broken_folders_are_refused(world: CachedDataset, tmp_path: Path) -> None:
    config = JudgeConfig(width=4, keypoints=2, hidden=8, steps=1)
    train_judge(world, SPEC, config, tmp_path, show_progress=False)
    weights = tmp_path / "model.safetensors"
    whole = weights.read_bytes()
    weights.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match=r"model\.safetensors"):
        load_pretrained_judge(tmp_path)
    weights.write_bytes(whole)
    (tmp_path / REPORT).write_text("{}")
    with pytest.raises(DataError, match=REPORT):
        load_pretrained_judge(tmp_path)
    with pytest.raises(DataError, match="no such"):
        load_pretrained_judge(tmp_path / "nowhere")


def test_bad_pixels_and_configs_say_what_was_expected(world: CachedDataset, tmp_path: Path) -> None:
    config = JudgeConfig(width=4, keypoints=2, hidden=8, steps=1)
    judge = train_judge(world, SPEC, config, tmp_path, show_progress=False)
    with pytest.raises(UsageError, match="uint8"):
        judge.read(shown(world.pixels[:1].astype(np.float32)), None)
    with pytest.raises(UsageError, match="expected"):
        judge.read(shown(np.zeros((1, 2, SIZE, SIZE, 3), np.uint8)), None)
    with pytest.raises(UsageError, match="share"):
        JudgeConfig(success_share=0.8, close_share=0.8)


def test_what_is_held_out_goes_by_fold_and_not_by_place(world: CachedDataset) -> None:
    merged = replace(world, folds=[REPORTED, CALIBRATED] + [0] * 238)
    kinds = taught_rows(merged, JudgeConfig())
    rows = np.sort(np.concatenate([kinds.success, kinds.close, kinds.other]))
    np.testing.assert_array_equal(rows, np.arange(2 * STEPS, 240 * STEPS))
