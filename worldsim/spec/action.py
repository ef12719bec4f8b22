"""What an action is."""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np

from worldsim.errors import DataWarning, UsageError

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
