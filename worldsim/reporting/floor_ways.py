"""Ways of an agent in two worlds, drawn into the scene from above."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.indoor.floor_map import floor_map
from worldsim.envs.indoor.journey import Journey
from worldsim.reporting.film import COLOURS

WAYS = {"simulator": "truth", "imagination": "imagination"}
"""Worlds whose ways are drawn, and the names of their colours in films."""


def ways_from_above(journey: Journey, ways: Mapping[str, NDArray[np.float32]]) -> NDArray[np.uint8]:
    """The scene from above with a way for each world, uint8 `[H, W, 3]`.

    Args:
        journey: the episode, whose goals are marked.
        ways: {world: places `[n, 2]`} in the frame of the start, metres.
    """
    drawn, back = floor_map(journey.scene, goals=journey.goals), np.linalg.inv(journey.to_start)
    for world, way in ways.items():
        places = np.column_stack([way, np.zeros(len(way)), np.ones(len(way))])
        drawn = drawn.with_way((places @ back.T)[:, :2], COLOURS[WAYS[world]])
    return drawn.image


def growing_ways(journey: Journey, ways: Mapping[str, NDArray[np.float32]]) -> NDArray[np.uint8]:
    """The same for each step of the longest way, uint8 `[T, H, W, 3]`.

    Ways that are over stay as they were.

    Args:
        journey: the episode.
        ways: as `ways_from_above` takes them.
    """
    longest = max(len(way) for way in ways.values())
    grown = ({world: way[: t + 1] for world, way in ways.items()} for t in range(longest))
    return np.stack([ways_from_above(journey, each) for each in grown])
