"""A judge measured on policies and starts that are not ranked: rates, refusals, kept results."""

import json
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import OmegaConf
from rank_testing import POLICIES, rank_config, save_nano_run
from ranking_testing import made_up_batch

from worldsim.cli import rank
from worldsim.errors import UsageError
from worldsim.ranking.clustered import FEWEST, ClusteredRate, effective_size
from worldsim.ranking.judge_validation import JudgeValidation, RankedRate
from worldsim.rollout.episodes import RolloutBatch, Trajectory
from worldsim.rollout.eval_config import EvalConfig, RankingOptions, StartPlan
from worldsim.rollout.judge_validation import validation_of
from worldsim.rollout.start_blocks import StartBlocks

BLOCKS = StartBlocks.configured()
OTHERS = {"slower": {"kind": "random", "hold": 5}, "mid": {"kind": "random", "hold": 3}}


def measured(won: Any, said: Any) -> JudgeValidation:
    """Of one-step episodes `[P, N]` in both worlds."""
    worlds = [
        [made_up_batch(f"policy {i}", world, row) for i, row in enumerate(np.asarray(rows))]
        for world, rows in (("simulator", won), ("imagination", said))
    ]
    return JudgeValidation.of(worlds[0], worlds[1], 0.95)


def test_rates_are_shares_of_simulated_outcomes() -> None:
    won = [[1] * 12 + [0] * 8, [0] * 20]
    said = [[1] * 9 + [0] * 3 + [1, 1] + [0] * 6, [1] + [0] * 19]
    found = measured(won, said)
    assert (found.whole.tpr.right, found.whole.tpr.asked) == (9, 12)
    assert (found.whole.tnr.right, found.whole.tnr.asked) == (25, 28)
    assert found.policies["policy 1"].tnr.right == 19
    low, high = found.whole.tpr.estimate.interval or (1.0, 0.0)
    assert low < 9 / 12 < high
    assert found.reason is None and found.to_json()["usable"]


def test_of_too_few_outcomes_nothing_is_said_and_nothing_corrected() -> None:
    won = np.zeros((2, 20))
    won[0, : FEWEST - 1] = 1
    found = measured(won, won).correcting({"a": RankedRate(3, 10, 0.5)}, 100, 0.95, 0)
    assert "not measured: 9 validation episodes end in success" in str(found.reason)
    assert found.whole.tpr.estimate.value is None and found.whole.tnr.estimate.value == 1
    assert found.corrected["a"].value is None and found.corrected["a"].reason == found.reason
    assert "No rate is corrected" in found.notes()[0]
    assert found.to_json()["by_horizon"][-1]["tpr"]["value"] is None


def test_imagination_that_is_blind_to_the_outcome_corrects_nothing() -> None:
    won = np.tile([1, 1, 0, 0], (3, 10))
    said = np.tile([1, 0, 1, 0], (3, 10))
    found = measured(won, said)
    assert found.p_value is not None and found.p_value > 0.4
    assert "not shown to tell success from failure" in str(found.reason)


def test_correction_takes_out_errors_that_hang_on_the_outcome_alone() -> None:
    rng = np.random.default_rng(0)

    def imagined(won: np.ndarray) -> np.ndarray:
        return np.where(won, rng.random(won.shape) < 0.8, rng.random(won.shape) < 0.3)

    won = rng.random((6, 400)) < np.array([0.2, 0.4, 0.5, 0.6, 0.8, 0.9])[:, None]
    found = measured(won, imagined(won))
    true = rng.random((4, 4000)) < np.array([0.1, 0.35, 0.6, 0.95])[:, None]
    seen = imagined(true)
    ranked = {
        str(i): RankedRate(float(seen[i].sum()), seen.shape[1], float(true[i].mean()))
        for i in range(len(true))
    }
    corrected = found.correcting(ranked, 2000, 0.95, 0)
    for i in range(len(true)):
        value, interval = corrected.corrected[str(i)].value, corrected.corrected[str(i)].interval
        assert value is not None and interval is not None
        assert abs(value - true[i].mean()) < 0.06
        assert interval[0] <= true[i].mean() <= interval[1]
    assert corrected.mean_errors is not None
    assert corrected.mean_errors[1] < corrected.mean_errors[0] / 2


