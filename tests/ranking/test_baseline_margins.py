"""Baselines against the reference and the ranking: closed forms, invariances, false claims."""

import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from worldsim.ranking.baseline_rows import BaselineResult, baseline_notes
from worldsim.ranking.baselines import BaselineScores, compare_baselines
from worldsim.ranking.correlation import kendall, mmrv, pearson
from worldsim.ranking.rank import rank
from worldsim.ranking.rates import PairedRates, paired_rates
from worldsim.rollout.baselines import Scores
from worldsim.rollout.episodes import METRICS
from worldsim.rollout.logged import LoggedRate, LoggedRates

Float = NDArray[Any]
NAMES = ("d", "b", "a", "e", "c", "f")
"""Not in the order of the alphabet, in which results are held."""
STARTS = 40
TRUE = np.array([0.1, 0.3, 0.45, 0.6, 0.75, 0.95])


def outcomes(rates: Float, starts: int = STARTS) -> Float:
    """Outcomes with exactly these rates, the same starts being the hard ones for all."""
    return (np.arange(starts) < np.round(rates * starts)[:, None]).astype(float)


def compared(
    values: Float,
    scores: Scores = "outcomes",
    *,
    reference: Any = None,
    imagined: Float | None = None,
    metric: str = "success",
    samples: int = 300,
    only: tuple[str, ...] | None = None,
    names: tuple[str, ...] = NAMES,
    seed: int = 0,
) -> BaselineResult:
    truth = outcomes(TRUE) if reference is None else reference
    ours = outcomes(TRUE) if imagined is None else imagined
    row = BaselineScores("made up", "numbers", scores, np.asarray(values, float), only)
    (found,) = compare_baselines(
        truth, ours, names, [row], METRICS.get(metric), bootstrap_samples=samples, seed=seed
    )
    json.dumps(found.to_json(), allow_nan=False)
    return found


def test_equal_scores_order_nothing_and_leave_the_whole_coefficient_as_margin() -> None:
    imagined = outcomes(TRUE[[0, 1, 3, 2, 4, 5]])
    row = compared(np.zeros((6, STARTS)), imagined=imagined)
    alone = rank(outcomes(TRUE), imagined, NAMES, bootstrap_samples=300)
    assert row.agreement["pearson"].value is None and row.agreement["pearson"].reason
    for name in ("pearson", "spearman", "kendall"):
        ours, margin = getattr(alone.coefficients, name), row.margins[name]
        assert margin.value == pytest.approx(ours.value) and margin.interval is not None
        # No surer than the ranking's own coefficient.
        assert margin.interval[0] <= ours.interval[0] and margin.interval[1] <= 1.0
    flat = np.zeros(6)
    gap = mmrv(reference=TRUE, imagined=flat) - mmrv(reference=TRUE, imagined=imagined.mean(1))
    assert row.margins["mmrv"].value == pytest.approx(float(gap), abs=0.02)  # rates on a lattice
    assert "all its scores are 0.00" in baseline_notes([row])[0]


