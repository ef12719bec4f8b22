"""Where the exterior cameras stand."""

from dataclasses import dataclass

import mujoco
import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Orbit:
    """A camera on a sphere around the point it looks at.

    Attributes:
        name: the camera's name.
        azimuth: direction from target to camera about z, radians from +x.
        elevation: above the horizon, radians.
        distance: from the target, metres.
        target: the point looked at, metres.
    """

    name: str
    azimuth: float
    elevation: float
    distance: float
    target: tuple[float, float, float]


EXTERIOR = (
    Orbit("exterior_1", 0.0, 0.80, 0.85, (-0.01, 0.0, 0.05)),
    Orbit("exterior_2", -1.35, 1.00, 0.85, (0.0, 0.01, 0.04)),
)


def place_camera(
    model: mujoco.MjModel, orbit: Orbit, turn: float, rise: float, retreat: float
) -> None:
    """Put a fixed camera on its orbit, displaced by `turn` and `rise` radians, `retreat` metres."""
    azimuth, elevation = orbit.azimuth + turn, orbit.elevation + rise
    backward = np.array(
        [
            np.cos(azimuth) * np.cos(elevation),
            np.sin(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ]
    )
    camera = model.camera(orbit.name).id
    model.cam_pos[camera] = np.asarray(orbit.target) + (orbit.distance + retreat) * backward
    model.cam_quat[camera] = _look(backward)


def _look(backward: NDArray[np.float64]) -> NDArray[np.float64]:
    """Quaternion of an OpenGL camera whose +z is `backward`, with world z up in the image."""
    right = np.cross([0.0, 0.0, 1.0], backward)
    right /= np.linalg.norm(right)
    up = np.cross(backward, right)
    quaternion = np.empty(4)
    mujoco.mju_mat2Quat(quaternion, np.stack([right, up, backward], axis=1).reshape(-1))
    return quaternion
