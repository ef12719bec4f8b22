"""A policy that is told of the scene's map: the same in the simulator and in imagination.

Where an env has a `map_guide`, an expert that asks for it (`privileged`) is shown the state that
the simulator would tell of where odometry puts the agent. In imagination that is imagined odometry.
Reports name such policies.

Legend: N envs, K actions of a chunk, A action, S state.
"""

from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np

from worldsim.conventions import Observation
from worldsim.data.navigation.sub_tasks import stopping
from worldsim.envs.imagination.start import Start
from worldsim.errors import UsageError
from worldsim.policies.base import FloatArray, Policy
from worldsim.spec import ActionSpec


class Guide(Protocol):
    """Tells of the map; see `worldsim.envs.indoor.map_guide.MapGuide`."""

    def begin(self, env_id: int, seed: int, errand: str = "asked") -> None: ...

    def forget(self, env_id: int) -> None: ...

    def state(self, env_id: int, agent_pos: FloatArray, stops: int) -> FloatArray: ...


class GuidedPolicy:
    """A policy that finds the state of the scene's map in its observations.

    Args:
        policy: acts on `observation["state"]`.
        guide: tells it.
        starts: of the episodes, by env id.
        action: of the world; tells which actions close a sub-task.
    """

    privileged = True

    def __init__(
        self, policy: Policy, guide: Guide, starts: Sequence[Start], action: ActionSpec
    ) -> None:
        self.name, self.n_action_steps = policy.name, policy.n_action_steps
        self._policy, self._guide, self._starts, self._action = policy, guide, starts, action
        self._errand = str(getattr(policy, "errand", "asked"))
        self._stops: dict[int, int] = {}

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Begin episodes of the policy and of its guide.

        Raises:
            UsageError: a start has no seed, so that nobody knows its map.
        """
        self._policy.reset(env_ids, seed)
        for env_id in map(int, env_ids):
            start = self._starts[env_id]
            if start.seed is None or start.factors:
                raise UsageError(
                    f"policy {self.name!r} is told of the scene's map, which start {env_id} does "
                    "not name; take starts of a simulator by their seeds"
                )
            self._guide.begin(env_id, start.seed, self._errand)
            self._stops[env_id] = 0

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop what is kept of `env_ids`."""
        for env_id in map(int, env_ids):
            self._guide.forget(env_id)
            self._stops.pop(env_id, None)
        if hasattr(self._policy, "forget"):
            self._policy.forget(env_ids)

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """`[N, K, A]`, see `Policy.act`."""
        rows = zip(map(int, env_ids), observation["agent_pos"], strict=True)
        told = [self._guide.state(i, row, self._stops[i]) for i, row in rows]
        shown: Any = {**observation, "state": np.stack(told)}
        chunk = np.asarray(self._policy.act(shown, env_ids), np.float32)
        for step in range(min(self.n_action_steps, chunk.shape[1])):
            closed = stopping(self._action, chunk[:, step])
            for env_id, stops in zip(map(int, env_ids), closed, strict=True):
                self._stops[env_id] += int(stops)
        return chunk
