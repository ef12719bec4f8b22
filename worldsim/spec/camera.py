"""What a camera is: its image, how directions fall on it, what carries it."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from worldsim.errors import UsageError

PINHOLE, EQUIRECTANGULAR = "pinhole", "equirectangular"
"""Projections; `worldsim.cameras.projection` holds the registry of all of them."""
END_EFFECTOR = "end_effector"
"""The pose of a robot's hand, as the name of what carries a camera."""


@dataclass(frozen=True)
class CameraSpec:
    """One camera, apart from its calibration, which every episode has for itself.

    Attributes:
        name: its name in observations.
        height: rows of its image; cameras of a world may differ in size.
        width: columns of its image.
        projection: how directions fall on the image, by registered name.
        wrap: whether the image's left edge meets its right one, as in a whole panorama.
        carrier: the pose that the camera rides on, such as "end_effector" or "agent". None means
            fixed in the world. Specs of before 2026-11-27 have None for mounted cameras too.
    """

    name: str
    height: int
    width: int
    projection: str = PINHOLE
    wrap: bool = False
    carrier: str | None = None

    def __post_init__(self) -> None:
        if self.wrap and self.projection == PINHOLE:
            raise UsageError(
                f"camera {self.name!r} has wrap=True, but the edges of a pinhole image never meet; "
                f"set wrap=False, or projection={EQUIRECTANGULAR!r} for a panorama"
            )
        if self.carrier == "":
            raise UsageError(
                f"camera {self.name!r} has an empty carrier; name the pose it rides on, or set None"
            )

    def fits(self, other: "CameraSpec") -> bool:
        """Whether both may be one camera.

        All fields must be equal, but a carrier of None agrees with any. Earlier specs said of no
        camera what carries it; whether it is mounted, the calibration of each episode tells.
        """
        unsaid = None in (self.carrier, other.carrier)
        return self == (replace(other, carrier=self.carrier) if unsaid else other)

    def widened(self, other: "CameraSpec") -> "CameraSpec":
        """This camera with what carries it, if only `other` says that."""
        return replace(self, carrier=self.carrier or other.carrier)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types, without what is at its default."""
        defaults = {field.name: field.default for field in fields(self)}
        return {key: value for key, value in asdict(self).items() if value != defaults[key]}
