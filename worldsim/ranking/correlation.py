"""How well imagined rates order and match reference rates, with intervals.

Every statistic takes `reference` R and `imagined` S of shape `[..., P]` (P policies on the last
axis, any leading axes such as bootstrap samples) and returns `[...]`. Undefined values are NaN
there; `coefficients` turns them into None with a reason. SciPy has some of them, for one sample.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.ranking.bootstrap import Estimate, Interval, estimate, in_chunks
from worldsim.ranking.inversion import inverted_estimate
from worldsim.rollout.episodes import EpisodeMetric

Float = NDArray[np.float64]

MMRV_RULE = (
    "MMRV = (1/P) sum_i max_j |R_i - R_j| * 1[(S_i < S_j) != (R_i < R_j)], R reference, "
    "S imagined, as SIMPLER's paper has it; a tie in S alone counts for the policy with the lower "
    "R. SIMPLER's published code has > for <, so that it counts for the one with the higher R"
)


def pearson(*, reference: ArrayLike, imagined: ArrayLike) -> Float:
    """Pearson's r; NaN for fewer than two policies or when either side is constant."""
    r, s = _pair(reference, imagined)
    if r.shape[-1] < 2:
        return np.full(r.shape[:-1], np.nan)
    constant = (np.ptp(r, axis=-1) == 0) | (np.ptp(s, axis=-1) == 0)
    dr = r - r.mean(axis=-1, keepdims=True)
    ds = s - s.mean(axis=-1, keepdims=True)
    scale = np.sqrt((dr**2).sum(axis=-1) * (ds**2).sum(axis=-1))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.clip((dr * ds).sum(axis=-1) / scale, -1.0, 1.0)
    return np.where(constant, np.nan, value)


def average_ranks(values: ArrayLike) -> Float:
    """Ranks 1..P along the last axis; ties share the mean of the ranks they span."""
    from scipy.stats import rankdata

    x = np.asarray(values, dtype=np.float64)
    return np.asarray(rankdata(x, axis=-1, nan_policy="propagate"))


def spearman(*, reference: ArrayLike, imagined: ArrayLike) -> Float:
    """Spearman's rho: Pearson's r of average ranks."""
    r, s = _pair(reference, imagined)
    value = pearson(reference=average_ranks(r), imagined=average_ranks(s))
    return np.where(np.isnan(r + s).any(axis=-1), np.nan, value)


def kendall(*, reference: ArrayLike, imagined: ArrayLike) -> Float:
    """Kendall's tau-b (Kendall 1945): ties in either variable shrink the denominator."""
    r, s = _pair(reference, imagined)
    sign_r = np.sign(r[..., :, None] - r[..., None, :])
    sign_s = np.sign(s[..., :, None] - s[..., None, :])
    agreement = (sign_r * sign_s).sum(axis=(-2, -1))
    scale = np.sqrt((sign_r**2).sum(axis=(-2, -1)) * (sign_s**2).sum(axis=(-2, -1)))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(scale == 0, np.nan, agreement / scale))


def mmrv(*, reference: ArrayLike, imagined: ArrayLike) -> Float:
    """Mean maximum rank violation as in SIMPLER's paper (2405.05941, eq. 1-2); see `MMRV_RULE`.

    Arguments are keyword-only because swapping them changes the value silently: the gap is
    `|R_i - R_j|`. Zero is perfect. Fewer than two policies give NaN.
    """
    r, s = _pair(reference, imagined)
    if r.shape[-1] < 2:
        return np.full(r.shape[:-1], np.nan)
    gap = np.abs(r[..., :, None] - r[..., None, :])
    violated = (s[..., :, None] < s[..., None, :]) != (r[..., :, None] < r[..., None, :])
    worst = np.where(violated, gap, 0.0).max(axis=-1)
    return np.where(np.isnan(r + s).any(axis=-1), np.nan, worst.mean(axis=-1))


def mmrv_code(*, reference: ArrayLike, imagined: ArrayLike) -> Float:
    """MMRV as in SIMPLER's code: > for <, which is the paper's with both orders reversed."""
    r, s = _pair(reference, imagined)
    return mmrv(reference=-r, imagined=-s)


