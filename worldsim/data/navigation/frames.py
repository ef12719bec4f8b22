"""Places and headings in Habitat's frame, as ours, and back.

Habitat: y up, an unturned agent looks along -z. Ours: z up, heading 0 looks along +x. So that an
unturned agent looks the same way in both, ours is (-z, -x, y) of theirs, as in LH-VLN's
`transform_position`. A heading is then Habitat's yaw about its y axis. The axes are those by which
`worldsim.cameras.adapters` turns poses.

LHPR files give a yaw in degrees that is 180 for an unturned agent and grows to the left
(`nav_gen/habitat_base/simulation.py`, `self.yaw`).
"""

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.conventions import HABITAT_AXES
from worldsim.data.navigation.walk import as_numbers
from worldsim.errors import DataError

Float = NDArray[np.float64]

UNTURNED = 180.0
"""Degrees that LHPR files give an unturned agent."""


def from_habitat(points: ArrayLike) -> Float:
    """Points `[..., 3]`, y up, to points `[..., 3]`, z up."""
    return _turned(points, HABITAT_AXES)


def to_habitat(points: ArrayLike) -> Float:
    """Points `[..., 3]`, z up, to points `[..., 3]`, y up; inverse of `from_habitat`."""
    # The change of axes is orthogonal, so transposed it is undone.
    return _turned(points, np.transpose(HABITAT_AXES))


def _turned(points: ArrayLike, rows: ArrayLike) -> Float:
    """Points `[..., 3]` by the rows of a matrix of signs; what is NaN stays in its place."""
    given, signs = np.asarray(points, np.float64), np.asarray(rows)
    order = np.abs(signs).argmax(axis=1)
    return np.asarray(given[..., order] * signs[np.arange(3), order], np.float64)


def heading_of_quaternion(quaternion: ArrayLike) -> float:
    """Heading of an agent turned by a quaternion (x, y, z, w) in Habitat's frame.

    Episode files store x, y, z, w; numpy-quaternion prints w first.

    Raises:
        DataError: it is no rotation, or the agent looks straight up or down.
    """
    given = as_numbers(quaternion, "a rotation")
    norm = float(np.linalg.norm(given)) if given.shape == (4,) else math.nan
    if not 1e-6 < norm < 1e6:
        raise DataError(f"rotation {given.tolist()} is no quaternion (x, y, z, w)")
    x, y, z, w = given / norm
    ahead = np.array([-2 * (x * z + w * y), -2 * (y * z - w * x), -(1 - 2 * (x * x + y * y))])
    forward, left, _ = from_habitat(ahead)
    if math.hypot(forward, left) < 1e-6:
        raise DataError(f"rotation {given.tolist()} looks straight up or down: it has no heading")
    return math.atan2(left, forward)


def quaternion_of_heading(heading: float) -> tuple[float, float, float, float]:
    """The quaternion (x, y, z, w) that turns an agent to a heading, in Habitat's frame."""
    return (0.0, math.sin(heading / 2), 0.0, math.cos(heading / 2))


def heading_of_yaw(yaw: ArrayLike) -> Float:
    """Headings of yaws in degrees as LHPR files give them."""
    return wrapped(np.radians(np.asarray(yaw, np.float64) - UNTURNED))


def yaw_of_heading(heading: ArrayLike) -> Float:
    """Yaws in degrees, in (-180, 180], as LHPR files give them; inverse of `heading_of_yaw`."""
    return np.degrees(wrapped(np.asarray(heading, np.float64) + math.radians(UNTURNED)))


def wrapped(angle: ArrayLike) -> Float:
    """The same angles in (-pi, pi]."""
    given = np.asarray(angle, np.float64)
    return math.pi - (math.pi - given) % (2 * math.pi)
