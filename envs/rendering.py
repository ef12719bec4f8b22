"""Off-screen rendering of MuJoCo models: colour, metric depth and pinhole calibration.

One OpenGL context per thread, shared by all envs that draw in it and freed when the thread ends:
switching contexts costs more than drawing a small image, and in a thread where it is not current a
context draws nothing, without any error.
"""

import atexit
import threading
import weakref
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from typing import Any, TypeVar, cast

import cv2
import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.envs.gl import choose_backend, drawing_backend
from worldsim.errors import UsageError, WorldsimError

choose_backend()

import mujoco  # noqa: E402  (the backend must be chosen first)

T = TypeVar("T")

_MAX_GEOMS = 500
_MAX_RENDERERS = 16
"""Renderers of a thread; the one that was used least lately goes first."""
_SUPERSAMPLING = 2
_OFF_FLAGS = ("mjRND_SHADOW", "mjRND_REFLECTION", "mjRND_SKYBOX", "mjRND_FOG", "mjRND_HAZE")
_OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0])


class _Drawing:
    """A thread's GL context and the renderers living in it.

    Nothing but the thread's own storage holds it, so it goes in that thread when the thread ends:
    elsewhere the context could not be made current to free what lives in it.
    """

    def __init__(self, height: int, width: int) -> None:
        self.renderers: dict[Hashable, Any] = {}
        self._context: Any = None
        backend = drawing_backend()
        try:
            self._context = _context_class(backend)(width, height)
        except Exception as error:
            raise WorldsimError(
                f"no OpenGL context could be made with MUJOCO_GL={backend} ({error}); "
                "`worldsim doctor` says what this machine lacks"
            ) from error
        self.make_current()
        if not _DRAWINGS:
            # Registered only now: mujoco registers the display's end when it makes the context,
            # and the last registered runs first.
            atexit.unregister(_close_all)
            atexit.register(_close_all)
        _DRAWINGS.add(self)

    def make_current(self) -> None:
        """Draw with this context: an env of others may have drawn with its own since."""
        self._context.make_current()

    def close(self) -> None:
        """Free everything; in another thread than its own only what can be freed there."""
        context, self._context = self._context, None
        if context is None:
            return
        with suppress(Exception):  # still current in a thread: its renderers end with the process
            context.make_current()
            for renderer in self.renderers.values():
                renderer.close()
        self.renderers.clear()
        with suppress(Exception):
            context.free()

    def __del__(self) -> None:
        self.close()


class _Graphics(threading.local):
    """What this thread draws with; None before it first draws."""

    drawing: _Drawing | None = None


_GRAPHICS = _Graphics()
_DRAWINGS: "weakref.WeakSet[_Drawing]" = weakref.WeakSet()  # of threads that have not ended


def _close_all() -> None:
    """At the process's end, in its main thread."""
    for drawing in list(_DRAWINGS):
        drawing.close()


def _context_class(backend: str) -> Any:
    """The backend's context, whatever backend was chosen when mujoco was first imported."""
    if backend == "egl":
        from mujoco.egl import GLContext
    elif backend == "osmesa":
        from mujoco.osmesa import GLContext
    else:
        GLContext = mujoco.GLContext
    return GLContext


def shared_renderer(
    model: mujoco.MjModel,
    height: int,
    width: int,
    key: str,
    groups: tuple[int, ...] | None = None,
) -> "SceneRenderer":
    """A renderer for `model`, shared by every model of equal `key` (same meshes and textures).

    Args:
        model: supplies meshes, textures and visual settings.
        height: image height in pixels.
        width: image width in pixels.
        key: names the family of models that differ only in numbers.
        groups: geom groups to draw; None: as MuJoCo.
    """
    identity = (key, height, width, groups)
    return shared_in_thread(identity, SceneRenderer, model, height, width, groups)


def shared_in_thread(identity: Hashable, make: Callable[..., T], *arguments: Any) -> T:
    """What `make(*arguments)` made for an identity in this thread, whose context is then current.

    It has `close()`, which ends the one used least lately of too many.
    """
    drawing = _GRAPHICS.drawing = _GRAPHICS.drawing or _Drawing(64, 64)
    drawing.make_current()
    renderers = drawing.renderers
    found = renderers.pop(identity, None)
    if found is None:
        found = make(*arguments)
        if len(renderers) >= _MAX_RENDERERS:
            renderers.pop(next(iter(renderers))).close()
    renderers[identity] = found
    return cast(T, found)


