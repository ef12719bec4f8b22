"""Searches over action sequences, against problems whose answer is known."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from worldsim.errors import UsageError
from worldsim.policies.planning.cross_entropy import CrossEntropy, ImprovedCrossEntropy
from worldsim.policies.planning.distributions import (
    ChoicePlans,
    GaussianPlans,
    Plans,
    coloured_noise,
    plans_about,
)
from worldsim.policies.planning.search import (
    SEARCHES,
    Mppi,
    RandomShooting,
    Search,
    path_integral_weights,
)
from worldsim.spec import ActionSpec, discrete_actions

H, A = 12, 2
BOX = ActionSpec(("x", "y"), (-1.0, -1.0), (1.0, 1.0), ("m", "m"), (1.0, 1.0))
MOVES = discrete_actions(("stop", "forward", "left", "right"))
SMOOTH = np.stack([np.sin(np.arange(H) / 4), 0.5 * np.cos(np.arange(H) / 5)], axis=1)
"""The optimum `[H, A]` of `quadratic`."""

Problem = Callable[[Plans], NDArray[np.float64]]


def quadratic(plans: Plans) -> NDArray[np.float64]:
    return np.asarray(np.square(plans - SMOOTH).sum(axis=(1, 2)))


WORD = np.array([1, 1, 2, 0, 3, 3, 1, 0, 2, 2, 1, 0])


def misspelt(plans: Plans) -> NDArray[np.float64]:
    """How many of the choices are not those of `WORD`."""
    return np.asarray((plans.argmax(axis=-1) != WORD).sum(axis=1), float)


def run(
    search: Search, problem: Problem, action: ActionSpec = BOX, seed: int = 0, **more: Any
) -> Any:
    return search.run(problem, action, H, np.random.default_rng(seed), **more)


def mean_cost(search: Search, problem: Problem, seeds: int = 12) -> float:
    return float(np.mean([run(search, problem, seed=seed).cost for seed in range(seeds)]))


def test_white_and_coloured_noise_have_unit_variance_and_their_spectrum() -> None:
    rng = np.random.default_rng(0)
    for length in (1, 2, 7, 12):
        for colour in (0.0, 1.0, 2.5):
            noise = coloured_noise(rng, (20000, length), colour)
            assert noise.shape == (20000, length)
            np.testing.assert_allclose(noise.var(axis=0), 1.0, atol=0.06)
    power = np.square(np.abs(np.fft.rfft(coloured_noise(rng, (40000, 16), 2.0)))).mean(axis=0)
    np.testing.assert_allclose(power[1:-1] / power[2], (2 / np.arange(1, 8)) ** 2.0, rtol=0.06)
    white = coloured_noise(rng, (40000, 6), 0.0)
    np.testing.assert_allclose(np.cov(white.T), np.eye(6), atol=0.03)
    red = coloured_noise(rng, (40000, 6), 2.0)
    neighbours = (72 + 144 * 0.5 - 36 * 0.5 - 8) / (72 + 144 + 36 + 8)  # powers 1/f^2 by hand
    np.testing.assert_allclose(np.cov(red.T)[range(5), range(1, 6)], neighbours, atol=0.02)


def test_a_fit_is_the_weighted_mean_and_width_of_the_plans() -> None:
    rng = np.random.default_rng(1)
    plans = rng.uniform(-1, 1, (5, H, A)).astype(np.float32)
    weights = np.array([0.4, 0.3, 0.1, 0.1, 0.1])
    begun = plans_about(BOX, H, 0.5, None)
    assert isinstance(begun, GaussianPlans)
    fitted = begun.fitted(plans, weights, 0.25)
    mean = sum(w * p.astype(float) for w, p in zip(weights, plans, strict=True))
    var = sum(w * (p - mean) ** 2 for w, p in zip(weights, plans, strict=True))
    np.testing.assert_allclose(fitted.mean, 0.75 * mean, atol=1e-6)
    np.testing.assert_allclose(fitted.std, 0.25 * 0.5 + 0.75 * np.sqrt(var), atol=1e-6)
    alone = begun.fitted(plans[:1], np.ones(1), 0.0)
    assert (alone.std > 0).all(), "a distribution that has no width finds nothing more"


def test_a_fit_of_choices_is_how_often_they_were_made() -> None:
    begun = plans_about(MOVES, H, 0.5, None)
    assert isinstance(begun, ChoicePlans)
    rng = np.random.default_rng(2)
    plans = begun.draw(rng, 4000)
    assert (plans.sum(axis=-1) == 1).all()
    np.testing.assert_allclose(plans.mean(axis=0), 0.25, atol=0.04)
    fitted = begun.fitted(plans[:4], np.full(4, 0.25), 0.0)
    shares = plans[:4].mean(axis=0)
    np.testing.assert_allclose(fitted.probability, 0.98 * shares + 0.02 * 0.25, atol=1e-6)
    drawn = fitted.draw(rng, 8000).mean(axis=0)
    np.testing.assert_allclose(drawn, fitted.probability, atol=0.03)


def test_coloured_choices_are_held_longer_and_are_as_likely() -> None:
    begun, rng = plans_about(MOVES, H, 0.5, None), np.random.default_rng(3)

    def held(colour: float) -> float:
        chosen = begun.draw(rng, 4000, colour).argmax(axis=-1)
        np.testing.assert_allclose(np.bincount(chosen.ravel()) / chosen.size, 0.25, atol=0.02)
        return float((chosen[:, 1:] == chosen[:, :-1]).mean())

    assert held(0.0) == pytest.approx(0.25, abs=0.02)
    assert held(2.0) > 0.4


def test_mppi_weights_in_closed_form() -> None:
    costs = np.array([3.0, 1.0, 2.0, np.inf])
    weights = path_integral_weights(costs, 0.5)
    np.testing.assert_allclose(
        weights, np.array([np.exp(-4), 1, np.exp(-2), 0]) / (1 + np.exp(-4) + np.exp(-2))
    )
    np.testing.assert_allclose(path_integral_weights(costs[:3] + 1e6, 0.5), weights[:3], atol=1e-9)
    np.testing.assert_allclose(path_integral_weights(costs[:3], 1e9), 1 / 3, atol=1e-6)


def test_one_iteration_of_mppi_is_the_weighted_mean_of_what_was_scored() -> None:
    seen: list[Plans] = []

    def noted(plans: Plans) -> NDArray[np.float64]:
        seen.append(plans)
        return quadratic(plans)

    found = run(Mppi(candidates=50, iterations=1, temperature=2.0), noted)
    weights = path_integral_weights(quadratic(seen[0]), 2.0)
    np.testing.assert_allclose(found.plan, np.tensordot(weights, seen[0], 1), atol=1e-6)
    assert found.cost == pytest.approx(float(quadratic(found.plan[None])[0]))


def test_mppi_of_a_gaussian_and_a_quadratic_meets_the_posterior_mean() -> None:
    """exp(-(x - c)^2 / T) times a normal density of width s has its mean at c / (1 + T / 2 s^2)."""
    centre, spread, temperature = 0.2, 0.25, 0.1

    def far(plans: Plans) -> NDArray[np.float64]:
        return np.asarray(np.square(plans[:, 0, 0] - centre), np.float64)

    search = Mppi(candidates=100000, iterations=1, temperature=temperature, spread=spread)
    found = search.run(far, BOX, 1, np.random.default_rng(0))
    expected = centre / (1 + temperature / (2 * spread**2))
    assert found.plan[0, 0] == pytest.approx(expected, abs=0.004)
    assert found.plan[0, 1] == pytest.approx(0.0, abs=0.01)


@pytest.mark.parametrize("name", ["cem", "icem"])
def test_cross_entropy_finds_the_optimum_of_a_quadratic(name: str) -> None:
    search = SEARCHES.get(name)(candidates=200, iterations=30)
    found = run(search, quadratic)
    np.testing.assert_allclose(found.plan, SMOOTH, atol=0.12)
    assert found.cost < 0.1 < float(quadratic(np.zeros((1, H, A), np.float32))[0])


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_more_budget_finds_better_plans(name: str) -> None:
    make = SEARCHES.get(name)
    costs = [
        mean_cost(make(candidates=n, iterations=i), quadratic)
        for n, i in [(16, 1), (64, 4), (256, 8)]
    ]
    assert costs[0] > costs[1] > costs[2]


@pytest.mark.parametrize("name", sorted(SEARCHES))
def test_history_and_budget_are_told(name: str) -> None:
    counted = 0

    def noted(plans: Plans) -> NDArray[np.float64]:
        nonlocal counted
        counted += len(plans)
        assert (np.abs(plans) <= 1).all() and plans.dtype == np.float32
        return quadratic(plans)

    found = run(SEARCHES.get(name)(candidates=20, iterations=3), noted)
    assert found.scored == counted <= 61
    assert list(found.history) == sorted(found.history, reverse=True)
    again = run(SEARCHES.get(name)(candidates=20, iterations=3), quadratic)
    np.testing.assert_array_equal(again.plan, found.plan)


def test_icem_beats_cem_at_equal_budget_where_the_optimum_is_smooth() -> None:
    icem = ImprovedCrossEntropy(candidates=40, iterations=3)
    budget = run(icem, quadratic).scored
    cem = CrossEntropy(candidates=budget // 3 + 1, iterations=3)
    assert run(cem, quadratic).scored >= budget
    white = ImprovedCrossEntropy(candidates=40, iterations=3, colour=0.0)
    coloured = mean_cost(icem, quadratic, 20)
    assert coloured < 0.8 * mean_cost(cem, quadratic, 20)
    assert coloured < 0.8 * mean_cost(white, quadratic, 20), "by its noise"


@pytest.mark.parametrize("name", ["cem", "icem", "mppi"])
def test_choices_are_found(name: str) -> None:
    options = {"temperature": 0.3} if name == "mppi" else {"elites": 20}
    found = run(SEARCHES.get(name)(candidates=200, iterations=12, **options), misspelt, MOVES)
    assert (found.plan.sum(axis=-1) == 1).all()
    assert found.cost <= 1


@pytest.mark.parametrize("name", sorted(SEARCHES))
@pytest.mark.parametrize("action", [BOX, MOVES], ids=["box", "choices"])
def test_given_plans_are_scored_and_lead(name: str, action: ActionSpec) -> None:
    box = action is BOX
    problem: Problem = quadratic if box else misspelt
    best = SMOOTH.clip(-1, 1) if box else np.eye(4)[WORD]
    worse = np.zeros((H, A)) if box else np.eye(4)[(WORD + 1) % 4]
    given = np.stack([best, worse]).astype(np.float32)
    search = SEARCHES.get(name)(candidates=30, iterations=2, spread=0.1)
    found = run(search, problem, action, given=given)
    np.testing.assert_allclose(found.given, problem(given))
    cold = run(SEARCHES.get(name)(candidates=30, iterations=2), problem, action)
    assert found.cost < cold.cost
    if name in ("icem", "random_shooting"):
        assert found.cost <= found.given.min(), "the best that was scored is kept"


def test_costs_that_are_none_lose_and_all_of_them_are_refused() -> None:
    def broken(plans: Plans) -> NDArray[np.float64]:
        return np.where(np.arange(len(plans)) == 3, quadratic(plans), np.nan)

    found = run(CrossEntropy(candidates=10, iterations=1, elites=4), broken)
    assert np.isfinite(found.history[0]) and len(found.elites) == 1
    with pytest.raises(UsageError, match="finite cost"):
        run(RandomShooting(), lambda plans: np.full(len(plans), np.nan))
    with pytest.raises(UsageError, match=r"costs have shape"):
        run(RandomShooting(), lambda plans: np.zeros((len(plans), 2)))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"candidates": 0}, "candidates is 0; expected a whole number from 1"),
        ({"iterations": 0}, "iterations is 0; expected a whole number from 1"),
        ({"spread": 0.0}, "spread is 0.0"),
        ({"candidates": 4, "elites": 5}, "elites is 5; expected at most candidates, which is 4"),
    ],
)
def test_budgets_of_nothing_are_refused(options: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        ImprovedCrossEntropy(**options)


def test_plans_of_another_shape_and_actions_without_limits_are_refused() -> None:
    with pytest.raises(UsageError, match="were given"):
        run(RandomShooting(), quadratic, given=np.zeros((1, H + 1, A), np.float32))
    wild = ActionSpec(("x",), (-np.inf,), (np.inf,), ("m",), (1.0,))
    with pytest.raises(UsageError, match="limits"):
        run(RandomShooting(), quadratic, wild)
