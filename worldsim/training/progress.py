"""One live line per stage: done, loss, speed, time left."""

from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from worldsim.training.callbacks import Clock, StepLog, stepped
from worldsim.training.config import FitConfig


class ProgressLine(Callback):
    """A rich progress bar over the fraction of training done.

    Args:
        stage: its label.
        config: says how many micro-batches make a step.
        clock: gives the fraction.
        log: gives the latest losses.
    """

    def __init__(self, stage: str, config: FitConfig, clock: Clock, log: StepLog) -> None:
        self.config, self.clock, self.log = config, clock, log
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
        )
        self._task = self._bar.add_task(f"train {stage}", total=1.0, note="", start=False)

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Show the bar."""
        self._bar.start()
        self._bar.start_task(self._task)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Advance."""
        if stepped(trainer, batch, self.config):
            loss = self.log.latest.get("loss")
            note = f"step {trainer.global_step}" + (f"  loss {loss:.4f}" if loss else "")
            self._bar.update(self._task, completed=self.clock.fraction, note=note)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Leave the finished bar."""
        self._bar.stop()

    def on_exception(
        self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back."""
        self._bar.stop()
