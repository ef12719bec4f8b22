"""Convolutions on panoramas see no border, and commute with turns."""

from dataclasses import replace

import torch
from torch import nn
from toy_room_data import SPEC
from worldsim_testing import nano_spec

from worldsim.cameras.sphere import wrap_pad
from worldsim.models.denoisers.base import DenoiserConfig
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state import HeadConfig
from worldsim.models.padding import Surround, SurroundConv2d, surround_convolutions
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig


def network() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(4, 4, 3, stride=2, padding=1),
        nn.Conv2d(4, 2, 1),
    ).requires_grad_(False)


def test_a_network_of_panoramas_commutes_with_turns() -> None:
    plain, x = network(), torch.randn(2, 3, 8, 16)
    before = plain(x.roll(6, -1)) - plain(x).roll(3, -1)
    assert before.abs().max() > 1e-3
    around = surround_convolutions(plain, SPEC.cameras)
    torch.testing.assert_close(around(x.roll(6, -1)), around(x).roll(3, -1))


def test_beyond_a_pole_the_picture_runs_back_half_a_turn_away() -> None:
    around = surround_convolutions(network(), SPEC.cameras)
    first, x = around[0], torch.randn(1, 3, 8, 16)
    assert isinstance(first, SurroundConv2d)
    wide = wrap_pad(x, 1, poles=True)
    assert torch.equal(wide[:, :, 0, 1:-1], x[:, :, 0].roll(8, -1))
    expected = nn.functional.conv2d(wide, first.weight, first.bias)
    torch.testing.assert_close(first(x), expected)


def test_what_surrounds_an_image_is_a_property_of_all_cameras() -> None:
    (round_about,) = SPEC.cameras
    half = replace(round_about, height=round_about.width)
    assert Surround.of((round_about,)) == Surround(True, True)
    assert Surround.of((half,)) == Surround(True, False)
    assert Surround.of((round_about, nano_spec().cameras[0])) == Surround()
    flat, x = Surround(True, False).pad(torch.ones(1, 1, 2, 3), 1), torch.ones(1, 1, 2, 5)
    assert torch.equal(flat, nn.functional.pad(x, (0, 0, 1, 1)))


def test_pinhole_networks_stay_as_they_are_and_weights_keep_their_names() -> None:
    plain = network()
    names = list(plain.state_dict())
    assert type(surround_convolutions(plain, nano_spec().cameras)[0]) is nn.Conv2d
    around = surround_convolutions(plain, SPEC.cameras)
    assert list(around.state_dict()) == names and type(around[3]) is nn.Conv2d


def test_a_whole_model_of_panoramas_pads_around() -> None:
    config = WorldModelConfig(
        TokenizerConfig(channels=4, width=8, depth=1, name="autoencoder_quarter"),
        DenoiserConfig("unet", width=16, depth=1, cond_width=16, head_dim=16),
        HeadConfig(width=8, keypoints=8, depth=True),
        DynamicsConfig("pose", width=16, depth=1),
        conditioners=("parallax",),
    )
    torch.manual_seed(0)
    model = WorldModel(config, SPEC).eval().requires_grad_(False)
    padded = [m for m in model.modules() if isinstance(m, nn.Conv2d) and m.padding != (0, 0)]
    assert padded and all(isinstance(m, SurroundConv2d) for m in padded)
    frames = torch.randint(0, 256, (1, 1, 32, 64, 3), dtype=torch.uint8)
    latents = model.encode(frames)
    torch.testing.assert_close(
        model.encode(frames.roll(8, -2)), latents.roll(2, -1), atol=1e-5, rtol=1e-4
    )
    assert model.depth_head is not None
    turned = model.depth_head(latents.roll(2, -1))
    torch.testing.assert_close(turned, model.depth_head(latents).roll(4, -1), atol=1e-5, rtol=1e-4)
