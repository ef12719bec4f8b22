"""`ranking.json` and `report.html` out of a ranking's folder; nothing is rolled out here.

Outcomes are read, ranked, and shown as a section of a page.
"""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError
from worldsim.files import read_yaml, write_figures
from worldsim.judge.report import Verdicts
from worldsim.ranking.baseline_rows import baseline_notes
from worldsim.ranking.baselines import BaselineScores, compare_baselines
from worldsim.ranking.bootstrap import Estimate
from worldsim.ranking.correlation import FEWEST
from worldsim.ranking.gating import GatedRanking, gated_table
from worldsim.ranking.rank import rank
from worldsim.ranking.report import NullPolicy, RankingReport
from worldsim.reporting.film import Film
from worldsim.reporting.html_report import ReportData, Section, write_report
from worldsim.reporting.open_loop import read_open_loop
from worldsim.rollout.baselines import ACTION_ERROR, BASELINES
from worldsim.rollout.circumstances import Circumstances
from worldsim.rollout.episodes import METRICS, RolloutBatch
from worldsim.rollout.eval_config import software
from worldsim.rollout.film_store import choose_films, joined_record
from worldsim.rollout.recorded_world import action_errors
from worldsim.rollout.results import Outcomes, read_outcomes

CLONED = "behaviour_cloning"
"""Kind of policy that learns from recorded actions."""

CAPTIONS = {
    "success": "The policy succeeds in the simulator and in imagination.",
    "failure": "It fails in both.",
    "disagreement": "The two worlds end differently.",
}


def write_ranking(
    out: Path, report: Mapping[str, Any], films: int, earlier: Sequence[Section] = ()
) -> RankingReport:
    """Rank the results under `out` and write `ranking.json` and `report.html` there.

    Args:
        out: folder of a ranking whose rollouts are all there.
        report: keys `title` and `summary` of the config.
        films: of each kind in the report.
        earlier: other rankings to show on the page.

    Raises:
        DataError: results are missing.
    """
    outcomes, title = read_outcomes(out), str(report["title"])
    section = section_of(outcomes, title, str(report["summary"]), _films(out, outcomes, films))
    write_figures(out / "ranking.json", ranking_json(outcomes, section.ranking))
    command = " ".join(["worldsim", *sys.argv[1:]])
    config = _config_hash(out / "config.yaml")
    write_page(out / "report.html", title, [section, *earlier], command, config)
    return section.ranking


def earlier_sections(folders: Sequence[str], films: int) -> list[Section]:
    """Earlier rankings as sections of a page, by their own words.

    Raises:
        UsageError: a folder holds no ranking.
        DataError: its results are missing or broken.
    """
    sections = []
    for folder in map(Path, folders):
        outcomes = read_outcomes(folder)
        title, summary = _own_words(folder)
        sections.append(section_of(outcomes, title, summary, _films(folder, outcomes, films)))
    return sections


def ranking_json(outcomes: Outcomes, ranking: RankingReport) -> dict[str, Any]:
    """The content of `ranking.json`."""
    data = ranking.to_json()
    if (watched := judge_in_simulator(outcomes)) is not None:
        data["judge"] = dict(data["judge"]) | {"in_this_simulation": watched}
    return data


def write_page(
    path: Path, title: str, sections: Sequence[Section], command: str, config_hash: str = ""
) -> None:
    """`report.html` of some sections, with the command that made it."""
    write_report(path, ReportData(title, tuple(sections), command, config_hash, software()))


def section_of(
    outcomes: Outcomes, title: str, summary: str = "", films: tuple[Film, ...] = ()
) -> Section:
    """A ranking on a page, with the open-loop quality of its model where training left it."""
    model = Path(outcomes.eval_config.model)
    places = (folder / "validation.json" for folder in (model, model.parent))
    validation = next((path for path in places if path.is_file()), None)
    curves, notes = ((), ()) if validation is None else read_open_loop(validation)
    ranking = rank_results(outcomes)
    return Section(title, ranking, summary, curves, films, _facts(outcomes), notes)


