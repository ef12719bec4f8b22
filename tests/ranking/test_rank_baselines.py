"""`worldsim rank` with baselines: rows, resumption, shared noise, refusals."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from omegaconf import DictConfig
from rank_testing import rank_config, save_nano_run

from worldsim.cli import rank
from worldsim.cli.main import main
from worldsim.cli.rank_results import rank_results
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.files import read_json
from worldsim.ranking.pooling import pool_outcomes
from worldsim.rollout.baselines import BASELINES, BaselineOptions
from worldsim.rollout.results import Job, read_outcomes, read_result

FEW = ("films.starts=0", "films.each=0")
ALL = ("baselines.first_frame=true", "baselines.kinematic=true")


@pytest.fixture(scope="module")
def nano_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    save_nano_run(folder)
    return folder


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Successful reaches, some held out, in the nano world."""
    data = tmp_path_factory.mktemp("recorded") / "data"
    words = "env=reach env.image_size=32 episodes=30 workers=0"
    assert main(["collect", f"out={data}", *words.split()]) == 0
    return data


def with_all(run: Path, out: Path, recordings: Path, *more: str) -> DictConfig:
    """Every baseline; the model stands for the one of demonstrations too, and nothing changes."""
    config = rank_config(run, out, *FEW, *ALL, *more)
    config.baselines.update(action_error=str(recordings), demonstrations=str(run))
    config.baselines.changed = {"friction": 1.0}
    return config


