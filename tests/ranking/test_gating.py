"""Rollouts past their limit are unknown: coverage, rates with and without, nothing lost."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from omegaconf import OmegaConf
from rank_testing import rank_config, save_nano_run
from ranking_testing import made_up_batch

from worldsim.cli import rank
from worldsim.errors import UsageError
from worldsim.judge.gate import FOLDER, GateLimit
from worldsim.judge.gates import GATES, RESAMPLING
from worldsim.judge.resampling import Resampling
from worldsim.models.heads.inverse_dynamics import InverseDynamics, InverseDynamicsConfig
from worldsim.models.trained_ladder import TrainedLadder
from worldsim.models.weights import CONFIG, WEIGHTS
from worldsim.models.world_model import WorldModel
from worldsim.ranking.gating import gated_table, unknown
from worldsim.rollout.episodes import RolloutBatch, Trajectory
from worldsim.rollout.results import Job, pack, read_result, unpack
from worldsim.training.run_folder import file_fingerprint

LIMIT = GateLimit(2.0, 1, 0.95, 10, "weights")
NAN = float("nan")


def batch(*episodes: tuple[list[int], list[float]]) -> RolloutBatch:
    """Episodes of verdicts so far, with the action errors of their steps."""
    made = [
        Trajectory(
            agent_pos=np.zeros((len(success), 1), np.float32),
            action=np.zeros((len(success) - 1, 1), np.float32),
            success=np.array(success, bool),
            gate_error=np.array([NAN, *errors], np.float32),
        )
        for success, errors in episodes
    ]
    count = len(made)
    ids, errors = tuple(range(count)), (None,) * count
    return RolloutBatch("a", "imagination", ids, tuple(made), errors)


def test_only_what_passes_the_limit_before_its_verdict_is_unknown() -> None:
    found = batch(
        ([0, 0, 0], [1.0, 1.0]),  # failed, reliable
        ([0, 0, 0], [1.0, 3.0]),  # failed, unreliable
        ([0, 0, 1], [1.0, 1.0]),  # succeeded, reliable
        ([0, 0, 1], [3.0, 1.0]),  # unreliable before its success
        ([0, 1, 1], [1.0, 3.0]),  # unreliable after it
    )
    mask = unknown(found, LIMIT)
    assert mask is not None and mask.tolist() == [False, True, False, True, False]
    table = np.array([[0.0, 0, 1, 1, 1]])
    gated = gated_table(table, [found], LIMIT)
    assert gated is not None
    np.testing.assert_array_equal(gated[0], [[0, NAN, 1, NAN, 1]])
    assert gated[1] == [pytest.approx(0.6)]


def test_what_broke_off_has_failed_and_what_nobody_looked_at_is_not_gated() -> None:
    found = batch(([0, 0], [9.0]), ([0, 0], [9.0]))
    broken = replace(found, errors=("ValueError", None))
    mask = unknown(broken, LIMIT)
    assert mask is not None and mask.tolist() == [False, True]
    plain = made_up_batch("a", "imagination", [0, 1])
    assert unknown(plain, LIMIT) is None
    assert gated_table(np.zeros((2, 2)), [found, plain], LIMIT) is None


@pytest.fixture(scope="module")
def gated_run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A nano run whose judge has a gate of random weights."""
    run = tmp_path_factory.mktemp("run")
    save_nano_run(run)
    model = WorldModel.from_pretrained(run / "model")
    pixels = torch.zeros(1, 3, 32, 32, 3, dtype=torch.uint8)
    views, channels, height, width = model.encode(pixels).shape[1:]
    torch.manual_seed(0)
    config = InverseDynamicsConfig((views, channels, height, width), model.spec.action.dim)
    InverseDynamics(config).save_pretrained(run / "judge" / FOLDER)
    return run


def write_limit(run: Path, limit: float, steps: int = 2) -> None:
    weights = file_fingerprint(run / "model" / WEIGHTS)
    GateLimit(limit, 1, 0.95, 10, weights, steps).save(run / "judge" / FOLDER)


