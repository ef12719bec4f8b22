"""Success rates of one policy: Wilson intervals, and correction by the judge's own error rates."""

import math
from dataclasses import dataclass
from statistics import NormalDist
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError
from worldsim.ranking.bootstrap import Estimate, Interval, percentile_interval

if TYPE_CHECKING:  # the judge itself needs torch; these statistics do not
    from worldsim.judge.report import JudgeReport

Float = NDArray[np.float64]


def normal_quantile(level: float) -> float:
    """z with P(|Z| < z) = `level`."""
    return NormalDist().inv_cdf((1 + level) / 2)


def wilson_interval(successes: float, trials: float, level: float = 0.95) -> Interval | None:
    """Wilson score interval of a proportion (Wilson 1927); None for zero trials.

    Not by `scipy.stats.binomtest`, which takes whole numbers of successes only: logged rates and
    means of several rollouts a start are fractions.
    """
    if trials <= 0:
        return None
    z = normal_quantile(level)
    p = successes / trials
    centre = p + z * z / (2 * trials)
    half = z * math.sqrt(p * (1 - p) / trials + z * z / (4 * trials * trials))
    scale = 1 + z * z / trials
    low, high = (centre - half) / scale, (centre + half) / scale
    # Rounding must not push an end past the estimate at p = 0 or p = 1.
    return max(0.0, min(low, p)), min(1.0, max(high, p))


@dataclass(frozen=True)
class JudgeRates:
    """Validation counts of a success judge on held-out simulated episodes.

    Attributes:
        true_positives: successful episodes that it called successes, of `positives`.
        positives: successful episodes judged.
        true_negatives: failed episodes that it called failures, of `negatives`.
        negatives: failed episodes judged.
        state_error_m: mean error of its state estimate in metres, if it makes one.
        first_frame_false_success_rate: share of first frames, none of them a success, that look
            like one to it.
    """

    true_positives: int
    positives: int
    true_negatives: int
    negatives: int
    state_error_m: float | None = None
    first_frame_false_success_rate: float | None = None

    def __post_init__(self) -> None:
        for part, whole in (
            (self.true_positives, self.positives),
            (self.true_negatives, self.negatives),
        ):
            if not 0 <= part <= whole:
                raise UsageError(f"judge counts are inconsistent: {part} correct of {whole}")

    @staticmethod
    def from_rates(
        tpr: float, tnr: float, positives: int, negatives: int, state_error_m: float | None = None
    ) -> "JudgeRates":
        """Counts from rates in [0, 1] and the numbers of episodes they were measured on."""
        if not (0 <= tpr <= 1 and 0 <= tnr <= 1):
            raise UsageError(f"judge rates must lie in [0, 1], got tpr={tpr}, tnr={tnr}")
        return JudgeRates(
            round(tpr * positives), positives, round(tnr * negatives), negatives, state_error_m
        )

    @staticmethod
    def from_report(report: "JudgeReport") -> "JudgeRates":
        """The counts that a trained judge carries beside its weights."""
        return JudgeRates(
            report.true_positives,
            report.positives,
            report.true_negatives,
            report.negatives,
            report.state_error_m,
            report.first_frame_false_success_rate,
        )

    @property
    def tpr(self) -> Estimate:
        """Share of true successes called successes."""
        return _rate(self.true_positives, self.positives, "no successful validation episodes")

    @property
    def tnr(self) -> Estimate:
        """Share of true failures called failures; the false-positive rate is 1 - TNR."""
        return _rate(self.true_negatives, self.negatives, "no failed validation episodes")

    def draw(self, samples: int, rng: np.random.Generator) -> tuple[Float, Float]:
        """Plausible (TPR, FPR) pairs, `[samples]` each, given the validation counts.

        A plain bootstrap of counts has no spread when the judge made no mistake, so the
        draws come from the Jeffreys posterior Beta(k + 1/2, n - k + 1/2), its smoothed form.
        """
        tpr = _jeffreys(self.true_positives, self.positives, samples, rng)
        tnr = _jeffreys(self.true_negatives, self.negatives, samples, rng)
        return tpr, 1.0 - tnr

    def to_json(self) -> dict[str, Any]:
        """`tpr`, `tnr`, `state_error_m`, their intervals and the counts behind them."""
        tpr, tnr = self.tpr, self.tnr
        return {
            "tpr": tpr.value,
            "tnr": tnr.value,
            "state_error_m": self.state_error_m,
            "tpr_interval": list(tpr.interval) if tpr.interval else None,
            "tnr_interval": list(tnr.interval) if tnr.interval else None,
            "positives": self.positives,
            "true_positives": self.true_positives,
            "negatives": self.negatives,
            "true_negatives": self.true_negatives,
            "first_frame_false_success_rate": self.first_frame_false_success_rate,
        }


def correct(observed: Float | float, tpr: Float | float, fpr: Float | float) -> Float:
    """p = (p_hat - FPR) / (TPR - FPR), clipped to [0, 1] (Rogan and Gladen 1978).

    NaN where the judge is no better than chance (TPR <= FPR).
    """
    power = np.asarray(tpr, dtype=np.float64) - np.asarray(fpr, dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.clip((np.asarray(observed, dtype=np.float64) - fpr) / power, 0.0, 1.0)
    return np.where(power > 0, value, np.nan)


def corrected_rate(
    successes: float,
    trials: float,
    judge: JudgeRates,
    *,
    samples: int,
    level: float,
    rng: np.random.Generator,
) -> Estimate:
    """The rate after judge correction, its interval carrying both sources of doubt.

    Observed rate and judge rates are drawn from their Jeffreys posteriors; the interval is the
    central one of the corrected draws, widened if need be to hold the point estimate.
    """
    if trials <= 0:
        return Estimate(None, None, "no starts were judged")
    tpr, tnr = judge.tpr.value, judge.tnr.value
    if tpr is None or tnr is None:
        return Estimate(None, None, "the judge was not validated on both outcomes")
    point = float(correct(successes / trials, tpr, 1.0 - tnr))
    if math.isnan(point):
        return Estimate(None, None, "the judge is no better than chance (TPR <= FPR)")
    observed = _jeffreys(successes, trials, samples, rng)
    interval, reason = percentile_interval(correct(observed, *judge.draw(samples, rng)), level)
    if interval is not None:
        interval = (min(interval[0], point), max(interval[1], point))
    return Estimate(point, interval, reason)


def _jeffreys(successes: float, trials: float, samples: int, rng: np.random.Generator) -> Float:
    return rng.beta(successes + 0.5, max(trials - successes, 0.0) + 0.5, size=samples)


def _rate(successes: int, trials: int, empty: str) -> Estimate:
    if trials == 0:
        return Estimate(None, None, empty)
    return Estimate(successes / trials, wilson_interval(successes, trials))
