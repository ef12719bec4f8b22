"""Results of rollouts on disk: of one policy in one world, and of a whole comparison.

A folder holds `comparison.json`, `results/<world>/<policy>.json` and beside each of these an .npz
with the rows of all trajectories one after the other. A result names what it depends on by hashes.
It is written whole and last, so it is either there and valid, or it is made again.
"""

import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from worldsim.config.compose import build
from worldsim.errors import DataError, UsageError
from worldsim.files import atomic_path, read_json, write_json, write_text
from worldsim.rollout.baselines import ACTION_ERROR
from worldsim.rollout.circumstances import Circumstances
from worldsim.rollout.dependencies import JUDGE_VALIDATION, RESULT, Parts, digest_of
from worldsim.rollout.episodes import FIELDS, METRICS, OPTIONAL, RolloutBatch, Trajectory, World
from worldsim.rollout.eval_config import EvalConfig, RankingOptions
from worldsim.rollout.logged import LoggedRates, read_logged_rates
from worldsim.rollout.start_blocks import StartBlocks

Float = NDArray[np.float64]
Arrays = Mapping[str, NDArray[Any]]

DIGITS = 4
"""Decimals of probabilities and progress on disk."""
ROUNDED = ("progress", "probability", "gate_error")
OLDER = {"action_error": "gate_error"}
"""Older names of arrays."""

LOGGED = "reference.csv"
"""Copy of the logged rates, so that a folder says the same when the original has changed."""

RESULTS = "results"
"""Folder of the results below that of a comparison, one folder a world in it."""


class Job(NamedTuple):
    """All starts of one policy in one world."""

    policy: str
    world: World


def safe_name(name: str) -> str:
    """A file name for a policy's name: what is no letter, digit, dot or dash is spelled out."""
    return "".join(c if c.isalnum() or c in ".-_" else f"%{ord(c):02x}" for c in name)


def result_path(out: Path, job: Job) -> Path:
    """Where a job's result lies; its trajectories lie beside it as .npz."""
    return out / RESULTS / job.world / f"{safe_name(job.policy)}.json"


def write_result(out: Path, job: Job, parts: Parts, batch: RolloutBatch) -> None:
    """Write the trajectories, then the result with the hashes of what it depends on.

    Both files hold the digest, so that halves of two results are none.
    """
    path, digest = result_path(out, job), digest_of(parts)
    arrays: dict[str, Any] = {"digest": np.array(digest), **pack(batch.trajectories)}
    with atomic_path(path.with_suffix(".npz")) as temporary:
        np.savez_compressed(temporary, **arrays)
    write_json(path, {"digest": digest, "parts": parts, "rollouts": _to_json(batch)})


