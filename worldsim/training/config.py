"""What a training run is: frozen dataclasses that `configs/train.yaml` fills."""

from dataclasses import dataclass, field
from typing import Annotated, Literal

from worldsim.config.limits import (
    Count,
    Fraction,
    InputFile,
    Limit,
    Positive,
    Share,
    Text,
    Weight,
    Whole,
    Workers,
)
from worldsim.config.values import Checked
from worldsim.errors import UsageError
from worldsim.hardware import has_fast_bf16, training_device

StageName = Literal[
    "tokenizer",
    "latents",
    "dynamics",
    "world",
    "decoder",
    "judge",
    "behaviour",
    "perception",
    "walking",
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
class CosineSchedule(Checked):
    """Linear warm-up, then half a cosine.

    Attributes:
        warmup: fraction of training over which the factor rises from 0 to 1.
        final: factor at the end.
    """

    warmup: Fraction = 0.03
    final: Share = 0.05


@dataclass(frozen=True)
class FitConfig(Checked):
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
        clip: largest gradient norm; 0 leaves gradients as they are.
        ema_decay: decay of the averaged weights, which are the ones exported.
        schedule: learning rate over the fraction of training done.
    """

    max_steps: Count | None = 10_000
    max_time_s: Positive | None = None
    batch_size: Count = 16
    accumulate: Count = 1
    lr: Positive = 5e-4
    weight_decay: Weight = 0.01
    betas: tuple[Fraction, Fraction] = (0.9, 0.99)
    clip: Weight = 1.0
    ema_decay: Share = 0.999
    schedule: CosineSchedule = field(default_factory=CosineSchedule)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.max_steps is None and self.max_time_s is None:
            raise UsageError("training needs max_steps or max_time_s; both are null")


Precision = Literal["auto", "32-true", "bf16-mixed"]
LoggerName = Literal["tensorboard", "wandb"]
Accelerator = Literal["auto", "cpu", "gpu", "cuda"]


@dataclass(frozen=True)
class RunConfig(Checked):
    """How a run is carried out; none of it changes what is learnt, except `precision`.

    Attributes:
        threads: torch threads; 0 leaves torch's default (all cores).
        precision: `auto` is bf16 autocast where the processor has it.
        accelerator: Lightning's name, one of `Accelerator`.
        log_every: optimiser steps between lines of metrics.jsonl.
        checkpoint_every: optimiser steps between checkpoints.
        loggers: extras beside metrics.jsonl: `tensorboard`, `wandb`.
        progress: show a progress bar.
    """

    threads: Workers = 0
    precision: Precision = "auto"
    accelerator: Accelerator = "auto"
    log_every: Count = 20
    checkpoint_every: Count = 200
    loggers: tuple[LoggerName, ...] = ()
    progress: bool = True


def _is_hash(text: str) -> bool:
    return 8 <= len(text) <= 64 and set(text.lower()) <= set("0123456789abcdef")


@dataclass(frozen=True)
class ExtractorConfig(Checked):
    """A feature network; `worldsim.validation.features.extractors` has them by name.

    Attributes:
        name: of the extractor.
        weights: its file; None where it needs none.
        sha256: digits that the file's hash must begin with; None takes any file.
    """

    name: Text
    weights: InputFile | None = None
    sha256: (
        Annotated[str, Limit("8 to 64 hexadecimal digits, the hash or its beginning", _is_hash)]
        | None
    ) = None


@dataclass(frozen=True)
class FilmDistanceConfig(Checked):
    """Distances of imagined from recorded clips by features, such as FVD and FID.

    Attributes:
        extractors: feature networks, each a group of figures; none leaves them out.
        length: frames of a clip.
        stride: steps from one frame of a clip to the next.
        windows: most places along a rollout at which clips begin, evenly spread.
        splits: random halvings of the episodes, for distances at equal counts.
    """

    extractors: tuple[ExtractorConfig, ...] = ()
    length: Count = 16
    stride: Count = 1
    windows: Count = 4
    splits: Count = 10


@dataclass(frozen=True)
class ValidationConfig(Checked):
    """Open-loop validation during and after world-model training.

    Attributes:
        every: optimiser steps between validations; 0 validates at the end only.
        episodes: held-out episodes to roll out.
        max_steps: longest rollout in steps; 0 is whole episodes.
        piece: steps of the pieces that episodes are cut into, each imagined from its own first
            frame, with another piece's actions as baseline; 0 leaves episodes whole.
        sampling_steps: denoising steps a frame; None takes the model's own.
        films: episodes shown in the sample film; 0 writes none.
        swap: whether to exchange the actions of episodes too and replay them in the simulator.
        step_counts: numbers of denoising steps whose quality the finished model carries with it.
        step_horizon: length in steps of the rollouts that tell it.
        film_distance: distances by features of clips.
    """

    every: Whole = 0
    episodes: Whole = 24
    max_steps: Whole = 0
    piece: Whole = 0
    sampling_steps: Count | None = None
    films: Whole = 2
    swap: bool = True
    step_counts: tuple[Count, ...] = (1, 2, 4)
    step_horizon: Count = 20
    film_distance: FilmDistanceConfig = FilmDistanceConfig()

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.piece and self.swap:
            raise UsageError(
                f"validation.piece={self.piece} begins inside of episodes, where the swap test "
                "cannot take the simulator; give validation.swap=false beside it"
            )


def choose_precision(
    wanted: Precision, accelerator: str = "auto"
) -> Literal["32-true", "bf16-mixed"]:
    """Lightning's name for the precision to train in; `auto` means bf16 where it is native."""
    if wanted != "auto":
        return wanted
    return "bf16-mixed" if has_fast_bf16(training_device(accelerator)) else "32-true"
