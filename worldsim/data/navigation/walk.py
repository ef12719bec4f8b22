"""A walked trajectory, as every navigation metric and file needs it.

Legend: T actions of a walk, N points. Frame: z up, metres, radians; heading 0 looks along +x.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from worldsim.errors import DataError

Float = NDArray[np.float64]
Bool = NDArray[np.bool_]

STOP, FORWARD, LEFT, RIGHT = "stop", "move_forward", "turn_left", "turn_right"
ACTIONS = (STOP, FORWARD, LEFT, RIGHT)
"""Discrete actions by index in habitat-lab, VLN-CE and our envs."""

LHVLN_ACTIONS = (STOP, LEFT, FORWARD, RIGHT)
"""The same by index of LH-VLN's labels (`utils/agent.py`)."""

FARTHEST = 1e7
"""Metres; a coordinate beyond is no indoor place, and its square may be infinite."""


@dataclass(frozen=True, eq=False)
class Walk:
    """Where an agent stood and what it did. Row t comes before action t, as everywhere here.

    Action `stop` closes the sub-task under way and the next becomes current (LH-VLN).

    Attributes:
        positions: `[T+1, 3]` of the agent's feet.
        headings: `[T+1]`.
        actions: T names; of `ACTIONS`, or others such as `look_up`. Only `stop` has a meaning
            in metrics, so continuous controls may all be called `move`.
        collided: `[T]`, whether an action ran into something; None where nobody tells it.
        seen: `[T+1]`, whether the current target is seen, by a simulator's or a judge's word;
            None where headings have to tell it.
        met: whether each stop met its sub-task, by a simulator's or a judge's word, one a stop
            that closed one; None where distances have to tell it.

    Raises:
        DataError: no position, lengths that do not fit, or numbers that are not finite.
    """

    positions: Float
    headings: Float
    actions: tuple[str, ...] = ()
    collided: Bool | None = None
    seen: Bool | None = None
    met: Bool | None = None

    def __post_init__(self) -> None:
        positions = finite_points(self.positions, "a walk")
        headings = finite_numbers(self.headings, "headings of a walk")
        count = len(positions)
        _fix(self, "positions", positions)
        _fix(self, "headings", headings)
        _fix(self, "actions", tuple(self.actions))
        _fit("headings", headings.shape, (count,), count)
        _fit("actions", (len(self.actions),), (count - 1,), count)
        for name, rows in (("collided", count - 1), ("seen", count)):
            given = getattr(self, name)
            if given is not None:
                flags = np.array(given, bool)
                _fit(name, flags.shape, (rows,), count)
                _fix(self, name, flags)
        if self.met is not None:
            said = np.array(self.met, bool)
            if said.ndim != 1 or len(said) > len(self.stops):
                raise DataError(
                    f"met of a walk has shape {list(said.shape)}, expected one flag for each of at "
                    f"most {len(self.stops)} stops"
                )
            _fix(self, "met", said)

    @property
    def steps(self) -> int:
        """T, stops counted."""
        return len(self.actions)

    @property
    def stops(self) -> list[int]:
        """Rows before each `stop`."""
        return [row for row, action in enumerate(self.actions) if action == STOP]

    @property
    def length(self) -> float:
        """Metres walked: straight lines between successive positions (habitat-lab `SPL`)."""
        return path_length(self.positions)


def path_length(points: Float) -> float:
    """Metres along straight lines between successive points `[N, 3]`."""
    return float(np.linalg.norm(np.diff(points, axis=0), axis=1).sum())


def finite_points(points: ArrayLike, what: str) -> Float:
    """Points as a float array `[N, 3]` of its own.

    Args:
        points: N at least 1.
        what: whose they are, for messages.

    Raises:
        DataError: none, another shape, NaN, infinite, or beyond `FARTHEST`.
    """
    found = as_numbers(points, f"positions of {what}")
    if found.size == 0:
        raise DataError(f"{what} has an empty path; expected at least the position of its start")
    if found.ndim != 2 or found.shape[1] != 3:
        raise DataError(f"positions of {what} have shape {found.shape}, expected [N, 3] in metres")
    bad = ~(np.abs(found) <= FARTHEST).all(axis=1)
    if bad.any():
        row = int(bad.argmax())
        raise DataError(
            f"position {row} of {what} is {found[row].tolist()}; expected finite metres. Leave "
            "out episodes whose simulator lost the agent"
        )
    return found


def finite_numbers(numbers: ArrayLike, what: str) -> Float:
    """Numbers as a float array of its own.

    Raises:
        DataError: one is NaN or infinite.
    """
    found = as_numbers(numbers, what)
    if not np.isfinite(found).all():
        raise DataError(f"{what} hold {found[~np.isfinite(found)][0]}; expected finite numbers")
    return found


def as_numbers(values: ArrayLike, what: str) -> Float:
    """A float array of its own; NaN and infinity pass.

    Raises:
        DataError: they are no array of numbers.
    """
    try:
        return np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise DataError(f"{what} are no array of numbers ({error})") from error


def _fix(owner: object, name: str, value: Any) -> None:
    """Set a field of a frozen dataclass; arrays are made unwritable."""
    if isinstance(value, np.ndarray):
        value.flags.writeable = False
    object.__setattr__(owner, name, value)


def _fit(name: str, given: tuple[int, ...], expected: Sequence[int], count: int) -> None:
    if given != tuple(expected):
        raise DataError(
            f"{name} of a walk have shape {list(given)}, expected {list(expected)} beside "
            f"{count} positions: an action leads from each position to the next"
        )
