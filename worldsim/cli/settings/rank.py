"""Keys of `configs/rank.yaml` and what they accept."""

from collections.abc import Mapping
from dataclasses import dataclass

from worldsim.cli.settings.rollout import RolloutSettings
from worldsim.config.limits import InputFile, InputFolder, Text, Whole
from worldsim.config.values import Checked
from worldsim.rollout.episodes import METRICS
from worldsim.rollout.eval_config import Level, Resamples


@dataclass(frozen=True)
class ReferenceNode:
    """Node `reference`."""

    csv: InputFile | None


@dataclass(frozen=True)
class RankFilms(Checked):
    """Node `films`."""

    starts: Whole
    each: Whole


@dataclass(frozen=True)
class ReportNode:
    """Node `report`."""

    title: Text
    summary: str
    also: tuple[InputFolder, ...]


@dataclass(frozen=True)
class Settings(RolloutSettings):
    """See `configs/rank.yaml`."""

    only: tuple[Text, ...]
    metric: Text
    reference: ReferenceNode
    groups: Mapping[str, Text]
    null_policy: Text | None
    bootstrap_samples: Resamples
    level: Level
    films: RankFilms
    report: ReportNode

    def __post_init__(self) -> None:
        super().__post_init__()
        METRICS.get(self.metric)  # an unknown name is refused
        self.require_policies(self.only, "only")
        self.require_policies(self.groups, "groups")
