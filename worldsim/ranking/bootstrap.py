"""Estimates with intervals: the hierarchical bootstrap, and closed forms where they exist.

The default question is about *these* policies, so policies are held fixed; starts are drawn
with replacement, **the same draw for every policy and for both worlds** (a hard start is hard
everywhere, and dropping that pairing would widen or narrow every interval wrongly); then the
rollouts within each drawn start, where there are several. `resample_policies` adds the level
above, for the question "would other policies like these be ranked as well?".

Shapes: P policies, N starts, K rollouts a start, B bootstrap samples. Outcomes are floats; NaN
marks a rollout that is missing and is left out of the rate. An `Estimate` is a number with its
interval, or the reason why there is none: NaN never leaves this package.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.errors import UsageError

Float = NDArray[np.float64]
Interval = tuple[float, float]

MIN_DEFINED_SHARE = 0.5
"""Below this share of resamples in which a statistic is defined, no interval is given."""


@dataclass(frozen=True)
class Estimate:
    """A statistic.

    Attributes:
        value: None when it is undefined.
        interval: (low, high), or None when it could not be had.
        reason: why `value` or `interval` is None, or a caveat; None when all is well.
    """

    value: float | None
    interval: Interval | None = None
    reason: str | None = None

    def to_json(self) -> dict[str, Any]:
        """`{value, interval}` and `reason` where there is one."""
        data: dict[str, Any] = {
            "value": self.value,
            "interval": list(self.interval) if self.interval else None,
        }
        return data | ({"reason": self.reason} if self.reason else {})

    def text(self, digits: int = 2) -> str:
        """For people: `0.98 [0.95, 0.99]`, or `n/a`."""
        if self.value is None:
            return "n/a"
        if self.interval is None:
            return f"{self.value:.{digits}f}"
        low, high = self.interval
        return f"{self.value:.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"


def finite(value: float) -> float | None:
    """`value` as a plain float, or None if it is NaN or infinite."""
    return float(value) if math.isfinite(value) else None


def normal_quantile(level: float) -> float:
    """z with P(|Z| < z) = `level`."""
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson_interval(successes: float, trials: float, level: float = 0.95) -> Interval | None:
    """Wilson score interval of a proportion (Wilson 1927); None for zero trials.

    Not by `scipy.stats.binomtest`, which takes whole numbers of successes only: logged rates and
    means of several rollouts a start are fractions.
    """
    if trials <= 0:
        return None
    z = normal_quantile(level)
    p = successes / trials
    centre = p + z * z / (2 * trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low, high = (centre - half) / scale, (centre + half) / scale
    # Rounding must not push an end past the estimate at p = 0 or p = 1.
    return max(0.0, min(low, p)), min(1.0, max(high, p))


def fisher_interval(r: float | None, policies: int, level: float) -> Interval | None:
    """Fisher-z interval of Pearson's r with n = policies; None below four or at |r| = 1."""
    if r is None or policies < 4 or abs(r) >= 1:
        return None
    half = normal_quantile(level) / math.sqrt(policies - 3)
    return math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)


def percentile_interval(samples: Float, level: float) -> tuple[Interval | None, str | None]:
    """Central interval of the finite samples at `level`, with a reason where there is none."""
    defined = samples[np.isfinite(samples)]
    if samples.size == 0:
        return None, "no bootstrap samples were drawn"
    if defined.size < MIN_DEFINED_SHARE * samples.size:
        share = defined.size / samples.size
        return None, f"no interval: it is defined in only {share:.0%} of the resamples"
    low, high = np.quantile(defined, [(1 - level) / 2, (1 + level) / 2])
    return (float(low), float(high)), None


def bootstrap_interval(
    samples: Float, value: float, level: float, bounds: Interval
) -> tuple[Interval | None, str | None]:
    """Envelope of the percentile and the reflected (basic) bootstrap interval, within `bounds`.

    Resampling adds noise, which pulls correlations down and errors up, a second time after the
    sampling itself did so. Near a perfect ranking the percentile interval therefore misses the
    truth almost always, the reflected one covers it; among close policies it is the reverse.
    Their envelope keeps its coverage in both (`tests/ranking/test_statistics_coverage.py`
    measures all three) and always holds the estimate.
    """
    percentile, reason = percentile_interval(samples, level)
    if percentile is None:
        return None, reason
    low = min(percentile[0], 2 * value - percentile[1])
    high = max(percentile[1], 2 * value - percentile[0])
    return (max(low, bounds[0]), min(high, bounds[1])), None


def estimate(
    function: Callable[..., Float],
    point: tuple[Float, Float],
    resamples: tuple[Float, Float],
    *,
    level: float,
    bounds: Interval,
    undefined: str,
    told: NDArray[np.bool_] | None = None,
) -> Estimate:
    """Apply a statistic of (reference, imagined) to the data and to its resamples.

    Args:
        function: takes keyword arguments `reference` and `imagined`, `[..., P]`.
        point: the observed rates, `[P]` each.
        resamples: bootstrap rates, `[B, P]` each.
        level: confidence level of the interval.
        bounds: the range of the statistic.
        undefined: the reason to give when the statistic is undefined on the data.
        told: resamples `[B]` that say something of it; None: all.
    """
    value = finite(float(function(reference=point[0], imagined=point[1])))
    if value is None:
        return Estimate(None, None, undefined)
    samples = np.asarray(function(reference=resamples[0], imagined=resamples[1]))
    if told is not None:
        samples = np.where(told, samples, np.nan)
    interval, reason = bootstrap_interval(samples, value, level, bounds)
    return Estimate(value, interval, reason)


ROUNDING = 1e-9
"""By how much a weighted mean of outcomes may leave their range, as sums are rounded."""


