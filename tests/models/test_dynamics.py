"""The rows of the registry of dynamics that know nothing of tables."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from worldsim_testing import nano_model, nano_spec

from worldsim.cameras.poses import end_effector_frame, frame_of
from worldsim.errors import UsageError
from worldsim.models.dynamics.base import Dynamics, DynamicsConfig, build_dynamics
from worldsim.models.dynamics.pose import PoseDynamics, travelled
from worldsim.models.world_model import WorldModel
from worldsim.spec import ActionSpec, VectorSpec, WorldSpec

POSE = VectorSpec(
    ("battery", "base_x", "base_y", "base_cos", "base_sin"), ("1", "m", "m", "1", "1")
)


def driving(names: tuple[str, ...], scale: tuple[float, ...]) -> WorldSpec:
    """The nano world, driven by these actions."""
    count = len(names)
    units = tuple("rad" if name.startswith("turn") else "m" for name in names)
    action = ActionSpec(names, (-1.0,) * count, (1.0,) * count, units, scale)
    return replace(nano_spec(), action=action, agent_pos=POSE)


def drive(dynamics: Dynamics, state: Tensor, actions: list[list[float]]) -> Tensor:
    previous, known = state, torch.ones(len(state))
    for action in actions:
        step = dynamics.step(previous, state, torch.tensor([action]), known)
        previous, state = state, step
    return state


def at(x: float, y: float, yaw: float) -> Tensor:
    return torch.tensor([[0.7, x, y, math.cos(yaw), math.sin(yaw)]])


def shaken(dynamics: Dynamics) -> Dynamics:
    torch.manual_seed(0)
    for parameter in dynamics.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return dynamics.requires_grad_(False)


def pose_dynamics(names: tuple[str, ...], scale: tuple[float, ...]) -> PoseDynamics:
    dynamics = build_dynamics(DynamicsConfig("pose", width=8, depth=1), driving(names, scale))
    assert isinstance(dynamics, PoseDynamics)
    return dynamics.requires_grad_(False)


@pytest.mark.parametrize("yaw", [0.0, 1.0, -2.5])
def test_an_untrained_pose_drives_the_arc_of_its_command(yaw: float) -> None:
    dynamics = pose_dynamics(("forward", "turn"), (0.25, 0.5))
    after = drive(dynamics, at(1.0, 2.0, yaw), [[0.8, 0.6]] * 5)[0]
    length, turn = 5 * 0.8 * 0.25, 5 * 0.6 * 0.5
    radius = length / turn
    x = 1.0 + radius * (math.sin(yaw + turn) - math.sin(yaw))
    y = 2.0 - radius * (math.cos(yaw + turn) - math.cos(yaw))
    wanted = torch.tensor([0.7, x, y, math.cos(yaw + turn), math.sin(yaw + turn)])
    torch.testing.assert_close(after, wanted, atol=1e-5, rtol=1e-5)


def test_a_closed_circle_ends_where_it_began() -> None:
    dynamics = pose_dynamics(("forward", "turn"), (1.0, 2 * math.pi / 12))
    start = at(0.3, -0.2, 0.4)
    torch.testing.assert_close(drive(dynamics, start, [[0.5, 1.0]] * 12), start, atol=1e-5, rtol=0)


def test_discrete_actions_are_one_hot_vectors() -> None:
    names = ("stop", "forward", "turn_left", "turn_right")
    dynamics = pose_dynamics(names, (1.0, 0.25, math.pi / 6, math.pi / 6))
    stop, ahead, left, right = torch.eye(4).tolist()
    square = [ahead, left, left, left] * 4
    torch.testing.assert_close(drive(dynamics, at(0, 0, 0), square), at(0, 0, 0), atol=1e-5, rtol=0)
    there = drive(dynamics, at(0, 0, 0), [stop, right, right, right, ahead])
    torch.testing.assert_close(there, at(0.0, -0.25, -math.pi / 2), atol=1e-5, rtol=0)


def test_a_straight_line_is_the_limit_of_arcs() -> None:
    turns = torch.tensor([0.0, 1e-6, 1.9e-3, 2.1e-3, 0.01], dtype=torch.float64)
    motion = torch.stack([torch.ones_like(turns), torch.zeros_like(turns), turns], dim=-1)
    safe = turns.clamp_min(1e-12)
    exact = torch.stack([safe.sin() / safe, (1 - safe.cos()) / safe], dim=-1)
    exact[:2] = torch.stack([torch.ones(2), turns[:2] / 2], dim=-1).to(exact)
    torch.testing.assert_close(travelled(motion), exact, atol=1e-12, rtol=0)


def test_what_is_learnt_turns_with_the_agent_and_not_with_its_place_in_the_command() -> None:
    """The same residual, seen from two headings, is one motion in the agent's axes."""
    dynamics = pose_dynamics(("forward", "turn"), (0.25, 0.5))
    assert dynamics.leave.bias is not None and dynamics.frame is not None
    dynamics.leave.bias[:] = torch.tensor([0.0, -0.1, 0.05, 0.0, 0.2])
    for yaw in (0.0, 1.1):
        start = at(0.0, 0.0, yaw)
        pose = dynamics.frame.pose(drive(dynamics, start, [[0.0, 0.0]]))[0]
        home = torch.linalg.inv(dynamics.frame.pose(start)[0]) @ pose
        wanted = travelled(torch.tensor([-0.1, 0.05, 0.2]))
        torch.testing.assert_close(home[:2, 3], wanted, atol=1e-6, rtol=0)
        assert float(torch.atan2(home[1, 0], home[0, 0])) == pytest.approx(0.2, abs=1e-6)


