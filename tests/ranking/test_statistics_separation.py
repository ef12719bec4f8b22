"""Telling the top two apart: exact tests in closed form, sample sizes against simulation."""

from fractions import Fraction
from math import comb

import numpy as np
import pytest

from worldsim.ranking.significance import (
    Separation,
    mcnemar_exact,
    more_paired_starts,
    separate,
    top_two,
)
from worldsim.ranking.unpaired import fisher_exact, separate_counts, two_proportion_trials
from worldsim.rollout.episodes import METRICS, SUCCESS


def test_mcnemar_is_the_sign_test() -> None:
    assert mcnemar_exact(0, 0) == 1.0
    assert mcnemar_exact(5, 0) == pytest.approx(2 / 2**5)
    assert mcnemar_exact(4, 12) == mcnemar_exact(12, 4)
    assert mcnemar_exact(12, 4) == pytest.approx(2 * sum(comb(16, k) for k in range(5)) / 2**16)
    assert mcnemar_exact(30, 30) == 1.0
    tail = sum(comb(1340, k) for k in range(641))
    assert mcnemar_exact(700, 640) == pytest.approx(float(Fraction(2 * tail, 2**1340)))


def test_fisher_by_hand() -> None:
    # The lady tasting tea, 4 cups of each kind: all right, and 3 of 4 right.
    assert fisher_exact(4, 4, 0, 4) == pytest.approx(2 / 70)
    assert fisher_exact(3, 4, 1, 4) == pytest.approx(34 / 70)
    assert fisher_exact(3, 3, 3, 3) == 1.0
    assert fisher_exact(0, 5, 5, 5) == pytest.approx(2 / comb(10, 5))


def test_paired_sample_size_reaches_its_power() -> None:
    starts, wins, losses = 100, 20, 10
    more = more_paired_starts(wins, losses, starts, 0.95)
    assert more is not None
    total = starts + more
    rng = np.random.default_rng(0)
    table = rng.multinomial(total, [wins / starts, losses / starts, 0.7], size=1000)
    power = np.mean([mcnemar_exact(int(w), int(n)) < 0.05 for w, n, _ in table])
    assert 0.72 <= power <= 0.9


def test_more_starts_for_a_smaller_lead() -> None:
    small, large = more_paired_starts(11, 10, 64, 0.95), more_paired_starts(14, 7, 64, 0.95)
    assert small is not None and large is not None and small > 5 * large
    assert more_paired_starts(5, 5, 64, 0.95) is None


def test_two_proportions_textbook() -> None:
    # Fleiss: rates .6 and .4, alpha .05, power .8, without continuity correction: 97 each.
    assert two_proportion_trials(0.6, 0.4, 0.95) == 97
    assert two_proportion_trials(0.5, 0.5, 0.95) is None


def _outcomes(*counts: tuple[int, int, int]) -> np.ndarray:
    """Two policies from (first alone, second alone, both) starts, 40 in all."""
    ((first, second, both),) = counts
    rows = np.zeros((2, 40))
    rows[0, : first + both] = 1
    rows[1, first : first + both + second] = 1
    return rows


def separate_paired(outcomes: np.ndarray, names: tuple[str, ...], world: str) -> Separation:
    return separate(outcomes, names, world, 0.95, METRICS.get(SUCCESS))


def test_separated_pair_says_so_and_needs_nothing() -> None:
    result = separate_paired(_outcomes((14, 2, 20)), ("a", "b"), "imagined")
    assert result.separated and result.more_starts == 0 and result.first == "a"
    assert "already separated" in result.statement
    assert result.p_value == pytest.approx(mcnemar_exact(14, 2))


def test_tied_pair_gets_no_number() -> None:
    result = separate_paired(_outcomes((3, 3, 20)), ("a", "b"), "imagined")
    assert result.more_starts is None and not result.separated and "tied" in result.statement


def test_open_pair_gets_a_number() -> None:
    result = separate_paired(_outcomes((6, 3, 20)), ("a", "b"), "imagined")
    assert result.more_starts is not None and result.more_starts > 0
    assert f"about {result.more_starts} more starts" in result.statement


def test_pairing_is_used() -> None:
    """Equal rates per policy, but the discordant starts differ: only pairing can tell."""
    agreeing = separate_paired(_outcomes((6, 0, 20)), ("a", "b"), "imagined")
    opposed = separate_paired(_outcomes((13, 7, 13)), ("a", "b"), "imagined")
    assert agreeing.difference == pytest.approx(opposed.difference or 0)
    assert agreeing.separated and not opposed.separated


def test_counts_unpaired() -> None:
    names = ("a", "b", "c")
    result = separate_counts(
        np.array([0.9, 0.4, 0.02]), np.array([50.0, 50, 50]), names, "reference"
    )
    assert (result.first, result.second, result.separated) == ("a", "b", True)
    led = separate_counts(np.array([0.9, 0.5, 0.3]), np.array([np.nan, 20, 20]), names, "reference")
    assert (led.first, led.second, led.p_value, led.separated) == ("a", "b", None, False)
    assert "number of trials of a" in led.statement
    unknown = separate_counts(np.array([np.nan] * 2), np.array([np.nan] * 2), names[:2], "x")
    assert unknown.first is None and unknown.more_starts is None


def test_top_two_breaks_ties_by_name_and_skips_unknown() -> None:
    assert top_two(np.array([0.5, np.nan, 0.5, 0.1]), ("d", "c", "b", "a")) == (2, 0)
    assert top_two(np.array([0.5, np.nan]), ("a", "b")) is None
