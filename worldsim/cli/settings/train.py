"""Keys of `configs/train.yaml` and what they accept."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated

from worldsim.cli.settings.shared import DONOR, MODEL, Selecting
from worldsim.config.limits import DatasetFolder, OneOf, OwnParts, ResultFolder, between
from worldsim.config.values import INLINE
from worldsim.data.selection import Outcome, Selection
from worldsim.hardware import training_device
from worldsim.imitation.stage import PolicyTraining
from worldsim.judge.resampling import require_noise
from worldsim.judge.sampling import JudgeConfig
from worldsim.models.tokenizers.base import require_image_size, spatial_factor
from worldsim.sampling.sampler import default_steps
from worldsim.training.config import STAGES, ValidationConfig
from worldsim.training.progress import require_packages
from worldsim.training.train_config import TrainingNodes
from worldsim.validation.film_distance import check_extractors

Side = Annotated[int, between(16, 4096)]
"""Pixels."""


@dataclass(frozen=True)
class Settings(Selecting):
    """See `configs/train.yaml`."""

    parts: OwnParts
    dataset: DatasetFolder
    outcome: Outcome | None
    image_size: Side | tuple[Side, Side] | None
    cache: Path | None
    out: ResultFolder
    stage: Annotated[str, OneOf(lambda: ("all", "policies", *STAGES))]
    training: Annotated[TrainingNodes, INLINE]
    validation: ValidationConfig
    judge: JudgeConfig
    policy_training: PolicyTraining

    def __post_init__(self) -> None:
        super().__post_init__()
        training, run = self.training, self.training.trainer.run
        for key in ("start_from", "transfer_from"):
            if (name := getattr(training, key)) is not None:
                MODEL.check(name, key)
        if training.reuse is not None:
            DONOR.check(training.reuse, "reuse")
        if self.judge.gate_draws and not (training.start_from or training.transfer_from):
            require_noise(training.model, default_steps(training.model), "judge.gate_draws")
        if self.size is not None:
            require_image_size(*self.size, self.factor)
        check_extractors(self.validation.film_distance)
        training_device(run.accelerator)
        require_packages(run.loggers)

    @property
    def selection(self) -> Selection:
        """What of the data set is taken."""
        return replace(super().selection, outcome=self.outcome)

    @property
    def factor(self) -> int:
        """Pixels along a side of a latent cell of the tokenizer that is named."""
        return spatial_factor(self.training.model.tokenizer)

    @property
    def size(self) -> tuple[int, int] | None:
        """(height, width) that frames are resized to, pixels; None keeps theirs."""
        sides = self.image_size
        return (sides, sides) if isinstance(sides, int) else sides
