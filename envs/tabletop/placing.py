"""Random places, and the four-fold symmetric yaw of a cube."""

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import WorldsimError

_MAX_DRAWS = 1000


def apart(
    rng: np.random.Generator, half: float, others: list[NDArray[np.float64]], gap: float
) -> NDArray[np.float64]:
    """A point `[2]` uniform in the square of half side `half`, `gap` or more from `others`."""
    for _ in range(_MAX_DRAWS):
        point = rng.uniform(-half, half, 2)
        if all(np.linalg.norm(point - other) >= gap for other in others):
            return point
    raise WorldsimError(f"no place found {gap} m apart from {len(others)} others")


def yaw_quaternion(yaw: float) -> NDArray[np.float64]:
    """Rotation about z as (w, x, y, z)."""
    return np.array([np.cos(yaw / 2), 0.0, 0.0, np.sin(yaw / 2)])


def cos_sin_4(rotation: NDArray[np.float64]) -> tuple[float, float]:
    """Cosine and sine of four times the yaw of a rotation matrix `[3, 3]`.

    The first column's direction is used where it lies flatter than the second's, so that a cube
    that has tipped onto another face still has a well-defined yaw.
    """
    axis = min(range(3), key=lambda i: abs(float(rotation[2, i])))
    yaw = np.arctan2(rotation[1, axis], rotation[0, axis])
    return float(np.cos(4 * yaw)), float(np.sin(4 * yaw))
