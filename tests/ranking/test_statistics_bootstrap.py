"""The bootstrap: pairing, hierarchy, missing rollouts, counts."""

import numpy as np
import pytest

from worldsim.errors import UsageError
from worldsim.ranking.bootstrap import (
    as_outcomes,
    distinct_resamples,
    in_chunks,
    paired_resamples,
    rates,
    resample_policies,
    start_resamples,
)
from worldsim.ranking.correlation import kendall
from worldsim.ranking.unpaired import count_resamples

RNG = np.random.default_rng


def test_resampled_rates_have_the_binomial_spread() -> None:
    outcomes = (RNG(0).random((3, 80, 1)) < 0.4).astype(float)
    drawn = start_resamples(outcomes, 4000, RNG(1))
    p = rates(outcomes)
    assert drawn.mean(axis=0) == pytest.approx(p, abs=0.005)
    assert drawn.std(axis=0) == pytest.approx(np.sqrt(p * (1 - p) / 80), rel=0.06)


def test_starts_are_drawn_jointly_for_policies_and_worlds() -> None:
    """Equal outcomes stay equal in every resample, in both worlds and between policies."""
    one = (RNG(0).random((1, 30, 1)) < 0.5).astype(float)
    both = np.concatenate([one, one])
    reference, imagined = paired_resamples(both, both, 200, RNG(1))
    assert np.array_equal(reference, imagined)
    assert np.array_equal(reference[:, 0], reference[:, 1])
    assert reference.std() > 0


def test_rollouts_are_resampled_within_their_start() -> None:
    """With one start only rollouts vary; with rollouts that agree, only starts do."""
    single = np.array([[[0.0, 1.0, 1.0, 0.0]]])
    drawn = start_resamples(single, 3000, RNG(0))
    assert drawn.std() == pytest.approx(np.sqrt(0.25 / 4), rel=0.06)
    agreeing = np.repeat((RNG(0).random((2, 40, 1)) < 0.5).astype(float), 3, axis=2)
    spread = start_resamples(agreeing, 3000, RNG(1)).std(axis=0)
    expected = start_resamples(agreeing[..., :1], 3000, RNG(2)).std(axis=0)
    assert spread == pytest.approx(expected, rel=0.08)


def test_missing_rollouts_are_left_out() -> None:
    outcomes = np.array([[[1.0], [np.nan], [0.0], [1.0]], [[np.nan]] * 4])
    assert rates(outcomes)[0] == pytest.approx(2 / 3)
    assert np.isnan(rates(outcomes)[1])
    drawn = start_resamples(outcomes, 500, RNG(0))
    assert np.isnan(drawn[:, 1]).all() and np.nanmean(drawn[:, 0]) == pytest.approx(2 / 3, abs=0.03)


def test_logged_counts_vary_binomially_and_unknown_trials_do_not() -> None:
    p, n = np.array([0.3, 0.8]), np.array([50.0, np.nan])
    drawn = count_resamples(p, n, 4000, RNG(0))
    assert drawn[:, 0].std() == pytest.approx(np.sqrt(0.21 / 50), rel=0.06)
    assert (drawn[:, 1] == 0.8).all()


def test_logged_counts_that_all_ended_alike_keep_a_spread() -> None:
    """A policy that failed in all of 20 trials may succeed in one of ten."""
    drawn = count_resamples(np.array([0.0, 1.0]), np.array([20.0, 20.0]), 4000, RNG(0))
    assert np.quantile(drawn[:, 0], 0.975) == pytest.approx(0.117, abs=0.01)
    assert np.quantile(drawn[:, 1], 0.025) == pytest.approx(1 - 0.117, abs=0.01)


def test_policies_are_drawn_jointly() -> None:
    base = np.tile(np.arange(5.0), (300, 1))
    (reference, imagined), distinct = resample_policies(base, base + 10, RNG(0))
    assert distinct.tolist() == [len(set(row)) for row in reference]
    assert np.array_equal(reference + 10, imagined)
    assert len(set(map(tuple, np.sort(reference, axis=1)))) <= distinct_resamples(5)
    assert distinct_resamples(5) == 126  # C(9, 5)


def test_chunks_change_nothing() -> None:
    r, s = RNG(0).random((100, 6)), RNG(1).random((100, 6))
    whole = kendall(reference=r, imagined=s)
    assert np.array_equal(in_chunks(kendall, rows=7)(reference=r, imagined=s), whole)


def test_wrong_shapes_and_values_are_named() -> None:
    with pytest.raises(UsageError, match=r"imagined outcomes have shape \(3, 4\).*2 policies"):
        as_outcomes(np.zeros((3, 4)), ("a", "b"), "imagined")
    with pytest.raises(UsageError, match=r"\[0, 1\]"):
        as_outcomes(np.full((1, 4), 2.0), ("a",), "imagined")
    rounded = as_outcomes(np.full((1, 4), 1.0 + 2e-16), ("a",), "reference")
    assert rounded.max() == 1.0
    with pytest.raises(UsageError, match="same policies and starts"):
        paired_resamples(np.zeros((2, 3, 1)), np.zeros((2, 4, 1)), 10, RNG(0))
