"""Keys of `configs/collect.yaml` and what they accept."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from worldsim.cli.settings.env import EnvNode, check_env_node
from worldsim.collection.behaviours import Behaviour
from worldsim.config.limits import (
    Count,
    Fraction,
    OutputFolder,
    OwnParts,
    Seed,
    Text,
    Weight,
    Whole,
    Workers,
)
from worldsim.config.values import Checked
from worldsim.data.video import VideoCodec
from worldsim.errors import UsageError, unknown_name
from worldsim.policies.dials import Speed

AUTO, OWN = "auto", "own"


@dataclass(frozen=True)
class Spread:
    """Bounds of the dials that the mixture `own` draws; see `worldsim.policies.dials.Dials`."""

    noise: tuple[Weight, Weight]
    offset: tuple[Weight, Weight]
    speed: tuple[Speed, Speed]
    smoothing: tuple[Fraction, Fraction]


@dataclass(frozen=True)
class OwnNode(Checked):
    """Group `own`: the policy that the mixture of that name records.

    Attributes:
        policy: registered policy name.
        options: its arguments.
        spread: bounds between which the mixture draws its dials.
    """

    policy: Text
    options: Mapping[str, Any]
    spread: Spread

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.options.get("target", "") is None:
            raise UsageError(
                "own.options.target is null; name the expert's class, as in "
                "own.options.target=my_expert.py:MyExpert"
            )


@dataclass(frozen=True)
class Settings(Checked):
    """See `configs/collect.yaml`."""

    parts: OwnParts
    env: EnvNode | None
    own: OwnNode
    out: OutputFolder
    episodes: Count
    seed: Seed
    workers: Workers
    max_steps: Count | None
    steps_after_success: Whole
    factors: Mapping[str, Any]
    mixture: Text
    mixtures: Mapping[str, Mapping[str, Behaviour | None]]
    codec: VideoCodec

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.env or not self.env.get("id"):
            raise UsageError("collect needs env.id; choose one of the env group, such as env=push")
        check_env_node(self.env, self.factors, "factors")
        if self.mixture not in (AUTO, *self.mixtures):
            raise unknown_name("mixture", self.mixture, [AUTO, *self.mixtures])
        for mixture, behaviours in self.mixtures.items():
            for name, behaviour in behaviours.items():
                if behaviour is not None:
                    behaviour.check_policy(f"mixtures.{mixture}.{name}")
