"""What a ranking found, as one frozen value, and its JSON form (`ranking.json`)."""

from dataclasses import asdict, dataclass, field
from math import inf
from typing import Any

from worldsim.judge.report import JudgeReport
from worldsim.ranking.agreement import EpisodeAgreement, StartOutcomes
from worldsim.ranking.baseline_rows import BaselineResult
from worldsim.ranking.bootstrap import Estimate, Interval
from worldsim.ranking.correlation import MMRV_RULE, Coefficients
from worldsim.ranking.gating import GatedRanking
from worldsim.ranking.judge_validation import JudgeValidation
from worldsim.ranking.judging import JudgeTrial, judge_json
from worldsim.ranking.significance import Leverage, PermutationTest, Separation
from worldsim.rollout.episodes import EpisodeMetric


@dataclass(frozen=True)
class PolicyResult:
    """One policy in both worlds.

    Attributes:
        name: unique in the report.
        starts: rollouts judged in imagination: the starts, where each was run once.
        reference: success rate in the reference world, Wilson interval.
        imagined: raw imagined success rate, Wilson interval.
        corrected: imagined rate after judge correction; the raw one where there is no judge.
        calibrated: reference rate predicted by the line fitted to the other policies.
        best_in_reference: share of bootstrap resamples in which it leads; None if unranked.
        best_in_imagination: the same in imagination.
        start_agreement: share of starts with the same outcome in both worlds, where paired.
        group: the named subset it belongs to, if any.
        failures: messages of episodes in which the policy raised or returned NaN.
    """

    name: str
    starts: int
    reference: Estimate
    imagined: Estimate
    corrected: Estimate
    calibrated: float | None = None
    best_in_reference: float | None = None
    best_in_imagination: float | None = None
    start_agreement: float | None = None
    group: str | None = None
    failures: tuple[str, ...] = ()

    def to_json(self, progress: "MetricResult | None") -> dict[str, Any]:
        """Rates under `<world>_rate`, intervals under `<world>_interval`, and mean progress."""
        data: dict[str, Any] = {"name": self.name, "starts": self.starts, "group": self.group}
        reasons = {}
        for world in ("reference", "imagined", "corrected"):
            value: Estimate = getattr(self, world)
            data[f"{world}_rate"] = value.value
            data[f"{world}_interval"] = list(value.interval) if value.interval else None
            if value.reason:
                reasons[world] = value.reason
        data |= {
            "calibrated_rate": self.calibrated,
            "best_in_reference": self.best_in_reference,
            "best_in_imagination": self.best_in_imagination,
            "start_agreement": self.start_agreement,
            "reference_progress": progress.reference[self.name].value if progress else None,
            "imagined_progress": progress.imagined[self.name].value if progress else None,
            "failures": {"count": len(self.failures), "messages": list(self.failures)},
        }
        return data | ({"reasons": reasons} if reasons else {})


@dataclass(frozen=True)
class MetricResult:
    """One metric of all policies in both worlds, and how well the worlds agree on it.

    Attributes:
        metric: what is measured.
        reference: {policy: mean} in the reference world.
        imagined: {policy: mean} in imagination.
        coefficients: agreement of the means.
    """

    metric: EpisodeMetric
    reference: dict[str, Estimate]
    imagined: dict[str, Estimate]
    coefficients: Coefficients

    def to_json(self) -> dict[str, Any]:
        """What it is, its means by policy, and the coefficients."""
        means = {
            name: {"reference": value.to_json(), "imagined": self.imagined[name].to_json()}
            for name, value in self.reference.items()
        }
        return {**self.metric.to_json(), "policies": means, **self.coefficients.to_json()}


@dataclass(frozen=True)
class NullPolicy:
    """The policy that shows what success is credited for doing nothing.

    Attributes:
        name: of the policy.
        moves: whether its actions may move the robot after all.
        judged: share of its whole simulated episodes that the judge called successful; None where
            no judge watched.
    """

    name: str
    moves: bool = False
    judged: float | None = None


@dataclass(frozen=True)
class GroupResult:
    """The coefficients within a named subset of the policies."""

    policies: tuple[str, ...]
    coefficients: Coefficients


@dataclass(frozen=True)
class Lattice:
    """The least steps that these numbers of starts allow; finer claims are noise.

    Attributes:
        rate_step: 1 / trials in the reference world; None if unknown or not the same for all.
        mmrv_step: 1 / (policies x trials).
        off_lattice: policies whose logged rate is no multiple of 1 / trials.
    """

    rate_step: float | None
    mmrv_step: float | None
    off_lattice: tuple[str, ...] = ()


