"""Keys of `configs/revisit.yaml` and what they accept."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from worldsim.cli.settings.env import EnvNode, check_env_node
from worldsim.cli.settings.shared import Device, ModelName, SamplerNode
from worldsim.config.limits import (
    DatasetFolder,
    InputFile,
    OwnParts,
    Positive,
    ResultFolder,
    Steps,
    Text,
    Whole,
)
from worldsim.config.values import INLINE, Checked
from worldsim.errors import UsageError
from worldsim.sampling.sampler import Solver
from worldsim.validation.revisit.arms import chosen_arms
from worldsim.validation.revisit.places import RevisitConfig
from worldsim.validation.revisit.recorded import RecordedConfig

INDOOR = "worldsim/IndoorNav-v0"


@dataclass(frozen=True)
class RevisitSampler(SamplerNode):
    """Node `sampler`; streams go frame by frame."""

    steps: Steps | None
    shift: Positive
    solver: Solver


@dataclass(frozen=True)
class Settings(Checked):
    """See `configs/revisit.yaml`."""

    parts: OwnParts
    out: ResultFolder
    model: ModelName
    env: EnvNode
    dataset: DatasetFolder | None
    recorded: Annotated[RecordedConfig, INLINE]
    revisit: Annotated[RevisitConfig, INLINE]
    lpips: InputFile | None
    sampler: RevisitSampler
    device: Device
    films: Whole
    film_arms: tuple[Text, ...]
    title: Text

    def __post_init__(self) -> None:
        super().__post_init__()
        check_env_node(self.env, {}, "env.factors")
        if self.dataset is None and self.env.get("id") != INDOOR:
            raise UsageError(
                f"env.id is {self.env.get('id')!r}; routes are planned in apartments, so expected "
                f"{INDOOR} (env=indoor); of other worlds give recorded episodes, dataset=FOLDER"
            )
        if self.film_arms:
            chosen_arms(self.film_arms)

    @property
    def weights(self) -> Path | None:
        """Of LPIPS."""
        return None if self.lpips is None else Path(self.lpips)
