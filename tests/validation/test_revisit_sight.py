"""What was seen before: against rays, in closed form, and pixels carried to where they were."""

import numpy as np
import pytest
import torch
from revisit_testing import toy_geometry, toy_pictures
from toy_room import PILLAR, RADIUS, Walker

from worldsim.cameras.projection import PROJECTIONS
from worldsim.validation.revisit.visibility import (
    Geometry,
    _longest_unseen,
    carried,
    regions,
    sight,
)

BEHIND, ASIDE = Walker(-0.5, -0.5, 0.3), Walker(1.0, -0.8, 2.0)


def hidden_by_pillar(points: np.ndarray, eye: np.ndarray, slack: float) -> np.ndarray:
    """Whether the way from an eye to points `[P, 3]` meets the pillar, whose radius is `slack` off;
    its own surface is not behind it."""
    way = points[:, :2] - eye[:2]
    share = np.clip(((PILLAR - eye[:2]) * way).sum(1) / (way**2).sum(1), 0, 0.98)
    nearest = eye[:2] + share[:, None] * way
    return np.asarray(np.hypot(*(nearest - PILLAR).T) < RADIUS + slack)


def test_what_an_earlier_frame_saw_agrees_with_lines_of_sight() -> None:
    geometry = toy_geometry([BEHIND, ASIDE])
    points = geometry.points(1)
    found = sight(geometry, points, torch.ones(len(points), dtype=torch.bool), 1).seen[0].numpy()
    eye = np.array([BEHIND.x, BEHIND.y, 0.0])
    where = points.numpy()
    pillar = np.hypot(*(where[:, :2] - PILLAR).T) < RADIUS + 0.02
    hidden = hidden_by_pillar(where[~pillar], eye, -0.06)
    clear = ~hidden_by_pillar(where[~pillar], eye, 0.06)
    assert hidden.sum() > 10 and clear.sum() > 1000
    # At the pillar's outline a pixel shows both.
    assert found[~pillar][hidden].mean() < 0.15
    assert found[~pillar][clear].mean() > 0.97
    # Of the pillar itself, the far side is not seen, and the near one is.
    facing = ((where[pillar, :2] - PILLAR) * (eye[:2] - PILLAR)).sum(1) / (RADIUS * 1.6)
    assert not found[pillar][facing < -0.6].any()
    assert found[pillar][facing > 0.5].mean() > 0.6


def test_a_frame_sees_all_of_its_twin_whatever_its_heading() -> None:
    geometry = toy_geometry([BEHIND, Walker(BEHIND.x, BEHIND.y, 1.7)])
    found = regions(geometry, 1, 5)
    assert found.seen.float().mean() > 0.98 and not found.never[found.seen].any()
    assert not found.returned.any()


def test_a_pinhole_sees_nothing_of_what_lies_behind_it() -> None:
    turned = torch.eye(4).repeat(2, 1, 1, 1)
    turned[1, 0, :3, :3] = torch.diag(torch.tensor([-1.0, 1.0, -1.0]))
    intrinsics = torch.tensor([[8.0, 0, 4], [0, 8.0, 4], [0, 0, 1]])[None]
    depth = torch.full((2, 1, 8, 8), 2.0)
    geometry = Geometry.of(depth, "planar", intrinsics, turned, (PROJECTIONS.get("pinhole"),))
    found = regions(geometry, 1, 1)
    assert not found.seen.any() and found.never.all()
    # A wall ahead, seen again by the same camera: every pixel, at its own place.
    again = Geometry.of(
        depth, "planar", intrinsics, turned[:1].repeat(2, 1, 1, 1), (PROJECTIONS.get("pinhole"),)
    )
    found = regions(again, 1, 1)
    assert found.seen.all()
    rows, columns = torch.meshgrid(torch.arange(8), torch.arange(8), indexing="ij")
    expected = torch.stack([columns, rows], -1) + 0.5
    torch.testing.assert_close(found.pixel[0, 0], expected.double())


@pytest.mark.parametrize(
    ("seen", "longest"),
    [("1000", 3), ("1001", 2), ("0001", 0), ("0100101", 2), ("0000", 0), ("11", 0)],
)
def test_the_longest_absence_begins_after_the_first_sight(seen: str, longest: int) -> None:
    column = torch.tensor([[letter == "1"] for letter in seen])
    assert _longest_unseen(column).tolist() == [longest]


def test_what_was_out_of_sight_returns() -> None:
    # The pillar hides a piece of wall from the middle three frames.
    ahead = Walker(PILLAR[0] - 0.9, PILLAR[1], 0.0)
    walkers = [ASIDE, ahead, ahead, ahead, ASIDE]
    long, short = (regions(toy_geometry(walkers), 4, gap) for gap in (3, 4))
    assert long.returned.sum() > 10 and not short.returned.any()
    assert (long.seen | ~long.returned).all()
    behind = toy_geometry(walkers).points(4)[long.returned.flatten()]
    wall = behind[(behind[:, :2] - torch.tensor(PILLAR)).norm(dim=1) > RADIUS + 0.02]
    assert len(wall) > 5 and (wall[:, 0] > PILLAR[0]).double().mean() > 0.95


def test_unknown_depth_is_neither_seen_nor_new() -> None:
    geometry = toy_geometry([BEHIND, BEHIND])
    depth = geometry.depth.clone()
    depth[1, 0, :4] = float("nan")
    broken = Geometry.of(depth, "radial", geometry.intrinsics, geometry.poses, geometry.projections)
    found = regions(broken, 1, 1)
    assert not found.seen[0, 0, :4].any() and not found.never[0, 0, :4].any()
    assert found.seen[0, 0, 4:].all()


def test_pixels_are_carried_to_where_they_are_seen_again() -> None:
    turned = Walker(BEHIND.x, BEHIND.y, BEHIND.yaw + 2 * np.pi / 16)
    walkers = [BEHIND, turned]
    geometry, pictures = toy_geometry(walkers), toy_pictures(walkers)
    found = regions(geometry, 1, 1)
    brought = carried(pictures, found, geometry)[0, 0]
    mask = found.seen[0, 0]
    # A sixteenth of a turn is a whole number of columns, so nothing is interpolated.
    apart = (brought[mask].int() - pictures[1, 0][mask].int()).abs()
    assert mask.float().mean() > 0.99 and apart.max() <= 1
    assert not brought[~mask].any()
