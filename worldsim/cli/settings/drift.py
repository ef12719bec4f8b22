"""Keys of `configs/drift.yaml` and what they accept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from worldsim.cli.settings.shared import Device, JudgeName, ModelName, Selecting
from worldsim.config.limits import DatasetFolder, InputFolder, OwnParts, ResultFolder, Text, Whole
from worldsim.config.values import INLINE
from worldsim.sampling.sampler import Sampler
from worldsim.validation.drift import DriftConfig


@dataclass(frozen=True)
class Settings(Selecting):
    """See `configs/drift.yaml`."""

    parts: OwnParts
    out: ResultFolder
    dataset: DatasetFolder
    cache: Path | None
    model: ModelName
    judge: JudgeName | None
    sampler: Sampler
    drift: Annotated[DriftConfig, INLINE]
    device: Device
    title: Text
    also: tuple[InputFolder, ...]
    films: Whole
