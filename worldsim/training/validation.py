"""Measures the averaged model while it trains."""

import copy
from collections.abc import Callable
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback

from worldsim.models.quality import StepQuality
from worldsim.models.world_model import WorldModel
from worldsim.training.callbacks import stepped
from worldsim.training.config import FitConfig
from worldsim.training.ema import Ema

Validate = Callable[[WorldModel, int], dict[str, float]]
"""A model in evaluation mode on the CPU and the step it is from, to scalars for the logs."""
Measure = Callable[[WorldModel], StepQuality | None]
"""The finished model, in evaluation mode on the CPU, to its quality by number of steps."""


class Validation(Callback):
    """Calls `validate` every `every` optimiser steps and when training ends.

    Args:
        model: the model in training.
        ema: its averaged weights, which are the ones measured.
        validate: the measurement.
        every: optimiser steps between; 0 measures at the end only.
        config: says how many micro-batches make a step.
    """

    def __init__(
        self, model: WorldModel, ema: Ema, validate: Validate, every: int, config: FitConfig
    ) -> None:
        self.model, self.ema, self.validate = model, ema, validate
        self.every, self.config = every, config

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Measure when due."""
        step = trainer.global_step
        due = trainer.should_stop or (self.every > 0 and step % self.every == 0)
        if not due or not stepped(trainer, batch, self.config):
            return
        with self.ema.applied():
            averaged = copy.deepcopy(self.model).cpu().eval().requires_grad_(False)
        scalars = self.validate(averaged, step)
        if scalars:
            row = {f"val_{name}": value for name, value in scalars.items()}
            for logger in trainer.loggers:
                logger.log_metrics(row, step)
