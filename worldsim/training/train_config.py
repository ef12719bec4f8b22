"""Everything that one run of training is told."""

from dataclasses import dataclass
from pathlib import Path

from worldsim.config.limits import Seed, Whole
from worldsim.config.values import Checked
from worldsim.errors import UsageError
from worldsim.models.world_model import WorldModelConfig
from worldsim.training.config import FitConfig, RunConfig
from worldsim.training.decoder import DecoderConfig
from worldsim.training.dynamics import DynamicsPlan
from worldsim.training.plan.plan import PlanConfig
from worldsim.training.tokenizer import TokenizerConfig


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
            it, which `worldsim.training.inheritance` sees to.
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
        if self.dynamics.keep and self.start_from is None and self.reuse is None:
            raise UsageError(
                "dynamics.keep keeps a trained model's: name it by start_from= or reuse="
            )
