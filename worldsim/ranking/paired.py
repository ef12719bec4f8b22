"""Runs every policy of a comparison in both worlds from the same starts, resumably.

Layout of the folder: `results/<world>/<policy>.json`, `films/<policy>/<start>.<world>.npz`. A
result is written whole, after its films, with the hashes of all that it depends on; so it is
either there and valid, or it is made again.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from gymnasium.envs.registration import EnvSpec

from worldsim.envs.registration import adopt, registration_of
from worldsim.errors import WorldsimError
from worldsim.rollout.eval_config import EvalConfig, Parts
from worldsim.rollout.evaluator import Evaluator
from worldsim.rollout.film_store import save_films
from worldsim.rollout.kept import Job, standing, write_result
from worldsim.rollout.trajectory import World
from worldsim.rollout.workers import run_in_processes


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker is told.

    Attributes:
        eval_config: what to compare.
        out: folder to write to.
        wanted: what each job's result depends on, as it was before any work began.
        registration: how the main process registered the simulator, where that is not ours.
    """

    eval_config: EvalConfig
    out: Path
    wanted: Mapping[Job, Parts]
    registration: EnvSpec | None


def run_job(evaluator: Evaluator, setup: WorkerSetup, job: Job) -> Job:
    """Roll out, save the films, then the result.

    Raises:
        WorldsimError: something that the result depends on was changed meanwhile.
    """
    batch = evaluator.roll_out(job.policy, job.world)
    before, now = setup.wanted[job], setup.eval_config.parts(*job)
    if now != before:
        changed = ", ".join(name for name in before if now.get(name) != before[name])
        raise WorldsimError(
            f"{changed} changed while {job.policy} was rolled out in {job.world}, so this result "
            "belongs to neither; the same command again goes on from here"
        )
    save_films(setup.out, batch, evaluator.model.spec)
    write_result(setup.out, job, before, batch)
    return job


def make_runner(setup: WorkerSetup) -> Callable[[Job], Job]:
    """A worker's own evaluator."""
    adopt(setup.registration)
    evaluator = Evaluator(setup.eval_config)
    return lambda job: run_job(evaluator, setup, job)


def wanted_results(eval_config: EvalConfig, worlds: Sequence[World]) -> dict[Job, Parts]:
    """All jobs with what their results depend on at this moment.

    Imagination stands first, as it takes longer and the short ones fill the end.
    """
    return {
        Job(policy, world): eval_config.parts(policy, world)
        for world in ("imagination", "simulator")
        if world in worlds
        for policy in eval_config.policies
    }


def run_missing(
    eval_config: EvalConfig, out: Path, wanted: Mapping[Job, Parts], workers: int
) -> Iterator[Job]:
    """Do the jobs that have no valid result yet; yields each as it ends.

    Args:
        eval_config: what to compare.
        out: folder to write to.
        wanted: of `wanted_results`.
        workers: processes, one thread each; 0 works in this process.

    Raises:
        WorldsimError: something other than a policy failed, or files changed; finished results
            stay.
    """
    missing = standing(out, wanted).missing
    if not missing:
        return
    simulator = eval_config.env_id or ""
    registration = registration_of(simulator, eval_config.env_kwargs)
    setup = WorkerSetup(eval_config, out, wanted, registration)
    if workers == 0:
        yield from map(make_runner(setup), missing)
        return
    yield from run_in_processes(make_runner, setup, missing, min(workers, len(missing)))
