"""What a ranking tells beyond its baselines, with intervals of the difference.

A baseline's scores are held against the reference as imagined rates are. Its margin is how far the
world model's ranking is ahead, under the same draws of starts and policies for both: where the
interval lies above zero, the ranking beats the baseline. Scores that are all equal order nothing;
in a margin their correlation counts as zero.

Shapes: P policies, N starts or recorded episodes, B bootstrap samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from math import inf
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.ranking.baseline_rows import COMPARED, Agreement, BaselineResult, Change
from worldsim.ranking.bootstrap import (
    Estimate,
    bootstrap_interval,
    finite,
    in_chunks,
    percentile_interval,
    rates,
    start_resamples,
)
from worldsim.ranking.correlation import FEWEST, STATISTICS, coefficients
from worldsim.ranking.inversion import inverted_estimate
from worldsim.ranking.rank import IMAGINED_STREAM, POLICY_STREAM, START_STREAM
from worldsim.ranking.rates import PairedRates, paired_rates
from worldsim.ranking.unpaired import logged_rates
from worldsim.rollout.baselines import Scores
from worldsim.rollout.episodes import EpisodeMetric
from worldsim.rollout.logged import LoggedRates

Float = NDArray[np.float64]
ERROR_STREAM = 6
"""Of recorded episodes; the other streams are those of `worldsim.ranking.rank`."""


@dataclass(frozen=True, eq=False)
class BaselineScores:
    """What a baseline gave.

    Attributes:
        name: of the row.
        what: it in words.
        scores: what `values` are; see `worldsim.rollout.baselines.Scores`.
        values: `[P, N]`, NaN where nothing is known.
        only: the policies that the row is about; None takes all.
    """

    name: str
    what: str
    scores: Scores
    values: Float
    only: tuple[str, ...] | None = None


class _Scored(NamedTuple):
    """Scores beside reference rates, `[P]` each, and their resamples `[B, P]`."""

    reference: Float
    scores: Float
    drawn_reference: Float
    drawn_scores: Float

    @staticmethod
    def of(paired: PairedRates) -> "_Scored":
        """Imagined rates as scores."""
        r, s = paired.reference, paired.imagined
        return _Scored(r.rates, s.rates, r.resamples, s.resamples)

    def of_policies(self, chosen: NDArray[Any]) -> "_Scored":
        """The chosen policies, by mask or by draws `[B, P]`."""
        return _Scored(*(array[..., chosen] for array in self))

    @property
    def known(self) -> NDArray[np.bool_]:
        """Policies with reference rate and score `[P]`."""
        return np.isfinite(self.reference) & np.isfinite(self.scores)


@dataclass(frozen=True, eq=False)
class _Comparison:
    """What all rows are made of: the ranking itself, and how it was drawn."""

    reference: ArrayLike | LoggedRates
    imagined: ArrayLike
    names: tuple[str, ...]
    metric: EpisodeMetric
    samples: int
    level: float
    seed: int

    def stream(self, number: int) -> np.random.Generator:
        """As in `rank`, so that a world's draws of starts are those of the ranking."""
        return np.random.default_rng([self.seed, number])

    def paired(self, reference: ArrayLike | LoggedRates, outcomes: ArrayLike) -> PairedRates:
        """Rates of outcomes `[P, N]` beside a reference."""
        if isinstance(reference, LoggedRates):
            rngs = [self.stream(START_STREAM), self.stream(IMAGINED_STREAM)]
            return logged_rates(reference, outcomes, self.names, self.samples, self.level, rngs)
        rng = self.stream(START_STREAM)
        return paired_rates(
            reference, outcomes, self.names, self.metric, self.samples, self.level, rng
        )

    @cached_property
    def ours(self) -> PairedRates:
        """The ranking's own rates, beside which every row stands."""
        return self.paired(self.reference, self.imagined)

    def row(self, baseline: BaselineScores) -> BaselineResult:
        """The row of one baseline."""
        ours = self.ours
        if baseline.scores == "reference":
            theirs = self.paired(baseline.values, self.imagined)
            shown = theirs.reference.rates
        elif baseline.scores == "outcomes":
            theirs = self.paired(self.reference, baseline.values)
            shown = theirs.imagined.rates
        else:
            return self._row(baseline, _Scored.of(ours), *self._of_errors(ours, baseline))
        change = self._change(baseline) if baseline.scores == "reference" else None
        return self._row(baseline, _Scored.of(ours), _Scored.of(theirs), shown, change)

    def _of_errors(self, ours: PairedRates, baseline: BaselineScores) -> tuple[_Scored, Float]:
        """Errors `[P, N]` as scores, of which less is better whatever the metric's direction."""
        order = sorted(range(len(self.names)), key=lambda i: self.names[i])
        errors = np.asarray(baseline.values, np.float64)[order][..., None]
        drawn = start_resamples(errors, self.samples, self.stream(ERROR_STREAM))
        sign, r = -self.metric.sign, ours.reference
        return _Scored(r.rates, sign * rates(errors), r.resamples, sign * drawn), rates(errors)

    def _row(
        self,
        baseline: BaselineScores,
        ours: _Scored,
        theirs: _Scored,
        shown: Float,
        change: Change | None = None,
    ) -> BaselineResult:
        known = tuple(sorted(self.names))
        chosen = ours.known & theirs.known
        if baseline.only is not None:
            chosen &= np.isin(known, baseline.only)
        ours, theirs = ours.of_policies(chosen), theirs.of_policies(chosen)
        return BaselineResult(
            name=baseline.name,
            what=baseline.what,
            policies={known[i]: float(shown[i]) for i in np.flatnonzero(chosen)},
            agreement=self._agreement(theirs),
            margins={name: self._margin(name, ours, theirs) for name in COMPARED},
            change=change,
        )

    def _agreement(self, scored: _Scored) -> Agreement:
        drawn = scored.drawn_reference, scored.drawn_scores
        found = coefficients(scored.reference, scored.scores, drawn, self.level, self.metric)
        return {name: getattr(found, name) for name in COMPARED}

    def _margin(self, name: str, ours: _Scored, theirs: _Scored) -> Estimate:
        """How far the ranking is ahead in a statistic; starts and policies are drawn for both.

        The interval is of percentiles: noise of resampling weakens both sides alike.
        """
        count = len(ours.reference)
        if count < FEWEST:
            return Estimate(None, None, f"{count} policies are too few: it takes {FEWEST}")
        turned = 1 if STATISTICS[name].relation else -1  # of MMRV less is better
        values = [self._values(name, s.reference, s.scores) for s in (ours, theirs)]
        value = finite(turned * float(values[0] - values[1]) + 0.0)
        if value is None:
            return Estimate(None, None, "all reference rates are equal")
        policies = self.stream(POLICY_STREAM).integers(count, size=(self.samples, count))
        first, second = (
            self._values(
                name,
                np.take_along_axis(scored.drawn_reference, policies, 1),
                np.take_along_axis(scored.drawn_scores, policies, 1),
            )
            for scored in (ours, theirs)
        )
        distinct = (policies[:, None, :] == np.arange(count)[:, None]).any(axis=2).sum(axis=1)
        drawn = np.where(distinct >= FEWEST, turned * (first - second), np.nan)
        flat = np.ptp(theirs.scores) == 0 and turned > 0
        interval, reason = percentile_interval(drawn, self.level)
        if interval is None:
            return Estimate(value, None, reason)
        interval = min(interval[0], value), max(interval[1], value)
        if flat:  # the ranking's own coefficient is no surer than tests say
            function, point = STATISTICS[name].function, (ours.reference, ours.scores)
            drawn_rates = ours.drawn_reference, ours.drawn_scores
            alone = inverted_estimate(function, point, drawn_rates, self.level, "").interval
            low, high = alone or interval
            interval = min(interval[0], low), max(interval[1], high)
        return Estimate(value, interval)

    def _values(self, name: str, reference: Float, scores: Float) -> Float:
        """A statistic of rates `[..., P]`; a correlation with equal scores is zero."""
        statistic = STATISTICS[name]
        sign = self.metric.sign if statistic.directed else 1
        found = in_chunks(statistic.function)(reference=sign * reference, imagined=sign * scores)
        if not statistic.relation:
            return found
        flat = (np.ptp(scores, axis=-1) == 0) & (np.ptp(reference, axis=-1) > 0)
        return np.where(flat, 0.0, found)

    def _change(self, baseline: BaselineScores) -> Change:
        """From the unchanged reference to the changed one."""
        assert not isinstance(self.reference, LoggedRates)
        both = self.paired(baseline.values, self.reference)
        scored = _Scored.of(both).of_policies(both.ranked)
        names = [both.names[i] for i in np.flatnonzero(both.ranked)]
        by = scored.reference - scored.scores
        drawn = scored.drawn_reference - scored.drawn_scores
        moved = {}
        for i, name in enumerate(names):
            interval, _ = percentile_interval(drawn[:, i], self.level)
            if interval is not None and not interval[0] <= 0 <= interval[1]:
                moved[name] = float(by[i])
        mean = finite(float(by.mean())) if len(by) else None
        if mean is None:
            return Change(Estimate(None, None, "no policy has both rates"), {}, {})
        interval, reason = bootstrap_interval(drawn.mean(axis=1), mean, self.level, (-inf, inf))
        return Change(Estimate(mean, interval, reason), moved, self._agreement(scored))


def compare_baselines(
    reference: ArrayLike | LoggedRates,
    imagined: ArrayLike,
    names: Sequence[str],
    baselines: Sequence[BaselineScores],
    metric: EpisodeMetric,
    *,
    bootstrap_samples: int = 4000,
    level: float = 0.95,
    seed: int = 0,
) -> tuple[BaselineResult, ...]:
    """One row for each baseline.

    Args:
        reference: outcomes `[P, N]`, or logged rates, as `worldsim.ranking.rank.rank` takes them.
        imagined: outcomes `[P, N]`.
        names: P unique names.
        baselines: what they gave, policies in the order of `names`.
        metric: what the outcomes are.
        bootstrap_samples: B.
        level: of all intervals.
        seed: of all resampling; that of the ranking gives its draws of starts.
    """
    known = tuple(map(str, names))
    task = _Comparison(reference, imagined, known, metric, bootstrap_samples, level, seed)
    return tuple(map(task.row, baselines))
