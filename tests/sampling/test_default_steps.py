"""Steps that nobody asked for are the model's own, in every command."""

from dataclasses import replace
from typing import Any

import pytest
from worldsim_testing import nano_model

from worldsim.cli.settings.drift import DriftSampler
from worldsim.cli.settings.play import PlaySampler
from worldsim.config.compose import build, compose_config
from worldsim.models.trained_ladder import TrainedLadder
from worldsim.models.world_model import WorldModelConfig
from worldsim.sampling.sampler import Sampler, default_steps
from worldsim.training.config import ValidationConfig


def config(pure_noise: bool = True, rungs: int = 0) -> WorldModelConfig:
    given = nano_model().config
    denoiser = replace(given.denoiser, pure_noise=pure_noise)
    return replace(given, denoiser=denoiser, ladder=TrainedLadder(rungs))


@pytest.mark.parametrize(
    ("pure_noise", "rungs", "steps"),
    [(True, 0, 2), (True, 12, 2), (True, 5, 1), (False, 0, 1), (False, 12, 1)],
)
def test_two_steps_or_one_as_far_as_the_ladder_allows(
    pure_noise: bool, rungs: int, steps: int
) -> None:
    assert default_steps(config(pure_noise, rungs)) == steps


@pytest.mark.parametrize(("command", "node"), [("play", PlaySampler), ("drift", DriftSampler)])
def test_a_sampler_without_steps_takes_the_models_own(command: str, node: Any) -> None:
    settings = build(node, compose_config(command, []).sampler, "sampler")
    assert settings.steps is None
    assert settings.of(config()) == Sampler(steps=2)
    assert settings.of(config(pure_noise=False)) == Sampler(steps=1)
    composed = compose_config(command, ["sampler.kind=rolling", "sampler.steps=4"])
    asked = build(node, composed.sampler, "sampler")
    assert asked.of(config(pure_noise=False)) == Sampler("rolling", steps=4)


@pytest.mark.parametrize("command", ["rank", "rollout"])
def test_rankings_ask_for_no_steps_by_default(command: str) -> None:
    assert compose_config(command, []).sampling_steps is None


@pytest.mark.parametrize("experiment", ["push_pixels", "foreign_tiny", "push_demo"])
def test_experiments_are_validated_in_the_models_own_steps(experiment: str) -> None:
    composed = compose_config("train", [f"experiment={experiment}"])
    validation = build(ValidationConfig, composed.validation, "validation")
    assert validation.sampling_steps is None
