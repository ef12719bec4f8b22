"""Runs every policy of a comparison in both worlds from the same starts, resumably.

Layout of the folder: `results/<world>/<policy>.json`, `films/<policy>/<start>.<world>.npz`. A
result is written whole, after its films, with the digest of all that it depends on; so it is
either there and valid, or it is made again.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from worldsim.errors import DataError
from worldsim.evaluation.comparison import Comparison
from worldsim.evaluation.film_store import safe_name, save_films
from worldsim.evaluation.rollout_batch import RolloutBatch, World
from worldsim.evaluation.workbench import Workbench
from worldsim.evaluation.workers import WorkerPool
from worldsim.files import read_json, write_json


class Job(NamedTuple):
    """All starts of one policy in one world."""

    policy: str
    world: World


@dataclass(frozen=True)
class Bench:
    """What a worker is told: the comparison and the folder to write to."""

    comparison: Comparison
    out: Path


def result_path(out: Path, job: Job) -> Path:
    """Where a job's result lies."""
    return out / "results" / job.world / f"{safe_name(job.policy)}.json"


def read_result(comparison: Comparison, out: Path, job: Job) -> RolloutBatch | None:
    """A job's result, or None if it is absent, broken or belongs to another comparison."""
    path = result_path(out, job)
    if not path.is_file():
        return None
    try:
        data = read_json(path)
        if data.get("digest") != comparison.digest(job.policy, job.world):
            return None
        return RolloutBatch.from_json(data["rollouts"])
    except (DataError, KeyError, AttributeError):
        return None


def run_job(workbench: Workbench, out: Path, job: Job) -> Job:
    """Roll out, save the films, then the result."""
    batch = workbench.roll_out(job.policy, job.world)
    save_films(out, batch, workbench.model.spec)
    digest = workbench.comparison.digest(job.policy, job.world)
    write_json(result_path(out, job), {"digest": digest, "rollouts": batch.to_json()})
    return job


def make_runner(bench: Bench) -> Callable[[Job], Job]:
    """A worker's own workbench."""
    workbench = Workbench(bench.comparison)
    return lambda job: run_job(workbench, bench.out, job)


def jobs_of(comparison: Comparison, worlds: Sequence[World]) -> list[Job]:
    """All jobs; imagination first, as it takes longer and the short ones fill the end."""
    return [
        Job(policy, world)
        for world in ("imagination", "simulator")
        if world in worlds
        for policy in comparison.policies
    ]


def run_missing(
    comparison: Comparison, out: Path, worlds: Sequence[World], workers: int
) -> Iterator[Job]:
    """Do the jobs that have no valid result yet; yields each as it ends.

    Args:
        comparison: what to compare.
        out: folder to write to.
        worlds: which worlds.
        workers: processes, one thread each; 0 works in this process.

    Raises:
        WorldsimError: something other than a policy failed; finished results stay.
    """
    missing = [
        job for job in jobs_of(comparison, worlds) if read_result(comparison, out, job) is None
    ]
    if not missing:
        return
    bench = Bench(comparison, out)
    if workers == 0:
        yield from map(make_runner(bench), missing)
        return
    with WorkerPool(make_runner, bench, min(workers, len(missing))) as pool:
        yield from pool.run(missing)


def results(
    comparison: Comparison, out: Path, world: World, policies: Sequence[str] | None = None
) -> list[RolloutBatch]:
    """The results of one world, in the order of the policies.

    Raises:
        DataError: one is missing.
    """
    found = []
    for name in policies or comparison.policies:
        batch = read_result(comparison, out, Job(name, world))
        if batch is None:
            raise DataError(f"no result of policy {name!r} in {world} under {out}; run it again")
        found.append(batch)
    return found
