"""Keys of `configs/play.yaml` and what they accept."""

from dataclasses import dataclass
from typing import Annotated, Literal

from worldsim.cli.settings.shared import Device, JudgeName, ModelName, SamplerNode, Selecting
from worldsim.config.limits import (
    DatasetFolder,
    FewSteps,
    OwnParts,
    Port,
    Positive,
    ResultFolder,
    Text,
    Workers,
    between,
)
from worldsim.config.values import Checked
from worldsim.sampling.sampler import Acceleration


@dataclass(frozen=True)
class PlayStarts(Selecting):
    """Node `starts`."""

    dataset: DatasetFolder | None
    split: Literal["train", "val", "all"]


@dataclass(frozen=True)
class PlaySampler(SamplerNode):
    """Node `sampler`: what the page can change, and the acceleration."""

    steps: FewSteps | None
    kind: Literal["autoregressive", "rolling"]
    acceleration: Acceleration


@dataclass(frozen=True)
class Settings(Checked):
    """See `configs/play.yaml`."""

    parts: OwnParts
    model: ModelName
    judge: JudgeName | None
    starts: PlayStarts
    simulator: bool
    sampler: PlaySampler
    host: Text
    port: Port
    names: tuple[Text, ...]
    recording_s: Positive
    max_sessions: Annotated[int, between(1, 1024)]
    out: ResultFolder
    device: Device
    threads: Workers
