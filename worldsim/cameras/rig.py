"""Cameras of a scene, fixed in the world or mounted on the end effector.

Frames: world z up, metres; cameras OpenCV (x right, y down, z forward); `extrinsics` are
camera-to-parent 4x4, the parent being the world or the end effector; pixel centres at half
integers; `intrinsics` are 3x3 in pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class CameraRig:
    """Calibration of V cameras.

    Attributes:
        names: V camera names, in view order.
        intrinsics: `[V, 3, 3]` float32.
        extrinsics: `[V, 4, 4]` float32, camera to world, or camera to end effector if mounted.
        mounted: `[V]` bool, whether the camera rides on the end effector.
    """

    names: tuple[str, ...]
    intrinsics: Array
    extrinsics: Array
    mounted: NDArray[np.bool_]

    def resized(self, scales: Mapping[str, tuple[float, float]]) -> "CameraRig":
        """The same cameras after their images were resized.

        Args:
            scales: {camera: (factor across, factor down)}; cameras that are not named stay.
        """
        factors = np.array([[*scales.get(name, (1.0, 1.0)), 1.0] for name in self.names])
        intrinsics = (self.intrinsics * factors[:, :, None]).astype(np.float32)
        return replace(self, intrinsics=intrinsics)

    def arranged(self, names: Sequence[str]) -> "CameraRig":
        """The cameras `names`, in that order; intrinsics of those that are not here are zero."""
        places = [self.names.index(name) if name in self.names else None for name in names]

        def rows(values: NDArray[Any]) -> NDArray[Any]:
            none = np.zeros_like(values[0])
            return np.stack([none if place is None else values[place] for place in places])

        return CameraRig(
            tuple(names), rows(self.intrinsics), rows(self.extrinsics), rows(self.mounted)
        )

    def agrees_with(self, other: "CameraRig") -> bool:
        """Whether both are the same cameras at the same places, up to rounding."""
        return self.names == other.names and all(
            np.allclose(getattr(self, name), getattr(other, name), atol=1e-5)
            for name in ("intrinsics", "extrinsics", "mounted")
        )

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; inverse of `from_json`."""
        return {
            "names": list(self.names),
            "intrinsics": np.asarray(self.intrinsics, float).tolist(),
            "extrinsics": np.asarray(self.extrinsics, float).tolist(),
            "mounted": [bool(m) for m in self.mounted],
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> "CameraRig":
        """Build from `to_json` output."""
        return CameraRig(
            tuple(data["names"]),
            np.asarray(data["intrinsics"], np.float32),
            np.asarray(data["extrinsics"], np.float32),
            np.asarray(data["mounted"], bool),
        )
