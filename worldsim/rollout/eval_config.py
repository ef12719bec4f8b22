"""What a comparison of policies consists of: plain data that travels to worker processes.

Its digests decide whether a result on disk still belongs to it.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from worldsim.config.limits import Count, FewSteps, OneOf, Seed, Text, Whole
from worldsim.config.values import Checked
from worldsim.data.selection import ColumnOptions, Selection, read_selection
from worldsim.errors import UsageError
from worldsim.hardware import has_fast_bf16, inference_device
from worldsim.judge.gate import INVERSE_DYNAMICS, GateLimit
from worldsim.judge.gates import GATES
from worldsim.models.weights import WEIGHTS
from worldsim.own_imports import parts_in_use
from worldsim.rollout.baselines import BASELINES, BaselineOptions
from worldsim.rollout.dependencies import (
    digest_dataset,
    digest_file,
    digest_named,
    digest_network,
)
from worldsim.rollout.episodes import World
from worldsim.rollout.own_code import module_digest, place_digest
from worldsim.training.run_folder import file_fingerprint

FORMAT = 3
"""Raised whenever results made by older code no longer hold."""

PACKAGES = ("worldsim", "torch", "numpy", "mujoco", "gymnasium")
"""Packages that move the figures of a rollout."""

DEVELOPMENT, VALIDATION, RELEASE = "development", "validation", "release"
"""Names of blocks of starts; those of pools of policies are the first and the last."""
PoolName = Literal["development", "release"]
GateName = Annotated[str, OneOf(lambda: GATES)]

Parts = dict[str, str]
"""Hashes of what a result depends on, by what it is."""


@dataclass(frozen=True)
class StartPlan(Checked):
    """Which starts every policy gets.

    Attributes:
        count: N.
        seed: the simulator starts have seeds seed, seed + 1, ...; several numbers begin blocks
            of equal length. None leaves them to the block, see `worldsim.rollout.start_blocks`.
        factors: factors of variation that are fixed in all of them.
        dataset: take the first frames of this data set's episodes instead; None asks the simulator.
        split: which of its episodes.
        columns: which of its columns are what.
        episodes: which of its episodes there are to choose from; see
            `worldsim.data.selection.read_episodes`.
        block: name of the block that the seeds are of; None for seeds of one's own.
    """

    count: Count = 64
    seed: Seed | tuple[Seed, ...] | None = 0
    factors: dict[str, Any] = field(default_factory=dict)
    dataset: Text | None = None
    split: Literal["train", "val", "all"] = "val"
    columns: ColumnOptions = field(default_factory=ColumnOptions)
    episodes: Any = None
    block: Text | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.episodes is not None:
            _ = self.selection  # refuses what cannot be read
        if self.seed is None:
            return
        blocks = sorted(self.blocks)
        if not blocks:
            raise UsageError("seed names no block of starts; give one, such as 0")
        length, rest = divmod(self.count, len(blocks))
        if rest:
            raise UsageError(
                f"count is {self.count}; expected a multiple of {len(blocks)}, as "
                f"seed begins {len(blocks)} blocks of equal length"
            )
        if any(after - before < length for before, after in pairwise(blocks)):
            raise UsageError(
                f"seed={blocks}: blocks of {length} seeds overlap, so the same starts "
                "would count twice"
            )

    @property
    def blocks(self) -> tuple[int, ...]:
        """First seed of each block of equal length."""
        return (self.seed,) if isinstance(self.seed, int) else tuple(self.seed or ())

    @property
    def seeds(self) -> list[int]:
        """The N seeds of simulator starts."""
        length = self.count // max(len(self.blocks), 1)
        return [first + i for first in self.blocks for i in range(length)]

    @property
    def selection(self) -> Selection:
        """What of the data set is taken."""
        return read_selection(self.columns, self.episodes)


@dataclass(frozen=True)
class EvalConfig(Checked):
    """Policies, worlds and starts.

    Attributes:
        policies: {name: entry} as `load_pool` reads them.
        env_id: simulator env, or None where there is none.
        env_kwargs: for its constructor.
        model: folder of the world model.
        judge: folder of the judge.
        starts: which starts.
        sampling_steps: denoising steps a frame.
        max_steps: an episode ends after so many actions; None takes the simulator's horizon.
        seed: of the noise of policies and imagination.
        batch_size: episodes side by side.
        watch_simulator: whether the judge watches the simulator too.
        gate: whether imagined rollouts are gated, where judge and model have a gate.
        gate_kind: which gate; see `worldsim.judge.gates`.
        films: how many of the starts are filmed, in both worlds and for every policy.
        pool: which of the pools the policies are, `development` or `release`.
        device: where world model and judge compute; see `inference_device`.
        baselines: what else the policies are ranked by.
        hold: frames in a row in which the judge must see success where nothing is simulated; None
            leaves that to its own rule.
    """

    policies: dict[str, dict[str, Any]]
    env_id: str | None
    env_kwargs: dict[str, Any]
    model: str
    judge: str
    starts: StartPlan = field(default_factory=StartPlan)
    sampling_steps: FewSteps = 2
    max_steps: Count | None = None
    seed: Seed = 0
    batch_size: Count = 64
    watch_simulator: bool = True
    gate: bool = True
    gate_kind: GateName = INVERSE_DYNAMICS
    films: Whole = 4
    device: str = "cpu"
    pool: PoolName = "development"
    baselines: BaselineOptions = field(default_factory=BaselineOptions)
    hold: Count | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.env_id is None and self.max_steps is None:
            raise UsageError("without a simulator env there is no horizon; give max_steps")
        if self.starts.seed is None:
            raise UsageError("starts.seed is null; give the first seed, or take a block's")
        if (self.starts.block == RELEASE) != (self.pool == RELEASE):
            raise UsageError(
                f"starts.block={self.starts.block or 'null'} and pool={self.pool}: release starts "
                "and release pool go together; give starts.block=release pool=release, or neither"
            )

    @property
    def is_release(self) -> bool:
        """Whether it scores what ships, on starts and policies that nothing was tuned on."""
        return self.pool == RELEASE

    @property
    def filmed(self) -> range:
        """Ids of the filmed starts."""
        return range(min(self.films, self.starts.count))

    @cached_property
    def gated(self) -> GateLimit | None:
        """The gate's limit, where rollouts are gated."""
        if not self.gate or not self.gate_folder.is_dir():
            return None
        model = file_fingerprint(Path(self.model) / WEIGHTS)
        return GateLimit.of_folder(self.gate_folder, model, self.sampling_steps)

    @property
    def gate_folder(self) -> Path:
        """Where the judge has the gate, if it has it."""
        return Path(self.judge) / GATES.get(self.gate_kind).folder

    def parts(self, policy: str, world: World) -> Parts:
        """Hash of each thing that one policy's result in one world depends on.

        Files and code count by their content. How many episodes run side by side, and in how many
        processes, changes rounding alone and does not count; nor does what a remote policy's
        server holds, which cannot be seen from here.
        """
        entry, data = self.policies[policy], self.starts.dataset
        starts = {key: value for key, value in asdict(self.starts).items() if key != "block"}
        named = digest_named({key: value for key, value in entry.items() if key != "kind"})
        baseline = BASELINES.get(world) if world in BASELINES else None
        filmed = list(self.filmed) if baseline is None else []
        parts = {
            "worldsim or its packages": _hash([FORMAT, software()]),
            "the policy": _hash([entry, named]),
            "the simulator env": _hash([self.env_id, self.env_kwargs, self._env_files()]),
            "the starts": _hash([starts, data and digest_dataset(Path(data))]),
            "max_steps, seed or films": _hash([self.max_steps, self.seed, filmed]),
            "the world": _hash(world),
        }
        if own := parts_in_use():
            parts["the code of own parts"] = _hash([place_digest(place) for place in own])
        if baseline is not None:
            parts[f"baselines.{world}"] = _hash(baseline.content(getattr(self.baselines, world)))
        reads = self._reads(world) if baseline is None else baseline.reads
        if "model" in reads:
            parts["the world model"] = digest_network(Path(self.model))
        if "sampling_steps" in reads:
            parts["sampling_steps"] = _hash(self.sampling_steps)
        if self.gated and world == "imagination":
            made_with = GATES.get(self.gate_kind).made_with
            parts["the gate"] = digest_file(self.gate_folder / made_with)
        if "judge" in reads:
            parts["the judge"] = digest_network(Path(self.judge))
            device = inference_device(self.device)
            parts["the device"] = _hash([device.type, has_fast_bf16(device)])
            if self.hold is not None and world != "simulator":
                parts["hold"] = _hash(self.hold)
        return parts

    def _reads(self, world: World) -> tuple[str, ...]:
        """What results in imagination or simulator depend on, in the words of `Baseline.reads`."""
        if world == "imagination":
            return "model", "sampling_steps", "judge"
        return ("judge",) if self.watch_simulator else ()

    def _env_files(self) -> list[str | None]:
        """Hashes of what the env's arguments name, and of the code of a foreign env."""
        import gymnasium

        registered = gymnasium.registry.get(str(self.env_kwargs.get("source", self.env_id)))
        entry = registered.entry_point if registered else None
        module = entry if isinstance(entry, str) else getattr(entry, "__module__", "")
        code = module_digest(module.partition(":")[0]) if module else None
        return [*digest_named(self.env_kwargs), code]


def software() -> dict[str, str]:
    """{package: version} of those installed of `PACKAGES`."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def digest_of(parts: Parts) -> str:
    """One hash of them all."""
    return _hash(parts)


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()
