"""Do both worlds end the same episode alike: the same policy from the same start.

Correlated rates may hide that imagination succeeds from other starts than the reference does.
GE-Sim 2.0 (2605.27491) reports accuracy and recall episode by episode; Cohen's kappa (1960) takes
out what equal rates alone would give.

Shapes: P policies, N starts, B bootstrap samples; four cells of a table of outcomes.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.ranking.bootstrap import Estimate, bootstrap_interval, finite
from worldsim.rollout.episodes import EpisodeMetric

Float = NDArray[np.float64]

SCORES = {
    "accuracy": (0.0, 1.0),
    "recall": (0.0, 1.0),
    "specificity": (0.0, 1.0),
    "kappa": (-1.0, 1.0),
    "kappa_within_policies": (-1.0, 1.0),
}
"""Range of each score. Recall and specificity are of the reference's successes and failures.
Kappa within policies expects by chance what each policy's own rates give, so that it tells whether
imagination knows from which starts a policy succeeds."""


@dataclass(frozen=True)
class StartOutcomes:
    """The same policy from the same start in both worlds, counted over all policies.

    Attributes:
        both_succeed: successes in both.
        both_fail: failures in both.
        only_reference: successes that imagination missed.
        only_imagined: successes that only imagination saw.
    """

    both_succeed: int
    both_fail: int
    only_reference: int
    only_imagined: int

    @property
    def total(self) -> int:
        """All pairs counted."""
        return self.both_succeed + self.both_fail + self.only_reference + self.only_imagined

    @property
    def agreement(self) -> float | None:
        """Share of pairs with the same outcome."""
        return (self.both_succeed + self.both_fail) / self.total if self.total else None


@dataclass(frozen=True)
class EpisodeAgreement:
    """Outcomes of both worlds, episode by episode.

    Attributes:
        outcomes: counted over all policies.
        by_policy: share of equal outcomes of each policy, P of them, None where it has none.
        scores: {one of `SCORES`: estimate}; starts are resampled, policies held fixed.
    """

    outcomes: StartOutcomes
    by_policy: tuple[float | None, ...]
    scores: dict[str, Estimate]

    @staticmethod
    def of(
        reference: Float,
        imagined: Float,
        metric: EpisodeMetric,
        samples: int,
        level: float,
        rng: np.random.Generator,
    ) -> "EpisodeAgreement | None":
        """From outcomes `[P, N, K]`; None unless they are 0 or 1 and K is 1."""
        if not metric.binary or reference.shape[2] != 1 or imagined.shape[2] != 1:
            return None
        cells = _cells(reference[..., 0], imagined[..., 0])
        counts = cells.sum(axis=1)
        starts = cells.shape[1]
        drawn = rng.multinomial(starts, np.full(starts, 1 / starts), samples) if starts else None
        resampled = None if drawn is None else np.tensordot(drawn, cells, (1, 1))
        observed = scores_of(counts)
        spread = {} if resampled is None else scores_of(resampled)
        scores = {}
        for name, bounds in SCORES.items():
            value = finite(float(observed[name]))
            if value is None:
                scores[name] = Estimate(None, None, "the episodes have too few outcomes")
            else:
                interval = bootstrap_interval(spread[name], value, level, bounds)
                scores[name] = Estimate(value, *interval)
        with np.errstate(invalid="ignore", divide="ignore"):
            alike = counts[:, :2].sum(axis=1) / counts.sum(axis=1)
        totals = counts.sum(axis=0).astype(int).tolist()
        return EpisodeAgreement(StartOutcomes(*totals), tuple(map(finite, alike)), scores)

    def to_json(self) -> dict[str, Any]:
        """Counts, the share of equal outcomes, and the scores."""
        scores = {name: score.to_json() for name, score in self.scores.items()}
        return {**asdict(self.outcomes), "agreement": self.outcomes.agreement, **scores}


def _cells(reference: Float, imagined: Float) -> Float:
    """Which cell each pair `[P, N]` falls into, one-hot `[P, N, 4]`: both succeed, both fail, only
    the reference does, only imagination; none where one is not known."""
    known = np.isfinite(reference) & np.isfinite(imagined)
    won, seen = (reference >= 0.5) & known, (imagined >= 0.5) & known
    cells = (won & seen, known & ~won & ~seen, won & ~seen, seen & ~won)
    return np.stack(cells, axis=-1).astype(np.float64)


def scores_of(counts: Float) -> dict[str, Float]:
    """`SCORES` of counts `[..., P, 4]`, NaN where a score is not defined."""
    total = counts.sum(axis=-2)
    with np.errstate(invalid="ignore", divide="ignore"):
        pairs = total.sum(axis=-1)
        accuracy = total[..., :2].sum(axis=-1) / pairs
        each = counts.sum(axis=-1)
        by_chance = np.where(each > 0, _by_chance(counts), 0.0)
        within = (by_chance * each).sum(axis=-1) / pairs
        return {
            "accuracy": accuracy,
            "recall": total[..., 0] / (total[..., 0] + total[..., 2]),
            "specificity": total[..., 1] / (total[..., 1] + total[..., 3]),
            "kappa": _beyond(accuracy, _by_chance(total)),
            "kappa_within_policies": _beyond(accuracy, within),
        }


def _by_chance(cells: Float) -> Float:
    """Agreement of independent outcomes with the rates of `[..., 4]`."""
    whole = cells.sum(axis=-1)
    reference = (cells[..., 0] + cells[..., 2]) / whole
    imagined = (cells[..., 0] + cells[..., 3]) / whole
    return np.asarray(reference * imagined + (1 - reference) * (1 - imagined))


def _beyond(accuracy: Float, chance: Float) -> Float:
    """Share of what chance leaves open that is agreed on; NaN where it leaves nothing."""
    return np.where(chance < 1, (accuracy - chance) / (1 - chance), np.nan)
