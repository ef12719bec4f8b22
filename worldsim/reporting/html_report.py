"""`report.html`: one page that needs no network, with tables, charts and films inside."""

from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from worldsim.errors import UsageError
from worldsim.files import write_text
from worldsim.ranking.baseline_rows import COMPARED
from worldsim.ranking.correlation import MMRV_RULE, Coefficients
from worldsim.ranking.judging import depth_rows, judge_rates
from worldsim.ranking.report import RankingReport
from worldsim.ranking.verdict import foreword
from worldsim.reporting.charts import interval_strip, scatter, value_range
from worldsim.reporting.film import Film
from worldsim.reporting.open_loop import LINES, HorizonCurves, horizon_chart

TEMPLATES = Path(__file__).parent / "templates"

COEFFICIENTS = (
    ("Pearson r", "pearson", "1 is perfect"),
    ("Spearman rho", "spearman", "1 is perfect"),
    ("Kendall tau-b", "kendall", "1 is perfect"),
    ("MMRV, < as in the paper", "mmrv", "0 is perfect"),
    ("MMRV, > as in the code", "mmrv_code", "0 is perfect"),
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
class Section:
    """One ranking on the page.

    Attributes:
        title: such as "Model trained from scratch".
        ranking: what `rank` returned.
        summary: one or two sentences on the model and the task.
        curves: per-camera quality by horizon.
        films: side by side, in the order to show.
        facts: further {label: value} lines about model, data and time.
        notes: sentences to stand under the curves.
    """

    title: str
    ranking: RankingReport
    summary: str = ""
    curves: tuple[HorizonCurves, ...] = ()
    films: tuple[Film, ...] = ()
    facts: Mapping[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class ReportData:
    """A whole page.

    Attributes:
        title: of the page.
        sections: one or more rankings.
        command: the command line that made it.
        config_hash: of the resolved configuration.
        versions: {package: version}.
    """

    title: str
    sections: tuple[Section, ...]
    command: str = ""
    config_hash: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.sections:
            raise UsageError("a report needs at least one ranking")

    @property
    def headings(self) -> list[str]:
        """Of each section: its title, unless the page or a section before has the same."""
        found: list[str] = []
        for number, section in enumerate(self.sections, start=1):
            own = "This comparison" if number == 1 else f"Comparison {number}"
            found.append(own if section.title in (self.title, *found) else section.title)
        return found


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
        agreement=_agreement,
        foreword=foreword,
        coefficients=COEFFICIENTS,
        compared={name: label for label, name, _ in COEFFICIENTS if name in COMPARED},
        judge_rates=judge_rates,
        depth_rows=depth_rows,
        film_source=film_source,
        kinds=KINDS,
        mmrv_rule=MMRV_RULE,
    )


def _agreement(ranking: RankingReport) -> list[tuple[str, Coefficients]]:
    """(heading, coefficients) of the ranked metric; those of others stand with their means."""
    sets = [("all policies", ranking.coefficients)]
    sets.append(("policies resampled too", ranking.over_policies))
    sets += [(f"within {name}", group.coefficients) for name, group in ranking.groups.items()]
    if ranking.corrected is not None:
        sets.append(("judge-corrected", ranking.corrected))
    return sets


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
