"""Everything that one run of training is told, and how `configs/train.yaml` fills it.

A stage's node of that file holds its optimisation and its loss together.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from omegaconf import DictConfig, OmegaConf

from worldsim.config.compose import build
from worldsim.config.limits import Seed, Text, Whole
from worldsim.config.values import INLINE, Checked, keys_of
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModelConfig
from worldsim.training.config import FitConfig, RunConfig, ValidationConfig
from worldsim.training.loss import PlanConfig
from worldsim.training.losses.decoder import DecoderConfig
from worldsim.training.losses.dynamics import DynamicsPlan
from worldsim.training.losses.tokenizer import TokenizerConfig


@dataclass(frozen=True)
class TrainConfig(Checked):
    """A whole run.

    Attributes:
        seed: of initial weights, data order and noise.
        model: sizes of the networks.
        tokenizer: loss of the tokenizer stage.
        tokenizer_fit: optimisation of the tokenizer stage.
        dynamics: rollouts of the dynamics stage.
        dynamics_fit: optimisation of the dynamics stage.
        plan: loss of the world stage.
        world_fit: optimisation of the world stage.
        decoder: loss of the decoder stage.
        decoder_fit: optimisation of the decoder stage.
        run: how it is carried out.
        validate_every: optimiser steps between validations; 0 validates at the end only.
        reuse: another run's folder, or a world model, whose tokenizer is taken, and whose dynamics
            are if `dynamics.keep` says so; None trains its own.
        start_from: a world model to go on training, whose sizes, tokenizer and normaliser then
            hold, but not the length of its context; None starts afresh. `model` must agree with
            it, which `worldsim.training.stages.parents` sees to.
        transfer_from: a world model of another task of the same robot and cameras to begin with,
            whose sizes (but the dynamics') and tokenizer then hold; see `worldsim.models.transfer`.
        overwrite: train stages anew that were begun under another config.
    """

    seed: Seed
    model: WorldModelConfig
    tokenizer: TokenizerConfig
    tokenizer_fit: FitConfig
    dynamics: DynamicsPlan
    dynamics_fit: FitConfig
    plan: PlanConfig
    world_fit: FitConfig
    decoder: DecoderConfig
    decoder_fit: FitConfig
    run: RunConfig
    validate_every: Whole = 0
    reuse: Path | None = None
    start_from: str | None = None
    transfer_from: str | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.transfer_from is not None and self.start_from is not None:
            raise UsageError(
                "start_from trains a model of this very world further, transfer_from begins with "
                "one of another task; give one of them"
            )
        if self.reuse is not None and self.start_from is not None:
            raise UsageError(
                f"start_from={self.start_from} brings its own tokenizer and dynamics, so nothing "
                f"of reuse={self.reuse} would be read; give one of them (reuse=null drops one)"
            )
        if self.reuse is not None and self.transfer_from is not None and not self.dynamics.keep:
            raise UsageError(
                f"transfer_from={self.transfer_from} brings its own tokenizer, so nothing of "
                f"reuse={self.reuse} would be read unless dynamics.keep=true; give one of them"
            )
        if self.plan.has_teacher and self.start_from is None:
            raise UsageError(
                "plan.distillation and plan.matching need a teacher: start_from=FOLDER of a "
                "trained model"
            )
        if self.start_from is None and self.transfer_from is None:  # which bring a memory
            self.plan.require_memory(self.model.memory)
        if self.dynamics.keep and self.start_from is None and self.reuse is None:
            raise UsageError(
                "dynamics.keep keeps a trained model's: name it by start_from= or reuse="
            )


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
