"""Permutation floor, leverage, Fisher's interval."""

from itertools import permutations
from math import factorial

import numpy as np
import pytest

from worldsim.ranking.bootstrap import fisher_interval
from worldsim.ranking.significance import drop_one_leverage, permutation_test

RNG = np.random.default_rng


def test_perfect_order_reaches_the_floor_and_no_less() -> None:
    rates = np.array([0.1, 0.3, 0.6, 0.7, 0.9])
    test = permutation_test(rates, rates**2, RNG(0))
    assert test.exact and test.orders == factorial(5)
    assert test.floor == pytest.approx(1 / 120)
    assert test.p_values["kendall"] == pytest.approx(1 / 120)
    assert test.p_values["pearson"] == pytest.approx(1 / 120)


def test_reversed_order_has_p_of_one() -> None:
    rates = np.array([0.1, 0.3, 0.6, 0.9])
    assert permutation_test(rates, 1 - rates, RNG(0)).p_values["pearson"] == 1.0


def test_ties_raise_the_p_value() -> None:
    tied = permutation_test(np.array([0.1, 0.5, 0.9]), np.array([0.1, 0.1, 0.9]), RNG(0))
    assert tied.p_values["spearman"] == pytest.approx(2 / 6)


@pytest.mark.parametrize(
    ("reference", "imagined"),
    [
        ([0.1, 0.5, 0.9, 0.95], [0.0, 0.0, 0.4, 0.9]),
        ([0.0, 0.0, 0.5, 0.5, 0.9], [0.1, 0.1, 0.1, 0.6, 0.6]),
        ([0.0, 0.0, 0.0, 1.0], [0.2, 0.2, 0.2, 0.7]),
        ([0.0, 0.2, 0.4, 0.6, 1.0], [0.5, 0.1, 0.9, 0.3, 0.7]),
    ],
)
def test_the_floor_is_the_least_that_any_order_of_these_rates_reaches(
    reference: list[float], imagined: list[float]
) -> None:
    """Against every order of the imagined rates, each tested in its turn."""
    truth = np.array(reference)
    floor = permutation_test(truth, np.array(imagined), RNG(0)).floor
    orders = [permutation_test(truth, np.array(s), RNG(0)) for s in set(permutations(imagined))]
    for name in ("pearson", "spearman", "kendall"):
        reached = [p for order in orders if (p := order.p_values[name]) is not None]
        assert min(reached) == pytest.approx(floor)


def test_ties_bound_a_sampled_test_too() -> None:
    rates = np.array([0.0] * 9 + [1.0])
    test = permutation_test(rates, rates, RNG(0))
    assert test.floor == pytest.approx(1 / 10)
    assert test.p_values["pearson"] == pytest.approx(1 / 10, abs=0.02)


def test_sampled_permutations_never_claim_zero() -> None:
    rates = np.linspace(0, 1, 12)
    test = permutation_test(rates, rates, RNG(0))
    assert not test.exact
    assert test.p_values["pearson"] == pytest.approx(1 / (test.orders + 1))
    assert test.floor == pytest.approx(1 / (test.orders + 1))


@pytest.mark.parametrize("rates", [[], [0.5], [0.1, 0.9], [0.5, 0.5, 0.5]])
def test_undefined_coefficients_have_no_p_value(rates: list[float]) -> None:
    test = permutation_test(np.array(rates), np.array(rates), RNG(0))
    assert set(test.p_values.values()) == {None}


def test_leverage_flags_the_policy_that_carries_the_correlation() -> None:
    reference = np.array([0.50, 0.52, 0.48, 0.51, 0.0])
    imagined = np.array([0.50, 0.47, 0.52, 0.50, 0.0])
    entries = drop_one_leverage(reference, imagined, ("a", "b", "c", "d", "outlier"))
    assert [entry.policy for entry in entries if entry.flagged] == ["outlier"]
    assert entries[-1].without is not None and entries[-1].without < 0


def test_leverage_where_one_policy_makes_it_defined() -> None:
    same = np.array([0.5, 0.5, 0.5, 0.0])
    entries = drop_one_leverage(same, same, ("a", "b", "c", "odd"))
    assert entries[-1].without is None and entries[-1].flagged


def test_leverage_needs_four_policies() -> None:
    assert drop_one_leverage(np.arange(3.0), np.arange(3.0), ("a", "b", "c")) == ()


def test_fisher_interval_by_hand() -> None:
    # atanh(.9) = 1.4722; +- 1.95996 / 3 = .65332; tanh gives .6739 and .9720.
    low, high = fisher_interval(0.9, 12, 0.95) or (0, 0)
    assert (round(low, 3), round(high, 3)) == (0.674, 0.972)
    assert fisher_interval(0.9, 3, 0.95) is None
    assert fisher_interval(1.0, 12, 0.95) is None
    assert fisher_interval(None, 12, 0.95) is None
