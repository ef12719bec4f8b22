"""How well imagined success rates order and match reference rates.

Every function takes `reference` R and `imagined` S of shape `[..., P]` (P policies on the last
axis, any leading axes such as bootstrap samples) and returns `[...]`. Undefined values are NaN
here; `worldsim.ranking.bootstrap` turns them into None with a reason.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

MMRV_RULE = (
    "MMRV = (1/P) sum_i max_j |R_i - R_j| * 1[(S_i < S_j) != (R_i < R_j)], R reference, "
    "S imagined; the gap is on the reference side and a tie in S alone counts as a violation "
    "for the policy with the lower R"
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
    x = np.asarray(values, dtype=np.float64)
    below = (x[..., None, :] < x[..., :, None]).sum(axis=-1)
    equal = (x[..., None, :] == x[..., :, None]).sum(axis=-1)
    ranks: Float = below + (equal + 1) / 2
    return np.where(np.isnan(x), np.nan, ranks)


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
    """Mean maximum rank violation (SIMPLER, arXiv 2405.05941, eq. 1-2); see `MMRV_RULE`.

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
