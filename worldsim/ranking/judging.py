"""What a judge's measured error says of imagined rates: corrected ones, and whether to use it.

Error rates are those on imagined frames, where they were measured, else those on recorded ones.
"""

from dataclasses import asdict, dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError
from worldsim.judge.report import (
    SIGNIFICANCE,
    DepthBand,
    JudgeReport,
    Verdicts,
    chance_p_value,
)
from worldsim.ranking.bootstrap import Estimate, percentile_interval, wilson_interval
from worldsim.ranking.rates import jeffreys

Float = NDArray[np.float64]
Generator = np.random.Generator

NOT_MEASURED = (
    "The judge was not measured on imagined frames of this world model in these denoising steps: "
    "what it mistakes there is not known. Training a judge beside the model (`worldsim train "
    "stage=judge`) measures it in the model's own steps (`sampling_steps=null`)."
)


def require_counts(judge: JudgeReport) -> None:
    """Refuse a judge that was right more often than it was asked."""
    bands = judge.imagined.bands if judge.imagined else ()
    for counts in (judge.simulated, judge.where_used, *(band.verdicts for band in bands)):
        for right, whole in (
            (counts.true_positives, counts.positives),
            (counts.true_negatives, counts.negatives),
        ):
            if not 0 <= right <= whole:
                raise UsageError(f"judge counts are inconsistent: {right} correct of {whole}")


def judge_rates(judge: Verdicts | JudgeReport) -> tuple[Estimate, Estimate]:
    """TPR and TNR with Wilson intervals; the false-positive rate is 1 - TNR."""
    counts = (
        (judge.true_positives, judge.positives, "successful"),
        (judge.true_negatives, judge.negatives, "failed"),
    )
    tpr, tnr = (
        Estimate(right / whole, wilson_interval(right, whole))
        if whole
        else Estimate(None, None, f"no {kind} validation episodes")
        for right, whole, kind in counts
    )
    return tpr, tnr


@dataclass(frozen=True)
class JudgeTrial:
    """Whether a judge may be used, by the null hypothesis that it is no better than chance.

    Attributes:
        imagined: whether its verdicts on imagined frames were tried, or those on recorded ones.
        p_value: of all verdicts together; None where one outcome is missing.
        counts: those verdicts.
        weak_bands: depths that the ranking uses at which the hypothesis stands.
        beyond: greatest depth that was measured, where the ranking goes deeper.
    """

    imagined: bool
    p_value: float | None
    counts: Verdicts
    weak_bands: tuple[DepthBand, ...] = field(default=())
    beyond: int | None = None

    @staticmethod
    def of(judge: JudgeReport, horizon: int | None = None) -> "JudgeTrial":
        """Try a judge for a ranking of at most `horizon` steps; None: not known."""
        p_value = chance_p_value(counts := judge.where_used)
        if (imagined := judge.imagined) is None:
            return JudgeTrial(False, p_value, counts)
        used = [b for b in imagined.bands if horizon is None or b.first <= horizon]
        tried = [(band, chance_p_value(band.verdicts)) for band in used]
        weak = tuple(band for band, p in tried if p is not None and p >= SIGNIFICANCE)
        deeper = horizon is not None and horizon > imagined.deepest
        return JudgeTrial(True, p_value, counts, weak, imagined.deepest if deeper else None)

    @property
    def passed(self) -> bool:
        """Whether the judge is better than chance for all that is known."""
        return self.p_value is not None and self.p_value < SIGNIFICANCE

    @property
    def reason(self) -> str | None:
        """Why the judge must not be used; None where it may."""
        if self.passed:
            return None
        if self.p_value is None:
            return (
                "the judge was not validated on both outcomes, but on "
                f"{self.counts.positives} successes and {self.counts.negatives} failures"
            )
        where = "imagined" if self.imagined else "recorded"
        return (
            f"on {where} frames the judge is not shown to be better than chance "
            f"(p = {self.p_value:.2g})"
        )

    def to_json(self) -> dict[str, Any]:
        """For `ranking.json`."""
        return {
            "usable": self.passed,
            "measured_on": "imagined" if self.imagined else "recorded",
            "p_value": self.p_value,
            "reason": self.reason,
            "weak_depths": [[band.first, band.last] for band in self.weak_bands],
            "deeper_than_measured": self.beyond,
        }

    def notes(self) -> list[str]:
        """What must be known of the depths."""
        lines = [] if self.imagined else [NOT_MEASURED]
        if self.weak_bands:
            depths = ", ".join(f"{band.first}-{band.last}" for band in self.weak_bands)
            lines.append(
                f"At these depths the judge is not shown to be better than chance: {depths} steps."
            )
        if self.beyond is not None:
            lines.append(
                f"The judge was measured to {self.beyond} imagined steps; this ranking goes deeper."
            )
        return lines


