"""Keys of `configs/rollout.yaml` and what they accept."""

from dataclasses import dataclass
from typing import Literal

from worldsim.cli.settings.rollouts import RolloutSettings
from worldsim.config.limits import Text, Whole
from worldsim.config.values import Checked


@dataclass(frozen=True)
class RolloutFilms(Checked):
    """Node `films`."""

    starts: Whole


@dataclass(frozen=True)
class Settings(RolloutSettings):
    """See `configs/rollout.yaml`."""

    name: Text
    world: Literal["simulator", "imagination", "both"]
    films: RolloutFilms

    def __post_init__(self) -> None:
        super().__post_init__()
        self.require_policies([self.name], "name")
