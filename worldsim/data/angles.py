"""Angles in recorded vectors: which entries are some, and differences that know they wrap.

A roll that passes pi goes on at -pi. Taken as numbers, the step between is a whole turn.

Legend: N rows, D entries of a vector.
"""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

ROLL_PITCH_YAW = ("roll", "pitch", "yaw")
"""Euler angles about fixed x, y, z, as DROID and most robots report them."""

_WORDS = re.compile(
    r"(^|[^a-z])(d?roll|d?pitch|d?yaw|theta|heading|angle|euler|rpy|[rw][xyz])([^a-z]|$)"
)
_BY_AXIS = re.compile(r"(^|[^a-z])(rot|rotation|orientation|ori)[._ ]?([xyz0-2])$")

_TURN = 1.75 * np.pi
"""Least jump between two rows that is a wrap."""
_HALF = np.pi + 1e-2
"""Greatest angle, with room for rounding."""


def is_angle_name(name: str) -> bool:
    """Whether an entry is called as angles are that may wrap."""
    low = name.lower()
    return bool(_WORDS.search(low) or _BY_AXIS.search(low))


def wraps(values: NDArray[Any]) -> NDArray[np.bool_]:
    """`[D]` whether entries `[N, D]` of one episode jump by about a turn, within half turns.

    Both sides of such a jump lie near half a turn, where angles wrap.
    """
    if len(values) < 2:
        return np.zeros(values.shape[1], bool)
    jumps = (np.abs(np.diff(values, axis=0)) > _TURN).any(axis=0)
    bounded: NDArray[np.bool_] = (np.abs(values) <= _HALF).all(axis=0)
    return jumps & bounded


def angle_entries(names: Sequence[str], episodes: Sequence[NDArray[Any]]) -> NDArray[np.bool_]:
    """`[D]` which entries are angles that wrap: called so and within half turns, or seen to wrap.

    Args:
        names: of the entries.
        episodes: `[N, D]` of each.
    """
    called = np.array([is_angle_name(name) for name in names], bool)
    seen, bounded = np.zeros(len(names), bool), np.ones(len(names), bool)
    for values in episodes:
        seen |= wraps(values)
        if values.size:
            bounded &= (np.abs(values) <= _HALF).all(axis=0)
    return (called & bounded) | (seen & bounded)


def wrapped(difference: NDArray[Any], angle: NDArray[np.bool_] | bool = True) -> NDArray[Any]:
    """`[..., D]` differences, those of angles `[D]` brought into [-pi, pi)."""
    turned = (difference + np.pi) % (2 * np.pi) - np.pi
    return np.where(angle, turned, difference)


def unwrapped(values: NDArray[Any], angle: NDArray[np.bool_]) -> NDArray[Any]:
    """`[N, D]` of one episode with angles `[D]` that go on past half a turn; others as they are."""
    if not np.any(angle):
        return values
    steps = wrapped(np.diff(values, axis=0), angle)
    return np.concatenate([values[:1], values[:1] + np.cumsum(steps, axis=0)])