def rank_results(outcomes: Outcomes) -> RankingReport:
    """Rank finished results.

    Raises:
        UsageError: the logged rates lack a policy, or the results do not tell the metric.
    """
    names, options = list(outcomes.eval_config.policies), outcomes.options
    around, truth, imagined = outcomes.circumstances, outcomes.truth, outcomes.imagined
    others: dict[str, Any] = {}
    reference: Any = outcomes.logged
    if truth is None:
        seen = metric_table(imagined, options.metric)
    else:
        tables = {m: (metric_table(truth, m), metric_table(imagined, m)) for m in METRICS}
        others = {m: pair for m, pair in tables.items() if all(map(_tells, pair))}
        if options.metric not in others:
            raise UsageError(
                f"these results do not tell {options.metric}; they tell {', '.join(sorted(others))}"
            )
        reference, seen = others.pop(options.metric)
    drawing = {name: getattr(options, name) for name in ("bootstrap_samples", "level", "seed")}
    # The judge's error rates are of its own rule.
    judge = around.judge if outcomes.eval_config.hold is None else None
    asked: dict[str, Any] = {"judge": judge, "metric": options.metric, **drawing}
    ranking = rank(
        reference,
        seen,
        names,
        **asked,
        others=others,
        groups={name: group for name, group in options.groups.items() if name in names},
        failures=_failures([*(truth or []), *imagined]),
        null_policy=_null_policy(outcomes),
        horizon=max((batch.horizon or 0 for batch in imagined), default=0) or None,
    )
    scores, metric = baseline_scores(outcomes), METRICS.get(options.metric)
    baselines = compare_baselines(reference, seen, names, scores, metric, **drawing)
    return replace(
        ranking,
        baselines=baselines,
        notes=(*ranking.notes, *baseline_notes(baselines)),
        assisted=_assisted(around),
        development_starts=around.development_starts,
        block=outcomes.eval_config.starts.block,
        pool=outcomes.eval_config.pool,
        release=around.release,
        gated=_gated(outcomes, reference, seen, asked),
    )


def baseline_scores(outcomes: Outcomes) -> list[BaselineScores]:
    """What each baseline gave; the action errors of cloned policies stand apart too."""
    policies, found = outcomes.eval_config.policies, []
    for name, batches in outcomes.baselines.items():
        row = BASELINES.get(name)
        if row.scores == "errors":
            values = np.array([action_errors(batch) for batch in batches], np.float64)
        else:
            values = metric_table(batches, outcomes.options.metric)
        setting = getattr(outcomes.eval_config.baselines, name)
        what = row.what if isinstance(setting, bool) else f"{row.what}, {_plainly(setting)}"
        found.append(BaselineScores(name, what, row.scores, values))
        cloned = tuple(n for n, entry in policies.items() if entry.get("kind") == CLONED)
        if name == ACTION_ERROR and FEWEST <= len(cloned) < len(policies):
            of = f"{name}, clones"
            found.append(BaselineScores(of, f"{what}, cloned policies", "errors", values, cloned))
    return found


def _plainly(setting: Any) -> str:
    """A baseline's setting for a sentence."""
    if not isinstance(setting, Mapping):
        return str(setting)
    return ", ".join(f"{name}={value}" for name, value in setting.items())


def _gated(
    outcomes: Outcomes, reference: Any, seen: NDArray[np.float64], asked: dict[str, Any]
) -> GatedRanking | None:
    """The ranking by rollouts that the gate lets pass; None where nobody looked at them."""
    limit, names = outcomes.circumstances.gate, list(outcomes.eval_config.policies)
    found = None if limit is None else gated_table(seen, outcomes.imagined, limit)
    if limit is None or found is None:
        return None
    table, shares = found
    coverage = dict(zip(names, shares, strict=True))
    if not _tells(table):
        nothing = Estimate(None, None, "the gate rejects every rollout")
        return GatedRanking(limit, coverage, dict.fromkeys(names, nothing), None)
    ranking = rank(reference, table, names, **asked)
    rates = {policy.name: policy.imagined for policy in ranking.policies}
    return GatedRanking(limit, coverage, rates, ranking.coefficients)


def _assisted(around: Circumstances) -> tuple[str, ...]:
    """Which of model and judge had the simulator's state or progress."""
    had = {"the world model": around.state_assisted, "the judge": around.judge.state_assisted}
    return tuple(part for part, assisted in had.items() if assisted)


