"""Keys of `configs/rollout.yaml`, most of which `configs/rank.yaml` has too."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from worldsim.cli.settings.env import EnvNode, check_env_node
from worldsim.cli.settings.shared import Device, JudgeName, ModelName
from worldsim.config.limits import (
    Count,
    FewSteps,
    OwnParts,
    ResultFolder,
    Seed,
    Text,
    Whole,
    Workers,
    dataset_folder,
)
from worldsim.config.values import Checked
from worldsim.errors import UsageError, unknown_name
from worldsim.policies.pool import check_entry, pool_entries
from worldsim.rollout.eval_config import RELEASE, GateName, StartPlan
from worldsim.rollout.start_blocks import SeedBlock, StartBlocks


@dataclass(frozen=True)
class Pool:
    """Policies, and groups of them; the policies of `checkpoints` are among `policies`."""

    policies: Mapping[str, Mapping[str, Any]]
    groups: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    checkpoints: Text | None = None

    def __post_init__(self) -> None:
        if self.checkpoints is not None:
            object.__setattr__(self, "policies", pool_entries(vars(self)))


@dataclass(frozen=True)
class PoolNode(Pool):
    """Node `policy`: the pool to develop on, the one that what ships is scored on, and the one that
    judges are measured on."""

    release: Pool = field(default_factory=lambda: Pool({}))
    validation: Pool = field(default_factory=lambda: Pool({}))


@dataclass(frozen=True)
class RolloutSettings(Checked):
    """Keys of both commands."""

    parts: OwnParts
    env: EnvNode | None
    policy: PoolNode | None
    out: ResultFolder
    model: ModelName
    judge: JudgeName | None
    starts: StartPlan
    sampling_steps: FewSteps | None
    max_steps: Count | None
    seed: Seed
    batch_size: Count
    device: Device
    workers: Workers | None
    watch_simulator: bool
    gate: bool
    gate_kind: GateName
    start_blocks: Mapping[str, SeedBlock]

    def __post_init__(self) -> None:
        super().__post_init__()
        StartBlocks(self.start_blocks).place(self.starts)
        if self.starts.dataset is not None:
            dataset_folder.check(self.starts.dataset, "starts.dataset")
        if self.env:
            check_env_node(self.env, self.starts.factors, "starts.factors")

        if self.policy is None or not self.policy.policies:
            raise UsageError("no policies; choose a pool, such as policy=pool_push")
        _check_pool(self.policy, "policy")
        _check_pool(self.policy.release, "policy.release")
        _check_pool(self.policy.validation, "policy.validation")

    @property
    def chosen_pool(self) -> Pool:
        """The pool whose policies are rolled out."""
        assert self.policy is not None
        return self.policy

    def require_policies(self, names: Iterable[str], key: str) -> None:
        """Refuse names of policies that are not in the chosen pool.

        Args:
            names: of policies.
            key: where they stand in the config.

        Raises:
            UsageError: there is no such policy.
        """
        _require(self.chosen_pool, names, key)


def _check_pool(pool: Pool, where: str) -> None:
    for name, entry in pool.policies.items():
        check_entry(entry, f"{where}.policies.{name}")
    for group, names in pool.groups.items():
        _require(pool, names, f"{where}.groups.{group}")


def _require(pool: Pool, names: Iterable[str], key: str) -> None:
    for name in names:
        if name not in pool.policies:
            raise unknown_name(f"policy in {key}", name, pool.policies)


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
        if self.starts.block == RELEASE:
            raise UsageError(
                "starts.block=release is for `worldsim rank pool=release`, which logs what it "
                "does; roll out from other starts"
            )
        self.require_policies([self.name], "name")
