"""Films and states that never change although actions ask for motion.

A simulator that is filmed through an old handle gives such data, and so does a camera that hangs;
nothing else is wrong with them. Episodes in which nothing was asked for are left alone.

Legend: N rows, A action, D numbers of a vector, H, W pixels.
"""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from worldsim.data.cache import is_black
from worldsim.spec import ActionSpec

LEAST_ROWS = 5
"""Rows with an action that asks for motion, from which on something must change."""

_ASKED = 0.02
"""Share of an action's range that is more than a robot at rest is sent."""
_SQUARE = 8
"""Pixels of the side of the squares whose means are compared: a codec's noise averages out."""
_GREY = 4.0
"""Grey levels by which such a mean wavers in a film of nothing."""
_NUMBER = 1e-6


def asks_to_move(action: NDArray[np.float32], spec: ActionSpec) -> bool:
    """Whether enough of an episode's actions ask a robot to move.

    Targets ask where they change; displacements, speeds and torques where they are not zero.

    Args:
        action: `[N, A]`, without the last row's, which nobody took.
        spec: says which of both actions are.
    """
    if not len(action):
        return False
    low, high = np.asarray(spec.low), np.asarray(spec.high)
    idle = action[0] if spec.mode in ("absolute", "unknown") else np.zeros_like(action[0])
    asked = np.abs(action - idle) > _ASKED * np.maximum(high - low, 1e-9)
    return int(asked.any(axis=1).sum()) >= LEAST_ROWS


def is_still(rows: NDArray[np.float32]) -> bool:
    """Whether rows `[N, D]` hold the same numbers throughout; no numbers tell nothing."""
    if not rows.size:
        return False
    return bool((np.abs(rows - rows[0]) <= _NUMBER * np.maximum(1.0, np.abs(rows[0]))).all())


def is_still_film(frames: Iterable[NDArray[np.uint8]]) -> bool:
    """Whether frames `[H, W, 3]` show one picture throughout.

    All frames are taken, so that those that do not decode are found. Black ones stand for a camera
    that an episode does not have, and are no film.
    """
    first: NDArray[np.float32] | None = None
    still, black = True, True
    for frame in frames:
        if not still:
            continue
        means = _means(frame)
        first = means if first is None else first
        black = black and bool(is_black(frame))
        still = bool((np.abs(means - first) <= _GREY).all())
    return first is not None and still and not black


def _means(frame: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Means over squares of pixels."""
    import cv2

    height, width = (max(side // _SQUARE, 1) for side in frame.shape[:2])
    means = cv2.resize(frame.astype(np.float32), (width, height), interpolation=cv2.INTER_AREA)
    return np.asarray(means, np.float32)
