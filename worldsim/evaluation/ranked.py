"""From the results of a comparison on disk to a `RankingReport`."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import numpy as np

from worldsim.config_limits import Seed, between, inside
from worldsim.config_values import Checked
from worldsim.evaluation.comparison import Comparison
from worldsim.evaluation.judge import Judge
from worldsim.evaluation.logged import read_logged_rates
from worldsim.evaluation.paired import results
from worldsim.evaluation.ranking import rank, rank_logged
from worldsim.evaluation.ranking_report import RankingReport
from worldsim.evaluation.rates import JudgeRates
from worldsim.evaluation.rollout_batch import RolloutBatch, World

Resamples = Annotated[int, between(1, 10**7)]
Level = Annotated[float, inside(0, 1)]
"""Of a confidence interval, such as 0.95."""


@dataclass(frozen=True)
class RankingOptions(Checked):
    """What turns results into a ranking.

    Attributes:
        reference_csv: logged rates that stand for the reference; None takes the simulator.
        groups: {policy: group} of policies that are compared among themselves too.
        null_policy: the policy that does nothing, if it is in the pool.
        bootstrap_samples: resamples of every interval.
        level: of every interval.
        seed: of the resampling.
    """

    reference_csv: str | None = None
    groups: dict[str, str] = field(default_factory=dict)
    null_policy: str | None = "zero"
    bootstrap_samples: Resamples = 4000
    level: Level = 0.95
    seed: Seed = 0

    @property
    def worlds(self) -> tuple[World, ...]:
        """Worlds in which policies must be rolled out."""
        return ("imagination",) if self.reference_csv else ("imagination", "simulator")


def rank_results(comparison: Comparison, out: Path, options: RankingOptions) -> RankingReport:
    """Rank the finished results under `out`.

    Raises:
        DataError: a result is missing.
        UsageError: the CSV lacks a policy.
    """
    names = list(comparison.policies)
    imagined = results(comparison, out, "imagination")
    judge = JudgeRates.from_report(Judge.from_pretrained(comparison.judge).report)
    shared: dict[str, Any] = {
        "judge": judge,
        "groups": {name: g for name, g in options.groups.items() if name in names},
        "null_policy": options.null_policy if options.null_policy in names else None,
        "bootstrap_samples": options.bootstrap_samples,
        "level": options.level,
        "seed": options.seed,
    }
    if options.reference_csv is not None:
        logged = read_logged_rates(Path(options.reference_csv))
        failures = _failures([("imagination", imagined)])
        return rank_logged(logged, _success(imagined), names, failures=failures, **shared)
    truth = results(comparison, out, "simulator")
    return rank(
        _success(truth),
        _success(imagined),
        names,
        reference_progress=_progress(truth),
        imagined_progress=_progress(imagined),
        failures=_failures([("simulator", truth), ("imagination", imagined)]),
        **shared,
    )


def judge_in_simulator(comparison: Comparison, out: Path) -> dict[str, Any] | None:
    """The judge against the simulator on this very comparison's true frames, or None.

    It tells the judge's error from the world model's: what the judge misses here is its own.
    Episodes in which a policy broke off count as failed whatever the judge saw, so they tell
    nothing of it.
    """
    batches = results(comparison, out, "simulator")
    if any(batch.judged is None for batch in batches):
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


def _success(batches: list[RolloutBatch]) -> np.ndarray:
    return np.stack([batch.success for batch in batches])


def _progress(batches: list[RolloutBatch]) -> np.ndarray:
    return np.stack([batch.progress for batch in batches])


def _failures(worlds: list[tuple[str, list[RolloutBatch]]]) -> Mapping[str, list[str]]:
    found: dict[str, list[str]] = {}
    for world, batches in worlds:
        for batch in batches:
            for message in batch.failures:
                found.setdefault(batch.policy, []).append(f"{world}, {message}")
    return found
