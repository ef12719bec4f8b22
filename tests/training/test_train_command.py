"""`worldsim train` from end to end on the square world."""

import json
import os
import signal
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from train_testing import train, world_rows

from worldsim.config.compose import compose_config
from worldsim.models.world_model import WorldModel
from worldsim.training.loss import WorldModelLoss
from worldsim.training.losses.dynamics import StateTable
from worldsim.training.run_folder import load_tokenizer
from worldsim.training.train_config import train_config


def test_run_folder_is_complete(finished: Path) -> None:
    for name in (
        "config.yaml",
        "environment.json",
        "validation.json",
        "model/model.safetensors",
        "model/normalizer.json",
        "judge/judge.json",
        "checkpoints/last",
        "latents/latents.npy",
        "dynamics/model.safetensors",
    ):
        assert (finished / name).exists(), name
    assert len(list((finished / "films").glob("*.mp4"))) == 1
    steps = [row["step"] for row in world_rows(finished) if "loss" in row]
    assert steps == list(range(1, 10))
    assert "val_psnr_model" in world_rows(finished)[-1]
    model = WorldModel.from_pretrained(finished / "model")
    assert model.quality is not None and set(model.quality.psnr_moving) == {1, 2}
    assert model.config.calibrated, "the recorded episodes tell their cameras"
    statistics = model.normalizer.to_json()
    assert min(statistics["latent"]["std"]) > 0 and statistics["latent"]["std"] != [1.0] * 4
    assert statistics["agent_pos"]["std"][0] != 1.0
    for name, steps_done in (("world.ckpt", 9), ("last", 4)):  # the decoder's
        state = torch.load(finished / "checkpoints" / name, weights_only=True)
        assert state["global_step"] == steps_done


