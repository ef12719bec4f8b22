"""Expert for TabletopReach: straight to the marker."""

import numpy as np

from worldsim.policies.scripted.controllers import CLOSED, Array, Controller, Goal, Hand


def _plan(hand: Hand, state: Array) -> Goal:
    return Goal(state[:, 0:3], np.zeros(len(state)), np.full(len(state), CLOSED))


REACH = Controller(state=("goal_x", "goal_y", "goal_z"), plan=_plan)
