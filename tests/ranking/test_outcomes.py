"""Rankings of other starts each, pooled into one."""

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pool_rankings
import pytest
from imagination_testing import REPORT
from ranking_testing import made_up_batch

from worldsim.cli.rank_results import rank_results
from worldsim.config.compose import compose_config
from worldsim.errors import UsageError
from worldsim.files import read_json
from worldsim.models.pretrained import SHIPPED
from worldsim.models.weights import WEIGHTS
from worldsim.ranking.pooling import pool_outcomes
from worldsim.ranking.rank import rank
from worldsim.ranking.verdict import foreword
from worldsim.rollout.circumstances import Circumstances, developed_on
from worldsim.rollout.episodes import RolloutBatch, World
from worldsim.rollout.eval_config import EvalConfig, RankingOptions, StartPlan
from worldsim.rollout.results import (
    Job,
    Outcomes,
    read_outcomes,
    write_eval_config,
    write_result,
)
from worldsim.rollout.start_blocks import StartBlocks

BLOCKS = StartBlocks.configured()
NAMES = ["good", "fair", "poor", "zero"]


def batches(world: World, seed: int, count: int) -> list[RolloutBatch]:
    """Outcomes that differ between starts and policies."""
    rng = np.random.default_rng([seed, len(world)])
    won = rng.random((len(NAMES), count)) < np.array([0.9, 0.5, 0.2, 0.0])[:, None]
    return [made_up_batch(name, world, row) for name, row in zip(NAMES, won, strict=True)]


def outcomes(seed: int, count: int = 8, **changes: Any) -> Outcomes:
    policies = {name: {"kind": "zero"} for name in NAMES}
    eval_config = EvalConfig(policies, "env", {}, "model", "judge", StartPlan(count, seed))
    return Outcomes(
        replace(eval_config, **changes),
        RankingOptions(bootstrap_samples=40),
        Circumstances(REPORT, True, seed < 5, False),
        batches("imagination", seed, count),
        batches("simulator", seed, count),
    )


def test_pooled_figures_are_those_of_all_starts_together() -> None:
    parts = [outcomes(0), outcomes(100, 4)]
    pooled = pool_outcomes(parts)
    truth, imagined = (
        np.concatenate([[b.success for b in getattr(part, world)] for part in parts], axis=1)
        for world in ("truth", "imagined")
    )
    report = rank_results(pooled)
    direct = rank(
        truth,
        imagined,
        NAMES,
        judge=REPORT,
        others={"progress": (truth, imagined)},
        null_policy="zero",
        bootstrap_samples=40,
    )
    assert report.coefficients == direct.coefficients
    assert report.over_policies == direct.over_policies
    assert pooled.eval_config.starts.seeds == [*range(8), *range(100, 104)]
    assert report.state_assisted and report.development_starts
    assert foreword(report)[0].startswith("State-assisted")


@pytest.mark.parametrize("world", ["simulator", "imagination"])
def test_a_policy_that_breaks_off_everywhere_is_named_and_left_out(world: World) -> None:
    made = outcomes(1)
    where = made.imagined if world == "imagination" else made.truth
    assert where is not None
    broken = replace(where[3], errors=("RuntimeError: boom",) * 8)
    where[3] = broken
    report = rank_results(made)
    without = rank_results(
        replace(
            made,
            eval_config=replace(
                made.eval_config, policies={n: {"kind": "zero"} for n in NAMES[:3]}
            ),
            imagined=made.imagined[:3],
            truth=(made.truth or [])[:3],
        )
    )
    # As failures in both worlds they would agree, and lift the correlation.
    assert report.coefficients.pearson.value == without.coefficients.pearson.value
    row = report.policies[3]
    rates = {"simulator": row.reference.value, "imagination": row.imagined.value}
    assert rates.pop(world) is None and list(rates.values()) != [None]
    assert len(row.failures) == 8
    assert any("zero: 8 episodes broke off, in one world all of them" in n for n in report.notes)
    assert any("zero has no rate in one world and is left out" in note for note in report.notes)


