"""Dynamic time warping between paths: exact, and normalised as in VLN.

Legend: N points of a path, R of its reference.
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.data.navigation.walk import finite_points
from worldsim.errors import UsageError

Float = NDArray[np.float64]
REPEATED = 1e-6
"""Metres; an agent that moved less since its last kept position only turned."""


def dynamic_time_warping(path: ArrayLike, reference: ArrayLike) -> float:
    """Least sum of distances over all monotone pairings of two paths, in metres.

    Exact, diagonal by diagonal, in memory of N + R. VLN-CE's default `fastdtw` is approximate,
    and never less than this.

    Args:
        path: `[N, 3]`.
        reference: `[R, 3]`.

    Raises:
        DataError: an empty path, or points that are not finite.
    """
    walked, known = finite_points(path, "a path"), finite_points(reference, "a reference path")
    rows, columns = len(walked), len(known)
    before = np.full(rows + 1, np.inf)  # diagonal d - 2, by row from 1; row 0 is outside
    last = np.full(rows + 1, np.inf)
    for diagonal in range(rows + columns - 1):
        row = np.arange(max(0, diagonal - columns + 1), min(rows, diagonal + 1))
        apart = np.linalg.norm(walked[row] - known[diagonal - row], axis=1)
        least = np.minimum(np.minimum(last[row], last[row + 1]), before[row])
        now = np.full(rows + 1, np.inf)
        now[row + 1] = apart + (0.0 if diagonal == 0 else least)
        before, last = last, now
    return float(last[rows])


def normalised_warping(path: ArrayLike, reference: ArrayLike, radius: float) -> float:
    """nDTW: exp(-DTW(path, reference) / (R radius)), in [0, 1]; 1 for the reference itself.

    Source: Ilharco et al., 1907.05446, equation 2 (d_th is the radius of success).

    Raises:
        DataError: an empty path, or points that are not finite.
        UsageError: a radius that is not a positive number.
    """
    if not 0 < radius < math.inf:
        raise UsageError(f"nDTW with a radius of {radius}; expected metres above 0")
    known = finite_points(reference, "a reference path")
    cost = dynamic_time_warping(path, known) / len(known)
    return math.exp(-cost / radius) if cost else 1.0


def without_repeats(path: Float) -> Float:
    """Points `[N, 3]` less those where the agent did not leave the last one kept."""
    kept = [0]
    for row in range(1, len(path)):
        if np.linalg.norm(path[row] - path[kept[-1]]) > REPEATED:
            kept.append(row)
    return path[kept]
