"""What a world looks like from outside: rate, cameras, action, proprioception, state.

A `WorldSpec` is stored with every data set and every checkpoint and compared wherever two of
them meet (`WorldSpec.require_compatible`), so that a silent stretch of time or a swapped camera
cannot happen.
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import numpy as np
from dacite import Config as DaciteConfig
from dacite import DaciteError, from_dict

from worldsim.conventions import plain_rate, same_rate
from worldsim.errors import DataWarning, SpecMismatchError, UsageError

ActionMode = Literal["delta", "absolute", "torque", "unknown"]
ActionFrame = Literal["world", "base", "end_effector", "joint", "unknown"]
Limits = Literal["declared", "measured"]
LIMIT_SLACK = 1e-3
"""Share of a dimension's range by which an action may exceed its limits without a word."""


@dataclass(frozen=True)
class ActionSpec:
    """The meaning of an action vector `[A]`.

    Environments take normalised actions in [`low`, `high`]; the physical command is
    `scale * action`, in `units`.

    Attributes:
        names: one name a dimension.
        low: least value of each dimension as the environment takes it.
        high: greatest value of each dimension.
        units: physical unit of each dimension after `scale` ("m", "rad", "1").
        scale: physical units per unit of action.
        mode: whether the first three dimensions move by or move to.
        frame: the frame they are expressed in.
        commanded: True for what was asked of the robot, False for what it did.
        limits: whether `low` and `high` were declared, as by an environment, or are the extremes
            that a data set happens to hold. Measured limits are no part of a robot's identity.
    """

    names: tuple[str, ...]
    low: tuple[float, ...]
    high: tuple[float, ...]
    units: tuple[str, ...]
    scale: tuple[float, ...]
    mode: ActionMode = "unknown"
    frame: ActionFrame = "unknown"
    commanded: bool = True
    limits: Limits = "declared"

    def __post_init__(self) -> None:
        sizes = {len(self.names), len(self.low), len(self.high), len(self.units), len(self.scale)}
        if len(sizes) != 1:
            raise UsageError(f"ActionSpec fields differ in length: {asdict(self)}")

    @property
    def dim(self) -> int:
        """A, the number of dimensions."""
        return len(self.names)

    @property
    def nearest_to_zero(self) -> np.ndarray:
        """`[A]` float32, the action within the limits that is nearest to zero."""
        low, high = np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)
        return np.clip(np.zeros(self.dim, np.float32), low, high)

    @property
    def moves_end_effector(self) -> bool:
        """True when the first three dimensions displace the end effector in the world."""
        return self.mode == "delta" and self.frame == "world" and self.units[:3] == ("m",) * 3

    def check(self, action: np.ndarray, where: str) -> np.ndarray:
        """Return `action` as float32 `[..., A]`, clipped to the limits.

        Raises:
            UsageError: the last dimension is not A, or a value is not finite.
        """
        array = np.asarray(action, dtype=np.float32)
        if array.ndim == 0 or array.shape[-1] != self.dim:
            raise UsageError(
                f"{where}: action has shape {array.shape}, expected [..., {self.dim}] "
                f"({', '.join(self.names)})"
            )
        if not np.isfinite(array).all():
            raise UsageError(f"{where}: action holds NaN or infinity: {array.tolist()}")
        return self.clip(array)

    def clip(self, action: np.ndarray) -> np.ndarray:
        """`action` `[..., A]` as float32 within the limits; warns of leaving measured ones."""
        array = np.asarray(action, np.float32)
        low, high = np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)
        if self.limits == "measured":
            room = LIMIT_SLACK * (high - low)
            outside = (array < low - room) | (array > high + room)
            beyond = [bool(outside[..., i].any()) for i in range(self.dim)]
            if any(beyond):
                self._warn_of_clipping(beyond)
        return np.clip(array, low, high)

    def _warn_of_clipping(self, beyond: Sequence[bool]) -> None:
        """Say which of A dimensions leave their limits."""
        rows = zip(self.names, self.low, self.high, beyond, strict=True)
        ranges = ", ".join(f"{n} {low:g} to {high:g}" for n, low, high, out in rows if out)
        warnings.warn(
            f"actions lie beyond what the model's data held ({ranges}) and are clipped to it",
            DataWarning,
            stacklevel=3,
        )

    def fits(self, other: "ActionSpec") -> bool:
        """Whether both mean the same by an action; limits count where both declare them."""
        if "measured" not in (self.limits, other.limits):
            return self == other
        # Those of one length at least: others cannot be given these limits.
        return self.dim == other.dim and self == other.limited_as(self)

    def limited_as(self, other: "ActionSpec") -> "ActionSpec":
        """This action with the limits of `other`, which has as many dimensions."""
        return replace(self, low=other.low, high=other.high, limits=other.limits)

    def widened(self, other: "ActionSpec") -> "ActionSpec":
        """This action with limits that hold `other`'s too; declared ones hold as they are."""
        if "measured" not in (self.limits, other.limits):
            return self
        if self.limits == "declared" or other.limits == "declared":
            return self if self.limits == "declared" else self.limited_as(other)
        low = tuple(map(min, self.low, other.low))
        return replace(self, low=low, high=tuple(map(max, self.high, other.high)))


@dataclass(frozen=True)
class CameraSpec:
    """One camera's name and image size in pixels."""

    name: str
    height: int
    width: int


@dataclass(frozen=True)
class VectorSpec:
    """A named vector, such as proprioception (`agent_pos`) or the privileged state."""

    names: tuple[str, ...]
    units: tuple[str, ...]

    def __post_init__(self) -> None:
        if len(self.names) != len(self.units):
            raise UsageError(f"VectorSpec has {len(self.names)} names, {len(self.units)} units")

    @property
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
    """

    fps: float
    cameras: tuple[CameraSpec, ...]
    action: ActionSpec
    agent_pos: VectorSpec
    state: VectorSpec

    def __post_init__(self) -> None:
        object.__setattr__(self, "fps", plain_rate(self.fps))

    @property
    def camera_names(self) -> tuple[str, ...]:
        """Names in view order."""
        return tuple(camera.name for camera in self.cameras)

    def seen_by(self, cameras: Iterable[str]) -> "WorldSpec":
        """The same world through some of its cameras alone, in this order."""
        known = {camera.name: camera for camera in self.cameras}
        return replace(self, cameras=tuple(known[name] for name in cameras))

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; inverse of `from_json`."""
        return asdict(self)

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

    def require_compatible(self, other: "WorldSpec", ours: str, theirs: str) -> None:
        """Refuse to mix two different worlds.

        Limits of actions may differ if one of the two measured them in its data.

        Args:
            other: the spec to compare with.
            ours: what this spec belongs to, for the message ("checkpoint runs/a").
            theirs: what `other` belongs to.

        Raises:
            SpecMismatchError: names every field that differs, with both values.
        """
        fields = ("fps", "cameras", "action", "agent_pos", "state")
        self._require_equal(other, ours, theirs, fields)

    def agrees(self, other: "WorldSpec", field: str) -> bool:
        """Whether `other` means the same by a field, such as "action"."""
        if field == "fps":
            return same_rate(self.fps, other.fps)
        if field == "action":
            return self.action.fits(other.action)
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
