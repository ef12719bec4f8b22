"""The parent's end of a worker process of the vector env."""

import os
import socket
import subprocess
import sys
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from worldsim.errors import WorldsimError

_JOIN_SECONDS = 5.0


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
                [sys.executable, "-m", "worldsim.envs.vector_worker"]
                + [str(theirs.fileno()), str(memory)],
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
