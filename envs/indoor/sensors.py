"""What the agent sees: pinhole views or a panorama, with depth, drawn by MuJoCo.

Nothing in a scene moves, so its geometry goes to MuJoCo's renderer once, and a frame sets cameras
alone. All views are drawn into one image and read at once. A panorama is made of six faces of a
cube, each a pixel wider than its quarter turn. So no sample of a panorama crosses an edge.

Legend: V views, H W pixels; metres. The agent's axes: x forward, y left, z up.
"""

from dataclasses import dataclass
from typing import Literal

import cv2
import mujoco
import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.envs.indoor.cube_faces import BORDER, FINE, FLAT, resampling
from worldsim.envs.indoor.scene import Scene
from worldsim.envs.rendering import pinhole, shared_in_thread
from worldsim.errors import UsageError
from worldsim.spec import EQUIRECTANGULAR, CameraSpec, DepthKind

Float = NDArray[np.float32]
Array = NDArray[np.float64]
Sensor = Literal["panorama", "front", "three"]

AGENT = "agent"
"""The pose that the cameras ride on."""
VIEWS: dict[str, tuple[tuple[str, float], ...]] = {
    "panorama": (("panorama", 0.0),),
    "front": (("front", 0.0),),
    "three": (("left", 60.0), ("front", 0.0), ("right", -60.0)),
}
"""Names of the cameras of each sensor, and degrees by which they look left."""
NEAR, FAR = 0.03, 60.0
_DRAWN, _HIDDEN = int(mujoco.mjtGeom.mjGEOM_MESH), int(mujoco.mjtGeom.mjGEOM_NONE)
_AHEAD = np.array([[0.0, 0.0, 1.0], [-1.0, 0.0, 0.0], [0.0, -1.0, 0.0]])
"""From a camera's axes (right, down, forward) to those of the agent."""


@dataclass(frozen=True)
class SensorConfig:
    """Attributes:
    kind: "panorama", "front" (one camera) or "three" (60 degrees left, ahead, 60 right).
    size: rows of an image; a panorama is twice as wide, other views are square.
    fov: degrees that a pinhole view spans.
    height: of the cameras above the floor, metres.
    depth: whether depth is given too.
    """

    kind: Sensor
    size: int
    fov: float
    height: float
    depth: bool

    @property
    def depth_kind(self) -> DepthKind | None:
        """The kind of the depth that is given."""
        if not self.depth:
            return None
        return "radial" if self.kind == "panorama" else "planar"

    @property
    def cameras(self) -> tuple[CameraSpec, ...]:
        """As a world's spec has them."""
        if self.kind == "panorama":
            (name, _), *_ = VIEWS[self.kind]
            return (CameraSpec(name, self.size, 2 * self.size, EQUIRECTANGULAR, True, AGENT),)
        return tuple(
            CameraSpec(n, self.size, self.size, carrier=AGENT) for n, _ in VIEWS[self.kind]
        )

    @property
    def rig(self) -> CameraRig:
        """Calibration, relative to the agent."""
        names = tuple(name for name, _ in VIEWS[self.kind])
        mounts = np.tile(np.eye(4), (len(names), 1, 1))
        for mount, (_, degrees) in zip(mounts, VIEWS[self.kind], strict=True):
            mount[:3, :3] = _turn(np.deg2rad(degrees)) @ _AHEAD
            mount[2, 3] = self.height
        if self.kind == "panorama":
            from worldsim.cameras.projection import whole_sphere_intrinsics

            intrinsics = whole_sphere_intrinsics(self.size, 2 * self.size).numpy()[None]
        else:
            intrinsics = np.stack([pinhole(self.fov, self.size, self.size)] * len(names))
        return CameraRig(names, intrinsics, mounts.astype(np.float32), np.ones(len(names), bool))


@dataclass(frozen=True, eq=False)
class Frame:
    """One look around.

    Attributes:
        pixels: {camera: uint8 `[H, W, 3]`}.
        depth: `[V, H, W]` metres, None if it was not asked for.
    """

    pixels: dict[str, NDArray[np.uint8]]
    depth: Float | None


def agent_pose(place: Array, yaw: float) -> Array:
    """Agent to world `[4, 4]`, of a place `[2]` on the floor and a heading."""
    pose = np.eye(4)
    pose[:3, :3] = _turn(yaw)
    pose[:2, 3] = place
    return pose


def look(scene: Scene, sensor: SensorConfig, pose: Array) -> Frame:
    """What an agent at `pose` `[4, 4]` sees."""
    atlas = shared_in_thread(
        ("indoor", scene.number, id(scene.model), sensor), _Atlas, scene, sensor
    )
    return atlas.look(pose)


def _turn(yaw: float) -> Array:
    cos, sin = np.cos(yaw), np.sin(yaw)
    return np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])