def test_the_rankings_own_rates_are_drawn_once_for_all_rows(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    drawn = []

    def counted(*arguments: Any) -> PairedRates:
        drawn.append(arguments[1])
        return paired_rates(*arguments)

    monkeypatch.setattr("worldsim.ranking.baselines.paired_rates", counted)
    truth, ours, theirs = (outcomes(TRUE[order]) for order in ([0, 1, 2, 3, 4, 5],) * 3)
    rows = [BaselineScores(name, "numbers", "outcomes", theirs) for name in "xyz"]
    rows.append(BaselineScores("e", "errors", "errors", theirs))
    found = compare_baselines(truth, ours, NAMES, rows, METRICS.get("success"))
    assert sum(given is ours for given in drawn) == 1 and len(drawn) == 4
    assert found[0].margins == found[2].margins


def test_a_baseline_that_says_what_imagination_says_is_not_beaten() -> None:
    imagined = outcomes(TRUE[[1, 0, 2, 3, 5, 4]])
    row = compared(imagined, imagined=imagined)
    for margin in row.margins.values():
        assert margin.value == 0 and margin.interval == (0.0, 0.0)
    assert row.beaten == () and "does not clearly beat" in baseline_notes([row])[0]


def test_a_reversed_baseline_is_two_correlations_behind() -> None:
    row = compared(outcomes(TRUE[::-1]))
    reversed_r = float(pearson(reference=TRUE, imagined=TRUE[::-1]))
    assert row.agreement["pearson"].value == pytest.approx(reversed_r, abs=0.01)
    assert row.margins["pearson"].value == pytest.approx(1 - reversed_r, abs=0.01)
    assert row.margins["kendall"].value == pytest.approx(2)
    assert row.beaten == ("pearson", "spearman", "kendall", "mmrv")


@pytest.mark.parametrize("metric", ["success", "steps_to_success"])
def test_less_action_error_counts_for_a_policy_whatever_the_metric(metric: str) -> None:
    errors = np.repeat(1 - TRUE[:, None], 9, axis=1)
    reference = outcomes(TRUE) if metric == "success" else 30 - 20 * outcomes(TRUE)
    row = compared(errors, "errors", reference=reference, imagined=reference, metric=metric)
    assert row.agreement["pearson"].value == pytest.approx(1, abs=1e-3)
    assert row.agreement["mmrv"].value == 0 and row.margins["mmrv"].value == 0
    assert row.policies == pytest.approx(dict(zip(NAMES, 1 - TRUE, strict=True)))
    backward = compared(
        1 - errors, "errors", reference=reference, imagined=reference, metric=metric
    )
    assert backward.agreement["pearson"].value == pytest.approx(-1, abs=1e-3)


def test_a_row_of_some_policies_is_that_of_a_ranking_of_them_alone() -> None:
    rng = np.random.default_rng(3)
    values = rng.random((6, STARTS)) < TRUE[:, None]
    kept = ("a", "c", "d", "e")
    index = [NAMES.index(name) for name in kept]
    some = compared(values, only=kept)
    alone = compared(
        values[index],
        reference=outcomes(TRUE)[index],
        imagined=outcomes(TRUE)[index],
        names=kept,
    )
    assert list(some.policies) == sorted(kept)
    assert some == alone


def test_the_order_of_policies_changes_nothing() -> None:
    rng = np.random.default_rng(4)
    values, order = rng.random((6, STARTS)) < TRUE[:, None], rng.permutation(6)
    moved = compared(
        values[order],
        reference=outcomes(TRUE)[order],
        imagined=outcomes(TRUE)[order],
        names=tuple(NAMES[i] for i in order),
    )
    assert moved == compared(values)


def test_policies_without_a_score_are_left_out() -> None:
    values = outcomes(TRUE)
    values[0] = np.nan
    row = compared(values)
    assert sorted(row.policies) == sorted(NAMES[1:])
    two = compared(values, only=NAMES[:3])
    assert two.margins["pearson"].value is None and "too few" in str(two.margins["pearson"].reason)
    assert "no comparison" in baseline_notes([two])[0]


def test_an_unchanged_simulator_leaves_nothing_to_follow() -> None:
    row = compared(outcomes(TRUE), "reference")
    assert row.change is not None and row.change.moved == {} and row.change.mean.value == 0
    assert row.change.agreement["kendall"].value == 1
    assert row.margins["pearson"].value == 0
    assert "nothing to follow" in baseline_notes([row])[0]


def test_a_change_that_turns_the_order_is_not_followed() -> None:
    row = compared(outcomes(TRUE[::-1]), "reference", imagined=outcomes(TRUE))
    assert row.change is not None
    expected = {n: float(by) for n, by in zip(NAMES, TRUE[::-1] - TRUE, strict=True)}
    assert row.change.moved == pytest.approx(expected, abs=1 / STARTS)
    assert row.change.mean.value == pytest.approx(0, abs=1e-9)
    assert row.change.agreement["kendall"].value == -1
    assert row.agreement["kendall"].value == -1 and row.margins["kendall"].value == 2
    assert row.policies["f"] == pytest.approx(TRUE[0])
    assert "does not follow" in baseline_notes([row])[0]


def test_logged_rates_have_baselines_too() -> None:
    rows = [LoggedRate(n, float(t), 40) for n, t in zip(NAMES, TRUE, strict=True)]
    logged = LoggedRates(tuple(rows))
    row = compared(outcomes(TRUE[::-1]), reference=logged)
    assert row.agreement["kendall"].value == -1 and row.margins["kendall"].value == 2
    same = compared(outcomes(TRUE), reference=logged)
    assert same.margins["pearson"].interval == (0.0, 0.0)


@pytest.mark.parametrize("scores", ["outcomes", "errors"])
def test_an_equally_good_baseline_is_seldom_called_beaten(scores: Scores) -> None:
    """Imagination and baseline err alike, so a claim either way is a false one."""
    claims = 0
    for seed in range(30):
        rng = np.random.default_rng(seed)
        pull = rng.normal(0, 0.15, (2, 8))
        true = rng.uniform(0.1, 0.9, 8)
        worlds = [np.clip(true + by, 0.02, 0.98) for by in pull]
        draws = [rng.random((8, 48)) < rate[:, None] for rate in (true, *worlds)]
        values = draws[2] if scores == "outcomes" else 1.0 - draws[2]
        row = compared(
            values,
            scores,
            reference=draws[0],
            imagined=draws[1],
            names=tuple(f"p{i}" for i in range(8)),
            samples=150,
        )
        interval = row.margins["kendall"].interval
        assert interval is not None
        claims += interval[0] > 0 or interval[1] < 0
    assert claims <= 3  # of 30; at a nominal 5 % more are drawn in one trial of sixteen


def test_a_baseline_that_orders_at_random_is_mostly_found_beaten() -> None:
    found = 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        true = np.linspace(0.05, 0.95, 12)
        draws = [rng.random((12, 48)) < r[:, None] for r in (true, true, rng.permutation(true))]
        names = tuple(f"p{i:02d}" for i in range(12))
        values = draws[2].astype(float)
        row = compared(values, reference=draws[0], imagined=draws[1], names=names, samples=150)
        found += "pearson" in row.beaten
    assert found >= 16


def test_kendall_of_a_margin_is_the_difference_of_both() -> None:
    rng = np.random.default_rng(5)
    ours, theirs = rng.random((2, 6, STARTS)) < TRUE[None, :, None]
    row = compared(theirs, imagined=ours.astype(float))
    truth = outcomes(TRUE).mean(1)
    expected = kendall(reference=truth, imagined=ours.mean(1)) - kendall(
        reference=truth, imagined=theirs.mean(1)
    )
    assert row.margins["kendall"].value == pytest.approx(float(expected))