def test_pooled_starts_may_be_pooled_again() -> None:
    once = pool_outcomes([outcomes(0), outcomes(100)])
    assert pool_outcomes([once, outcomes(200)]).eval_config.starts.blocks == (0, 100, 200)


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ([], "two rankings or more"),
        ([outcomes(4)], "overlap"),
        ([outcomes(50, sampling_steps=1)], "differ in sampling_steps"),
        ([replace(outcomes(50), circumstances=Circumstances(replace(REPORT, positives=11),
            True, None, False))], "judge report"),
    ],
)  # fmt: skip
def test_rankings_that_do_not_belong_together_are_not_pooled(
    others: list[Outcomes], said: str
) -> None:
    with pytest.raises(UsageError, match=said):
        pool_outcomes([outcomes(0), *others])


def save(folder: Path, made: Outcomes) -> Path:
    """As `worldsim rank` leaves a folder."""
    folder.mkdir()
    parts = {"all": folder.name}
    jobs = {
        Job(batch.policy, batch.world): batch for batch in [*made.imagined, *(made.truth or [])]
    }
    write_eval_config(
        folder, made.eval_config, made.options, made.circumstances, dict.fromkeys(jobs, parts)
    )
    for job, batch in jobs.items():
        write_result(folder, job, parts, batch)
    return folder


def test_folders_are_pooled_by_the_script(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folders = [save(tmp_path / name, outcomes(seed)) for name, seed in (("a", 0), ("b", 100))]
    again = read_outcomes(folders[0])
    assert again.eval_config == outcomes(0).eval_config
    assert again.circumstances == outcomes(0).circumstances
    out = tmp_path / "both"
    monkeypatch.setattr(sys, "argv", ["pool", *map(str, folders), "--out", str(out)])
    assert pool_rankings.main() == 0
    ranking = read_json(out / "ranking.json")
    assert ranking["state_assisted"] is True and ranking["policies"][0]["starts"] == 16
    assert "seeds 0 to 7 and 100 to 107" in (out / "report.html").read_text()
    assert capsys.readouterr().out.startswith("State-assisted")


def test_logged_rates_are_kept_with_the_ranking(tmp_path: Path) -> None:
    csv = tmp_path / "real.csv"
    csv.write_text("policy,successes,trials\n" + "".join(f"{name},1,2\n" for name in NAMES))
    made = replace(outcomes(0), truth=None, options=RankingOptions(reference_csv=str(csv)))
    folder = save(tmp_path / "a", made)
    csv.write_text("policy,successes,trials\ngood,0,9\n")
    logged = read_outcomes(folder).logged
    assert logged is not None and logged.of(("poor",))[0].tolist() == [0.5]


def test_blocks_of_starts_can_be_typed() -> None:
    config = compose_config("rank", ["out=x", "starts.seed=[3,50]"])
    assert list(config.starts.seed) == [3, 50]


@pytest.mark.parametrize(
    ("starts", "expected"),
    [
        (BLOCKS.place(StartPlan(seed=None)), True),
        (StartPlan(64, 400_000), False),
        (StartPlan(64, (BLOCKS.blocks["development"].seeds[-1], 400_000)), True),
        (StartPlan(4, dataset="data"), None),
    ],
)
def test_starts_that_a_shipped_model_was_developed_on_are_known(
    starts: StartPlan, expected: bool | None, tmp_path: Path
) -> None:
    ours = EvalConfig({}, "env", {}, str(SHIPPED / "push"), "judge", starts)
    assert developed_on(ours, BLOCKS) is expected
    (tmp_path / WEIGHTS).write_bytes((SHIPPED / "push" / WEIGHTS).read_bytes())
    assert developed_on(replace(ours, model=str(tmp_path)), BLOCKS) is expected
    (tmp_path / WEIGHTS).write_bytes(b"of somebody else")
    assert developed_on(replace(ours, model=str(tmp_path)), BLOCKS) is None
