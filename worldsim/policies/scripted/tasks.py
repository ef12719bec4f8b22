"""Which controller belongs to which task; the names of its state tell."""

import numpy as np

from worldsim.errors import UsageError, unknown_name
from worldsim.policies.scripted.controllers import CLOSED, Array, Controller, Goal, Hand
from worldsim.policies.scripted.drawer import DRAWER
from worldsim.policies.scripted.pick_place import PICK_PLACE
from worldsim.policies.scripted.push import PUSH
from worldsim.spec import WorldSpec


def _plan_reach(hand: Hand, state: Array) -> Goal:
    """Straight to the marker, fingers closed."""
    return Goal(state[:, 0:3], np.zeros(len(state)), np.full(len(state), CLOSED))


CONTROLLERS: dict[str, Controller] = {
    "reach": Controller(("goal_x", "goal_y", "goal_z"), _plan_reach),
    "push": PUSH,
    "pick_place": PICK_PLACE,
    "drawer": DRAWER,
}


def controller_for(spec: WorldSpec, task: str = "") -> Controller:
    """The expert for a world.

    Args:
        spec: world it acts in.
        task: a name of `CONTROLLERS`; empty: the one that reads most of the world's state.

    Raises:
        UsageError: no such task, or none of the controllers reads this world's state.
    """
    if task and task not in CONTROLLERS:
        raise unknown_name("scripted task", task, CONTROLLERS)
    fitting = [
        controller
        for name, controller in CONTROLLERS.items()
        if set(controller.state) <= set(spec.state.names) and task in ("", name)
    ]
    if fitting:
        return max(fitting, key=lambda controller: len(controller.state))
    raise UsageError(
        f"no scripted controller{f' {task!r}' if task else ''} for a world with the state "
        f"{spec.state.names}; there are controllers for "
        + "; ".join(f"{name}: {controller.state}" for name, controller in CONTROLLERS.items())
    )
