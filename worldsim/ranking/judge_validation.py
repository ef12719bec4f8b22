"""What paired episodes say of a judge where it is used: policies and starts that are not ranked.

Truth is what became of the same policy from the same start in the simulator. So whatever makes
imagination end otherwise counts: what the judge misreads, what the model has wrong, and chance.
Shapes: P policies, N starts.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.judge.imagined import band_width
from worldsim.judge.report import SIGNIFICANCE, Verdicts, chance_p_value
from worldsim.ranking.bootstrap import Estimate, wilson_interval
from worldsim.ranking.clustered import FEWEST, OutcomeRates
from worldsim.ranking.judging import corrected_by
from worldsim.rollout.episodes import RolloutBatch

Float = NDArray[np.float64]

LEAST_STEPS = 10
"""Between two horizons that are printed."""
BEYOND = "the imagined rate lies beyond what the measured error rates can give"
STREAM = 7
"""Of the draws; the other streams are those of `worldsim.ranking.rank` and `.baselines`."""


@dataclass(frozen=True)
class JudgeValidation:
    """A judge on paired validation starts.

    Attributes:
        starts: N.
        broke_off: episodes that are left out, as their policy broke off in a world.
        whole: whole episodes of all policies.
        horizons: {steps: what episodes that end after so many steps would give}.
        policies: {name: whole episodes of one policy}.
        p_value: how likely rates at least as good are, were imagination blind to the outcome; None
            where one is not measured.
        corrected: {ranked policy: its imagined rate after correction by these rates}.
        mean_errors: mean distance from the reference of ranked policies' imagined rates, as they
            are and corrected; None where no policy has both.
    """

    starts: int
    broke_off: int
    whole: OutcomeRates
    horizons: dict[int, OutcomeRates]
    policies: dict[str, OutcomeRates]
    p_value: float | None
    corrected: dict[str, Estimate] = field(default_factory=dict)
    mean_errors: tuple[float, float] | None = None

    @staticmethod
    def of(
        truth: Sequence[RolloutBatch], imagined: Sequence[RolloutBatch], level: float
    ) -> "JudgeValidation":
        """From the same policies and starts in both worlds; nothing is corrected yet."""
        won, said = _first_successes(truth), _first_successes(imagined)
        broke = np.array(
            [
                [bool(ours or theirs) for ours, theirs in zip(t.errors, i.errors, strict=True)]
                for t, i in zip(truth, imagined, strict=True)
            ]
        )
        known = ~broke

        def until(steps: float) -> OutcomeRates:
            return OutcomeRates.of(won <= steps, said <= steps, known, level)

        longest = max((int(batch.length.max(initial=0)) for batch in truth), default=0)
        width = band_width([longest], LEAST_STEPS)
        ends = [*range(width, longest, width), longest] if longest else []
        whole = OutcomeRates.of(np.isfinite(won), np.isfinite(said), known, level)
        each = {
            batch.policy: OutcomeRates.of(
                np.isfinite(won[[i]]), np.isfinite(said[[i]]), known[[i]], level
            )
            for i, batch in enumerate(truth)
        }
        horizons = {steps: until(steps) for steps in ends}
        count, lost = won.shape[1], int(broke.sum())
        return JudgeValidation(count, lost, whole, horizons, each, _p_value(whole))

    @property
    def reason(self) -> str | None:
        """Why nothing can be corrected by these rates; None where it can."""
        for name, rate in (("success", self.whole.tpr), ("failure", self.whole.tnr)):
            if rate.estimate.value is None:
                return (
                    f"not measured: {rate.asked} validation episodes end in {name} in the "
                    f"simulator, and it takes {FEWEST}"
                )
        assert self.p_value is not None
        if self.p_value >= SIGNIFICANCE:
            return (
                "imagination is not shown to tell success from failure on validation starts "
                f"(p = {self.p_value:.2g})"
            )
        return None

    def correcting(
        self,
        ranked: Mapping[str, "RankedRate"],
        samples: int,
        level: float,
        seed: int,
    ) -> "JudgeValidation":
        """The same, with the corrected rates of ranked policies.

        Args:
            ranked: by policy.
            samples: draws of each interval.
            level: of the intervals.
            seed: of the draws.
        """
        corrected = {}
        for name, rate in ranked.items():
            if reason := self.reason:
                corrected[name] = Estimate(None, None, reason)
                continue
            rng = np.random.default_rng([seed, STREAM])
            found = corrected_by(
                self.whole.counts, rate.successes, rate.trials, samples, level, rng
            )
            corrected[name] = self._within_reach(found, rate, level)
        known = [
            (rate.successes / rate.trials, corrected[name].value, rate.reference)
            for name, rate in ranked.items()
            if rate.reference is not None and corrected[name].value is not None
        ]
        raw, better, reference = np.array(known, np.float64).reshape(-1, 3).T
        off = (np.abs(raw - reference).mean(), np.abs(better - reference).mean()) if known else None
        return replace(
            self,
            corrected=corrected,
            mean_errors=None if off is None else (float(off[0]), float(off[1])),
        )

    def _within_reach(self, found: Estimate, rate: "RankedRate", level: float) -> Estimate:
        """A corrected rate; no surer than the raw one where that lies beyond what TPR and FPR can
        give, since the policy is then mistaken less often than those that were measured."""
        tpr, tnr = self.whole.tpr.estimate.value, self.whole.tnr.estimate.value
        raw = wilson_interval(rate.successes, rate.trials, level)
        assert tpr is not None and tnr is not None
        if raw is None or found.interval is None:
            return found
        if 1 - tnr <= rate.successes / rate.trials <= tpr:
            return found
        low, high = zip(found.interval, raw, strict=True)
        return replace(found, interval=(min(low), max(high)), reason=BEYOND)

    def rows(self) -> list[tuple[str, OutcomeRates]]:
        """(what, rates) as a table shows them: by horizon, whole episodes, by policy."""
        cut = [(f"to step {steps}", rates) for steps, rates in self.horizons.items()]
        return [*cut, ("whole episodes", self.whole), *self.policies.items()]

    def notes(self) -> list[str]:
        """What the rates are, and whether correction by them helps, in words."""
        if self.reason:
            return [f"Paired validation starts: {self.reason}. No rate is corrected by them."]
        said = (
            f"On {self.starts} paired validation starts of {len(self.policies)} policies that are "
            f"not ranked, imagination meets {self.whole.tpr.estimate.text()} of simulated "
            f"successes and {self.whole.tnr.estimate.text()} of simulated failures"
        )
        if self.mean_errors is None:
            return [f"{said}."]
        raw, corrected = self.mean_errors
        return [
            f"{said}. Imagined rates are off by {raw:.3f} on average, and by {corrected:.3f} after "
            "correction by these."
        ]

    def to_json(self) -> dict[str, Any]:
        """For `ranking.json`."""
        errors = dict(zip(("raw", "corrected"), self.mean_errors or (None, None), strict=True))
        return {
            "starts": self.starts,
            "broke_off": self.broke_off,
            **self.whole.to_json(),
            "p_value": self.p_value,
            "usable": self.reason is None,
            "reason": self.reason,
            "by_horizon": [
                {"steps": steps, **rates.to_json()} for steps, rates in self.horizons.items()
            ],
            "policies": {name: rates.to_json() for name, rates in self.policies.items()},
            "corrected": {name: rate.to_json() for name, rate in self.corrected.items()},
            "mean_error": errors,
        }


@dataclass(frozen=True)
class RankedRate:
    """A ranked policy's imagined rate.

    Attributes:
        successes: in imagination, of `trials`.
        trials: at least one.
        reference: its rate in the reference world; None where it is not known.
    """

    successes: float
    trials: float
    reference: float | None


def _first_successes(batches: Sequence[RolloutBatch]) -> Float:
    """Steps until success `[P, N]`; infinite where an episode does not end in it."""
    return np.array(
        [
            [
                float(np.argmax(each.success)) if won else np.inf
                for each, won in zip(batch.trajectories, batch.success, strict=True)
            ]
            for batch in batches
        ]
    )


def _p_value(rates: OutcomeRates) -> float | None:
    """Of Fisher's test on whole effective episodes, rounded against the judge."""
    if min(rates.tpr.asked, rates.tnr.asked) < FEWEST:
        return None
    found, succeeded, refused, failed = rates.counts
    missed, invented = int(np.ceil(succeeded - found)), int(np.ceil(failed - refused))
    right, other = int(found), int(refused)
    return chance_p_value(Verdicts(right, right + missed, other, other + invented))
