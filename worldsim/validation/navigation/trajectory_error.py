"""How far a trajectory strays from another of the same clock: ATE and RPE.

Source: Sturm et al., A Benchmark for the Evaluation of RGB-D SLAM Systems (IROS 2012), sections
V-A and V-B; root mean squares, as in `evo`. Rows beyond the shorter of both are left out.
Legend: N rows.
"""

import math
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.data.navigation.frames import wrapped
from worldsim.data.navigation.walk import Walk, finite_points
from worldsim.errors import UsageError

Float = NDArray[np.float64]
Alignment = Literal["none", "rigid"]


def absolute_trajectory_error(
    positions: ArrayLike, reference: ArrayLike, alignment: Alignment = "none"
) -> float:
    """ATE: root mean square of distances row by row, in metres.

    Args:
        positions: `[N, 3]`.
        reference: `[N, 3]`.
        alignment: `none` where both are in one frame already; `rigid` first turns and moves
            positions to fit (Horn, Umeyama without scale, `evo_ape --align`).

    Raises:
        DataError: an empty path, or points that are not finite.
        UsageError: an unknown alignment.
    """
    walked, known = _together(positions, reference)
    if alignment == "rigid":
        walked = rigidly_aligned(walked, known)
    elif alignment != "none":
        raise UsageError(f"alignment {alignment!r} is none of 'none', 'rigid'")
    return _root_mean_square(np.linalg.norm(walked - known, axis=1))


def rigidly_aligned(positions: Float, reference: Float) -> Float:
    """Positions `[N, 3]` turned and moved to lie nearest to a reference `[N, 3]`.

    Where points lie on a line or coincide many turns fit equally; one of them is taken.
    """
    centre, goal = positions.mean(axis=0), reference.mean(axis=0)
    left, _, right = np.linalg.svd((reference - goal).T @ (positions - centre))
    proper = np.diag([1.0, 1.0, np.sign(np.linalg.det(left @ right)) or 1.0])
    aligned: Float = (positions - centre) @ (left @ proper @ right).T + goal
    return aligned


def relative_pose_error(walk: Walk, reference: Walk, delta: int = 1) -> tuple[float, float]:
    """RPE: root mean squares of how motions over `delta` actions differ, in metres and radians.

    Each motion is seen from the pose that it begins at, so that an early error is counted once.
    A trajectory of at most `delta` actions has no such motion: both errors are 0.

    Args:
        walk: of poses in the plane's heading; heights count too.
        reference: of the same clock.
        delta: actions that a motion spans.

    Raises:
        UsageError: `delta` is below 1.
    """
    if delta < 1:
        raise UsageError(f"RPE over {delta} actions; expected 1 or more")
    rows = min(len(walk.positions), len(reference.positions))
    if rows <= delta:
        return 0.0, 0.0
    ours, theirs = (_motions(each, rows, delta) for each in (walk, reference))
    metres = np.linalg.norm(ours[:, :3] - theirs[:, :3], axis=1)
    turns = np.abs(wrapped(ours[:, 3] - theirs[:, 3]))
    return _root_mean_square(metres), _root_mean_square(turns)


def _motions(walk: Walk, rows: int, delta: int) -> Float:
    """Motions (ahead, left, up, turn) `[rows - delta, 4]`."""
    position, heading = walk.positions[:rows], walk.headings[:rows]
    moved = position[delta:] - position[:-delta]
    cos, sin = np.cos(heading[:-delta]), np.sin(heading[:-delta])
    ahead = cos * moved[:, 0] + sin * moved[:, 1]
    left = cos * moved[:, 1] - sin * moved[:, 0]
    return np.stack([ahead, left, moved[:, 2], heading[delta:] - heading[:-delta]], axis=1)


def _together(positions: ArrayLike, reference: ArrayLike) -> tuple[Float, Float]:
    walked, known = finite_points(positions, "a path"), finite_points(reference, "a reference path")
    rows = min(len(walked), len(known))
    return walked[:rows], known[:rows]


def _root_mean_square(values: Float) -> float:
    return math.sqrt(float(np.mean(np.square(values))))