def test_rates_that_the_measured_errors_cannot_give_are_no_surer_for_being_corrected() -> None:
    won = np.tile([1] * 20 + [0] * 20, (3, 1))
    said = np.where(won, np.tile([1, 1, 1, 0], 10), np.tile([0, 0, 0, 1], 10))
    ranked = {"all": RankedRate(24, 24, 1.0), "half": RankedRate(12, 24, 0.5)}
    found = measured(won, said).correcting(ranked, 500, 0.95, 0).corrected
    assert found["all"].value == 1 and "beyond what" in str(found["all"].reason)
    assert found["all"].interval == pytest.approx((0.862, 1.0), abs=1e-3)  # Wilson's of 24/24
    assert found["half"].value == pytest.approx(0.5) and found["half"].reason is None


def test_alike_episodes_count_for_fewer() -> None:
    rng = np.random.default_rng(0)
    everywhere = np.ones((6, 200), bool)
    alone = rng.random((6, 200)) < 0.7
    assert 0.75 * 1200 < effective_size(alone, everywhere) <= 1200
    # Of a start that is right for all policies or for none, six episodes say what one does.
    by_start = np.broadcast_to(rng.random(200) < 0.7, (6, 200))
    assert effective_size(by_start, everywhere) == pytest.approx(200, rel=0.05)
    by_policy = np.broadcast_to((np.arange(6) < 3)[:, None], (6, 200))
    assert effective_size(by_policy, everywhere) < 8
    assert effective_size(everywhere, everywhere) == 1200
    assert effective_size(alone, ~everywhere) == 0


@pytest.mark.parametrize(
    ("by_start", "by_policy", "least"), [(0, 0, 0.94), (0.2, 0, 0.93), (0, 0.15, 0.87)]
)
def test_intervals_cover_shares_of_episodes_that_are_alike(
    by_start: float, by_policy: float, least: float
) -> None:
    """Nominal .95; a probability of .75 is more or less by so much for each start and policy. Six
    policies that differ are too few to know by how much."""
    rng, covered = np.random.default_rng(0), []
    everywhere = np.ones((6, 40), bool)
    for _ in range(600):
        chance = 0.75 + by_start * rng.choice([-1, 1], 40)
        chance = chance + by_policy * rng.choice([-1, 1], (6, 1))
        rate = ClusteredRate.of(rng.random((6, 40)) < chance, everywhere, 0.95)
        low, high = rate.estimate.interval or (1.0, 0.0)
        covered.append(low <= 0.75 <= high)
    assert least <= np.mean(covered) <= 0.985


def long_batch(world: str, first: list[int | None], steps: int) -> RolloutBatch:
    """Episodes of `steps` that succeed at the given step, if at all, and end there."""
    made = []
    for at in first:
        length = steps if at is None else at
        won = np.zeros(length + 1, bool)
        won[length] = at is not None
        agent, action = np.zeros((length + 1, 1), np.float32), np.zeros((length, 1), np.float32)
        made.append(Trajectory(agent, action, won))
    ids, errors = tuple(range(len(made))), (None,) * len(made)
    return RolloutBatch("a", world, ids, tuple(made), errors, steps)


def test_by_horizon_it_is_as_if_episodes_ended_there() -> None:
    truth = long_batch("simulator", [5] * 10 + [25] * 10 + [None] * 10, 30)
    seen = long_batch("imagination", [6] * 10 + [15] * 10 + [None] * 9 + [28], 30)
    found = JudgeValidation.of([truth], [seen], 0.95)
    assert list(found.horizons) == [10, 20, 30]
    rows = {
        steps: (r.tpr.right, r.tpr.asked, r.tnr.right, r.tnr.asked)
        for steps, r in found.horizons.items()
    }
    assert rows == {10: (10, 10, 20, 20), 20: (10, 10, 10, 20), 30: (20, 20, 9, 10)}
    assert (found.whole.tpr.right, found.whole.tnr.right) == (20, 9)


def test_what_broke_off_tells_nothing_of_the_judge() -> None:
    truth = made_up_batch("a", "simulator", [1] * 12 + [0] * 12)
    broken = replace(truth, errors=(*(None,) * 22, "ValueError", "ValueError"))
    found = JudgeValidation.of([broken], [made_up_batch("a", "imagination", [1] * 24)], 0.95)
    assert found.broke_off == 2 and found.whole.tnr.asked == 10


def ranking(**changes: Any) -> EvalConfig:
    asked: dict[str, Any] = {"starts": StartPlan(4, 100000), **changes}
    return EvalConfig(POLICIES, "worldsim/TabletopReach-v0", {}, "model", "judge", **asked)


