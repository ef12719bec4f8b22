"""What counts as done: pure functions of proprioception and privileged state.

They take batches, so that a judge can apply them to estimated states as the simulator does to
true ones.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float = NDArray[np.float32]
Condition = Callable[[Float, Float], NDArray[np.bool_]]
Measure = Callable[[Float, Float], NDArray[np.float64]]


@dataclass(frozen=True)
class TaskScore:
    """Scores of `agent_pos [..., P]` and `state [..., S]`, each `[...]`.

    Attributes:
        success: where the goal condition holds.
        progress: partial score in [0, 1]; rises as the task advances.
        cost: remaining distance in decimetres, for the dense reward.
    """

    success: Condition
    progress: Measure
    cost: Measure


def closeness(distance: NDArray[np.floating], near: float, far: float) -> NDArray[np.float64]:
    """1 at `near` metres or less, 0 at `far` or more, linear between."""
    return np.clip((far - np.asarray(distance, np.float64)) / (far - near), 0.0, 1.0)


def distance(a: Float, b: Float) -> NDArray[np.float64]:
    """Euclidean distance over the last axis."""
    return np.asarray(np.linalg.norm(np.asarray(a, np.float64) - b, axis=-1))


def reach(agent_pos: Float, state: Float) -> NDArray[np.float64]:
    """Metres from the point between the fingertips to the task's thing, the state's first entry."""
    return distance(agent_pos[..., 0:3], state[..., 0:3])


def aside(state: Float) -> NDArray[np.float64]:
    """Metres in the plane from a cube, the state's first entry, to its goal, the one after it."""
    return distance(state[..., 0:2], state[..., 5:7])