def as_outcomes(
    values: ArrayLike, names: tuple[str, ...], where: str, bounds: tuple[float, float] = (0.0, 1.0)
) -> Float:
    """Outcomes as float64 `[P, N, K]` from bool or float `[P, N]` or `[P, N, K]`.

    Policies come in order of name. Infinite values become missing (NaN).

    Raises:
        UsageError: the shape does not fit the names, or a value lies outside `bounds`.
    """
    array = np.array(values, dtype=np.float64)
    if array.ndim == 2:
        array = array[..., None]
    if array.ndim != 3 or len(array) != len(names):
        raise UsageError(
            f"{where} outcomes have shape {np.shape(values)}; expected [{len(names)} policies, "
            "starts] or [policies, starts, rollouts]"
        )
    array[~np.isfinite(array)] = np.nan
    low, high = bounds
    if (array < low - ROUNDING).any() or (array > high + ROUNDING).any():
        raise UsageError(f"{where} outcomes must lie in [{low:g}, {high:g}]; got some that do not")
    array = array.clip(low, high)
    return array[sorted(range(len(names)), key=lambda i: names[i])]


def in_chunks(function: Callable[..., Float], rows: int = 256) -> Callable[..., Float]:
    """Apply a `[B, P] -> [B]` statistic in chunks of B, since pairwise ones need `[B, P, P]`."""

    def chunked(*, reference: Float, imagined: Float) -> Float:
        if reference.ndim == 1 or len(reference) <= rows:
            return function(reference=reference, imagined=imagined)
        parts = [
            function(reference=reference[i : i + rows], imagined=imagined[i : i + rows])
            for i in range(0, len(reference), rows)
        ]
        return np.concatenate(parts)

    return chunked


def rates(outcomes: Float) -> Float:
    """Mean outcome of each policy `[P]`; NaN where nothing was run."""
    known = np.isfinite(outcomes)
    total = np.where(known, outcomes, 0.0).sum(axis=(1, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / known.sum(axis=(1, 2)))


def paired_resamples(
    reference: Float, imagined: Float, samples: int, rng: np.random.Generator
) -> tuple[Float, Float]:
    """Bootstrap rates `[B, P]` of both worlds under a joint draw of starts.

    Args:
        reference: outcomes `[P, N, K]`.
        imagined: outcomes `[P, N, K']` of the same starts.
        samples: B.
        rng: source of the draws.
    """
    if reference.shape[:2] != imagined.shape[:2]:
        raise UsageError(
            f"reference outcomes are [P, N] = {reference.shape[:2]}, imagined "
            f"{imagined.shape[:2]}; a paired ranking needs the same policies and starts"
        )
    draws = _draw_starts(reference.shape[1], samples, rng)
    return _rates_of(reference, draws, rng), _rates_of(imagined, draws, rng)


def start_resamples(outcomes: Float, samples: int, rng: np.random.Generator) -> Float:
    """Bootstrap rates `[B, P]` of one world alone: starts, then rollouts."""
    return _rates_of(outcomes, _draw_starts(outcomes.shape[1], samples, rng), rng)


def resample_policies(
    reference: Float, imagined: Float, rng: np.random.Generator
) -> tuple[tuple[Float, Float], NDArray[np.int64]]:
    """Draw the policies of each row of rates `[B, P]` with replacement, alike in both worlds.

    Returns:
        The drawn rates of both worlds, and how many different policies each row holds, `[B]`.
    """
    samples, policies = reference.shape
    drawn = rng.integers(max(policies, 1), size=(samples, policies))
    rates = np.take_along_axis(reference, drawn, 1), np.take_along_axis(imagined, drawn, 1)
    return rates, (drawn[:, None, :] == np.arange(policies)[:, None]).any(axis=2).sum(axis=1)


def distinct_resamples(policies: int) -> int:
    """C(2k - 1, k): how many different bootstrap samples k policies have."""
    return math.comb(2 * policies - 1, policies) if policies > 0 else 0


def best_shares(resamples: Float) -> Float:
    """Share of resamples `[B, P]` in which each policy leads `[P]`; ties split the lead."""
    known = np.isfinite(resamples)
    nothing = np.full(resamples.shape[1], np.nan)
    if not known.any():
        return nothing
    ranked = np.where(known, resamples, -np.inf)[known.any(axis=1)]
    leads = ranked == ranked.max(axis=1, keepdims=True)
    shares = (leads / leads.sum(axis=1, keepdims=True)).mean(axis=0)
    return np.where(known.any(axis=0), shares, nothing)


def _draw_starts(starts: int, samples: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """How often each start is drawn, `[B, N]`."""
    if starts == 0:
        return np.zeros((samples, 0), dtype=np.int64)
    return rng.multinomial(starts, np.full(starts, 1.0 / starts), size=samples)


def _rates_of(outcomes: Float, draws: NDArray[np.int64], rng: np.random.Generator) -> Float:
    if outcomes.shape[2] == 1:
        return _weighted_rates(outcomes[..., 0], draws)
    result = np.empty((len(draws), len(outcomes)))
    starts = np.arange(outcomes.shape[1])
    for row, count in enumerate(draws):
        drawn = outcomes[:, np.repeat(starts, count)]
        rollout = rng.integers(outcomes.shape[2], size=drawn.shape)
        result[row] = rates(np.take_along_axis(drawn, rollout, axis=2))
    return result


def _weighted_rates(outcomes: Float, draws: NDArray[np.int64]) -> Float:
    known = np.isfinite(outcomes)
    total = draws @ np.where(known, outcomes, 0.0).T
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(total / (draws @ known.astype(np.float64).T))
