"""The ranking of finished results: every world's outcomes, brought into the statistics' hands."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError
from worldsim.judge.report import JudgeReport
from worldsim.ranking.baseline_rows import baseline_notes
from worldsim.ranking.baselines import BaselineScores, compare_baselines
from worldsim.ranking.bootstrap import Estimate
from worldsim.ranking.correlation import FEWEST
from worldsim.ranking.gating import GatedRanking, gated_table
from worldsim.ranking.judge_validation import JudgeValidation, RankedRate
from worldsim.ranking.rank import rank
from worldsim.ranking.report import NullPolicy, RankingReport
from worldsim.rollout.baselines import ACTION_ERROR, BASELINES
from worldsim.rollout.circumstances import Circumstances
from worldsim.rollout.episodes import METRICS, SUCCESS, RolloutBatch
from worldsim.rollout.recorded_world import action_errors
from worldsim.rollout.results import Outcomes
from worldsim.validation.navigation.ranked import RANKED

CLONED = ("behaviour_cloning", "instructed")
"""Kinds of policies that learn from recorded actions."""


def rank_results(outcomes: Outcomes) -> RankingReport:
    """Rank finished results.

    Raises:
        UsageError: the logged rates lack a policy, or the results do not tell the metric.
    """
    if walked(outcomes):
        from worldsim.cli.rank_courses import on_courses

        outcomes = on_courses(outcomes)
    names, options = list(outcomes.eval_config.policies), outcomes.options
    truth, imagined = outcomes.truth, outcomes.imagined
    others: dict[str, Any] = {}
    reference: Any = outcomes.logged
    if truth is None:
        seen = metric_table(imagined, options.metric)
    else:
        others = _tables(truth, imagined, walked(outcomes))
        if options.metric not in others:
            raise UsageError(
                f"these results do not tell {options.metric}; they tell {', '.join(sorted(others))}"
            )
        reference, seen = others.pop(options.metric)
    drawing = {name: getattr(options, name) for name in ("bootstrap_samples", "level", "seed")}
    asked: dict[str, Any] = {"judge": _judge(outcomes), "metric": options.metric, **drawing}
    ranking = rank(
        reference,
        seen,
        names,
        **asked,
        others=others,
        groups={name: group for name, group in options.groups.items() if name in names},
        failures=_failures([*(truth or []), *imagined]),
        null_policy=_null_policy(outcomes),
        horizon=max((batch.horizon or 0 for batch in imagined), default=0) or None,
    )
    scores, metric = baseline_scores(outcomes), METRICS.get(options.metric)
    baselines = compare_baselines(reference, seen, names, scores, metric, **drawing)
    validation = _validation(outcomes, ranking)
    told = () if validation is None else validation.notes()
    return replace(
        _with_circumstances(ranking, outcomes),
        baselines=baselines,
        judge_validation=validation,
        notes=(*ranking.notes, *_privileged(outcomes), *told, *baseline_notes(baselines)),
        gated=_gated(outcomes, reference, seen, asked),
    )


def walked(outcomes: Outcomes) -> bool:
    """Whether episodes have sub-tasks, as those of agents that walk."""
    return any(each.stages is not None for b in outcomes.imagined for each in b.trajectories)


def _tables(
    truth: Sequence[RolloutBatch], imagined: Sequence[RolloutBatch], walked: bool
) -> dict[str, Any]:
    """Outcomes in both worlds of every metric that they tell."""
    shown = [metric for metric in METRICS if walked or metric not in RANKED]
    tables = {m: (metric_table(truth, m), metric_table(imagined, m)) for m in shown}
    return {m: pair for m, pair in tables.items() if all(map(_tells, pair))}


def privileged_names(policies: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Names of the entries of a pool that are told of the scene's map."""
    return [name for name, entry in policies.items() if entry.get("map")]


def _privileged(outcomes: Outcomes) -> tuple[str, ...]:
    """Which policies were told of the scene's map, in words."""
    names = privileged_names(outcomes.eval_config.policies)
    said = (
        f"Privileged policies: {', '.join(names)}. In both worlds they are told of the scene's map "
        "at the place where odometry puts them, which no robot is."
    )
    return (said,) if names else ()


def _with_circumstances(ranking: RankingReport, outcomes: Outcomes) -> RankingReport:
    """The ranking, told what is known of model, judge and starts."""
    around = outcomes.circumstances
    return replace(
        ranking,
        assisted=_assisted(around),
        depth_assisted=around.depth_assisted,
        development_starts=around.development_starts,
        block=outcomes.eval_config.starts.block,
        pool=outcomes.eval_config.pool,
        release=around.release,
    )


