"""Rank policies by an episode metric and say how far the ranking can be trusted.

`rank` compares two worlds run from the same starts; `rank_logged` compares imagination with
success rates logged elsewhere, without pairing; `rank_results` takes finished rollouts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.errors import UsageError
from worldsim.ranking.assembly import RankingOptions, assemble
from worldsim.ranking.outcomes import Outcomes
from worldsim.ranking.paired_outcomes import logged_outcomes, paired_outcomes
from worldsim.ranking.rates import JudgeRates
from worldsim.ranking.report import NullPolicy, RankingReport
from worldsim.rollout.batch import RolloutBatch
from worldsim.rollout.logged import LoggedRates
from worldsim.rollout.metrics import METRICS, SUCCESS

Float = NDArray[np.float64]


def rank(
    reference: ArrayLike,
    imagined: ArrayLike,
    names: Sequence[str],
    *,
    judge: JudgeRates | None = None,
    metric: str = SUCCESS,
    others: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    groups: Mapping[str, str] | None = None,
    failures: Mapping[str, Sequence[str]] | None = None,
    null_policy: NullPolicy | str | None = None,
    bootstrap_samples: int = 4000,
    level: float = 0.95,
    seed: int = 0,
) -> RankingReport:
    """Rank policies rolled out from the same starts in both worlds.

    Args:
        reference: success (or another metric) `[P, N]`, or `[P, N, K]` with K rollouts a start, in
            the reference world; NaN marks what was not run.
        imagined: the same in imagination, of the same policies and starts.
        names: P unique names.
        judge: its validation counts, to correct imagined rates.
        metric: registered name of what is ranked.
        others: {metric: (reference, imagined)} that are shown beside it.
        groups: {policy: group}; each group of two or more gets its own coefficients.
        failures: {policy: messages} of episodes that broke off; they must count as failures
            in the arrays already.
        null_policy: the policy that does nothing, whose imagined rate is a false-success rate;
            by its name, or with what is known of it.
        bootstrap_samples: B.
        level: of all intervals.
        seed: of all resampling; equal seeds give equal reports, in any order of policies.

    Raises:
        UsageError: shapes, names or options do not fit together, or there is no such metric.
    """
    known = tuple(map(str, names))
    null = NullPolicy(null_policy) if isinstance(null_policy, str) else null_policy
    options = RankingOptions(
        judge, groups or {}, failures or {}, null, bootstrap_samples, level, seed
    )
    options.check(known)
    resampling: dict[str, Any] = {"samples": bootstrap_samples, "level": level, "seed": seed}
    ranked = paired_outcomes(reference, imagined, known, metric=METRICS.get(metric), **resampling)
    beside = {
        name: paired_outcomes(*pair, known, metric=METRICS.get(name), **resampling)
        for name, pair in (others or {}).items()
    }
    return assemble(ranked, beside, known, options)


def rank_logged(
    logged: LoggedRates,
    imagined: ArrayLike,
    names: Sequence[str],
    *,
    judge: JudgeRates | None = None,
    groups: Mapping[str, str] | None = None,
    failures: Mapping[str, Sequence[str]] | None = None,
    null_policy: NullPolicy | str | None = None,
    bootstrap_samples: int = 4000,
    level: float = 0.95,
    seed: int = 0,
) -> RankingReport:
    """Rank policies in imagination against logged success rates, without a simulator.

    Arguments as in `rank`; `logged` must hold every name.

    Raises:
        UsageError: a policy has no logged rate, or shapes, names or options do not fit.
    """
    known = tuple(map(str, names))
    null = NullPolicy(null_policy) if isinstance(null_policy, str) else null_policy
    options = RankingOptions(
        judge, groups or {}, failures or {}, null, bootstrap_samples, level, seed
    )
    options.check(known)
    paired = logged_outcomes(
        logged, imagined, known, samples=bootstrap_samples, level=level, seed=seed
    )
    return assemble(paired, {}, known, options)


def rank_results(outcomes: Outcomes) -> RankingReport:
    """Rank finished results.

    Raises:
        UsageError: the logged rates lack a policy, or the results do not tell the metric.
    """
    names, options = list(outcomes.eval_config.policies), outcomes.options
    around, imagined = outcomes.circumstances, outcomes.imagined
    shared: dict[str, Any] = {
        "judge": JudgeRates.from_report(around.judge),
        "groups": {name: g for name, g in options.groups.items() if name in names},
        "null_policy": _null_policy(outcomes),
        "bootstrap_samples": options.bootstrap_samples,
        "level": options.level,
        "seed": options.seed,
    }
    if outcomes.logged is not None:
        failures = _failures([("imagination", imagined)])
        report = rank_logged(
            outcomes.logged, outcomes.imagined_outcomes(SUCCESS), names, failures=failures, **shared
        )
    else:
        truth = outcomes.truth or []
        tables = {name: outcomes.outcomes(name) for name in METRICS}
        told = {name: pair for name, pair in tables.items() if all(map(_tells, pair))}
        if options.metric not in told:
            raise UsageError(
                f"these results do not tell {options.metric}; they tell {', '.join(sorted(told))}"
            )
        report = rank(
            *told.pop(options.metric),
            names,
            metric=options.metric,
            others=told,
            failures=_failures([("simulator", truth), ("imagination", imagined)]),
            **shared,
        )
    return replace(
        report,
        state_assisted=around.state_assisted,
        development_starts=around.development_starts,
    )


def judge_in_simulator(outcomes: Outcomes) -> dict[str, Any] | None:
    """The judge against the simulator on this very comparison's true frames, or None.

    It tells the judge's error from the world model's: what the judge misses here is its own.
    Episodes in which a policy broke off count as failed whatever the judge saw, so they tell
    nothing of it.
    """
    batches = outcomes.truth or []
    if not batches or any(batch.judged is None for batch in batches):
        return None
    whole = np.array([error is None for batch in batches for error in batch.errors])
    truth = np.concatenate([batch.success for batch in batches])[whole]
    said = np.concatenate([batch.judged for batch in batches if batch.judged is not None])[whole]
    positives, negatives = int(truth.sum()), int((~truth).sum())
    true_positives, true_negatives = int((truth & said).sum()), int((~truth & ~said).sum())
    return {
        "true_positives": true_positives,
        "positives": positives,
        "true_negatives": true_negatives,
        "negatives": negatives,
        "tpr": true_positives / positives if positives else None,
        "tnr": true_negatives / negatives if negatives else None,
    }


def _null_policy(outcomes: Outcomes) -> NullPolicy | None:
    """The null policy, with the judge's verdicts on its whole simulated episodes."""
    name = outcomes.options.null_policy
    if name is None or name not in outcomes.eval_config.policies:
        return None
    judged = [b.judged for b in outcomes.truth or [] if b.policy == name and b.judged is not None]
    share = float(judged[0].mean()) if judged and len(judged[0]) else None
    return NullPolicy(name, outcomes.circumstances.null_policy_moves, share)


def _tells(outcomes: Float) -> bool:
    """Whether any episode tells a metric `[P, N]`."""
    return bool(np.isfinite(outcomes).any())


def _failures(worlds: list[tuple[str, list[RolloutBatch]]]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for world, batches in worlds:
        for batch in batches:
            for message in batch.failures:
                found.setdefault(batch.policy, []).append(f"{world}, {message}")
    return found
