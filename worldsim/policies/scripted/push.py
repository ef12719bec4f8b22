"""Expert for TabletopPush: go behind the cube, lower, push it toward the disc."""

import numpy as np

from worldsim.policies.scripted.controllers import (
    CLOSED,
    CUBE,
    Array,
    Controller,
    Goal,
    Hand,
    norm,
    stack,
)

_LOW, _HIGH = 0.016, 0.085
_FINGER = 0.010
_ASIDE = 0.020
"""Distance from the pushing line, in metres, at which the push is given up and begun again."""
_LEAD = 0.028


def _plan(hand: Hand, state: Array) -> Goal:
    cube, half, disc = state[:, 0:2], state[:, 2], state[:, 5:7]
    gap = disc - cube
    along = gap / np.maximum(norm(gap), 1e-6)[:, None]
    across = np.stack([-along[:, 1], along[:, 0]], axis=1)
    offset = hand.position[:, :2] - cube
    ahead = (offset * along).sum(axis=1)
    aside = (offset * across).sum(axis=1)
    height = hand.position[:, 2]

    reach = 1.25 * half + _FINGER
    start = cube - along * (reach + 0.018)[:, None]
    behind = (ahead < -(half + 0.2 * _FINGER)) & (np.abs(aside) < _ASIDE)
    low = height < _LOW + 0.02
    over_start = norm(hand.position[:, :2] - start) < 0.012
    clear = norm(offset) > 1.42 * half + 0.014

    # Push: keep to the line through the cube's centre; correct sideways before going on.
    correction = -1.2 * aside[:, None] * across
    lead = np.minimum(_LEAD, norm(gap) + 0.004)[:, None]
    push = stack(hand.position[:, :2] + along * lead + correction, _LOW)
    descend = stack(start, _LOW)
    rise = stack(hand.position[:, :2], _HIGH + 0.01)
    travel = stack(start, _HIGH)

    near_line = (ahead < -half) & (np.abs(aside) < 0.012) & (ahead > -0.12)
    position = np.where((over_start | near_line)[:, None], descend, travel)
    position = np.where((low & behind)[:, None], push, position)
    stuck_low = ~(low & behind) & ~over_start & ~near_line & (height < _HIGH - 0.015) & ~clear
    position = np.where(stuck_low[:, None], rise, position)
    return Goal(position, np.zeros(len(cube)), np.full(len(cube), CLOSED))


PUSH = Controller((*CUBE, "goal_x", "goal_y"), _plan)