def test_a_ranking_is_given_with_and_without_what_the_gate_rejects(
    gated_run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_limit(gated_run, 1e9)
    few = ("films.starts=0", "starts.count=3")
    rank.run(rank_config(gated_run, tmp_path / "all", *few))
    whole = json.loads((tmp_path / "all" / "ranking.json").read_text())
    assert whole["gated"]["coverage"] == 1.0
    for policy in whole["policies"]:
        assert whole["gated"]["policies"][policy["name"]]["value"] == policy["imagined_rate"]
    assert "100% of imagined rollouts pass" in " ".join(capsys.readouterr().out.split())

    write_limit(gated_run, 0.0)
    rank.run(rank_config(gated_run, tmp_path / "none", *few))
    none = json.loads((tmp_path / "none" / "ranking.json").read_text())
    assert none["gated"]["coverage"] == 0.0 and none["gated"]["coefficients"] is None
    assert any("rejects every imagined rollout" in note for note in none["notes"])
    # The figures of all rollouts are those that they would be without a gate.
    assert none["policies"] == whole["policies"] and none["pearson"] == whole["pearson"]
    page = (tmp_path / "none" / "report.html").read_text()
    assert "rejects every imagined rollout" in page

    rank.run(rank_config(gated_run, tmp_path / "off", *few, "gate=false"))
    off = json.loads((tmp_path / "off" / "ranking.json").read_text())
    assert off["gated"] is None and off["policies"] == whole["policies"]


def test_a_gate_of_other_steps_or_another_model_is_none(gated_run: Path, tmp_path: Path) -> None:
    write_limit(gated_run, 0.5, steps=1)

    def gate(*overrides: str) -> GateLimit | None:
        found, _ = rank.read_settings(settings(gated_run, tmp_path, *overrides))
        limit: GateLimit | None = found.gated
        return limit

    assert gate() is None and gate("sampling_steps=2") is None
    found = gate("sampling_steps=1")
    assert found is not None and found.limit == 0.5
    assert gate("sampling_steps=1", "gate=false") is None


@pytest.mark.parametrize(
    ("changes", "own"), [({}, 2), ({"pure_noise": False}, 1), ({"ladder": TrainedLadder(5)}, 1)]
)
def test_rankings_take_the_models_own_steps(
    changes: dict[str, Any], own: int, gated_run: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    shutil.copytree(gated_run, run)
    text = json.loads((run / "model" / CONFIG).read_text())
    text["config"]["denoiser"] |= {k: v for k, v in changes.items() if k == "pure_noise"}
    text["config"] |= {k: asdict(v) for k, v in changes.items() if k == "ladder"}
    (run / "model" / CONFIG).write_text(json.dumps(text))
    found, _ = rank.read_settings(settings(run, tmp_path))
    assert found.sampling_steps == own
    asked, _ = rank.read_settings(settings(run, tmp_path, "sampling_steps=3"))
    assert asked.sampling_steps == 3


def settings(run: Path, out: Path, *overrides: str) -> dict[str, Any]:
    plain = OmegaConf.to_container(rank_config(run, out, *overrides), resolve=True)
    assert isinstance(plain, dict)
    return {str(key): value for key, value in plain.items()}


def write_resampling(run: Path, limit: float) -> None:
    folder = run / "judge" / GATES.get(RESAMPLING).folder
    weights = file_fingerprint(run / "model" / WEIGHTS)
    Resampling(3, 0.5, 0.1).save(folder)
    GateLimit(limit, 1, 0.95, 10, weights, 2, RESAMPLING).save(folder)


def test_a_ranking_is_gated_by_draws_of_the_same_steps(tmp_path: Path) -> None:
    save_nano_run(tmp_path)
    few = ("films.starts=0", "starts.count=3", "gate_kind=resampling")
    with pytest.raises(UsageError, match=r"has no such gate .*stage=judge judge.gate_draws=4"):
        rank.run(rank_config(tmp_path, tmp_path / "out", *few))
    rank.run(rank_config(tmp_path, tmp_path / "plain", *few, "gate=false"))
    plain = json.loads((tmp_path / "plain" / "ranking.json").read_text())
    write_resampling(tmp_path, 1e9)
    rank.run(rank_config(tmp_path, tmp_path / "out", *few))
    whole = json.loads((tmp_path / "out" / "ranking.json").read_text())
    assert (whole["gated"]["kind"], whole["gated"]["coverage"]) == ("resampling", 1.0)
    # What is drawn beside a rollout changes nothing in it.
    assert whole["policies"] == plain["policies"]
    found = read_result(tmp_path / "out", Job("random", "imagination"))
    assert found is not None
    errors = found.trajectories[0].gate_error
    assert errors is not None and np.isnan(errors[0]) and (errors[1:] > 0).all()
    write_resampling(tmp_path, 0.0)
    rank.run(rank_config(tmp_path, tmp_path / "out", *few))
    none = json.loads((tmp_path / "out" / "ranking.json").read_text())
    assert none["gated"]["coverage"] == 0.0 and none["policies"] == plain["policies"]
    assert any("none agrees with itself, drawn again, as well as" in n for n in none["notes"])


def test_draws_of_what_does_not_depend_on_noise_are_refused(tmp_path: Path) -> None:
    save_nano_run(tmp_path)
    model = WorldModel.from_pretrained(tmp_path / "model")
    denoiser = replace(model.config.denoiser, pure_noise=False)
    silent = WorldModel(replace(model.config, denoiser=denoiser), model.spec)
    silent.save_pretrained(tmp_path / "model")
    asked = ("gate_kind=resampling", "sampling_steps=1")
    with pytest.raises(UsageError, match=r"gate_kind=resampling: .*deterministic in one"):
        rank.run(rank_config(tmp_path, tmp_path / "out", *asked))
    assert not (tmp_path / "out").exists()


def test_results_of_before_are_gated_by_what_they_called_it() -> None:
    found = batch(([0, 0], [3.0]), ([0, 1], [1.0]))
    arrays = pack(found.trajectories)
    arrays["action_error"] = arrays.pop("gate_error")
    older = replace(found, trajectories=unpack(arrays))
    mask = unknown(older, LIMIT)
    assert mask is not None and mask.tolist() == [True, False]
