"""Keys of `configs/rollout.yaml`, most of which `configs/rank.yaml` has too."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from worldsim.cli.settings.env import EnvNode, check_env_node
from worldsim.cli.settings.shared import Device, JudgeName, ModelName
from worldsim.config.limits import (
    Count,
    FewSteps,
    ResultFolder,
    Seed,
    Text,
    Whole,
    Workers,
    dataset_folder,
)
from worldsim.config.values import Checked
from worldsim.errors import UsageError, unknown_name
from worldsim.policies.pool import check_entry
from worldsim.rollout.eval_config import StartPlan


@dataclass(frozen=True)
class PoolNode:
    """Node `policy`: a pool of policies, and groups of them."""

    policies: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


@dataclass(frozen=True)
class RolloutSettings(Checked):
    """Keys of both commands."""

    env: EnvNode | None
    policy: PoolNode | None
    out: ResultFolder
    model: ModelName
    judge: JudgeName | None
    starts: StartPlan
    sampling_steps: FewSteps
    max_steps: Count | None
    seed: Seed
    batch_size: Count
    device: Device
    workers: Workers | None
    watch_simulator: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.starts.dataset is not None:
            dataset_folder.check(self.starts.dataset, "starts.dataset")
        if self.env:
            check_env_node(self.env, self.starts.factors, "starts.factors")

        if self.policy is None or not self.policy.policies:
            raise UsageError("no policies; choose a pool, such as policy=pool_push")
        for name, entry in self.policy.policies.items():
            check_entry(entry, f"policy.policies.{name}")
        for group, names in self.policy.groups.items():
            self.require_policies(names, f"policy.groups.{group}")

    def require_policies(self, names: Iterable[str], key: str) -> None:
        """Refuse names of policies that are not in the pool.

        Args:
            names: of policies.
            key: where they stand in the config.

        Raises:
            UsageError: there is no such policy.
        """
        known = self.policy.policies if self.policy else {}
        for name in names:
            if name not in known:
                raise unknown_name(f"policy in {key}", name, known)


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
