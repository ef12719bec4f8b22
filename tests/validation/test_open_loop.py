"""Open-loop evaluation and the swap test, on an untrained model and the square world."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from worldsim.data.cache import CachedDataset
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.models.denoisers.base import DenoiserConfig
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state import HeadConfig
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig
from worldsim.sampling.sampler import Sampler
from worldsim.validation.action_swap import swap_test
from worldsim.validation.open_loop import (
    Drive,
    actions_of_another,
    imagine,
    open_loop_records,
    recorded_actions,
)
from worldsim.validation.open_loop_report import evaluate_open_loop
from worldsim.validation.video_metrics import frame_errors, psnr


@pytest.fixture(scope="module")
def model(square_data: CachedDataset) -> WorldModel:
    """Random weights, zero-initialised layers included, so that actions have effects."""
    torch.manual_seed(0)
    config = WorldModelConfig(
        TokenizerConfig(channels=4, width=8, depth=1),
        DenoiserConfig("stnet", width=32, depth=1, cond_width=32, head_dim=32),
        HeadConfig(width=8, keypoints=8),
        DynamicsConfig(width=16, depth=1),
        recent=4,
    )
    model = WorldModel(config, square_data.spec)
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.abs().max() == 0:
                parameter.normal_(std=0.1)
    return model.eval().requires_grad_(False)


def test_exchanged_actions_come_from_the_next_episode() -> None:
    own = [np.full((n, 1), i, np.float32) for i, n in enumerate((3, 2, 4))]
    other = actions_of_another(own)
    assert [(len(a), float(a[0, 0])) for a in other] == [(3, 1.0), (2, 2.0), (4, 0.0)]
    with pytest.raises(UsageError, match="two episodes"):
        actions_of_another(own[:1])


@pytest.mark.usefixtures("float32_inference")
def test_drives_of_a_batch_equal_drives_alone(
    model: WorldModel, square_data: CachedDataset
) -> None:
    lengths = {0: 5, 1: 2, 2: 4}
    drives = [Drive(e, recorded_actions(square_data, e, n), e) for e, n in lengths.items()]
    together: dict[tuple[int, int], np.ndarray] = {}
    for frames in imagine(model, square_data, drives):
        for drive, pixels in zip(frames.drives, frames.pixels, strict=True):
            together[int(drive), frames.horizon] = pixels
    assert set(together) == {
        (d, h) for d, n in enumerate(lengths.values()) for h in range(1, n + 1)
    }
    for number, drive in enumerate(drives):
        for frames in imagine(model, square_data, [drive]):
            gap = frames.pixels[0].astype(int) - together[number, frames.horizon]
            assert np.abs(gap).max() <= 1  # batches of another size may round the other way


def test_report_of_baselines_against_closed_forms(
    model: WorldModel, square_data: CachedDataset
) -> None:
    episodes = [0, 1, 3]
    report = evaluate_open_loop(model, square_data, episodes, sampling_steps=1)
    lengths = [len(recorded_actions(square_data, e)) for e in episodes]
    assert report.episodes.tolist() == [sum(n >= h for n in lengths) for h in range(1, 15)]
    starts = square_data.episode_start[episodes]
    truth, first = square_data.pixels[starts + 4], square_data.pixels[starts]
    held = frame_errors(first, truth, first)
    assert report.psnr["first_frame"][3] == pytest.approx(psnr(held.mse.mean(0)))
    moved = psnr(held.moving_sum.sum(0) / held.moving_count.sum(0))
    assert report.psnr_moving["first_frame"][3] == pytest.approx(moved)
    assert set(report.error_m) == {"ee", "object"}
    for name in ("model", "shuffled_actions"):
        assert report.psnr[name].shape == (14, 2) and np.isfinite(report.psnr[name]).all()
    assert not np.array_equal(report.psnr["model"], report.psnr["shuffled_actions"])
    assert report.valid_horizon("first_frame") <= 14
    summary, data = report.summary(), report.to_json()
    assert data["summary"] == summary
    assert summary["beats_first_frame"] == pytest.approx(report.beats("first_frame").mean())


def test_intervals_hold_the_figures_of_the_report(
    model: WorldModel, square_data: CachedDataset
) -> None:
    report = evaluate_open_loop(model, square_data, [0, 1, 2, 3], 1, max_steps=5)
    summary = report.summary()
    assert set(report.intervals) == {"psnr_moving_model", "ee_error_m", "object_error_m"}
    for name, (low, high) in report.intervals.items():
        assert low < high, name
        assert low <= summary[name] <= high, name
    assert report.to_json()["intervals"]["ee_error_m"] == list(report.intervals["ee_error_m"])


def test_what_was_not_measured_is_null(model: WorldModel, square_data: CachedDataset) -> None:
    report = evaluate_open_loop(model, square_data, [0, 1], 1, max_steps=2)
    still = {name: np.full_like(values, np.nan) for name, values in report.psnr_moving.items()}
    written = replace(report, psnr_moving=still).to_json()
    assert written["summary"]["psnr_moving_model"] is None
    assert written["summary"]["psnr_model"] == pytest.approx(report.summary()["psnr_model"])
    json.dumps(written, allow_nan=False)


def test_report_is_reproducible(model: WorldModel, square_data: CachedDataset) -> None:
    one, two = (evaluate_open_loop(model, square_data, [0, 1], 1, max_steps=3) for _ in range(2))
    assert one.to_json() == two.to_json()
    assert len(one.episodes) == 3


def test_a_model_of_another_world_is_refused(model: WorldModel, square_data: CachedDataset) -> None:
    from dataclasses import replace

    other = replace(square_data, spec=replace(square_data.spec, fps=25))
    with pytest.raises(SpecMismatchError, match="fps"):
        evaluate_open_loop(model, other, [0, 1])


def test_swap_test_measures_against_the_replay(
    model: WorldModel, square_data: CachedDataset
) -> None:
    episodes = [0, 1, 2]
    seen: list[tuple[int, int]] = []

    def replay(episode: int, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The recorded path shifted by 7 cm, as if the exchange moved the hand so far; black."""
        seen.append((episode, len(actions)))
        start = square_data.rows(episode).start + 1
        path = np.array(square_data.agent_pos[start : start + len(actions)])
        path[:, 0] += 0.07
        return path, np.zeros_like(square_data.pixels[start : start + len(actions)])

    report = swap_test(model, square_data, episodes, replay, sampling_steps=1, max_steps=6)
    assert seen == [(0, 6), (1, 6), (2, 6)]
    assert report.effect_m == pytest.approx(0.07, abs=1e-6)
    assert report.obedience == pytest.approx(1 - report.followed_m / 0.07, rel=1e-4)
    assert abs(report.followed_m - report.ignored_m) <= 0.07 + 1e-6
    # What the head reads off the frames is another hand than the one the dynamics carry.
    assert abs(report.seen_m - report.seen_ignored_m) <= 0.07 + 1e-6
    assert report.seen_m != pytest.approx(report.followed_m)
    assert report.followed_psnr < report.ignored_psnr
    with pytest.raises(UsageError, match="two episodes"):
        swap_test(model, square_data, [0], replay)