def metric_table(batches: Sequence[RolloutBatch], metric: str) -> NDArray[np.float64]:
    """A metric `[P, N]`; NaN where it is not told, and for a policy that broke off every episode.

    That is a policy that does not run here. As a failure in both worlds it would make them agree.
    """
    rows = [
        np.full(len(batch.errors), np.nan) if all(batch.errors) else batch.outcomes(metric)
        for batch in batches
    ]
    return np.array(rows, np.float64)


def _tells(table: NDArray[np.float64]) -> bool:
    """Whether any episode tells a metric `[P, N]`."""
    return bool(np.isfinite(table).any())


def _failures(batches: Sequence[RolloutBatch]) -> dict[str, list[str]]:
    """Why episodes broke off, by policy."""
    found: dict[str, list[str]] = {}
    for batch in batches:
        for message in batch.failures:
            found.setdefault(batch.policy, []).append(f"{batch.world}, {message}")
    return found


def _null_policy(outcomes: Outcomes) -> NullPolicy | None:
    """The null policy, with the judge's verdicts on its whole simulated episodes."""
    name = outcomes.options.null_policy
    if name is None or name not in outcomes.eval_config.policies:
        return None
    judged = [b.judged for b in outcomes.truth or [] if b.policy == name and b.judged is not None]
    share = float(judged[0].mean()) if judged and len(judged[0]) else None
    return NullPolicy(name, outcomes.circumstances.null_policy_moves, share)


def judge_in_simulator(outcomes: Outcomes) -> dict[str, Any] | None:
    """The judge against the simulator on this very comparison's true frames, or None.

    It tells the judge's error from the world model's: what the judge misses here is its own.
    Episodes in which a policy broke off count as failed whatever the judge saw, so they tell
    nothing of it.
    """
    batches = outcomes.truth or []
    judged = [batch.judged for batch in batches if batch.judged is not None]
    if not batches or len(judged) < len(batches):
        return None
    whole = np.array([error is None for batch in batches for error in batch.errors])
    truth = np.concatenate([batch.success for batch in batches])[whole]
    said = np.concatenate(judged)[whole]
    return Verdicts.of(truth, said).to_json()


def _films(out: Path, outcomes: Outcomes, each: int) -> tuple[Film, ...]:
    """Films that both worlds have, `each` of a kind; none where there is one world only."""
    if outcomes.truth is None or each == 0:
        return ()
    filmed = outcomes.eval_config.filmed
    return tuple(
        Film.of(joined_record(out, policy, start), CAPTIONS[kind], kind)
        for kind, policy, start in choose_films(outcomes.truth, outcomes.imagined, filmed, each)
    )


def _config_hash(path: Path) -> str:
    """Of all settings but where the results go and how many processes make them."""
    kept = {str(k): value for k, value in read_yaml(path).items() if k not in ("out", "workers")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def _own_words(out: Path) -> tuple[str, str]:
    """Title and summary that an earlier ranking was given, as they were typed."""
    own = read_yaml(out / "config.yaml")
    words = own.get("report") if isinstance(own, dict) else None
    words = words if isinstance(words, dict) else {}
    return str(words.get("title", out.name)), str(words.get("summary", ""))


def _facts(outcomes: Outcomes) -> dict[str, str]:
    """What was ranked in which worlds, for a page."""
    eval_config = outcomes.eval_config
    return {
        "environment": eval_config.env_id or "none",
        "reference": outcomes.options.reference_csv or "simulator",
        "starts": _starts(outcomes),
        "pool": eval_config.pool,
        "sampling steps": str(eval_config.sampling_steps),
        "world model": Path(eval_config.model).name,
        **({"hold": f"{hold} frames in a row"} if (hold := eval_config.hold) else {}),
    }


def _starts(outcomes: Outcomes) -> str:
    plan = outcomes.eval_config.starts
    if plan.dataset is not None:
        return f"{plan.count}, {plan.dataset}"
    length = plan.count // len(plan.blocks)
    blocks = " and ".join(f"{first} to {first + length - 1}" for first in plan.blocks)
    return f"{plan.count}, {plan.block or 'own'} block, seeds {blocks}"
