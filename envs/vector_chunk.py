"""Several envs stepped one after the other, with gymnasium's autoreset rules.

A vector env is made of such chunks, one a process.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode

from worldsim.errors import UsageError

Reset = tuple[int | None, dict[str, Any]]
"""Seed and options for one env."""


@dataclass
class Row:
    """What one env last answered.

    Attributes:
        observation: of the env's observation space.
        reward: of the last step; 0 after a reset.
        terminated: as gymnasium defines it.
        truncated: as gymnasium defines it.
        info: of this answer; empty for an env that was not asked.
    """

    observation: Any = None
    reward: float = 0.0
    terminated: bool = False
    truncated: bool = False
    info: dict[str, Any] = field(default_factory=dict)

    @property
    def done(self) -> bool:
        """Whether the episode has ended."""
        return self.terminated or self.truncated


class EnvFailure(Exception):
    """An env of a chunk raised; says which one, the cause is chained.

    Args:
        index: the env's place in its chunk.
    """

    def __init__(self, index: int) -> None:
        super().__init__(index)
        self.index = index


class EnvChunk:
    """Envs made by `make_env`, in one process.

    Args:
        make_env: makes one env.
        count: how many.
        autoreset_mode: what happens to an env whose episode has ended. With DISABLED it stays
            frozen, repeating its last answer with reward 0, until it is reset.
    """

    def __init__(
        self,
        make_env: Callable[[], gymnasium.Env[Any, Any]],
        count: int,
        autoreset_mode: AutoresetMode,
    ) -> None:
        self.envs = [make_env() for _ in range(count)]
        self._mode = autoreset_mode
        self._rows = [Row() for _ in range(count)]

    def reset(self, requests: Sequence[Reset | None]) -> list[Row]:
        """Reset the envs that have a request; the others repeat their last observation."""
        for index, request in enumerate(requests):
            if request is None:
                self._rows[index].info = {}
                continue
            with _blame(index):
                self._rows[index] = self._reset_one(index, *request)
        return self._rows

    def step(self, actions: Sequence[Any]) -> list[Row]:
        """Step every env, or reset or freeze it, as the autoreset mode says."""
        for index, action in enumerate(actions):
            with _blame(index):
                self._rows[index] = self._step_one(index, action)
        return self._rows

    def call(self, name: str, arguments: Sequence[tuple[Any, ...]]) -> list[Any]:
        """Read attribute `name` of each env, or call it with that env's arguments."""
        results = []
        for index, (env, args) in enumerate(zip(self.envs, arguments, strict=True)):
            with _blame(index):
                if not hasattr(env.unwrapped, name):
                    raise UsageError(f"{type(env.unwrapped).__name__} has no attribute {name!r}")
                value = getattr(env.unwrapped, name)
                results.append(value(*args) if callable(value) else value)
        return results

    def set_attr(self, name: str, values: Sequence[Any]) -> None:
        """Set attribute `name` of each env."""
        for env, value in zip(self.envs, values, strict=True):
            setattr(env.unwrapped, name, value)

    def close(self) -> None:
        """Close the envs."""
        for env in self.envs:
            env.close()

    def _reset_one(self, index: int, seed: int | None, options: dict[str, Any]) -> Row:
        observation, info = self.envs[index].reset(seed=seed, options=options or None)
        return Row(observation, info=info)

    def _step_one(self, index: int, action: Any) -> Row:
        last = self._rows[index]
        if last.observation is None:
            raise UsageError("step was called before reset")
        if last.done and self._mode is AutoresetMode.NEXT_STEP:
            return self._reset_one(index, None, {})
        if last.done and self._mode is AutoresetMode.DISABLED:
            return Row(last.observation, 0.0, last.terminated, last.truncated, last.info)
        observation, reward, terminated, truncated, info = self.envs[index].step(action)
        row = Row(observation, float(reward), bool(terminated), bool(truncated), info)
        if row.done and self._mode is AutoresetMode.SAME_STEP:
            fresh = self._reset_one(index, None, {})
            row.observation, final = fresh.observation, {"final_obs": observation}
            row.info = {**fresh.info, **final, "final_info": info}
        return row


@contextmanager
def _blame(index: int) -> Iterator[None]:
    """Chain any exception to an `EnvFailure` of env `index`."""
    try:
        yield
    except Exception as error:
        raise EnvFailure(index) from error