def test_an_unknown_command_moves_nothing_before_training() -> None:
    dynamics = pose_dynamics(("forward", "turn"), (0.25, 0.5))
    state = at(0.3, 0.1, 0.5)
    after = dynamics.step(state, state, torch.ones(1, 2), torch.zeros(1))
    torch.testing.assert_close(after, state)


def test_the_recorded_box_is_no_wall_for_the_pose() -> None:
    dynamics = pose_dynamics(("forward", "turn"), (0.25, 0.5))
    recorded = torch.cat([at(0.1 * i, 0.05 * i, 0.1 * i) for i in range(5)])
    recorded[:, 0] = torch.linspace(0.2, 0.5, 5)
    dynamics.fit_scales(recorded, recorded[:-1], recorded[1:])
    out = dynamics.limited(at(9.0, -9.0, 3.0))[0]
    assert out[1:3].tolist() == [9.0, -9.0] and float(out[0]) == 0.5


def test_motions_of_choices_without_units_are_fitted_to_what_was_recorded() -> None:
    names = ("stop", "ahead", "spin")
    action = ActionSpec(names, (0.0,) * 3, (1.0,) * 3, ("1",) * 3, (1.0,) * 3)
    spec = replace(nano_spec(), action=action, agent_pos=POSE)
    dynamics = build_dynamics(DynamicsConfig("pose", width=8, depth=0), spec)
    assert isinstance(dynamics, PoseDynamics)
    truth = torch.tensor([[0.0, 0.0, 0.0], [0.25, 0.02, 0.1], [0.0, 0.0, -0.5]])
    generator = torch.Generator().manual_seed(0)
    chosen = torch.nn.functional.one_hot(torch.randint(3, (64,), generator=generator), 3).float()
    yaws = 6.0 * torch.rand(64, generator=generator)
    before = torch.cat([at(0.1 * i, -0.2 * i, float(yaw)) for i, yaw in enumerate(yaws)])
    dynamics.motions.copy_(truth)
    after = dynamics.step(before, before, chosen, torch.ones(64)).detach()
    dynamics.motions.zero_()
    dynamics.fit_actions(before, chosen, after)
    torch.testing.assert_close(dynamics.motions, truth, atol=1e-4, rtol=0)


def test_what_pose_needs_is_said() -> None:
    with pytest.raises(UsageError, match="NAME_cos"):
        build_dynamics(DynamicsConfig("pose"), nano_spec())


def test_none_stays_and_has_nothing_to_train() -> None:
    dynamics = build_dynamics(DynamicsConfig("none"), nano_spec())
    state = torch.randn(3, dynamics.dim)
    assert dynamics.dim == nano_spec().agent_pos.dim and not dynamics.learns
    assert torch.equal(dynamics.step(state, state, torch.ones(3, 5), torch.ones(3)), state)


def test_agent_carries_proprioception_alone() -> None:
    dynamics = shaken(build_dynamics(DynamicsConfig("agent", width=8, depth=1), nano_spec()))
    assert dynamics.state_dim == 0 and dynamics.learns
    # Inputs are two states, the action and its mask: no feature says what touches what.
    assert dynamics.get_submodule("enter").in_features == 2 * 10 + 5 + 1
    with pytest.raises(UsageError, match="mirror"):
        dynamics.mirror_signs("x")


@pytest.mark.parametrize("name", ["agent", "none"])
def test_a_model_without_tracked_objects_is_not_state_assisted(name: str) -> None:
    config = replace(nano_model().config, dynamics=DynamicsConfig(name, width=8, depth=0))
    assert not WorldModel(config, nano_spec()).state_assisted
    assert nano_model().state_assisted


def test_the_pose_of_an_agent_is_found_by_its_names() -> None:
    dynamics = build_dynamics(DynamicsConfig("agent", width=8, depth=0), nano_spec())
    state = torch.randn(4, 10)
    pose, hand = dynamics.pose(state), end_effector_frame(nano_spec().agent_pos)
    assert pose is not None and hand is not None
    torch.testing.assert_close(pose, hand.pose(state))
    assert frame_of(VectorSpec(("q_x", "q_y"), ("rad", "rad"))) is None
    upright = frame_of(VectorSpec(("a_x", "a_y"), ("m", "m")))
    assert upright is not None
    torch.testing.assert_close(upright.pose(torch.zeros(4)), torch.eye(4))


def test_an_unknown_name_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="contact"):
        DynamicsConfig("contacts")


@pytest.mark.parametrize(
    ("names", "carriers"),
    [
        (("ee_x", "ee_y", "ee_z"), ("end_effector",)),
        (("base_x", "base_y"), ("base",)),
        (("agent_x", "agent_y"), ("agent",)),
        (("speed",), ()),
    ],
)
def test_a_pose_carries_the_cameras_of_its_own_name_alone(
    names: tuple[str, ...], carriers: tuple[str, ...]
) -> None:
    spec = replace(nano_spec(), agent_pos=VectorSpec(names, ("m",) * len(names)))
    assert build_dynamics(DynamicsConfig("none"), spec).carriers == carriers
