"""A pool of walkers ranked by sub-tasks met, from first frames to the report with its maps."""

from pathlib import Path
from typing import Any

import pytest
from indoor_testing import ENV, ID, indoor_model, stop_judge
from omegaconf import DictConfig, OmegaConf
from rank_testing import rank_config

from worldsim.cli import rank
from worldsim.cli.rank_courses import journeys, map_panels, on_courses
from worldsim.cli.rank_results import baseline_scores
from worldsim.errors import UsageError
from worldsim.files import read_json
from worldsim.rollout.results import read_outcomes

POOL: dict[str, Any] = {
    "expert": {"kind": "geodesic", "map": True},
    "others": {"kind": "geodesic", "map": True, "errand": "other"},
    "forward": {"kind": "forward", "stop_after": 5},
    "random": {"kind": "random"},
}


def config(run: Path, out: Path, *overrides: str) -> DictConfig:
    """Three starts of two sub-tasks each, ranked by a judge that always says yes."""
    base = rank_config(run, out, "metric=isr", "max_steps=80", "starts.count=3", *overrides)
    base.policy = {"policies": POOL}
    base.env = OmegaConf.create({"id": ID, **ENV, "goals": 2})
    return base


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`model/` and `judge/`, as a training run leaves them."""
    folder = tmp_path_factory.mktemp("run")
    indoor_model().save_pretrained(folder / "model")
    stop_judge(1e-6).save_pretrained(folder / "judge")
    return folder


@pytest.fixture(scope="module")
def ranked(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished ranking."""
    out = tmp_path_factory.mktemp("rank")
    rank.run(config(run, out, "baselines.dead_reckoning=true"))
    return out


def test_walkers_are_ranked_by_sub_tasks(ranked: Path) -> None:
    ranking = read_json(ranked / "ranking.json")
    assert ranking["metric"]["name"] == "isr"
    rates = {each["name"]: each["reference_rate"] for each in ranking["policies"]}
    # The simulator knows who did what was asked; a judge that always says yes knows who stopped.
    assert rates["expert"] > 0.6 and rates["others"] < 0.4 and rates["random"] < 0.4
    assert {"csr", "spl", "ne", "tar", "soft_spl", "osr", "walked"} <= set(ranking["metrics"])
    said = " ".join(ranking["notes"])
    assert "Privileged policies: expert, others." in said
    assert (ranked / "report.html").is_file()


def test_imagined_success_is_the_judges_word_and_ways_are_odometrys(ranked: Path) -> None:
    outcomes = read_outcomes(ranked)
    for name, batch in zip(POOL, outcomes.imagined, strict=True):
        for trajectory in batch.trajectories:
            stages = trajectory.stages
            assert stages is not None and stages[0].tolist() == [2, 0]
            stops = int(trajectory.action[:, 0].sum())
            assert stages[-1].tolist() == [2 - stops, stops], name
            assert bool(trajectory.success[-1]) == (stops == 2)
            assert trajectory.steps == 80 or stops == 2
    reckoned = outcomes.baselines["dead_reckoning"]
    assert all(each.stages is None for batch in reckoned for each in batch.trajectories)
    # Without walls and pictures, by distance on the map: who goes elsewhere is told apart.
    scores = {each.name: each for each in baseline_scores(on_courses(outcomes))}
    met = dict(zip(POOL, scores["dead_reckoning"].values.mean(axis=1), strict=True))
    assert met["expert"] > met["others"] and met["expert"] > met["random"]


def test_films_have_maps_on_which_ways_grow(ranked: Path) -> None:
    outcomes = read_outcomes(ranked)
    panel = map_panels(outcomes, journeys(outcomes.eval_config), "expert", 0)
    assert outcomes.truth is not None and panel is not None
    longest = max(
        len(worlds[0].trajectories[0].agent_pos) for worlds in (outcomes.truth, outcomes.imagined)
    )
    assert panel.shape[0] == longest and panel.shape[-1] == 3
    assert (panel[-1] != panel[0]).any()
    assert map_panels(outcomes, {}, "expert", 0) is None


def test_a_map_needs_a_simulator_that_has_one(run: Path, tmp_path: Path) -> None:
    recorded = config(run, tmp_path)
    recorded.env = OmegaConf.create({"id": "worldsim/TabletopReach-v0", "image_size": 16})
    with pytest.raises(UsageError):
        rank.run(recorded)
