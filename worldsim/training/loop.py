"""The loop of every stage: Lightning's, resumable at any step to the same loss curve.

Lightning loops, accumulates, clips, moves, autocasts and gathers what a checkpoint holds. Two
callbacks of its own would not keep the promise: `WeightAveraging` copies the loss and the teacher
with the network, and `ModelCheckpoint` leaves out the last step and is not atomic.
"""

import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
import torch
from lightning.pytorch.callbacks import Callback
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader

from worldsim.errors import DataError
from worldsim.files import atomic_path
from worldsim.training.batches import Batch, StageLoss, StepBatches, ends_step, mix, stream
from worldsim.training.config import FitConfig, RunConfig, StageName, choose_precision
from worldsim.training.progress import Clock, ProgressLine, StepLog, build_loggers, rewind
from worldsim.training.run_folder import RunFolder


class StageModule(pl.LightningModule):
    """Trains `network` by `loss`.

    Args:
        network: everything that is trained or saved with the checkpoint.
        loss: the stage's loss over `network`.
        config: optimiser settings.
        seed: of the run; noise of micro-step n depends on (seed, n).
        clock: tells how far training is.
    """

    def __init__(
        self, network: nn.Module, loss: StageLoss, config: FitConfig, seed: int, clock: Clock
    ) -> None:
        super().__init__()
        self.network = network
        self._loss, self._config, self._seed, self._clock = loss, config, seed, clock

    def training_step(self, batch: Batch, batch_idx: int) -> dict[str, object]:
        """Loss of one micro-batch."""
        micro_step = int(batch["micro_step"])
        torch.manual_seed(mix(self._seed, "global", micro_step))
        generator = stream(self._seed, "noise", micro_step)
        loss = self._loss(batch, self._clock.fraction, generator)
        return {"loss": loss.total, "logs": {"loss": loss.total.detach(), **loss.logs}}

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """AdamW; the learning rate is set before every step by `Clock`."""
        config = self._config
        trained = [p for p in self.network.parameters() if p.requires_grad]
        groups = [
            {"params": [p for p in trained if p.ndim >= 2], "weight_decay": config.weight_decay},
            {"params": [p for p in trained if p.ndim < 2], "weight_decay": 0.0},
        ]
        return torch.optim.AdamW(groups, lr=config.lr, betas=config.betas, foreach=True)


class EmaCallback(Callback):
    """Keeps an exponential moving average of a network's weights.

    The decay warms up, `min(decay, (1 + n) / (10 + n))` at update n, so that short runs do not
    average in their random start.

    Args:
        network: whose weights to follow.
        config: the final decay.
    """

    def __init__(self, network: nn.Module, config: FitConfig) -> None:
        self.network, self.config = network, config
        self.averaged = AveragedModel(network, multi_avg_fn=self._average)
        self.averaged.n_averaged += 1  # the start counts; else the first update would copy

    def on_fit_start(self, trainer: pl.Trainer, module: pl.LightningModule) -> None:
        """Follow the network to its device."""
        self.averaged.to(module.device)

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Average in the new weights."""
        if ends_step(batch, self.config.accumulate):
            self.averaged.update_parameters(self.network)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within this context the network carries the averaged weights."""
        kept = [p.detach().clone() for p in self.network.parameters()]
        self.write_into_network()
        try:
            yield
        finally:
            _copy(kept, self.network)

    def write_into_network(self) -> None:
        """Make the averaged weights the network's own."""
        _copy([p.detach() for p in self.averaged.module.parameters()], self.network)

    def state_dict(self) -> dict[str, Any]:
        """Number of updates and the averages of what is trained; the rest never changes."""
        shadow = {n: p.detach() for n, p in self._trained()}
        return {"updates": int(self.averaged.n_averaged) - 1, "shadow": shadow}

    @torch.no_grad()
    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Restore what `state_dict` gave."""
        self.averaged.n_averaged.fill_(state["updates"] + 1)
        for name, parameter in self._trained():
            parameter.copy_(state["shadow"][name])

    def _trained(self) -> Iterator[tuple[str, nn.Parameter]]:
        named = self.averaged.module.named_parameters()
        return ((name, parameter) for name, parameter in named if parameter.requires_grad)

    @torch.no_grad()
    def _average(self, averaged: Any, present: Any, updates: Any) -> None:
        decay = min(self.config.ema_decay, (1 + int(updates)) / (10 + int(updates)))
        torch._foreach_lerp_(averaged, present, 1.0 - decay)


@torch.no_grad()
def _copy(values: Sequence[Tensor], network: nn.Module) -> None:
    for parameter, value in zip(network.parameters(), values, strict=True):
        parameter.copy_(value)


class CheckpointEvery(Callback):
    """Saves the training state every `every` optimiser steps; comes last among the callbacks.

    Args:
        path: the file; a link `last` beside it points to it.
        every: optimiser steps between saves.
        accumulate: micro-batches of an optimiser step.
    """

    def __init__(self, path: Path, every: int, accumulate: int) -> None:
        self.path, self.every, self.accumulate = path, every, accumulate

    def on_train_batch_end(
        self, trainer: pl.Trainer, module: pl.LightningModule, outputs: Any, batch: Any, index: int
    ) -> None:
        """Save when due, and once more at the end."""
        due = trainer.global_step % self.every == 0 or trainer.should_stop
        if due and ends_step(batch, self.accumulate):
            with atomic_path(self.path) as temporary:
                trainer.save_checkpoint(temporary)
            with atomic_path(self.path.with_name("last")) as temporary:
                temporary.symlink_to(self.path.name)


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
    make_callbacks: Callable[[EmaCallback], Sequence[Callback]] = lambda ema: (),
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
    clock, ema = Clock(config), EmaCallback(network, config)
    log = StepLog(config, clock, run.log_every)
    callbacks: list[Callback] = [clock, ema, log, *make_callbacks(ema)]
    if run.progress:
        callbacks.append(ProgressLine(stage, config, clock, log))
    path = folder.checkpoint(stage)
    callbacks.append(CheckpointEvery(path, run.checkpoint_every, config.accumulate))
    trainer = _trainer(stage, config, run, folder, callbacks)
    batches.first = lambda: trainer.global_step * config.accumulate
    rewind(folder.metrics, stage, _checkpoint_step(path))
    _run(trainer, StageModule(network, loss, config, seed, clock), batches, path)
    ema.write_into_network()
    network.to("cpu").eval()
    return Fitted(trainer.global_step, clock.elapsed, log.latest)


def _run(trainer: pl.Trainer, module: StageModule, batches: StepBatches, path: Path) -> None:
    """Train to the end, or to Ctrl-C."""
    module.network.train()
    # Workers would only move the gather to other processes that share the same cores.
    loader = DataLoader(batches, batch_size=None, num_workers=0)
    resume = path if path.exists() else None
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", module="lightning")
        try:
            trainer.fit(module, loader, ckpt_path=resume, weights_only=True)
        except SystemExit as error:
            # Lightning turns Ctrl-C into an exit of its own and leaves the signal ignored.
            signal.signal(signal.SIGINT, signal.default_int_handler)
            ended = error.__context__
            interrupt = ended if isinstance(ended, KeyboardInterrupt) else KeyboardInterrupt()
            raise interrupt from error


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
        default_root_dir=folder.root,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
    )


def _checkpoint_step(path: Path) -> int:
    """Optimiser steps done in the checkpoint `path`; 0 if there is none.

    Raises:
        DataError: the file cannot be read.
    """
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
