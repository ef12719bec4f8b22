"""From paired outcomes to report: every statistic is computed here once, policies by name."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError, unknown_name
from worldsim.ranking.bootstrap import (
    Estimate,
    distinct_policies,
    distinct_resamples,
    draw_policies,
    finite,
    resample_policies,
)
from worldsim.ranking.coefficients import (
    Coefficients,
    MetricResult,
    coefficients,
    leave_one_out_rates,
)
from worldsim.ranking.paired_outcomes import PairedOutcomes
from worldsim.ranking.rates import JudgeRates, correct, corrected_rate
from worldsim.ranking.report import (
    GroupResult,
    Lattice,
    NullPolicy,
    PolicyResult,
    RankingReport,
)
from worldsim.ranking.robustness import drop_one_leverage, fisher_interval, permutation_test
from worldsim.ranking.verdict import corrects, notes, verdict

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

JUDGE_STREAM, PERMUTATION_STREAM, POLICY_STREAM = 3, 4, 5
"""Each use of randomness has its own stream, so that leaving one out changes no other number."""


@dataclass(frozen=True)
class RankingOptions:
    """What the caller said about the policies, and how to resample; see `ranking.rank`."""

    judge: JudgeRates | None
    groups: Mapping[str, str]
    failures: Mapping[str, Sequence[str]]
    null_policy: NullPolicy | None
    bootstrap_samples: int
    level: float
    seed: int

    def check(self, names: tuple[str, ...]) -> None:
        """Refuse options that name unknown policies or make no sense."""
        mentioned = [*self.groups, *self.failures]
        for name in mentioned + ([self.null_policy.name] if self.null_policy else []):
            if name not in names:
                raise unknown_name("policy", name, names)
        if self.bootstrap_samples < 1 or not 0 < self.level < 1:
            raise UsageError(
                f"bootstrap_samples={self.bootstrap_samples} must be at least 1 and "
                f"level={self.level} between 0 and 1"
            )

    def stream(self, number: int) -> np.random.Generator:
        """The random stream of one statistic."""
        return np.random.default_rng([self.seed, number])


def assemble(
    success: PairedOutcomes,
    others: Mapping[str, PairedOutcomes],
    names: tuple[str, ...],
    options: RankingOptions,
) -> RankingReport:
    """Compute everything that a report says.

    Args:
        success: success in both worlds, or whatever metric is ranked.
        others: {metric: outcomes} to be shown beside it.
        names: the policies in the order in which the report shall list them.
        options: judge, groups, failures and resampling.
    """
    chosen = success.ranked
    reference, imagined = success.reference[chosen], success.imagined[chosen]
    ranked_names = tuple(n for n, keep in zip(success.names, chosen, strict=True) if keep)
    main = _coefficients(success, chosen, options.level)
    pool = (success.resamples[0][:, chosen], success.resamples[1][:, chosen])
    drawn = draw_policies(len(pool[0]), len(reference), options.stream(POLICY_STREAM))
    wider = coefficients(
        reference,
        imagined,
        resample_policies(*pool, drawn),
        options.level,
        distinct_policies(drawn),
        success.metric,
    )
    calibrated = leave_one_out_rates(reference, imagined, success.metric.bounds)
    errors = np.abs(calibrated - reference)
    policies = _policies(success, dict(zip(ranked_names, calibrated, strict=True)), options)
    report = RankingReport(
        metric=success.metric,
        policies=tuple(policies[name] for name in names),
        coefficients=main,
        corrected=_corrected(success, policies, options),
        calibrated_mae=finite(float(errors.mean())) if errors.size else None,
        over_policies=wider,
        groups=_groups(success, options),
        pearson_fisher=fisher_interval(main.pearson.value, len(reference), options.level),
        permutation=permutation_test(reference, imagined, options.stream(PERMUTATION_STREAM)),
        leverage=drop_one_leverage(reference, imagined, ranked_names),
        distinct_resamples=distinct_resamples(len(reference)),
        lattice=_lattice(success, chosen),
        separations=success.separations,
        outcomes=success.outcomes,
        judge=options.judge,
        null_policy=options.null_policy if corrects(success.metric) else None,
        paired=success.paired,
        verdict=verdict(success, main, wider),
        settings=_settings(success, options),
        others={name: _beside(paired, names, options) for name, paired in others.items()},
    )
    return notes(report, success)


def _coefficients(paired: PairedOutcomes, chosen: Bool, level: float) -> Coefficients:
    resamples = (paired.resamples[0][:, chosen], paired.resamples[1][:, chosen])
    return coefficients(
        paired.reference[chosen],
        paired.imagined[chosen],
        resamples,
        level,
        metric=paired.metric,
    )


def _beside(
    paired: PairedOutcomes, names: tuple[str, ...], options: RankingOptions
) -> MetricResult:
    """A metric that is shown beside the ranked one, policies in the given order."""
    places = [paired.names.index(name) for name in names]
    return MetricResult(
        paired.metric,
        {paired.names[i]: paired.reference_estimates[i] for i in places},
        {paired.names[i]: paired.imagined_estimates[i] for i in places},
        _coefficients(paired, paired.ranked, options.level),
    )


def _policies(
    success: PairedOutcomes,
    calibrated: Mapping[str, float],
    options: RankingOptions,
) -> dict[str, PolicyResult]:
    """Results by name."""
    lead_reference = best_shares(success.metric.sign * success.resamples[0])
    lead_imagined = best_shares(success.metric.sign * success.resamples[1])
    return {
        name: PolicyResult(
            name=name,
            starts=int(success.trials[i]),
            reference=success.reference_estimates[i],
            imagined=success.imagined_estimates[i],
            corrected=_corrected_estimate(success, i, options),
            calibrated=finite(calibrated.get(name, np.nan)),
            best_in_reference=finite(lead_reference[i]),
            best_in_imagination=finite(lead_imagined[i]),
            start_agreement=finite(success.start_agreement[i]),
            group=options.groups.get(name),
            failures=tuple(options.failures.get(name, ())),
        )
        for i, name in enumerate(success.names)
    }


def _corrected_estimate(success: PairedOutcomes, index: int, options: RankingOptions) -> Estimate:
    if options.judge is None or not corrects(success.metric):
        plain = success.imagined_estimates[index]
        return Estimate(plain.value, plain.interval, plain.reason or "no judge: not corrected")
    return corrected_rate(
        success.successes[index],
        success.trials[index],
        options.judge,
        samples=options.bootstrap_samples,
        level=options.level,
        rng=options.stream(JUDGE_STREAM),
    )


def _corrected(
    success: PairedOutcomes, policies: Mapping[str, PolicyResult], options: RankingOptions
) -> Coefficients | None:
    """Coefficients of judge-corrected rates; each resample draws its own judge rates."""
    if options.judge is None or not corrects(success.metric):
        return None
    values = [policies[name].corrected.value for name in success.names]
    rates = np.array([np.nan if value is None else value for value in values], dtype=np.float64)
    chosen = np.isfinite(success.reference) & np.isfinite(rates)
    tpr, fpr = options.judge.draw(options.bootstrap_samples, options.stream(JUDGE_STREAM))
    drawn = correct(success.resamples[1][:, chosen], tpr[:, None], fpr[:, None])
    return coefficients(
        success.reference[chosen],
        rates[chosen],
        (success.resamples[0][:, chosen], drawn),
        options.level,
    )


def best_shares(resamples: Float) -> Float:
    """Share of resamples `[B, P]` in which each policy leads `[P]`; ties split the lead."""
    known = np.isfinite(resamples)
    nothing = np.full(resamples.shape[1], np.nan)
    if not known.any():
        return nothing
    ranked = np.where(known, resamples, -np.inf)[known.any(axis=1)]
    leads = ranked == ranked.max(axis=1, keepdims=True)
    shares = (leads / leads.sum(axis=1, keepdims=True)).mean(axis=0)
    return np.where(known.any(axis=0), shares, nothing)


def _groups(success: PairedOutcomes, options: RankingOptions) -> dict[str, GroupResult]:
    result = {}
    for group in sorted(set(options.groups.values())):
        inside = np.array([options.groups.get(name) == group for name in success.names])
        chosen = inside & success.ranked
        if inside.sum() >= 2:
            members = tuple(n for n, keep in zip(success.names, chosen, strict=True) if keep)
            result[group] = GroupResult(members, _coefficients(success, chosen, options.level))
    return result


def _lattice(success: PairedOutcomes, chosen: Bool) -> Lattice:
    """Steps of the reference rates, since MMRV's gap lies there; none if trials differ."""
    if not success.metric.binary:
        return Lattice(None, None)
    trials = set(success.reference_trials[chosen].tolist())
    count = trials.pop() if len(trials) == 1 else 0.0
    if not np.isfinite(count) or count <= 0:
        return Lattice(None, None, success.off_lattice)
    return Lattice(1.0 / count, 1.0 / (count * int(chosen.sum())), success.off_lattice)


def _settings(success: PairedOutcomes, options: RankingOptions) -> dict[str, object]:
    return {
        "starts": success.starts,
        "bootstrap_samples": options.bootstrap_samples,
        "bootstrap": "policies fixed; starts drawn jointly for both worlds, then rollouts"
        if success.paired
        else "policies fixed; logged counts binomially, imagined starts, then rollouts",
        "interval": "envelope of percentile and reflected bootstrap"
        + ("; rates: Wilson" if success.metric.binary else ""),
        "level": options.level,
        "seed": options.seed,
    }
