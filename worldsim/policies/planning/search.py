"""Searches for the cheapest action sequence, apart from any model.

A search is told how to score plans and asks for as many scores as its budget has. Registered ones
are named in a planner's config; `random_shooting` and `mppi` stand here, the cross-entropy methods
in `worldsim.policies.planning.cross_entropy`.

Legend: N plans, H steps, A action, M given plans, K elites.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import numpy as np
from numpy.typing import NDArray

from worldsim.config.limits import Count, Positive, at_most, between, more_than
from worldsim.config.values import Checked
from worldsim.errors import UsageError
from worldsim.policies.planning.distributions import (
    Float,
    PlanDistribution,
    Plans,
    plans_about,
)
from worldsim.registry import Registry
from worldsim.spec import ActionSpec

Score = Callable[[Plans], NDArray[np.floating]]
"""From plans `[N, H, A]` to costs `[N]`; less is better."""
Spread = Annotated[float, more_than(0), at_most(1)]


@dataclass(frozen=True, eq=False)
class Found:
    """What a search found.

    Attributes:
        plan: `[H, A]` to be acted on.
        cost: of it.
        elites: `[K, H, A]` the best of the last population, best first.
        scored: plans that were scored.
        given: `[M]` costs of the plans that it was given.
        history: best cost after each population.
    """

    plan: Plans
    cost: float
    elites: Plans
    scored: int
    given: Float
    history: tuple[float, ...]


class Tally:
    """Scores plans, counts them, and keeps the best.

    Args:
        score: of the problem.
    """

    def __init__(self, score: Score) -> None:
        self._score = score
        self.scored = 0
        self.best: Plans | None = None
        self.cost = np.inf
        self.history: list[float] = []

    def costs(self, plans: Plans) -> Float:
        """Costs `[N]` of a population; what has none counts as infinitely dear.

        Raises:
            UsageError: the score has another shape, or none of them has a cost.
        """
        costs = self._counted(plans)
        if not np.isfinite(costs).any():
            raise UsageError(
                f"none of {len(plans)} plans has a finite cost; see the planner's cost"
            )
        self.history.append(self.cost)
        return costs

    def _counted(self, plans: Plans) -> Float:
        costs = np.asarray(self._score(plans), np.float64)
        if costs.shape != (len(plans),):
            raise UsageError(f"costs have shape {costs.shape}, expected [{len(plans)}]")
        self.scored += len(plans)
        costs = np.where(np.isnan(costs), np.inf, costs)
        first = int(costs.argmin())
        if costs[first] < self.cost:
            self.best, self.cost = plans[first].copy(), float(costs[first])
        return costs

    def found(self, elites: Plans, given: Float, plan: Plans | None = None) -> Found:
        """The result: the best plan that was scored, or `plan`, which is scored for it.

        A plan that proves to have no cost gives way to the best.
        """
        chosen, cost = self.best, self.cost
        if plan is not None:
            own = self._counted(plan[None])[0]
            chosen, cost = (plan, float(own)) if np.isfinite(own) else (chosen, cost)
        assert chosen is not None
        return Found(chosen, cost, elites, self.scored, given, tuple(self.history))


@dataclass(frozen=True)
class Search(Checked):
    """Base of all searches. A new one derives from it, with `_search`, and is filed in `SEARCHES`.

    Attributes:
        candidates: N, plans of a population.
        iterations: populations.
        spread: how widely it begins to search; see `plans_about`.
    """

    candidates: Count = 64
    iterations: Count = 3
    spread: Spread = 0.5

    def run(
        self,
        score: Score,
        action: ActionSpec,
        horizon: int,
        rng: np.random.Generator,
        given: Plans | None = None,
    ) -> Found:
        """Look for the cheapest plan.

        Args:
            score: of plans.
            action: limits or choices.
            horizon: H, at least 1.
            rng: every draw is of it.
            given: `[M, H, A]` plans that are scored beside the drawn ones; the first is the middle
                of the search. They take the places of draws, so that the budget stays.

        Raises:
            UsageError: plans are given in another shape, or costs are none.
        """
        if given is None or not len(given):
            begun = plans_about(action, horizon, self.spread, None)
            return self._search(Tally(score), begun, None, rng)
        if given.shape[1:] != (horizon, action.dim) or len(given) > self.candidates:
            raise UsageError(
                f"plans of shape {given.shape} were given, expected at most {self.candidates} of "
                f"[{horizon}, {action.dim}]"
            )
        begun = plans_about(action, horizon, self.spread, given[0])
        return self._search(Tally(score), begun, given, rng)

    def _search(
        self,
        tally: Tally,
        begun: PlanDistribution,
        given: Plans | None,
        rng: np.random.Generator,
    ) -> Found:
        raise NotImplementedError


SEARCHES: Registry[type[Search]] = Registry("planning search")


def with_given(given: Plans | None, drawn: Plans) -> tuple[Plans, int]:
    """A population of as many plans as were drawn, given ones first; and how many these are."""
    if given is None or not len(given):
        return drawn, 0
    return np.concatenate([given, drawn])[: max(len(drawn), len(given))], len(given)


@SEARCHES.register("random_shooting")
@dataclass(frozen=True)
class RandomShooting(Search):
    """The best of independent draws: of all plans, or about the first given one."""

    def _search(
        self,
        tally: Tally,
        begun: PlanDistribution,
        given: Plans | None,
        rng: np.random.Generator,
    ) -> Found:
        told: Float = np.zeros(0)
        for iteration in range(self.iterations):
            draw = begun.anywhere if given is None else begun.draw
            first = given if iteration == 0 else None
            plans, count = with_given(first, draw(rng, self.candidates))
            costs = tally.costs(plans)
            told = costs[:count] if iteration == 0 else told
        assert tally.best is not None
        return tally.found(tally.best[None], told)


def path_integral_weights(costs: Float, temperature: float) -> Float:
    """Weights `[N]` that add up to 1, of costs `[N]` (Williams et al., ICRA 2017).

    Args:
        costs: at least one is finite; infinite ones weigh nothing.
        temperature: difference of costs that makes a plan weigh e times as much.
    """
    weights = np.exp(-(costs - costs.min()) / temperature)
    return np.asarray(weights / weights.sum())


@SEARCHES.register("mppi")
@dataclass(frozen=True)
class Mppi(Search):
    """Model predictive path integral control (MPPI; Williams et al., ICRA 2017).

    The mean of all plans by their weights; widths stay. The paper's own cost of controls is left
    to the problem's. Its plan is a mean, so it can cost more than the best that was drawn.

    Attributes:
        temperature: see `path_integral_weights`, in units of the cost.
        colour: of the noise in time; see `coloured_noise`.
    """

    temperature: Positive = 0.1
    colour: Annotated[float, between(0, 4)] = 0.0

    def _search(
        self,
        tally: Tally,
        begun: PlanDistribution,
        given: Plans | None,
        rng: np.random.Generator,
    ) -> Found:
        now, told, best = begun, np.zeros(0), begun.plan
        for iteration in range(self.iterations):
            first = given if iteration == 0 else None
            plans, count = with_given(first, now.draw(rng, self.candidates, self.colour))
            costs = tally.costs(plans)
            told = costs[:count] if iteration == 0 else told
            now = now.moved(plans, path_integral_weights(costs, self.temperature))
            best = plans[costs.argmin()]
        return tally.found(best[None], told, now.plan)
