"""Maps of hand and scene points: where they are drawn, and when they are not."""

import math
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from worldsim_testing import nano_spec, nano_start

from worldsim.cameras.poses import (
    ScenePoint,
    point_headings,
    point_positions,
    position_entries,
    scene_points,
)
from worldsim.errors import UsageError
from worldsim.models.conditioners.base import ConditionerList
from worldsim.models.conditioners.steps import FrameSteps, RigTensors
from worldsim.models.dynamics.base import DynamicsConfig, build_dynamics
from worldsim.models.tabletop.maps import (
    HAND_CHANNELS,
    POINT_CHANNELS,
    SILHOUETTE_CHANNELS,
    point_maps,
)
from worldsim.models.world_model import TABLETOP
from worldsim.spec import EQUIRECTANGULAR, VectorSpec, WorldSpec

POINTS = scene_points(nano_spec().state)


def conditioners(spec: WorldSpec) -> ConditionerList:
    """All of a table, in the order of the models that ship."""
    return ConditionerList(TABLETOP, spec, build_dynamics(DynamicsConfig("contact"), spec))


def rig(known: float = 1.0) -> RigTensors:
    start = nano_start(1)
    return RigTensors(
        torch.tensor(start["intrinsics"]),
        torch.tensor(start["extrinsics"]),
        torch.tensor(start["mounted"]),
        torch.tensor([known]),
    )


def hand(x: float = 0.0) -> Tensor:
    agent_pos = torch.tensor(nano_start(1)["agent_pos"])[:, None].clone()
    agent_pos[..., 0] += x
    return agent_pos


def scene(x: float = 0.0, y: float = 0.0) -> Tensor:
    return torch.tensor([[[x, y]]])


def draw(before: tuple[Tensor, Tensor], after: tuple[Tensor, Tensor], known: float = 1.0) -> Tensor:
    states = torch.cat(before, -1), torch.cat(after, -1)
    action = torch.tensor([[[1.0, 0.0, 0.0, 0.0, 1.0]]])
    return conditioners(nano_spec()).maps(led(action, *states, rig(known)), (32, 32))[0, 0]


def led(action: Tensor, before: Tensor, after: Tensor, calibration: RigTensors) -> FrameSteps:
    """Steps whose actions are known, seen by all cameras."""
    shape = action.shape[:2]
    seen = torch.ones(*shape, calibration.mounted.shape[1])
    return FrameSteps(action, torch.ones(shape), before, after, seen, calibration)


def column(bump: Tensor) -> int:
    return int(bump.argmax()) % 32


def test_the_hand_is_drawn_where_it_was_and_where_it_goes() -> None:
    maps = draw((hand(), scene()), (hand(0.03), scene()))
    assert maps.shape == (3, len(conditioners(nano_spec()).channels), 32, 32)
    # 3 cm at half a metre with a focal length of 32 pixels.
    assert column(maps[0, 1]) - column(maps[0, 0]) in (1, 2)
    still = draw((hand(), scene()), (hand(), scene()))
    torch.testing.assert_close(still[:, 0], still[:, 1])


def test_only_the_camera_on_the_wrist_turns_its_rays() -> None:
    drawn = SILHOUETTE_CHANNELS * (1 + len(POINTS))
    change = draw((hand(), scene()), (hand(0.03), scene()))[:, -6 - drawn : -drawn]
    assert change[:2].abs().max() == 0
    assert change[2].abs().max() > 0.1


def test_points_are_drawn_where_they_were_and_where_they_go() -> None:
    maps = draw((hand(), scene(-0.1)), (hand(), scene(0.1)))
    point = maps[0, HAND_CHANNELS : HAND_CHANNELS + POINT_CHANNELS]
    # 20 cm at 60 cm.
    assert column(point[1]) - column(point[0]) in (10, 11)
    assert point[2].abs().max() == 0  # on the ground


