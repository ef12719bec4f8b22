"""Where to go next on a shortest path, for a body that turns and steps by fixed amounts."""

import numpy as np

from worldsim.envs.indoor.agent import Array, Body
from worldsim.envs.indoor.shortest_path import ShortestPaths

_TURN_COST = 0.05
"""Metres that a turn is worth when headings are compared."""
_NOWHERE = 0.3
"""Share of a step that is none."""
_THERE = 0.1
"""Metres within which the goal is headed for as it is."""


def waypoint(
    paths: ShortestPaths, body: Body, place: Array, yaw: float, way: tuple[float, Array]
) -> Array:
    """The place `[2]` to head for: the next corner of the path, or around what blocks a step.

    A discrete agent cannot head for a corner exactly, and its step may end in the wall. Where it
    would, every heading is tried, as habitat-sim's GreedyGeodesicFollower does.

    Args:
        paths: to the goal.
        body: of the agent.
        place: `[2]` where it stands.
        yaw: its heading.
        way: what `paths.next(place)` says.
    """
    away, corner = way
    if away <= _THERE or not np.isfinite(away):
        return corner
    off = corner - place
    bearing = float(np.arctan2(off[1], off[0]))
    if body.actions == "discrete":
        ahead = float(np.angle(np.exp(1j * (bearing - yaw))))
        bearing = yaw + body.turn * round(ahead / body.turn)
    if _cost(paths, body, place, bearing) < away - 0.5 * min(body.forward, away):
        return corner
    most = round(np.pi / body.turn)
    turns = sorted(range(-most, most + 1), key=abs)
    costs = [
        _cost(paths, body, place, yaw + count * body.turn) + _TURN_COST * abs(count)
        for count in turns
    ]
    best = yaw + turns[int(np.argmin(costs))] * body.turn
    return place + body.forward * np.array([np.cos(best), np.sin(best)])


def _cost(paths: ShortestPaths, body: Body, place: Array, heading: float) -> float:
    """Metres of shortest path that are left after a step with a heading, and what it risks.

    A step that leads nowhere costs all. Without sliding so does, in part, one that is cut short:
    whoever touches a wall cannot go along it.
    """
    step = body.forward * np.array([np.cos(heading), np.sin(heading)])
    moved = paths.space.move(place, step, body.sliding)
    if np.hypot(*(moved.place - place)) < _NOWHERE * body.forward:
        return float("inf")
    risk = 0.0 if body.sliding or not moved.collided else body.forward
    return paths.distance(moved.place) + risk
