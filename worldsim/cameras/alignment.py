"""A reconstruction brought into the world: one similarity transform by all cameras it saw.

A reconstructor such as VGGT (2503.11651) gives poses and depth in a frame and at a scale of its
own. Where cameras really stood is known, so both sets of poses tell scale, rotation and shift:
Umeyama's least squares (IEEE TPAMI 13, 1991) over the centres, with the cameras' rotations beside
them. Two centres alone, as in EvoWorld (2510.01183), leave the rotation about their line free, and
tell no scale where a walk ends where it began.

Legend: F cameras. Metres in the world; poses are camera to world.
"""

import math
from dataclasses import dataclass

import torch
from torch import Tensor

from worldsim.errors import DataError, UsageError

LEAST_SPREAD = 0.02
"""Metres, root mean square from their middle, within which centres tell no scale."""


@dataclass(frozen=True, eq=False)
class Similarity:
    """x in the world = scale * rotation x + shift.

    Attributes:
        scale: positive.
        rotation: `[3, 3]`.
        shift: `[3]`.
        centre_error: root mean square of the centres' errors over their spread in the world.
        turn_error: root mean square angle between rotations, radians.
    """

    scale: float
    rotation: Tensor
    shift: Tensor
    centre_error: float
    turn_error: float

    def points(self, points: Tensor) -> Tensor:
        """Points `[..., 3]` of the reconstruction, in the world."""
        return self.scale * points @ self.rotation.to(points).mT + self.shift.to(points)

    def poses(self, poses: Tensor) -> Tensor:
        """Poses `[..., 4, 4]` of the reconstruction, in the world."""
        moved = poses.clone()
        moved[..., :3, :3] = self.rotation.to(poses) @ poses[..., :3, :3]
        moved[..., :3, 3] = self.points(poses[..., :3, 3])
        return moved


@dataclass(frozen=True)
class FitLimits:
    """Which fits are refused.

    Attributes:
        centre: largest `Similarity.centre_error`.
        turn: largest `Similarity.turn_error`, radians.
    """

    centre: float = 0.15
    turn: float = math.radians(10.0)


def align(
    found: Tensor, known: Tensor, limits: FitLimits | None = None, *, metric: bool = False
) -> Similarity:
    """The similarity that takes the cameras of a reconstruction to where they stood.

    Args:
        found: `[F, 4, 4]` poses in the reconstruction.
        known: `[F, 4, 4]` poses in the world.
        limits: what is refused; None: the defaults.
        metric: the reconstruction is in metres, so its scale is 1.

    Raises:
        UsageError: there are not equally many poses, or one is no pose.
        DataError: the fit is refused; says by what figures.
    """
    if found.shape != known.shape or found.shape[-2:] != (4, 4):
        raise UsageError(
            f"poses to align have shapes {list(found.shape)} and {list(known.shape)}; expected "
            "both [F, 4, 4], the same cameras in the same order"
        )
    require_rotations(found, "a pose of the reconstruction")
    require_rotations(known, "a camera's pose")
    here, there = found.double(), known.double()
    start, end = here[:, :3, 3], there[:, :3, 3]
    middle, goal = start.mean(0), end.mean(0)
    spread, size = (
        (x - m).square().sum(-1).mean().sqrt() for x, m in ((start, middle), (end, goal))
    )
    if not metric and (float(size) < LEAST_SPREAD or float(spread) <= 1e-9):
        raise DataError(
            f"{len(here)} cameras stand within {float(size):.3f} m of their middle, so nothing "
            f"tells the scale of their reconstruction; expected at least {LEAST_SPREAD} m. Give "
            "frames between which the camera moves, or a metric reconstructor"
        )
    rotation = _rotation(here, there, (start - middle) / spread, (end - goal) / size)
    turned = (start - middle) @ rotation.mT
    scale = 1.0 if metric else float(((end - goal) * turned).sum() / turned.square().sum())
    left = end - goal - scale * turned
    error = left.square().sum(-1).mean().sqrt() / size.clamp_min(LEAST_SPREAD)
    turns = angle(rotation @ here[:, :3, :3], there[:, :3, :3])
    fit = Similarity(
        scale,
        rotation.to(known.dtype),
        (goal - scale * rotation @ middle).to(known.dtype),
        float(error),
        float(turns.square().mean().sqrt()),
    )
    _require_fit(fit, len(here), limits or FitLimits())
    return fit


def _rotation(here: Tensor, there: Tensor, start: Tensor, end: Tensor) -> Tensor:
    """The rotation nearest to all cameras' turns and to their centres, alike in weight."""
    turns = there[:, :3, :3] @ here[:, :3, :3].mT
    centres = torch.einsum("fi,fj->fij", end, start)
    # Centres that do not move were divided by nothing, and tell nothing.
    total = turns.mean(0) + centres.nan_to_num(0.0, 0.0, 0.0).mean(0)
    return nearest_rotation(total)


def nearest_rotation(matrix: Tensor) -> Tensor:
    """The rotation `[..., 3, 3]` nearest to a matrix, by least squares (Kabsch, 1976)."""
    left, _, right = torch.linalg.svd(matrix)
    sign = torch.ones_like(matrix[..., 0])
    sign[..., 2] = torch.linalg.det(left @ right).sign()
    nearest: Tensor = (left * sign[..., None, :]) @ right
    return nearest


def angle(one: Tensor, other: Tensor) -> Tensor:
    """Radians `[...]` between rotations `[..., 3, 3]`."""
    # By the chord: the arc cosine of the trace loses small angles.
    chord = (one - other).flatten(-2).norm(dim=-1) / math.sqrt(8.0)
    turned: Tensor = 2.0 * chord.clamp(max=1.0).asin()
    return turned


def _require_fit(fit: Similarity, cameras: int, limits: FitLimits) -> None:
    bad = fit.centre_error > limits.centre or fit.turn_error > limits.turn or not fit.scale > 0
    if bad:
        raise DataError(
            f"the fit of a reconstruction to {cameras} known cameras is refused: centres are off "
            f"by {fit.centre_error:.1%} of their spread (at most {limits.centre:.1%}), rotations "
            f"by {math.degrees(fit.turn_error):.1f} degrees (at most "
            f"{math.degrees(limits.turn):.1f}), scale {fit.scale:.3g}. Its poses are not those of "
            "the cameras; give it more frames that overlap, or check the convention of its poses"
        )


def require_rotations(poses: Tensor, what: str, tolerance: float = 1e-3) -> None:
    """Refuse poses `[..., 4, 4]` that are none.

    Raises:
        UsageError: one is not finite, or its upper left 3x3 is no rotation.
    """
    turns = poses[..., :3, :3].double()
    if not bool(poses.isfinite().all()):
        raise UsageError(
            f"{what} is missing (NaN or infinite); expected a finite 4x4 camera-to-world matrix. "
            "Record camera poses, or give the rig that tells them"
        )
    unit = torch.eye(3, dtype=turns.dtype, device=turns.device)
    off = (turns @ turns.mT - unit).abs().amax(dim=(-2, -1))
    wrong = (off > tolerance) | (torch.linalg.det(turns) < 0)
    if bool(wrong.any()):
        first = turns[wrong][0]
        raise UsageError(
            f"{what} is no rotation: {first.tolist()} has determinant "
            f"{float(torch.linalg.det(first)):.3f} and is {float(off[wrong][0]):.2g} from "
            "orthonormal; expected a right-handed 3x3 rotation. Scale and mirrored axes belong in "
            "an adapter, not in a pose"
        )
