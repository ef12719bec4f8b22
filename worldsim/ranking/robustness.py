"""Is the correlation carried by chance, or by one policy?

Permutation test and the least p-value it can reach, drop-one leverage, Fisher's interval over
policies.
"""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import permutations
from math import atanh, factorial, prod, sqrt, tanh
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking.bootstrap import Interval, finite, in_chunks
from worldsim.ranking.coefficients import FEWEST
from worldsim.ranking.correlation import kendall, pearson, spearman
from worldsim.ranking.rates import normal_quantile

Float = NDArray[np.float64]

EXACT_UP_TO = 8
"""All k! orders are tried up to this many policies; beyond it they are sampled."""

RANDOM_PERMUTATIONS = 9999

LEVERAGE_FLAG = 0.10
"""A policy whose removal moves Pearson's r by more than this is named."""


@dataclass(frozen=True)
class PermutationTest:
    """One-sided chance of a coefficient at least this high if imagination were unrelated.

    Attributes:
        policies: k.
        floor: the least p-value that these rates can reach, whatever order they came in: 1/k!
            without ties, more with them, and no less than a sample of orders can show.
        exact: whether all k! orders were tried.
        orders: how many orders were tried.
        p_values: {coefficient: p}; None where the coefficient is undefined.
    """

    policies: int
    floor: float
    exact: bool
    orders: int
    p_values: dict[str, float | None]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "policies": self.policies,
            "floor": self.floor,
            "exact": self.exact,
            "orders": self.orders,
            "p_values": self.p_values,
        }


def permutation_test(
    reference: Float, imagined: Float, rng: np.random.Generator
) -> PermutationTest:
    """Permute which policy the imagined rates `[P]` belong to.

    Not by `scipy.stats.permutation_test`: it draws orders anew for each coefficient, which would
    change every sampled p-value, and counts as higher what differs by rounding alone.
    """
    k = len(reference)
    if k < FEWEST:
        nothing = {f.__name__: None for f in (pearson, spearman, kendall)}
        return PermutationTest(k, 1.0, True, 1, dict(nothing))
    exact = k <= EXACT_UP_TO
    if exact:
        orders = np.array(list(permutations(range(k))), dtype=np.int64)
    else:
        orders = rng.permuted(np.tile(np.arange(k), (RANDOM_PERMUTATIONS, 1)), axis=1)
    shuffled = imagined[orders]
    fixed = np.broadcast_to(reference, shuffled.shape)
    p_values: dict[str, float | None] = {}
    for function in (pearson, spearman, kendall):
        p_values[function.__name__] = _p_value(
            function, reference, imagined, fixed, shuffled, exact
        )
    return PermutationTest(k, _floor(reference, imagined, exact), exact, len(orders), p_values)


def _floor(reference: Float, imagined: Float, exact: bool) -> float:
    """The p-value of the highest coefficient that an order of these rates `[P]` gives.

    A coefficient is highest where both rise together. Exchanging policies of equal reference rate,
    or of equal imagined rate, leaves it so; those equal in both are counted once.
    """
    r, s = np.sort(reference), np.sort(imagined)
    orders = factorial(len(r))
    highest = _orders_within(r) * _orders_within(s) // _orders_within(np.stack([r, s], axis=1))
    share = highest / orders
    return share if exact else max(share, 1 / (RANDOM_PERMUTATIONS + 1))


def _orders_within(rows: Float) -> int:
    """How many orders of rows exchange equal ones only."""
    _, counts = np.unique(rows, axis=0, return_counts=True)
    return prod(factorial(int(count)) for count in counts)


def _p_value(
    function: Callable[..., Float],
    reference: Float,
    imagined: Float,
    fixed: Float,
    shuffled: Float,
    exact: bool,
) -> float | None:
    observed = finite(float(function(reference=reference, imagined=imagined)))
    if observed is None:
        return None
    values = in_chunks(function)(reference=fixed, imagined=shuffled)
    # Equal arrangements must count as equal whatever the order of their sums.
    as_high = int((values >= observed - 1e-9).sum())
    # A sampled test counts the observed order itself, or it could claim p = 0.
    return as_high / len(values) if exact else (as_high + 1) / (len(values) + 1)


@dataclass(frozen=True)
class Leverage:
    """Pearson's r without one policy.

    Attributes:
        policy: the one left out.
        without: r of the others; None if undefined.
        change: `without` - r of all.
        flagged: whether |change| exceeds `LEVERAGE_FLAG`.
    """

    policy: str
    without: float | None
    change: float | None
    flagged: bool

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        return {
            "policy": self.policy,
            "without": self.without,
            "change": self.change,
            "flagged": self.flagged,
        }


def drop_one_leverage(
    reference: Float, imagined: Float, names: tuple[str, ...]
) -> tuple[Leverage, ...]:
    """Pearson's r with each policy left out; needs at least four policies to mean anything."""
    whole = finite(float(pearson(reference=reference, imagined=imagined)))
    if whole is None or len(names) < 4:
        return ()
    result = []
    for i, name in enumerate(names):
        kept = np.arange(len(names)) != i
        without = finite(float(pearson(reference=reference[kept], imagined=imagined[kept])))
        change = None if without is None else without - whole
        # Undefined without it means that this policy alone makes the correlation.
        flagged = change is None or abs(change) > LEVERAGE_FLAG
        result.append(Leverage(name, without, change, flagged))
    return tuple(result)


def fisher_interval(r: float | None, policies: int, level: float) -> Interval | None:
    """Fisher-z interval of Pearson's r with n = policies; None below four or at |r| = 1."""
    if r is None or policies < 4 or abs(r) >= 1:
        return None
    half = normal_quantile(level) / sqrt(policies - 3)
    return tanh(atanh(r) - half), tanh(atanh(r) + half)
