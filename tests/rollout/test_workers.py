"""Jobs in processes: results, errors with their kind, dead processes, and how they end."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from worldsim.errors import MissingExtraError, UsageError, WorldsimError
from worldsim.rollout.workers import run_in_processes

SCRIPT = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from test_workers import make_runner
from worldsim.rollout.workers import run_in_processes

if __name__ == "__main__":
    print(list(run_in_processes(make_runner, Path(sys.argv[1]), ["wait", "wait"], 2)))
"""


def make_runner(folder: Path) -> Callable[[str], str]:
    """A runner that does what its job says, in a process whose id it leaves in `folder`."""
    if folder.name == "absent":
        raise UsageError("unknown env 'absent'")
    (folder / str(os.getpid())).touch()

    def run(job: str) -> str:
        if job == "extra":
            raise MissingExtraError("rerun", "rerun")
        if job == "divide":
            return str(1 // 0)
        if job == "die":
            os.kill(os.getpid(), signal.SIGKILL)
        if job == "wait":
            time.sleep(120)
        return f"{job} done"

    return run


def gone(folder: Path, patience_s: float = 60.0) -> bool:
    """Whether every process that left its id has ended."""
    deadline = time.monotonic() + patience_s
    while any(Path("/proc", each.name).exists() for each in folder.iterdir()):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_every_job_is_done_once_by_few_processes(tmp_path: Path) -> None:
    jobs = [str(number) for number in range(5)]
    results = list(run_in_processes(make_runner, tmp_path, jobs, 2))
    assert sorted(results) == [f"{job} done" for job in jobs]
    assert 1 <= len(list(tmp_path.iterdir())) <= 2
    assert gone(tmp_path)


def test_errors_keep_their_kind_and_their_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="optional package 'rerun'"):
        list(run_in_processes(make_runner, tmp_path, ["extra"], 1))
    with pytest.raises(WorldsimError, match="divide: ZeroDivisionError") as caught:
        list(run_in_processes(make_runner, tmp_path, ["divide"], 1))
    assert caught.type is WorldsimError
    with pytest.raises(UsageError, match="unknown env 'absent'"):
        list(run_in_processes(make_runner, tmp_path / "absent", ["any"], 1))


def test_a_killed_process_is_an_error_and_takes_the_others_along(tmp_path: Path) -> None:
    with pytest.raises(WorldsimError, match="a worker process died; is memory short"):
        list(run_in_processes(make_runner, tmp_path, ["wait", "die"], 2))
    assert gone(tmp_path)


def test_leaving_ends_the_jobs_at_once(tmp_path: Path) -> None:
    begun = time.monotonic()
    results = run_in_processes(make_runner, tmp_path, ["quick", "wait"], 2)
    assert next(results) == "quick done"
    results.close()  # type: ignore[attr-defined]
    assert gone(tmp_path) and time.monotonic() - begun < 110


@pytest.mark.parametrize("kill", [signal.SIGINT, signal.SIGKILL])
def test_no_process_outlives_its_parent(tmp_path: Path, kill: signal.Signals) -> None:
    script, folder = tmp_path / "script.py", tmp_path / "ids"
    script.write_text(SCRIPT)
    folder.mkdir()
    parent = subprocess.Popen(
        [sys.executable, str(script), str(folder), str(Path(__file__).parent)],
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 120
    while len(list(folder.iterdir())) < 2 and time.monotonic() < deadline:
        time.sleep(0.05)
    parent.send_signal(kill)
    _, said = parent.communicate(timeout=60)  # the pipe closes when the workers are gone too
    assert parent.returncode != 0
    assert kill is signal.SIGKILL or "KeyboardInterrupt" in said
    assert gone(folder)
