"""What every scripted controller is built from.

Controllers are pure functions of what the robot measures and a privileged (or estimated) state,
batched over N envs. They hold no memory, so they recover from any disturbance.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError

Array = NDArray[np.float64]
Float = NDArray[np.float32]

CLOSED, OPEN = -1.0, 1.0
CUBE = ("object_x", "object_y", "object_z", "object_cos4", "object_sin4")
"""State entries of a cube: its place, cosine and sine of four times its yaw."""


@dataclass(frozen=True, eq=False)
class Hand:
    """The gripper as measured: position `[N, 3]` m, yaw `[N]` rad, width `[N]` m."""

    position: Array
    yaw: Array
    width: Array

    @staticmethod
    def from_agent_pos(agent_pos: Float) -> "Hand":
        """Read the tabletop's `agent_pos` `[N, 10]`."""
        values = np.asarray(agent_pos, np.float64)
        return Hand(values[:, :3], np.arctan2(values[:, 4], values[:, 3]), values[:, 9])


@dataclass(frozen=True, eq=False)
class Goal:
    """Where the hand should go next: position `[N, 3]` m, yaw `[N]` rad, grip `[N]` in [-1, 1]."""

    position: Array
    yaw: Array
    grip: Array


@dataclass(frozen=True)
class Controller:
    """A task's expert.

    Attributes:
        state: names of the state entries it reads, in the order of its state argument.
        plan: the next goal from hand and state `[N, S]`.
        step: metres and radians per unit of action.
    """

    state: tuple[str, ...]
    plan: Callable[[Hand, Array], Goal]
    step: tuple[float, float] = (0.03, 0.2)

    def act(self, agent_pos: Float, state: Float) -> Float:
        """Normalised actions `[N, 5]` from `agent_pos` `[N, 10]` and `state` `[N, S]`.

        Raises:
            UsageError: the state has another size than the task's.
        """
        values = np.asarray(state, np.float64)
        if values.ndim != 2 or values.shape[1] != len(self.state):
            raise UsageError(
                f"scripted controller got state of shape {values.shape}, expected "
                f"[N, {len(self.state)}]: {', '.join(self.state)}"
            )
        hand = Hand.from_agent_pos(agent_pos)
        goal = self.plan(hand, values)
        move = (goal.position - hand.position) / self.step[0]
        # Scaled as a whole, so that the hand goes straight even where the limits bind.
        move /= np.maximum(np.abs(move).max(axis=1, keepdims=True), 1.0)
        turn = np.clip((goal.yaw - hand.yaw) / self.step[1], -1.0, 1.0)
        return np.concatenate(
            [move, turn[:, None], goal.grip[:, None]], axis=1, dtype=np.float32, casting="same_kind"
        )


def stack(xy: Array, z: Array | float) -> Array:
    """Join plane positions `[N, 2]` and heights into `[N, 3]`."""
    heights = np.broadcast_to(np.asarray(z, np.float64), xy.shape[:1])
    return np.concatenate([xy, heights[:, None]], axis=1)


def norm(vector: Array) -> Array:
    """Length over the last axis."""
    return np.asarray(np.linalg.norm(vector, axis=-1))


def quarter_turn(cos4: Array, sin4: Array) -> Array:
    """Yaw `[N]` within an eighth of a turn either way, from its four-fold cosine and sine."""
    return np.asarray(np.arctan2(sin4, cos4) / 4.0)
