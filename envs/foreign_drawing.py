"""Which pictures are taken of somebody else's env: by which cameras, and of which shapes."""

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, TypeVar

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
    pinhole,
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
    | Annotated[Mapping[str, Any], Limit("a camera", lambda each: read_camera(each) is not None)]
)
"""A camera of the env by name, `{name, source, flip}`, or `{name, position, target, fovy}`."""

Flip = Literal["none", "horizontal", "vertical", "both"]
"""How a picture is turned over; both ways is half a turn."""
Number = TypeVar("Number", bound=np.generic)


def flipped(image: NDArray[Number], flip: Flip) -> NDArray[Number]:
    """A picture `[H, W, ...]`, turned over."""
    across, down = flip in ("horizontal", "both"), flip in ("vertical", "both")
    return np.ascontiguousarray(image[:: -1 if down else 1, :: -1 if across else 1])


def intrinsics_of(fovy_degrees: float, size: int, flip: Flip) -> NDArray[np.float32]:
    """Intrinsics `[3, 3]` of a square picture; a turned axis has a negative focal length."""
    matrix = pinhole(fovy_degrees, size, size)
    for axis, turned in enumerate((("horizontal", "both"), ("vertical", "both"))):
        if flip in turned:
            matrix[axis, axis], matrix[axis, 2] = -matrix[axis, axis], size - matrix[axis, 2]
    return matrix


@dataclass(frozen=True)
class NamedCamera(Checked):
    """A camera that the env has.

    Attributes:
        name: in observations.
        source: its name in the model, an entry of the env's observation, or `render`.
        flip: how its pictures are turned over.
    """

    name: Text
    source: Text
    flip: Flip = "none"


@dataclass(frozen=True)
class LookAt(Checked):
    """A camera given in the config, upright in the world but for its roll.

    Attributes:
        name: its name in observations.
        position: where it stands, metres, world.
        target: what it looks at, metres, world.
        fovy_degrees: vertical field of view.
        roll_degrees: how far it is turned about its axis, clockwise as seen from behind it.
        flip: how its pictures are turned over.
    """

    name: Text
    position: tuple[float, float, float]
    target: tuple[float, float, float]
    fovy_degrees: Annotated[float, between(1, 170)] = 45.0
    roll_degrees: Annotated[float, between(-180, 180)] = 0.0
    flip: Flip = "none"
    moves = False

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
        roll = np.deg2rad(self.roll_degrees)
        return flipped(renderer.color(model, data, self._free_camera(), roll), self.flip)

    def pose(self, data: mujoco.MjData) -> NDArray[np.float64]:
        """Camera to world `[4, 4]`, OpenCV axes; as mjv_updateCamera, straight down too."""
        azimuth, elevation = (np.deg2rad(angle) for angle in self._angles())
        forward = np.subtract(self.target, self.position)
        forward = forward / np.linalg.norm(forward)
        tilt = np.sin(elevation)
        up = np.array([-tilt * np.cos(azimuth), -tilt * np.sin(azimuth), np.cos(elevation)])
        pose = np.eye(4)
        pose[:3, :3] = np.stack([np.cross(forward, up), -up, forward], axis=1)
        cos, sin = np.cos(np.deg2rad(self.roll_degrees)), np.sin(np.deg2rad(self.roll_degrees))
        pose[:3, :3] @= np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
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
        name: its name in observations.
        index: its index in the model.
        body: that it is fixed to, as a body of the model that moves on its own; 0 is the world.
        follows: whether it tracks or targets something, and so moves by rules of its own.
        flip: how its pictures are turned over.
    """

    name: str
    index: int
    body: int = 0
    follows: bool = False
    flip: Flip = "none"

    @property
    def moves(self) -> bool:
        """Whether its pose changes in an episode."""
        return self.follows or self.body != 0

    def fovy(self, model: mujoco.MjModel) -> float:
        """Vertical field of view in degrees."""
        return float(model.cam_fovy[self.index])

    def draw(
        self, renderer: SceneRenderer, model: mujoco.MjModel, data: mujoco.MjData
    ) -> NDArray[np.uint8]:
        """Image uint8 `[H, W, 3]`."""
        return flipped(renderer.color(model, data, self.index), self.flip)

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


def _make_view(request: CameraRequest, model: mujoco.MjModel) -> View:
    camera = read_camera(request)
    if isinstance(camera, LookAt):
        return camera
    (index,) = camera_indices(model, [camera.source])
    follows = int(model.cam_mode[index]) != mujoco.mjtCamLight.mjCAMLIGHT_FIXED
    body = int(model.body_weldid[int(model.cam_bodyid[index])])
    return ModelCamera(camera.name, index, body, follows, camera.flip)


def read_camera(request: CameraRequest) -> LookAt | NamedCamera:
    """What a config says of a camera.

    Raises:
        UsageError: a key is unknown or missing, or its value does not fit.
    """
    if isinstance(request, str):
        return NamedCamera(request, request)
    where = f"camera {request.get('name', '')!r}"
    if "source" in request:
        return build(NamedCamera, {"name": request["source"], **request}, where)
    short = {"fovy": "fovy_degrees", "roll": "roll_degrees"}
    renamed = {short.get(key, key): value for key, value in request.items()}
    return build(LookAt, renamed, where)


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
