"""Training that is killed ends as if it had not been."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from train_testing import SMALL, train, world_rows

from worldsim.training.loss import WorldModelLoss
from worldsim.training.losses.decoder import DecoderLoss


@contextmanager
def killed_at(
    monkeypatch: pytest.MonkeyPatch, micro_step: int, loss: type = WorldModelLoss
) -> Iterator[None]:
    """Training stops before a micro-step of the stage with this loss."""
    original: Any = loss.__call__

    def die(self: Any, batch: Any, *args: Any) -> Any:
        if batch["micro_step"] == micro_step:
            raise RuntimeError("killed")
        return original(self, batch, *args)

    with monkeypatch.context() as patched:
        patched.setattr(loss, "__call__", die)
        with pytest.raises(RuntimeError, match="killed"):
            yield


@pytest.mark.slow
@pytest.mark.parametrize("micro_step", [5, 14])
def test_killed_run_ends_as_an_uninterrupted_one(
    finished: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, micro_step: int
) -> None:
    with killed_at(monkeypatch, micro_step):
        train(data, tmp_path)
    assert not (tmp_path / "model").exists()
    for stage in ("world", "decoder"):
        assert train(data, tmp_path, f"stage={stage}") == 0
    assert world_rows(tmp_path) == world_rows(finished)
    ours, theirs = (load_file(p / "model/model.safetensors") for p in (tmp_path, finished))
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name


@pytest.mark.slow
def test_kill_dash_nine_while_training_then_the_same_command_again(
    finished: Path, data: Path, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "worldsim", "train", f"dataset={data}", f"out={tmp_path}"]
    process = subprocess.Popen([*command, *SMALL], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "checkpoints" / "world.ckpt").exists() and process.poll() is None:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    assert not (tmp_path / "model").exists()
    assert train(data, tmp_path) == 0
    for part in ("tokenizer", "model", "judge"):
        ours, theirs = (load_file(p / part / "model.safetensors") for p in (tmp_path, finished))
        assert ours.keys() == theirs.keys()
        for name, tensor in theirs.items():
            assert torch.equal(ours[name], tensor), name
    assert world_rows(tmp_path) == world_rows(finished)


@pytest.mark.slow
def test_a_killed_decoder_stage_goes_on(
    finished: Path, data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    small_steps = "trainer.checkpoint_every=1"
    with killed_at(monkeypatch, 3, DecoderLoss):
        train(data, tmp_path, small_steps)
    assert (tmp_path / "checkpoints" / "decoder.ckpt").exists()
    assert train(data, tmp_path, small_steps) == 0
    ours, theirs = (load_file(p / "model/model.safetensors") for p in (tmp_path, finished))
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
