"""Charts as inline SVG. Colours come from the page's style sheet by class, so themes apply."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, floor, log10

from markupsafe import Markup, escape

from worldsim.ranking.bootstrap import Estimate
from worldsim.ranking.report import PolicyResult, RankingReport


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


SIZE = 440
LABEL_SPOTS = [
    (side * dx, dy)
    for dx, dy in ((9, -7), (9, 15), (16, 4), (14, -18), (14, 26), (26, -8), (26, 16))
    for side in (1, -1)
]
"""Where a label may stand from its point, the nearest first."""

LABEL_BOX = (15, 13)
STRIP_WIDTH, STRIP_HEIGHT, STRIP_PAD = 140.0, 26.0, 6.0


def scatter(report: RankingReport) -> Markup:
    """Imagined against reference means with both intervals, numbered by place in the table."""
    low, high = value_range(report)
    room = 0.03 * (high - low)
    axes = Axes(SIZE, SIZE, (low - room, high + room), (low - room, high + room))
    ticks, label = nice_ticks(low, high), axis_label(report)
    parts = axes.frame(f"reference {label}", f"imagined {label}", ticks, ticks)
    parts.append(line(axes.px(low), axes.py(low), axes.px(high), axes.py(high), "diagonal"))
    slope, intercept = report.coefficients.slope.value, report.coefficients.intercept.value
    if slope is not None and intercept is not None and abs(slope) > 1e-6:
        parts.append(_fit(axes, slope, intercept, (low, high)))
    points = [
        (place, policy, axes.px(policy.reference.value), axes.py(policy.imagined.value))
        for place, policy in enumerate(report.ordered(), start=1)
        if policy.reference.value is not None and policy.imagined.value is not None
    ]
    for _, policy, x, y in points:
        parts += _whiskers(axes, policy, x, y)
    taken = [(x, y, 8.0, 8.0) for _, _, x, y in points]
    for place, policy, x, y in points:
        parts.append(_point(place, policy, x, y, _label_spot(x, y, taken)))
    return svg(SIZE, SIZE, f"Imagined against reference {label} of each policy", parts)


def value_range(report: RankingReport) -> tuple[float, float]:
    """Least and greatest value to draw: 0 to 1 for shares, else what means and intervals span."""
    if report.metric.is_share:
        return 0.0, 1.0
    found = [each for policy in report.policies for each in (policy.reference, policy.imagined)]
    values = [each.value for each in found if each.value is not None]
    values += [end for each in found for end in each.interval or ()]
    if not values:
        return 0.0, 1.0
    low, high = min(values), max(values)
    return (low, high) if high > low else (low - 0.5, low + 0.5)


def axis_label(report: RankingReport) -> str:
    """What is drawn, with its unit where it has one."""
    if report.metric.binary:
        return f"{report.metric.name} rate"
    unit = "" if report.metric.is_share else f" ({report.metric.unit})"
    return f"{report.metric.name.replace('_', ' ')}{unit}"


def _fit(axes: Axes, slope: float, intercept: float, shown: tuple[float, float]) -> Markup:
    """The calibration line R = a S + b, clipped to the square of the values `shown`."""
    least, most = shown
    low, high = sorted(((least - intercept) / slope, (most - intercept) / slope))
    s0, s1 = max(least, low), min(most, high)
    if s0 >= s1:
        return Markup("")
    r0, r1 = slope * s0 + intercept, slope * s1 + intercept
    return line(axes.px(r0), axes.py(s0), axes.px(r1), axes.py(s1), "fit")


def _whiskers(axes: Axes, policy: PolicyResult, x: float, y: float) -> list[Markup]:
    parts = []
    if policy.reference.interval:
        low, high = policy.reference.interval
        parts.append(line(axes.px(low), y, axes.px(high), y, "whisker"))
    if policy.imagined.interval:
        low, high = policy.imagined.interval
        parts.append(line(x, axes.py(low), x, axes.py(high), "whisker"))
    return parts


def _point(
    place: int, policy: PolicyResult, x: float, y: float, spot: tuple[float, float]
) -> Markup:
    tip = (
        f"{place}. {policy.name}: imagined {policy.imagined.text()}, "
        f"reference {policy.reference.text()}"
    )
    return Markup(
        '<g data-policy="{}">{}<circle class="point" cx="{}" cy="{}" r="4.5"/>{}</g>'
    ).format(policy.name, title(tip), x, y, text(spot[0], spot[1], str(place), "label", "middle"))


def _label_spot(
    x: float, y: float, taken: list[tuple[float, float, float, float]]
) -> tuple[float, float]:
    """The first place near (x, y) whose box overlaps no point and no label set before."""
    width, height = LABEL_BOX
    for dx, dy in LABEL_SPOTS:
        centre = (x + dx, y + dy - 4)
        if all(
            abs(centre[0] - cx) > (width + w) / 2 or abs(centre[1] - cy) > (height + h) / 2
            for cx, cy, w, h in taken
        ):
            break
    taken.append((*centre, width, height))
    return centre[0], centre[1] + 4


def interval_strip(policy: PolicyResult, shown: tuple[float, float] = (0.0, 1.0)) -> Markup:
    """Both worlds' means with intervals on one line of the values `shown`, for a table cell."""
    middle = STRIP_HEIGHT / 2
    parts = [line(_strip_x(0), middle, _strip_x(1), middle, "grid")]
    parts += [line(_strip_x(end), middle - 3, _strip_x(end), middle + 3, "grid") for end in (0, 1)]
    parts += _strip_mark(policy.imagined, middle - 5, "imagined", shown)
    parts += _strip_mark(policy.reference, middle + 5, "reference", shown)
    label = f"imagined {policy.imagined.text()}, reference {policy.reference.text()}"
    return svg(STRIP_WIDTH, STRIP_HEIGHT, label, parts)


def _strip_x(share: float) -> float:
    return STRIP_PAD + share * (STRIP_WIDTH - 2 * STRIP_PAD)


def _strip_mark(value: Estimate, y: float, world: str, shown: tuple[float, float]) -> list[Markup]:
    def x(number: float) -> float:
        return _strip_x((number - shown[0]) / (shown[1] - shown[0]))

    parts = []
    if value.interval is not None:
        low, high = value.interval
        parts.append(line(x(low), y, x(high), y, f"bar {world}"))
    if value.value is not None:
        dot = Markup('<circle class="dot {}" cx="{}" cy="{}" r="3.5"/>')
        parts.append(dot.format(world, round(x(value.value), 2), y))
    return parts
