"""Open-loop quality by horizon: model, repeated frame and wrong actions."""

from collections.abc import Sequence

from markupsafe import Markup

from worldsim.reporting.charts import Axes, nice_ticks, polyline, svg
from worldsim.reporting.report_data import Curve, HorizonCurves

WIDTH, HEIGHT = 360, 230

LINES = (("model", "model"), ("copy_last", "copy last frame"), ("shuffled", "shuffled actions"))
"""Attribute of `HorizonCurves`, which is also the style class, and its name on the page."""


def horizon_chart(curves: HorizonCurves) -> Markup | None:
    """One camera's lines over steps 1, 2, ...; None if no value is known."""
    lines: Sequence[tuple[str, Curve]] = [(name, getattr(curves, name)) for name, _ in LINES]
    known = [value for _, curve in lines for value in curve if value is not None]
    if not known:
        return None
    steps = max(len(curve) for _, curve in lines)
    margin = 0.08 * (max(known) - min(known)) or 0.5
    axes = Axes(
        WIDTH, HEIGHT, (0.5, steps + 0.5), (min(known) - margin, max(known) + margin), right=8
    )
    x_ticks = [tick for tick in nice_ticks(1, steps, 6) if tick == int(tick)]
    parts = axes.frame("step", curves.metric, x_ticks, nice_ticks(*axes.y))
    for name, curve in reversed(lines):
        for run in _runs(curve):
            points = [(axes.px(step), axes.py(value)) for step, value in run]
            if len(points) == 1:  # a line of one point would not show
                points = [(points[0][0] - 2, points[0][1]), (points[0][0] + 2, points[0][1])]
            parts.append(polyline(points, f"curve {name}"))
    return svg(WIDTH, HEIGHT, f"{curves.metric} by step, camera {curves.camera}", parts)


def _runs(curve: Curve) -> list[list[tuple[int, float]]]:
    """Stretches of known values as (step, value), steps counted from 1."""
    runs: list[list[tuple[int, float]]] = [[]]
    for step, value in enumerate(curve, start=1):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((step, value))
    return [run for run in runs if run]
