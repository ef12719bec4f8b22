"""Rank policies by imagined success and say how far the ranking can be trusted. Pure numpy.

`rank` compares two worlds run from the same starts; `rank_logged` compares imagination with
success rates logged elsewhere, without pairing.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from numpy.typing import ArrayLike

from worldsim.ranking.assembly import RankingOptions, assemble
from worldsim.ranking.evidence import logged_evidence, paired_evidence
from worldsim.ranking.rates import JudgeRates
from worldsim.ranking.report import NullPolicy, RankingReport
from worldsim.rollout.logged import LoggedRates
from worldsim.rollout.metrics import METRICS, SUCCESS


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
    ranked = paired_evidence(reference, imagined, known, metric=METRICS.get(metric), **resampling)
    beside = {
        name: paired_evidence(*pair, known, metric=METRICS.get(name), **resampling)
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
    evidence = logged_evidence(
        logged, imagined, known, samples=bootstrap_samples, level=level, seed=seed
    )
    return assemble(evidence, {}, known, options)
