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

from worldsim.cli.rank_courses import journeys, map_panels
from worldsim.cli.rank_results import rank_results, walked
from worldsim.files import read_yaml, write_figures
from worldsim.judge.report import Verdicts
from worldsim.ranking.report import RankingReport
from worldsim.reporting.film import Film
from worldsim.reporting.html_report import ReportData, Section, write_report
from worldsim.reporting.open_loop import read_open_loop
from worldsim.rollout.eval_config import software
from worldsim.rollout.film_store import choose_films, joined_record
from worldsim.rollout.results import Outcomes, read_outcomes

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
    filmed, found = outcomes.eval_config.filmed, []
    seen = journeys(outcomes.eval_config, filmed) if walked(outcomes) else {}
    for kind, policy, start in choose_films(outcomes.truth, outcomes.imagined, filmed, each):
        panel = map_panels(outcomes, seen, policy, start)
        record = replace(joined_record(out, policy, start), panel=panel)
        found.append(Film.of(record, CAPTIONS[kind], kind))
    return tuple(found)


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
