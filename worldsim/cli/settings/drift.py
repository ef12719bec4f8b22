"""Keys of `configs/drift.yaml` and what they accept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from worldsim.cli.settings.names import Device, JudgeName, ModelName
from worldsim.cli.settings.selection import Selecting
from worldsim.config_limits import Text, Whole
from worldsim.config_paths import DatasetFolder, InputFolder, ResultFolder
from worldsim.config_values import INLINE
from worldsim.evaluation.drift import DriftConfig
from worldsim.streaming.sampler import Sampler


@dataclass(frozen=True)
class Settings(Selecting):
    """See `configs/drift.yaml`."""

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