def test_films_hold_truth_and_imagination(model: WorldModel, square_data: CachedDataset) -> None:
    (record,) = open_loop_records(model, square_data, [2], Sampler(steps=1), max_steps=4)
    assert record.truth is not None and record.imagined is not None
    assert record.truth.shape == record.imagined.shape == (5, 2, 32, 32, 3)
    assert np.array_equal(record.truth[0], record.imagined[0])


def test_one_episode_is_measured_without_exchanged_actions(
    model: WorldModel, square_data: CachedDataset
) -> None:
    alone = evaluate_open_loop(model, square_data, [3], max_steps=4)
    beside = evaluate_open_loop(model, square_data, [3, 5], max_steps=4)
    assert alone.episodes.tolist() == [1] * 4 and beside.episodes.tolist() == [2] * 4
    left_out = set(beside.summary()) - set(alone.summary())
    assert left_out == {f"{kind}_shuffled_actions" for kind in ("psnr", "beats", "valid_horizon")}
    assert np.isfinite(alone.summary()["psnr_model"])
    assert alone.intervals == {}, "one episode tells nothing of others"
    stored = json.loads(json.dumps(alone.to_json()))
    assert stored["psnr"]["shuffled_actions"] == [[None, None]] * 4
    assert stored["psnr_exchanged"] == [[None, None]] * 4
    with pytest.raises(UsageError, match="needs an episode"):
        evaluate_open_loop(model, square_data, [])
