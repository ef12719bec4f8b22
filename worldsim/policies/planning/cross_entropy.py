"""Cross-entropy searches: draw plans, keep the best, draw about those.

Legend: N plans, H steps, A action, K elites.
"""

from dataclasses import dataclass
from typing import Annotated

import numpy as np

from worldsim.config.limits import Count, Fraction, Share, at_least, between
from worldsim.errors import UsageError
from worldsim.policies.planning.distributions import Float, PlanDistribution, Plans
from worldsim.policies.planning.search import SEARCHES, Found, Search, Tally, with_given


@SEARCHES.register("cem")
@dataclass(frozen=True)
class CrossEntropy(Search):
    """The cross-entropy method (Rubinstein 1999; as PlaNet plans, 1811.04551, algorithm 2).

    Its plan is the mean of the last elites; of choices, the likeliest ones.

    Attributes:
        elites: K, plans of a population that the next one is fitted to.
        inertia: share of the last distribution that stays.
    """

    elites: Count = 8
    inertia: Fraction = 0.1

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.elites > self.candidates:
            raise UsageError(
                f"elites is {self.elites}; expected at most candidates, which is {self.candidates}"
            )

    def _elites(self, plans: Plans, costs: Float) -> Plans:
        """The K best, best first; fewer where others have no cost."""
        order = np.argsort(costs, kind="stable")[: self.elites]
        return plans[order[np.isfinite(costs[order])]]

    def _fitted(self, now: PlanDistribution, elites: Plans) -> PlanDistribution:
        return now.fitted(elites, np.full(len(elites), 1.0 / len(elites)), self.inertia)

    def _search(
        self,
        tally: Tally,
        begun: PlanDistribution,
        given: Plans | None,
        rng: np.random.Generator,
    ) -> Found:
        now, told, elites = begun, np.zeros(0), begun.plan[None]
        for iteration in range(self.iterations):
            first = given if iteration == 0 else None
            plans, count = with_given(first, now.draw(rng, self.candidates))
            costs = tally.costs(plans)
            told = costs[:count] if iteration == 0 else told
            elites = self._elites(plans, costs)
            now = self._fitted(now, elites)
        return tally.found(elites, told, now.plan)


@SEARCHES.register("icem")
@dataclass(frozen=True)
class ImprovedCrossEntropy(CrossEntropy):
    """iCEM (Pinneri et al., 2008.06389): coloured noise, elites kept, populations that shrink.

    Its plan is the best that was scored. Elites of the last decision, moved on by its steps, are
    given to it by the planner.

    Attributes:
        colour: of the noise in time; see `coloured_noise`.
        decay: factor by which each population is smaller than the one before.
        keep: share of the elites that the next population holds again.
    """

    colour: Annotated[float, between(0, 4)] = 2.0
    decay: Annotated[float, at_least(1)] = 1.25
    keep: Share = 0.3

    def _search(
        self,
        tally: Tally,
        begun: PlanDistribution,
        given: Plans | None,
        rng: np.random.Generator,
    ) -> Found:
        now, told, elites, kept = begun, np.zeros(0), begun.plan[None], given
        for iteration in range(self.iterations):
            size = max(int(self.candidates * self.decay**-iteration), 2 * self.elites)
            if iteration and iteration + 1 == self.iterations:
                kept = now.plan[None] if kept is None else np.concatenate([kept, now.plan[None]])
            drawn = now.draw(rng, min(size, self.candidates), self.colour)
            plans, count = with_given(kept, drawn)
            costs = tally.costs(plans)
            told = costs[:count] if iteration == 0 else told
            elites = self._elites(plans, costs)
            now = self._fitted(now, elites)
            kept = elites[: int(np.ceil(self.keep * len(elites)))]
        return tally.found(elites, told)
