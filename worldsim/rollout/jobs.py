"""The rollouts of a comparison as jobs: what an earlier run left, and doing what is missing.

Results lie as `worldsim.rollout.results` says, films in `films/<policy>/<start>.<world>.npz`. A
result is written after its films, with the hash of each thing that it depends on, so that what has
changed since can be named.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from worldsim.envs.registration import Registration, adopt, registration_of
from worldsim.errors import WorldsimError
from worldsim.own_imports import import_parts, parts_in_use
from worldsim.rollout.dependencies import Parts, digest_of
from worldsim.rollout.episodes import World
from worldsim.rollout.eval_config import EvalConfig
from worldsim.rollout.evaluator import Evaluator
from worldsim.rollout.film_store import save_films
from worldsim.rollout.results import Job, read_result, read_stored, result_path, write_result
from worldsim.rollout.workers import run_in_processes


def wanted_results(eval_config: EvalConfig, worlds: Sequence[World]) -> dict[Job, Parts]:
    """All jobs with what their results depend on at this moment.

    They are done in the order of `worlds`: imagination stands first, as it takes longer and the
    short ones fill the end.
    """
    return {
        Job(policy, world): eval_config.parts(policy, world)
        for world in worlds
        for policy in eval_config.policies
    }


@dataclass(frozen=True)
class Standing:
    """What a folder holds of some jobs.

    Attributes:
        kept: jobs whose results still hold.
        stale: jobs whose results do not, with the reason.
        missing: jobs without a valid result, stale ones included, in the order of all jobs.
    """

    kept: tuple[Job, ...]
    stale: dict[Job, str]
    missing: tuple[Job, ...]

    def in_words(self, eval_config: EvalConfig) -> list[str]:
        """What is kept and why, and what is done again and why; nothing in an empty folder."""
        total = len(self.kept) + len(self.missing)
        lines = []
        if self.kept:
            lines.append(
                f"{len(self.kept)} of {total} results are kept, as nothing that they depend on has "
                f"changed: {_list(self.kept)}"
            )
        for reason in sorted(set(self.stale.values())):
            jobs = [job for job, why in self.stale.items() if why == reason]
            lines.append(f"rolled out again, as {reason}: {_list(jobs)}")
        remote = [j for j in self.kept if eval_config.policies[j.policy].get("kind") == "remote"]
        if remote:
            lines.append(
                f"what a server holds cannot be seen from here; if it serves another policy now, "
                f"give it a new `version`: {_list(remote)}"
            )
        return lines


def standing(out: Path, wanted: Mapping[Job, Parts]) -> Standing:
    """Compare what is in a folder with what is wanted."""
    kept: list[Job] = []
    stale: dict[Job, str] = {}
    missing: list[Job] = []
    for job, parts in wanted.items():
        if read_result(out, job, digest_of(parts)) is not None:
            kept.append(job)
            continue
        missing.append(job)
        if result_path(out, job).is_file():
            stale[job] = _why_stale(read_stored(out, job), parts)
    return Standing(tuple(kept), stale, tuple(missing))


def _why_stale(data: dict[str, Any] | None, parts: Parts) -> str:
    if data is None:
        return "the result cannot be read"
    before = data.get("parts")
    if not isinstance(before, dict):
        return "an older version of worldsim made the result"
    changed = [name for name in {**parts, **before} if before.get(name) != parts.get(name)]
    return f"{', '.join(changed)} changed" if changed else "the result is damaged"


def _list(jobs: Iterable[Job]) -> str:
    """Policies by world, as in "a, b (simulator); a (imagination)"."""
    worlds: dict[str, list[str]] = {}
    for job in jobs:
        worlds.setdefault(job.world, []).append(job.policy)
    return "; ".join(f"{', '.join(names)} ({world})" for world, names in worlds.items())


@dataclass(frozen=True)
class WorkerSetup:
    """What a worker is told.

    Attributes:
        eval_config: what to compare.
        out: folder to write to.
        wanted: what each job's result depends on, as it was before any work began.
        registration: how the main process came to know the simulator.
        own_parts: modules of own parts that the main process imported.
    """

    eval_config: EvalConfig
    out: Path
    wanted: Mapping[Job, Parts]
    registration: Registration
    own_parts: Sequence[str]


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
    import_parts(setup.own_parts)
    adopt(setup.registration)
    evaluator = Evaluator(setup.eval_config)
    return lambda job: run_job(evaluator, setup, job)


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
    setup = WorkerSetup(eval_config, out, wanted, registration, parts_in_use())
    if workers == 0:
        yield from map(make_runner(setup), missing)
        return
    yield from run_in_processes(make_runner, setup, missing, min(workers, len(missing)))
