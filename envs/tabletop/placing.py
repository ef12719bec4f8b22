"""Random places, and how a cube lies."""

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import WorldsimError
from worldsim.spec import VectorSpec

_MAX_DRAWS = 1000
CUBE = VectorSpec(
    ("object_x", "object_y", "object_z", "object_cos4", "object_sin4"), ("m", "m", "m", "1", "1")
)
"""Where a cube is, and cosine and sine of four times its yaw."""


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


def upward(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the six directions `[3]` in which a cube's axes `[3, 3]` point, the one most upward."""
    index = int(np.argmax(np.abs(rotation[2])))
    return np.asarray(rotation[:, index] * np.sign(rotation[2, index]))


def cos_sin_4(rotation: NDArray[np.float64]) -> tuple[float, float]:
    """Cosine and sine of four times the yaw of a cube with these axes `[3, 3]`, set upright.

    It is turned upright by the least rotation, about a horizontal axis, so that neither a tilt
    nor a fall onto another face disturbs the yaw.
    """
    up = upward(rotation)
    side = rotation[:, int(np.argmin(np.abs(rotation[2])))]
    # Rodrigues' formula for the rotation that takes `up` to z, applied to `side`, square to `up`.
    level = side[:2] - up[:2] * side[2] / (1.0 + up[2])
    yaw = np.arctan2(level[1], level[0])
    return float(np.cos(4 * yaw)), float(np.sin(4 * yaw))
