"""Asking a policy for actions without letting it break the run.

A policy may raise, return NaN or a wrong shape, at once or halfway. Only the episodes that
are concerned fail, with the reason; the others go on.

Legend: N rows, K actions of a chunk, A action.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.conventions import Observation
from worldsim.policies.base import Policy
from worldsim.spec import ActionSpec

Float = NDArray[np.float32]
GIVE_UP_AFTER = 3
"""When this many rows in turn fail alone, the rest is not tried: it may be a slow timeout."""


@dataclass(frozen=True, eq=False)
class Chunk:
    """Actions for N rows.

    Attributes:
        actions: `[N, K, A]`, finite and within the limits; zero in failed rows.
        errors: why a row failed, None where it did not.
    """

    actions: Float
    errors: list[str | None]


class GuardedPolicy:
    """A policy whose failures come back as text.

    Args:
        policy: the policy.
        spec: of its actions.
    """

    def __init__(self, policy: Policy, spec: ActionSpec) -> None:
        self.policy = policy
        self.spec = spec
        self.n_action_steps = max(1, int(policy.n_action_steps))

    def reset(self, env_ids: Sequence[int], seed: int) -> str | None:
        """Begin episodes; returns the error that concerns all of them, if any."""
        try:
            self.policy.reset(env_ids, seed)
        except Exception as error:  # whatever a policy raises is its own failure
            return describe(error)
        return None

    def act(self, observation: Observation, env_ids: Sequence[int]) -> Chunk:
        """Actions for all rows; if that raises, each row is asked alone to find the culprits."""
        try:
            answer = np.asarray(self.policy.act(observation, env_ids), np.float32)
        except Exception as error:
            if len(env_ids) == 1:
                return self._failed([describe(error)])
            return self._one_by_one(observation, env_ids)
        if complaint := self._shape_complaint(answer, len(env_ids)):
            return self._failed([complaint] * len(env_ids))
        chunk = answer[:, : self.n_action_steps]
        finite = np.asarray(np.isfinite(chunk).all(axis=(1, 2)))
        errors = [None if fine else "the policy returned NaN or infinity" for fine in finite]
        actions = np.where(finite[:, None, None], self.spec.clip(chunk), 0.0)
        return Chunk(actions.astype(np.float32), errors)

    def _shape_complaint(self, answer: Float, rows: int) -> str | None:
        expected = f"[{rows}, {self.n_action_steps} or more, {self.spec.dim}]"
        if answer.ndim != 3 or answer.shape[0] != rows or answer.shape[2] != self.spec.dim:
            return f"the policy returned actions of shape {answer.shape}, expected {expected}"
        if answer.shape[1] < self.n_action_steps:
            return f"the policy returned {answer.shape[1]} actions a chunk, expected {expected}"
        return None

    def _one_by_one(self, observation: Observation, env_ids: Sequence[int]) -> Chunk:
        parts: list[Chunk] = []
        for row, env_id in enumerate(env_ids):
            if len(parts) == GIVE_UP_AFTER and all(part.errors[0] for part in parts):
                rest = len(env_ids) - len(parts)
                parts.append(self._failed([parts[-1].errors[0]] * rest))
                break
            parts.append(self.act(select_rows(observation, [row]), [env_id]))
        errors = [error for part in parts for error in part.errors]
        return Chunk(np.concatenate([part.actions for part in parts]), errors)

    def _failed(self, errors: list[str | None]) -> Chunk:
        shape = (len(errors), self.n_action_steps, self.spec.dim)
        return Chunk(np.zeros(shape, np.float32), errors)


def select_rows(observation: Observation, rows: Sequence[int]) -> dict[str, Any]:
    """The given rows of a batched observation."""
    index = list(rows)
    lists = {key: observation[key] for key in ("task", "rig") if key in observation}
    return {
        "pixels": {name: frames[index] for name, frames in observation["pixels"].items()},
        "agent_pos": observation["agent_pos"][index],
        **{key: [values[row] for row in index] for key, values in lists.items()},
    }


def describe(error: Exception) -> str:
    """One line for reports: the kind of error and its message."""
    return f"{type(error).__name__}: {' '.join(str(error).split())}"[:300]
