"""Charts as inline SVG. Colours come from the page's style sheet by class, so themes apply."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup, escape


@dataclass(frozen=True)
class Axes:
    """A plotting area inside an SVG, with linear scales.

    Attributes:
        width: of the SVG, in user units.
        height: likewise.
        x: (low, high) of the data on the horizontal axis.
        y: (low, high) on the vertical axis.
    """

    width: float
    height: float
    x: tuple[float, float]
    y: tuple[float, float]
    left: float = 46
    right: float = 12
    top: float = 12
    bottom: float = 42

    def px(self, value: float) -> float:
        """Horizontal position of a value."""
        low, high = self.x
        share = (value - low) / (high - low)
        return round(self.left + share * (self.width - self.left - self.right), 2)

    def py(self, value: float) -> float:
        """Vertical position of a value."""
        low, high = self.y
        share = (value - low) / (high - low)
        return round(self.height - self.bottom - share * (self.height - self.top - self.bottom), 2)

    def frame(
        self, x_label: str, y_label: str, x_ticks: Sequence[float], y_ticks: Sequence[float]
    ) -> list[Markup]:
        """Grid lines, tick labels and axis titles."""
        x0, x1 = self.left, self.width - self.right
        y0, y1 = self.height - self.bottom, self.top
        parts = []
        for tick in x_ticks:
            x = self.px(tick)
            parts.append(line(x, y0, x, y1, "grid"))
            parts.append(text(x, y0 + 16, f"{tick:g}", "tick", "middle"))
        for tick in y_ticks:
            y = self.py(tick)
            parts.append(line(x0, y, x1, y, "grid"))
            parts.append(text(x0 - 6, y + 4, f"{tick:g}", "tick", "end"))
        parts.append(text((x0 + x1) / 2, self.height - 6, x_label, "axis", "middle"))
        middle = (y0 + y1) / 2
        parts.append(
            Markup(
                '<text class="axis" text-anchor="middle" transform="translate(12 {}) '
                'rotate(-90)">{}</text>'
            ).format(middle, y_label)
        )
        return parts


def svg(width: float, height: float, label: str, parts: Sequence[Markup]) -> Markup:
    """A scalable SVG with an accessible name."""
    return Markup('<svg viewBox="0 0 {} {}" role="img" aria-label="{}">{}</svg>').format(
        width, height, label, Markup("").join(parts)
    )


def line(x0: float, y0: float, x1: float, y1: float, kind: str) -> Markup:
    """A straight line of class `kind`."""
    return Markup('<line class="{}" x1="{}" y1="{}" x2="{}" y2="{}"/>').format(
        kind, round(x0, 2), round(y0, 2), round(x1, 2), round(y1, 2)
    )


def text(x: float, y: float, words: str, kind: str, anchor: str) -> Markup:
    """A label of class `kind`."""
    return Markup('<text class="{}" x="{}" y="{}" text-anchor="{}">{}</text>').format(
        kind, round(x, 2), round(y, 2), anchor, words
    )


def polyline(points: Sequence[tuple[float, float]], kind: str) -> Markup:
    """A line through `points`."""
    path = " ".join(f"{x:.2f},{y:.2f}" for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(kind, path)


def title(words: str) -> Markup:
    """A tooltip for the element that holds it."""
    return Markup("<title>{}</title>").format(escape(words))


def nice_ticks(low: float, high: float, count: int = 5) -> list[float]:
    """About `count` round values (1, 2 or 5 times a power of ten) from low to high."""
    span = high - low
    if span <= 0:
        return [low]
    raw = span / count
    power = 10.0 ** floor(log10(raw))
    step = next((m * power for m in (1, 2, 5) if m * power >= raw), 10 * power)
    first, last = ceil(low / step - 1e-9), floor(high / step + 1e-9)
    return [round(i * step, 10) for i in range(first, last + 1)]
