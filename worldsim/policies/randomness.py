"""Random streams of policies, one an environment, independent of the batch it runs in."""

from collections.abc import Sequence

import numpy as np

from worldsim.errors import UsageError

# Keeps a policy's draws apart from those of an environment that was seeded with the same number.
_POLICY_STREAM = 0x706F6C69


class EnvStreams:
    """Generators keyed by env; env i's draws depend on (seed, i) only."""

    def __init__(self) -> None:
        self._streams: dict[int, np.random.Generator] = {}

    def reset(self, env_ids: Sequence[int], seed: int) -> None:
        """Restart the streams of `env_ids`."""
        for env_id in env_ids:
            key = (_POLICY_STREAM, int(env_id))
            self._streams[int(env_id)] = np.random.default_rng(
                np.random.SeedSequence(int(seed), spawn_key=key)
            )

    def forget(self, env_ids: Sequence[int]) -> None:
        """Drop the streams of `env_ids`."""
        for env_id in env_ids:
            self._streams.pop(int(env_id), None)

    def of(self, env_id: int) -> np.random.Generator:
        """The stream of one env.

        Raises:
            UsageError: the env was never reset.
        """
        if int(env_id) not in self._streams:
            raise UsageError(f"act was asked for env {env_id} before reset; reset it first")
        return self._streams[int(env_id)]