def test_finished_stages_are_skipped(
    finished: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = (finished / "metrics.jsonl").read_text()
    assert train(data, finished) == 0
    assert capfd.readouterr().err.count("was finished before") == 6
    assert (finished / "metrics.jsonl").read_text() == before


def test_another_config_in_the_same_folder_is_refused(
    finished: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    kept = (finished / "config.yaml").read_bytes()
    assert train(data, finished, "plan.noise.shift=2.0") == 2
    assert "overwrite=true" in capfd.readouterr().err
    assert (finished / "config.yaml").read_bytes() == kept, "the config to restore is there"


@pytest.mark.parametrize("other", ["start_from", "transfer_from"])
def test_two_models_of_which_one_would_not_be_read_are_refused(
    other: str, finished: Path, data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert train(data, tmp_path / "out", f"reuse={finished}", f"{other}={finished}") == 2
    assert f"reuse={finished}" in capfd.readouterr().err
    assert not (tmp_path / "out").exists()


def test_results_are_not_written_into_a_data_set(
    data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    before = sorted(data.rglob("*"))
    assert train(data, data) == 2
    assert "is a data set" in capfd.readouterr().err
    assert sorted(data.rglob("*")) == before


def test_a_stage_alone_and_a_tokenizer_reused(finished: Path, data: Path, tmp_path: Path) -> None:
    assert train(data, tmp_path, f"reuse={finished}", "stage=tokenizer") == 0
    assert train(data, tmp_path, f"reuse={finished}", "stage=latents") == 0
    assert not (tmp_path / "model").exists()
    ours, theirs = (np.load(p / "latents/latents.npy") for p in (tmp_path, finished))
    assert np.array_equal(ours, theirs)


def test_a_run_that_goes_on_from_another_model_takes_that_ones_tokenizer(
    finished: Path, data: Path, tmp_path: Path
) -> None:
    other = WorldModel.from_pretrained(finished / "model")
    with torch.no_grad():
        next(other.tokenizer.parameters()).add_(1.0)
    other.save_pretrained(tmp_path / "other")
    out = tmp_path / "run"
    # What fails before anything is trained binds the folder to nothing.
    assert train(data, out, "start_from=typo", "stage=tokenizer") == 2
    again = (f"start_from={tmp_path / 'other'}", "stage=tokenizer")
    assert train(data, out, f"start_from={finished}", "stage=tokenizer") == 0
    assert train(data, out, *again) == 2, "begun under another config"
    assert train(data, out, *again, "overwrite=true") == 0
    taken = next(load_tokenizer(out / "tokenizer").parameters())
    torch.testing.assert_close(taken, next(other.tokenizer.parameters()))


def test_stage_out_of_order_says_what_to_run(
    data: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    for stage, first in (("latents", "tokenizer"), ("world", "tokenizer")):
        assert train(data, tmp_path, f"stage={stage}") == 2
        assert f"run stage={first} first" in capfd.readouterr().err
    assert train(data, tmp_path, "stage=tokenizer") == 0
    assert train(data, tmp_path, "stage=world") == 2
    assert "run stage=latents first" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("override", "word"),
    [
        ("stage=denoiser", "world"),
        ("trainer.max_step=3", "max_steps"),
        ("model=tinny", "tiny"),
        ("plan.noise.name=indep", "independent"),
        ("trainer.loggers=[tensorbord]", "tensorboard"),
        ("trainer.lr=-1", "lr"),
        ("plan.memory.name=recent", "model.memory.name=none tells nothing"),
        ("dataset=/nowhere", "collect"),
    ],
)
def test_wrong_requests_exit_with_2(
    finished: Path, data: Path, tmp_path: Path, override: str, word: str, capfd: Any
) -> None:
    words = [f"reuse={finished}", override]
    assert train(data, tmp_path / "run", *words) == 2
    assert word in capfd.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_ctrl_c_keeps_the_checkpoint_and_says_so(
    sent: signal.Signals,
    code: int,
    finished: Path,
    data: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
) -> None:
    original = WorldModelLoss.__call__

    def interrupt(self: WorldModelLoss, batch: Any, *args: Any) -> Any:
        if batch["micro_step"] == 9:
            os.kill(os.getpid(), sent)
        return original(self, batch, *args)

    with monkeypatch.context() as patched:
        patched.setattr(WorldModelLoss, "__call__", interrupt)
        assert train(data, tmp_path, f"reuse={finished}") == code
    assert "continues" in capfd.readouterr().err
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    state = torch.load(tmp_path / "checkpoints" / "last", weights_only=True)
    assert state["global_step"] == 4


LOGGER_FLAGS = {
    "tensorboard": [
        "lightning.fabric.loggers.tensorboard._TENSORBOARD_AVAILABLE",
        "lightning.fabric.loggers.tensorboard._TENSORBOARDX_AVAILABLE",
    ],
    "wandb": ["lightning.pytorch.loggers.wandb._WANDB_AVAILABLE"],
}
"""What lightning asks whether a logger's package is there."""


@pytest.mark.parametrize("extra", LOGGER_FLAGS)
def test_absent_logger_names_its_extra(
    finished: Path,
    data: Path,
    tmp_path: Path,
    extra: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: Any,
) -> None:
    for flag in LOGGER_FLAGS[extra]:
        monkeypatch.setattr(flag, False)
    assert train(data, tmp_path, f"trainer.loggers=[{extra}]") == 2
    assert f"worldsim[{extra}]" in capfd.readouterr().err


def groups() -> list[str]:
    root = files("worldsim.configs")
    return [
        f"{group}={entry.name.removesuffix('.yaml')}"
        for group in ("model", "plan", "trainer")
        for entry in root.joinpath(group).iterdir()
        if entry.name.endswith(".yaml")
    ]


@pytest.mark.parametrize("choice", groups())
def test_every_config_builds_a_run(choice: str) -> None:
    words = ["dataset=d", "out=o", "start_from=shipped/push", choice]
    config = train_config(compose_config("train", words))
    assert config.model.tokenizer.channels >= 4
    if choice == "plan=self_rollout":
        assert 0 < config.plan.rollout.start < 1
        assert config.plan.rollout.frames_end < config.plan.length


@pytest.mark.slow
def test_a_trained_model_is_trained_further(finished: Path, data: Path, tmp_path: Path) -> None:
    words = [f"start_from={finished}", "trainer.lr=1e-12", "dynamics.lr=1e-12"]
    for stage in ("tokenizer", "latents", "dynamics", "world"):
        assert train(data, tmp_path, *words, f"stage={stage}") == 0
    ours, theirs = (load_file(p / "model/model.safetensors") for p in (tmp_path, finished))
    for name, tensor in theirs.items():
        assert torch.allclose(ours[name], tensor, atol=1e-6), name


def test_a_model_trained_further_can_keep_its_dynamics(
    finished: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data, tmp_path, "dynamics.keep=true", "stage=dynamics") == 2
    assert "start_from= or reuse=" in capsys.readouterr().err
    words = (f"start_from={finished}", "dynamics.keep=true", "stage=dynamics")
    assert train(data, tmp_path / "kept", *words) == 0
    ours, theirs = (
        load_file(run / "dynamics/model.safetensors") for run in (tmp_path / "kept", finished)
    )
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)


def test_without_known_actions_bodies_stay_where_they_are(
    data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nothing_known(self: StateTable, *args: Any) -> None:
        original(self, *args)
        self.starts = self.starts[:0]

    original = StateTable.__init__
    monkeypatch.setattr(StateTable, "__init__", nothing_known)
    assert train(data, tmp_path, "stage=dynamics") == 0
    assert json.loads((tmp_path / "stages/dynamics.json").read_text())["steps"] == 0
    weights = load_file(tmp_path / "dynamics/model.safetensors")
    assert not weights["leave.weight"].any() and not weights["straight.weight"].any()


def test_tensorboard_gets_the_same_scalars(finished: Path, data: Path, tmp_path: Path) -> None:
    pytest.importorskip("tensorboard")
    words = ("trainer.loggers=[tensorboard]", "stage=tokenizer")
    assert train(data, tmp_path, *words) == 0
    assert list((tmp_path / "tensorboard" / "tokenizer").glob("events.*"))


@pytest.mark.parametrize(
    ("word", "known"),
    [
        ("model.denoiser.name=stnt", "stnet"),
        ("plan.noise.name=contxt", "context"),
        ("plan.loss_mask.name=lst", "last"),
    ],
)
def test_unknown_names_are_refused_before_anything_is_trained(
    data: Path, tmp_path: Path, word: str, known: str, capfd: Any
) -> None:
    assert train(data, tmp_path, word) == 2
    assert known in capfd.readouterr().err
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_trained_model_is_distilled(
    finished: Path, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train(data, tmp_path / "none", "plan.distillation.name=ctm") == 2
    assert "start_from" in capsys.readouterr().err
    teacher = finished / "model"
    few = ("validation.max_steps=1", "validation.films=0", "validation.step_counts=[]")
    given = (*few, "validation.swap=false", f"start_from={teacher}")
    words = ("plan.distillation.name=ctm", "plan.distillation.rungs=4", *given)
    for stage in ("tokenizer", "latents", "dynamics", "world"):
        assert train(data, tmp_path / "student", f"stage={stage}", *words) == 0
    student, before = (WorldModel.from_pretrained(p) for p in (tmp_path / "student/model", teacher))
    assert student.config.denoiser.jumps and not before.config.denoiser.jumps
    weights = dict(student.denoiser.named_parameters())
    assert weights["conditioner.jump.weight"].abs().max() > 0
    for (name, one), (_, other) in zip(
        student.dynamics.named_parameters(), before.dynamics.named_parameters(), strict=True
    ):
        assert torch.equal(one, other), name
    logged = (tmp_path / "student" / "metrics.jsonl").read_text()
    assert '"distil"' in logged
    words = ("plan.matching.share=1.0", "plan.rollout.start=0.0", *given)
    for stage in ("tokenizer", "latents", "dynamics", "world"):
        assert train(data, tmp_path / "matched", f"stage={stage}", *words) == 0
    logged = (tmp_path / "matched" / "metrics.jsonl").read_text()
    assert '"critic"' in logged and '"match"' in logged
    assert not any(
        "critic" in name for name in load_file(tmp_path / "matched/model/model.safetensors")
    )
