"""`WorldModelConfig`: the sizes of a world model's parts, and what it was trained for.

Also what these say of help from the simulator that no robot has.
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from worldsim.config.compose import build
from worldsim.config.limits import Count, OneOf, Share, Whole
from worldsim.config.values import Checked
from worldsim.errors import UsageError
from worldsim.memory.base import MemoryConfig, registered_depths, registered_memories
from worldsim.models.conditioners.base import registered_conditioners, require_distinct
from worldsim.models.denoisers.base import DenoiserConfig
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state import HeadConfig
from worldsim.models.migrate import migrated_config
from worldsim.models.pretrained import own_parts_told, resolve_folder
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.trained_ladder import TrainedLadder
from worldsim.models.weights import CONFIG, load_config

KIND = "world_model"
ConditionerName = Annotated[str, OneOf(registered_conditioners)]
TABLETOP: tuple[ConditionerName, ...] = ("effector", "objects", "rays", "outlines")
"""Conditioners of an arm over a table, in the order in which shipped models have their channels."""


@dataclass(frozen=True)
class WorldModelConfig(Checked):
    """Sizes of the parts.

    Attributes:
        memory: what is kept beyond the context.
        history_sigma: level under which the model re-reads its own clean frames.
        recent: frames of context beside the sink.
        sink: first frames that are never forgotten.
        conditioners: which maps frames are conditioned on, by registered names, in the order of
            their channels.
        derotate: whether panoramas that ride on an agent are turned to heading zero before they are
            encoded. A turn then is exact resampling, and the networks model translation alone.
        condition_on_state: whether frames are conditioned on the state before and after each
            action. With False and no conditioners they have the actions alone, as plain video
            models do.
        ladder: which noise levels it was trained for.
        calibrated: whether it was trained on calibrated cameras, and so needs theirs.
        state_labels: whether it learnt to read the simulator's state or progress.
        depth_labels: whether its depth head learnt from the simulator's depth.
        event_labels: whether it learnt to read events that recordings tell.

    Raises:
        UsageError: a conditioner stands there twice, a memory needs a depth head and there is
            none, or a stride head needs panoramas that are turned.
    """

    tokenizer: TokenizerConfig = field(default_factory=TokenizerConfig)
    denoiser: DenoiserConfig = field(default_factory=DenoiserConfig)
    head: HeadConfig = field(default_factory=HeadConfig)
    dynamics: DynamicsConfig = field(default_factory=DynamicsConfig)
    memory: MemoryConfig = field(default_factory=MemoryConfig)
    history_sigma: Share = 0.03
    recent: Count = 7
    sink: Whole = 1
    conditioners: tuple[ConditionerName, ...] = TABLETOP
    condition_on_state: bool = True
    derotate: bool = False
    ladder: TrainedLadder = field(default_factory=TrainedLadder)
    calibrated: bool = False
    state_labels: bool = False
    depth_labels: bool = False
    event_labels: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        require_distinct(self.conditioners)
        if self.head.stride and not self.derotate:
            raise UsageError(
                "model.head.stride=true looks ahead in panoramas that are turned to one heading; "
                "set model.derotate=true beside it, or model.head.stride=false"
            )
        memory = registered_memories().get(self.memory.name)
        if memory.reads_depth and self.memory.depth == "head" and not self.head.depth:
            raise UsageError(
                f"model.memory.name={self.memory.name} with model.memory.depth=head needs a depth "
                "head; set model.head.depth=true and train it, or name another source: "
                f"{', '.join(registered_depths())}"
            )

    @property
    def depth_assisted(self) -> bool:
        """Whether its memory reads the simulator's depth or the truth, or a head learnt from it."""
        memory = registered_memories().get(self.memory.name)
        given = memory.reads_depth and registered_depths().get(self.memory.depth).privileged
        return bool(memory.told_truth or given or self.depth_labels)


def trained_config(reference: str | Path) -> WorldModelConfig:
    """Sizes of the model that `resolve_folder` finds, without its weights.

    Raises:
        UsageError: not found.
        DataError: there is no world model in it.
    """
    folder = resolve_folder(reference)
    with own_parts_told(folder):
        return config_of(load_config(folder, KIND), folder)


def config_of(data: dict[str, Any], folder: Path) -> WorldModelConfig:
    """The config in what a folder's config.json holds, whichever version wrote it."""
    where = f"{folder}/{CONFIG}"
    plain = migrated_config(data["config"], data.get("config_version"), where)
    return build(WorldModelConfig, plain, where)
