"""Rank policies by imagined success and say how far the ranking can be trusted. Pure numpy.

`rank` compares two worlds run from the same starts; `rank_logged` compares imagination with
success rates logged elsewhere, without pairing.
"""

from collections.abc import Mapping, Sequence

from numpy.typing import ArrayLike

from worldsim.errors import UsageError
from worldsim.ranking.assembly import RankingOptions, assemble
from worldsim.ranking.evidence import logged_evidence, paired_evidence
from worldsim.ranking.rates import JudgeRates
from worldsim.ranking.report import NullPolicy, RankingReport
from worldsim.rollout.logged import LoggedRates


def rank(
    reference: ArrayLike,
    imagined: ArrayLike,
    names: Sequence[str],
    *,
    judge: JudgeRates | None = None,
    reference_progress: ArrayLike | None = None,
    imagined_progress: ArrayLike | None = None,
    groups: Mapping[str, str] | None = None,
    failures: Mapping[str, Sequence[str]] | None = None,
    null_policy: NullPolicy | str | None = None,
    bootstrap_samples: int = 4000,
    level: float = 0.95,
    seed: int = 0,
) -> RankingReport:
    """Rank policies rolled out from the same starts in both worlds.

    Args:
        reference: success `[P, N]` bool (or `[P, N, K]` with K rollouts a start) in the reference
            world; float with NaN marks what was not run.
        imagined: success in imagination, of the same policies and starts.
        names: P unique names.
        judge: its validation counts, to correct imagined rates.
        reference_progress: progress in [0, 1], `[P, N]`, optional; needs `imagined_progress`.
        imagined_progress: likewise, as the judge saw it.
        groups: {policy: group}; each group of two or more gets its own coefficients.
        failures: {policy: messages} of episodes that broke off; they must count as failures
            in the arrays already.
        null_policy: the policy that does nothing, whose imagined rate is a false-success rate;
            by its name, or with what is known of it.
        bootstrap_samples: B.
        level: of all intervals.
        seed: of all resampling; equal seeds give equal reports, in any order of policies.

    Raises:
        UsageError: shapes, names or options do not fit together.
    """
    known = tuple(map(str, names))
    null = NullPolicy(null_policy) if isinstance(null_policy, str) else null_policy
    options = RankingOptions(
        judge, groups or {}, failures or {}, null, bootstrap_samples, level, seed
    )
    options.check(known)
    if (reference_progress is None) != (imagined_progress is None):
        raise UsageError("progress is needed of both worlds, or of neither; one was given")
    success = paired_evidence(
        reference, imagined, known, samples=bootstrap_samples, level=level, seed=seed
    )
    progress = None
    if reference_progress is not None and imagined_progress is not None:
        progress = paired_evidence(
            reference_progress,
            imagined_progress,
            known,
            samples=bootstrap_samples,
            level=level,
            seed=seed,
        )
    return assemble(success, progress, known, options)


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
    return assemble(evidence, None, known, options)
