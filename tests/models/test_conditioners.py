"""Conditioners by name: their channels, their order, what they need of a world."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from worldsim_testing import nano_model, nano_spec, nano_start

from worldsim.cameras.projection import plucker_rays
from worldsim.config.compose import build
from worldsim.errors import UsageError
from worldsim.memory.view import MemoryView
from worldsim.models.conditioners.base import (
    CONDITIONERS,
    Conditioner,
    ConditionerList,
    register_conditioner,
)
from worldsim.models.conditioners.steps import FrameSteps, RigTensors, StepGeometry
from worldsim.models.dynamics.base import Dynamics, DynamicsConfig, build_dynamics
from worldsim.models.world_model import TABLETOP, WorldModel, WorldModelConfig
from worldsim.rows import take_rows
from worldsim.spec import WorldSpec

SIZE = (4, 4)


def dynamics(name: str = "contact") -> Dynamics:
    return build_dynamics(DynamicsConfig(name, width=8, depth=0), nano_spec())


def rig() -> RigTensors:
    start = {name: torch.as_tensor(value) for name, value in nano_start(2).items()}
    known = torch.tensor([1.0, 0.0])
    return RigTensors(start["intrinsics"], start["extrinsics"], start["mounted"], known)


def drawn(names: tuple[str, ...], world: Dynamics | None = None) -> Tensor:
    """Maps of a step of two rows, of which the second has no calibration."""
    world = world or dynamics()
    hand = torch.as_tensor(nano_start(2)["agent_pos"])[:, None]
    before = world.join(hand, torch.full((2, 1, 2), 0.02))
    action = torch.tensor([[[0.1, 0.2, 0.3, 0.4, 1.0]]]).expand(2, 1, 5)
    listed = ConditionerList(names, nano_spec(), world)
    shape = action.shape[:2]
    seen = torch.ones(*shape, 3)
    steps = FrameSteps(action, torch.ones(shape), before, before + 0.01, seen, rig())
    maps = listed.maps(steps, SIZE)
    assert maps.shape == (2, 1, 3, len(listed.channels), *SIZE)
    return maps


def test_each_conditioner_draws_the_same_alone_and_among_others() -> None:
    names = (*TABLETOP, "action")
    together = drawn(names)
    alone = torch.cat([drawn((name,)) for name in names], dim=3)
    assert torch.equal(together, alone)


def test_channels_have_names_of_their_own() -> None:
    channels = ConditionerList((*TABLETOP, "action"), nano_spec(), dynamics()).channels
    assert len(set(channels)) == len(channels)
    assert channels[-1] == "action_grip" and "object_point_0" in channels


def test_what_is_not_tracked_is_not_drawn() -> None:
    assert drawn(("objects",), dynamics("agent")).shape[3] == 0
    channels = ConditionerList(TABLETOP, nano_spec(), dynamics("agent")).channels
    assert not any(name.startswith("object") for name in channels)


def test_without_calibration_there_are_actions_alone() -> None:
    maps = drawn(("rays", "action"))
    assert maps[1, :, :, :12].abs().max() == 0
    assert torch.equal(maps[0, :, :, 12:], maps[1, :, :, 12:])
    assert maps[1, 0, 2, 12:, 0, 0].tolist() == pytest.approx([0.1, 0.2, 0.3, 0.4, 1.0])


def test_rays_are_those_of_the_cameras_after_the_action() -> None:
    maps, start = drawn(("rays",)), nano_start(1)
    shot = torch.as_tensor(start["intrinsics"])[0, 0] * torch.tensor([[4 / 32], [4 / 32], [1]])
    fixed = plucker_rays(shot, torch.as_tensor(start["extrinsics"])[0, 0], *SIZE)
    torch.testing.assert_close(maps[0, 0, 0, :6], fixed)
    assert maps[0, 0, 0, 6:].abs().max() == 0 and maps[0, 0, 2, 6:].abs().max() > 0


def test_a_model_without_conditioners_has_actions_and_state_alone() -> None:
    config = replace(nano_model().config, conditioners=())
    model = WorldModel(config, nano_spec())
    assert model.denoiser.shape.map_channels == 0
    assert not model.trained_with(calibration=True).config.calibrated


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="rays"):
        build(WorldModelConfig, {"conditioners": ["ray"]}, "model")


def test_a_conditioner_named_twice_is_refused() -> None:
    with pytest.raises(UsageError, match="'rays' twice"):
        ConditionerList(("rays", "action", "rays"), nano_spec(), dynamics())
    with pytest.raises(UsageError, match="names 'rays' twice"):
        replace(nano_model().config, conditioners=("rays", "rays"))


def test_a_conditioner_of_ones_own_is_a_class_and_a_name() -> None:
    @register_conditioner("depth_of_memory")
    class Covered(Conditioner):
        calibrated = False

        def __init__(self, spec: WorldSpec, *, objects: bool) -> None:
            super().__init__(spec, objects=objects)
            self.channels = ("covered",)

        def maps(self, step: StepGeometry, memory: MemoryView | None) -> Tensor:
            assert memory is not None
            return memory.coverage

    try:
        config = replace(nano_model().config, conditioners=("depth_of_memory",))
        model = WorldModel(config, nano_spec())
        latents = torch.zeros(2, 1, 3, *model.latent_shape)
        memory = MemoryView.null(latents)
        memory = replace(memory, coverage=torch.ones_like(memory.coverage))
        state = torch.zeros(2, 1, model.dynamics.dim)
        none, seen = torch.zeros(2, 1, 5), torch.ones(2, 1, 3)
        steps = FrameSteps(none, torch.ones(2, 1), state, state, seen, rig())
        cond = model.condition_frames(steps, memory)
        assert cond.maps.shape[3] == 1 and cond.maps.min() == 1
    finally:
        del CONDITIONERS._entries["depth_of_memory"]


def test_the_view_of_an_empty_memory_has_rows_like_any_holder() -> None:
    view = MemoryView.null(torch.zeros(3, 2, 1, 4, 5, 6))
    kept = take_rows(view, [2, 0])
    assert kept.render.shape == (2, 2, 1, 4, 5, 6) and kept.coverage.shape == (2, 2, 1, 1, 5, 6)
    assert kept.retrieved.shape == (2, 2, 0, 1, 4, 5, 6) and kept.poses.shape == (2, 2, 0, 1, 4, 4)
    assert kept.mask.shape == kept.age.shape == (2, 2, 0)
