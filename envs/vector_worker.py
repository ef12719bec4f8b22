"""A process that holds a chunk of envs; started by `worldsim.envs.vector`.

It is an interpreter of its own, not a fork: a fork would inherit the parent's OpenGL context and
torch threads, and multiprocessing's spawn would run the parent's main module again. Messages go
over an inherited socket, images through shared memory. It ends when the parent does, since the
socket then closes.
"""

import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

from gymnasium.vector import AutoresetMode

from worldsim.envs import make
from worldsim.envs.registration import adopt
from worldsim.envs.vector_chunk import EnvChunk, EnvFailure, Row
from worldsim.envs.vector_memory import SharedObservations
from worldsim.errors import UsageError, WorldsimError

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


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
