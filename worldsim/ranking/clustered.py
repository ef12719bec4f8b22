"""Shares of episodes that are not independent: those of one start, and of one policy, are alike.

A share's variance allows for both (Cameron, Gelbach and Miller 2011, two-way clusters). Its
interval is that of as many independent episodes as would have this variance.

Shapes: P policies, N starts.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking.bootstrap import Estimate, wilson_interval
from worldsim.ranking.judging import ErrorCounts

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

FEWEST = 10
"""Simulated episodes of an outcome below which its rate is not measured."""


@dataclass(frozen=True)
class ClusteredRate:
    """A share of episodes of one simulated outcome that end alike in imagination.

    Attributes:
        right: how many do.
        asked: simulated episodes of the outcome.
        effective: independent episodes that would give the rate the same variance.
        level: of the interval.
    """

    right: int
    asked: int
    effective: float
    level: float

    @staticmethod
    def of(right: Bool, asked: Bool, level: float) -> "ClusteredRate":
        """From masks `[P, N]`: `asked` episodes had the outcome, `right` ones end alike."""
        return ClusteredRate(
            int((right & asked).sum()), int(asked.sum()), effective_size(right, asked), level
        )

    @property
    def estimate(self) -> Estimate:
        """The share with its Wilson interval, or why it was not measured."""
        if self.asked < FEWEST:
            return Estimate(None, None, f"not measured: {self.asked} episodes, it takes {FEWEST}")
        share = self.right / self.asked
        return Estimate(share, wilson_interval(share * self.effective, self.effective, self.level))

    def to_json(self) -> dict[str, Any]:
        """Share, interval and counts."""
        counts = {"right": self.right, "episodes": self.asked, "effective": self.effective}
        return {**self.estimate.to_json(), **counts}


def effective_size(right: Bool, asked: Bool) -> float:
    """Independent episodes that give the share of `right` `[P, N]` among `asked` its variance.

    The variance of single episodes, plus what clusters of starts have beyond it, plus what those
    of policies have. Where all are right, or none is, clusters tell nothing: each episode counts.
    """
    count = float(asked.sum())
    if count == 0:
        return 0.0
    left = np.where(asked, right - (right & asked).sum() / count, 0.0)
    single = float(np.square(left).sum())
    if single == 0:
        return count
    beyond = [
        _between(left.sum(axis=axis), np.asarray(asked.any(axis=axis))) - single for axis in (0, 1)
    ]
    return count / (1.0 + sum(max(0.0, each) for each in beyond) / single)


def _between(sums: Float, there: Bool) -> float:
    """Sum of squares of cluster sums, by G / (G - 1) for G clusters."""
    clusters = int(there.sum())
    return float(np.square(sums).sum()) * (clusters / (clusters - 1) if clusters > 1 else 1.0)


@dataclass(frozen=True)
class OutcomeRates:
    """How imagination meets both simulated outcomes.

    Attributes:
        tpr: P(imagined success | simulated success).
        tnr: P(imagined failure | simulated failure).
    """

    tpr: ClusteredRate
    tnr: ClusteredRate

    @staticmethod
    def of(won: Bool, said: Bool, known: Bool, level: float) -> "OutcomeRates":
        """From simulated and imagined successes `[P, N]` of the `known` episodes."""
        return OutcomeRates(
            ClusteredRate.of(said, won & known, level), ClusteredRate.of(~said, ~won & known, level)
        )

    @property
    def counts(self) -> ErrorCounts:
        """As many independent episodes as would have these rates and variances."""
        pairs = []
        for rate in (self.tpr, self.tnr):
            share = rate.right / rate.asked if rate.asked else 0.0
            pairs += [share * rate.effective, rate.effective]
        return ErrorCounts(*pairs)

    def to_json(self) -> dict[str, Any]:
        """Both rates."""
        return {"tpr": self.tpr.to_json(), "tnr": self.tnr.to_json()}
