"""The policy protocol: one object, unchanged, runs in the simulator and in imagination."""

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from worldsim.conventions import Observation
from worldsim.registry import Registry

FloatArray = NDArray[np.float32]


@runtime_checkable
class Policy(Protocol):
    """A batched controller that sees only what a robot would see.

    A policy that keeps something of each env may offer `forget(env_ids)`, which drops it for good;
    `PolicyServer` calls that when a client has gone.

    Attributes:
        name: how it appears in rankings.
        n_action_steps: K, how many actions of a chunk are executed before `act` is asked again.
    """

    name: str
    n_action_steps: int

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Start new episodes in `env_ids`, dropping whatever was remembered of them.

        Randomness of env i may depend on (`seed`, i) only, never on the batch it runs in, so
        that permuting or splitting a batch of environments permutes or splits the results
        (those of a network up to rounding: its kernels depend on the size of the batch).
        """
        ...

    def act(self, observation: Observation, env_ids: Sequence[int]) -> FloatArray:
        """Choose the next chunk for each env.

        Args:
            observation: batch of N rows (see `worldsim.conventions.Observation`).
            env_ids: the N envs the rows belong to; a subset of those reset, in any order.

        Returns:
            Actions `[N, K, A]`, normalised as the env's `ActionSpec` says.
        """
        ...


POLICIES: Registry[type[Policy]] = Registry("policy")