def test_it_runs_as_the_ranking_does_from_starts_of_its_own() -> None:
    whole = ranking(sampling_steps=3, max_steps=9, hold=2, seed=5)
    found = validation_of(whole, OTHERS, 8, BLOCKS)
    assert found.policies == OTHERS and found.starts.block == "validation"
    assert set(found.starts.seeds) <= set(BLOCKS.blocks["validation"].seeds)
    same = ("sampling_steps", "max_steps", "hold", "seed", "model", "judge", "env_id")
    assert all(getattr(found, name) == getattr(whole, name) for name in same)


@pytest.mark.parametrize(
    ("changes", "policies", "said"),
    [
        (
            {"starts": StartPlan(4, 200003)},
            OTHERS,
            r"shares 1 of its starts with the ranking \(seed 2",
        ),
        ({}, {"a": POLICIES["slow"]}, r"a \(slow of the ranking\)"),
        ({}, {}, r"has no validation pool; name policies"),
        ({"env_id": None, "max_steps": 3}, OTHERS, r"there is none; choose an env"),
    ],
)
def test_what_is_ranked_too_is_refused(changes: Any, policies: Any, said: str) -> None:
    whole = replace(ranking(), **changes)
    with pytest.raises(UsageError, match=said):
        validation_of(whole, policies, 4, BLOCKS)


def test_more_starts_than_the_block_has_and_logged_rates_are_refused() -> None:
    with pytest.raises(UsageError, match=r"the block validation has 1000 starts"):
        validation_of(ranking(), OTHERS, 1001, BLOCKS)
    with pytest.raises(UsageError, match=r"rates are of another world"):
        RankingOptions("rates.csv", judge_validation=4)


def shipped_pools() -> dict[str, Any]:
    """Pools in the configs that have a validation pool."""
    folder = files("worldsim.configs").joinpath("policy")
    found = {each.name: OmegaConf.load(str(each)) for each in folder.iterdir()}
    return {n: OmegaConf.to_container(p) for n, p in found.items() if "validation" in p}


def test_every_pool_of_our_envs_can_measure_judges() -> None:
    assert {f"pool_{name}.yaml" for name in ("push", "pick_place", "shuttle")} <= set(
        shipped_pools()
    )


@pytest.mark.parametrize("name", sorted(shipped_pools()))
def test_validation_pools_are_other_policies_than_those_that_are_ranked(name: str) -> None:
    pool = shipped_pools()[name]
    own = list(pool["validation"]["policies"].values())
    for ranked in (pool, pool.get("release") or {}):
        assert not [e for e in (ranked.get("policies") or {}).values() if e in own]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_nano_run(folder)
    return folder


def rank_with(run: Path, out: Path, *words: str) -> dict[str, Any]:
    config = rank_config(run, out, "films.starts=0", *words)
    config.policy.validation = {"policies": OTHERS}
    rank.run(config)
    found: dict[str, Any] = json.loads((out / "ranking.json").read_text())
    return found


@pytest.mark.slow
def test_a_ranking_is_told_with_it_keeps_it_and_is_the_same_without(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plain = rank_with(run, tmp_path / "out")
    assert plain["judge_validation"] is None
    assert not (tmp_path / "out" / "judge_validation").exists()
    told = rank_with(run, tmp_path / "out", "judge_validation=12")
    validation = told["judge_validation"]
    assert validation["starts"] == 12 and set(validation["policies"]) == set(OTHERS)
    assert validation["tnr"]["episodes"] + validation["tpr"]["episodes"] == 24
    assert set(validation["corrected"]) == set(POLICIES)
    assert told["policies"] == plain["policies"] and told["pearson"] == plain["pearson"]
    assert "On validation starts" in (tmp_path / "out" / "report.html").read_text()
    printed = capsys.readouterr()
    assert "whole episodes" in printed.out

    again = rank_with(run, tmp_path / "out", "judge_validation=12")
    assert again["judge_validation"] == validation
    said = capsys.readouterr().err
    assert "4 of 4 results are kept" in " ".join(said.split())
    # A result that was lost is made again, the others are kept.
    lost = next((tmp_path / "out" / "judge_validation" / "results" / "imagination").glob("*.json"))
    lost.unlink()
    assert rank_with(run, tmp_path / "out", "judge_validation=12")["judge_validation"] == validation
    assert "3 of 4 results are kept" in " ".join(capsys.readouterr().err.split())
    # Turned off, nothing of it is shown, and nothing is lost.
    assert rank_with(run, tmp_path / "out")["judge_validation"] is None
    assert lost.is_file()


def test_other_metrics_are_not_corrected(run: Path, tmp_path: Path) -> None:
    found = rank_with(run, tmp_path / "out", "judge_validation=4", "metric=final_progress")
    assert found["judge_validation"]["corrected"] == {}
