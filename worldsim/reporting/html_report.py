"""`report.html`: one page that needs no network, with tables, charts and films inside."""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from worldsim.files import write_text
from worldsim.ranking.bootstrap import Estimate
from worldsim.ranking.coefficients import Coefficients
from worldsim.ranking.correlation import MMRV_RULE
from worldsim.ranking.report import RankingReport
from worldsim.reporting.charts import LINES, horizon_chart, interval_strip, scatter, value_range
from worldsim.reporting.report_data import Film, ReportData, Section

TEMPLATES = Path(__file__).parent / "templates"

COEFFICIENTS = (
    ("Pearson r", "pearson", "1 is perfect"),
    ("Spearman rho", "spearman", "1 is perfect"),
    ("Kendall tau-b", "kendall", "1 is perfect"),
    ("MMRV", "mmrv", "0 is perfect"),
    ("Pairs in the right order", "pairwise_accuracy", "1 is perfect"),
    ("Rate lost by choosing in imagination", "selection_regret", "0 is perfect"),
    ("Calibration slope", "slope", "1 is calibrated"),
    ("Calibration intercept", "intercept", "0 is calibrated"),
    ("Bias, imagined - reference", "bias", "0 is unbiased"),
    ("Mean absolute error", "mae", "0 is perfect"),
)

KINDS = {
    "success": "Success in both worlds",
    "failure": "Failure in both worlds",
    "disagreement": "Worlds disagree",
}


@dataclass(frozen=True)
class CoefficientRow:
    """One line of the agreement table."""

    label: str
    hint: str
    cells: tuple[Estimate, ...]


def write_report(path: Path, data: ReportData) -> None:
    """Render `data` and write it whole or not at all."""
    write_text(path, render_report(data))


def page_environment() -> Environment:
    """Where the templates of pages are; what comes from outside is escaped."""
    return Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def page_assets(style: str, script: str = "") -> dict[str, Markup | str]:
    """What a template puts around a page: its `style`, `script` and content security `policy`.

    Args:
        style: file of the style sheet, among the templates.
        script: file of the script; empty for none.
    """
    texts = [
        (TEMPLATES / name).read_text(encoding="utf-8") if name else "" for name in (style, script)
    ]
    policy = content_policy(*texts, media_src="data:")
    return {"style": Markup(texts[0]), "script": Markup(texts[1]), "policy": policy}


def render_report(data: ReportData) -> str:
    """The page as text. Everything that comes from outside is escaped."""
    environment = page_environment()
    environment.filters["percent"] = _percent
    environment.filters["number"] = _number
    return environment.get_template("report.html.j2").render(
        data=data,
        sections=data.sections,
        **page_assets("report.css", "report.js"),
        scatter=scatter,
        strip=interval_strip,
        value_range=value_range,
        charts=_charts,
        line_names=LINES,
        agreement_columns=_agreement_columns,
        agreement_rows=_agreement_rows,
        film_source=film_source,
        kinds=KINDS,
        mmrv_rule=MMRV_RULE,
    )


def _agreement_sets(ranking: RankingReport) -> list[tuple[str, Coefficients]]:
    """Coefficients of the ranked metric; those of the others stand with their means."""
    sets = [("all policies", ranking.coefficients)]
    sets.append(("policies resampled too", ranking.over_policies))
    sets += [(f"within {name}", group.coefficients) for name, group in ranking.groups.items()]
    if ranking.corrected is not None:
        sets.append(("judge-corrected", ranking.corrected))
    return sets


def _agreement_columns(ranking: RankingReport) -> list[str]:
    return [name for name, _ in _agreement_sets(ranking)]


def _agreement_rows(ranking: RankingReport) -> list[CoefficientRow]:
    sets = [one for _, one in _agreement_sets(ranking)]
    return [
        CoefficientRow(label, hint, tuple(getattr(one, name) for one in sets))
        for label, name, hint in COEFFICIENTS
    ]


def _charts(section: Section) -> list[tuple[str, Markup]]:
    """(camera, chart) of the curves that hold a value."""
    drawn = [(curves.camera, horizon_chart(curves)) for curves in section.curves]
    return [(camera, chart) for camera, chart in drawn if chart is not None]


def film_source(film: Film) -> str:
    """A film as the source of a `video` element."""
    return "data:video/mp4;base64," + b64encode(film.mp4).decode("ascii")


def _percent(value: float | None) -> str:
    return "n/a" if value is None else f"{value:.0%}"


def _number(value: float | None, digits: int = 2) -> str:
    return "n/a" if value is None else f"{value:.{digits}f}"


def content_policy(style: str, script: str = "", **sources: str) -> str:
    """The policy of a page with one inline style sheet and at most one inline script.

    Args:
        style: text between the `style` tags, to the letter.
        script: text between the `script` tags; empty for none.
        sources: further directives, `media_src="data:"` say.
    """
    directives = {
        "default-src": "'none'",
        "base-uri": "'none'",
        "form-action": "'none'",
        "style-src": _hash(style),
        "script-src": _hash(script) if script else "'none'",
        **{name.replace("_", "-"): value for name, value in sources.items()},
    }
    return "; ".join(f"{name} {value}" for name, value in directives.items())


def _hash(text: str) -> str:
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