def baseline_scores(outcomes: Outcomes) -> list[BaselineScores]:
    """What each baseline gave; the action errors of cloned policies stand apart too."""
    policies, found = outcomes.eval_config.policies, []
    for name, batches in outcomes.baselines.items():
        row = BASELINES.get(name)
        if row.scores == "errors":
            values = np.array([action_errors(batch) for batch in batches], np.float64)
        else:
            values = metric_table(batches, outcomes.options.metric)
        setting = getattr(outcomes.eval_config.baselines, name)
        what = row.what if isinstance(setting, bool) else f"{row.what}, {_plainly(setting)}"
        found.append(BaselineScores(name, what, row.scores, values))
        cloned = tuple(n for n, entry in policies.items() if entry.get("kind") in CLONED)
        if name == ACTION_ERROR and FEWEST <= len(cloned) < len(policies):
            of = f"{name}, clones"
            found.append(BaselineScores(of, f"{what}, cloned policies", "errors", values, cloned))
    return found


def _plainly(setting: Any) -> str:
    """A baseline's setting for a sentence."""
    if not isinstance(setting, Mapping):
        return str(setting)
    return ", ".join(f"{name}={value}" for name, value in setting.items())


def _gated(
    outcomes: Outcomes, reference: Any, seen: NDArray[np.float64], asked: dict[str, Any]
) -> GatedRanking | None:
    """The ranking by rollouts that the gate lets pass; None where nobody looked at them."""
    limit, names = outcomes.circumstances.gate, list(outcomes.eval_config.policies)
    found = None if limit is None else gated_table(seen, outcomes.imagined, limit)
    if limit is None or found is None:
        return None
    table, shares = found
    coverage = dict(zip(names, shares, strict=True))
    if not _tells(table):
        nothing = Estimate(None, None, "the gate rejects every rollout")
        return GatedRanking(limit, coverage, dict.fromkeys(names, nothing), None)
    ranking = rank(reference, table, names, **asked)
    rates = {policy.name: policy.imagined for policy in ranking.policies}
    return GatedRanking(limit, coverage, rates, ranking.coefficients)


def _validation(outcomes: Outcomes, ranking: RankingReport) -> JudgeValidation | None:
    """The judge on starts and policies that are not ranked, and what its rates make of success."""
    found, options = outcomes.validation, outcomes.options
    if found is None or found.truth is None:
        return None
    measured = JudgeValidation.of(found.truth, found.imagined, options.level)
    if options.metric != SUCCESS:
        return measured
    ranked = {
        policy.name: RankedRate(rate * policy.starts, policy.starts, policy.reference.value)
        for policy in ranking.policies
        if (rate := policy.imagined.value) is not None
    }
    return measured.correcting(ranked, options.bootstrap_samples, options.level, options.seed)


def _assisted(around: Circumstances) -> tuple[str, ...]:
    """Which of model and judge had the simulator's state or progress."""
    had = {"the world model": around.state_assisted, "the judge": around.judge.state_assisted}
    return tuple(part for part, assisted in had.items() if assisted)


def metric_table(batches: Sequence[RolloutBatch], metric: str) -> NDArray[np.float64]:
    """A metric `[P, N]`; NaN where it is not told, and for a policy that broke off every episode.

    That is a policy that does not run here. As a failure in both worlds it would make them agree.
    """
    rows = [
        np.full(len(batch.errors), np.nan) if all(batch.errors) else batch.outcomes(metric)
        for batch in batches
    ]
    return np.array(rows, np.float64)


def _tells(table: NDArray[np.float64]) -> bool:
    """Whether any episode tells a metric `[P, N]`."""
    return bool(np.isfinite(table).any())


def _judge(outcomes: Outcomes) -> JudgeReport | None:
    """The judge's measured error, where it bears on the metric."""
    # Its rates are of its own rule.
    own = outcomes.eval_config.hold is None
    asked = METRICS.get(outcomes.options.metric).judged
    return outcomes.circumstances.judge if own and asked else None


def _failures(batches: Sequence[RolloutBatch]) -> dict[str, list[str]]:
    """Why episodes broke off, by policy."""
    found: dict[str, list[str]] = {}
    for batch in batches:
        for message in batch.failures:
            found.setdefault(batch.policy, []).append(f"{batch.world}, {message}")
    return found


def _null_policy(outcomes: Outcomes) -> NullPolicy | None:
    """The null policy, with the judge's verdicts on its whole simulated episodes."""
    name = outcomes.options.null_policy
    if name is None or name not in outcomes.eval_config.policies:
        return None
    judged = [b.judged for b in outcomes.truth or [] if b.policy == name and b.judged is not None]
    share = float(judged[0].mean()) if judged and len(judged[0]) else None
    return NullPolicy(name, outcomes.circumstances.null_policy_moves, share)