def judge_json(judge: JudgeReport) -> dict[str, Any]:
    """Rates on recorded frames with intervals and counts, and the same on imagined frames."""
    data = _verdicts_json(judge.simulated) | {
        "state_error_m": judge.state_error_m,
        "first_frame_false_success_rate": judge.first_frame_false_success_rate,
        "imagined": None,
    }
    if (imagined := judge.imagined) is not None:
        bands = [
            {"first": band.first, "last": band.last, **_verdicts_json(band.verdicts)}
            for band in imagined.bands
        ]
        whole = _verdicts_json(imagined.whole)
        data["imagined"] = {**whole, "by_depth": bands, "sampling_steps": imagined.sampling_steps}
    return data


def _verdicts_json(counts: Verdicts) -> dict[str, Any]:
    tpr, tnr = judge_rates(counts)
    return {
        "tpr": tpr.value,
        "tnr": tnr.value,
        "tpr_interval": tpr.interval,
        "tnr_interval": tnr.interval,
        **asdict(counts),
    }


def depth_rows(judge: JudgeReport) -> list[tuple[str, Verdicts]]:
    """(depth, verdicts) as a table shows them: recorded frames, each band, whole episodes."""
    rows = [("recorded", judge.simulated)]
    if judge.imagined is not None:
        rows += [(f"{band.first} to {band.last}", band.verdicts) for band in judge.imagined.bands]
        rows.append(("whole episodes", judge.imagined.whole))
    return rows


class ErrorCounts(NamedTuple):
    """Counts by which rates are corrected; fractions where episodes depend on each other.

    Attributes:
        true_positives: right verdicts among `positives`.
        positives: episodes that succeeded.
        true_negatives: right verdicts among `negatives`.
        negatives: episodes that failed.
    """

    true_positives: float
    positives: float
    true_negatives: float
    negatives: float

    @staticmethod
    def of(counts: Verdicts) -> "ErrorCounts":
        """Of independent episodes."""
        return ErrorCounts(
            counts.true_positives, counts.positives, counts.true_negatives, counts.negatives
        )

    def draw(self, samples: int, rng: Generator) -> tuple[Float, Float]:
        """Plausible (TPR, FPR) pairs, `[samples]` each.

        A plain bootstrap of counts has no spread when the judge made no mistake, so the
        draws come from the Jeffreys posterior Beta(k + 1/2, n - k + 1/2), its smoothed form.
        """
        tpr = jeffreys(self.true_positives, self.positives, samples, rng)
        tnr = jeffreys(self.true_negatives, self.negatives, samples, rng)
        return tpr, 1.0 - tnr


def draw_judges(judge: JudgeReport, samples: int, rng: Generator) -> tuple[Float, Float]:
    """Plausible (TPR, FPR) pairs of a judge, `[samples]` each, given the validation counts."""
    return ErrorCounts.of(judge.where_used).draw(samples, rng)


def correct(observed: Float | float, tpr: Float | float, fpr: Float | float) -> Float:
    """p = (p_hat - FPR) / (TPR - FPR), clipped to [0, 1] (Rogan and Gladen 1978).

    NaN where the judge is no better than chance (TPR <= FPR).
    """
    power = np.asarray(tpr, dtype=np.float64) - np.asarray(fpr, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.clip((np.asarray(observed, dtype=np.float64) - fpr) / power, 0.0, 1.0)
    return np.where(power > 0, value, np.nan)


def corrected_rate(
    successes: float, trials: float, judge: JudgeReport, samples: int, level: float, rng: Generator
) -> Estimate:
    """The rate after correction by a judge's measured error; see `corrected_by`.

    There is none where TPR + TNR - 1 is not clearly above 0, by the test of `JudgeTrial`.
    """
    if trials > 0 and (reason := JudgeTrial.of(judge).reason):
        return Estimate(None, None, reason)
    counts = ErrorCounts.of(judge.where_used)
    return corrected_by(counts, successes, trials, samples, level, rng)


def corrected_by(
    counts: ErrorCounts,
    successes: float,
    trials: float,
    samples: int,
    level: float,
    rng: Generator,
) -> Estimate:
    """The rate after correction, its interval carrying both sources of doubt.

    Observed rate and error rates are drawn from their Jeffreys posteriors; the interval is the
    central one of the corrected draws, widened if need be to hold the point estimate.

    Args:
        counts: of both outcomes, which must occur.
        successes: that were observed, of `trials`.
        trials: rollouts.
        samples: draws.
        level: of the interval.
        rng: of the draws.
    """
    if trials <= 0:
        return Estimate(None, None, "no starts were judged")
    tpr = counts.true_positives / counts.positives
    tnr = counts.true_negatives / counts.negatives
    point = float(correct(successes / trials, tpr, 1.0 - tnr))
    observed = jeffreys(successes, trials, samples, rng)
    drawn = correct(observed, *counts.draw(samples, rng))
    interval, reason = percentile_interval(drawn, level)
    if interval is not None:
        interval = (min(interval[0], point), max(interval[1], point))
    return Estimate(point, interval, reason)
