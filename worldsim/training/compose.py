"""`configs/train.yaml` to dataclasses. A stage's node holds its optimisation and its loss."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig, OmegaConf

from worldsim.config.compose import build
from worldsim.config.limits import Seed, Text
from worldsim.config.values import INLINE, Checked, keys_of
from worldsim.models.world_model import WorldModelConfig
from worldsim.training.config import FitConfig, RunConfig, ValidationConfig
from worldsim.training.decoder import DecoderConfig
from worldsim.training.dynamics import DynamicsPlan
from worldsim.training.plan.plan import PlanConfig
from worldsim.training.tokenizer import TokenizerConfig
from worldsim.training.train_config import TrainConfig


@dataclass(frozen=True)
class TokenizerNode:
    """Keys of node `tokenizer`."""

    fit: Annotated[FitConfig, INLINE]
    loss: Annotated[TokenizerConfig, INLINE]


@dataclass(frozen=True)
class DynamicsNode:
    """Keys of node `dynamics`."""

    fit: Annotated[FitConfig, INLINE]
    plan: Annotated[DynamicsPlan, INLINE]


@dataclass(frozen=True)
class DecoderNode:
    """Keys of node `decoder`."""

    fit: Annotated[FitConfig, INLINE]
    loss: Annotated[DecoderConfig, INLINE]


@dataclass(frozen=True)
class TrainerNode:
    """Keys of node `trainer`."""

    fit: Annotated[FitConfig, INLINE]
    run: Annotated[RunConfig, INLINE]


@dataclass(frozen=True)
class TrainingNodes(Checked):
    """Keys of `configs/train.yaml` that say how a world model is trained; see `TrainConfig`."""

    seed: Seed
    model: WorldModelConfig
    tokenizer: TokenizerNode
    dynamics: DynamicsNode
    plan: PlanConfig
    decoder: DecoderNode
    trainer: TrainerNode
    reuse: Text | None
    start_from: Text | None
    transfer_from: Text | None
    overwrite: bool

    def __post_init__(self) -> None:
        super().__post_init__()
        self.config()  # what does not go together is told now

    def config(self, validate_every: int = 0) -> TrainConfig:
        """The run that they describe.

        Raises:
            UsageError: keys do not go together.
        """
        return TrainConfig(
            seed=self.seed,
            model=self.model,
            tokenizer=self.tokenizer.loss,
            tokenizer_fit=self.tokenizer.fit,
            dynamics=self.dynamics.plan,
            dynamics_fit=self.dynamics.fit,
            plan=self.plan,
            world_fit=self.trainer.fit,
            decoder=self.decoder.loss,
            decoder_fit=self.decoder.fit,
            run=self.trainer.run,
            validate_every=validate_every,
            reuse=None if self.reuse is None else Path(self.reuse),
            start_from=self.start_from,
            transfer_from=self.transfer_from,
            overwrite=self.overwrite,
        )


def train_config(config: DictConfig) -> TrainConfig:
    """The run that a composed `configs/train.yaml` describes.

    Raises:
        UsageError: a key or a registered name is unknown, or a value does not fit.
    """
    own = OmegaConf.masked_copy(config, sorted(keys_of(TrainingNodes)))
    validation = build(ValidationConfig, config.validation, "validation")
    return build(TrainingNodes, own).config(validation.every)
