"""Between a vector env and its processes: a handle for each, and memory that all of them share."""

import mmap
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from gymnasium import spaces
from numpy.typing import NDArray

from worldsim.errors import WorldsimError

_JOIN_SECONDS = 5.0
_ALIGNMENT = 64
# Not `-m`, which would give the worker's classes another name than the parent knows.
_WORKER = "import sys; from worldsim.envs.vector_worker import main; main(*map(int, sys.argv[1:]))"


class WorkerHandle:
    """One worker process.

    Args:
        setup: what `worldsim.envs.vector_worker.Worker` is made from.
        memory: file descriptor of the memory that holds all envs' observations.
    """

    def __init__(self, setup: dict[str, Any], memory: int) -> None:
        self.first, self.last = setup["first"], setup["first"] + setup["count"]
        ours, theirs = socket.socketpair()
        with theirs:
            self._process = subprocess.Popen(
                [sys.executable, "-c", _WORKER, str(theirs.fileno()), str(memory)],
                pass_fds=(theirs.fileno(), memory),
                env={**os.environ, "OMP_NUM_THREADS": "1"},
            )
        self._connection = Connection(ours.detach())
        self.send_raw(setup)

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def send(self, command: str, argument: Any) -> None:
        """Ask for something; `receive` gets the answer."""
        self.send_raw((command, argument))

    def send_raw(self, message: Any) -> None:
        """Send any message; a dead worker is noticed by `receive`."""
        with suppress(BrokenPipeError, ConnectionResetError):
            self._connection.send(message)

    def receive(self) -> Any:
        """The answer, or a WorldsimError to raise."""
        try:
            return self._connection.recv()[1]
        except (EOFError, ConnectionResetError):
            code = self._process.wait(_JOIN_SECONDS)
            return WorldsimError(
                f"the process of envs {self.first} to {self.last - 1} ended with code {code}; "
                "its own output above may say why (a negative code is a signal, -9 often means "
                "out of memory)"
            )

    def close(self) -> None:
        """End the process; kill it if it does not answer in time."""
        self.send("close", None)
        self._connection.close()
        try:
            self._process.wait(_JOIN_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def memory_size(space: spaces.Space[Any], count: int) -> int:
    """Bytes needed for `count` observations of `space`."""
    return sum(_padded(box, count) for _, box in _boxes(space)) or _ALIGNMENT


def open_memory() -> int:
    """A file descriptor of anonymous memory, empty as yet; it vanishes with its last user."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("worldsim")
    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


class SharedObservations:
    """`[count, ...]` arrays of every Box in an observation space, over shared memory.

    Args:
        space: of one env; Boxes in nested Dicts are shared, other spaces are not.
        count: N, number of envs.
        descriptor: of memory from `open_memory`.
    """

    def __init__(self, space: spaces.Space[Any], count: int, descriptor: int) -> None:
        self._space = space
        self._memory = mmap.mmap(descriptor, memory_size(space, count))
        self._arrays: dict[tuple[str, ...], NDArray[Any]] = {}
        offset = 0
        for path, box in _boxes(space):
            self._arrays[path] = np.ndarray(
                (count, *box.shape), box.dtype, buffer=self._memory, offset=offset
            )
            offset += _padded(box, count)

    def write(self, index: int, observation: Any) -> Any:
        """Store env `index`'s arrays; returns what cannot be shared, with None for arrays."""
        return self._write(self._space, (), index, observation)

    def gather(self, rests: list[Any], copy: bool) -> Any:
        """The batched observation.

        Args:
            rests: what `write` returned for each env.
            copy: give arrays of the caller's own; else they change with the next step.
        """
        return self._gather(self._space, (), rests, copy)

    def _write(
        self, space: spaces.Space[Any], path: tuple[str, ...], index: int, value: Any
    ) -> Any:
        if isinstance(space, spaces.Dict):
            return {
                key: self._write(inner, (*path, key), index, value[key])
                for key, inner in space.spaces.items()
            }
        if isinstance(space, spaces.Box):
            self._arrays[path][index] = value
            return None
        return value

    def _gather(
        self, space: spaces.Space[Any], path: tuple[str, ...], rests: list[Any], copy: bool
    ) -> Any:
        if isinstance(space, spaces.Dict):
            return {
                key: self._gather(inner, (*path, key), [rest[key] for rest in rests], copy)
                for key, inner in space.spaces.items()
            }
        if isinstance(space, spaces.Box):
            array = self._arrays[path]
            return array.copy() if copy else array
        return tuple(rests)


def _boxes(
    space: spaces.Space[Any], path: tuple[str, ...] = ()
) -> Iterator[tuple[tuple[str, ...], spaces.Box]]:
    if isinstance(space, spaces.Dict):
        for key, inner in space.spaces.items():
            yield from _boxes(inner, (*path, key))
    elif isinstance(space, spaces.Box):
        yield path, space


def _padded(box: spaces.Box, count: int) -> int:
    size = count * int(np.prod(box.shape)) * np.dtype(box.dtype).itemsize
    return -(-size // _ALIGNMENT) * _ALIGNMENT
