"""Keys of `configs/drift.yaml` and what they accept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from worldsim.cli.settings.shared import Device, JudgeName, ModelName, SamplerNode, Selecting
from worldsim.config.limits import (
    Count,
    DatasetFolder,
    InputFolder,
    OwnParts,
    Positive,
    ResultFolder,
    Steps,
    Text,
    Whole,
)
from worldsim.config.values import INLINE
from worldsim.sampling.sampler import Acceleration, Kind, Solver
from worldsim.training.config import FilmDistanceConfig
from worldsim.validation.drift import DriftConfig
from worldsim.validation.film_distance import check_extractors


@dataclass(frozen=True)
class DriftSampler(SamplerNode):
    """Node `sampler`, all of its keys."""

    steps: Steps | None
    kind: Kind
    chunk: Count
    shift: Positive
    window: Count
    solver: Solver
    bidirectional: bool
    acceleration: Acceleration


@dataclass(frozen=True)
class Settings(Selecting):
    """See `configs/drift.yaml`."""

    parts: OwnParts
    out: ResultFolder
    dataset: DatasetFolder
    cache: Path | None
    model: ModelName
    judge: JudgeName | None
    sampler: DriftSampler
    drift: Annotated[DriftConfig, INLINE]
    device: Device
    title: Text
    also: tuple[InputFolder, ...]
    films: Whole
    film_distance: FilmDistanceConfig

    def __post_init__(self) -> None:
        super().__post_init__()
        check_extractors(self.film_distance)
