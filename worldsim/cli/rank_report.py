"""`ranking.json` and `report.html` out of a ranking's folder; nothing is rolled out here."""

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from worldsim.errors import DataError
from worldsim.files import read_json, read_yaml, write_figures
from worldsim.ranking.bootstrap import Estimate
from worldsim.ranking.outcomes import Outcomes, read_outcomes
from worldsim.ranking.rank import judge_in_simulator, rank_results
from worldsim.ranking.report import RankingReport
from worldsim.reporting.html_report import write_report
from worldsim.reporting.report_data import Film, HorizonCurves, ReportData, Section
from worldsim.rollout.dependencies import software
from worldsim.rollout.film_store import Shown, choose_films, joined_record

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
    outcomes = read_outcomes(out)
    section = _section(out, outcomes, str(report["title"]), str(report["summary"]), films)
    write_figures(out / "ranking.json", ranking_json(outcomes, section.ranking))
    command = " ".join(["worldsim", *sys.argv[1:]])
    config = _config_hash(out / "config.yaml")
    write_page(out / "report.html", str(report["title"]), [section, *earlier], command, config)
    return section.ranking


def earlier_sections(folders: Sequence[str], films: int) -> list[Section]:
    """Earlier rankings as sections of a page, by their own words.

    Raises:
        UsageError: a folder holds no ranking.
        DataError: its results are missing or broken.
    """
    return [
        _section(folder, read_outcomes(folder), *_own_words(folder), films)
        for folder in map(Path, folders)
    ]


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
    page = ReportData(
        title=title,
        sections=tuple(sections),
        command=command,
        config_hash=config_hash,
        versions=software(),
    )
    write_report(path, page)


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


def section_of(outcomes: Outcomes, title: str, summary: str = "") -> Section:
    """A ranking without films, such as one of several folders."""
    curves, notes = open_loop_quality(Path(outcomes.eval_config.model))
    return Section(
        title=title,
        ranking=rank_results(outcomes),
        summary=summary,
        curves=curves,
        facts=_facts(outcomes),
        notes=notes,
    )


def _section(out: Path, outcomes: Outcomes, title: str, summary: str, films: int) -> Section:
    shown = tuple(_film(out, each) for each in _shown(outcomes, films))
    return replace(section_of(outcomes, title, summary), films=shown)


def _shown(outcomes: Outcomes, films: int) -> list[Shown]:
    """Films that both worlds have; none where there is one world only."""
    if outcomes.truth is None or films == 0:
        return []
    return choose_films(outcomes.truth, outcomes.imagined, outcomes.eval_config.filmed, films)


def _film(out: Path, shown: Shown) -> Film:
    record = joined_record(out, shown.policy, shown.start, ("simulator", "imagination"))
    return Film.of(record, CAPTIONS[shown.kind], shown.kind)


def _facts(outcomes: Outcomes) -> dict[str, str]:
    """What was ranked in which worlds, for a page."""
    eval_config = outcomes.eval_config
    return {
        "environment": eval_config.env_id or "none",
        "reference": outcomes.options.reference_csv or "simulator",
        "starts": _starts(outcomes),
        "sampling steps": str(eval_config.sampling_steps),
        "world model": Path(eval_config.model).name,
    }


def _starts(outcomes: Outcomes) -> str:
    plan = outcomes.eval_config.starts
    if plan.dataset is not None:
        return f"{plan.count}, {plan.dataset}"
    length = plan.count // len(plan.blocks)
    blocks = " and ".join(f"{first} to {first + length - 1}" for first in plan.blocks)
    return f"{plan.count}, seeds {blocks}"


def open_loop_quality(model: Path) -> tuple[tuple[HorizonCurves, ...], tuple[str, ...]]:
    """Open-loop quality by step and in words, where training left a `validation.json`."""
    found = [
        path
        for path in (model / "validation.json", model.parent / "validation.json")
        if path.is_file()
    ]
    if not found:
        return (), ()
    data = read_json(found[0])
    try:
        return _curves(data), _notes(data)
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"{found[0]} is no open-loop validation: {error}") from error


def _curves(validation: dict[str, Any]) -> tuple[HorizonCurves, ...]:
    psnr = validation["psnr"]
    return tuple(
        HorizonCurves(
            camera=str(camera),
            model=tuple(row[view] for row in psnr["model"]),
            copy_last=tuple(row[view] for row in psnr["first_frame"]),
            shuffled=tuple(row[view] for row in psnr["shuffled_actions"]),
        )
        for view, camera in enumerate(validation["cameras"])
    )


def _notes(validation: dict[str, Any]) -> tuple[str, ...]:
    summary, swap = validation["summary"], validation.get("swap")
    ends = validation["intervals"].get("psnr_moving_model")
    moved = Estimate(summary["psnr_moving_model"], ends).text(1)
    held, still = (
        Estimate(summary[name], None).text(1)
        for name in ("psnr_moving_first_frame", "psnr_static_model")
    )
    moving = (
        f"Where something moved since the first frame: {moved} dB over "
        f"{validation['episodes'][0]} episodes, "
        f"the first frame held {held} dB; elsewhere {still} dB."
    )
    if swap is None:
        return (moving,)
    swapped = (
        f"Under the actions of another episode the simulator's end effector is "
        f"{swap['effect_m']:.3f} m from where its own actions take it, on average; the imagined "
        f"one is {swap['followed_m']:.3f} m from the simulator's"
    )
    if "seen_m" in swap:
        swapped += (
            f", and the one in the imagined frames, as the model's head reads them, "
            f"{swap['seen_m']:.3f} m"
        )
    swapped += "."
    return moving, swapped
