"""Worker processes that take jobs one by one. A dead worker is an error, never a hang."""

import multiprocessing
import os
import signal
import warnings
from collections.abc import Callable, Iterator, Sequence
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any, Generic, TypeVar

from worldsim.errors import UsageError, WorldsimError, in_one_line
from worldsim.hardware import keep_freed_memory

Setup = TypeVar("Setup")
Job = TypeVar("Job")
Result = TypeVar("Result")


class WorkerPool(Generic[Setup, Job, Result]):
    """Processes that each build a runner once and then run jobs with it, one thread each.

    Use as a context manager: leaving it ends the workers, whatever they do. Should this process
    be killed, a worker ends with its current job.

    Args:
        make_runner: module-level function from the setup to the function that runs a job.
        setup: picklable.
        workers: how many processes.
    """

    def __init__(
        self,
        make_runner: Callable[[Setup], Callable[[Job], Result]],
        setup: Setup,
        workers: int,
    ) -> None:
        # Fork would copy threads of torch and GL contexts in an unknown state.
        context = multiprocessing.get_context("spawn")
        self._workers: dict[Connection, BaseProcess] = {}
        for _ in range(workers):
            ours, theirs = context.Pipe()
            process = context.Process(target=_serve, args=(theirs, make_runner, setup), daemon=True)
            process.start()
            theirs.close()
            self._workers[ours] = process

    def __enter__(self) -> "WorkerPool[Setup, Job, Result]":
        return self

    def __exit__(self, *_: object) -> None:
        for connection, process in self._workers.items():
            process.terminate()
            process.join()
            connection.close()
        self._workers = {}

    def run(self, jobs: Sequence[Job]) -> Iterator[Result]:
        """Results in the order in which the jobs end.

        Raises:
            WorldsimError: a job failed (with its message), or a worker died.
        """
        waiting = list(jobs)
        busy: set[Connection] = set()
        for connection in self._workers:
            if waiting:
                connection.send(waiting.pop(0))
                busy.add(connection)
        while busy:
            ready = set(wait(list(busy)))
            for connection in [c for c in busy if c in ready]:
                result = self._receive(connection)
                busy.remove(connection)
                if waiting:
                    connection.send(waiting.pop(0))
                    busy.add(connection)
                yield result

    def _receive(self, connection: Connection) -> Result:
        try:
            failure, result = connection.recv()
        except EOFError as error:
            process = self._workers[connection]
            process.join()
            raise WorldsimError(
                f"a worker process died (exit code {process.exitcode}); is memory short? "
                "Try fewer workers"
            ) from error
        if failure is not None:
            usage, text = failure
            raise (UsageError if usage else WorldsimError)(text)
        answer: Result = result
        return answer


def _serve(
    connection: Connection, make_runner: Callable[[Any], Callable[[Any], Any]], setup: Any
) -> None:
    """Body of a worker."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent decides when to stop
    warnings.showwarning = in_one_line(warnings.showwarning)
    keep_freed_memory()
    os.environ["OMP_NUM_THREADS"] = "1"
    import torch

    torch.set_num_threads(1)
    runner: Callable[[Any], Any] | None = None
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        answer: tuple[tuple[bool, str] | None, Any]
        try:
            runner = runner or make_runner(setup)
            answer = (None, runner(job))
        except WorldsimError as error:
            answer = ((isinstance(error, UsageError), str(error)), None)
        except Exception as error:  # anything else still belongs to a job that has a name
            answer = ((False, f"{job}: {type(error).__name__}: {error}"), None)
        try:
            connection.send(answer)
        except BrokenPipeError:
            return
