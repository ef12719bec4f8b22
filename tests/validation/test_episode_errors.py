"""Intervals over episodes: closed forms and coverage."""

import numpy as np
import pytest

from worldsim.validation.episode_errors import EpisodeErrors, quotient_interval, ratio_interval
from worldsim.validation.video_metrics import FrameErrors, psnr


def frames(moving: list[float]) -> FrameErrors:
    """Errors of one camera, ten moved pixels each."""
    sums = np.array(moving)[:, None]
    ten = np.full_like(sums, 10.0)
    return FrameErrors(
        mse=sums, moving_sum=sums, moving_count=ten, static_sum=sums, static_count=ten
    )


def test_equal_episodes_leave_no_doubt() -> None:
    errors = EpisodeErrors(3, 2, 1, ["cube"])
    for horizon, metres in ((1, 0.1), (2, 0.3)):
        errors.add(horizon, np.arange(3), frames([40.0] * 3), {"cube": np.full(3, metres)})
    found = errors.intervals()
    assert found["cube_error_m"] == pytest.approx((0.2, 0.2))
    decibel = float(psnr(np.array(4.0)))
    assert found["psnr_moving_model"] == pytest.approx((decibel, decibel))


def test_streams_of_one_episode_count_as_one() -> None:
    """Two samples an episode narrow nothing: episodes are drawn, not streams."""
    once, twice = EpisodeErrors(2, 1, 1, ["cube"]), EpisodeErrors(2, 1, 1, ["cube"])
    once.add(1, np.array([0, 1]), frames([10.0, 30.0]), {"cube": np.array([0.0, 1.0])})
    twice.add(
        1,
        np.array([0, 1, 0, 1]),
        frames([10.0, 30.0, 10.0, 30.0]),
        {"cube": np.array([0.0, 1.0, 0.0, 1.0])},
    )
    for name, ends in once.intervals().items():
        assert ends == pytest.approx(twice.intervals()[name]), name
    assert once.intervals()["cube_error_m"] == pytest.approx((0.0, 1.0))


def test_an_episode_that_ended_has_no_part_in_later_steps() -> None:
    errors = EpisodeErrors(2, 2, 1, ["cube"])
    errors.add(1, np.array([0, 1]), frames([10.0, 10.0]), {"cube": np.array([0.2, 0.2])})
    errors.add(2, np.array([1]), frames([10.0]), {"cube": np.array([0.2])})
    assert errors.intervals()["cube_error_m"] == pytest.approx((0.2, 0.2))


def test_an_interval_covers_the_truth_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    hits = 0
    for trial in range(200):
        sums = rng.normal(3.0, 1.0, size=(24, 1))
        low, high = quotient_interval(sums, np.ones_like(sums), (0.0, np.inf), seed=trial) or (0, 0)
        hits += low <= 3.0 <= high
    assert 0.88 <= hits / 200 <= 0.99


def test_what_is_nowhere_defined_has_no_interval() -> None:
    nothing = np.zeros((4, 3))
    assert quotient_interval(nothing, nothing, (0.0, 1.0)) is None


def test_interval_of_a_ratio_is_about_the_mean_over_steps() -> None:
    """One long stream that is far off, many short ones that are not: steps count alike."""
    steps, short = 10, 50
    above, counts = np.zeros((short + 1, steps)), np.zeros((short + 1, steps))
    counts[0], above[0] = 1.0, 1.5
    counts[1:, 0], above[1:, 0] = 1.0, 1.0 + np.linspace(-0.05, 0.05, short)
    below = counts.copy()
    means = above.sum(0) / counts.sum(0)
    ends = ratio_interval(above, below, counts)
    assert ends is not None and ends[0] < means.mean() - 1.0 < ends[1]
    assert means.mean() - 1.0 == pytest.approx(0.45, abs=0.01)
    assert ratio_interval(1.2 * below, below, counts) == pytest.approx((0.2, 0.2))
    assert ratio_interval(above * np.nan, below, counts) is None
