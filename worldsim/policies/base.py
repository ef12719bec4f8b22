"""The policy protocol: one object, unchanged, runs in the simulator and in imagination.

Beside it stand what policies are made with: random streams, one an environment, and the check
that a policy made for one world can act in another.
"""

from collections.abc import Sequence
from typing import Generic, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from worldsim.conventions import Observation
from worldsim.errors import SpecMismatchError, UsageError
from worldsim.registry import Registry
from worldsim.spec import ActionSpec, WorldSpec

FloatArray = NDArray[np.float32]

# Keeps a policy's draws apart from those of an environment that was seeded with the same number.
_POLICY_STREAM = 0x706F6C69


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


def require_same_interface(policy: WorldSpec, env: WorldSpec, what: str) -> None:
    """Compare what a policy reads and writes; the privileged state is none of its business.

    The environment may have more cameras than the policy looks at.

    Args:
        policy: the world the policy was made for.
        env: the world it is to act in.
        what: the policy, for the message ("checkpoint runs/a").

    Raises:
        SpecMismatchError: names every difference, with both values.
    """
    differences = [
        f"{field}: made for {getattr(policy, field)}, given {getattr(env, field)}"
        for field in ("fps", "action", "agent_pos")
        if not policy.agrees(env, field)
    ]
    lacking = [c for c in policy.cameras if not any(map(c.fits, env.cameras))]
    if lacking:
        differences.append(f"cameras: looks at {lacking}, given {list(env.cameras)}")
    if differences:
        raise SpecMismatchError(
            f"{what} does not fit this environment; "
            + "; ".join(differences)
            + ". Use a policy made with the environment's own spec."
        )


def require_action_kind(policy: object, action: ActionSpec, what: str) -> None:
    """Refuse a policy that does not speak the environment's kind of action.

    Args:
        policy: a policy or its class. It says in `action_kinds` which kinds it speaks; without
            that, it speaks "box" alone.
        action: what the environment takes.
        what: the policy, for the message.

    Raises:
        SpecMismatchError: it speaks other kinds.
    """
    kinds: tuple[str, ...] = getattr(policy, "action_kinds", ("box",))
    if action.kind not in kinds:
        raise SpecMismatchError(
            f"{what} speaks {' and '.join(kinds)} actions, the environment takes {action.kind} "
            f"ones ({', '.join(action.names)}); use a policy whose `action_kinds` has "
            f"{action.kind!r}"
        )


T = TypeVar("T")


class EnvMemory(dict[int, T]):
    """What a policy keeps of each env, by env id.

    Raises:
        UsageError: of an env that was never reset, when it is looked up.
    """

    def __missing__(self, env_id: int) -> T:
        raise UsageError(f"act was asked for env {env_id} before reset; reset it first")

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop what is kept of `env_ids`."""
        for env_id in env_ids:
            self.pop(env_id, None)


class EnvStreams(EnvMemory[np.random.Generator]):
    """Generators; env i's draws depend on (seed, i) only."""

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Restart the streams of `env_ids`."""
        for env_id in map(int, env_ids):
            key = (_POLICY_STREAM, env_id)
            self[env_id] = np.random.default_rng(np.random.SeedSequence(int(seed), spawn_key=key))


class EpisodePolicy(Generic[T]):
    """What policies share that keep a random stream and notes of each episode."""

    def __init__(self) -> None:
        self._streams = EnvStreams()
        self._notes: EnvMemory[T] = EnvMemory()

    def _begin(self) -> T:
        """Notes of an episode that begins."""
        raise NotImplementedError

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """See `Policy.reset`."""
        self._streams.reset(env_ids, seed)
        self._notes.update((int(i), self._begin()) for i in env_ids)

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop streams and notes of `env_ids`."""
        self._streams.forget(env_ids)
        self._notes.forget(env_ids)
