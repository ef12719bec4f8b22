"""A number with its interval, or the reason why there is none: NaN never leaves this package."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

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
