"""What the frame-wise U-Net promises beyond the suite over all backbones."""

from dataclasses import replace

import pytest
import torch
from stream_testing import random_actions, run
from torch import Tensor, nn
from worldsim_testing import nano_model

from worldsim.diffusion.schedule import autoregressive
from worldsim.models.denoisers.base import DenoiserConfig, DenoiserShape, build_denoiser
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.denoisers.unet import UNet
from worldsim.sampling.stream import Stream


def net(height: int = 8, width: int = 8, **config: bool) -> UNet:
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
