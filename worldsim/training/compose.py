"""`configs/train.yaml` to dataclasses. One node may fill several of them, field by field."""

from dataclasses import fields
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from worldsim.config import build
from worldsim.errors import unknown_name
from worldsim.models.backbones import DENOISERS
from worldsim.models.world_model import WorldModelConfig
from worldsim.training.config import FitConfig, RunConfig
from worldsim.training.decoder import DecoderConfig
from worldsim.training.dynamics import DynamicsPlan
from worldsim.training.plan.distillation import DISTILLATIONS
from worldsim.training.plan.noise import NOISE_POLICIES
from worldsim.training.plan.plan import PlanConfig
from worldsim.training.plan.window import WINDOW_SELECTORS
from worldsim.training.tokenizer import TokenizerConfig
from worldsim.training.train_config import TrainConfig


def build_parts(node: DictConfig, where: str, *classes: type[Any]) -> list[Any]:
    """Share the keys of a node among dataclasses with distinct fields.

    Raises:
        UsageError: a key belongs to none of them, or a value does not fit.
    """
    data = OmegaConf.to_container(node, resolve=True)
    assert isinstance(data, dict)
    owned = [{field.name for field in fields(cls)} for cls in classes]
    known = set().union(*owned)
    for key in data:
        if key not in known:
            raise unknown_name(f"key in {where}", str(key), known)
    return [
        build(cls, {key: data[key] for key in names if key in data}, where)
        for cls, names in zip(classes, owned, strict=True)
    ]


def train_config(config: DictConfig) -> TrainConfig:
    """The run that a composed `configs/train.yaml` describes.

    Raises:
        UsageError: a key or a registered name is unknown, or a value does not fit.
    """
    tokenizer_fit, tokenizer = build_parts(
        config.tokenizer, "tokenizer", FitConfig, TokenizerConfig
    )
    dynamics_fit, dynamics = build_parts(config.dynamics, "dynamics", FitConfig, DynamicsPlan)
    decoder_fit, decoder = build_parts(config.decoder, "decoder", FitConfig, DecoderConfig)
    world_fit, run = build_parts(config.trainer, "trainer", FitConfig, RunConfig)
    composed = TrainConfig(
        seed=int(config.seed),
        model=build(WorldModelConfig, config.model, "model"),
        tokenizer=tokenizer,
        tokenizer_fit=tokenizer_fit,
        dynamics=dynamics,
        dynamics_fit=dynamics_fit,
        plan=build(PlanConfig, config.plan, "plan"),
        world_fit=world_fit,
        decoder=decoder,
        decoder_fit=decoder_fit,
        run=run,
        validate_every=int(config.validation.every),
        reuse=Path(config.reuse) if config.reuse else None,
        start_from=str(config.start_from) if config.start_from else None,
        transfer_from=str(config.transfer_from) if config.transfer_from else None,
        overwrite=bool(config.overwrite),
    )
    _require_registered(composed)
    return composed


def _require_registered(config: TrainConfig) -> None:
    """Refuse unknown names now rather than after the first stage."""
    DENOISERS.get(config.model.denoiser.name)
    NOISE_POLICIES.get(config.plan.noise.name)
    WINDOW_SELECTORS.get(config.plan.window.name)
    if config.plan.distillation.name != "none":
        DISTILLATIONS.get(config.plan.distillation.name)
