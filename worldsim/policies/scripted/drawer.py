"""Expert for TabletopDrawer: reach down behind the handle's bar and pull."""

import numpy as np

from worldsim.policies.scripted.controllers import (
    CLOSED,
    Array,
    Controller,
    Goal,
    Hand,
    norm,
    stack,
)

_BEHIND = 0.020
"""From the bar's middle to where the fingers go down, metres."""
_TRAVEL = 0.125
_PULL = 0.03


def _plan(hand: Hand, state: Array) -> Goal:
    handle, direction = state[:, 0:3], state[:, 3:5]
    direction = direction / np.maximum(norm(direction), 1e-6)[:, None]
    across = np.stack([-direction[:, 1], direction[:, 0]], axis=1)
    offset = hand.position - handle
    along = (offset[:, :2] * direction).sum(axis=1)
    aside = (offset[:, :2] * across).sum(axis=1)

    hook = handle[:, :2] - _BEHIND * direction
    depth = handle[:, 2] - 0.004
    inside = (np.abs(aside) < 0.022) & (along < 0.0) & (along > -0.034)
    hooked = inside & (offset[:, 2] < 0.004)
    over = norm(hand.position[:, :2] - hook) < 0.008
    low = offset[:, 2] < 0.055

    pull = stack(hand.position[:, :2] + _PULL * direction, depth)
    position = np.where((low & ~inside)[:, None], stack(hand.position[:, :2], _TRAVEL), 0.0)
    position = np.where((~low | inside)[:, None], stack(hook, _TRAVEL), position)
    position = np.where((over | (inside & low))[:, None], stack(hook, depth), position)
    position = np.where(hooked[:, None], pull, position)
    yaw = np.arctan2(direction[:, 1], direction[:, 0])
    return Goal(position, yaw, np.full(len(state), CLOSED))


DRAWER = Controller(
    state=("handle_x", "handle_y", "handle_z", "drawer_cos", "drawer_sin", "opening"),
    plan=_plan,
)
