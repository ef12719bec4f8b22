"""`ranking.json` and `report.html` out of a ranking's folder; nothing is rolled out here."""

import hashlib
import json
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from omegaconf import OmegaConf

from worldsim.config import build
from worldsim.errors import DataError, UsageError
from worldsim.evaluation.comparison import Comparison
from worldsim.evaluation.estimate import Estimate
from worldsim.evaluation.film_store import Shown, choose_films, joined_record
from worldsim.evaluation.paired import results
from worldsim.evaluation.ranked import RankingOptions, judge_in_simulator, rank_results
from worldsim.evaluation.ranking_report import RankingReport
from worldsim.files import read_json, write_figures
from worldsim.reporting.html_report import write_report
from worldsim.reporting.report_data import Film, HorizonCurves, ReportData, Section

PACKAGES = ("worldsim", "torch", "numpy", "mujoco", "gymnasium")
CAPTIONS = {
    "success": "The policy succeeds in the simulator and in imagination.",
    "failure": "It fails in both.",
    "disagreement": "The two worlds end differently.",
}


def write_ranking(out: Path, report: Mapping[str, Any], films: int) -> RankingReport:
    """Rank the results under `out` and write `ranking.json` and `report.html` there.

    Args:
        out: folder of a ranking whose rollouts are all there.
        report: keys `title`, `summary` and `also` of the config.
        films: of each kind in the report.

    Raises:
        DataError: results are missing.
        UsageError: a folder in `also` holds no ranking.
    """
    comparison, options = _read(out)
    ranking = rank_results(comparison, out, options)
    watched = judge_in_simulator(comparison, out) if len(options.worlds) == 2 else None
    data = ranking.to_json()
    if watched is not None:
        data["judge"] = dict(data["judge"]) | {"in_this_simulation": watched}
    write_figures(out / "ranking.json", data)
    sections = [_section(out, ranking, str(report["title"]), str(report["summary"]), films)]
    for folder in map(Path, report["also"]):
        title, summary = _own_words(folder)
        sections.append(_section(folder, _ranking(folder), title, summary, films))
    page = ReportData(
        title=str(report["title"]),
        sections=tuple(sections),
        command=" ".join(["worldsim", *sys.argv[1:]]),
        config_hash=_config_hash(out / "config.yaml"),
        versions={name: found for name in PACKAGES if (found := _version(name))},
    )
    write_report(out / "report.html", page)
    return ranking


def _config_hash(path: Path) -> str:
    """Of all settings but where the results go and how many processes make them."""
    config = OmegaConf.to_container(OmegaConf.load(path))
    assert isinstance(config, dict)
    kept = {str(key): value for key, value in config.items() if key not in ("out", "workers")}
    return hashlib.sha256(json.dumps(kept, sort_keys=True).encode()).hexdigest()[:16]


def _read(out: Path) -> tuple[Comparison, RankingOptions]:
    path = out / "comparison.json"
    if not path.is_file():
        raise UsageError(f"{out} holds no ranking (no {path.name}); `worldsim rank out={out}`")
    data = read_json(path)
    return (
        build(Comparison, data["comparison"], str(path)),
        build(RankingOptions, data["options"], str(path)),
    )


def _own_words(out: Path) -> tuple[str, str]:
    """Title and summary that an earlier ranking was given."""
    own = OmegaConf.load(out / "config.yaml")
    title = OmegaConf.select(own, "report.title", default=out.name)
    return str(title), str(OmegaConf.select(own, "report.summary", default=""))


def _ranking(out: Path) -> RankingReport:
    comparison, options = _read(out)
    return rank_results(comparison, out, options)


def _section(out: Path, ranking: RankingReport, title: str, summary: str, films: int) -> Section:
    comparison, options = _read(out)
    curves, notes = open_loop_quality(Path(comparison.model))
    return Section(
        title=title,
        ranking=ranking,
        summary=summary,
        curves=curves,
        films=tuple(_film(out, shown) for shown in _shown(comparison, out, options, films)),
        facts=_facts(comparison, options),
        notes=notes,
    )


def _shown(comparison: Comparison, out: Path, options: RankingOptions, films: int) -> list[Shown]:
    """Films that both worlds have; none where there is one world only."""
    if len(options.worlds) < 2:
        return []
    truth = results(comparison, out, "simulator")
    imagined = results(comparison, out, "imagination")
    return choose_films(truth, imagined, comparison.filmed, films)


def _film(out: Path, shown: Shown) -> Film:
    record = joined_record(out, shown.policy, shown.start, ("simulator", "imagination"))
    return Film.of(record, CAPTIONS[shown.kind], shown.kind)


def _facts(comparison: Comparison, options: RankingOptions) -> dict[str, str]:
    starts = comparison.starts
    origin = starts.dataset or f"seeds {starts.seed} to {starts.seed + starts.count - 1}"
    return {
        "environment": comparison.env_id or "none",
        "reference": options.reference_csv or "simulator",
        "starts": f"{starts.count}, {origin}",
        "sampling steps": str(comparison.sampling_steps),
        "world model": Path(comparison.model).name,
    }


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


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None
