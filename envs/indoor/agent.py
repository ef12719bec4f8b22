"""The agent's body: its size and what its actions do."""

from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray

from worldsim.config.limits import between
from worldsim.data.navigation.sub_tasks import STILL
from worldsim.envs.indoor.furnish import WIDEST_AGENT
from worldsim.spec import ActionSpec, discrete_actions

Array = NDArray[np.float64]
Float = NDArray[np.float32]

Motion = Literal["discrete", "continuous"]
Distance = Annotated[float, between(0.01, 10)]
Radius = Annotated[float, between(0.05, WIDEST_AGENT)]
Tall = Annotated[float, between(0.2, 2.0)]
Turn = Annotated[float, between(1, 90)]
View = Annotated[float, between(0, 360)]
Fov = Annotated[float, between(20, 150)]

STOP, FORWARD, LEFT, RIGHT = range(4)
CHOICES = ("stop", "forward", "turn_left", "turn_right")


@dataclass(frozen=True)
class Body:
    """Attributes:
    actions: "discrete", or "continuous" (forward, turn).
    forward: metres of a whole step.
    turn: radians of a whole turn.
    sliding: whether it slides along what it bumps into.
    radius: metres.
    """

    actions: Motion
    forward: float
    turn: float
    sliding: bool
    radius: float

    def achieved(self, vector: Float, ahead: float) -> Float:
        """The action that was carried out, when the agent got `ahead` metres where it headed."""
        if self.actions == "discrete":
            return vector
        length = self.forward * chord(float(vector[1]) * self.turn / 2)
        return np.array([ahead / length, vector[1]], np.float32)

    def snapped(self, yaw: float, first: float) -> float:
        """A heading in (-pi, pi]; of discrete turns from `first` on free of rounding.

        So whoever turns all around faces exactly where it did.
        """
        if self.actions == "discrete":
            turns, full = round((yaw - first) / self.turn), 2 * np.pi / self.turn
            if abs(full - round(full)) < 1e-9:
                turns %= round(full)
            yaw = first + turns * self.turn
        return float(np.angle(np.exp(1j * yaw)))


def action_spec(body: Body) -> ActionSpec:
    """What an action is: one of `CHOICES`, or (forward, turn) in shares of a whole one."""
    if body.actions == "discrete":
        scale = (1.0, body.forward, body.turn, body.turn)
        return discrete_actions(CHOICES, scale, ("1", "m", "rad", "rad"))
    return ActionSpec(
        names=("forward", "turn"),
        low=(0.0, -1.0),
        high=(1.0, 1.0),
        units=("m", "rad"),
        scale=(body.forward, body.turn),
        mode="delta",
        frame="base",
    )


def motion_of(body: Body, vector: Float) -> tuple[float, float] | None:
    """Metres forward and radians to the left of an action's vector; None to stop.

    A continuous action stops where both its parts are almost nothing, as habitat-lab's
    VelocityAction does.
    """
    if body.actions == "discrete":
        choice = int(vector.argmax())
        turn = {LEFT: body.turn, RIGHT: -body.turn}.get(choice, 0.0)
        return None if choice == STOP else (body.forward if choice == FORWARD else 0.0, turn)
    ahead, aside = float(vector[0]), float(vector[1])
    if abs(ahead) < STILL and abs(aside) < STILL:
        return None
    return ahead * body.forward, aside * body.turn


def chord(half: float) -> float:
    """Length of a chord over that of its arc, which turns by twice `half` radians."""
    return float(np.sinc(half / np.pi))
