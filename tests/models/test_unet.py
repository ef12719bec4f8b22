"""What the frame-wise U-Net promises beyond the suite over all backbones."""

import copy
from dataclasses import replace
from typing import Any

import pytest
import torch
from imagination_testing import nano_judge, nano_starts
from stream_testing import random_actions, run
from torch import Tensor, nn
from worldsim_testing import nano_model, nano_spec

from worldsim.diffusion.schedule import autoregressive
from worldsim.envs.imagination import FrameStarts, ImaginationEnv, ImaginationVectorEnv
from worldsim.envs.imagination.engine import ImaginationEngine
from worldsim.errors import UsageError
from worldsim.memory.view import MemoryView
from worldsim.models.denoisers.base import DenoiserConfig, DenoiserShape, build_denoiser
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.denoisers.unet import UNet
from worldsim.models.trained_ladder import TrainedLadder
from worldsim.models.world_model import WorldModel
from worldsim.sampling.sampler import Sampler, default_steps
from worldsim.sampling.stream import Stream
from worldsim.training.loss import PlanConfig, student_of
from worldsim.training.losses.distillation import DistillationConfig


def net(height: int = 8, width: int = 8, **config: Any) -> UNet:
    torch.manual_seed(0)
    shape = DenoiserShape(2, 4, height, width, action_dim=3, state_dim=2, map_channels=1)
    built = build_denoiser(
        DenoiserConfig("unet", width=16, depth=1, cond_width=16, head_dim=16, **config), shape
    )
    assert isinstance(built, UNet)
    nn.init.normal_(built.leave.weight, std=0.1)
    return built.eval()


def conditions(height: int = 8, width: int = 8, frames: int = 3) -> Conditioning:
    state = torch.zeros(1, frames, 2)
    maps = torch.zeros(1, frames, 2, 1, height, width)
    ones = torch.ones(1, frames)
    return Conditioning(
        torch.zeros(1, frames, 3), ones, state, state, maps, torch.ones(1, frames, 2)
    )


def noise(seed: int, height: int = 8, width: int = 8) -> Tensor:
    return torch.randn(1, 3, 2, 4, height, width, generator=torch.Generator().manual_seed(seed))


@torch.no_grad()
@pytest.mark.parametrize("size", [(6, 8), (8, 10), (5, 7)])
def test_sides_need_not_halve_twice(size: tuple[int, int]) -> None:
    x = noise(0, *size)
    assert net(*size)(x, torch.full((1, 3), 0.5), conditions(*size)).shape == x.shape


@torch.no_grad()
def test_a_shut_gate_holds_the_predecessor_exactly() -> None:
    model = net()
    assert model.gate.bias is not None
    nn.init.constant_(model.gate.bias, -1e4)
    sigma = torch.tensor([[0.0, 1.0, 1.0]])
    out = model(noise(0), sigma, conditions())
    torch.testing.assert_close(out[:, 1], noise(0)[:, 0])


@torch.no_grad()
def test_pure_noise_is_seen_only_where_asked_for() -> None:
    sigma, other = torch.tensor([[0.1, 1.0, 1.0]]), noise(0).clone()
    other[:, 1:] = noise(1)[:, 1:]
    blind, seeing = net(pure_noise=False), net(pure_noise=True)
    assert torch.equal(blind(noise(0), sigma, conditions()), blind(other, sigma, conditions()))
    assert not torch.equal(
        seeing(noise(0), sigma, conditions()), seeing(other, sigma, conditions())
    )
    partly = torch.tensor([[0.1, 0.9, 0.9]])
    assert not torch.equal(
        blind(noise(0), partly, conditions()), blind(other, partly, conditions())
    )


@torch.no_grad()
def test_in_noises_place_it_is_shown_what_it_corrects(monkeypatch: pytest.MonkeyPatch) -> None:
    model, told = net(pure_noise=False), []
    forward = UNet.residual

    def kept(self: UNet, inputs: Tensor, *rest: object) -> Tensor:
        told.append(inputs)
        return forward(self, inputs, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(UNet, "residual", kept)
    x, sigma = noise(0), torch.tensor([[0.0, 1.0, 0.5]])
    null = MemoryView.null(x)
    view = replace(null, render=noise(1), coverage=torch.zeros_like(null.coverage))
    view.coverage[..., 4:] = 1.0
    model(x, sigma, replace(conditions(), memory=view))
    shown, previous = told[0][:, :, :, :4], told[0][:, :, :, 8:12]
    torch.testing.assert_close(shown[:, 1, ..., :4], x[:, 0, ..., :4])
    torch.testing.assert_close(shown[:, 1, ..., 4:], noise(1)[:, 1, ..., 4:])
    torch.testing.assert_close(previous[:, 1], x[:, 0])  # as it was, whatever memory says
    assert torch.equal(shown[:, 2], x[:, 2])


def blind_model(ladder: TrainedLadder | None = None) -> WorldModel:
    """One that is not shown pure noise."""
    model = copy.deepcopy(nano_model("unet"))
    denoiser = replace(model.config.denoiser, pure_noise=False)
    model.config = replace(model.config, denoiser=denoiser, ladder=ladder or TrainedLadder())
    model.denoiser.config = denoiser
    return model


def test_one_step_is_the_default_where_pure_noise_is_hidden() -> None:
    seeing, blind = nano_model("unet"), blind_model()
    assert (default_steps(seeing.config), default_steps(blind.config)) == (2, 1)
    assert default_steps(blind_model(TrainedLadder(6)).config) == 1
    assert [Sampler.default(model).steps for model in (seeing, blind)] == [2, 1]
    for model, asked, steps in ((seeing, None, 2), (blind, None, 1), (blind, 3, 3)):
        engine = ImaginationEngine(model, nano_judge(), asked)
        assert engine.stream.schedule.steps == steps
    starts = FrameStarts(nano_starts(), nano_spec())
    for env in (
        ImaginationEnv(blind, nano_judge(), starts),
        ImaginationVectorEnv(2, blind, nano_judge(), starts),
    ):
        assert env.engine.stream.schedule.steps == 1


def test_what_pure_noise_is_hidden_from_is_not_distilled() -> None:
    for name in ("consistency", "ctm"):
        plan = PlanConfig(distillation=DistillationConfig(name))
        with pytest.raises(UsageError, match="pure_noise=true"):
            student_of(blind_model(), plan)
        assert student_of(nano_model("unet"), plan).config.ladder.rungs
    assert not student_of(blind_model(), PlanConfig()).config.denoiser.pure_noise


def test_a_stream_reads_no_finished_frame_again(monkeypatch: pytest.MonkeyPatch) -> None:
    model, seen = nano_model("unet"), []
    forward = UNet.residual

    def counted(self: UNet, inputs: Tensor, *rest: object) -> Tensor:
        seen.append(inputs.shape[1])
        return forward(self, inputs, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(UNet, "residual", counted)
    run(Stream(model, autoregressive((1.0, 0.0)), precision="float32"), random_actions(1, 6))
    assert seen == [1] * 6


def test_history_is_all_that_a_stream_keeps() -> None:
    model = nano_model("unet")
    shape = model.denoiser.context_shape
    assert shape.layers == 0 and shape.history == model.config.denoiser.history
    longer = replace(model.config.denoiser, history=4)
    sizes = DenoiserShape(2, 4, 8, 8, action_dim=3, state_dim=2, map_channels=1)
    assert build_denoiser(longer, sizes).context_shape.history == 4