@pytest.fixture(scope="module")
def finished(nano_run: Path, recordings: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("rank")
    rank.run(with_all(nano_run, out, recordings))
    return out


def test_every_registered_baseline_is_an_option_and_a_row(finished: Path) -> None:
    assert list(BASELINES) == sorted(vars(BaselineOptions()))
    rows = {row["name"]: row for row in read_json(finished / "ranking.json")["baselines"]}
    # Ways are added up where there are sub-tasks to be met alone.
    assert set(rows) == set(BASELINES) - {"dead_reckoning"}
    page = (finished / "report.html").read_text()
    assert all(f'<th scope="row">{name}<small>' in page for name in rows)
    assert not list((finished / "films").glob("*"))


def test_another_model_that_is_the_same_says_the_same(finished: Path) -> None:
    ranking = read_json(finished / "ranking.json")
    row = next(r for r in ranking["baselines"] if r["name"] == "demonstrations")
    rates = {policy["name"]: policy["imagined_rate"] for policy in ranking["policies"]}
    assert row["policies"] == rates
    assert row["pearson"]["value"] == ranking["pearson"]["value"]
    assert row["margin"]["mmrv"]["value"] == 0


def test_a_simulator_changed_to_what_it_was_gives_its_own_rates(finished: Path) -> None:
    ranking = read_json(finished / "ranking.json")
    row = next(r for r in ranking["baselines"] if r["name"] == "changed")
    assert row["policies"] == {p["name"]: p["reference_rate"] for p in ranking["policies"]}
    assert row["change"]["moved"] == {} and row["change"]["mean"]["value"] == 0
    outcomes = read_outcomes(finished)
    assert outcomes.truth is not None
    for before, after in zip(outcomes.truth, outcomes.baselines["changed"], strict=True):
        for ours, theirs in zip(before.trajectories, after.trajectories, strict=True):
            np.testing.assert_array_equal(ours.agent_pos, theirs.agent_pos)


def test_policies_have_the_same_noise_in_every_world(finished: Path) -> None:
    """Common random numbers: who ignores what it sees does the same everywhere."""
    worlds = ("simulator", "imagination", "first_frame", "kinematic", "demonstrations", "changed")
    for policy in ("random", "slow"):
        found = [read_result(finished, Job(policy, world)) for world in worlds]
        actions = [[t.action for t in batch.trajectories] for batch in found if batch is not None]
        assert len(actions) == len(worlds)
        for others in actions[1:]:
            for ours, theirs in zip(actions[0], others, strict=True):
                both = min(len(ours), len(theirs))  # a success ends an episode
                assert both and (ours[:both] == theirs[:both]).all()
        assert any((a[0] != b[0]).any() for a in actions for b in [a[1]])


def test_results_of_baselines_are_kept_until_what_they_depend_on_changes(
    nano_run: Path,
    finished: Path,
    recordings: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    out = shutil.copytree(finished, tmp_path / "out")
    written = {p: p.stat().st_mtime_ns for p in out.glob("results/*/*.json")}
    assert len(written) == 3 * 7
    lost = [out / "results" / name for name in ("kinematic/random.json", "action_error/zero.npz")]
    for path in lost:  # as an interruption leaves it
        path.unlink()
    capsys.readouterr()
    rank.run(with_all(nano_run, out, recordings))
    assert "19 of 21 results are kept" in capsys.readouterr().err
    assert read_json(out / "ranking.json") == read_json(finished / "ranking.json")
    rank.run(with_all(nano_run, out, recordings))
    assert "21 of 21 results are kept" in capsys.readouterr().err
    config = with_all(nano_run, out, recordings)
    config.baselines.changed = {"friction": 0.9}
    rank.run(config)
    said = capsys.readouterr().err
    assert "rolled out again, as baselines.changed changed" in said and "18 of 21" in said
    again = {p.parent.name for p, time in written.items() if p.stat().st_mtime_ns != time}
    assert again == {"changed", "kinematic", "action_error"}


def test_a_model_and_judge_of_pixels_alone_have_baselines(tmp_path: Path) -> None:
    save_nano_run(tmp_path, pixels_alone=True)
    out = tmp_path / "out"
    rank.run(rank_config(tmp_path, out, *FEW, *ALL, "starts.count=2"))
    ranking = read_json(out / "ranking.json")
    assert "the world model" not in ranking["state_assisted_parts"]
    assert [row["name"] for row in ranking["baselines"]] == ["first_frame", "kinematic"]


def test_pooled_rankings_have_the_rows_of_all_starts(nano_run: Path, tmp_path: Path) -> None:
    parts = []
    for seed in (3, 50):
        out = tmp_path / str(seed)
        rank.run(rank_config(nano_run, out, *FEW, *ALL, "starts.count=2", f"starts.seed={seed}"))
        parts.append(read_outcomes(out))
    pooled = pool_outcomes(parts)
    assert {len(batch.errors) for batch in pooled.baselines["kinematic"]} == {4}
    assert [row.name for row in rank_results(pooled).baselines] == ["first_frame", "kinematic"]


def test_what_cannot_be_run_is_refused_before_any_rollout(
    nano_run: Path, recordings: Path, tmp_path: Path
) -> None:
    def refused(error: type[Exception], words: str, **baselines: object) -> None:
        config = rank_config(nano_run, tmp_path / "out", *FEW)
        config.baselines.update(baselines)
        with pytest.raises(error, match=words):
            rank.run(config)
        assert not (tmp_path / "out").exists()

    refused(
        UsageError, "baselines.changed.*friction.*begins elsewhere", changed={"object_size": 1.2}
    )
    refused(UsageError, "there is no folder 'nowhere'", demonstrations="nowhere")
    other = tmp_path / "other"
    words = "env=reach env.image_size=48 episodes=10 max_steps=2 workers=0 mixture=unscripted"
    assert main(["collect", f"out={other}", *words.split()]) == 0
    refused(UsageError, "held-out episodes succeeded", action_error=str(other))


def test_the_same_refusals_at_the_command_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    csv = tmp_path / "real.csv"
    csv.write_text("policy,success_rate\nzero,0\nrandom,0.3\n")
    for words, expected in (
        ("baselines.action_error=nowhere", "baselines.action_error"),
        ("baselines.demonstrations=nowhere", "baselines.demonstrations"),
        ("baselines.changed.friction=0.3", "baselines.changed"),
        ("baselines.kinetic=true", "baselines.kinematic"),
        (f"reference.csv={csv} baselines.changed.friction=0.9", "reference.csv"),
    ):
        assert main(["rank", f"out={tmp_path / 'out'}", *words.split()]) != 0
        assert expected in capsys.readouterr().err


def test_another_world_is_no_baseline(nano_run: Path, tmp_path: Path) -> None:
    config = rank_config(nano_run, tmp_path / "out", *FEW)
    config.baselines.demonstrations = "shipped/push"
    with pytest.raises(SpecMismatchError, match=r"baselines\.demonstrations"):
        rank.run(config)
