"""Ways of an agent in two worlds, drawn into the scene from above."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.indoor.floor_map import FloorMap, floor_map
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
    return _drawn(floor_map(journey.scene, goals=journey.goals), _on_map(journey, ways))


def growing_ways(journey: Journey, ways: Mapping[str, NDArray[np.float32]]) -> NDArray[np.uint8]:
    """The same for each step of the longest way, uint8 `[T, H, W, 3]`.

    Ways that are over stay as they were.

    Args:
        journey: the episode.
        ways: as `ways_from_above` takes them.
    """
    plain, placed = floor_map(journey.scene, goals=journey.goals), _on_map(journey, ways)
    longest = max(len(way) for way in placed.values())
    grown = ({world: way[: t + 1] for world, way in placed.items()} for t in range(longest))
    return np.stack([_drawn(plain, each) for each in grown])


def _on_map(
    journey: Journey, ways: Mapping[str, NDArray[np.float32]]
) -> dict[str, NDArray[np.float64]]:
    """Ways `[n, 2]` in the scene's frame."""
    back, found = np.linalg.inv(journey.to_start), {}
    for world, way in ways.items():
        places = np.column_stack([way, np.zeros(len(way)), np.ones(len(way))])
        found[world] = (places @ back.T)[:, :2]
    return found


def _drawn(plain: FloorMap, ways: Mapping[str, NDArray[np.float64]]) -> NDArray[np.uint8]:
    """The scene with ways on it."""
    for world, way in ways.items():
        plain = plain.with_way(way, COLOURS[WAYS[world]])
    return plain.image