def pairwise_accuracy(*, reference: ArrayLike, imagined: ArrayLike) -> Float:
    """Share of policy pairs, among those the reference separates, that S orders as R does.

    A tie in S scores one half. NaN when the reference separates no pair.
    """
    r, s = _pair(reference, imagined)
    sign_r = np.sign(r[..., :, None] - r[..., None, :])
    sign_s = np.sign(s[..., :, None] - s[..., None, :])
    score = (1 + sign_r * sign_s) / 2
    decided = sign_r != 0
    total = decided.sum(axis=(-2, -1))
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(decided, score, 0.0).sum(axis=(-2, -1)) / total
    return np.where((total == 0) | np.isnan(r + s).any(axis=-1), np.nan, value)


def selection_regret(*, reference: ArrayLike, imagined: ArrayLike) -> Float:
    """Reference rate lost by taking imagination's best policy; ties at its top are averaged."""
    r, s = _pair(reference, imagined)
    if r.shape[-1] == 0:
        return np.full(r.shape[:-1], np.nan)
    top = s == s.max(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        chosen = np.where(top, r, 0.0).sum(axis=-1) / top.sum(axis=-1)
    # A mean of ties may lie a rounding above the greatest of them.
    return np.asarray(np.maximum(r.max(axis=-1) - chosen, 0.0))


def bias(*, reference: ArrayLike, imagined: ArrayLike) -> Float:
    """mean(S - R); positive when imagination flatters."""
    r, s = _pair(reference, imagined)
    return _mean(s - r)


def mean_absolute_error(*, reference: ArrayLike, imagined: ArrayLike) -> Float:
    """mean |S - R|."""
    r, s = _pair(reference, imagined)
    return _mean(np.abs(s - r))


def calibration_slope(*, reference: ArrayLike, imagined: ArrayLike) -> Float:
    """Slope a of the least-squares line R = a S + b; 1 is calibrated."""
    return calibration_line(reference=reference, imagined=imagined)[0]


def calibration_intercept(*, reference: ArrayLike, imagined: ArrayLike) -> Float:
    """Intercept b of the least-squares line R = a S + b; 0 is calibrated."""
    return calibration_line(reference=reference, imagined=imagined)[1]


def calibration_line(*, reference: ArrayLike, imagined: ArrayLike) -> tuple[Float, Float]:
    """Least-squares line R = a S + b, so that a S + b predicts the reference rate.

    Returns:
        (a, b), NaN where S is constant or there are fewer than two policies.
    """
    r, s = _pair(reference, imagined)
    if r.shape[-1] < 2:
        return np.full(r.shape[:-1], np.nan), np.full(r.shape[:-1], np.nan)
    ds = s - s.mean(axis=-1, keepdims=True)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (ds * r).sum(axis=-1) / (ds**2).sum(axis=-1)
    slope = np.where(np.ptp(s, axis=-1) == 0, np.nan, slope)
    return slope, r.mean(axis=-1) - slope * s.mean(axis=-1)


def _pair(reference: ArrayLike, imagined: ArrayLike) -> tuple[Float, Float]:
    r = np.asarray(reference, dtype=np.float64)
    s = np.asarray(imagined, dtype=np.float64)
    if r.shape != s.shape or r.ndim == 0:
        raise ValueError(f"reference has shape {r.shape}, imagined {s.shape}; need equal [..., P]")
    return r, s


def _mean(values: Float) -> Float:
    if values.shape[-1] == 0:
        return np.full(values.shape[:-1], np.nan)
    return np.asarray(values.mean(axis=-1))


class Statistic(NamedTuple):
    """A statistic of agreement.

    Attributes:
        function: from rates of both worlds to its value.
        bounds: its range, if rates are shares.
        in_units: whether it is in the unit of the metric.
        directed: whether it matters to it that more is better.
        relation: whether it is of a line or an order through the policies.
        correlation: whether tests make its interval where the policies are held fixed.
    """

    function: Callable[..., Float]
    bounds: Interval
    in_units: bool = False
    directed: bool = False
    relation: bool = False
    correlation: bool = False


STATISTICS = {
    "pearson": Statistic(pearson, (-1.0, 1.0), relation=True, correlation=True),
    "spearman": Statistic(spearman, (-1.0, 1.0), relation=True, correlation=True),
    "kendall": Statistic(kendall, (-1.0, 1.0), relation=True, correlation=True),
    "mmrv": Statistic(mmrv, (0.0, 1.0), in_units=True, directed=True),
    "mmrv_code": Statistic(mmrv_code, (0.0, 1.0), in_units=True, directed=True),
    "pairwise_accuracy": Statistic(pairwise_accuracy, (0.0, 1.0)),
    "selection_regret": Statistic(selection_regret, (0.0, 1.0), in_units=True, directed=True),
    "slope": Statistic(calibration_slope, (-inf, inf), relation=True),
    "intercept": Statistic(calibration_intercept, (-inf, inf), relation=True),
    "bias": Statistic(bias, (-1.0, 1.0), in_units=True),
    "mae": Statistic(mean_absolute_error, (0.0, 1.0), in_units=True),
}

FEWEST = 3
"""Policies below which a relation says nothing: two of them always lie on a line."""


@dataclass(frozen=True)
class Coefficients:
    """Agreement of imagined with reference rates over a set of policies; see `STATISTICS`.

    Attributes:
        pearson: r.
        spearman: rho, average ranks.
        kendall: tau-b.
        mmrv: mean maximum rank violation, 0 is perfect; see `MMRV_RULE`.
        mmrv_code: the same with SIMPLER's published code, which differs where policies tie.
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
    mmrv_code: Estimate
    pairwise_accuracy: Estimate
    selection_regret: Estimate
    slope: Estimate
    intercept: Estimate
    bias: Estimate
    mae: Estimate

    def to_json(self) -> dict[str, Any]:
        """{name: {value, interval}}."""
        return {field.name: getattr(self, field.name).to_json() for field in fields(self)}


def coefficients(
    reference: Float,
    imagined: Float,
    resamples: tuple[Float, Float],
    level: float,
    metric: EpisodeMetric,
    distinct: NDArray[np.int64] | None = None,
) -> Coefficients:
    """All coefficients of rates `[P]` (finite), with intervals from resampled rates.

    Args:
        reference: rates `[P]`.
        imagined: rates `[P]`.
        resamples: rates `[B, P]` of each world.
        level: of the intervals.
        metric: what the rates are means of.
        distinct: how many different policies each resample holds, `[B]`; None: all of them.
    """
    undefined = _why_undefined(reference, imagined)
    enough = None if distinct is None else distinct >= FEWEST

    def one(statistic: Statistic) -> Estimate:
        if statistic.relation and len(reference) == FEWEST - 1:
            return Estimate(None, None, "two policies are too few: they always lie on a line")
        low, high = statistic.bounds
        if statistic.in_units and not metric.is_share:
            low, high = (0.0 if low == 0 else -inf), inf
        # Times the sign, more is better.
        sign = metric.sign if statistic.directed else 1
        if statistic.correlation and distinct is None:
            rates = reference, imagined
            return inverted_estimate(statistic.function, rates, resamples, level, undefined)
        return estimate(
            in_chunks(statistic.function),
            (sign * reference, sign * imagined),
            (sign * resamples[0], sign * resamples[1]),
            level=level,
            bounds=(low, high),
            undefined=undefined,
            told=enough if statistic.relation else None,
        )

    return Coefficients(**{name: one(statistic) for name, statistic in STATISTICS.items()})


def _why_undefined(reference: Float, imagined: Float) -> str:
    if len(reference) == 0:
        return "no policy has a rate in both worlds"
    if len(reference) == 1:
        return "one policy cannot be ranked"
    constant = np.ptp(reference) == 0, np.ptp(imagined) == 0
    if all(constant):
        return "all rates are equal in both worlds"
    if any(constant):
        return f"all {'reference' if constant[0] else 'imagined'} rates are equal"
    return "undefined for these rates"
