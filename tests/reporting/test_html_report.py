"""report.html: well-formed, self-contained, escaped, complete."""

import re
from base64 import b64decode, b64encode
from dataclasses import replace
from hashlib import sha256
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest

from worldsim.errors import UsageError
from worldsim.ranking.baseline_rows import COMPARED
from worldsim.ranking.rank import rank
from worldsim.ranking.report import RankingReport
from worldsim.reporting.film import Film
from worldsim.reporting.html_report import (
    TEMPLATES,
    ReportData,
    Section,
    render_report,
    write_report,
)
from worldsim.reporting.open_loop import HorizonCurves
from worldsim.rollout.record import RolloutRecord

VOID = {"meta", "br", "img", "input", "link", "hr"}


class Page(HTMLParser):
    """Checks nesting and collects tags with their attributes and the visible text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words = ""
        self.feed(text)
        self.close()
        assert not self.open, f"unclosed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open[-1] == tag, f"</{tag}> closes {self.open[-3:]}"
        self.open.pop()

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] not in ("script", "style"):
            self.words += data

    def count(self, tag: str) -> int:
        return sum(name == tag for name, _ in self.tags)


@pytest.fixture
def report(ranking: RankingReport, rollout: RolloutRecord) -> ReportData:
    """Two sections with curves, and films in one of them."""
    curves = tuple(
        HorizonCurves(camera, (30.0, 25.0, None, 22.0), (24.0, 20.0, 19.0, 18.0), (25.0, 19.0))
        for camera in rollout.cameras
    )
    film = Film.of(rollout, "The judge says yes & the simulator <no>.", "disagreement")
    sections = (
        Section("From scratch", ranking, "9 minutes of training.", curves),
        Section(
            "Shipped",
            ranking,
            "",
            curves,
            (film, film),
            {"parameters": "3.2M"},
            ("0.02 m off & on",),
        ),
    )
    return ReportData("Push", sections, "worldsim rank out=x", "abc123", {"torch": "2.13"})


def test_page_is_well_formed_and_complete(report: ReportData) -> None:
    page = Page(render_report(report))
    assert page.count("video") == 2
    assert page.count("main") == 1 and page.count("h1") == 1
    for expected in (
        report.sections[0].ranking.verdict,
        "From scratch",
        "3.2M",
        "0.02 m off & on",
        "worldsim rank out=x",
        "abc123",
        "2.13",
        "TPR 0.970",
        "12.3 mm",
        "within checkpoints",
        "1 broke off",
        "ValueError: <b>bad</b> action",
        "copy last frame",
        "a_very_long_name_",
    ):
        assert expected in page.words, expected


def test_no_heading_stands_twice(ranking: RankingReport) -> None:
    """As `worldsim rank` makes a page: the ranking has the title of the page."""
    section = Section("Ranking", ranking)
    headings = re.findall(r"<h[1-6]>(.*?)</h", render_report(ReportData("Ranking", (section,))))
    assert len(set(headings)) == len(headings) and "This comparison" in headings
    assert [heading for heading in headings if "Ranking" in heading] == ["Ranking"]
    three = ReportData("Ranking", (section, section, Section("Yesterday", ranking)))
    assert three.headings == ["This comparison", "Comparison 2", "Yesterday"]


def test_the_interval_over_policies_stands_beside_the_one_over_starts(report: ReportData) -> None:
    text = render_report(report)
    header = text[text.index('class="agreement"') :]
    names = re.findall(r'<th scope="col">([^<]*)</th>', header[: header.index("</thead>")])
    assert names[1:3] == ["all policies", "policies resampled too"]


def test_page_asks_nothing_of_the_network(report: ReportData) -> None:
    text = render_report(report)
    assert not re.search(r"https?:|//\w+\.\w|@import|url\(", text)
    page = Page(text)
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base", "form")
        for name in ("src", "href", "srcset", "poster", "action", "data"):
            value = attributes.get(name)
            assert value is None or value.startswith(("data:video/mp4;base64,", "#")), (tag, name)
    wanted = "Content-Security-Policy"
    policy = [a["content"] for _, a in page.tags if a.get("http-equiv") == wanted]
    assert policy and "default-src 'none'" in (policy[0] or "")


def test_page_runs_its_own_script_only(report: ReportData) -> None:
    text = render_report(report)
    (policy,) = (a["content"] or "" for _, a in Page(text).tags if "http-equiv" in a)
    directives = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    for tag in ("script", "style"):
        (inline,) = re.findall(f"<{tag}>(.*?)</{tag}>", text, re.DOTALL)
        digest = b64encode(sha256(inline.encode()).digest()).decode()
        assert directives[f"{tag}-src"] == f"'sha256-{digest}'"


def test_names_and_messages_are_escaped(report: ReportData) -> None:
    page = Page(render_report(report))
    assert page.count("script") == 1
    assert page.count("b") == 0 and page.count("no") == 0
    assert "<script>alert(1)</script>" in page.words


def test_every_baseline_is_a_row_with_its_margins(compared: RankingReport) -> None:
    page = render_report(ReportData("Ranking", (Section("Ranking", compared),)))
    words = " ".join(Page(page).words.split())
    table = page[page.index('class="agreement baselines"') :].split("</table>")[0]
    assert table.count("<tr>") == 2 + len(compared.baselines)
    assert "the &lt;b&gt;first&lt;/b&gt; frame" in table and "Baselines" in words
    rows = table.split("<tr>")[3:]
    for row, text in zip(compared.baselines, rows, strict=True):
        ahead = "loses" if row.change else "behind by"
        cells = text.split("<td")[1:]  # a statistic each, then the number of policies
        for name, cell in zip(COMPARED, cells, strict=False):
            assert f">{ahead} {row.margins[name].value:.3f}</small>" in cell
        assert len(cells) == len(COMPARED) + 1
    without = render_report(ReportData("R", (Section("R", replace(compared, baselines=())),)))
    assert "agreement baselines" not in without


def test_films_are_embedded_whole(report: ReportData) -> None:
    page = Page(render_report(report))
    sources = [attributes["src"] or "" for tag, attributes in page.tags if tag == "video"]
    assert [b64decode(source.split(",", 1)[1]) for source in sources] == [
        film.mp4 for film in report.sections[1].films
    ]


def test_every_policy_is_a_row_and_a_point(report: ReportData) -> None:
    page = Page(render_report(report))
    for policy in report.sections[0].ranking.policies:
        marks = [tag for tag, a in page.tags if a.get("data-policy") == policy.name]
        assert sorted(marks) == ["g", "g", "tr", "tr"]  # two sections


def test_scatter_places_points_by_reference_then_imagined(ranking: RankingReport) -> None:
    text = render_report(ReportData("x", (Section("x", ranking),)))
    circles = re.findall(r'class="point" cx="([\d.]+)" cy="([\d.]+)"', text)
    assert len(circles) == 8
    found = np.array(circles, dtype=float)
    ordered = ranking.ordered()
    reference = np.array([policy.reference.value for policy in ordered], dtype=float)
    imagined = np.array([policy.imagined.value for policy in ordered], dtype=float)
    assert np.polyfit(reference, found[:, 0], 1)[0] > 0
    assert np.corrcoef(reference, found[:, 0])[0, 1] == pytest.approx(1, abs=1e-6)
    assert np.corrcoef(imagined, found[:, 1])[0, 1] == pytest.approx(-1, abs=1e-6)


@pytest.mark.parametrize("policies", [0, 1, 3])
def test_degenerate_rankings_still_make_a_page(policies: int) -> None:
    ones = np.ones((policies, 5))
    report = rank(ones, ones, [f"p{i}" for i in range(policies)], bootstrap_samples=10)
    page = Page(render_report(ReportData("x", (Section("x", report),))))
    assert "n/a" in page.words
    assert not re.search(r"\bnan\b|\bNone\b", page.words)


def test_curves_with_gaps_and_without_values(ranking: RankingReport) -> None:
    gaps = HorizonCurves("a", (None, 3.0, None), (2.0, None, 2.0))
    empty = HorizonCurves("b", (None, None), ())
    page = Page(render_report(ReportData("x", (Section("x", ranking, curves=(gaps, empty)),))))
    assert page.count("polyline") == 3
    assert "polyline" in [tag for tag, _ in page.tags] and "b</figcaption>" not in page.words


def test_write_is_whole(report: ReportData, tmp_path: Path) -> None:
    write_report(tmp_path / "report.html", report)
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_wrong_requests(report: ReportData) -> None:
    with pytest.raises(UsageError, match="at least one ranking"):
        replace(report, sections=())
    with pytest.raises(UsageError, match="not an MP4"):
        Film("a", "", "success", b"GIF89a......")


def luminance(colour: str) -> float:
    """WCAG 2.1 relative luminance of `#rrggbb`."""
    shares = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [s / 12.92 if s <= 0.04045 else ((s + 0.055) / 1.055) ** 2.4 for s in shares]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize("theme", [0, 1], ids=["light", "dark"])
def test_text_has_accessible_contrast(theme: int) -> None:
    blocks = re.findall(r":root \{(.*?)\}", (TEMPLATES / "report.css").read_text(), re.DOTALL)
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6})", blocks[theme]))
    pairs = [
        (ink, paper) for ink in ("ink", "soft", "reference", "bad") for paper in ("page", "card")
    ]
    pairs += [("good", "good-fill"), ("bad", "bad-fill")]
    pairs += [(line, "page") for line in ("imagined", "shuffled", "copy")]
    for ink, paper in pairs:
        low, high = sorted((luminance(colours[ink]), luminance(colours[paper])))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (ink, paper)
