"""One resumable optimisation: Lightning's Trainer with this package's callbacks."""

import logging
import signal
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import nn
from torch.utils.data import DataLoader

from worldsim.errors import DataError
from worldsim.training.batches import StageLoss, StepBatches
from worldsim.training.callbacks import (
    AtomicCheckpointIO,
    CheckpointEvery,
    Clock,
    EmaCallback,
    StepLog,
)
from worldsim.training.config import FitConfig, RunConfig, StageName, choose_precision
from worldsim.training.ema import Ema
from worldsim.training.metrics_log import build_loggers, rewind
from worldsim.training.progress import ProgressLine
from worldsim.training.run_folder import RunFolder
from worldsim.training.stage import StageModule


@dataclass(frozen=True)
class Fitted:
    """What an optimisation left behind.

    Attributes:
        steps: optimiser steps done, earlier sittings included.
        seconds: training time, earlier sittings included.
        logs: the last logged losses.
    """

    steps: int
    seconds: float
    logs: dict[str, float]

    def facts(self) -> dict[str, Any]:
        """What the run folder records of it."""
        return {"steps": self.steps, "seconds": round(self.seconds, 3), "losses": self.logs}


def fit(
    stage: StageName,
    network: nn.Module,
    loss: StageLoss,
    batches: StepBatches,
    config: FitConfig,
    run: RunConfig,
    folder: RunFolder,
    seed: int,
    make_callbacks: Callable[[Ema], Sequence[Callback]] = lambda ema: (),
) -> Fitted:
    """Train `network` from scratch or from the stage's checkpoint, then leave it averaged.

    Args:
        stage: names the checkpoint and the log lines.
        network: what is trained; on return it carries the averaged (EMA) weights.
        loss: see `StageLoss`.
        batches: see `StepBatches`.
        config: budgets and optimiser.
        run: threads, precision, logging.
        folder: where everything is written.
        seed: of noise.
        make_callbacks: further callbacks, given the averaged weights.

    Raises:
        DataError: the checkpoint cannot be read.
    """
    ema, clock = Ema(network, config.ema_decay), Clock(config)
    module = StageModule(network, loss, config, seed, lambda: clock.fraction)
    log = StepLog(config, clock, run.log_every)
    callbacks: list[Callback] = [clock, EmaCallback(ema, config), log, *make_callbacks(ema)]
    if run.progress:
        callbacks.append(ProgressLine(stage, config, clock, log))
    path = folder.checkpoint(stage)
    callbacks.append(CheckpointEvery(path, run.checkpoint_every, config))
    trainer = _trainer(stage, config, run, folder, callbacks)
    batches.first = lambda: trainer.global_step * config.accumulate
    resume = path if path.exists() else None
    rewind(folder.metrics, stage, _checkpoint_step(folder, stage))
    # Workers would only move the gather to other processes that share the same cores.
    loader = DataLoader(batches, batch_size=None, num_workers=0)
    network.train()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            trainer.fit(module, loader, ckpt_path=resume, weights_only=True)
        except SystemExit as error:
            # Lightning turns Ctrl-C into an exit of its own and leaves the signal ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            raise KeyboardInterrupt from error
    ema.write_into_network()
    network.to("cpu")
    network.eval()
    return Fitted(trainer.global_step, clock.elapsed, log.latest)


def _trainer(
    stage: StageName,
    config: FitConfig,
    run: RunConfig,
    folder: RunFolder,
    callbacks: list[Callback],
) -> pl.Trainer:
    logging.getLogger("lightning.pytorch").setLevel(logging.ERROR)
    return pl.Trainer(
        accelerator=run.accelerator,
        devices=1,
        precision=choose_precision(run.precision, run.accelerator),
        max_steps=config.max_steps if config.max_steps is not None else -1,
        max_epochs=-1,
        min_epochs=0,
        accumulate_grad_batches=config.accumulate,
        gradient_clip_val=config.clip,
        callbacks=callbacks,
        logger=build_loggers(folder.metrics, stage, run.loggers),
        plugins=[AtomicCheckpointIO()],
        default_root_dir=folder.root,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _checkpoint_step(folder: RunFolder, stage: StageName) -> int:
    """Optimiser steps done in the stage's checkpoint; 0 if there is none.

    Raises:
        DataError: the file cannot be read.
    """
    path = folder.checkpoint(stage)
    if not path.exists():
        return 0
    try:
        return int(
            torch.load(path, map_location="cpu", weights_only=True, mmap=True)["global_step"]
        )
    except (OSError, RuntimeError, KeyError, ValueError) as error:
        raise DataError(
            f"cannot resume from {path}: {error}. Delete it to train the stage anew."
        ) from error
