"""Release runs: on starts and policies that nothing was tuned on, once for each file of weights.

Whoever looks twice has begun to tune. So every run is written to a log before its first rollout and
again with its figures: beside the models that ship, or in the run's folder of any other model.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from worldsim.config.compose import build
from worldsim.config.limits import Text
from worldsim.config.values import Checked
from worldsim.errors import DataError, UsageError
from worldsim.files import FileLock, read_json, write_text
from worldsim.models.pretrained import SHIPPED
from worldsim.models.weights import WEIGHTS
from worldsim.ranking.report import RankingReport
from worldsim.rollout.circumstances import ships
from worldsim.rollout.dependencies import RELEASES, Parts, digest_file, digest_of
from worldsim.rollout.eval_config import EvalConfig
from worldsim.rollout.results import Job

FIGURES = ("pearson", "spearman", "kendall", "mmrv", "bias")
"""Coefficients that the log keeps."""


@dataclass(frozen=True)
class ReleaseOptions(Checked):
    """What the one who asks for a release run says.

    Attributes:
        shipping: that this model ships as it is.
        again: why these weights are scored once more; None if they are not.
    """

    shipping: bool = False
    again: Text | None = None


@dataclass(frozen=True)
class ReleaseRun:
    """One line of the log.

    Attributes:
        date: when it began.
        digest: SHA-256 of the weights.
        model: folder of the weights.
        block: of starts.
        pool: of policies.
        starts: how many.
        policies: how many.
        out: folder of the results.
        comparison: hash of all that was compared.
        again: why it was run though there was a run before.
        figures: what it found; None until it has ended.
        printed: the same in one sentence.
    """

    date: str
    digest: str
    model: str
    block: str
    pool: str
    starts: int
    policies: int
    out: str
    comparison: str
    again: str | None = None
    figures: dict[str, Any] | None = None
    printed: str = ""

    def goes_on(self, asked: "ReleaseRun") -> bool:
        """Whether this run has not ended and is the one that is asked for."""
        same = (self.digest, self.comparison, self.out) == (
            asked.digest,
            asked.comparison,
            asked.out,
        )
        return same and self.figures is None


@dataclass(frozen=True)
class Release:
    """A run under way.

    Attributes:
        run: its line in the log.
        log: the file.
        before: runs of the same weights before it.
    """

    run: ReleaseRun
    log: Path
    before: tuple[ReleaseRun, ...]

    @staticmethod
    def begin(
        eval_config: EvalConfig,
        out: Path,
        metric: str,
        wanted: Mapping[Job, Parts],
        said: ReleaseOptions,
    ) -> "Release":
        """Enter a run into its log before its first rollout.

        Args:
            eval_config: what is compared.
            out: folder of the results.
            metric: what is ranked.
            wanted: what each result depends on.
            said: what the one who asks says.

        Raises:
            UsageError: the model is not said to ship, or its weights have had their run.
        """
        model = Path(eval_config.model)
        run = asked_run(eval_config, out, metric, wanted)
        own = (model.parent if model.name == "model" else model) / RELEASES
        log = SHIPPED / RELEASES if ships(run.digest) else own
        if not (ships(run.digest) or said.shipping):
            raise UsageError(
                f"a release run scores what ships, once, and {run.model} is not among the shipped "
                "models; develop on starts.block=development, and say release.shipping=true when "
                "the model is final"
            )
        with locked(log):
            found = [  # a model's folder may have moved to where those that ship lie, or from there
                (path, row)
                for path in (SHIPPED / RELEASES, own)
                for row in read_log(path)
                if row.digest == run.digest
            ]
            found.sort(key=lambda entry: entry[1].date)
            for place, (path, row) in enumerate(found):
                if row.goes_on(run):
                    return Release(row, path, tuple(row for _, row in found[:place]))
            before = tuple(row for _, row in found)
            if before and said.again is None:
                raise UsageError(had_its_run(before[0], log))
            run = replace(run, again=said.again if before else None)
            write_log(log, [*read_log(log), run])
        return Release(run, log, before)

    def finish(self, report: RankingReport) -> Path:
        """Write the run's figures into its log, and return the log."""
        ended = replace(self.run, figures=figures(report), printed=printed(report))
        with locked(self.log):
            rows = [ended if row == self.run else row for row in read_log(self.log)]
            write_log(self.log, rows)
        return self.log

    @property
    def sentence(self) -> str:
        """Which run of these weights it is, for the report."""
        if not self.before:
            return (
                "Release starts and pool, on which nothing was tuned: the first run of these "
                "weights."
            )
        first = self.before[0]
        return (
            f"Release starts and pool: run {len(self.before) + 1} of these weights, because: "
            f"{self.run.again}. The first was on {first.date}: {first.printed or 'it never ended'}."
        )


