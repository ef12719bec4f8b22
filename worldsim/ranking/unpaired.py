"""Imagined outcomes beside success rates that were logged elsewhere, from starts of their own.

Each world is resampled on its own: counts by their posterior, imagination by starts. The two best
logged policies are told apart by Fisher's exact test and the two-proportion sample size.
"""

from collections.abc import Sequence
from math import ceil, sqrt
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.ranking.bootstrap import (
    Estimate,
    as_outcomes,
    normal_quantile,
    start_resamples,
    wilson_interval,
)
from worldsim.ranking.rates import PairedRates, WorldRates, jeffreys, world_rates
from worldsim.ranking.significance import MAX_STARTS, POWER, Separation, describe_rates, top_two
from worldsim.rollout.episodes import METRICS, SUCCESS
from worldsim.rollout.logged import LoggedRates

Float = NDArray[np.float64]
Generator = np.random.Generator


def logged_rates(
    logged: LoggedRates,
    imagined: ArrayLike,
    names: tuple[str, ...],
    samples: int,
    level: float,
    rngs: Sequence[Generator],
) -> PairedRates:
    """Logged rates beside imagined outcomes `[P, N]` or `[P, N, K]`.

    Args:
        logged: rates of all policies.
        imagined: successes in imagination.
        names: P policies.
        samples: B.
        level: of all intervals.
        rngs: of the resampling of each world.

    Raises:
        UsageError: a policy has no logged rate.
    """
    s, known = as_outcomes(imagined, names, "imagined"), tuple(sorted(names))
    success, (rates, trials) = METRICS.get(SUCCESS), logged.of(known)
    resamples = start_resamples(s, samples, rngs[1])
    return PairedRates(
        names=known,
        metric=success,
        reference=WorldRates(
            rates=rates,
            estimates=tuple(map(_estimate, rates, trials, [level] * len(known))),
            successes=rates * trials,
            trials=trials,
            resamples=count_resamples(rates, trials, samples, rngs[0]),
            separation=separate_counts(rates, trials, known, "reference", level),
        ),
        imagined=world_rates(s, resamples, known, "imagined", level, success),
        starts=s.shape[1],
        rollouts=s.shape[2],
        level=level,
        agreement=None,
        paired=False,
        off_lattice=logged.off_lattice(),
    )


def _estimate(rate: float, trials: float, level: float) -> Estimate:
    if not np.isfinite(trials):
        return Estimate(float(rate), None, "the number of trials is not logged")
    successes = rate * trials
    return Estimate(float(successes / trials), wilson_interval(successes, trials, level))


def count_resamples(rates: Float, trials: Float, samples: int, rng: Generator) -> Float:
    """Rates `[B, P]` that the logged counts leave plausible, from their Jeffreys posterior.

    A binomial bootstrap would have no spread where all trials ended alike. A policy whose number
    of trials is unknown (NaN) keeps its rate in every sample.
    """
    known = np.isfinite(trials)
    n = np.where(known, trials, 1.0)
    return np.where(known, jeffreys(rates * n, n, (samples, len(n)), rng), rates)


def separate_counts(
    rates: Float, trials: Float, names: tuple[str, ...], world: str, level: float = 0.95
) -> Separation:
    """Top two of unpaired rates `[P]` over trials `[P]`; trials NaN means unknown."""
    pair = top_two(rates, names)
    if pair is None:
        return Separation.of_none(world, "rate")
    a, b = pair
    gap, unknown = float(rates[a] - rates[b]), [names[i] for i in pair if np.isnan(trials[i])]
    if unknown:
        text = (
            f"{world}: {names[a]} leads {names[b]} by {gap:.3f}; whether that is more than chance "
            f"cannot be told without the number of trials of {' and '.join(unknown)}"
        )
        return Separation(world, names[a], names[b], gap, None, False, 0, None, text)
    won, run = ([round(float(values[i])) for i in pair] for values in (rates * trials, trials))
    needed = two_proportion_trials(float(rates[a]), float(rates[b]), level)
    more = None if needed is None else max(needed - min(run), 1)
    p_value = fisher_exact(won[0], run[0], won[1], run[1])
    return describe_rates((world, names[a], names[b]), gap, p_value, min(run), more, level)


def two_proportion_trials(p: float, q: float, level: float) -> int | None:
    """Trials for each of two independent policies to separate rates p and q with `POWER`."""
    if p == q:
        return None
    mean, gap = (p + q) / 2, abs(p - q)
    z_alpha, z_power = normal_quantile(level), NormalDist().inv_cdf(POWER)
    spread = z_alpha * sqrt(2 * mean * (1 - mean)) + z_power * sqrt(p * (1 - p) + q * (1 - q))
    needed = ceil((spread / gap) ** 2)
    return needed if needed <= MAX_STARTS else None


def fisher_exact(successes_a: int, trials_a: int, successes_b: int, trials_b: int) -> float:
    """Two-sided p-value of Fisher's exact test of equal rates."""
    from scipy import stats

    rows = [[successes_a, trials_a - successes_a], [successes_b, trials_b - successes_b]]
    return float(stats.fisher_exact(rows).pvalue)