def read_result(out: Path, job: Job, digest: str | None = None) -> RolloutBatch | None:
    """A job's result, or None if it is absent, broken, or has another digest than given.

    Results of a worldsim that stored no trajectories are read too.
    """
    data = read_stored(out, job)
    if data is None or (digest is not None and data.get("digest") != digest):
        return None
    try:
        rollouts = data["rollouts"]
        if "progress_trace" in rollouts:
            longest = max(rollouts["length"], default=None)
            return _restore(rollouts, _of_traces(rollouts), longest)
        with np.load(result_path(out, job).with_suffix(".npz"), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        if str(arrays.pop("digest")) != data.get("digest"):
            return None
        return _restore(rollouts, unpack(arrays), rollouts["horizon"])
    except (LookupError, TypeError, ValueError, OSError, EOFError, zipfile.BadZipFile, DataError):
        return None


def read_stored(out: Path, job: Job) -> dict[str, Any] | None:
    """The JSON of a job's result: digest, parts, rollouts; None if it cannot be read."""
    try:
        data = read_json(result_path(out, job))
    except DataError:
        return None
    return data if isinstance(data, dict) else None


def _to_json(batch: RolloutBatch) -> dict[str, Any]:
    """What is no array, and in `outcomes` every metric, for whoever reads the file."""
    judged = batch.judged
    return {
        "policy": batch.policy,
        "world": batch.world,
        "start_ids": list(batch.start_ids),
        "errors": list(batch.errors),
        "horizon": batch.horizon,
        "position": list(batch.position),
        "judged": None if judged is None else judged.tolist(),
        "length": batch.length.tolist(),
        "outcomes": {name: _plain(batch.outcomes(name)) for name in METRICS},
    }


def pack(trajectories: Sequence[Trajectory]) -> dict[str, NDArray[Any]]:
    """Arrays of N episodes for an .npz file; inverse of `unpack` up to the stored decimals."""
    arrays: dict[str, NDArray[Any]] = {
        "frames": np.array([len(each.success) for each in trajectories], np.int64)
    }
    # An episode that never began may not know what the others tell.
    begun = [each for each in trajectories if len(each.success)] or trajectories
    for name in FIELDS:
        parts = [getattr(each, name) for each in begun]
        if parts and all(part is not None for part in parts):
            joined = np.concatenate(parts)
            if name in ROUNDED:
                joined = np.round(joined.astype(np.float64), DIGITS).astype(np.float32)
            arrays[name] = joined
    return arrays


def unpack(arrays: Arrays) -> tuple[Trajectory, ...]:
    """Episodes out of `pack`'s arrays.

    Raises:
        DataError: an array has another number of rows than `frames` says.
        KeyError: an array is missing.
    """
    arrays = {OLDER.get(name, name): rows for name, rows in arrays.items()}
    frames = np.asarray(arrays["frames"], np.int64)
    ends = {True: np.cumsum(np.maximum(frames - 1, 0)), False: np.cumsum(frames)}
    columns: dict[str, list[NDArray[Any]]] = {}
    for name in (name for name in FIELDS if name in arrays or name not in OPTIONAL):
        bounds, rows = ends[name == "action"], arrays[name]
        if len(rows) != (bounds[-1] if len(bounds) else 0):
            raise DataError(f"{name} has {len(rows)} rows, but the episodes {bounds[-1:]}")
        columns[name] = np.split(rows, bounds[:-1])
    return tuple(
        Trajectory(**{name: parts[i] for name, parts in columns.items()})
        for i in range(len(frames))
    )


def _plain(values: Float) -> list[float | None]:
    return [round(float(value), 6) if np.isfinite(value) else None for value in values]


def _restore(
    data: Mapping[str, Any], trajectories: tuple[Trajectory, ...], horizon: int | None
) -> RolloutBatch:
    batch = RolloutBatch(
        policy=str(data["policy"]),
        world=data["world"],
        start_ids=tuple(data["start_ids"]),
        trajectories=trajectories,
        errors=tuple(data["errors"]),
        horizon=horizon,
        position=tuple(data.get("position", ())),
    )
    sizes = {len(batch.start_ids), len(batch.trajectories), len(batch.errors)}
    if len(sizes) != 1:
        raise DataError(f"a rollout result has {sizes} starts, trajectories and errors")
    return batch


def _of_traces(data: Mapping[str, Any]) -> tuple[Trajectory, ...]:
    """Trajectories out of the traces and verdicts that older results hold: where the agent was and
    what it did they do not tell, and success not before the end."""
    judged = data["judged"]
    made = []
    for i, (trace, steps) in enumerate(zip(data["progress_trace"], data["length"], strict=True)):
        frames, probability = len(trace), data["probability_trace"][i] if judged else []
        last = np.arange(frames) == frames - 1
        made.append(
            Trajectory(
                agent_pos=np.zeros((frames, 0), np.float32),
                action=np.zeros((steps, 0), np.float32),
                success=last & bool(data["success"][i]),
                progress=np.array(trace, np.float32),
                probability=np.array(probability, np.float32) if judged else None,
                judged=last & bool(judged[i]) if judged else None,
            )
        )
    return tuple(made)


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What was compared, and what became of every episode.

    Attributes:
        eval_config: policies, worlds and starts.
        options: what turns results into a ranking.
        circumstances: of model, judge and starts, as they were.
        imagined: results in imagination, in the order of the policies.
        truth: results in the simulator; None where logged rates stand for it.
        logged: those rates, or None.
        baselines: results in the worlds of baselines, by their names.
        validation: of the judge on starts and policies that are not ranked; None without.
    """

    eval_config: EvalConfig
    options: RankingOptions
    circumstances: Circumstances
    imagined: list[RolloutBatch]
    truth: list[RolloutBatch] | None = None
    logged: LoggedRates | None = None
    baselines: Mapping[World, list[RolloutBatch]] = field(default_factory=dict)
    validation: "Outcomes | None" = None


def write_eval_config(
    out: Path,
    eval_config: EvalConfig,
    options: RankingOptions,
    circumstances: Circumstances,
    wanted: Mapping[Job, Parts],
) -> None:
    """Write what the results of a folder will be of, before there are any."""
    if options.reference_csv is not None:
        write_text(out / LOGGED, Path(options.reference_csv).read_text(encoding="utf-8-sig"))
    said: dict[str, Any] = {"comparison": asdict(eval_config), "options": asdict(options)}
    said |= {"circumstances": asdict(circumstances), "digests": {}}
    for job, parts in wanted.items():
        said["digests"].setdefault(job.world, {})[job.policy] = digest_of(parts)
    write_json(out / RESULT, said)


def read_outcomes(out: Path) -> Outcomes:
    """The results in a ranking's folder as they were written.

    They must be those that `comparison.json` names. Model, policies and data may be gone.

    Raises:
        UsageError: the folder holds no ranking.
        DataError: a result is missing, or is of another comparison than the folder's.
    """
    path = out / RESULT
    if not path.is_file():
        raise UsageError(f"{out} holds no ranking (no {path.name}); `worldsim rank out={out}`")
    data = read_json(path)
    if not isinstance(data, dict) or not {"comparison", "options"} <= set(data):
        raise DataError(f"{path} describes no ranking")
    eval_config = build(EvalConfig, data["comparison"], str(path))
    options = build(RankingOptions, data["options"], str(path))
    if found := data.get("circumstances"):
        around = build(Circumstances, found, str(path))
    else:
        around = Circumstances.of(eval_config, options, StartBlocks.configured(), None)

    def results(world: World, told: bool) -> list[RolloutBatch]:
        digests = (data.get("digests") or {}).get(world) or {}
        return [
            _result(out, eval_config, Job(name, world), digests.get(name), told)
            for name in eval_config.policies
        ]

    kept, logged = out / LOGGED, options.reference_csv
    return Outcomes(
        eval_config,
        options,
        around,
        results("imagination", around.judge.reads_progress),
        None if logged else results("simulator", True),
        read_logged_rates(kept if kept.is_file() else Path(logged)) if logged else None,
        {name: results(name, True) for name in eval_config.baselines.chosen},
        read_outcomes(out / JUDGE_VALIDATION) if options.judge_validation else None,
    )


def _result(
    out: Path, eval_config: EvalConfig, job: Job, digest: str | None, told: bool
) -> RolloutBatch:
    batch, own = read_result(out, job, digest), job.world == ACTION_ERROR  # starts of its own
    if batch is None or not (own or len(batch.trajectories) == eval_config.starts.count):
        raise DataError(
            f"{out} has no result of policy {job.policy!r} in {job.world} that belongs to its "
            f"{RESULT}; run `worldsim rank out={out}` again as it was run"
        )
    # Older results say 0 where a judge reads no progress.
    untold = tuple(replace(each, progress=None) for each in batch.trajectories)
    return batch if told else replace(batch, trajectories=untold)
