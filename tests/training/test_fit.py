"""The training loop itself, on a linear network."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from worldsim.errors import DataError
from worldsim.training.batches import Batch, Loss, StepBatches
from worldsim.training.config import FitConfig, RunConfig
from worldsim.training.loop import Fitted, fit
from worldsim.training.run_folder import RunFolder

RUN = RunConfig(precision="32-true", log_every=1, checkpoint_every=4, progress=False)
CONFIG = FitConfig(max_steps=12, batch_size=4, accumulate=2, lr=0.05, ema_decay=0.9)
TRUTH = torch.tensor([[1.0, -2.0, 0.5]])


class KilledError(Exception):
    """Stands for a kill in the middle of training."""


def make_batches() -> StepBatches:
    inputs = torch.randn(10, 3, generator=torch.Generator().manual_seed(1))

    def gather(indices: Tensor, generator: torch.Generator) -> Batch:
        return {"x": inputs[indices], "y": inputs[indices] @ TRUTH.T}

    return StepBatches(gather, len(inputs), CONFIG.batch_size, seed=3)


class NoisyRegression:
    """Squared error with noisy inputs, killed at `kill_at` if given."""

    def __init__(self, network: nn.Module, kill_at: int | None = None) -> None:
        self.network, self.kill_at = network, kill_at

    def __call__(self, batch: Batch, fraction: float, generator: torch.Generator) -> Loss:
        if self.kill_at == batch["micro_step"]:
            raise KilledError
        noise = 0.1 * torch.randn(batch["x"].shape, generator=generator)
        dropped = nn.functional.dropout(batch["x"] + noise, 0.1)  # draws from the global stream
        loss = (self.network(dropped) - batch["y"]).square().mean()
        return Loss(loss, {"fraction": torch.tensor(fraction)})


def train(
    root: Path, kill_at: int | None = None, config: FitConfig = CONFIG
) -> tuple[nn.Module, Fitted]:
    torch.manual_seed(0)
    network = nn.Linear(3, 1)
    loss = NoisyRegression(network, kill_at)
    fitted = fit("world", network, loss, make_batches(), config, RUN, RunFolder(root), seed=7)
    return network, fitted


def curve(root: Path) -> list[tuple[int, float, float]]:
    rows = [json.loads(line) for line in (root / "metrics.jsonl").read_text().splitlines()]
    return [(row["step"], row["loss"], row["lr"]) for row in rows]


@pytest.mark.parametrize("kill_at", [9, 16, 21])
def test_resumed_run_equals_uninterrupted_run(tmp_path: Path, kill_at: int) -> None:
    whole, _ = train(tmp_path / "whole")
    with pytest.raises(KilledError):
        train(tmp_path / "cut", kill_at)
    resumed, fitted = train(tmp_path / "cut")
    assert fitted.steps == CONFIG.max_steps
    assert curve(tmp_path / "cut") == curve(tmp_path / "whole")
    assert [step for step, _, _ in curve(tmp_path / "cut")] == list(range(1, 13))
    for left, right in zip(whole.parameters(), resumed.parameters(), strict=True):
        assert torch.equal(left, right)


def test_loss_falls_and_checkpoint_holds_weights_only(tmp_path: Path) -> None:
    config = replace(CONFIG, max_steps=200)
    network, _ = train(tmp_path, config=config)
    losses = [loss for _, loss, _ in curve(tmp_path)]
    assert sum(losses[-10:]) < 0.2 * sum(losses[:10])
    last = torch.load(tmp_path / "checkpoints" / "last", weights_only=True)
    assert last["global_step"] == 200


def test_time_budget_ends_training_and_counts_across_sittings(tmp_path: Path) -> None:
    config = replace(CONFIG, max_steps=None, max_time_s=0.3)
    _, fitted = train(tmp_path, config=config)
    assert 0.3 <= fitted.seconds < 2.0
    _, again = train(tmp_path, config=config)
    assert again.steps <= fitted.steps + 1


def test_truncated_checkpoint_is_named(tmp_path: Path) -> None:
    train(tmp_path)
    path = RunFolder(tmp_path).checkpoint("world")
    path.write_bytes(path.read_bytes()[:100])
    with pytest.raises(DataError, match="world.ckpt"):
        train(tmp_path)
