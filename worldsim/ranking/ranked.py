"""From the results of a comparison to a `RankingReport`."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError
from worldsim.ranking.outcomes import Outcomes
from worldsim.ranking.rank import rank, rank_logged
from worldsim.ranking.rates import JudgeRates
from worldsim.ranking.report import NullPolicy, RankingReport
from worldsim.rollout.batch import RolloutBatch
from worldsim.rollout.metrics import METRICS, SUCCESS

Float = NDArray[np.float64]


def rank_results(outcomes: Outcomes) -> RankingReport:
    """Rank finished results.

    Raises:
        UsageError: the logged rates lack a policy, or the results do not tell the metric.
    """
    names, options = list(outcomes.comparison.policies), outcomes.options
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
    if name is None or name not in outcomes.comparison.policies:
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
