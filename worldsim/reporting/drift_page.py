"""`drift.html`: drift measurements side by side, one column each; needs no network."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup

from worldsim.errors import DataError
from worldsim.files import read_json, write_text
from worldsim.reporting.charts import Axes, nice_ticks, polyline, svg
from worldsim.reporting.film import Film
from worldsim.reporting.html_report import film_source, page_assets, page_environment
from worldsim.rollout.record import RolloutRecord

WIDTH, HEIGHT = 360, 220
MOST_POINTS = 300
STILL_M = 1e-5
"""A position nearer to its recorded one than this in all disturbed runs does not move."""

ROWS = (
    ("valid_horizon_first_frame", "Steps better than the first frame held", "{:.0f}"),
    ("valid_horizon_shuffled_actions", "Steps better than under shuffled actions", "{:.0f}"),
    ("psnr_model", "PSNR, mean over steps and cameras (dB)", "{:.2f}"),
    ("psnr_mean", "PSNR of whole streams (dB)", "{:.2f}"),
    ("psnr_best", "PSNR of the best stream of each episode (dB)", "{:.2f}"),
    ("psnr_moving_model", "PSNR where something moved (dB)", "{:.2f}"),
    ("ssim_model", "SSIM", "{:.3f}"),
    ("drift_luminance", "Brightness at the end, against the simulator", "{:+.1%}"),
    ("drift_saturation", "Saturation at the end", "{:+.1%}"),
    ("drift_sharpness", "Sharpness at the end", "{:+.1%}"),
    ("drift_motion", "Motion at the end", "{:+.1%}"),
    ("start_to_end_luminance", "Change of brightness from start to end", "{:.1%}"),
    ("start_to_end_saturation", "Change of saturation from start to end", "{:.1%}"),
    ("start_to_end_sharpness", "Change of sharpness from start to end", "{:.1%}"),
    ("closure_imagined", "Act and undo: imagined return against the first frame (dB)", "{:.1f}"),
    ("closure_simulated", "Act and undo: the simulator's own return (dB)", "{:.1f}"),
    ("seam_jump", "Motion at the borders of chunks, against the simulator", "{:.2f}"),
)
"""Key of the summary, its words, its format."""


@dataclass(frozen=True, eq=False)
class Column:
    """One measurement.

    Attributes:
        title: its name.
        data: what drift.json holds.
        films: simulator beside imagination.
    """

    title: str
    data: dict[str, Any]
    films: tuple[Film, ...]


def read_column(folder: Path) -> Column:
    """The measurement in a folder.

    Raises:
        DataError: there is none.
    """
    path = folder / "drift.json"
    if not path.is_file():
        raise DataError(f"{folder} holds no drift measurement; `worldsim drift out={folder} ...`")
    data = read_json(path)
    records = [RolloutRecord.load(film) for film in sorted((folder / "films").glob("*.npz"))]
    films = tuple(Film.of(record, "simulator beside imagination", "success") for record in records)
    return Column(str(data["title"]), data, films)


def write_drift_page(path: Path, columns: Sequence[Column]) -> None:
    """Write the page whole or not at all."""
    write_text(path, render_drift_page(columns))


def render_drift_page(columns: Sequence[Column]) -> str:
    """The page as text. Everything that comes from outside is escaped."""
    return (
        page_environment()
        .get_template("drift.html.j2")
        .render(
            columns=columns,
            rows=_table(columns),
            charts=[charts(column.data) for column in columns],
            film_source=film_source,
            **page_assets("report.css"),
        )
    )


def _table(columns: Sequence[Column]) -> list[tuple[str, list[str]]]:
    """(words, one cell a column) of every figure that some column has."""
    rows = [(words, [_figure(c.data, key, shape) for c in columns]) for key, words, shape in ROWS]

    def add(
        words: str, key: str, other: str, scale: float, main: tuple[float, str] = (100, "{:.1f}")
    ) -> None:
        """A row, by default of centimetres, with another figure times `scale` in brackets."""
        summaries, (factor, shape) = [column.data["summary"] for column in columns], main
        pairs = [
            (_cell(s.get(key), factor, shape), _cell(s.get(other), scale, shape)) for s in summaries
        ]
        rows.append((words, [f"{first} ({beside})" for first, beside in pairs]))

    for name in sorted({name for column in columns for name in _moving(column.data)}):
        add(
            f"{name}: distance at the end (cm), in multiples of the simulator's own divergence",
            f"{name}_error_m_end",
            f"{name}_error_over_divergence_end",
            1,
        )
        add(
            f"{name}: the same as the judge sees it in the frames (in simulated ones)",
            f"{name}_probe_error_m_end",
            f"{name}_probe_floor_m_end",
            100,
        )
        add(
            f"{name}: share of its way that the judge sees it go (in simulated frames)",
            f"{name}_probe_share_end",
            f"{name}_probe_share_floor_end",
            1,
            (1, "{:.2f}"),
        )
    return rows


def _figure(data: dict[str, Any], key: str, shape: str) -> str:
    """A figure of the summary, with its interval where there is one."""
    cell, ends = _cell(data["summary"].get(key), 1, shape), data["intervals"].get(key)
    return cell if ends is None else f"{cell} [{', '.join(shape.format(end) for end in ends)}]"


def _moving(data: dict[str, Any]) -> list[str]:
    """Positions that a disturbance of the start moves; the others are fixed and say nothing."""
    curves = data["divergence_m"].items()
    return [name for name, curve in curves if max((v or 0.0 for v in curve), default=0.0) > STILL_M]


def _cell(value: float | None, scale: float, shape: str = "{:.1f}") -> str:
    return "n/a" if value is None else shape.format(scale * value)


def charts(data: dict[str, Any]) -> list[tuple[str, Markup]]:
    """(caption, chart) of one measurement: errors of pictures, appearance, places."""
    psnr = {name: _mean_of_views(rows) for name, rows in data["open_loop"]["psnr"].items()}
    lines = [("model", "model"), ("first_frame", "copy_last"), ("shuffled_actions", "shuffled")]
    drawn = [("PSNR (dB)", [(psnr[name], kind) for name, kind in lines])]
    drawn += [
        (name.capitalize(), [(data["imagined"][name], "model"), (data["simulated"][name], "truth")])
        for name in data["imagined"]
    ]

    def add(caption: str, name: str, ours: dict[str, Any], truth: dict[str, Any]) -> None:
        pair = [(_centimetres(ours[name]), "model"), (_centimetres(truth[name]), "truth")]
        drawn.append((f"{name}{caption}: distance (cm)", pair))

    moving = _moving(data)
    for name in moving:
        add("", name, data["open_loop"]["error_m"], data["divergence_m"])
    for name in moving:
        if name in data["probe_error_m"]:
            add(" as judged", name, data["probe_error_m"], data["probe_floor_m"])
    return [(caption, _chart(caption, curves, data["fps"])) for caption, curves in drawn]


def _mean_of_views(rows: list[list[float | None]]) -> list[float | None]:
    known = [[value for value in row if value is not None] for row in rows]
    return [float(np.mean(row)) if row else None for row in known]


def _centimetres(curve: list[float | None]) -> list[float | None]:
    return [None if value is None else 100.0 * value for value in curve]


def _chart(caption: str, curves: list[tuple[list[float | None], str]], fps: float) -> Markup:
    known = [value for curve, _ in curves for value in curve if value is not None]
    low, high = (min(known), max(known)) if known else (0.0, 1.0)
    margin = 0.08 * (high - low) or 0.5
    seconds = max(len(curve) for curve, _ in curves) / fps
    axes = Axes(WIDTH, HEIGHT, (0.0, seconds), (low - margin, high + margin), 62, 8)
    parts = axes.frame("s", caption, nice_ticks(0.0, seconds, 6), nice_ticks(*axes.y))
    for curve, kind in reversed(curves):
        stride = max(1, len(curve) // MOST_POINTS)
        points = [
            (axes.px((step + 1) / fps), axes.py(value))
            for step, value in list(enumerate(curve))[::stride]
            if value is not None
        ]
        parts.append(polyline(points, f"curve {kind}"))
    return svg(WIDTH, HEIGHT, f"{caption} over time", parts)
