"""Jobs done in processes of one thread each. A dead process is an error, never a hang."""

import multiprocessing
import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from worldsim.errors import UsageError, WorldsimError, in_one_line
from worldsim.hardware import begin_worker_process, keep_freed_memory

Setup = TypeVar("Setup")
Job = TypeVar("Job")
Result = TypeVar("Result")


def run_in_processes(
    make_runner: Callable[[Setup], Callable[[Job], Result]],
    setup: Setup,
    jobs: Sequence[Job],
    workers: int,
) -> Iterator[Result]:
    """Yield results in the order in which the jobs end.

    Each process builds a runner once and then runs jobs with it. Leaving the iterator ends the
    processes, whatever they do; so does the end of this process.

    Args:
        make_runner: module-level function from the setup to the function that runs a job.
        setup: picklable.
        jobs: picklable; taken in their order.
        workers: how many processes.

    Raises:
        UsageError: a job failed with one; has its message.
        WorldsimError: a job failed otherwise, or a process died.
    """
    others = set(multiprocessing.active_children())
    # Fork would copy threads of torch and GL contexts in an unknown state.
    context = multiprocessing.get_context("spawn")
    pool = ProcessPoolExecutor(workers, context, _begin, (make_runner, setup))
    try:
        futures = [pool.submit(_run, job) for job in jobs]
        # The pool wakes its watcher before it starts a process, so only the next thing that is
        # asked for makes it see the last one, whose death would go unnoticed.
        pool.submit(int)
        for future in as_completed(futures):
            yield future.result()
    except BrokenProcessPool as error:
        raise WorldsimError("a worker process died; is memory short? Try fewer workers") from error
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
        for process in set(multiprocessing.active_children()) - others:
            process.terminate()  # the pool alone would wait for the jobs to end
        pool.shutdown(wait=True)


_WORK: dict[str, Any] = {}
"""In a worker process: `make_runner`, `setup`, and from the first job on the `runner`."""


def _begin(make_runner: Callable[[Any], Callable[[Any], Any]], setup: Any) -> None:
    """Set up a worker process."""
    begin_worker_process()
    warnings.showwarning = in_one_line(warnings.showwarning)
    keep_freed_memory()
    os.environ["OMP_NUM_THREADS"] = "1"
    if (torch := sys.modules.get("torch")) is not None:  # else it reads the variable
        torch.set_num_threads(1)
    _WORK.update(make_runner=make_runner, setup=setup)


def _run(job: Any) -> Any:
    try:
        if "runner" not in _WORK:
            _WORK["runner"] = _WORK["make_runner"](_WORK["setup"])
        return _WORK["runner"](job)
    # Errors with arguments of their own do not survive the way back: their text does.
    except WorldsimError as error:
        raise (UsageError if isinstance(error, UsageError) else WorldsimError)(str(error)) from None
    except Exception as error:  # anything else still belongs to a job that has a name
        raise WorldsimError(f"{job}: {type(error).__name__}: {error}") from None
