"""What is drawn of somebody else's MuJoCo model: by which cameras, and which groups of shapes."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import mujoco
import numpy as np
from numpy.typing import NDArray

from worldsim.config.compose import build
from worldsim.config.limits import Limit, Text, between
from worldsim.config.values import Checked
from worldsim.envs.rendering import (
    SceneRenderer,
    camera_indices,
    camera_names,
    camera_pose,
)
from worldsim.errors import QualityWarning, UsageError

_DEFAULT_GROUPS = (0, 1, 2)
"""What MuJoCo draws by itself; models in the style of the menagerie collide in group 3."""

GeomGroups = Annotated[
    Sequence[Annotated[int, between(0, mujoco.mjNGROUP - 1)]],
    Limit(f"numbers of 0 to {mujoco.mjNGROUP - 1}, as in [1, 2]", lambda groups: len(groups) > 0),
]
"""Geom groups to draw."""

CameraRequest = (
    str
    | Annotated[Mapping[str, Any], Limit("a camera", lambda request: look_at(request) is not None)]
)
"""A camera of the model by name, or `{name, position, target, fovy}`."""


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
        """Vertical field of view in degrees."""
        return self.fovy_degrees

    def draw(
        self, renderer: SceneRenderer, model: mujoco.MjModel, data: mujoco.MjData
    ) -> NDArray[np.uint8]:
        """Image uint8 `[H, W, 3]`."""
        # A free camera takes its field of view from the model's global settings.
        model.vis.global_.fovy = self.fovy_degrees
        return renderer.color(model, data, self._free_camera())

    def pose(self, data: mujoco.MjData) -> NDArray[np.float64]:
        """Camera to world `[4, 4]`, OpenCV axes; as mjv_updateCamera, straight down too."""
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
        """Vertical field of view in degrees."""
        return float(model.cam_fovy[self.index])

    def draw(
        self, renderer: SceneRenderer, model: mujoco.MjModel, data: mujoco.MjData
    ) -> NDArray[np.uint8]:
        """Image uint8 `[H, W, 3]`."""
        return renderer.color(model, data, self.index)

    def pose(self, data: mujoco.MjData) -> NDArray[np.float64]:
        """Camera to world `[4, 4]`, OpenCV axes (x right, y down, z forward)."""
        return camera_pose(data, self.index)


View = LookAt | ModelCamera
"""One camera: how to draw it, where it stands, how wide it sees."""


def make_views(requests: Sequence[CameraRequest], model: mujoco.MjModel) -> tuple[View, ...]:
    """Resolve camera requests against a model.

    Raises:
        UsageError: no camera is asked for, a name is unknown or used twice, or a look-at camera
            lacks a key.
    """
    if isinstance(requests, str) or not requests:
        raise UsageError(
            "cameras must be a list that is not empty, of the model's camera names "
            f"{camera_names(model)} or look-at cameras such as "
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


def choose_groups(model: mujoco.MjModel, requested: Sequence[int] | None) -> tuple[int, ...]:
    """The requested groups; else MuJoCo's, without group 0 where it holds collision shapes.

    Raises:
        UsageError: the request is no list of group numbers.
    """
    last = mujoco.mjNGROUP - 1
    if requested is not None:
        groups = tuple(requested) if not isinstance(requested, str) else ()
        known = all(type(group) is int and 0 <= group <= last for group in groups)
        if not groups or not known:
            raise UsageError(
                f"geom_groups is {requested!r}; expected numbers of 0 to {last}, as in [1, 2]; "
                f"null takes {list(_DEFAULT_GROUPS)}"
            )
        return tuple(sorted(set(groups)))
    return _DEFAULT_GROUPS[1:] if _collides_in_group_0(model) else _DEFAULT_GROUPS


def _collides_in_group_0(model: mujoco.MjModel) -> bool:
    """Whether group 0 holds collision shapes that stand in front of visual ones, as robosuite's do.

    So it is if every shape of group 0 collides, and most bodies that have one also have a shape
    in group 1 or 2 that is only seen.
    """
    collides = (model.geom_contype != 0) | (model.geom_conaffinity != 0)
    drawn = model.geom_rgba[:, 3] > 0
    first = (model.geom_group == 0) & drawn
    only_seen = np.isin(model.geom_group, _DEFAULT_GROUPS[1:]) & ~collides & drawn
    bodies = set(model.geom_bodyid[first].tolist())
    dressed = bodies & set(model.geom_bodyid[only_seen].tolist())
    return bool(collides[first].all()) and 2 * len(dressed) > len(bodies)


def warn_of_groups(groups: Sequence[int], requested: Sequence[int] | None, source: str) -> None:
    """Say so where shapes are left out that MuJoCo itself would draw."""
    if requested is None and tuple(groups) != _DEFAULT_GROUPS:
        warnings.warn(
            f"{source}: geom group 0 holds collision shapes in front of visual ones and is not "
            f"drawn; env.geom_groups={list(_DEFAULT_GROUPS)} draws it",
            QualityWarning,
            stacklevel=2,
        )
