"""What a world looks like from outside: rate, cameras, action, proprioception, state.

A `WorldSpec` is stored with every data set and every checkpoint and compared wherever two of
them meet (`WorldSpec.require_compatible`), so that a silent stretch of time or a swapped camera
cannot happen.
"""

from collections.abc import Iterable
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, Literal

from dacite import Config as DaciteConfig
from dacite import DaciteError, from_dict

from worldsim.conventions import plain_rate, same_rate
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.spec.action import ActionSpec
from worldsim.spec.camera import CameraSpec

DepthKind = Literal["planar", "radial"]
"""Depth along the optical axis (z), or distance from the camera's centre."""


@dataclass(frozen=True)
class VectorSpec:
    """A named vector, such as proprioception (`agent_pos`) or the privileged state."""

    names: tuple[str, ...]
    units: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.units):
            raise UsageError(f"VectorSpec has {len(self.names)} names, {len(self.units)} units")

    @cached_property
    def dim(self) -> int:
        """The vector's length."""
        return len(self.names)

    def indices(self, *names: str) -> tuple[int, ...] | None:
        """Positions of `names`, or None if any is absent."""
        if not all(name in self.names for name in names):
            return None
        return tuple(self.names.index(name) for name in names)

    def indices_in_metres(self) -> tuple[int, ...]:
        """Positions of the entries measured in metres."""
        return tuple(i for i, unit in enumerate(self.units) if unit == "m")


EE_POSITION = ("ee_x", "ee_y", "ee_z")
EE_ROTATION_6D = ("ee_r11", "ee_r21", "ee_r31", "ee_r12", "ee_r22", "ee_r32")
"""First two columns of the end effector's rotation matrix, in the world."""
GRIPPER_WIDTH = "gripper_width"
"""Distance between the fingers, in metres."""


@dataclass(frozen=True)
class WorldSpec:
    """Everything two parts must agree on before they exchange tensors.

    Attributes:
        fps: control and frame rate in Hz; whole rates are kept as int.
        cameras: in the order of the view axis V.
        action: the commanded action.
        agent_pos: proprioception, `[P]`.
        state: privileged simulator state, `[S]`; empty for real robots.
        camera_pose: whether camera-to-world poses are recorded for every frame.
        depth: kind of the depth that is recorded for every pixel, None where there is none:
            "planar" along the optical axis, "radial" from the camera's centre.
        events: names of what may happen at a frame, recorded as 0 or 1.

    The last three say what recordings hold beside the rest. Worlds that differ in them are one.
    """

    fps: float
    cameras: tuple[CameraSpec, ...]
    action: ActionSpec
    agent_pos: VectorSpec
    state: VectorSpec
    camera_pose: bool = False
    depth: DepthKind | None = None
    events: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if len(set(self.events)) < len(self.events):
            raise UsageError(f"events need distinct names, got {self.events}")
        object.__setattr__(self, "fps", plain_rate(self.fps))

    @cached_property
    def camera_names(self) -> tuple[str, ...]:
        """Names in view order."""
        return tuple(camera.name for camera in self.cameras)

    def seen_by(self, cameras: Iterable[str]) -> "WorldSpec":
        """The same world through some of its cameras alone, in this order."""
        known = {camera.name: camera for camera in self.cameras}
        return replace(self, cameras=tuple(known[name] for name in cameras))

    def without_extras(self) -> "WorldSpec":
        """The same world, of whose frames neither poses of cameras, depth nor events are kept."""
        return replace(self, camera_pose=False, depth=None, events=())

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; inverse of `from_json`.

        Later fields are not written where they are at their defaults, so that files keep their
        bytes.
        """
        plain = {**asdict(self), "action": self.action.to_json()}
        plain["cameras"] = [camera.to_json() for camera in self.cameras]
        for name in ("camera_pose", "depth", "events"):
            if not plain[name]:
                del plain[name]
        return plain

    @staticmethod
    def from_json(data: dict[str, Any]) -> "WorldSpec":
        """Build from `to_json` output.

        Raises:
            SpecMismatchError: keys are missing, unknown or of the wrong type.
        """
        try:
            return from_dict(WorldSpec, data, DaciteConfig(cast=[tuple, float], strict=True))
        except (DaciteError, TypeError, ValueError, UsageError) as error:
            raise SpecMismatchError(f"not a world spec: {error}") from error

    def require_same_robot(self, other: "WorldSpec", ours: str, theirs: str) -> None:
        """Refuse to mix robots or cameras; tasks, and so the state, may differ.

        As in `require_compatible`, limits of actions that were measured may differ.

        Args:
            other: the spec to compare with.
            ours: what this spec belongs to, for the message.
            theirs: what `other` belongs to.

        Raises:
            SpecMismatchError: names every field that differs, with both values.
        """
        self._require_equal(other, ours, theirs, ("fps", "cameras", "action", "agent_pos"))

    def require_compatible(
        self, other: "WorldSpec", ours: str, theirs: str, *, stateless: bool = False
    ) -> None:
        """Refuse to mix two different worlds.

        Limits of actions may differ if one of the two measured them in its data.

        Args:
            other: the spec to compare with.
            ours: what this spec belongs to, for the message ("checkpoint runs/a").
            theirs: what `other` belongs to.
            stateless: whether one of the two may do without the simulator's state.

        Raises:
            SpecMismatchError: names every field that differs, with both values.
        """
        fields: tuple[str, ...] = ("fps", "cameras", "action", "agent_pos")
        if not stateless or (self.state.dim and other.state.dim):
            fields = (*fields, "state")
        self._require_equal(other, ours, theirs, fields)

    def agrees(self, other: "WorldSpec", field: str) -> bool:
        """Whether `other` means the same by a field, such as "action"."""
        if field == "fps":
            return same_rate(self.fps, other.fps)
        if field == "action":
            return self.action.fits(other.action)
        if field == "cameras":
            mine, theirs = self.cameras, other.cameras
            return len(mine) == len(theirs) and all(map(CameraSpec.fits, mine, theirs))
        return bool(getattr(self, field) == getattr(other, field))

    def _require_equal(
        self, other: "WorldSpec", ours: str, theirs: str, fields: tuple[str, ...]
    ) -> None:
        differences = [
            f"{name}: {ours} has {getattr(self, name)}, {theirs} has {getattr(other, name)}"
            for name in fields
            if not self.agrees(other, name)
        ]
        if differences:
            raise SpecMismatchError(
                f"{ours} and {theirs} describe different worlds; "
                + "; ".join(differences)
                + ". Use data, model and environment made with the same spec."
            )
