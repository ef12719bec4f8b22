"""Are the two best policies told apart by a metric that is no rate, such as a path length?

Both ran from the same starts. The test is a sign-flip permutation test of the paired differences,
the sample size that of a paired z-test.
"""

from math import ceil
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking.rates import normal_quantile
from worldsim.ranking.separation import MAX_STARTS, POWER, Separation, top_two
from worldsim.rollout.metrics import EpisodeMetric

Float = NDArray[np.float64]

FLIPS = 9999


def separate_means(
    values: Float, names: tuple[str, ...], world: str, level: float, metric: EpisodeMetric
) -> Separation:
    """The best two of mean values `[P, N]` by start; NaN marks what is not known."""
    known = np.isfinite(values)
    with np.errstate(invalid="ignore", divide="ignore"):
        means = np.where(known, values, 0.0).sum(axis=1) / known.sum(axis=1)
    pair = top_two(metric.sign * means, names)
    if pair is None:
        text = f"{world}: fewer than two policies have a value"
        return Separation(world, None, None, None, None, False, 0, None, text)
    a, b = pair
    both = known[a] & known[b]
    ahead, starts = metric.sign * (values[a][both] - values[b][both]), int(both.sum())
    gap = abs(float(means[a] - means[b]))
    p_value = sign_flip_test(ahead) if starts else None
    separated = p_value is not None and p_value < 1 - level
    more = 0 if separated else more_starts(ahead, level)
    lead = f"{world}: {names[a]} is ahead of {names[b]} by {gap:.3g} {metric.unit}"
    text = f"{lead} over {starts} starts"
    if gap == 0:
        text = f"{world}: {names[a]} and {names[b]} are tied over {starts} starts"
    elif p_value is None:
        text = f"{lead}, but no start tells of both"
    elif separated:
        text += f"; separated (p = {p_value:.2g})"
    else:
        hint = "" if more is None else f": about {more} more starts would do it"
        text += f"; not separated (p = {p_value:.2g}){hint}"
    return Separation(world, names[a], names[b], gap, p_value, separated, starts, more, text)


def sign_flip_test(differences: Float) -> float:
    """Two-sided p-value of a mean difference `[N]`, had each start either sign as likely."""
    signs = np.random.default_rng(0).choice([-1.0, 1.0], size=(FLIPS, len(differences)))
    as_far = np.abs(signs @ differences) >= abs(differences.sum()) * (1 - 1e-9)
    # The differences as observed count too, or the test could claim p = 0.
    return float((as_far.sum() + 1) / (FLIPS + 1))


def more_starts(differences: Float, level: float) -> int | None:
    """Further starts at which the mean of `[N]` differences would be significant with `POWER`.

    None where there is no difference to detect, or it would take more than `MAX_STARTS`.
    """
    count = len(differences)
    if count < 2 or differences.mean() <= 0:
        return None
    effect = float(differences.mean()) / max(float(differences.std(ddof=1)), 1e-12)
    needed = ((normal_quantile(level) + NormalDist().inv_cdf(POWER)) / effect) ** 2
    return None if needed > MAX_STARTS else max(ceil(needed) - count, 1)
