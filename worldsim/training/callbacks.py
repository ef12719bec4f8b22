"""What happens around training steps: clock, learning rate, averaging, checkpoints, logging."""

import time
from collections.abc import Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.fabric.plugins import TorchCheckpointIO
from lightning.pytorch.callbacks import Callback
from torch import Tensor

from worldsim.files import atomic_path
from worldsim.training.config import FitConfig
from worldsim.training.ema import Ema


class AtomicCheckpointIO(TorchCheckpointIO):
    """Lightning's checkpoints, written beside their final name and renamed."""

    def save_checkpoint(
        self, checkpoint: dict[str, Any], path: str | PathLike[str], storage_options: Any = None
    ) -> None:
        """Write `checkpoint`, whole or not at all."""
        with atomic_path(Path(path)) as temporary:
            torch.save(checkpoint, temporary)


class Clock(Callback):
    """Keeps the fraction of training done, sets the learning rate by it, and ends training.

    Only training steps count as time: validation, films and checkpoints do not.

    Args:
        config: budgets, base learning rate and schedule.
    """

    def __init__(self, config: FitConfig) -> None:
        self.config = config
        self.elapsed = 0.0
        self.fraction = 0.0
        self._started = 0.0

    def on_train_batch_start(
        self, trainer: pl.Trainer, module: pl.LightningModule, batch: Any, index: int
    ) -> None:
        """Set the learning rate of this step."""
        self._started = time.perf_counter()
        self.fraction = self._measure(trainer.global_step)
        for group in trainer.optimizers[0].param_groups:
            group["lr"] = self.config.lr * self.config.schedule.factor(self.fraction)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Count the time, and stop when the budget is spent."""
        self.elapsed += time.perf_counter() - self._started
        self.fraction = self._measure(trainer.global_step)
        if self.fraction >= 1.0 and stepped(trainer, batch, self.config):
            trainer.should_stop = True

    def state_dict(self) -> dict[str, Any]:
        """Seconds spent so far."""
        return {"elapsed": self.elapsed}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from the seconds spent before."""
        self.elapsed = float(state["elapsed"])

    def _measure(self, step: int) -> float:
        by_step = step / self.config.max_steps if self.config.max_steps else 0.0
        by_time = self.elapsed / self.config.max_time_s if self.config.max_time_s else 0.0
        return min(max(by_step, by_time), 1.0)


def stepped(trainer: pl.Trainer, batch: Mapping[str, Any], config: FitConfig) -> bool:
    """Whether the micro-batch just done ended an optimiser step."""
    return (int(batch["micro_step"]) + 1) % config.accumulate == 0


class EmaCallback(Callback):
    """Updates the averaged weights after each optimiser step; saved with the checkpoint."""

    def __init__(self, ema: Ema, config: FitConfig) -> None:
        self.ema = ema
        self.config = config

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Follow the network to its device."""
        self.ema.to(module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Average in the new weights."""
        if stepped(trainer, batch, self.config):
            self.ema.update()

    def state_dict(self) -> dict[str, Any]:
        """The averaged weights."""
        return self.ema.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore the averaged weights."""
        self.ema.load_state_dict(state)


class StepLog(Callback):
    """Writes the step's losses, averaged over its micro-batches, to the loggers.

    Args:
        config: says how many micro-batches make a step.
        clock: gives the learning rate's fraction and the time.
        every: optimiser steps between lines.
    """

    def __init__(self, config: FitConfig, clock: Clock, every: int) -> None:
        self.config, self.clock, self.every = config, clock, every
        self.latest: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Collect, and write when a step is complete and due."""
        for name, value in outputs["logs"].items():
            self._sums[name] = self._sums.get(name, torch.zeros(())) + value.detach().cpu()
        if not stepped(trainer, batch, self.config):
            return
        step = trainer.global_step
        if step % self.every == 0 or step == 1 or trainer.should_stop:
            self.latest = {n: float(v) / self.config.accumulate for n, v in self._sums.items()}
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            row = {**self.latest, "lr": rate, "seconds": self.clock.elapsed}
            for logger in trainer.loggers:
                logger.log_metrics(row, step)
        self._sums = {}


class CheckpointEvery(Callback):
    """Saves the training state every `every` optimiser steps; comes last among the callbacks.

    Args:
        path: the file; a link `last` beside it points to it.
        every: optimiser steps between saves.
        config: says how many micro-batches make a step.
    """

    def __init__(self, path: Path, every: int, config: FitConfig) -> None:
        self.path, self.every, self.config = path, every, config

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Save when due, and once more at the end."""
        due = trainer.global_step % self.every == 0 or trainer.should_stop
        if due and stepped(trainer, batch, self.config):
            trainer.save_checkpoint(self.path)
            with atomic_path(self.path.with_name("last")) as temporary:
                temporary.symlink_to(self.path.name)
