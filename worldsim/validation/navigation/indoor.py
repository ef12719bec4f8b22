"""Courses of the episodes of IndoorNav, by their exact shortest paths.

Frame: that of each episode's start, as odometry has it.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.envs.indoor.episode import floor_place, paths_to
from worldsim.envs.indoor.journey import Journey
from worldsim.envs.indoor.shortest_path import ShortestPaths
from worldsim.validation.navigation.course import Course

Float = NDArray[np.float64]
_SAME = 1e-6


@dataclass(eq=False)
class JourneyDistances:
    """Metres of the shortest path to the things of an episode; see `Geodesic`.

    A point off the floor is taken to the free place nearest to it; the middle of a thing of the
    episode to the place of touching it from which the asked goal is nearest. Every metric asks for
    the same points, so what was found is kept.

    Args:
        journey: the episode.
    """

    journey: Journey
    _paths: dict[int, ShortestPaths] = field(default_factory=dict)
    _known: dict[tuple[int, bytes], float] = field(default_factory=dict)

    def goal(self, index: int) -> Float:
        """Where a thing stands, `[3]` on the floor of the start's frame."""
        return self._near(np.array([*self.journey.scene.things[index].middle[:2], 0.0]))

    def path(self) -> Float:
        """Corners `[n, 3]` of the shortest way through all goals."""
        place, parts = self.journey.start.place, []
        for index in self.journey.goals:
            way = self._to(index).path(place)
            parts.append(way)
            place = way[-1]
        flat = np.concatenate(parts)
        return np.stack([self._near(np.array([*point, 0.0])) for point in flat])

    def __call__(self, points: Float, goal: Float) -> Float:
        """Metres `[N]` from points `[N, 3]` to the thing that stands at `goal` `[3]`."""
        things = list(dict.fromkeys(self.journey.goals))
        apart = [float(np.linalg.norm(self.goal(index) - goal)) for index in things]
        asked = things[int(np.argmin(apart))]
        return np.array([self._distance(np.asarray(point), asked, things) for point in points])

    def _distance(self, point: Float, asked: int, things: Sequence[int]) -> float:
        key = asked, point.tobytes()
        if key not in self._known:
            self._known[key] = self._from(point, self._to(asked), things)
        return self._known[key]

    def _from(self, point: Float, paths: ShortestPaths, things: Sequence[int]) -> float:
        for index in things:
            if np.linalg.norm(point - self.goal(index)) < _SAME:
                return min(paths.distance(place) for place in self._to(index).goals)
        place = (np.linalg.inv(self.journey.to_start) @ np.array([*point, 1.0]))[:2]
        return paths.distance(floor_place(self.journey.scene, self.journey.body.radius, place))

    def _to(self, index: int) -> ShortestPaths:
        if index not in self._paths:
            body = self.journey.body
            self._paths[index] = paths_to(self.journey.scene, body.radius, index)
        return self._paths[index]

    def _near(self, point: Float) -> Float:
        return np.asarray((self.journey.to_start @ np.array([*point, 1.0]))[:3])


def course_of(journey: Journey) -> Course:
    """The course of an episode: goals, success distance, shortest paths, and the way to follow."""
    distances = JourneyDistances(journey)
    return Course(
        goals=tuple(distances.goal(index)[None] for index in journey.goals),
        radius=journey.rules.distance,
        geodesic=distances,
        reference_path=distances.path(),
        name=f"the episode in scene {journey.scene.number}",
    )


def journeys_of(
    env_id: str, env_kwargs: Mapping[str, Any], seeds: Mapping[int, int]
) -> dict[int, Journey]:
    """Episodes by number of start; empty where an env plans none.

    Args:
        env_id: of a simulator env.
        env_kwargs: for its constructor.
        seeds: of each start's `reset`.
    """
    from worldsim.envs import make

    env: Any = make(env_id, **env_kwargs)
    planned = getattr(env.unwrapped, "planned", None)
    found = {} if planned is None else {start: planned(seed) for start, seed in seeds.items()}
    env.close()
    return found