class SceneRenderer:
    """Draws any model that shares its meshes and textures with the one it was made from.

    Made by `shared_renderer`, in a thread that has a context; used in that thread alone.

    Images are drawn at twice their size and averaged: on a CPU that costs half as much as
    OpenGL's own four-fold antialiasing.
    """

    def __init__(
        self,
        model: mujoco.MjModel,
        height: int,
        width: int,
        groups: tuple[int, ...] | None = None,
    ) -> None:
        wide, tall = width * _SUPERSAMPLING, height * _SUPERSAMPLING
        model.vis.global_.offwidth = max(model.vis.global_.offwidth, wide)
        model.vis.global_.offheight = max(model.vis.global_.offheight, tall)
        model.vis.quality.offsamples = 0
        model.vis.quality.shadowsize = 0  # on a CPU shadows and reflections cost most
        self._context = mujoco.MjrContext(model, mujoco.mjtFontScale.mjFONTSCALE_100.value)
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        self._context.readDepthMap = mujoco.mjtDepthMap.mjDEPTH_ZEROFAR.value
        # Geoms beyond the buffer would be left out of the picture.
        self._scene = mujoco.MjvScene(model, max(_MAX_GEOMS, 2 * (model.ngeom + model.nsite)))
        self._camera = mujoco.MjvCamera()
        self._option = mujoco.MjvOption()
        if groups is not None:
            self._option.geomgroup[:] = [group in groups for group in range(mujoco.mjNGROUP)]
        self._fine = mujoco.MjrRect(0, 0, wide, tall)
        self._plain = mujoco.MjrRect(0, 0, width, height)
        self._buffer = np.empty((tall, wide, 3), np.uint8)
        for name in _OFF_FLAGS:
            self._scene.flags[getattr(mujoco.mjtRndFlag, name)] = 0

    def color(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        camera: "int | mujoco.MjvCamera",
        roll: float = 0.0,
    ) -> NDArray[np.uint8]:
        """Image uint8 `[H, W, 3]` from a fixed camera's index or a free camera.

        Args:
            model: what is drawn.
            data: where it stands.
            camera: index or free camera.
            roll: radians by which the camera is turned clockwise about its axis.
        """
        self._draw(model, data, camera, self._fine, roll)
        mujoco.mjr_readPixels(self._buffer, None, self._fine, self._context)
        size = (self._plain.width, self._plain.height)
        image = cv2.resize(self._buffer, size, interpolation=cv2.INTER_AREA)
        # OpenGL's first row is the lowest.
        return np.ascontiguousarray(image[::-1], np.uint8)

    def depth(
        self, model: mujoco.MjModel, data: mujoco.MjData, camera: "int | mujoco.MjvCamera"
    ) -> NDArray[np.float32]:
        """Planar metric depth float32 `[H, W]`, along the optical axis; the far plane if empty."""
        self._draw(model, data, camera, self._plain)
        buffer = np.empty((self._plain.height, self._plain.width), np.float32)
        mujoco.mjr_readPixels(None, buffer, self._plain, self._context)
        near = float(model.vis.map.znear * model.stat.extent)
        far = float(model.vis.map.zfar * model.stat.extent)
        # Reversed depth: the buffer holds 1 at the near plane and 0 at the far plane.
        inverse = 1.0 / far + buffer[::-1].astype(np.float64) * (1.0 / near - 1.0 / far)
        return (1.0 / inverse).astype(np.float32)

    def close(self) -> None:
        """Free the GPU resources."""
        self._context.free()

    def _draw(
        self,
        model: mujoco.MjModel,
        data: mujoco.MjData,
        camera: "int | mujoco.MjvCamera",
        rect: mujoco.MjrRect,
        roll: float = 0.0,
    ) -> None:
        if isinstance(camera, int):
            self._camera.type = mujoco.mjtCamera.mjCAMERA_FIXED
            self._camera.fixedcamid = camera
            camera = self._camera
        mujoco.mjr_setBuffer(mujoco.mjtFramebuffer.mjFB_OFFSCREEN.value, self._context)
        mujoco.mjv_updateScene(
            model, data, self._option, None, camera, mujoco.mjtCatBit.mjCAT_ALL.value, self._scene
        )
        for eye in self._scene.camera if roll else ():
            right = np.cross(eye.forward, eye.up)
            eye.up = np.cos(roll) * eye.up + np.sin(roll) * right
        mujoco.mjr_render(rect, self._scene, self._context)


def pinhole(fovy_degrees: float, height: int, width: int) -> NDArray[np.float32]:
    """Intrinsics `[3, 3]` in pixels of a MuJoCo camera; the axis passes the image's middle."""
    focal = 0.5 * height / np.tan(0.5 * np.deg2rad(fovy_degrees))
    return np.array(
        [[focal, 0.0, width / 2], [0.0, focal, height / 2], [0.0, 0.0, 1.0]], np.float32
    )


def camera_names(model: mujoco.MjModel) -> list[str]:
    """Names of the model's cameras by index."""
    return [mujoco.mj_id2name(model, mujoco.mjtObj.mjOBJ_CAMERA, i) for i in range(model.ncam)]


def camera_pose(data: mujoco.MjData, index: int) -> NDArray[np.float64]:
    """Pose `[4, 4]` of a fixed camera, camera to world, OpenCV axes (x right, y down)."""
    pose = np.eye(4)
    pose[:3, :3] = data.cam_xmat[index].reshape(3, 3) @ _OPENGL_TO_OPENCV
    pose[:3, 3] = data.cam_xpos[index]
    return pose


def camera_indices(model: mujoco.MjModel, names: Sequence[str]) -> tuple[int, ...]:
    """Indices of the model's named cameras.

    Raises:
        UsageError: a camera is absent; the message lists those there are.
    """
    known = camera_names(model)
    missing = [name for name in names if name not in known]
    if missing:
        raise UsageError(f"the model has no cameras {missing}; it has {known}")
    return tuple(known.index(name) for name in names)


def rig_of(
    names: Sequence[str],
    fovy_degrees: Sequence[float],
    poses: Sequence[NDArray[np.float64]],
    size: int,
    mounted: Sequence[bool],
) -> CameraRig:
    """Calibration of cameras with square images of `size` pixels.

    Args:
        names: of V cameras, in view order.
        fovy_degrees: vertical field of view of each.
        poses: `[4, 4]` of each, camera to world or to what it rides on.
        size: height and width.
        mounted: whether each rides on something.
    """
    return CameraRig(
        tuple(names),
        np.stack([pinhole(fovy, size, size) for fovy in fovy_degrees]),
        np.stack(poses).astype(np.float32),
        np.asarray(mounted, bool),
    )
