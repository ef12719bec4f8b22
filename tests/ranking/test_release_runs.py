"""Named blocks of starts, the release pool, and runs of them that are made once and logged."""

from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any, cast

import pytest
from omegaconf import OmegaConf
from rank_testing import RELEASE_POLICIES, rank_config, save_nano_run

from worldsim.cli import rank
from worldsim.cli.main import main
from worldsim.errors import UsageError, WorldsimError
from worldsim.files import read_json
from worldsim.models.weights import WEIGHTS
from worldsim.ranking import releases
from worldsim.ranking.releases import read_log
from worldsim.rollout import circumstances
from worldsim.rollout.dependencies import RELEASES, digest_file, digest_network
from worldsim.rollout.eval_config import EvalConfig, StartPlan
from worldsim.rollout.start_blocks import SeedBlock, StartBlocks

BLOCKS = StartBlocks.configured()
ASKED = ("pool=release", "starts.block=release", "films.starts=0", "starts.count=3")
FINAL = (*ASKED, "release.shipping=true")


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A training run's folder."""
    save_nano_run(tmp_path / "run")
    return tmp_path / "run"


def test_every_block_has_seeds_of_its_own() -> None:
    assert {"development", "validation", "release"} <= set(BLOCKS.blocks)
    with pytest.raises(UsageError, match=r"a ends with seed 9 and b begins with 9"):
        StartBlocks({"b": SeedBlock(9, 5), "a": SeedBlock(0, 10)})


def test_starts_without_block_or_seed_are_for_development() -> None:
    first = BLOCKS.blocks["development"].first
    plan = BLOCKS.place(StartPlan(4, None))
    assert (plan.block, plan.seeds) == ("development", list(range(first, first + 4)))
    assert BLOCKS.place(StartPlan(4, None, block="validation")).block == "validation"
    own = StartPlan(4, (3, 50))
    assert BLOCKS.place(own) == own


def test_the_same_seeds_under_a_blocks_name_are_the_same_starts() -> None:
    named = BLOCKS.place(StartPlan(4, None))
    configs = [
        EvalConfig({"zero": {}}, "env", {}, "model", "judge", plan, watch_simulator=False)
        for plan in (named, replace(named, block=None))
    ]
    first, second = (config.parts("zero", "simulator") for config in configs)
    assert first == second


@pytest.mark.parametrize(
    ("plan", "said"),
    [
        (StartPlan(4, None, block="relase"), r"Did you mean 'release'"),
        (StartPlan(4, 5, block="release"), r"starts.block=release and starts.seed both"),
        (StartPlan(4, None, dataset="d", block="release"), r"starts.dataset both say"),
        (StartPlan(10**4, None), r"the block development has 1000 starts"),
        (StartPlan(4, BLOCKS.blocks["release"].first - 2), r"reaches into the block release"),
    ],
)
def test_starts_that_no_block_gives_are_refused(plan: StartPlan, said: str) -> None:
    with pytest.raises(UsageError, match=said):
        BLOCKS.place(plan)


def pools() -> dict[str, Any]:
    """Pools in the configs that have a release pool."""
    folder = files("worldsim.configs").joinpath("policy")
    found = {each.name: OmegaConf.create(each.read_text()) for each in folder.iterdir()}
    return {name: OmegaConf.to_container(pool) for name, pool in found.items() if "release" in pool}


@pytest.mark.parametrize("name", sorted(pools()))
def test_release_pools_are_other_policies_and_some_of_a_kind_that_nobody_recorded(
    name: str,
) -> None:
    pool = pools()[name]
    fresh = pool["release"]["policies"]
    developed = [entry for key, entry in pool["policies"].items() if key != "zero"]
    assert not [key for key, entry in fresh.items() if entry in developed]
    assert "zero" in fresh
    text = files("worldsim.configs").joinpath("collect.yaml").read_text(encoding="utf-8")
    unread = OmegaConf.to_container(OmegaConf.create(text).mixtures, resolve=False)
    mixtures: dict[str, dict[str, Any]] = cast(Any, unread)
    recorded = {
        option
        for title, mixture in mixtures.items()
        if title != "own"  # of experts of one's own, whom no pool of ours ranks
        for part in mixture.values()
        for option in (*part.get("dials", {}), *part.get("options", {}))
    }
    dials = {key: set(entry) - {"kind", "perception"} for key, entry in fresh.items()}
    assert [key for key, turned in dials.items() if turned and not turned & recorded]


def test_a_release_run_is_refused_unless_the_model_ships(run: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"release.shipping=true when the model is final"):
        rank.run(rank_config(run, tmp_path / "out", *ASKED))
    with pytest.raises(UsageError, match=r"give starts.block=release pool=release"):
        rank.run(rank_config(run, tmp_path / "out", *FINAL[1:]))
    assert not (tmp_path / "out").exists() and not (run / RELEASES).exists()