@dataclass(frozen=True)
class RankingReport:
    """A ranking of policies in imagination, checked against a reference world.

    Attributes:
        metric: what is ranked. A rate below is its mean.
        policies: in the order they were given.
        coefficients: of raw imagined rates, policies held fixed, starts resampled.
        corrected: of judge-corrected rates; None without a judge.
        calibrated_mae: mean |calibrated - reference|, each policy predicted from the others.
        over_policies: the coefficients with policies resampled as well: wider, and about
            policies like these rather than these.
        groups: {group: result} for groups of at least two policies.
        pearson_fisher: Fisher-z interval with n = policies.
        distinct_resamples: C(2k - 1, k), how many policy resamples there are.
        separations: top two of the reference and of imagination.
        agreement: of the worlds episode by episode, where their starts are the same.
        judge: its validation counts, if a judge decided.
        trial: whether that judge may be used.
        null_policy: the policy that does nothing, if one was named.
        assisted: which of model and judge had the simulator's state or progress; None: not known.
        depth_assisted: whether the world model had the simulator's depth; None: not known.
        development_starts: whether the model was developed on some of these starts; None: not
            known.
        block: the named block of the starts; None for others.
        pool: name of the pool of policies; None: not known.
        release: of a release run, which one of these weights it is.
        others: other metrics by name, shown beside the ranked one.
        baselines: rows of what else the policies were ranked by.
        gated: the same by the imagined rollouts that a gate lets pass; None without one.
        judge_validation: the judge on paired starts and policies that are not ranked; None without.
        paired: whether both worlds ran from the same starts.
        notes: caveats in plain words.
        settings: bootstrap samples, seed, level.
    """

    metric: EpisodeMetric
    policies: tuple[PolicyResult, ...]
    coefficients: Coefficients
    corrected: Coefficients | None
    calibrated_mae: float | None
    over_policies: Coefficients
    groups: dict[str, GroupResult]
    pearson_fisher: Interval | None
    permutation: PermutationTest
    leverage: tuple[Leverage, ...]
    distinct_resamples: int
    lattice: Lattice
    separations: tuple[Separation, ...]
    agreement: EpisodeAgreement | None
    judge: JudgeReport | None
    trial: JudgeTrial | None
    null_policy: NullPolicy | None
    paired: bool
    verdict: str
    notes: tuple[str, ...] = ()
    settings: dict[str, Any] = field(default_factory=dict)
    assisted: tuple[str, ...] | None = None
    depth_assisted: bool | None = None
    development_starts: bool | None = None
    block: str | None = None
    pool: str | None = None
    release: str | None = None
    others: dict[str, MetricResult] = field(default_factory=dict)
    baselines: tuple[BaselineResult, ...] = ()
    gated: GatedRanking | None = None
    judge_validation: JudgeValidation | None = None

    @property
    def metrics(self) -> dict[str, MetricResult]:
        """All metrics by name, the ranked one first."""
        ranked = MetricResult(
            self.metric,
            {policy.name: policy.reference for policy in self.policies},
            {policy.name: policy.imagined for policy in self.policies},
            self.coefficients,
        )
        return {self.metric.name: ranked, **self.others}

    @property
    def outcomes(self) -> StartOutcomes | None:
        """Both worlds episode by episode, counted over all policies."""
        return None if self.agreement is None else self.agreement.outcomes

    @property
    def null_result(self) -> PolicyResult | None:
        """The null policy's row, if it was ranked."""
        name = self.null_policy.name if self.null_policy else None
        return next((policy for policy in self.policies if policy.name == name), None)

    @property
    def state_assisted(self) -> bool | None:
        """Whether model or judge had what no robot knows; None: not known."""
        return None if self.assisted is None else bool(self.assisted)

    def ordered(self) -> list[PolicyResult]:
        """Policies by imagined rate, the best first, then by name; those without a rate last."""

        def key(policy: PolicyResult) -> tuple[float, str]:
            rate = policy.imagined.value
            return inf if rate is None else -self.metric.sign * rate, policy.name

        return sorted(self.policies, key=key)

    def to_json(self) -> dict[str, Any]:
        """The content of `ranking.json`: plain JSON types, None with a reason for undefined."""
        main = self.coefficients.to_json()
        progress, validation = self.metrics.get("progress"), self.judge_validation
        return {
            "metric": self.metric.to_json(),
            "state_assisted": self.state_assisted,
            "state_assisted_parts": self.assisted,
            "depth_assisted": self.depth_assisted,
            "development_starts": self.development_starts,
            **{name: getattr(self, name) for name in ("block", "pool", "release")},
            "verdict": self.verdict,
            "policies": [policy.to_json(progress) for policy in self.policies],
            **{
                name: main[name] for name in ("pearson", "spearman", "kendall", "mmrv", "mmrv_code")
            },
            "judge": self._judge_json(),
            **{name: main[name] for name in ("pairwise_accuracy", "selection_regret")},
            "calibration": {name: main[name] for name in ("slope", "intercept", "bias", "mae")},
            "corrected": self.corrected.to_json() if self.corrected else None,
            "calibrated_mae": self.calibrated_mae,
            "progress": progress.coefficients.to_json() if progress else None,
            "metrics": {name: found.to_json() for name, found in self.others.items()},
            "baselines": [row.to_json() for row in self.baselines],
            "groups": {
                name: {"policies": list(group.policies), **group.coefficients.to_json()}
                for name, group in self.groups.items()
            },
            "over_policies": self.over_policies.to_json()
            | {"distinct_resamples": self.distinct_resamples},
            "pearson_fisher_interval": list(self.pearson_fisher) if self.pearson_fisher else None,
            "permutation": asdict(self.permutation),
            "leverage": [asdict(entry) for entry in self.leverage],
            "lattice": asdict(self.lattice),
            "top_two": {entry.world: asdict(entry) for entry in self.separations},
            "outcomes": self.agreement.to_json() if self.agreement else None,
            "gated": self.gated.to_json() if self.gated else None,
            "judge_validation": validation.to_json() if validation else None,
            "paired": self.paired,
            "mmrv_rule": MMRV_RULE,
            "notes": [*(self.gated.notes() if self.gated else []), *self.notes],
            "settings": self.settings,
        }

    def _judge_json(self) -> dict[str, Any]:
        """Judge rates (None without a judge) and what the null policy was credited with."""
        data: dict[str, Any] = {"tpr": None, "tnr": None, "state_error_m": None}
        if self.judge is not None:
            data = judge_json(self.judge)
        if self.trial is not None:
            data |= {"trial": self.trial.to_json()}
        null, row = self.null_policy, self.null_result
        if null is None or row is None:
            return data
        return data | {
            "zero_actions" if null.moves else "do_nothing": {
                "policy": row.name,
                "imagined_rate": row.imagined.value,
                "reference_rate": row.reference.value,
                "judged_in_simulation_rate": null.judged,
            }
        }
