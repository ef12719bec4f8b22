"""A ladder: checkpoints of one network at some steps of its training, policies worse and better."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning.pytorch as pl
from lightning.pytorch.callbacks import Callback, LambdaCallback

from worldsim.errors import UsageError
from worldsim.training.config import FitConfig
from worldsim.training.loop import EmaCallback


def check_ladder(ladder: Sequence[int], fit: FitConfig, what: str) -> None:
    """Refuse steps at which no checkpoint would be kept.

    Args:
        ladder: steps, each at least 1.
        fit: budgets of the training.
        what: is trained, for the message.

    Raises:
        UsageError: there is none, they do not rise, or training ends before the last.
    """
    last = fit.max_steps
    if last is None or not ladder or list(ladder) != sorted(set(ladder)):
        raise UsageError(
            f"{what} needs max_steps and a rising ladder of steps, got max_steps={last} and "
            f"ladder {list(ladder)}"
        )
    if ladder[-1] > last:
        raise UsageError(f"ladder {list(ladder)} must lie within 1 to max_steps={last}")


def ladder_folders(folder: Path, ladder: Sequence[int]) -> dict[int, Path]:
    """{step: folder of its checkpoint}, such as `folder/step_000500`."""
    return {step: folder / f"step_{step:06d}" for step in ladder}


def keeping(
    folders: Mapping[int, Path], save: Callable[[Path], None]
) -> Callable[[EmaCallback], list[Callback]]:
    """Callbacks of `fit` that keep a checkpoint of the averaged weights at each step of a ladder.

    Args:
        folders: of `ladder_folders`.
        save: writes the network into a folder.
    """

    def callbacks(ema: EmaCallback) -> list[Callback]:
        def keep(trainer: pl.Trainer, *_: Any) -> None:
            if (folder := folders.get(trainer.global_step)) is not None:
                with ema.applied():
                    save(folder)

        return [LambdaCallback(on_train_batch_end=keep)]

    return callbacks
