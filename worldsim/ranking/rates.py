"""Rates of each policy in both worlds with their resamples, as they are and judge-corrected.

Policies are held in order of name, so that the order they were given in cannot change a number.
A rate is the mean of any metric. Shapes: P policies, N starts, K rollouts a start, B samples.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.errors import UsageError
from worldsim.judge.report import JudgeReport
from worldsim.ranking.bootstrap import (
    Estimate,
    as_outcomes,
    bootstrap_interval,
    paired_resamples,
    percentile_interval,
    wilson_interval,
)
from worldsim.ranking.correlation import calibration_line
from worldsim.ranking.significance import Separation, separate
from worldsim.rollout.episodes import EpisodeMetric

Float = NDArray[np.float64]
Generator = np.random.Generator


@dataclass(frozen=True)
class StartOutcomes:
    """The same policy from the same start in both worlds, counted over all policies.

    Attributes:
        both_succeed: successes in both.
        both_fail: failures in both.
        only_reference: successes that imagination missed.
        only_imagined: successes that only imagination saw.
    """

    both_succeed: int
    both_fail: int
    only_reference: int
    only_imagined: int

    @property
    def total(self) -> int:
        """All pairs counted."""
        return self.both_succeed + self.both_fail + self.only_reference + self.only_imagined

    @property
    def agreement(self) -> float | None:
        """Share of pairs with the same outcome."""
        return (self.both_succeed + self.both_fail) / self.total if self.total else None


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
        outcomes: both worlds start by start, where they are paired with one rollout each.
        start_agreement: share of equal outcomes of each policy `[P]`, NaN where not paired.
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
    outcomes: StartOutcomes | None
    start_agreement: Float
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
    outcomes, agreement = _start_outcomes(r, s, metric)
    return PairedRates(
        names=known,
        metric=metric,
        reference=world_rates(r, resamples[0], known, "reference", level, metric),
        imagined=world_rates(s, resamples[1], known, "imagined", level, metric),
        starts=s.shape[1],
        rollouts=max(r.shape[2], s.shape[2]),
        level=level,
        outcomes=outcomes,
        start_agreement=agreement,
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


def _start_outcomes(
    reference: Float, imagined: Float, metric: EpisodeMetric
) -> tuple[StartOutcomes | None, Float]:
    """Counts over all policies and starts, and each policy's agreement `[P]`."""
    if not metric.binary or reference.shape[2] != 1 or imagined.shape[2] != 1:
        return None, np.full(len(reference), np.nan)
    r, s = reference[..., 0], imagined[..., 0]
    known = np.isfinite(r) & np.isfinite(s)
    won, seen = (r >= 0.5) & known, (s >= 0.5) & known
    with np.errstate(invalid="ignore", divide="ignore"):
        agreement = ((won == seen) & known).sum(axis=1) / known.sum(axis=1)
    counts = (won & seen, known & ~won & ~seen, won & ~seen, seen & ~won)
    return StartOutcomes(*(int(count.sum()) for count in counts)), np.asarray(agreement)


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


def require_counts(judge: JudgeReport) -> None:
    """Refuse a judge that was right more often than it was asked."""
    for right, whole in (
        (judge.true_positives, judge.positives),
        (judge.true_negatives, judge.negatives),
    ):
        if not 0 <= right <= whole:
            raise UsageError(f"judge counts are inconsistent: {right} correct of {whole}")


def judge_rates(judge: JudgeReport) -> tuple[Estimate, Estimate]:
    """TPR and TNR on held-out simulated episodes; the false-positive rate is 1 - TNR."""
    counts = (
        (judge.true_positives, judge.positives, "successful"),
        (judge.true_negatives, judge.negatives, "failed"),
    )
    tpr, tnr = (
        Estimate(right / whole, wilson_interval(right, whole))
        if whole
        else Estimate(None, None, f"no {kind} validation episodes")
        for right, whole, kind in counts
    )
    return tpr, tnr


def draw_judges(judge: JudgeReport, samples: int, rng: Generator) -> tuple[Float, Float]:
    """Plausible (TPR, FPR) pairs, `[samples]` each, given the validation counts.

    A plain bootstrap of counts has no spread when the judge made no mistake, so the
    draws come from the Jeffreys posterior Beta(k + 1/2, n - k + 1/2), its smoothed form.
    """
    tpr = jeffreys(judge.true_positives, judge.positives, samples, rng)
    tnr = jeffreys(judge.true_negatives, judge.negatives, samples, rng)
    return tpr, 1.0 - tnr


def jeffreys(
    successes: Float | float, trials: Float | float, size: int | tuple[int, ...], rng: Generator
) -> Float:
    """Rates drawn from the Jeffreys posterior of counts, which may be fractions."""
    failures = np.maximum(np.asarray(trials) - successes, 0.0)
    return rng.beta(np.asarray(successes) + 0.5, failures + 0.5, size=size)


def correct(observed: Float | float, tpr: Float | float, fpr: Float | float) -> Float:
    """p = (p_hat - FPR) / (TPR - FPR), clipped to [0, 1] (Rogan and Gladen 1978).

    NaN where the judge is no better than chance (TPR <= FPR).
    """
    power = np.asarray(tpr, dtype=np.float64) - np.asarray(fpr, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.clip((np.asarray(observed, dtype=np.float64) - fpr) / power, 0.0, 1.0)
    return np.where(power > 0, value, np.nan)


def corrected_rate(
    successes: float, trials: float, judge: JudgeReport, samples: int, level: float, rng: Generator
) -> Estimate:
    """The rate after judge correction, its interval carrying both sources of doubt.

    Observed rate and judge rates are drawn from their Jeffreys posteriors; the interval is the
    central one of the corrected draws, widened if need be to hold the point estimate.
    """
    if trials <= 0:
        return Estimate(None, None, "no starts were judged")
    if judge.tpr is None or judge.tnr is None:
        return Estimate(None, None, "the judge was not validated on both outcomes")
    point = float(correct(successes / trials, judge.tpr, 1.0 - judge.tnr))
    if math.isnan(point):
        return Estimate(None, None, "the judge is no better than chance (TPR <= FPR)")
    observed = jeffreys(successes, trials, samples, rng)
    drawn = correct(observed, *draw_judges(judge, samples, rng))
    interval, reason = percentile_interval(drawn, level)
    if interval is not None:
        interval = (min(interval[0], point), max(interval[1], point))
    return Estimate(point, interval, reason)
