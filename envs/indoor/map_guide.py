"""What somebody who has the scene's map tells an expert, wherever its odometry puts it.

So an expert that plans on the map acts in imagination too, where there is no simulator. What is
told is privileged: no robot has it, and whoever uses it is named so.
"""

from collections.abc import Callable

import numpy as np

from worldsim.envs.indoor.agent import Float
from worldsim.envs.indoor.episode import draw_goals
from worldsim.envs.indoor.journey import PENDING, Journey
from worldsim.errors import UsageError

_OTHERS = 4


class MapGuide:
    """Keeps the episodes of some envs, and tells the state that the simulator would tell.

    Args:
        planned: from the seed of an episode to it, not begun.
    """

    def __init__(self, planned: Callable[[int], Journey]) -> None:
        self._planned = planned
        self._journeys: dict[int, Journey] = {}

    def begin(self, env_id: int, seed: int, errand: str = "asked") -> None:
        """Begin the episode of a seed in an env.

        Args:
            env_id: of the env.
            seed: of the episode.
            errand: which goals are told of, see `worldsim.policies.navigation.Errand`.
        """
        journey = self._planned(seed)
        journey.goals = _goals(journey, seed, errand)
        self._journeys[env_id] = journey

    def forget(self, env_id: int) -> None:
        """Drop the episode of an env."""
        self._journeys.pop(env_id, None)

    def state(self, env_id: int, agent_pos: Float, stops: int) -> Float:
        """The privileged state `[S]` of an agent.

        Args:
            env_id: of its env.
            agent_pos: `[4]` where odometry puts it, in the frame of the start.
            stops: how often it has stopped so far.

        Raises:
            UsageError: no episode was begun in that env.
        """
        if env_id not in self._journeys:
            raise UsageError(f"the map guide knows no episode of env {env_id}; begin one first")
        journey = self._journeys[env_id]
        x, y, cos, sin = map(float, agent_pos)
        turned = float(np.arctan2(sin, cos))
        journey.yaw = journey.body.snapped(journey.start.yaw + turned, journey.start.yaw)
        place = (np.linalg.inv(journey.to_start) @ (x, y, 0.0, 1.0))[:2]
        journey.stand(place)
        closed = min(stops, len(journey.goals))
        journey.outcomes = [0.0] * closed + [PENDING] * (len(journey.goals) - closed)
        told: Float = journey.report()["state"]
        return told


def _goals(journey: Journey, seed: int, errand: str) -> tuple[int, ...]:
    """Indices of the things that an errand leads to."""
    goals = journey.goals
    if errand == "reversed":
        return goals[::-1]
    if errand == "repeated":
        return goals[:1] * len(goals)
    if errand != "other":
        return goals
    rng, radius = np.random.default_rng([seed, _OTHERS]), journey.body.radius
    few = min(len(goals) * 3, len(journey.scene.things))
    drawn = [goal for goal in draw_goals(rng, journey.scene, radius, few) if goal not in goals]
    return tuple((drawn * len(goals))[: len(goals)]) or goals