class _Atlas:
    """A scene and a sensor in OpenGL: views side by side in one image."""

    def __init__(self, scene: Scene, sensor: SensorConfig) -> None:
        self._sensor, self._model = sensor, scene.model
        if sensor.kind == "panorama":
            self._resampling = resampling(sensor.size)
            self._side = self._resampling.side
            self._mounts = [_AHEAD @ axes for axes in self._resampling.faces]
            self._tangent = 1.0 + 2 * BORDER / (self._side - 2 * BORDER)
        else:
            self._side = sensor.size * FINE
            self._mounts = [_turn(np.deg2rad(d)) @ _AHEAD for _, d in VIEWS[sensor.kind]]
            self._tangent = float(np.tan(np.deg2rad(sensor.fov) / 2))
        low, high = scene.boxes[:, 0], scene.boxes[:, 1]
        self._bounds = (low + high) / 2, (high - low) / 2
        count = len(self._mounts)
        self._model.vis.global_.offwidth = count * self._side
        self._model.vis.global_.offheight = self._side
        self._context = mujoco.MjrContext(self._model, mujoco.mjtFontScale.mjFONTSCALE_50.value)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value
        self._scene = mujoco.MjvScene(self._model, self._model.ngeom + 8)
        for name in ("SHADOW", "REFLECTION", "SKYBOX", "FOG", "HAZE"):
            self._scene.flags[getattr(mujoco.mjtRndFlag, f"mjRND_{name}")] = 0
        data = mujoco.MjData(self._model)
        mujoco.mj_forward(self._model, data)
        every = mujoco.mjtCatBit.mjCAT_ALL.value
        mujoco.mjv_updateScene(
            self._model, data, mujoco.MjvOption(), None, mujoco.MjvCamera(), every, self._scene
        )
        geoms = [self._scene.geoms[k] for k in range(self._scene.ngeom)]
        self._geoms = sorted(geoms, key=lambda geom: geom.objid)
        self._shown = np.ones(len(geoms), bool)
        self._whole = mujoco.MjrRect(0, 0, count * self._side, self._side)
        self._rects = [
            mujoco.MjrRect(k * self._side, 0, self._side, self._side) for k in range(count)
        ]
        self._color = np.empty((self._side, count * self._side, 3), np.uint8)
        self._depth = np.empty((self._side, count * self._side), np.float32)

    def look(self, pose: Array) -> Frame:
        """See `look`."""
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        eye = pose[:3, 3] + (0.0, 0.0, self._sensor.height)
        axes = pose[:3, :3] @ np.stack(self._mounts)
        for one, seen, rect in zip(axes, self._in_sight(axes, eye), self._rects, strict=True):
            self._show(seen)
            self._aim(one, eye)
            mujoco.mjr_render(rect, self._scene, self._context)
        depth = self._depth if self._sensor.depth else None
        mujoco.mjr_readPixels(self._color, depth, self._whole, self._context)
        # OpenGL's first row is the lowest.
        color = self._color[::-1]
        inverse = None
        if depth is not None:
            # Reversed depth: 1 at the near plane and 0 at the far one.
            inverse = np.float32(1 / FAR) + depth[::-1] * np.float32(1 / NEAR - 1 / FAR)
        if self._sensor.kind == "panorama":
            return self._panorama(color, inverse)
        return self._views(color, inverse)

    def close(self) -> None:
        """Free what lies in OpenGL."""
        self._context.free()

    def _in_sight(self, axes: Array, eye: Array) -> NDArray[np.bool_]:
        """Which of n geoms may be seen by cameras of axes `[c, 3, 3]`, `[c, n]`."""
        right, down, ahead = (axes[:, :, k] for k in range(3))
        edges = [s * a + self._tangent * ahead for a in (right, down) for s in (-1, 1)]
        inward = np.stack([*edges, ahead], axis=1)
        middle, half = self._bounds
        reach = inward @ (middle - eye).T + np.abs(inward) @ half.T
        return np.asarray((reach > 0).all(axis=1))

    def _show(self, seen: NDArray[np.bool_]) -> None:
        """Leave everything else out of the next picture: drawing costs by the geom."""
        for index in np.flatnonzero(seen != self._shown):
            self._geoms[index].type = _DRAWN if seen[index] else _HIDDEN
        self._shown = seen

    def _aim(self, axes: Array, eye: Array) -> None:
        """Let both of the scene's eyes look along a camera's axes `[3, 3]` from a place."""
        half = NEAR * self._tangent
        for camera in self._scene.camera:
            camera.pos, camera.forward, camera.up = eye, axes[:, 2], -axes[:, 1]
            camera.frustum_near, camera.frustum_far = NEAR, FAR
            camera.frustum_bottom, camera.frustum_top = -half, half
            camera.frustum_center, camera.frustum_width = 0.0, half

    def _panorama(self, color: NDArray[np.uint8], inverse: Float | None) -> Frame:
        ways, size = self._resampling, self._sensor.size
        fine = cv2.remap(np.ascontiguousarray(color), *ways.fine, cv2.INTER_LINEAR)
        image = cv2.resize(fine, (2 * size, size), interpolation=cv2.INTER_AREA)
        depth = None if inverse is None else ways.radial(inverse)[None]
        return Frame({"panorama": np.asarray(image, np.uint8)}, depth)

    def _views(self, color: NDArray[np.uint8], inverse: Float | None) -> Frame:
        size, pixels, depths = self._sensor.size, {}, []
        for k, (name, _) in enumerate(VIEWS[self._sensor.kind]):
            part = np.ascontiguousarray(color[:, k * self._side : (k + 1) * self._side])
            image = cv2.resize(part, (size, size), interpolation=cv2.INTER_AREA)
            pixels[name] = np.asarray(image, np.uint8)
            if inverse is not None:
                depths.append(_halved(inverse[:, k * self._side : (k + 1) * self._side]))
        return Frame(pixels, np.stack(depths) if depths else None)


def _halved(inverse: Float) -> Float:
    """Depth at the middle of each two by two samples: of their plane, or of the nearest of them."""
    a, b, c, d = inverse[::2, ::2], inverse[::2, 1::2], inverse[1::2, ::2], inverse[1::2, 1::2]
    largest = np.maximum(np.maximum(a, b), np.maximum(c, d))
    flat = np.abs(a + d - b - c) < FLAT * largest
    return np.asarray(1.0 / np.where(flat, (a + b + c + d) / 4, largest), np.float32)


def check_height(cameras: float, agent: float) -> None:
    """Refuse cameras above the agent's head.

    Raises:
        UsageError: they are.
    """
    if cameras > agent:
        raise UsageError(
            f"env.camera_height is {cameras}, above the agent's height {agent}; lower the cameras "
            "or raise env.height"
        )
