"""What a training run is: frozen dataclasses that `configs/train.yaml` fills."""

from dataclasses import dataclass, field
from typing import Literal

from worldsim.errors import UsageError, unknown_name
from worldsim.training.precision import Precision
from worldsim.training.schedule import CosineSchedule

StageName = Literal[
    "tokenizer", "latents", "dynamics", "world", "decoder", "judge", "behaviour", "perception"
]
STAGES: tuple[StageName, ...] = (
    "tokenizer",
    "latents",
    "dynamics",
    "world",
    "decoder",
    "judge",
)


@dataclass(frozen=True)
class FitConfig:
    """One optimisation.

    Training ends at `max_steps` optimiser steps or after `max_time_s` seconds of training steps
    (validation and checkpoints not counted), whichever comes first; the schedule follows
    whichever is further along.

    Attributes:
        max_steps: optimiser steps; None leaves it to the time.
        max_time_s: seconds of training; None leaves it to the steps.
        batch_size: items per micro-batch.
        accumulate: micro-batches per optimiser step.
        lr: base learning rate of AdamW.
        weight_decay: of matrices; vectors (biases, norms, embeddings) have none.
        betas: of AdamW.
        clip: largest gradient norm.
        ema_decay: decay of the averaged weights, which are the ones exported.
        schedule: learning rate over the fraction of training done.
    """

    max_steps: int | None = 10_000
    max_time_s: float | None = None
    batch_size: int = 16
    accumulate: int = 1
    lr: float = 5e-4
    weight_decay: float = 0.01
    betas: tuple[float, float] = (0.9, 0.99)
    clip: float = 1.0
    ema_decay: float = 0.999
    schedule: CosineSchedule = field(default_factory=CosineSchedule)

    def __post_init__(self) -> None:
        if self.max_steps is None and self.max_time_s is None:
            raise UsageError("training needs max_steps or max_time_s; both are null")
        if self.max_steps is not None and self.max_steps < 1:
            raise UsageError(f"max_steps is {self.max_steps}; expected 1 or more")
        if self.max_time_s is not None and self.max_time_s <= 0:
            raise UsageError(f"max_time_s is {self.max_time_s}; expected more than 0")
        if self.batch_size < 1 or self.accumulate < 1 or self.lr <= 0:
            raise UsageError(f"batch_size, accumulate and lr must be positive, got {self}")


ACCELERATORS = ("auto", "cpu", "gpu", "cuda")


@dataclass(frozen=True)
class RunConfig:
    """How a run is carried out; none of it changes what is learnt, except `precision`.

    Attributes:
        threads: torch threads; 0 leaves torch's default (all cores).
        precision: `auto` is bf16 autocast where the processor has it.
        accelerator: Lightning's name, one of `ACCELERATORS`.
        log_every: optimiser steps between lines of metrics.jsonl.
        checkpoint_every: optimiser steps between checkpoints.
        loggers: extras beside metrics.jsonl: `tensorboard`, `wandb`.
        progress: show a progress bar.
    """

    threads: int = 0
    precision: Precision = "auto"
    accelerator: str = "auto"
    log_every: int = 20
    checkpoint_every: int = 200
    loggers: tuple[str, ...] = ()
    progress: bool = True

    def __post_init__(self) -> None:
        if self.threads < 0:
            raise UsageError(f"trainer.threads is {self.threads}; expected 0 (all cores) or more")
        if self.accelerator not in ACCELERATORS:
            raise unknown_name("trainer.accelerator", self.accelerator, ACCELERATORS)


@dataclass(frozen=True)
class ValidationConfig:
    """Open-loop validation during and after world-model training.

    Attributes:
        every: optimiser steps between validations; 0 validates at the end only.
        episodes: held-out episodes to roll out.
        max_steps: longest rollout in steps; 0 is whole episodes.
        sampling_steps: denoising steps a frame.
        films: episodes shown in the sample film; 0 writes none.
        swap: whether to exchange the actions of episodes too and replay them in the simulator.
        step_counts: numbers of denoising steps whose quality the finished model carries with it.
        step_horizon: length in steps of the rollouts that tell it.
    """

    every: int = 0
    episodes: int = 24
    max_steps: int = 0
    sampling_steps: int = 2
    films: int = 2
    swap: bool = True
    step_counts: tuple[int, ...] = (1, 2, 4)
    step_horizon: int = 20