def test_a_fixed_point_slides_through_the_moving_camera_only() -> None:
    maps = draw((hand(), scene()), (hand(0.03), scene()))
    was, will = maps[:, HAND_CHANNELS], maps[:, HAND_CHANNELS + 1]
    torch.testing.assert_close(was[0], will[0])
    assert column(was[2]) - column(will[2]) in (4, 5)  # 3 cm at 20 cm, to the other side


def test_the_hand_shows_its_opening_and_its_axes_as_each_camera_sees_them() -> None:
    turned = hand()
    turned[..., 3:9] = torch.tensor([0.0, 1.0, 0.0, -1.0, 0.0, 0.0])  # a quarter turn about z
    turned[..., 9] = 0.03
    straight, quarter = (draw((hand(), scene()), (at, scene())) for at in (hand(), turned))
    peak = straight[0, 1].argmax()
    before, after = (maps[0].flatten(1)[:, peak] / maps[0, 1].max() for maps in (straight, quarter))
    assert after[6] == pytest.approx(10.0 * 0.03)
    # Image-plane rows of (x axis, y axis): the new x axis is the old y axis, the new y the old -x.
    for row in (7, 9):
        assert after[row] == pytest.approx(float(before[row + 1]), abs=1e-5)
        assert after[row + 1] == pytest.approx(float(-before[row]), abs=1e-5)


LOOKING_DOWN = torch.diag(torch.tensor([1.0, -1.0, -1.0, 1.0])).expand(1, 1, 1, 4, 4).clone()
LOOKING_DOWN[..., 2, 3] = 0.5
SHOT = torch.tensor([[32.0, 0, 16], [0, 32.0, 16], [0, 0, 1]]).expand(1, 1, 1, 3, 3)


def from_above(point: ScenePoint, state: list[float], camera_yaw: float) -> Tensor:
    """Maps of a thing half a metre below a camera that looks down."""
    yaw = torch.tensor(camera_yaw)
    turn = torch.eye(4)
    turn[:2, :2] = torch.tensor([[yaw.cos(), -yaw.sin()], [yaw.sin(), yaw.cos()]])
    places, views = torch.tensor([[state]]), turn @ LOOKING_DOWN
    return point_maps((places, places), (point,), SHOT, views, views, (32, 32))[0, 0, 0]


def test_headings_turn_with_the_camera_not_with_the_world() -> None:
    def seen(cup_yaw: float, camera_yaw: float) -> Tensor:
        state = [0.0, 0.0, math.cos(4 * cup_yaw), math.sin(4 * cup_yaw)]
        return from_above(ScenePoint("cup", 0, 1, None, 4, 2, 3), state, camera_yaw)

    torch.testing.assert_close(seen(0.2, 0.0), seen(0.9, 0.7), atol=1e-4, rtol=1e-4)
    assert (seen(0.2, 0.0) - seen(0.2, 0.7)).abs().max() > 0.5


def test_what_has_no_heading_lies_along_the_axes_of_the_world() -> None:
    """And is seen turned the other way by a camera that turns."""
    mat, cup = ScenePoint("mat", 0, 1), ScenePoint("cup", 0, 1, None, 1, 2, 3)
    turned = from_above(mat, [0.0, 0.0], 0.7)
    torch.testing.assert_close(turned, from_above(cup, [0.0, 0.0, 1.0, 0.0], 0.7))
    peak = turned[1].argmax()
    assert turned[3].flatten()[peak] / turned[1].max() == pytest.approx(math.cos(0.7))
    assert turned[4].flatten()[peak] / turned[1].max() == pytest.approx(-math.sin(0.7))


def test_a_tilt_is_drawn_along_the_image_plane() -> None:
    point = ScenePoint("cup", 0, 1, tilt=(2, 3))
    maps = from_above(point, [0.0, 0.0, 0.3, 0.2], 0.0)  # y is against v
    peak = maps[1].argmax()
    assert maps[-2].flatten()[peak] / maps[1].max() == pytest.approx(0.3)
    assert maps[-1].flatten()[peak] / maps[1].max() == pytest.approx(-0.2)


