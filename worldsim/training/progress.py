"""How far a stage is: its clock, its lines in metrics.jsonl, its bar on a terminal.

Lightning's own would not do. Its `Timer` counts validation too. Its bar counts batches, where a
stage may end by time. Its loggers hold the last micro-batch and cannot drop lines that a resumed
run writes again.
"""

import json
import math
import time
from argparse import Namespace
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers.logger import Logger
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from torch import Tensor

from worldsim.errors import MissingExtraError
from worldsim.files import write_text
from worldsim.training.batches import ends_step
from worldsim.training.config import CosineSchedule, FitConfig, LoggerName, StageName

LINE_SECONDS = 30.0
"""Seconds between plain lines where there is no terminal."""


def rate_factor(schedule: CosineSchedule, fraction: float) -> float:
    """Multiplier of the base learning rate after `fraction` of training, in [0, 1]."""
    fraction = min(max(fraction, 0.0), 1.0)
    if fraction < schedule.warmup:
        return fraction / schedule.warmup
    decayed = (fraction - schedule.warmup) / (1.0 - schedule.warmup)
    return schedule.final + (1.0 - schedule.final) * 0.5 * (1.0 + math.cos(math.pi * decayed))


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
            group["lr"] = self.config.lr * rate_factor(self.config.schedule, self.fraction)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Count the time, and stop when the budget is spent."""
        self.elapsed += time.perf_counter() - self._started
        self.fraction = self._measure(trainer.global_step)
        if self.fraction >= 1.0 and ends_step(batch, self.config.accumulate):
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
        if not ends_step(batch, self.config.accumulate):
            return
        step = trainer.global_step
        if step % self.every == 0 or step == 1 or trainer.should_stop:
            self.latest = {n: float(v) / self.config.accumulate for n, v in self._sums.items()}
            rate = trainer.optimizers[0].param_groups[0]["lr"]
            row = {**self.latest, "lr": rate, "seconds": self.clock.elapsed}
            for logger in trainer.loggers:
                logger.log_metrics(row, step)
        self._sums = {}


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
        if not ends_step(batch, self.config.accumulate):
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


def rewind(path: Path, stage: str, step: int) -> None:
    """Drop lines of `stage` after `step`, and a half-written last line."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8").splitlines():
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if row.get("stage") != stage or row.get("step", 0) <= step:
            kept.append(line)
    write_text(path, "".join(line + "\n" for line in kept))


class JsonlLogger(Logger):
    """Appends `{"stage", "step", metric: value, ...}` lines to `path`.

    Args:
        path: the file; created when first written to.
        stage: stands in every line.
    """

    def __init__(self, path: Path, stage: StageName) -> None:
        super().__init__()
        self._path = path
        self._stage = stage

    @property
    def name(self) -> str:
        """The stage."""
        return self._stage

    @property
    def version(self) -> str:
        """There is one version."""
        return "0"

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Append one line; values that are not finite become null."""
        row: dict[str, Any] = {"stage": self._stage, "step": step}
        for name, value in metrics.items():
            number = float(value)
            row[name] = round(number, 8) if math.isfinite(number) else None
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(row) + "\n")

    def log_hyperparams(self, params: dict[str, Any] | Namespace, *args: Any, **kw: Any) -> None:
        """The resolved config stands in config.yaml; nothing is repeated here."""


def require_packages(extras: tuple[LoggerName, ...]) -> None:
    """Refuse loggers whose packages are absent, before anything is trained.

    Raises:
        MissingExtraError: names the extra to install.
    """
    for name in extras:
        if find_spec(name) is None:
            raise MissingExtraError(name, name)


def build_loggers(
    path: Path, stage: StageName, extras: tuple[LoggerName, ...], project: str = "worldsim"
) -> list[Logger]:
    """The JSON-lines logger and the extras named.

    Raises:
        MissingExtraError: the extra's package is not installed.
    """
    loggers: list[Logger] = [JsonlLogger(path, stage)]
    for name in extras:
        if name == "tensorboard":
            loggers.append(_tensorboard(path.parent, stage))
        else:
            loggers.append(_wandb(path.parent, stage, project))
    return loggers


def _tensorboard(folder: Path, stage: str) -> Logger:
    from lightning.pytorch.loggers import TensorBoardLogger

    try:
        return TensorBoardLogger(folder, name="tensorboard", version=stage)
    except ModuleNotFoundError as error:
        raise MissingExtraError("tensorboard", "tensorboard") from error


def _wandb(folder: Path, stage: str, project: str) -> Logger:
    from lightning.pytorch.loggers import WandbLogger

    try:
        return WandbLogger(name=f"{folder.name}-{stage}", save_dir=folder, project=project)
    except ModuleNotFoundError as error:
        raise MissingExtraError("wandb", "wandb") from error
