"""Which key moves which dimension of an action, decided by the action's names."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.spec import ActionSpec

PAIRS = (("s", "w"), ("d", "a"), ("f", "r"), ("e", "q"), ("g", "t"), ("h", "y"), ("j", "u"))
"""Keys toward less and toward more, given out in the order of the dimensions."""
TOGGLES = (" ", "b", "n")
GRIPS = ("grip", "gripper")
"""What names of dimensions that open and close contain."""


@dataclass(frozen=True)
class Control:
    """How one dimension is driven.

    Attributes:
        name: of the dimension.
        less: key held for `low`; empty for a toggle.
        more: key held for `high`; for a toggle, the key that changes between the two.
        toggle: whether the key changes sides rather than being held.
        low: least value.
        high: greatest value, where a toggle begins.
        axis: number of the gamepad's axis, or of the button of a toggle; -1 without one.
    """

    name: str
    less: str
    more: str
    toggle: bool
    low: float
    high: float
    axis: int


def controls_of(action: ActionSpec) -> list[Control]:
    """A control for each dimension; those beyond the keyboard have none and rest."""
    pairs, toggles, axes = iter(PAIRS), iter(TOGGLES), iter(range(4))
    found, buttons = [], iter(range(4))
    for name, low, high in zip(action.names, action.low, action.high, strict=True):
        if any(word in name for word in GRIPS):
            key = next(toggles, "")
            found.append(Control(name, "", key, True, low, high, next(buttons, -1)))
        else:
            less, more = next(pairs, ("", ""))
            found.append(Control(name, less, more, False, low, high, next(axes, -1)))
    return found


def resting(controls: list[Control]) -> NDArray[np.float32]:
    """The action of nobody touching anything: no motion, grippers open."""
    return np.array(
        [c.high if c.toggle else min(max(0.0, c.low), c.high) for c in controls], np.float32
    )
