"""Both worlds' rates of a pool of policies, with their resamples, before any statistic.

Policies are held in order of name, so that the order they were given in cannot change a number.
Shapes: P policies, N starts, K rollouts a start, B bootstrap samples.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.errors import UsageError
from worldsim.ranking.bootstrap import (
    Estimate,
    as_outcomes,
    bootstrap_interval,
    count_resamples,
    paired_resamples,
    rates,
    start_resamples,
)
from worldsim.ranking.mean_separation import separate_means
from worldsim.ranking.rates import wilson_interval
from worldsim.ranking.report import StartOutcomes
from worldsim.ranking.separation import Separation, separate_counts, separate_paired
from worldsim.rollout.logged import LoggedRates
from worldsim.rollout.metrics import METRICS, SUCCESS, EpisodeMetric

Float = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class PairedOutcomes:
    """What is known of each policy in each world.

    Attributes:
        names: sorted, `[P]`.
        reference: rates `[P]`, NaN where unknown; `reference_estimates` with Wilson intervals.
        imagined: rates `[P]`, likewise.
        reference_trials: rollouts `[P]` behind the reference rates, NaN where unknown.
        successes: imagined successes `[P]`, of `trials` `[P]`.
        resamples: bootstrap rates `[B, P]` of (reference, imagined).
        separations: the top two of each world.
        outcomes: both worlds start by start, where they are paired with one rollout each.
        start_agreement: share of equal outcomes of each policy `[P]`, NaN where not paired.
        starts: N, the starts in imagination.
        paired: whether the worlds share their starts.
        off_lattice: policies whose logged rate is no multiple of 1 / trials.
        rollouts: K, the most rollouts of one policy from one start.
        level: of all intervals.
        metric: what is measured. A rate is the mean of any metric.
    """

    names: tuple[str, ...]
    reference: Float
    reference_estimates: tuple[Estimate, ...]
    reference_trials: Float
    imagined: Float
    imagined_estimates: tuple[Estimate, ...]
    successes: Float
    trials: Float
    resamples: tuple[Float, Float]
    separations: tuple[Separation, ...]
    outcomes: StartOutcomes | None
    start_agreement: Float
    starts: int
    paired: bool
    off_lattice: tuple[str, ...] = ()
    rollouts: int = 1
    level: float = 0.95
    metric: EpisodeMetric = field(default_factory=lambda: METRICS.get(SUCCESS))

    @property
    def ranked(self) -> NDArray[np.bool_]:
        """Policies with a rate in both worlds `[P]`."""
        return np.isfinite(self.reference) & np.isfinite(self.imagined)


def sorting(names: tuple[str, ...]) -> NDArray[np.int64]:
    """Indices that sort the names.

    Raises:
        UsageError: a name occurs twice.
    """
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise UsageError(f"policy names must be unique; {', '.join(repeated)} occur more than once")
    return np.array(sorted(range(len(names)), key=lambda i: names[i]), dtype=np.int64)


def paired_outcomes(
    reference: ArrayLike,
    imagined: ArrayLike,
    names: tuple[str, ...],
    *,
    samples: int,
    level: float,
    seed: int,
    metric: EpisodeMetric | None = None,
) -> PairedOutcomes:
    """Rates and resamples from outcomes `[P, N]` or `[P, N, K]` of the same starts in both worlds.

    Args:
        reference: outcomes in the reference world.
        imagined: outcomes in imagination.
        names: P policies.
        samples: B.
        level: of all intervals.
        seed: of the resampling.
        metric: what the outcomes are; None: success.
    """
    order, metric = sorting(names), metric or METRICS.get(SUCCESS)
    r = as_outcomes(reference, names, "reference", metric.bounds)[order]
    s = as_outcomes(imagined, names, "imagined", metric.bounds)[order]
    known = tuple(names[i] for i in order)
    resamples = paired_resamples(r, s, samples, np.random.default_rng([seed, 1]))
    outcomes, agreement = _start_outcomes(r, s) if metric.binary else (None, _unknown(r))
    separate = _separate_rates if metric.binary else separate_means
    return PairedOutcomes(
        names=known,
        reference=rates(r),
        reference_estimates=_world_estimates(r, resamples[0], level, metric),
        reference_trials=_counts(r)[1],
        imagined=rates(s),
        imagined_estimates=_world_estimates(s, resamples[1], level, metric),
        successes=_counts(s)[0],
        trials=_counts(s)[1],
        resamples=resamples,
        separations=(
            separate(_start_means(r), known, "reference", level, metric),
            separate(_start_means(s), known, "imagined", level, metric),
        ),
        outcomes=outcomes,
        start_agreement=agreement,
        starts=s.shape[1],
        paired=True,
        rollouts=max(r.shape[2], s.shape[2]),
        level=level,
        metric=metric,
    )


def logged_outcomes(
    logged: LoggedRates,
    imagined: ArrayLike,
    names: tuple[str, ...],
    *,
    samples: int,
    level: float,
    seed: int,
) -> PairedOutcomes:
    """Logged reference rates beside imagined outcomes `[P, N]` or `[P, N, K]`.

    The worlds share no starts, so each is resampled on its own: counts binomially, imagination
    by starts.
    """
    order = sorting(names)
    known = tuple(names[i] for i in order)
    s = as_outcomes(imagined, names, "imagined")[order]
    r, trials = logged.of(known)
    resamples = (
        count_resamples(r, trials, samples, np.random.default_rng([seed, 1])),
        start_resamples(s, samples, np.random.default_rng([seed, 2])),
    )
    return PairedOutcomes(
        names=known,
        reference=r,
        reference_estimates=_estimates(r * trials, trials, level, r),
        reference_trials=trials,
        imagined=rates(s),
        imagined_estimates=_estimates(*_counts(s), level),
        successes=_counts(s)[0],
        trials=_counts(s)[1],
        resamples=resamples,
        separations=(
            separate_counts(r, trials, known, "reference", level),
            separate_paired(_start_means(s), known, "imagined", level),
        ),
        outcomes=None,
        start_agreement=np.full(len(known), np.nan),
        starts=s.shape[1],
        paired=False,
        off_lattice=logged.off_lattice(),
        rollouts=s.shape[2],
        level=level,
    )


def _world_estimates(
    outcomes: Float, resamples: Float, level: float, metric: EpisodeMetric
) -> tuple[Estimate, ...]:
    """Means of outcomes `[P, N, K]`: Wilson intervals of rates, bootstrap intervals of others."""
    if metric.binary:
        return _estimates(*_counts(outcomes), level)
    result = []
    for mean, samples in zip(rates(outcomes), resamples.T, strict=True):
        if not np.isfinite(mean):
            result.append(Estimate(None, None, f"no episode tells {metric.name}"))
            continue
        interval, reason = bootstrap_interval(samples, float(mean), level, metric.bounds)
        result.append(Estimate(float(mean), interval, reason))
    return tuple(result)


def _separate_rates(
    means: Float, names: tuple[str, ...], world: str, level: float, metric: EpisodeMetric
) -> Separation:
    """As `separate_paired`, where fewer may be better."""
    return separate_paired(means if metric.more_is_better else 1 - means, names, world, level)


def _unknown(outcomes: Float) -> Float:
    return np.full(len(outcomes), np.nan)


def _counts(outcomes: Float) -> tuple[Float, Float]:
    """Successes and trials of each policy, `[P]` each."""
    known = np.isfinite(outcomes)
    return np.where(known, outcomes, 0.0).sum(axis=(1, 2)), known.sum(axis=(1, 2)).astype(float)


def _start_means(outcomes: Float) -> Float:
    """Mean outcome at each start `[P, N]`, NaN where nothing was run."""
    known = np.isfinite(outcomes)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(known, outcomes, 0.0).sum(axis=2) / known.sum(axis=2))


def _estimates(
    successes: Float, trials: Float, level: float, logged: Float | None = None
) -> tuple[Estimate, ...]:
    """Rates with Wilson intervals; a logged rate without trials has no interval."""
    result = []
    for i, (won, run) in enumerate(zip(successes, trials, strict=True)):
        if np.isfinite(run) and run > 0 and np.isfinite(won):
            result.append(Estimate(float(won / run), wilson_interval(won, run, level)))
        elif logged is not None and np.isfinite(logged[i]):
            result.append(Estimate(float(logged[i]), None, "the number of trials is not logged"))
        else:
            result.append(Estimate(None, None, "no finished starts"))
    return tuple(result)


def _start_outcomes(reference: Float, imagined: Float) -> tuple[StartOutcomes | None, Float]:
    """Counts over all policies and starts, and each policy's agreement `[P]`."""
    nothing = _unknown(reference)
    if reference.shape[2] != 1 or imagined.shape[2] != 1:
        return None, nothing
    r, s = reference[..., 0], imagined[..., 0]
    known = np.isfinite(r) & np.isfinite(s)
    won, seen = (r >= 0.5) & known, (s >= 0.5) & known
    same = (won == seen) & known
    with np.errstate(invalid="ignore", divide="ignore"):
        agreement = np.asarray(same.sum(axis=1) / known.sum(axis=1))
    counts = StartOutcomes(
        both_succeed=int((won & seen).sum()),
        both_fail=int((known & ~won & ~seen).sum()),
        only_reference=int((won & ~seen).sum()),
        only_imagined=int((seen & ~won).sum()),
    )
    return counts, agreement
