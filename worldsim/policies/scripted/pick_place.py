"""Expert for TabletopPickPlace: over the cube, down, grip, up, across, down, let go, leave."""

import numpy as np
from numpy.typing import NDArray

from worldsim.policies.scripted.controllers import (
    CLOSED,
    CUBE,
    OPEN,
    Array,
    Controller,
    Goal,
    Hand,
    norm,
    quarter_turn,
    stack,
)

Flags = NDArray[np.bool_]

_PLATFORM = 0.03
_GRASP_DEPTH = 0.004
"""How far below the cube's centre the fingertips grip, metres."""
_LOWEST = 0.016
_ABOVE = 0.085
_TRAVEL = 0.105
_WIDEST_GRIP = 0.066
_NARROWEST_GRIP = 0.034
"""Fingers between these widths, in metres, have something between them, or soon will."""


def _plan(hand: Hand, state: Array) -> Goal:
    cube, target = state[:, 0:3], state[:, 5:7]
    yaw = quarter_turn(state[:, 3], state[:, 4])
    off = hand.position - cube
    aside, above = norm(off[:, :2]), np.abs(off[:, 2])
    around = (aside < 0.018) & (above < 0.018)
    held = (aside < 0.025) & (above < 0.030) & _gripping(hand)
    over = target - cube[:, :2]
    placed = (norm(over) < 0.025) & (cube[:, 2] > _PLATFORM + 0.016)
    placed &= cube[:, 2] < _PLATFORM + 0.034

    approach, grip = _approach(hand, cube, yaw, around)
    position = np.where(held[:, None], _carry(hand, cube, over), approach)
    leave = stack(hand.position[:, :2], _TRAVEL + 0.02)
    leave = np.where((around & (hand.width < 0.07))[:, None], hand.position, leave)
    position = np.where(placed[:, None], leave, position)
    grip = np.where(placed, OPEN, np.where(held, CLOSED, grip))
    yaw = np.where(held | placed, hand.yaw, yaw)
    return Goal(position, yaw, grip)


def _gripping(hand: Hand) -> Flags:
    return np.asarray((hand.width > _NARROWEST_GRIP) & (hand.width < _WIDEST_GRIP))


def _approach(hand: Hand, cube: Array, yaw: Array, around: Flags) -> tuple[Array, Array]:
    """Turn and centre above the cube, go straight down, close."""
    aside = norm(hand.position[:, :2] - cube[:, :2])
    turned = np.abs(hand.yaw - yaw) < 0.12
    opened = hand.width > _WIDEST_GRIP
    depth = np.maximum(cube[:, 2] - _GRASP_DEPTH, _LOWEST)
    go_down = (aside < 0.010) & turned & opened
    height = np.where(go_down, depth, np.maximum(cube[:, 2] + 0.06, _ABOVE))
    at_depth = around & (np.abs(hand.position[:, 2] - depth) < 0.010) & (aside < 0.012) & turned
    return stack(cube[:, :2], height), np.where(at_depth, CLOSED, OPEN)


def _carry(hand: Hand, cube: Array, over: Array) -> Array:
    """Lift clear of the platform, cross, lower until the cube stands."""
    half = np.clip(hand.width / 2, 0.020, 0.032)
    clear = cube[:, 2] - half > _PLATFORM + 0.012
    arrived = norm(over) < 0.010
    grip_height = hand.position[:, 2] - cube[:, 2]
    crossing = stack(hand.position[:, :2] + over, _TRAVEL)
    lifting = stack(hand.position[:, :2] + 0.3 * over, _TRAVEL)
    lowering = stack(hand.position[:, :2] + over, _PLATFORM + half + grip_height - 0.002)
    carried = np.where(clear[:, None], crossing, lifting)
    return np.where(arrived[:, None], lowering, carried)


PICK_PLACE = Controller((*CUBE, "platform_x", "platform_y"), _plan)
