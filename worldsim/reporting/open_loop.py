"""Open-loop quality by horizon: what a model's `validation.json` says, in curves and words."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from markupsafe import Markup

from worldsim.errors import DataError
from worldsim.files import read_json
from worldsim.ranking.bootstrap import Estimate
from worldsim.reporting.charts import Axes, nice_ticks, polyline, svg

Curve = tuple[float | None, ...]
"""One value per step after the start; None where it is unknown."""

WIDTH, HEIGHT = 360, 230

LINES = (("model", "model"), ("copy_last", "copy last frame"), ("shuffled", "shuffled actions"))
"""Attribute of `HorizonCurves`, which is also the style class, and its name on the page."""


@dataclass(frozen=True)
class HorizonCurves:
    """Open-loop quality against truth by step, of one camera.

    Attributes:
        camera: its name.
        model: of the imagined frames.
        copy_last: of repeating the last given frame.
        shuffled: of frames imagined under another episode's actions; may be empty.
        metric: what is measured, and its unit.
    """

    camera: str
    model: Curve
    copy_last: Curve
    shuffled: Curve = ()
    metric: str = "PSNR (dB)"


def read_open_loop(path: Path) -> tuple[tuple[HorizonCurves, ...], tuple[str, ...]]:
    """Open-loop quality by step, and in words, of a `validation.json`.

    Raises:
        DataError: the file holds something else.
    """
    data = read_json(path)
    try:
        return _curves(data), _notes(data)
    except (KeyError, TypeError, IndexError) as error:
        raise DataError(f"{path} is no open-loop validation: {error}") from error


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