def asked_run(
    eval_config: EvalConfig, out: Path, metric: str, wanted: Mapping[Job, Parts]
) -> ReleaseRun:
    """The line of a comparison that begins now; see `Release.begin`."""
    parts = {f"{job.world}/{job.policy}": digest_of(each) for job, each in wanted.items()}
    model = Path(eval_config.model)
    return ReleaseRun(
        date=f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        digest=digest_file(model / WEIGHTS),
        model=f"shipped/{model.name}" if model.parent == SHIPPED else str(model.resolve()),
        block=str(eval_config.starts.block),
        pool=eval_config.pool,
        starts=eval_config.starts.count,
        policies=len(eval_config.policies),
        out=str(out.resolve()),
        comparison=digest_of(parts | {"metric": metric}),
    )


def locked(log: Path) -> FileLock:
    """One run at a time reads and writes a log."""
    return FileLock(log.with_name(f".{log.name}.lock"))


def read_log(path: Path) -> list[ReleaseRun]:
    """All runs in a log, the oldest first.

    Raises:
        DataError: the file holds something else.
    """
    if not path.is_file():
        return []
    rows = read_json(path)
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise DataError(f"{path} is no log of release runs, which is a list of objects")
    return [build(ReleaseRun, row, str(path)) for row in rows]


def write_log(path: Path, runs: Iterable[ReleaseRun]) -> None:
    """Write a log, one run a line."""
    lines = ",\n".join(json.dumps(asdict(run)) for run in runs)
    write_text(path, f"[\n{lines}\n]\n")


def figures(report: RankingReport) -> dict[str, Any]:
    """What the log keeps of a ranking: coefficients with both intervals, and a few others."""
    main, wider = report.coefficients.to_json(), report.over_policies.to_json()
    kept: dict[str, Any] = {
        name: {
            "value": main[name]["value"],
            "over_starts": main[name]["interval"],
            "over_policies": wider[name]["interval"],
        }
        for name in FIGURES
    }
    row = report.null_result
    return kept | {
        "metric": report.metric.name,
        "calibrated_mae": report.calibrated_mae,
        "null_policy_imagined": row.imagined.value if row else None,
        "state_assisted": report.state_assisted,
        "depth_assisted": report.depth_assisted,
    }


def printed(report: RankingReport) -> str:
    """The figures in words."""
    main, wider = report.coefficients, report.over_policies
    parts = []
    for label, name in (("Pearson", "pearson"), ("MMRV", "mmrv")):
        interval = getattr(wider, name).interval
        beside = f", [{interval[0]:.3f}, {interval[1]:.3f}] over policies too" if interval else ""
        parts.append(f"{label} {getattr(main, name).text(3)} over starts{beside}")
    return "; ".join(parts)


def had_its_run(first: ReleaseRun, log: Path) -> str:
    """Why a second run is refused."""
    found = first.printed or (
        f"it has not ended; the same command with out={first.out} continues it, if nothing of the "
        "comparison is changed"
    )
    return (
        f"the weights of {first.model} had their release run on {first.date} ({first.policies} "
        f"policies, {first.starts} starts, {first.out}): {found}. A second look at these starts "
        "would be tuning on them: work on starts.block=development. If that run was not valid, "
        f"release.again='WHY' runs once more, and log ({log}) and report will say both"
    )
