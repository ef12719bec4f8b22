"""Rates of each policy in both worlds with their resamples.

Policies are held in order of name, so that the order they were given in cannot change a number.
A rate is the mean of any metric. Shapes: P policies, N starts, K rollouts a start, B samples.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.ranking.agreement import EpisodeAgreement
from worldsim.ranking.bootstrap import (
    Estimate,
    as_outcomes,
    bootstrap_interval,
    paired_resamples,
    wilson_interval,
)
from worldsim.ranking.correlation import calibration_line
from worldsim.ranking.significance import Separation, separate
from worldsim.rollout.episodes import EpisodeMetric

Float = NDArray[np.float64]
Generator = np.random.Generator


@dataclass(frozen=True, eq=False)
class WorldRates:
    """One metric of P policies in one world.

    Attributes:
        rates: means `[P]`, NaN where unknown.
        estimates: the same with their intervals.
        successes: sums `[P]`, of `trials` `[P]`; NaN where the number of trials is not known.
        trials: rollouts.
        resamples: bootstrap rates `[B, P]`.
        separation: of the top two.
    """

    rates: Float
    estimates: tuple[Estimate, ...]
    successes: Float
    trials: Float
    resamples: Float
    separation: Separation


@dataclass(frozen=True, eq=False)
class PairedRates:
    """One metric of P policies in both worlds.

    Attributes:
        names: sorted.
        metric: what is measured.
        reference: in the reference world.
        imagined: in imagination.
        starts: N, the starts in imagination.
        rollouts: K, the most rollouts of one policy from one start.
        level: of all intervals.
        agreement: of both worlds episode by episode, where they are paired with one rollout each.
        paired: whether the worlds share their starts.
        off_lattice: policies whose logged rate is no multiple of 1 / trials.
    """

    names: tuple[str, ...]
    metric: EpisodeMetric
    reference: WorldRates
    imagined: WorldRates
    starts: int
    rollouts: int
    level: float
    agreement: EpisodeAgreement | None
    paired: bool = True
    off_lattice: tuple[str, ...] = ()

    @property
    def ranked(self) -> NDArray[np.bool_]:
        """Policies with a rate in both worlds `[P]`."""
        return np.isfinite(self.reference.rates) & np.isfinite(self.imagined.rates)


def paired_rates(
    reference: ArrayLike,
    imagined: ArrayLike,
    names: tuple[str, ...],
    metric: EpisodeMetric,
    samples: int,
    level: float,
    rng: Generator,
) -> PairedRates:
    """From outcomes `[P, N]` or `[P, N, K]` of the same starts in both worlds.

    Args:
        reference: outcomes in the reference world.
        imagined: outcomes in imagination.
        names: P policies.
        metric: what the outcomes are.
        samples: B.
        level: of all intervals.
        rng: of the resampling.
    """
    r = as_outcomes(reference, names, "reference", metric.bounds)
    s = as_outcomes(imagined, names, "imagined", metric.bounds)
    resamples, known = paired_resamples(r, s, samples, rng), tuple(sorted(names))
    found = EpisodeAgreement.of(r, s, metric, samples, level, rng)
    return PairedRates(
        names=known,
        metric=metric,
        reference=world_rates(r, resamples[0], known, "reference", level, metric),
        imagined=world_rates(s, resamples[1], known, "imagined", level, metric),
        starts=s.shape[1],
        rollouts=max(r.shape[2], s.shape[2]),
        level=level,
        agreement=found,
    )


def world_rates(
    outcomes: Float,
    resamples: Float,
    names: tuple[str, ...],
    world: str,
    level: float,
    metric: EpisodeMetric,
) -> WorldRates:
    """From outcomes `[P, N, K]`: Wilson intervals of rates, bootstrap intervals of other means."""
    known = np.isfinite(outcomes)
    values = np.where(known, outcomes, 0.0)
    successes, trials = values.sum(axis=(1, 2)), known.sum(axis=(1, 2)).astype(float)
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = successes / trials
        by_start = values.sum(axis=2) / known.sum(axis=2)

    def estimate(i: int) -> Estimate:
        value = float(rates[i])
        if not math.isfinite(value):
            what = "no finished starts" if metric.binary else f"no episode tells {metric.name}"
            return Estimate(None, None, what)
        if metric.binary:
            return Estimate(value, wilson_interval(successes[i], trials[i], level))
        return Estimate(value, *bootstrap_interval(resamples[:, i], value, level, metric.bounds))

    estimates = tuple(map(estimate, range(len(names))))
    separation = separate(by_start, names, world, level, metric)
    return WorldRates(rates, estimates, successes, trials, resamples, separation)


def leave_one_out_rates(reference: Float, imagined: Float, bounds: tuple[float, float]) -> Float:
    """Reference rates `[P]` predicted from imagined ones, calibrated on the other policies only.

    Policy i's prediction is a S_i + b, clipped to `bounds`, with the line fitted without it, so
    that the error is honest. Fewer than three policies give NaN; where the others' imagined
    rates are all equal, only their mean bias is subtracted.
    """
    result = np.full(len(reference), np.nan)
    for i in range(len(reference) if len(reference) >= 3 else 0):
        kept = np.arange(len(reference)) != i
        r, s = reference[kept], imagined[kept]
        slope, intercept = calibration_line(reference=r, imagined=s)
        fitted = slope * imagined[i] + intercept
        result[i] = fitted if np.isfinite(slope) else imagined[i] - (s - r).mean()
    return np.asarray(np.clip(result, *bounds))


def jeffreys(
    successes: Float | float, trials: Float | float, size: int | tuple[int, ...], rng: Generator
) -> Float:
    """Rates drawn from the Jeffreys posterior of counts, which may be fractions."""
    failures = np.maximum(np.asarray(trials) - successes, 0.0)
    return rng.beta(np.asarray(successes) + 0.5, failures + 0.5, size=size)
