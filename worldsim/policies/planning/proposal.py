"""A policy's proposal of a whole plan, which warms a search up.

The policy is asked for what it would do now, and then, in imagination, for what it would do next:
propose, imagine, choose, as World-In-World (2510.18135) has it.

Legend: H steps, A action, K actions of a chunk.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from worldsim.conventions import Observation, split_views
from worldsim.errors import UsageError
from worldsim.policies.base import FloatArray, Policy
from worldsim.policies.planning.distributions import Plans
from worldsim.policies.pool import build_policy
from worldsim.sampling.stream import Stream
from worldsim.spec import WorldSpec


class Proposal:
    """Plans of a policy.

    What it would do in imagination is asked of a twin, so that what the policy keeps of the real
    episode stays as it is; the twin's own notes begin with each plan.

    Args:
        spec: world it acts in.
        name: of the planner, for messages.
        entry: the policy, as a pool has it: `kind` and options.

    Raises:
        UsageError: there is no such policy, or its options do not fit.
    """

    def __init__(self, spec: WorldSpec, name: str, entry: Mapping[str, Any]) -> None:
        options = {str(key): value for key, value in entry.items() if key != "kind"}
        if not isinstance(entry.get("kind"), str):
            raise UsageError(f"policy {name!r}: proposal needs a `kind`, got {dict(entry)}")
        made = [build_policy(spec, f"{name}.proposal", entry["kind"], **options) for _ in range(2)]
        self._policy, self._twin = made
        self._seed = 0

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Begin episodes."""
        self._seed = seed
        self._policy.reset(env_ids, seed)

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop what is kept of `env_ids`."""
        for policy in (self._policy, self._twin):
            if hasattr(policy, "forget"):
                policy.forget(env_ids)

    def plan(self, observation: Observation, env_id: int, stream: Stream, horizon: int) -> Plans:
        """What the policy would do, `[H, A]`, normalised and within the limits.

        Args:
            observation: of one row, real.
            env_id: its episode.
            stream: stands at this observation, and stays there.
            horizon: H.
        """
        parts = [_chunk(self._policy, observation, env_id)]
        if len(parts[0]) < horizon:
            self._twin.reset([env_id], self._seed)
            branch = stream.fork()
            while sum(map(len, parts)) < horizon:
                shown = _imagined(branch, parts[-1], observation)
                parts.append(_chunk(self._twin, shown, env_id))
        plan: Plans = stream.spec.action.clip(np.concatenate(parts)[:horizon])
        return plan.astype(np.float32)


def _chunk(policy: Policy, observation: Observation, env_id: int) -> FloatArray:
    """What is acted on of a chunk, `[K, A]`."""
    return np.asarray(policy.act(observation, [env_id]), np.float32)[0, : policy.n_action_steps]


def _imagined(branch: Stream, actions: FloatArray, observation: Observation) -> Observation:
    """The observation that actions `[K, A]` lead to; the stream goes there."""
    branch.push(actions[None])
    last = branch.drain()[-1]
    agent_pos = last.agent_pos[:, -1].cpu().numpy()
    pixels = split_views(branch.pixels(), branch.spec.camera_names)
    return {**observation, "pixels": pixels, "agent_pos": agent_pos}
