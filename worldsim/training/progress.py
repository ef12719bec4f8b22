"""How far a stage is: a live bar on a terminal, a plain line now and then elsewhere."""

import time
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from worldsim.training.callbacks import Clock, StepLog, stepped
from worldsim.training.config import FitConfig

LINE_SECONDS = 30.0


class ProgressLine(Callback):
    """Shows the fraction of training done and the latest loss, on stderr.

    Args:
        stage: its label.
        config: says how many micro-batches make a step.
        clock: gives the fraction.
        losses: gives the latest losses.
    """

    def __init__(self, stage: str, config: FitConfig, clock: Clock, losses: StepLog) -> None:
        self.stage, self.config, self.clock, self.losses = stage, config, clock, losses
        self._console = Console(stderr=True, highlight=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f}%"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self._console,
        )
        self._task = self._bar.add_task(f"train {stage}", total=1.0, note="", start=False)
        self._said = time.monotonic()

    def on_train_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Show the bar."""
        if self._console.is_terminal:
            self._bar.start()
            self._bar.start_task(self._task)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Advance."""
        if not stepped(trainer, batch, self.config):
            return
        loss = self.losses.latest.get("loss")
        note = f"step {trainer.global_step}" + (f", loss {loss:.4f}" if loss is not None else "")
        if self._console.is_terminal:
            self._bar.update(self._task, completed=self.clock.fraction, note=note)
        elif time.monotonic() - self._said >= LINE_SECONDS or trainer.should_stop:
            self._said = time.monotonic()
            done = f"train {self.stage}: {self.clock.fraction:.0%}, {note}"
            self._console.print(done, markup=False, soft_wrap=True)

    def on_train_end(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Leave the finished bar."""
        self._stop()

    def on_exception(
        self, trainer: pl.Trainer, module: pl.LightningModule, exception: BaseException
    ) -> None:
        """Give the terminal back."""
        self._stop()

    def _stop(self) -> None:
        if self._console.is_terminal:
            self._bar.stop()
