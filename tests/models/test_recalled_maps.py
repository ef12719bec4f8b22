"""Maps of how a camera moves and of what a memory tells: closed forms, and silence at first."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from toy_room_data import SPEC

from worldsim.cameras.projection import PROJECTIONS, whole_sphere_intrinsics
from worldsim.memory.base import MemoryConfig
from worldsim.memory.view import MemoryView
from worldsim.models.conditioners.base import MOTION_GAIN, RecalledShape
from worldsim.models.conditioners.motion import Parallax, ray_axes
from worldsim.models.conditioners.recalled import Rendered, Retrieved
from worldsim.models.conditioners.steps import StepGeometry
from worldsim.models.denoisers.base import DenoiserConfig, registered_denoisers
from worldsim.models.denoisers.conditioning import Conditioning
from worldsim.models.dynamics.base import DynamicsConfig
from worldsim.models.heads.state import HeadConfig
from worldsim.models.tokenizers.base import TokenizerConfig
from worldsim.models.world_model import WorldModel, WorldModelConfig

SPHERE = PROJECTIONS.get("equirectangular")
SIZE = (8, 16)
INTRINSICS = whole_sphere_intrinsics(*SIZE)[None, None, None]


def step(way: tuple[float, float, float]) -> StepGeometry:
    """A camera that looks along z and moves by `way`."""
    before = torch.eye(4)[None, None, None]
    after = before.clone()
    after[..., :3, 3] = torch.tensor(way)
    none = torch.zeros(1, 1, 0)
    return StepGeometry(
        torch.zeros(1, 1, 4), (none,) * 2, (none,) * 2, (before, after), INTRINSICS, SIZE
    )


def test_axes_of_rays_are_orthonormal_and_level() -> None:
    axes = ray_axes([SPHERE], INTRINSICS, *SIZE)[0, 0, 0]
    product = torch.einsum("axhw,bxhw->hwab", axes, axes)
    torch.testing.assert_close(product, torch.eye(3).expand_as(product), atol=1e-5, rtol=0)
    assert axes[0, 1].abs().max() == 0.0 and (axes[1, 1] > 0).all()


def test_things_move_across_the_image_by_the_way_across_over_their_distance() -> None:
    way = (0.02, -0.01, 0.03)
    maps = Parallax(SPEC, objects=False).maps(step(way), None)[0, 0, 0]
    distance = 2.5
    rays = SPHERE.rays(INTRINSICS[0, 0, 0], torch.eye(3), *SIZE).movedim(0, -1)
    # A thing that the moved camera sees in a pixel, and where the camera saw it before.
    pixel, _ = SPHERE.project(distance * rays + torch.tensor(way), INTRINSICS[0, 0, 0])
    column = torch.arange(16) + 0.5
    moved = (column - pixel[..., 0] + 8).remainder(16) - 8
    level = rays[..., [0, 2]].norm(dim=-1)
    across = moved * (2 * math.pi / 16) * level * distance
    middle = slice(2, 6)
    told = -maps[0] / MOTION_GAIN
    torch.testing.assert_close(told[middle], across[middle], atol=1e-3, rtol=0.05)
    along = (rays * torch.tensor(way)).sum(-1)
    torch.testing.assert_close(maps[2] / MOTION_GAIN, along, atol=1e-6, rtol=1e-4)


def remembered(channels: int = 4, frames: int = 2) -> MemoryView:
    rng = torch.Generator().manual_seed(0)
    null = MemoryView.null(torch.zeros(1, 1, 1, channels, *SIZE))
    poses = torch.eye(4).repeat(1, 1, frames, 1, 1, 1)
    poses[..., :3, 3] = torch.tensor([0.0, 0.0, -2.0])
    return replace(
        null,
        render=torch.randn(null.render.shape, generator=rng),
        coverage=torch.full_like(null.coverage, 0.5),
        nearness=torch.full_like(null.nearness, 0.25),
        render_age=torch.full_like(null.render_age, 99.0),
        retrieved=torch.randn(1, 1, frames, 1, channels, *SIZE, generator=rng),
        poses=poses,
        mask=torch.tensor([[[1.0, 0.0]]]),
        age=torch.tensor([[[9.0, 0.0]]]),
    )


def test_a_render_is_told_with_mask_inverse_depth_and_age() -> None:
    told, view = RecalledShape(4, 2), remembered()
    maps = Rendered(SPEC, objects=False, told=told).maps(step((0, 0, 0)), view)
    torch.testing.assert_close(maps[:, :, :, :4], 0.5 * view.render)
    for channel, value in ((4, 0.5), (5, 0.25), (6, 1.0)):
        assert maps[:, :, :, channel].flatten().tolist() == pytest.approx([value] * 128)
    nothing = Rendered(SPEC, objects=False, told=told).maps(step((0, 0, 0)), None)
    assert nothing.shape == maps.shape and nothing.abs().max() == 0


def test_past_frames_are_told_with_where_they_were_taken() -> None:
    told, view = RecalledShape(4, 3), remembered()
    row = Retrieved(SPEC, objects=False, told=told)
    maps = row.maps(step((0, 0, 0)), view).reshape(3, 9, *SIZE)
    assert len(row.channels) == 27
    torch.testing.assert_close(maps[0, :4], view.retrieved[0, 0, 0, 0])
    assert maps[0, 4].min() == 1.0 and maps[1, 4].max() == 0.0
    rays = SPHERE.rays(INTRINSICS[0, 0, 0], torch.eye(3), *SIZE)
    torch.testing.assert_close(maps[0, 8], -2.0 * rays[2], atol=1e-5, rtol=0)
    assert maps[1, 5:].abs().max() == 0 and maps[2].abs().max() == 0


@pytest.mark.parametrize("name", sorted(registered_denoisers()))
def test_a_fresh_model_makes_nothing_of_a_memory_and_learns_to(name: str) -> None:
    backbone = DenoiserConfig(name, 32, 1, 32, 16, render_reference=False)
    config = WorldModelConfig(
        TokenizerConfig(channels=4, width=8, depth=1, name="autoencoder_quarter"),
        backbone,
        HeadConfig(width=8, keypoints=8),
        DynamicsConfig("pose", width=16, depth=1),
        MemoryConfig("frames", retrieved=2),
        conditioners=("parallax", "memory", "retrieved"),
    )
    torch.manual_seed(0)
    model = WorldModel(config, SPEC)
    with torch.no_grad():
        for part in model.denoiser.parameters():
            if part.abs().max() == 0:
                part.normal_(std=0.05)
    model.denoiser.begin_silent(model.conditioners.silent)
    x, sigma = torch.randn(1, 1, 1, 4, *SIZE), torch.ones(1, 1)

    def shown(memory: MemoryView) -> Tensor:
        rows = [row.maps(step((0, 0, 0.1)), memory) for row in model.conditioners.rows]
        none = torch.zeros(1, 1, 4)
        known = torch.ones(1, 1)
        maps = torch.cat(rows, dim=3)
        cond = Conditioning(none, known, none, none, maps, torch.ones(1, 1, 1), memory)
        found: Tensor = model.denoiser(x, sigma, cond)
        return found

    empty = shown(MemoryView.null(torch.zeros(1, 1, 1, 4, *SIZE)))
    full = shown(remembered())
    assert torch.equal(empty, full)
    full.square().sum().backward()  # type: ignore[no-untyped-call]
    silent = model.conditioners.silent
    weight = model.denoiser.map_weights()
    assert weight is not None and weight[:, silent].abs().max() == 0
    own = dict(model.denoiser.named_parameters())
    layer = own["enter.weight"] if "enter.weight" in own else own["maps.weight"]
    assert layer.grad is not None
    layer.data = layer.grad  # as a view of the same places
    told = model.denoiser.map_weights()
    assert told is not None
    grads = told[:, silent].flatten(2).abs().sum((0, 2))
    # All channels of the render, and of the past frame that is there, would be learnt from.
    assert (grads[:7] > 0).all() and (grads[7:11] > 0).all() and len(silent) == 7 + 2 * 9
