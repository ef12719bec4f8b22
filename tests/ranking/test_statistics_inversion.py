"""Correlations keep their coverage whether imagination is right, unrelated or reversed.

`scripts/coverage_table.py` simulates the rankings and prints the whole table.
"""

import numpy as np
import pytest
from coverage_table import Cell, cells, coverage

from worldsim.ranking.correlation import kendall, pearson
from worldsim.ranking.inversion import inverted_estimate

CORRELATIONS = ("pearson", "spearman", "kendall")
NOMINAL = (0.93, 0.98)
"""What a level of 0.95 should come to."""

SMALL = [
    Cell("close", 6, 24, "independent", logged=False),
    Cell("close", 6, 24, "reversed", logged=False),
    Cell("close", 14, 24, "right", logged=True),
    Cell("wide", 6, 24, "right", logged=True),
]
"""Cells in which the bootstrap fails, or in which logged rates are often 0 or 1."""


def chance(rankings: int) -> float:
    """Three standard errors of a coverage at the nominal level."""
    return 3 * float(np.sqrt(0.95 * 0.05 / rankings))


@pytest.mark.parametrize("cell", SMALL, ids=str)
def test_correlations_are_held(cell: Cell) -> None:
    rankings = 30
    found = coverage(cell, rankings, samples=100, names=CORRELATIONS)
    assert min(one.held for one in found.values()) >= NOMINAL[0] - chance(rankings), found
    if cell.imagination != "right":
        assert found["pearson"].positive <= 0.025 + chance(rankings)


def test_the_bootstrap_misses_a_reversed_order_of_close_policies() -> None:
    """Why correlations have intervals by tests."""
    cell = Cell("close", 14, 24, "reversed", logged=False)
    found = coverage(cell, 30, samples=100, bootstrap=True, names=("kendall",))
    assert found["kendall"].held < 0.5


@pytest.mark.slow
@pytest.mark.parametrize("cell", cells(), ids=str)
def test_every_cell_is_held(cell: Cell) -> None:
    rankings = 100
    found = coverage(cell, rankings, samples=200, names=CORRELATIONS)
    assert min(one.held for one in found.values()) >= NOMINAL[0] - chance(rankings), found
    # At the ends of the range, and for orders, intervals are wider than they need be.
    if cell.imagination == "independent":
        assert found["pearson"].held <= NOMINAL[1] + chance(rankings), found


def estimate_of(imagined: np.ndarray, noise: float, seed: int = 0) -> tuple[float, float]:
    """Pearson's interval of six policies whose rates have independent errors."""
    rng, rates = np.random.default_rng(seed), np.linspace(0.2, 0.8, 6)
    drawn = rates + noise * rng.normal(size=(400, 6)), imagined + noise * rng.normal(size=(400, 6))
    found = inverted_estimate(pearson, (rates, imagined), drawn, 0.95, "undefined")
    assert found.interval is not None and found.value is not None
    assert found.interval[0] <= found.value <= found.interval[1]
    return found.interval


def test_rates_without_noise_leave_little_doubt() -> None:
    low, high = estimate_of(np.linspace(0.1, 0.7, 6), noise=0.001)
    assert low > 0.999 and high == 1.0


def test_rates_that_are_all_noise_leave_every_correlation_open() -> None:
    low, high = estimate_of(np.array([0.4, 0.3, 0.6, 0.2, 0.5, 0.45]), noise=2.0)
    assert (low, high) == (-1.0, 1.0)


def test_a_reversed_order_is_found() -> None:
    low, high = estimate_of(np.linspace(0.7, 0.1, 6), noise=0.02)
    assert low == -1.0 and high < -0.9


def test_errors_that_both_worlds_share_are_subtracted() -> None:
    """Equal rates that err together say nothing; the same rates that err apart would."""
    rng, rates = np.random.default_rng(1), np.random.default_rng(2).normal(0.5, 0.1, 12)
    shared = 0.1 * rng.normal(size=(400, 12))
    together = rates + shared, rates + shared
    apart = rates + shared, rates + 0.1 * rng.normal(size=(400, 12))
    lows = []
    for drawn in (together, apart):
        found = inverted_estimate(pearson, (rates, rates), drawn, 0.95, "undefined")
        assert found.interval is not None
        lows.append(found.interval[0])
    assert lows[0] < lows[1]


def test_an_undefined_coefficient_has_its_reason_and_unknown_rates_have_no_interval() -> None:
    rates, constant = np.array([0.1, 0.5, 0.9]), np.full(3, 0.5)
    drawn = np.tile(rates, (10, 1))
    none = inverted_estimate(kendall, (rates, constant), (drawn, drawn), 0.95, "all equal")
    assert none.value is None and none.reason == "all equal"
    drawn[:6, 0] = np.nan
    unknown = inverted_estimate(kendall, (rates, rates), (drawn, drawn), 0.95, "all equal")
    assert unknown.value == 1 and unknown.interval is None and "40%" in (unknown.reason or "")
