"""A reconstruction brought into the world, and the poses of others."""

import math

import pytest
import torch
from torch import Tensor

from worldsim.cameras.adapters import CONVENTIONS
from worldsim.cameras.alignment import align, angle, nearest_rotation, require_rotations
from worldsim.cameras.poses import pose_matrix
from worldsim.errors import DataError, UsageError

TURN = nearest_rotation(torch.randn(3, 3, generator=torch.Generator().manual_seed(3)))
SHIFT = torch.tensor([0.4, -2.0, 1.1])


def loop(cameras: int = 13) -> Tensor:
    """Poses along a closed circle: the last camera stands where the first one stood."""
    angles = torch.linspace(0, 2 * math.pi, cameras)
    cos, sin, none = angles.cos(), angles.sin(), torch.zeros(cameras)
    ahead = torch.stack([-sin, cos, none], -1)
    down = torch.tensor([0.0, 0.0, -1.0]).expand(cameras, 3)
    turns = torch.stack([torch.linalg.cross(down, ahead), down, ahead], -1)
    return pose_matrix(turns, torch.stack([2 * cos, 2 * sin, none + 1.2], -1))


def found(known: Tensor, scale: float = 0.3, noise: float = 0.0) -> Tensor:
    """The same cameras in a frame and at a scale of a reconstruction's own."""
    turns = TURN.mT @ known[:, :3, :3]
    draws = torch.Generator().manual_seed(1)
    centres = known[:, :3, 3] + noise * torch.randn(len(known), 3, generator=draws)
    return pose_matrix(turns, (centres - SHIFT) @ TURN / scale * 1.0)


def test_a_closed_loop_is_aligned() -> None:
    """Where first and last centre are one, two centres tell neither scale nor rotation."""
    known = loop()
    fit = align(found(known), known)
    assert fit.scale == pytest.approx(0.3, rel=1e-4)
    torch.testing.assert_close(fit.rotation, TURN, atol=1e-4, rtol=0)
    torch.testing.assert_close(fit.poses(found(known)), known, atol=1e-4, rtol=0)
    assert fit.centre_error < 1e-4 and fit.turn_error < 1e-3


def test_a_straight_walk_is_aligned_by_its_rotations() -> None:
    """Centres on a line leave the rotation about it free; the cameras' own turns do not."""
    known = loop()
    known[:, :3, 3] = torch.linspace(0, 3, len(known))[:, None] * torch.tensor([1.0, 0, 0])
    torch.testing.assert_close(align(found(known), known).rotation, TURN, atol=1e-4, rtol=0)


def test_noise_of_the_centres_is_averaged() -> None:
    known = loop(200)
    fit = align(found(known, noise=0.1), known)
    assert fit.scale == pytest.approx(0.3, rel=0.02)
    assert 0.05 < fit.centre_error < 0.12


def test_a_spin_tells_no_scale_but_a_metric_reconstruction_needs_none() -> None:
    known = loop()
    known[:, :3, 3] = 0.0
    with pytest.raises(DataError, match="nothing tells the scale"):
        align(found(known), known)
    fit = align(found(known, scale=1.0), known, metric=True)
    torch.testing.assert_close(fit.rotation, TURN, atol=1e-4, rtol=0)
    assert fit.scale == 1.0


@pytest.mark.parametrize("wrong", ["centres", "turns"])
def test_a_bad_fit_is_refused_with_its_figures(wrong: str) -> None:
    known = loop()
    made = found(known)
    draws = torch.Generator().manual_seed(5)
    if wrong == "centres":
        made[:, :3, 3] = torch.randn(len(made), 3, generator=draws)
    else:
        made[:, :3, :3] = made[:, :3, :3].flip(0)
    with pytest.raises(DataError, match=r"refused: centres are off by .*rotations by .*degrees"):
        align(made, known)


@pytest.mark.parametrize(
    ("pose", "words"),
    [
        (torch.diag(torch.tensor([1.0, 1, -1, 1])), "no rotation.*determinant -1"),
        (torch.diag(torch.tensor([2.0, 2, 2, 1])), "no rotation.*determinant 8"),
        (torch.full((4, 4), torch.nan), "missing"),
    ],
)
def test_what_is_no_pose_is_refused(pose: Tensor, words: str) -> None:
    with pytest.raises(UsageError, match=words):
        require_rotations(torch.stack([torch.eye(4), pose]), "a pose")
    with pytest.raises(UsageError, match="expected both"):
        align(torch.eye(4)[None], torch.eye(4).repeat(2, 1, 1))


def test_angles_between_rotations_are_exact_where_they_are_small() -> None:
    for turn in (1e-5, 0.1, 3.0):
        cos, sin = math.cos(turn), math.sin(turn)
        one = torch.tensor([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1]], dtype=torch.float64)
        assert float(angle(one, torch.eye(3, dtype=torch.float64))) == pytest.approx(turn)


@pytest.mark.parametrize("name", sorted(CONVENTIONS))
def test_poses_of_others_there_and_back(name: str) -> None:
    kind, ours = CONVENTIONS.get(name), loop().double()
    theirs = kind.from_ours(ours)
    torch.testing.assert_close(kind.to_ours(theirs), ours)
    require_rotations(theirs, name)


UP = {"mujoco": 2, "habitat": 1, "unity": 1}


@pytest.mark.parametrize("name", sorted(UP))
def test_height_and_the_direction_of_view_are_where_others_have_them(name: str) -> None:
    ours = loop().double()
    theirs = CONVENTIONS.get(name).from_ours(ours)
    torch.testing.assert_close(theirs[:, UP[name], 3], ours[:, 2, 3])
    # OpenGL's cameras look along -z, with y up; Unity's along z, with y up.
    ahead = theirs[:, :3, 2] * (1 if name == "unity" else -1)
    step = ours[:, :3, 3] + 0.5 * ours[:, :3, 2]
    there = ours.clone()
    there[:, :3, 3] = step
    moved = CONVENTIONS.get(name).from_ours(there)[:, :3, 3] - theirs[:, :3, 3]
    torch.testing.assert_close(moved, 0.5 * ahead)
    up = theirs[:, :3, 1]
    assert (up[:, UP[name]] > 0.99).all()
