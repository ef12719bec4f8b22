"""What an action is: its vector, its space, what is checked of it.

An action enters models, data sets and policies as a vector `[A]`. In a box its entries are the
command. A discrete action is one of n named choices, and its vector is one-hot, A = n.
"""

import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from worldsim.errors import DataWarning, UsageError

if TYPE_CHECKING:
    from gymnasium import spaces

ActionKind = Literal["box", "discrete"]
ActionMode = Literal["delta", "absolute", "torque", "unknown"]
ActionFrame = Literal["world", "base", "end_effector", "joint", "unknown"]
Limits = Literal["declared", "measured"]
LIMIT_SLACK = 1e-3
"""Share of a dimension's range by which an action may exceed its limits without a word."""


SCALE_SLACK = 0.25
"""Share by which scales that were measured in two data sets of one robot may differ."""


@dataclass(frozen=True)
class ActionSpec:
    """The meaning of an action vector `[A]`.

    Environments take normalised actions in [`low`, `high`]; the physical command is
    `scale * action`, in `units`. `discrete_actions` makes the spec of a discrete action, whose
    environments take the number of a choice.

    Attributes:
        names: one name a dimension, or a choice.
        low: least value of each dimension as the environment takes it.
        high: greatest value of each dimension.
        units: physical unit of each dimension after `scale` ("m", "rad", "1").
        scale: physical units per unit of action.
        mode: whether the first three dimensions move by or move to.
        frame: the frame they are expressed in.
        commanded: True for what was asked of the robot, False for what it did.
        limits: whether `low` and `high` were declared, as by an environment, or are the extremes
            that a data set happens to hold. Measured limits are no part of a robot's identity.
        kind: "box", or "discrete" for a choice among `names`.
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
    kind: ActionKind = "box"

    def __post_init__(self) -> None:
        sizes = {len(self.names), len(self.low), len(self.high), len(self.units), len(self.scale)}
        if len(sizes) != 1:
            raise UsageError(f"ActionSpec fields differ in length: {asdict(self)}")
        if self.kind == "discrete":
            self._check_choices()

    def _check_choices(self) -> None:
        """Refuse a discrete action that is not one-hot over distinct names."""
        count = len(self.names)
        if not count or len(set(self.names)) < count:
            raise UsageError(
                f"a discrete action needs one or more choices of distinct names, got {self.names}"
            )
        bounds = (self.low, self.high, self.limits)
        if bounds != ((0.0,) * count, (1.0,) * count, "declared"):
            raise UsageError(
                f"a discrete action is one-hot, but low, high and limits are {bounds}; "
                "make it with worldsim.spec.discrete_actions(names)"
            )

    @property
    def undescribed(self) -> bool:
        """Whether nothing is known but what its data held, as of sets that others recorded."""
        silent = (self.mode, self.frame, self.commanded) == ("unknown", "unknown", True)
        plain = set(self.units) <= {"1"} and set(self.scale) <= {1.0}
        return silent and plain and self.limits == "measured"

    @property
    def dim(self) -> int:
        """A, the number of dimensions, or of choices."""
        return len(self.names)

    @property
    def space(self) -> "spaces.Space[Any]":
        """The gymnasium space that an environment takes: Box `[A]` float32, or Discrete(A)."""
        from gymnasium import spaces

        if self.kind == "discrete":
            return spaces.Discrete(self.dim)
        return spaces.Box(np.asarray(self.low, np.float32), np.asarray(self.high, np.float32))

    @property
    def nearest_to_zero(self) -> np.ndarray:
        """`[A]` float32, the vector nearest to zero; of choices, the first."""
        if self.kind == "discrete":
            return self._one_hot(np.array(0))
        low, high = np.asarray(self.low, np.float32), np.asarray(self.high, np.float32)
        return np.clip(np.zeros(self.dim, np.float32), low, high)

    @property
    def moves_end_effector(self) -> bool:
        """True when the first three dimensions displace the end effector in the world."""
        return self.mode == "delta" and self.frame == "world" and self.units[:3] == ("m",) * 3

    def vector(self, command: Any, where: str) -> np.ndarray:
        """The vector float32 `[..., A]` of what an environment is given, an element of `space`.

        That of a box is what was given; whoever acts on it checks it by `check`.

        Args:
            command: `[..., A]` of a box, whole numbers `[...]` of choices.
            where: who gave it, for the message.

        Raises:
            UsageError: it is none of the choices.
        """
        if self.kind == "box":
            return np.asarray(command, np.float32)
        chosen = np.asarray(command)
        if chosen.dtype.kind not in "iu" or ((chosen < 0) | (chosen >= self.dim)).any():
            raise UsageError(
                f"{where}: action is {command!r}, expected a whole number from 0 to "
                f"{self.dim - 1}, the choices {', '.join(self.names)}"
            )
        return self._one_hot(chosen)

    def _one_hot(self, choices: np.ndarray) -> np.ndarray:
        """Vectors float32 `[..., A]` of choices `[...]`."""
        vectors: np.ndarray = np.eye(self.dim, dtype=np.float32)[choices]
        return vectors

    def command(self, vector: np.ndarray) -> Any:
        """What an environment is given for `vector` `[..., A]`; the inverse of `vector`."""
        return vector if self.kind == "box" else np.argmax(vector, axis=-1)

    def check(self, action: np.ndarray, where: str) -> np.ndarray:
        """Return the vector `action` as float32 `[..., A]`, clipped to the limits of a box.

        Raises:
            UsageError: the last dimension is not A, a value is not finite, or the vector of a
                choice is not one-hot.
        """
        array = np.asarray(action, dtype=np.float32)
        if array.ndim == 0 or array.shape[-1] != self.dim:
            raise UsageError(
                f"{where}: action has shape {array.shape}, expected [..., {self.dim}] "
                f"({', '.join(self.names)})"
            )
        if not np.isfinite(array).all():
            raise UsageError(f"{where}: action holds NaN or infinity: {array.tolist()}")
        if self.kind == "box":
            return self.clip(array)
        if not ((np.isin(array, (0, 1))).all() and (array.sum(-1) == 1).all()):
            raise UsageError(
                f"{where}: action is {array.tolist()}, expected a one-hot vector over the choices "
                f"{', '.join(self.names)}"
            )
        return array

    def clip(self, action: np.ndarray) -> np.ndarray:
        """`action` `[..., A]` as float32 within the limits; warns of leaving measured ones.

        Of choices, the one whose entry is greatest.
        """
        array = np.asarray(action, np.float32)
        if self.kind == "discrete":
            return self._one_hot(np.argmax(array, axis=-1))
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

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; a box does not write its kind, so that files keep their bytes."""
        plain = asdict(self)
        if self.kind == "box":
            del plain["kind"]
        return plain

    def fits(self, other: "ActionSpec") -> bool:
        """Whether both mean the same by an action.

        Where both declare their limits, all of it counts. What was measured in data differs from
        set to set in limits and, a little, in scale, and may not have been found out at all.
        """
        if "measured" not in (self.limits, other.limits):
            return self == other
        if (self.names, self.kind) != (other.names, other.kind):
            return False
        if self.undescribed or other.undescribed:  # which contradicts nothing
            return True
        alike = ("mode", "commanded", "units")
        frames = {self.frame, other.frame} - {"unknown"}
        scales = np.isclose(self.scale, other.scale, rtol=SCALE_SLACK)
        same = all(getattr(self, name) == getattr(other, name) for name in alike)
        return same and len(frames) < 2 and bool(scales.all())

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


def discrete_actions(
    names: Sequence[str], scale: Sequence[float] = (), units: Sequence[str] = ()
) -> ActionSpec:
    """The spec of a choice among `names`, as a one-hot vector.

    Args:
        names: of the choices.
        scale: what one choice does, such as 0.25 for a step forward; default 1.
        units: of `scale`, such as "m"; default "1".

    Raises:
        UsageError: there is no name, or one occurs twice.
    """
    count = len(names)
    return ActionSpec(
        names=tuple(names),
        low=(0.0,) * count,
        high=(1.0,) * count,
        units=tuple(units) or ("1",) * count,
        scale=tuple(scale) or (1.0,) * count,
        kind="discrete",
    )
