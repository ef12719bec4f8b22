"""Where the camera of a source without MuJoCo stands, and how far off its pixels are.

Others tell a place and a heading, each in axes and units of their own; a rule of the user's says
which, so that recorded frames have poses of cameras, and depth.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.config.compose import build
from worldsim.config.limits import Positive, Text, between
from worldsim.config.values import Checked
from worldsim.envs.foreign_attributes import public_method
from worldsim.envs.foreign_entries import Entry, Returned
from worldsim.errors import UsageError
from worldsim.spec import DepthKind, VectorSpec

Float = NDArray[np.float32]
Angle = Annotated[float, between(1, 179)]
_AXES = ("x", "y", "z")


@dataclass(frozen=True)
class PoseRequest(Checked):
    """A camera that looks level, where a walker stands.

    Attributes:
        position: entry of three numbers.
        heading: entry of one number, which grows to the left.
        fovx: degrees across the picture.
        fovy: degrees down the picture.
        axes: which of the source's axes ours are (x and y level, z up), such as [x, -z, y]. A
            heading of 0 looks along our x.
        metres: of a unit of length.
        height: metres of the camera above the position.
        degrees: whether the heading is in degrees, and not in radians.
        carrier: name of the agent that the camera rides on. Its place below the camera and its
            heading are then measured, as NAME_x, NAME_y (m), NAME_cos and NAME_sin.
    """

    position: str
    heading: str
    fovx: Angle
    fovy: Angle
    axes: tuple[str, ...] = _AXES
    metres: Positive = 1.0
    height: float = 0.0
    degrees: bool = False
    carrier: Text | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if len(self.axes) != 3 or not np.isclose(np.linalg.det(self.turn), 1.0):
            raise UsageError(
                f"env.pose.axes is {list(self.axes)}; expected each of x, y and z once, with a "
                "minus where it points the other way, and no mirror image, as in [x, -z, y]"
            )

    @property
    def turn(self) -> NDArray[np.float64]:
        """From the source's axes to ours, `[3, 3]`."""
        rows = np.zeros((3, 3))
        for row, name in zip(rows, self.axes, strict=False):
            if name.lstrip("-") in _AXES:
                row[_AXES.index(name.lstrip("-"))] = -1.0 if name.startswith("-") else 1.0
        return rows

    def pose(self, returned: Returned) -> Float:
        """Camera to world `[4, 4]`.

        Raises:
            UsageError: an entry is absent, of another size, or not finite.
        """
        place = self._numbers(self.position, 3, returned)
        (heading,) = self._numbers(self.heading, 1, returned)
        heading = np.deg2rad(heading) if self.degrees else heading
        cos, sin = np.cos(heading), np.sin(heading)
        pose = np.eye(4, dtype=np.float32)
        # OpenCV's axes: right, down, ahead.
        pose[:3, :3] = np.array([[sin, 0, cos], [-cos, 0, sin], [0, -1, 0]])
        pose[:3, 3] = self.metres * self.turn @ place + (0, 0, self.height)
        return pose

    @property
    def measured(self) -> VectorSpec:
        """Entries of proprioception that tell where the carrier stands; none without one."""
        parts = (("x", "m"), ("y", "m"), ("cos", "1"), ("sin", "1")) if self.carrier else ()
        names = tuple(f"{self.carrier}_{part}" for part, _ in parts)
        return VectorSpec(names, tuple(unit for _, unit in parts))

    def measure(self, returned: Returned) -> Float:
        """These entries `[4]`, or `[0]`; see `pose`."""
        if self.carrier is None:
            return np.zeros(0, np.float32)
        pose = self.pose(returned)
        return np.asarray([*pose[:2, 3], *pose[:2, 2]], np.float32)

    def rig(self, names: tuple[str, ...], size: int, returned: Returned) -> CameraRig:
        """Calibration of pictures `[size, size]` of one camera, where it stands now."""
        focal = [size / 2 / np.tan(np.deg2rad(angle) / 2) for angle in (self.fovx, self.fovy)]
        matrix = np.array([[focal[0], 0, size / 2], [0, focal[1], size / 2], [0, 0, 1]])
        many, pose = len(names), self.pose(returned)
        if self.carrier is not None:  # as it stands in the carrier's axes: x ahead, y left, z up
            height = pose[2, 3]
            pose = np.eye(4, dtype=np.float32)
            pose[:3, :3], pose[2, 3] = [[0, 0, 1], [-1, 0, 0], [0, -1, 0]], height
        rides = np.full(many, self.carrier is not None)
        intrinsics = np.stack([matrix.astype(np.float32)] * many)
        return CameraRig(names, intrinsics, np.stack([pose] * many), rides)

    def _numbers(self, entry: str, count: int, returned: Returned) -> NDArray[np.float64]:
        values = Entry.parse(entry).numbers(returned).astype(np.float64)
        if len(values) != count or not np.isfinite(values).all():
            raise UsageError(
                f"env.pose: entry {entry!r} of the env is {values.tolist()}; expected {count} "
                f"finite number{'s' if count > 1 else ''}"
            )
        return values


@dataclass(frozen=True)
class DepthRequest(Checked):
    """Depth of every pixel of the source's picture; it is turned over where the picture is.

    Attributes:
        kind: "planar" along the optical axis, or "radial" from the camera.
        key: entry `[H, W]` or `[H, W, 1]` that holds it; or
        method: of the source's, which gives it.
        metres: of a unit.
    """

    kind: DepthKind
    key: str | None = None
    method: str | None = None
    metres: Positive = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.key is None) == (self.method is None):
            raise UsageError("env.depth: give one of key (an entry) and method (of the env)")

    def read(self, env: Any, size: int, returned: Returned) -> Float:
        """Depth `[size, size]` in metres; resized to the nearest pixel.

        Raises:
            UsageError: it is no picture of numbers.
        """
        if self.method is not None:
            found = public_method(env, self.method, "env.depth")()
        else:
            found = Entry.parse(str(self.key)).find(returned)
        image = np.asarray(found)
        image = image[..., 0] if image.ndim == 3 and image.shape[-1] == 1 else image
        if image.ndim != 2 or image.dtype.kind not in "uif" or not np.isfinite(image).all():
            raise UsageError(
                f"env.depth: {self.method or self.key} is {image.dtype} {image.shape}; expected "
                "finite numbers [H, W]"
            )
        depth = self.metres * image.astype(np.float32)
        near = cv2.resize(depth, (size, size), interpolation=cv2.INTER_NEAREST)
        return np.asarray(near, np.float32)


def read_requests(
    pose: Mapping[str, Any] | None, depth: Mapping[str, Any] | None
) -> tuple[PoseRequest | None, DepthRequest | None]:
    """What a config says of both.

    Raises:
        UsageError: a key is unknown, missing, or does not fit.
    """
    return (
        None if pose is None else build(PoseRequest, dict(pose), "env.pose"),
        None if depth is None else build(DepthRequest, dict(depth), "env.depth"),
    )
