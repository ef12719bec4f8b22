"""The coefficients of agreement between two worlds, each with a bootstrap interval."""

from dataclasses import dataclass, fields
from math import inf
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking import correlation
from worldsim.ranking.bootstrap import Estimate, estimate, in_chunks
from worldsim.rollout.metrics import METRICS, SUCCESS, EpisodeMetric

Float = NDArray[np.float64]


@dataclass(frozen=True)
class Coefficients:
    """Agreement of imagined with reference rates over a set of policies.

    Attributes:
        pearson: r.
        spearman: rho, average ranks.
        kendall: tau-b.
        mmrv: mean maximum rank violation, 0 is perfect; see `correlation.MMRV_RULE`.
        pairwise_accuracy: share of pairs ordered as the reference orders them.
        selection_regret: reference rate lost by choosing imagination's best policy.
        slope: a of R = a S + b.
        intercept: b of R = a S + b.
        bias: mean(S - R).
        mae: mean |S - R|.
    """

    pearson: Estimate
    spearman: Estimate
    kendall: Estimate
    mmrv: Estimate
    pairwise_accuracy: Estimate
    selection_regret: Estimate
    slope: Estimate
    intercept: Estimate
    bias: Estimate
    mae: Estimate

    def to_json(self) -> dict[str, Any]:
        """{name: {value, interval}}."""
        return {field.name: getattr(self, field.name).to_json() for field in fields(self)}


@dataclass(frozen=True)
class MetricResult:
    """One metric of all policies in both worlds, and how well the worlds agree on it.

    Attributes:
        metric: what is measured.
        reference: {policy: mean} in the reference world.
        imagined: {policy: mean} in imagination.
        coefficients: agreement of the means.
    """

    metric: EpisodeMetric
    reference: dict[str, Estimate]
    imagined: dict[str, Estimate]
    coefficients: Coefficients

    def to_json(self) -> dict[str, Any]:
        """What it is, its means by policy, and the coefficients."""
        return {
            **metric_json(self.metric),
            "policies": {
                name: {
                    "reference": self.reference[name].to_json(),
                    "imagined": self.imagined[name].to_json(),
                }
                for name in self.reference
            },
            **self.coefficients.to_json(),
        }


def metric_json(metric: EpisodeMetric) -> dict[str, Any]:
    """Name, unit and direction."""
    return {
        "name": metric.name,
        "unit": metric.unit,
        "more_is_better": metric.more_is_better,
        "binary": metric.binary,
    }


CORRELATION, SHARE, DIFFERENCE, ANY = (-1.0, 1.0), (0.0, 1.0), (-1.0, 1.0), (-inf, inf)

STATISTICS = {
    "pearson": (correlation.pearson, CORRELATION),
    "spearman": (correlation.spearman, CORRELATION),
    "kendall": (correlation.kendall, CORRELATION),
    "mmrv": (correlation.mmrv, SHARE),
    "pairwise_accuracy": (correlation.pairwise_accuracy, SHARE),
    "selection_regret": (correlation.selection_regret, SHARE),
    "slope": (correlation.calibration_slope, ANY),
    "intercept": (correlation.calibration_intercept, ANY),
    "bias": (correlation.bias, DIFFERENCE),
    "mae": (correlation.mean_absolute_error, SHARE),
}
"""Each statistic with its range."""


IN_UNITS = {"mmrv", "selection_regret", "bias", "mae"}
"""Statistics in the unit of the metric."""

DIRECTED = {"mmrv", "selection_regret"}
"""Statistics to which it matters whether more is better."""

RELATIONS = {"pearson", "spearman", "kendall", "slope", "intercept"}
"""Statistics of a line or an order through the policies."""

FEWEST = 3
"""Policies below which a relation says nothing: two of them always lie on a line."""


def coefficients(
    reference: Float,
    imagined: Float,
    resamples: tuple[Float, Float],
    level: float,
    distinct: NDArray[np.int64] | None = None,
    metric: EpisodeMetric | None = None,
) -> Coefficients:
    """All coefficients of rates `[P]` (finite), with intervals from resampled rates.

    Rates stand for the means of any metric.

    Args:
        reference: rates `[P]`.
        imagined: rates `[P]`.
        resamples: rates `[B, P]` of each world.
        level: of the intervals.
        distinct: how many different policies each resample holds, `[B]`; None: all of them.
        metric: what the rates are means of; None: of success.
    """
    metric = metric or METRICS.get(SUCCESS)
    undefined = _why_undefined(reference, imagined)
    enough = None if distinct is None else distinct >= FEWEST

    def one(name: str) -> Estimate:
        function, bounds = STATISTICS[name]
        if bounds in (SHARE, DIFFERENCE) and name in IN_UNITS and not metric.is_share:
            bounds = (0.0, inf) if bounds == SHARE else ANY
        # Times the sign, more is better, as these two take it.
        sign = metric.sign if name in DIRECTED else 1
        related = name in RELATIONS
        if related and len(reference) == FEWEST - 1:
            return Estimate(None, None, "two policies are too few: they always lie on a line")
        return estimate(
            in_chunks(function),
            (sign * reference, sign * imagined),
            (sign * resamples[0], sign * resamples[1]),
            level=level,
            bounds=bounds,
            undefined=undefined,
            told=enough if related else None,
        )

    return Coefficients(**{name: one(name) for name in STATISTICS})


def leave_one_out_rates(
    reference: Float, imagined: Float, bounds: tuple[float, float] = (0.0, 1.0)
) -> Float:
    """Reference rates `[P]` predicted from imagined ones, calibrated on the other policies only.

    Policy i's prediction is a S_i + b, clipped to `bounds`, with the line fitted without it, so
    that the error is honest. Fewer than three policies give NaN; where the others' imagined
    rates are all equal, only their mean bias is subtracted.
    """
    result = np.full(len(reference), np.nan)
    if len(reference) < 3:
        return result
    for i in range(len(reference)):
        kept = np.arange(len(reference)) != i
        r, s = reference[kept], imagined[kept]
        slope, intercept = correlation.calibration_line(reference=r, imagined=s)
        if np.isfinite(slope):
            result[i] = slope * imagined[i] + intercept
        else:
            result[i] = imagined[i] - (s - r).mean()
    return np.asarray(np.clip(result, *bounds))


def _why_undefined(reference: Float, imagined: Float) -> str:
    if len(reference) == 0:
        return "no policy has a rate in both worlds"
    if len(reference) == 1:
        return "one policy cannot be ranked"
    if np.ptp(reference) == 0 and np.ptp(imagined) == 0:
        return "all rates are equal in both worlds"
    if np.ptp(reference) == 0:
        return "all reference rates are equal"
    if np.ptp(imagined) == 0:
        return "all imagined rates are equal"
    return "undefined for these rates"
