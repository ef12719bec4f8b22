"""What a comparison of policies consists of: plain data that travels to worker processes.

Its digests decide whether a result on disk still belongs to it.
"""

from dataclasses import asdict, dataclass, field
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from itertools import pairwise
from pathlib import Path
from typing import Annotated, Any, Literal

from worldsim.config.limits import Count, FewSteps, OneOf, Seed, Text, Whole, between, inside
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
    Parts,
    digest_dataset,
    digest_env,
    digest_file,
    digest_named,
    digest_network,
    hash_of,
)
from worldsim.rollout.episodes import METRICS, SUCCESS, World
from worldsim.rollout.own_code import place_digest
from worldsim.training.run_folder import file_fingerprint

FORMAT = 3
"""Raised whenever results made by older code no longer hold."""

PACKAGES = ("worldsim", "torch", "numpy", "mujoco", "gymnasium")
"""Packages that move the figures of a rollout."""

DEVELOPMENT, VALIDATION, RELEASE = "development", "validation", "release"
"""Names of blocks of starts; those of pools of policies are the first and the last."""
PoolName = Literal["development", "release"]
GateName = Annotated[str, OneOf(lambda: GATES)]

Resamples = Annotated[int, between(1, 10**7)]
Level = Annotated[float, inside(0, 1)]
"""Of a confidence interval, such as 0.95."""


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
        files = digest_env(self.env_id, self.env_kwargs)
        parts = {
            "worldsim or its packages": hash_of([FORMAT, software()]),
            "the policy": hash_of([entry, named]),
            "the simulator env": hash_of([self.env_id, self.env_kwargs, files]),
            "the starts": hash_of([starts, data and digest_dataset(Path(data))]),
            "max_steps, seed or films": hash_of([self.max_steps, self.seed, filmed]),
            "the world": hash_of(world),
        }
        if own := parts_in_use():
            parts["the code of own parts"] = hash_of([place_digest(place) for place in own])
        if baseline is not None:
            parts[f"baselines.{world}"] = hash_of(baseline.content(getattr(self.baselines, world)))
        reads = self._reads(world) if baseline is None else baseline.reads
        if "model" in reads:
            parts["the world model"] = digest_network(Path(self.model))
        if "sampling_steps" in reads:
            parts["sampling_steps"] = hash_of(self.sampling_steps)
        if self.gated and world == "imagination":
            made_with = GATES.get(self.gate_kind).made_with
            parts["the gate"] = digest_file(self.gate_folder / made_with)
        if "judge" in reads:
            parts["the judge"] = digest_network(Path(self.judge))
            device = inference_device(self.device)
            parts["the device"] = hash_of([device.type, has_fast_bf16(device)])
            if self.hold is not None and world != "simulator":
                parts["hold"] = hash_of(self.hold)
        return parts

    def _reads(self, world: World) -> tuple[str, ...]:
        """What results in imagination or simulator depend on, in the words of `Baseline.reads`."""
        if world == "imagination":
            return "model", "sampling_steps", "judge"
        return ("judge",) if self.watch_simulator else ()


@dataclass(frozen=True)
class RankingOptions(Checked):
    """What turns results into a ranking.

    Attributes:
        reference_csv: logged rates that stand for the reference; None takes the simulator.
        groups: {policy: group} of policies that are compared among themselves too.
        null_policy: the policy that does nothing, if it is in the pool.
        bootstrap_samples: resamples of every interval.
        level: of every interval.
        seed: of the resampling.
        metric: registered name of the episode metric that is ranked.
        judge_validation: starts of the validation block from which policies that are not ranked run
            in both worlds, to measure the judge; see `worldsim.rollout.judge_validation`.
    """

    reference_csv: str | None = None
    groups: dict[str, str] = field(default_factory=dict)
    null_policy: str | None = "zero"
    bootstrap_samples: Resamples = 4000
    level: Level = 0.95
    seed: Seed = 0
    metric: Text = SUCCESS
    judge_validation: Whole = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        METRICS.get(self.metric)
        if self.reference_csv is not None and self.metric != SUCCESS:
            raise UsageError(
                f"metric={self.metric}: logged rates are of success, so nothing else can be "
                "compared with them; leave reference.csv out, or rank metric=success"
            )
        if self.reference_csv is not None and self.judge_validation:
            raise UsageError(
                f"judge_validation={self.judge_validation} holds imagination against a simulator, "
                "and reference.csv says that rates are of another world; leave one of them out"
            )

    @property
    def worlds(self) -> tuple[World, ...]:
        """Worlds in which policies must be rolled out."""
        return ("imagination",) if self.reference_csv else ("imagination", "simulator")


def software() -> dict[str, str]:
    """{package: version} of those installed of `PACKAGES`."""
    found = {}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
