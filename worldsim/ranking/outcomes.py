"""A finished ranking's results in memory: read from its folder, or pooled from several.

A folder is read as it was written. Its results must be those that its own `eval_config.json` names,
but model, policies and data may have gone or changed since.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from math import gcd
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.config.compose import build
from worldsim.errors import DataError, UsageError
from worldsim.files import read_json, write_json, write_text
from worldsim.rollout.batch import RolloutBatch, join_batches
from worldsim.rollout.dependencies import RESULT
from worldsim.rollout.eval_config import (
    Circumstances,
    EvalConfig,
    Parts,
    RankingOptions,
    StartPlan,
    digest_of,
)
from worldsim.rollout.kept import Job, read_result
from worldsim.rollout.logged import LoggedRates, read_logged_rates
from worldsim.rollout.trajectory import World

Float = NDArray[np.float64]

LOGGED = "reference.csv"
"""Copy of the logged rates, so that a folder says the same when the original has changed."""

OF_THE_RUN = {"starts", "batch_size", "films", "device"}
"""Fields of a comparison in which pooled rankings may differ."""


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
    """

    eval_config: EvalConfig
    options: RankingOptions
    circumstances: Circumstances
    imagined: list[RolloutBatch]
    truth: list[RolloutBatch] | None = None
    logged: LoggedRates | None = None

    def outcomes(self, metric: str) -> tuple[Float, Float]:
        """A metric `[P, N]` in the simulator and in imagination; NaN where it is not told."""
        return _table(self.truth or [], metric), self.imagined_outcomes(metric)

    def imagined_outcomes(self, metric: str) -> Float:
        """A metric `[P, N]` in imagination."""
        return _table(self.imagined, metric)


def write_eval_config(
    out: Path,
    eval_config: EvalConfig,
    options: RankingOptions,
    circumstances: Circumstances,
    wanted: dict[Job, Parts],
) -> None:
    """Write what the results of a folder will be of, before there are any."""
    if options.reference_csv is not None:
        write_text(out / LOGGED, Path(options.reference_csv).read_text(encoding="utf-8-sig"))
    digests: dict[str, dict[str, str]] = {}
    for job, parts in wanted.items():
        digests.setdefault(job.world, {})[job.policy] = digest_of(parts)
    write_json(
        out / RESULT,
        {
            "comparison": asdict(eval_config),
            "options": asdict(options),
            "circumstances": asdict(circumstances),
            "digests": digests,
        },
    )


def read_outcomes(out: Path) -> Outcomes:
    """The results in a ranking's folder, those of older versions of worldsim included.

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
    found = data.get("circumstances")
    around = (
        build(Circumstances, found, str(path)) if found else Circumstances.of(eval_config, options)
    )
    digests = data.get("digests") or {}

    def results(world: World, told: bool = True) -> list[RolloutBatch]:
        known, names = digests.get(world) or {}, eval_config.policies
        found = [_result(out, eval_config, Job(n, world), known.get(n)) for n in names]
        # Older results say 0 where a judge reads no progress.
        return found if told else [batch.without_progress() for batch in found]

    return Outcomes(
        eval_config,
        options,
        around,
        results("imagination", around.judge.reads_progress),
        results("simulator") if "simulator" in options.worlds else None,
        _logged(out, options),
    )


def pool_outcomes(parts: Sequence[Outcomes]) -> Outcomes:
    """One ranking out of several of the same policies and model from other starts each.

    Raises:
        UsageError: there are fewer than two, they differ in more than their starts, or share some.
    """
    if len(parts) < 2:
        raise UsageError(f"pooling needs two rankings or more, got {len(parts)}")
    first = parts[0]
    for other in parts[1:]:
        _require_alike(first, other)
    truths = [part.truth for part in parts if part.truth is not None]
    return replace(
        first,
        eval_config=replace(first.eval_config, starts=_pooled_starts(parts)),
        circumstances=replace(
            first.circumstances,
            development_starts=_of_all([p.circumstances.development_starts for p in parts]),
        ),
        imagined=_join([part.imagined for part in parts]),
        truth=_join(truths) if len(truths) == len(parts) else None,
    )


def _table(batches: Sequence[RolloutBatch], metric: str) -> Float:
    """A metric `[P, N]`; NaN for a policy that broke off every episode.

    That is a policy that does not run here. As a failure in both worlds it would make them agree.
    """
    rows = [
        np.full(len(batch.errors), np.nan) if all(batch.errors) else batch.outcomes(metric)
        for batch in batches
    ]
    return np.array(rows, np.float64)


def _result(out: Path, eval_config: EvalConfig, job: Job, digest: str | None) -> RolloutBatch:
    batch = read_result(out, job, digest)
    if batch is None or len(batch.success) != eval_config.starts.count:
        raise DataError(
            f"{out} has no result of policy {job.policy!r} in {job.world} that belongs to its "
            f"{RESULT}; run `worldsim rank out={out}` again as it was run"
        )
    return batch


def _logged(out: Path, options: RankingOptions) -> LoggedRates | None:
    if options.reference_csv is None:
        return None
    kept = out / LOGGED
    return read_logged_rates(kept if kept.is_file() else Path(options.reference_csv))


def _require_alike(first: Outcomes, other: Outcomes) -> None:
    ours, theirs = asdict(first.eval_config), asdict(other.eval_config)
    differing = [key for key in ours if key not in OF_THE_RUN and ours[key] != theirs[key]]
    if first.logged != other.logged or first.options.worlds != other.options.worlds:
        differing.append("reference")
    if first.circumstances.judge != other.circumstances.judge:
        differing.append("judge report")
    starts: dict[str, Any] = {"starts.factors": "factors", "starts.dataset": "dataset"}
    differing += [k for k, f in starts.items() if ours["starts"][f] != theirs["starts"][f]]
    if differing:
        raise UsageError(
            f"the rankings cannot be pooled: they differ in {', '.join(differing)}; only their "
            "starts may"
        )
    if first.eval_config.starts.dataset is not None:
        raise UsageError("rankings from a data set's first frames share them, and cannot be pooled")


def _pooled_starts(parts: Sequence[Outcomes]) -> StartPlan:
    """Blocks as long as the greatest number that divides all."""
    plans = [part.eval_config.starts for part in parts]
    length = gcd(*(plan.count // len(plan.blocks) for plan in plans))
    begins = tuple(seed for plan in plans for seed in plan.seeds[::length])
    return replace(plans[0], count=sum(plan.count for plan in plans), seed=begins)


def _join(worlds: list[list[RolloutBatch]]) -> list[RolloutBatch]:
    return [join_batches(list(same)) for same in zip(*worlds, strict=True)]


def _of_all(known: list[bool | None]) -> bool | None:
    """Whether any are development starts; None unless all are known."""
    return None if None in known else any(known)