def test_unknown_calibration_gives_no_maps() -> None:
    assert draw((hand(), scene()), (hand(0.03), scene(0.1)), known=0.0).abs().max() == 0


def test_outlines_show_the_hand_first_then_the_points() -> None:
    maps = draw((hand(), scene()), (hand(), scene(0.1)))[0, -2 * SILHOUETTE_CHANNELS :]
    ahead, aside = (half.amax(0) for half in maps.chunk(2))
    assert column(aside) > column(ahead)
    torch.testing.assert_close(
        ahead, draw((hand(), scene()), (hand(), scene()))[0, -32:-16].amax(0)
    )


def test_points_are_found_by_name_and_unit() -> None:
    names = ("cup_x", "cup_y", "cup_z", "cup_cos4", "cup_sin4", "lid_x", "lid_y", "a_x", "b_vx")
    units = ("m", "m", "m", "1", "1", "m", "m", "m", "m")
    cup, lid = scene_points(VectorSpec(names, units))
    assert (cup.name, cup.z, cup.fold) == ("cup", 2, 4)
    assert (lid.name, lid.z, lid.fold, lid.tilt) == ("lid", None, 0, None)
    state = torch.arange(9.0)
    places = point_positions(state, (cup, lid))
    torch.testing.assert_close(places, torch.tensor([[0.0, 1.0, 2.0], [5.0, 6.0, 0.0]]))
    headings = point_headings(state, (cup, lid))
    torch.testing.assert_close(headings, torch.tensor([[3.0, 4.0], [0.0, 0.0]]))


@pytest.mark.parametrize("unit", ["1", "rad"])
def test_what_is_not_in_metres_is_no_place(unit: str) -> None:
    spec = replace(nano_spec().state, units=(unit, unit))
    assert scene_points(spec) == ()


def test_positions_are_grouped_by_stem() -> None:
    spec = VectorSpec(
        ("object_x", "object_y", "object_cos4", "goal_x", "width"), ("m", "m", "1", "m", "m")
    )
    assert position_entries(spec) == {"object": {"x": 0, "y": 1}, "goal": {"x": 3}}


def test_a_mounted_camera_without_an_end_effector_is_refused_and_a_fixed_one_is_not() -> None:
    spec = replace(nano_spec(), agent_pos=VectorSpec((), ()))
    action, drawing = torch.zeros(1, 1, 5), conditioners(spec)

    def drawn(calibration: RigTensors) -> Tensor:
        return drawing.maps(led(action, scene(), scene(), calibration), (8, 8))

    with pytest.raises(UsageError, match="'wrist' on 'end_effector'"):
        drawn(rig())
    assert drawn(rig(known=0.0)).abs().max() == 0
    fixed = replace(rig(), mounted=torch.zeros(1, 3, dtype=torch.bool))
    maps = drawn(fixed)
    assert maps[:, :, :, :HAND_CHANNELS].abs().max() == 0 and maps.abs().max() > 0


@pytest.mark.parametrize("name", ["effector", "objects", "outlines"])
def test_panoramas_are_refused_where_the_drawing_is_for_pinholes(name: str) -> None:
    first, *others = nano_spec().cameras
    round_view = replace(first, projection=EQUIRECTANGULAR, wrap=True)
    spec = replace(nano_spec(), cameras=(round_view, *others))
    dynamics = build_dynamics(DynamicsConfig(), spec)
    with pytest.raises(UsageError, match=f"{name!r} draws into pinhole images"):
        ConditionerList([name], spec, dynamics)
    # Nothing of a table is drawn where the world has none, whatever its cameras.
    bare = replace(spec, agent_pos=VectorSpec((), ()), state=VectorSpec((), ()))
    ConditionerList([name], bare, build_dynamics(DynamicsConfig("none"), bare))
