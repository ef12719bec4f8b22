"""Results that an earlier run left: which still hold, which do not, and why.

A result's file holds the hash of each thing that it depends on, so that what has changed since can
be named.
"""

import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from worldsim.errors import DataError
from worldsim.files import atomic_path, read_json, write_json
from worldsim.rollout.batch import RolloutBatch
from worldsim.rollout.eval_config import EvalConfig, Parts, digest_of
from worldsim.rollout.trajectory import World

TRAJECTORIES = ".npz"


class Job(NamedTuple):
    """All starts of one policy in one world."""

    policy: str
    world: World


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


def safe_name(name: str) -> str:
    """A file name for a policy's name: what is no letter, digit, dot or dash is spelled out."""
    return "".join(c if c.isalnum() or c in ".-_" else f"%{ord(c):02x}" for c in name)


def result_path(out: Path, job: Job) -> Path:
    """Where a job's result lies; its trajectories lie beside it as .npz."""
    return out / "results" / job.world / f"{safe_name(job.policy)}.json"


def write_result(out: Path, job: Job, parts: Parts, batch: RolloutBatch) -> None:
    """Write the trajectories, then the result with the hashes of what it depends on.

    Each file is written whole or not at all, and both hold the digest: halves of two results are
    none.
    """
    path, digest = result_path(out, job), digest_of(parts)
    arrays: dict[str, Any] = {"digest": np.array(digest), **batch.arrays()}
    with atomic_path(path.with_suffix(TRAJECTORIES)) as temporary:
        np.savez_compressed(temporary, **arrays)
    write_json(path, {"digest": digest, "parts": parts, "rollouts": batch.to_json()})


def read_result(out: Path, job: Job, digest: str | None = None) -> RolloutBatch | None:
    """A job's result, or None if it is absent, broken, or has another digest than given.

    Results of a worldsim that stored no trajectories are read too.
    """
    data = _read(out, job)
    if data is None or (digest is not None and data.get("digest") != digest):
        return None
    try:
        rollouts = data["rollouts"]
        if "progress_trace" in rollouts:
            return RolloutBatch.restore(rollouts, None)
        with np.load(result_path(out, job).with_suffix(TRAJECTORIES), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if str(arrays.pop("digest")) != data.get("digest"):
            return None
        return RolloutBatch.restore(rollouts, arrays)
    except (DataError, KeyError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile):
        return None


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
            stale[job] = _why_stale(_read(out, job), parts)
    return Standing(tuple(kept), stale, tuple(missing))


def _why_stale(data: dict[str, Any] | None, parts: Parts) -> str:
    if data is None:
        return "the result cannot be read"
    before = data.get("parts")
    if not isinstance(before, dict):
        return "an older version of worldsim made the result"
    changed = [name for name in parts if before.get(name) != parts[name]]
    return f"{', '.join(changed)} changed" if changed else "the result is damaged"


def _read(out: Path, job: Job) -> dict[str, Any] | None:
    try:
        data = read_json(result_path(out, job))
    except DataError:
        return None
    return data if isinstance(data, dict) else None


def _list(jobs: Iterable[Job]) -> str:
    """Policies by world, as in "a, b (simulator); a (imagination)"."""
    worlds: dict[str, list[str]] = {}
    for job in jobs:
        worlds.setdefault(job.world, []).append(job.policy)
    return "; ".join(f"{', '.join(names)} ({world})" for world, names in worlds.items())
