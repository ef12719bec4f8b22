"""Rank policies by an episode metric and say how far the ranking can be trusted.

The reference is another world run from the same starts, or success rates logged elsewhere. Every
statistic is computed here once, policies by name.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.errors import UsageError, unknown_name
from worldsim.judge.report import JudgeReport
from worldsim.ranking.bootstrap import (
    Estimate,
    best_shares,
    distinct_resamples,
    finite,
    fisher_interval,
    resample_policies,
)
from worldsim.ranking.correlation import STATISTICS, Coefficients, coefficients
from worldsim.ranking.judging import (
    JudgeTrial,
    correct,
    corrected_rate,
    draw_judges,
    require_counts,
)
from worldsim.ranking.rates import PairedRates, leave_one_out_rates, paired_rates
from worldsim.ranking.report import (
    GroupResult,
    Lattice,
    MetricResult,
    NullPolicy,
    PolicyResult,
    RankingReport,
)
from worldsim.ranking.significance import drop_one_leverage, permutation_test
from worldsim.ranking.unpaired import logged_rates
from worldsim.ranking.verdict import notes, settings, verdict
from worldsim.rollout.episodes import METRICS, SUCCESS
from worldsim.rollout.logged import LoggedRates

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

START_STREAM, IMAGINED_STREAM, JUDGE_STREAM, PERMUTATION_STREAM, POLICY_STREAM = range(1, 6)
"""Each use of randomness has its own stream, so that leaving one out changes no other number."""


def rank(
    reference: ArrayLike | LoggedRates,
    imagined: ArrayLike,
    names: Sequence[str],
    *,
    judge: JudgeReport | None = None,
    metric: str = SUCCESS,
    others: Mapping[str, tuple[ArrayLike, ArrayLike]] | None = None,
    groups: Mapping[str, str] | None = None,
    failures: Mapping[str, Sequence[str]] | None = None,
    null_policy: NullPolicy | str | None = None,
    horizon: int | None = None,
    bootstrap_samples: int = 4000,
    level: float = 0.95,
    seed: int = 0,
) -> RankingReport:
    """Rank policies in imagination against a reference.

    Args:
        reference: success (or another metric) `[P, N]`, or `[P, N, K]` with K rollouts a start, in
            the reference world; NaN marks what was not run. Or success rates logged elsewhere.
        imagined: the same in imagination, of the same policies, and starts unless rates are logged.
        names: P unique names.
        judge: its validation counts, to correct imagined rates.
        metric: registered name of what is ranked.
        others: {metric: (reference, imagined)} that are shown beside it.
        groups: {policy: group}; each group of three or more gets its own correlations.
        failures: {policy: messages} of episodes that broke off; they must count as failures
            in the arrays already.
        null_policy: the policy that does nothing, whose imagined rate is a false-success rate;
            by its name, or with what is known of it.
        horizon: most steps of an imagined episode, to which the judge must have been measured.
        bootstrap_samples: B.
        level: of all intervals.
        seed: of all resampling; equal seeds give equal reports, in any order of policies.

    Raises:
        UsageError: shapes, names or options do not fit together, or there is no such metric.
    """
    known = tuple(map(str, names))
    null = NullPolicy(null_policy) if isinstance(null_policy, str) else null_policy
    task = _Task(judge, groups or {}, failures or {}, null, horizon, bootstrap_samples, level, seed)
    task.check(known)
    if isinstance(reference, LoggedRates) and (metric != SUCCESS or others):
        shown = ", ".join([metric, *(others or ())])
        raise UsageError(f"logged rates are of success alone, got {shown}; leave others out")
    ranked = task.rates(known, metric, reference, imagined)
    beside = {name: task.rates(known, name, *pair) for name, pair in (others or {}).items()}
    return _report(ranked, beside, known, task)


@dataclass(frozen=True)
class _Task:
    """What was asked of `rank` beside the outcomes."""

    judge: JudgeReport | None
    groups: Mapping[str, str]
    failures: Mapping[str, Sequence[str]]
    null_policy: NullPolicy | None
    horizon: int | None
    samples: int
    level: float
    seed: int

    def check(self, names: tuple[str, ...]) -> None:
        """Refuse repeated or unknown policies, and numbers that make no sense."""
        repeated = sorted({name for name in names if names.count(name) > 1})
        if repeated:
            raise UsageError(f"policies occur more than once: {', '.join(repeated)}")
        mentioned = [*self.groups, *self.failures]
        for name in mentioned + ([self.null_policy.name] if self.null_policy else []):
            if name not in names:
                raise unknown_name("policy", name, names)
        if self.samples < 1 or not 0 < self.level < 1:
            raise UsageError(
                f"bootstrap_samples={self.samples} must be at least 1 and "
                f"level={self.level} between 0 and 1"
            )
        if self.judge is not None:
            require_counts(self.judge)

    def stream(self, number: int) -> np.random.Generator:
        """The random stream of one statistic."""
        return np.random.default_rng([self.seed, number])

    def rates(
        self,
        names: tuple[str, ...],
        metric: str,
        reference: ArrayLike | LoggedRates,
        imagined: ArrayLike,
    ) -> PairedRates:
        """Rates of both worlds with their resamples; see `rank`."""
        rng, options = self.stream(START_STREAM), (self.samples, self.level)
        if isinstance(reference, LoggedRates):
            rngs = [rng, self.stream(IMAGINED_STREAM)]
            return logged_rates(reference, imagined, names, *options, rngs)
        return paired_rates(reference, imagined, names, METRICS.get(metric), *options, rng)

    def corrector(self, paired: PairedRates) -> JudgeReport | None:
        """The judge that corrects a metric: its error rates are of success alone."""
        return self.judge if paired.metric.name == SUCCESS else None


def _report(
    paired: PairedRates, others: Mapping[str, PairedRates], names: tuple[str, ...], task: _Task
) -> RankingReport:
    """Everything that a report says, policies in the order of `names`."""
    chosen = paired.ranked
    reference, imagined = paired.reference.rates[chosen], paired.imagined.rates[chosen]
    ranked = tuple(n for n, keep in zip(paired.names, chosen, strict=True) if keep)
    main = _coefficients(paired, chosen)
    wider = _no_narrower(_over_policies(paired, task), main)
    calibrated = leave_one_out_rates(reference, imagined, paired.metric.bounds)
    errors = np.abs(calibrated - reference)
    policies = _policies(paired, dict(zip(ranked, calibrated, strict=True)), task)
    report = RankingReport(
        metric=paired.metric,
        policies=tuple(policies[name] for name in names),
        coefficients=main,
        corrected=_corrected(paired, policies, task),
        calibrated_mae=finite(float(errors.mean())) if errors.size else None,
        over_policies=wider,
        groups=_groups(paired, task),
        pearson_fisher=fisher_interval(main.pearson.value, len(reference), task.level),
        permutation=permutation_test(reference, imagined, task.stream(PERMUTATION_STREAM)),
        leverage=drop_one_leverage(reference, imagined, ranked),
        distinct_resamples=distinct_resamples(len(reference)),
        lattice=_lattice(paired),
        separations=(paired.reference.separation, paired.imagined.separation),
        agreement=paired.agreement,
        judge=task.judge,
        trial=JudgeTrial.of(task.judge, task.horizon) if task.judge else None,
        null_policy=task.null_policy if paired.metric.name == SUCCESS else None,
        paired=paired.paired,
        verdict=verdict(paired, main, wider),
        settings=settings(paired, task.samples, task.seed),
        others={name: _beside(other, names) for name, other in others.items()},
    )
    return replace(report, notes=notes(report, paired))


def _coefficients(paired: PairedRates, chosen: Bool) -> Coefficients:
    """Of the chosen policies, held fixed."""
    r, s = paired.reference, paired.imagined
    resamples = r.resamples[:, chosen], s.resamples[:, chosen]
    return coefficients(r.rates[chosen], s.rates[chosen], resamples, paired.level, paired.metric)


def _over_policies(paired: PairedRates, task: _Task) -> Coefficients:
    """Coefficients whose resamples draw the policies as well."""
    r, s, chosen = paired.reference, paired.imagined, paired.ranked
    fixed = r.resamples[:, chosen], s.resamples[:, chosen]
    drawn, distinct = resample_policies(*fixed, task.stream(POLICY_STREAM))
    rates = r.rates[chosen], s.rates[chosen]
    return coefficients(*rates, drawn, paired.level, paired.metric, distinct)


def _no_narrower(wider: Coefficients, main: Coefficients) -> Coefficients:
    """Correlations over policies are no surer than those of the policies held fixed."""
    changed = {}
    for name in (name for name, statistic in STATISTICS.items() if statistic.correlation):
        ours, theirs = getattr(wider, name), getattr(main, name)
        if ours.interval and theirs.interval:
            low, high = zip(ours.interval, theirs.interval, strict=True)
            changed[name] = replace(ours, interval=(min(low), max(high)))
    return replace(wider, **changed)


def _beside(paired: PairedRates, names: tuple[str, ...]) -> MetricResult:
    """A metric that is shown beside the ranked one, policies in the given order."""
    places = {name: paired.names.index(name) for name in names}
    reference, imagined = (
        {name: world.estimates[i] for name, i in places.items()}
        for world in (paired.reference, paired.imagined)
    )
    return MetricResult(paired.metric, reference, imagined, _coefficients(paired, paired.ranked))


def _policies(
    paired: PairedRates, calibrated: Mapping[str, float], task: _Task
) -> dict[str, PolicyResult]:
    """Results by name."""
    r, s, sign = paired.reference, paired.imagined, paired.metric.sign
    lead_reference, lead_imagined = best_shares(sign * r.resamples), best_shares(sign * s.resamples)
    return {
        name: PolicyResult(
            name=name,
            starts=int(s.trials[i]),
            reference=r.estimates[i],
            imagined=s.estimates[i],
            corrected=_corrected_estimate(paired, i, task),
            calibrated=finite(calibrated.get(name, np.nan)),
            best_in_reference=finite(lead_reference[i]),
            best_in_imagination=finite(lead_imagined[i]),
            start_agreement=paired.agreement.by_policy[i] if paired.agreement else None,
            group=task.groups.get(name),
            failures=tuple(task.failures.get(name, ())),
        )
        for i, name in enumerate(paired.names)
    }


def _corrected_estimate(paired: PairedRates, index: int, task: _Task) -> Estimate:
    world, judge = paired.imagined, task.corrector(paired)
    if judge is None:
        plain = world.estimates[index]
        return Estimate(plain.value, plain.interval, plain.reason or "no judge: not corrected")
    counts, rng = (world.successes[index], world.trials[index]), task.stream(JUDGE_STREAM)
    return corrected_rate(*counts, judge, task.samples, task.level, rng)


def _corrected(
    paired: PairedRates, policies: Mapping[str, PolicyResult], task: _Task
) -> Coefficients | None:
    """Coefficients of judge-corrected rates; each resample draws its own judge rates."""
    if (judge := task.corrector(paired)) is None:
        return None
    values = [policies[name].corrected.value for name in paired.names]
    rates = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    r, chosen = paired.reference, np.isfinite(paired.reference.rates) & np.isfinite(rates)
    tpr, fpr = draw_judges(judge, task.samples, task.stream(JUDGE_STREAM))
    drawn = correct(paired.imagined.resamples[:, chosen], tpr[:, None], fpr[:, None])
    resamples = r.resamples[:, chosen], drawn
    return coefficients(r.rates[chosen], rates[chosen], resamples, task.level, paired.metric)


def _groups(paired: PairedRates, task: _Task) -> dict[str, GroupResult]:
    """Of every group with two policies or more."""
    result = {}
    for group in sorted(set(task.groups.values())):
        inside = np.array([task.groups.get(name) == group for name in paired.names])
        chosen = inside & paired.ranked
        if inside.sum() >= 2:
            members = tuple(n for n, keep in zip(paired.names, chosen, strict=True) if keep)
            result[group] = GroupResult(members, _coefficients(paired, chosen))
    return result


def _lattice(paired: PairedRates) -> Lattice:
    """Steps of the reference rates, since MMRV's gap lies there; none if trials differ."""
    if not paired.metric.binary:
        return Lattice(None, None)
    trials = set(paired.reference.trials[paired.ranked].tolist())
    count = trials.pop() if len(trials) == 1 else 0.0
    if not np.isfinite(count) or count <= 0:
        return Lattice(None, None, paired.off_lattice)
    return Lattice(1.0 / count, 1.0 / (count * int(paired.ranked.sum())), paired.off_lattice)
