"""Views of somebody else's MuJoCo model: its own cameras by name, or look-at cameras."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.config.compose import build
from worldsim.config.limits import Limit, Text, between
from worldsim.config.values import Checked
from worldsim.envs.rendering import SceneRenderer, camera_indices, pinhole
from worldsim.errors import QualityWarning, UsageError

_OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0])

CameraRequest = (
    str
    | Annotated[Mapping[str, Any], Limit("a camera", lambda request: look_at(request) is not None)]
)
"""A camera of the model by name, or `{name, position, target, fovy}`."""


class View(Protocol):
    """One camera: how to draw it, where it stands, how wide it sees."""

    @property
    def name(self) -> str:
        """Its name in observations."""
        ...

    def draw(
        self, renderer: SceneRenderer, model: mujoco.MjModel, data: mujoco.MjData
    ) -> NDArray[np.uint8]:
        """Image uint8 `[H, W, 3]`."""
        ...

    def pose(self, data: mujoco.MjData) -> NDArray[np.float64]:
        """Camera to world `[4, 4]`, OpenCV axes (x right, y down, z forward)."""
        ...

    def fovy(self, model: mujoco.MjModel) -> float:
        """Vertical field of view in degrees."""
        ...


@dataclass(frozen=True)
class LookAt(Checked):
    """A camera given in the config, upright in the world.

    Attributes:
        name: its name in observations.
        position: where it stands, metres, world.
        target: what it looks at, metres, world.
        fovy_degrees: vertical field of view.
    """

    name: Text
    position: tuple[float, float, float]
    target: tuple[float, float, float]
    fovy_degrees: Annotated[float, between(1, 170)] = 45.0

    def __post_init__(self) -> None:
        super().__post_init__()
        offset = np.subtract(self.target, self.position)
        if not np.isfinite(offset).all() or np.linalg.norm(offset) < 1e-6:
            raise UsageError("position and target must be finite and differ")

    def fovy(self, model: mujoco.MjModel) -> float:
        """See `View`."""
        return self.fovy_degrees

    def draw(
        self, renderer: SceneRenderer, model: mujoco.MjModel, data: mujoco.MjData
    ) -> NDArray[np.uint8]:
        """See `View`."""
        # A free camera takes its field of view from the model's global settings.
        model.vis.global_.fovy = self.fovy_degrees
        return renderer.color(model, data, self._free_camera())

    def pose(self, data: mujoco.MjData) -> NDArray[np.float64]:
        """See `View`; follows mjv_updateCamera, so that straight down is defined too."""
        azimuth, elevation = (np.deg2rad(angle) for angle in self._angles())
        forward = np.subtract(self.target, self.position)
        forward = forward / np.linalg.norm(forward)
        tilt = np.sin(elevation)
        up = np.array([-tilt * np.cos(azimuth), -tilt * np.sin(azimuth), np.cos(elevation)])
        pose = np.eye(4)
        pose[:3, :3] = np.stack([np.cross(forward, up), -up, forward], axis=1)
        pose[:3, 3] = self.position
        return pose

    def _angles(self) -> tuple[float, float]:
        """Azimuth and elevation of the view direction in degrees."""
        x, y, z = np.subtract(self.target, self.position)
        return (
            float(np.rad2deg(np.arctan2(y, x))),
            float(np.rad2deg(np.arctan2(z, np.hypot(x, y)))),
        )

    def _free_camera(self) -> mujoco.MjvCamera:
        camera = mujoco.MjvCamera()
        camera.type = mujoco.mjtCamera.mjCAMERA_FREE
        camera.lookat[:] = self.target
        camera.distance = float(np.linalg.norm(np.subtract(self.target, self.position)))
        camera.azimuth, camera.elevation = self._angles()
        return camera


@dataclass(frozen=True)
class ModelCamera:
    """A camera of the model.

    Attributes:
        name: its name in the model and in observations.
        index: its index in the model.
    """

    name: str
    index: int

    def fovy(self, model: mujoco.MjModel) -> float:
        """See `View`."""
        return float(model.cam_fovy[self.index])

    def draw(
        self, renderer: SceneRenderer, model: mujoco.MjModel, data: mujoco.MjData
    ) -> NDArray[np.uint8]:
        """See `View`."""
        return renderer.color(model, data, self.index)

    def pose(self, data: mujoco.MjData) -> NDArray[np.float64]:
        """See `View`."""
        pose = np.eye(4)
        pose[:3, :3] = data.cam_xmat[self.index].reshape(3, 3) @ _OPENGL_TO_OPENCV
        pose[:3, 3] = data.cam_xpos[self.index]
        return pose


def make_views(requests: Sequence[CameraRequest], model: mujoco.MjModel) -> tuple[View, ...]:
    """Resolve camera requests against a model.

    Raises:
        UsageError: no camera is asked for, a name is unknown or used twice, or a look-at camera
            lacks a key.
    """
    if isinstance(requests, str) or not requests:
        raise UsageError(
            "cameras must be a list that is not empty, of the model's camera names "
            f"{_camera_names(model)} or look-at cameras such as "
            "{name: front, position: [1.5, 0, 1], target: [0, 0, 0], fovy: 45}"
        )
    views = tuple(_make_view(request, model) for request in requests)
    names = [view.name for view in views]
    if len(set(names)) != len(names):
        raise UsageError(f"camera names must differ, got {names}")
    return views


def warn_of_moving(views: Sequence[View], model: mujoco.MjModel) -> None:
    """Warn of cameras whose calibration does not hold for the whole episode."""
    for view in views:
        if not isinstance(view, ModelCamera):
            continue
        rides = int(model.body_weldid[int(model.cam_bodyid[view.index])]) != 0
        if rides or int(model.cam_mode[view.index]) != mujoco.mjtCamLight.mjCAMLIGHT_FIXED:
            warnings.warn(
                f"camera {view.name!r} moves with the model; its images are right, but its "
                "calibration is recorded where it stands at reset",
                QualityWarning,
                stacklevel=2,
            )


def rig_of(
    views: Sequence[View], model: mujoco.MjModel, data: mujoco.MjData, height: int, width: int
) -> CameraRig:
    """Calibration of `views` where they stand now, all of them fixed in the world."""
    return CameraRig(
        tuple(view.name for view in views),
        np.stack([pinhole(view.fovy(model), height, width) for view in views]),
        np.stack([view.pose(data) for view in views]).astype(np.float32),
        np.zeros(len(views), bool),
    )


def _make_view(request: CameraRequest, model: mujoco.MjModel) -> View:
    if isinstance(request, str):
        (index,) = camera_indices(model, [request])
        return ModelCamera(request, index)
    return look_at(request)


def look_at(request: Mapping[str, Any]) -> LookAt:
    """The look-at camera of a config's `{name, position, target, fovy}`.

    Raises:
        UsageError: a key is unknown or missing, or its value does not fit.
    """
    renamed = {"fovy_degrees" if key == "fovy" else key: request[key] for key in request}
    return build(LookAt, renamed, f"camera {request.get('name', '')!r}")


def _camera_names(model: mujoco.MjModel) -> list[str]:
    return [
        mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_CAMERA, index) for index in range(model.ncam)
    ]
