"""`revisit.html`, and the same table for a terminal of 80 columns."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from worldsim.files import write_text
from worldsim.ranking.bootstrap import Estimate
from worldsim.reporting.film import Film
from worldsim.reporting.html_report import film_source, page_assets, page_environment
from worldsim.validation.revisit.report import HEADLINE, RevisitReport
from worldsim.validation.revisit.routes import CONTROL

NAME_WIDTH = 16
COLUMNS = (
    ("PSNR, dB", "Of pixels that came back after their absence, against the simulator"),
    ("gain", "dB above the arm none, scene by scene"),
    ("gap", "Share of the way from none to oracle"),
    ("off", "As the first, in frames off the way of the first visit"),
    ("own", "As the first, against the first visit of the same stream"),
    ("SSIM", "Of these pixels"),
    ("never", "PSNR of pixels that were never seen"),
    ("ctrl", "dB above the arm none on the control, all pixels"),
    ("ms", "An imagined frame of all streams of a walk"),
    ("kB", "A frame of the walk in the memory"),
)
"""Heading of each column after the arm's name, and what it tells."""
FRAMES = (
    ("PSNR", "All pixels of all imagined frames of the return, dB"),
    ("SSIM", "Of these"),
    ("LPIPS", "Of these, where weights were given"),
    ("gain", "dB above the arm none, scene by scene"),
    ("near PSNR", "The same of frames near a place and heading of the first visit"),
    ("SSIM", "Of these"),
    ("LPIPS", "Of these"),
    ("gain", "Of these"),
)
"""The same of whole frames."""


def foreword(report: RevisitReport, depth_assisted: bool) -> list[str]:
    """What must be known before the figures are read."""
    assisted = "The model is depth-assisted. " if depth_assisted else ""
    visit = {
        "shown": "The simulator shows the first visit; the return is imagined.",
        "imagined": "First visit and return are imagined, from one frame.",
    }[report.first_visit]
    return [
        f"{assisted}{visit} The way is given.",
        f"{len(report.scenes)} scenes, {len(report.walks)} walks; what came back was out of sight "
        f"for {report.gap} frames or more, with a context of {report.context}.",
    ]


def revisit_table(report: RevisitReport, depth_assisted: bool) -> RenderableType:
    """Arms by what they make of what came back, at most 80 columns wide."""
    table = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    table.add_column("arm", max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    for words, _ in COLUMNS:
        table.add_column(words, justify="right", no_wrap=True)
    for arm, cells in arm_rows(report):
        table.add_row(arm, *cells)
    frames = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    frames.add_column("whole frames", max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    rows = frame_rows(report)
    # Columns that nobody tells are no use of 80 columns.
    told = [i for i in range(len(FRAMES)) if any(cells[i] != "-" for _, cells in rows)]
    for index in told:
        frames.add_column(FRAMES[index][0], justify="right", no_wrap=True)
    for arm, cells in rows:
        frames.add_row(arm, *(cells[index] for index in told))
    routes = Table(box=None, pad_edge=False, padding=(0, 1, 0, 0), header_style="bold")
    routes.add_column("PSNR by route", max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    for route in report.routes:
        routes.add_column(route, justify="right", max_width=12)
    for arm, cells in route_rows(report):
        routes.add_row(arm, *cells)
    first = [Text(line) for line in foreword(report, depth_assisted)]
    return Group(*first, Text(), table, Text(), frames, Text(), routes)


def arm_rows(report: RevisitReport) -> list[tuple[str, list[str]]]:
    """(arm, cells of `COLUMNS`)."""
    rows = []
    for arm, cost in report.costs.items():
        region, measure = HEADLINE
        cells = [
            _interval(report.figure(arm, region, measure)),
            _plain(report.gain(arm), "{:+.1f}"),
            _plain(report.share(arm), "{:.0%}"),
            _plain(report.figure(arm, "off_path", measure), "{:.1f}"),
            _plain(report.figure(arm, region, "own"), "{:.1f}"),
            _plain(report.figure(arm, region, "ssim"), "{:.2f}"),
            _plain(report.figure(arm, "never", measure), "{:.1f}"),
            _plain(report.gain(arm, CONTROL, "all"), "{:+.1f}"),
            f"{1000 * cost.seconds:.0f}",
            f"{cost.bytes_a_frame / 1000:.1f}",
        ]
        rows.append((arm, cells))
    return rows


def frame_rows(report: RevisitReport) -> list[tuple[str, list[str]]]:
    """(arm, cells of `FRAMES`)."""
    rows = []
    for arm in report.arms:
        cells = []
        for region in ("all", "near"):
            known = report.figure(arm, region, "truth")
            cells += [
                _interval(known) if region == "all" else _plain(known, "{:.1f}"),
                _plain(report.figure(arm, region, "ssim"), "{:.2f}"),
                _plain(report.figure(arm, region, "lpips"), "{:.3f}"),
                _plain(report.gain(arm, region=region), "{:+.1f}"),
            ]
        rows.append((arm, cells))
    return rows


def route_rows(report: RevisitReport) -> list[tuple[str, list[str]]]:
    """(arm, PSNR on each route): of what came back, on the control of all pixels."""
    return [
        (
            arm,
            [
                _plain(
                    report.figure(arm, "all" if r == CONTROL else HEADLINE[0], HEADLINE[1], r),
                    "{:.1f}",
                )
                for r in report.routes
            ],
        )
        for arm in report.arms
    ]


def _plain(value: Estimate, shape: str) -> str:
    return "-" if value.value is None else shape.format(value.value)


def _interval(value: Estimate) -> str:
    return "-" if value.value is None else value.text(1).replace(", ", ",")


def write_revisit_page(
    path: Path,
    title: str,
    report: RevisitReport,
    films: Sequence[Film],
    depth_assisted: bool = False,
) -> None:
    """Write the page whole or not at all. Everything that comes from outside is escaped."""
    text = (
        page_environment()
        .get_template("revisit.html.j2")
        .render(
            title=title,
            foreword=foreword(report, depth_assisted),
            columns=COLUMNS,
            arms=[(arm, report.costs[arm].words, cells) for arm, cells in arm_rows(report)],
            frame_columns=FRAMES,
            frames=frame_rows(report),
            more=_more(report),
            routes=report.routes,
            by_route=route_rows(report),
            walks=[
                (w.route, w.scene, w.frames, w.back, f"{w.offset_m:.2f}", f"{w.turned_deg:.0f}")
                + (f"{w.shares['returned']:.0%}", f"{w.shares['never']:.1%}")
                for w in report.walks
            ],
            left_out=report.left_out,
            films=films,
            film_source=film_source,
            **page_assets("report.css"),
        )
    )
    write_text(path, text)


def _more(report: RevisitReport) -> list[tuple[str, list[str]]]:
    """(arm, figures with intervals that the first table has no room for)."""
    region = HEADLINE[0]
    return [
        (
            arm,
            [
                report.gain(arm).text(2),
                report.gain(arm, region="off_path").text(2),
                report.gain(arm, CONTROL, "all").text(2),
                report.share(arm).text(2),
                report.figure(arm, "seen", HEADLINE[1]).text(1),
                report.figure(arm, region, "lpips").text(3),
                report.figure(arm, region, "depth").text(3),
            ],
        )
        for arm in report.arms
    ]
