"""Rates in Hz, whole or not: how they are kept, written to files and compared."""

from fractions import Fraction

import pytest

from worldsim.conventions import exact_rate, plain_rate, same_rate
from worldsim.errors import UsageError

NTSC = Fraction(30000, 1001)


@pytest.mark.parametrize(
    ("given", "exact"),
    [
        (10, Fraction(10)),
        (12.5, Fraction(25, 2)),
        (29.97, NTSC),
        (float(NTSC), NTSC),
        (23.976, Fraction(24000, 1001)),
        (59.94, Fraction(60000, 1001)),
        (1 / 0.04, Fraction(25)),
        (0.5, Fraction(1, 2)),
    ],
)
def test_the_fraction_of_a_rate(given: float, exact: Fraction) -> None:
    assert exact_rate(given) == exact
    assert same_rate(given, float(exact))


def test_whole_rates_stay_whole_numbers() -> None:
    for given in (10, 10.0, 1 / 0.1, 1 / 0.04):
        assert isinstance(plain_rate(given), int)
    assert plain_rate(29.97) == 29.97


def test_neighbouring_rates_are_not_the_same() -> None:
    assert same_rate(29.97, float(NTSC))
    assert not same_rate(29.97, 30) and not same_rate(23.976, 24) and not same_rate(10, 10.01)


@pytest.mark.parametrize("given", [0, -5, float("nan"), float("inf")])
def test_what_is_no_rate_is_refused(given: float) -> None:
    with pytest.raises(UsageError, match="fps must be a positive number"):
        plain_rate(given)