def test_a_model_has_one_release_run_and_the_second_says_when_and_what(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    rank.run(rank_config(run, first, *FINAL))
    assert capsys.readouterr().out.splitlines()[0].startswith("State-assisted")
    ranking = read_json(first / "ranking.json")
    assert (ranking["block"], ranking["pool"]) == ("release", "release")
    assert {policy["name"] for policy in ranking["policies"]} == set(RELEASE_POLICIES)
    assert "first run of these weights" in ranking["release"]
    assert ranking["release"] in (first / "report.html").read_text()
    (line,) = read_log(run / RELEASES)
    assert line.digest == digest_file(run / "model" / WEIGHTS) and line.starts == 3
    assert line.figures is not None and line.figures["state_assisted"] is True
    assert {"value", "over_starts", "over_policies"} == set(line.figures["pearson"])

    for model in (run, run / "model"):
        config = rank_config(run, second, *FINAL, f"model={model}")
        with pytest.raises(UsageError) as refused:
            rank.run(config)
        for said in (line.date, line.printed, str(first), "release.again='WHY'"):
            assert said in str(refused.value)
    assert not second.exists() and read_json(first / "ranking.json") == ranking

    rank.run(rank_config(run, second, *FINAL, "release.again=the pool had a fault"))
    said = read_json(second / "ranking.json")["release"]
    assert "run 2 of these weights, because: the pool had a fault" in said and line.date in said
    assert [row.again for row in read_log(run / RELEASES)] == [None, "the pool had a fault"]


def test_an_interrupted_release_run_goes_on_in_its_own_folder_only(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> None:
        raise WorldsimError("the power went")

    with monkeypatch.context() as broken:
        broken.setattr(rank, "roll_out_missing", fail)
        with pytest.raises(WorldsimError, match="power"):
            rank.run(rank_config(run, tmp_path / "out", *FINAL))
    with pytest.raises(UsageError, match=r"has not ended; the same command with out=.*out"):
        rank.run(rank_config(run, tmp_path / "other", *FINAL))
    with pytest.raises(UsageError, match="has not ended"):
        rank.run(rank_config(run, tmp_path / "out", *FINAL, "sampling_steps=1"))
    rank.run(rank_config(run, tmp_path / "out", *FINAL))
    (line,) = read_log(run / RELEASES)
    assert line.figures is not None
    assert "first run" in read_json(tmp_path / "out" / "ranking.json")["release"]


def test_runs_of_models_that_ship_are_logged_beside_them(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = tmp_path / "pretrained"
    save_nano_run(shipped / "nano")
    (shipped / "nano" / "model").rename(shipped / "model")
    (shipped / "nano" / "judge").rename(shipped / "model" / "judge")
    for module in (releases, circumstances):
        monkeypatch.setattr(module, "SHIPPED", shipped)
    before = digest_network(shipped / "model")
    rank.run(rank_config(run, tmp_path / "a", *ASKED, f"model={shipped / 'model'}"))
    (line,) = read_log(shipped / RELEASES)
    assert line.model == "shipped/model" and line.figures is not None
    assert digest_network(shipped / "model") == before
    # The same weights under another name are the same weights, now and when they ship no more.
    with pytest.raises(UsageError, match=line.date):
        rank.run(rank_config(run, tmp_path / "b", *FINAL))
    (shipped / "model" / WEIGHTS).write_bytes(b"of a later version")
    with pytest.raises(UsageError, match=line.date):
        rank.run(rank_config(run, tmp_path / "b", *FINAL))


def test_a_model_that_comes_to_ship_brings_the_run_it_had(
    run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rank.run(rank_config(run, tmp_path / "a", *FINAL))
    (line,) = read_log(run / RELEASES)
    for module in (releases, circumstances):
        monkeypatch.setattr(module, "SHIPPED", run)  # its folder `model` is now one that ships
    with pytest.raises(UsageError, match=line.date):
        rank.run(rank_config(run, tmp_path / "b", *ASKED))


def test_the_command_line_runs_it_once(
    run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pool = "+policy.release={policies: {zero: {kind: zero}, slow: {kind: random, hold: 8}}}"
    words = ["rank", "experiment=release", f"model={run}", "env=reach", "env.image_size=32"]
    words += ["policy=baselines", "starts.count=2", "max_steps=3", "workers=0"]
    words += ["films.starts=0", "bootstrap_samples=20", "release.shipping=true"]
    assert main([*words, f"out={tmp_path / 'a'}"]) == 2
    assert "has no release pool" in capsys.readouterr().err
    for key, value in (("only", "[zero]"), ("starts.factors", "{object_size: [1.0]}")):
        assert main([*words, pool, f"out={tmp_path / 'a'}", f"{key}={value}"]) == 2
        assert f"leave {key} out" in capsys.readouterr().err
    assert main([*words, pool, f"out={tmp_path / 'a'}"]) == 0
    assert str(run / RELEASES) in capsys.readouterr().err
    assert main([*words, pool, f"out={tmp_path / 'b'}"]) == 2
    assert "had their release run on" in capsys.readouterr().err
    words = ["rollout", "name=zero", "starts.block=release", f"out={tmp_path / 'c'}"]
    assert main(words) == 2
    assert "is for `worldsim rank pool=release`" in capsys.readouterr().err
