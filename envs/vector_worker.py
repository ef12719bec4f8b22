"""A process of the vector env: a chunk of envs stepped one after the other, and who answers for it.

It is an interpreter of its own, not a fork: a fork would inherit the parent's OpenGL context and
torch threads, and multiprocessing's spawn would run the parent's main module again. Messages go
over an inherited socket, images through shared memory. It ends when the parent does, since the
socket then closes.
"""

import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from typing import Any

import gymnasium
from gymnasium.vector import AutoresetMode

from worldsim.envs import make
from worldsim.envs.registration import adopt
from worldsim.envs.vector_link import SharedObservations
from worldsim.errors import UsageError, WorldsimError

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


DESCRIBED = ("spec_world", "max_episode_steps", "metadata")
"""Attributes of the first env that the vector env shows as its own, where they exist."""


def describe(env: Any) -> dict[str, Any]:
    """Spaces and facts of an env, for the process that has none of its own."""
    return {
        "observation_space": env.observation_space,
        "action_space": env.action_space,
        "attributes": {
            name: getattr(env.unwrapped, name) for name in DESCRIBED if hasattr(env.unwrapped, name)
        },
    }


def explain(error: EnvFailure, first: int, env_id: str) -> WorldsimError:
    """One clear message for a failure of an env in the chunk that begins at env `first`."""
    cause = error.__cause__
    kind = UsageError if isinstance(cause, UsageError) else WorldsimError
    name = "" if isinstance(cause, WorldsimError) else f"{type(cause).__name__}: "
    return kind(f"env {first + error.index} ({env_id}): {name}{cause}")


class Worker:
    """Answers one message at a time over a connection."""

    def __init__(self, connection: Connection, descriptor: int, setup: dict[str, Any]) -> None:
        self._connection, self._descriptor = connection, descriptor
        self._first, self._env_id = setup["first"], setup["env_id"]
        self._chunk = EnvChunk(
            lambda: make(setup["env_id"], **setup["kwargs"]),
            setup["count"],
            AutoresetMode(setup["autoreset_mode"]),
        )
        self._memory: SharedObservations | None = None

    @property
    def description(self) -> dict[str, Any]:
        """Of the chunk's envs."""
        return describe(self._chunk.envs[0])

    def serve(self) -> None:
        """Answer until told to close."""
        while True:
            command, argument = self._connection.recv()
            if command == "close":
                self._chunk.close()
                return
            try:
                self._connection.send(("ok", self._answer(command, argument)))
            except EnvFailure as error:
                self._connection.send(("error", explain(error, self._first, self._env_id)))

    def _answer(self, command: str, argument: Any) -> Any:
        if command == "attach":
            space = self._chunk.envs[0].observation_space
            self._memory = SharedObservations(space, argument, self._descriptor)
            return None
        if command == "reset":
            return self._pack(self._chunk.reset(argument))
        if command == "step":
            return self._pack(self._chunk.step(argument))
        if command == "call":
            return self._chunk.call(*argument)
        assert command == "set_attr", command
        return self._chunk.set_attr(*argument)

    def _pack(self, rows: list[Row]) -> list[Row]:
        """Move arrays of the observations to shared memory."""
        assert self._memory is not None
        packed = []
        for index, row in enumerate(rows, self._first):
            rest = None
            if row.observation is not None:
                rest = self._memory.write(index, row.observation)
            packed.append(Row(rest, row.reward, row.terminated, row.truncated, row.info))
        return packed


def main(channel: int, memory: int) -> None:
    """Serve the parent at the other end of socket `channel`; images go to `memory`.

    Both are inherited file descriptors.
    """
    # Ctrl-C reaches the whole process group; the parent decides what happens.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    connection = Connection(channel)
    try:
        setup = connection.recv()
        sys.path.extend(path for path in setup["path"] if path not in sys.path)
        try:
            adopt(setup["registration"])
            worker = Worker(connection, memory, setup)
        except Exception as error:
            kind = UsageError if isinstance(error, UsageError) else WorldsimError
            name = "" if isinstance(error, WorldsimError) else f"{type(error).__name__}: "
            connection.send(("error", kind(f"{name}{error}")))
            return
        connection.send(("ok", worker.description))
        worker.serve()
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return
