"""Routes come back off their way; maps of pixels draw them again; another room's map does not."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from revisit_testing import GAP, apartment, planned, walked
from toy_room import HEIGHT, WIDTH, Walker, seen
from toy_room_data import SPEC, rig

from worldsim.errors import UnknownNameError, UsageError
from worldsim.validation.revisit.arms import known_arms
from worldsim.validation.revisit.copies import copy_pixels
from worldsim.validation.revisit.measure import _rows
from worldsim.validation.revisit.places import Place, RevisitConfig, place_of
from worldsim.validation.revisit.report import Row
from worldsim.validation.revisit.routes import ROUTES, plan_route
from worldsim.validation.revisit.walk import Walk

RETURNING = [name for name in ROUTES if name != "control"]


def score(place: Place, walk: Walk | None = None) -> Row:
    """Of a copy of a walk's first visit, by default its own."""
    return _rows(place, known_arms()["copy_pixels"], copy_pixels(walk or place.walk))[0]


@pytest.mark.parametrize("name", RETURNING)
@pytest.mark.parametrize("actions", ["discrete", "continuous"])
def test_a_walk_comes_back_off_its_way_and_turned(name: str, actions: str) -> None:
    walk = walked(name, actions=actions)
    offset, turned = walk.offsets()
    assert 1 < walk.back < len(walk.pixels) - 1
    assert 0.1 < offset.max() < 1.0
    assert np.rad2deg(turned.max()) > 45
    # The last part of the first visit is spent out of sight for as long as was asked.
    place = place_of(walk, GAP, RevisitConfig())
    assert place.scored.masks["returned"].mean() > 0.02
    assert place.scored.masks["never"].mean() < 0.1
    assert len(walk.actions) == len(walk.pixels) - 1
    assert walk.spec.action.check(walk.actions, "a walk").shape == walk.actions.shape


def test_the_control_never_comes_back() -> None:
    walk = walked("control")
    assert not walk.returns and walk.back == 1
    apart = np.linalg.norm(walk.places - walk.places[0], axis=1)
    assert apart[-1] == apart.max() > 1.5


@pytest.mark.parametrize("name", list(ROUTES))
def test_straight_ways_of_a_route_are_free(name: str) -> None:
    planner, route = planned(apartment(), name, 1_000_001)
    assert route is not None
    legs = [leg.places for leg in (*route.first, *route.back)]
    points = np.concatenate([route.start[None], *legs])
    assert planner.space.is_free(points).all()
    assert planner.space.sees(points[:-1], points[1:]).all()


def test_a_route_that_is_none_and_a_config_that_does_not_fit_are_refused() -> None:
    planner, _ = planned(apartment(), "spin", 1_000_000)
    with pytest.raises(UnknownNameError, match="rectangle"):
        plan_route("rectangel", planner)
    with pytest.raises(UsageError, match="the least first"):
        RevisitConfig(offset_least=0.5, offset_most=0.4)
    with pytest.raises(UsageError, match="copy_render"):
        RevisitConfig(arms=("copy_rendr",))
    with pytest.raises(UsageError, match="once"):
        RevisitConfig(arms=("none", "none"))


def test_one_frame_is_drawn_again_where_it_was_taken() -> None:
    walker = Walker(-0.5, -0.5, 0.3)
    (picture, depth), twice = seen(walker), [walker] * 2
    walk = Walk(
        "spin",
        walked("spin").scene,
        SPEC,
        rig(),
        np.zeros((1, 4), np.float32),
        np.stack([picture[None]] * 2),
        np.stack([depth[None]] * 2),
        np.stack([each.pose[None] for each in twice]),
        np.zeros((2, 4), np.float32),
        np.zeros((2, 2)),
        np.zeros(2),
        1,
    )
    assert walk.pixels.shape == (2, 1, HEIGHT, WIDTH, 3)
    row = score(place_of(walk, 1, RevisitConfig()))
    assert row.tally.figure("all", "truth") >= 40
    assert row.tally.figure("seen", "own") >= 40


@pytest.mark.parametrize("name", ["spin", "two_rooms"])
def test_a_copy_of_the_first_visit_is_near_the_truth_and_of_another_room_is_not(name: str) -> None:
    place = place_of(walked(name, size=32), GAP, RevisitConfig())
    walk, other = place.walk, walked(name, 1_000_002, size=32)
    own = score(place).tally
    assert own.figure("returned", "truth") > 21 and own.figure("returned", "ssim") > 0.75
    shown = min(walk.back, other.back)
    pixels, depth, poses = walk.pixels.copy(), walk.depth.copy(), walk.poses.copy()
    for mine, theirs in ((pixels, other.pixels), (depth, other.depth), (poses, other.poses)):
        mine[:shown] = theirs[:shown]
    mixed = replace(walk, pixels=pixels, depth=depth, poses=poses)
    wrong = score(place, mixed).tally
    assert wrong.figure("returned", "truth") < own.figure("returned", "truth") - 3


def test_three_cameras_are_walked_too() -> None:
    walk = walked("spin", size=24, sensor="three")
    place = place_of(walk, GAP, RevisitConfig())
    assert place.scored.masks["seen"].shape[1] == 3
    # A camera ahead sees what the one on the left saw before it.
    assert (place.found.view[place.found.seen] != 1).any()
    assert score(place).tally.figure("returned", "truth") > 19
    assert torch.isfinite(place.geometry.depth).all()


def test_a_walk_without_depth_is_refused() -> None:
    env = apartment(depth=False)
    route = planned(env, "spin", 1_000_000)[1]
    assert route is not None
    from worldsim.validation.revisit.walk import walk_route

    with pytest.raises(UsageError, match=r"env\.depth=true"):
        walk_route(env, route, GAP, 20)
