"""Charts of a ranking: imagined against reference rate, and a strip per policy."""

from markupsafe import Markup

from worldsim.ranking.estimate import Estimate
from worldsim.ranking.report import PolicyResult, RankingReport
from worldsim.reporting.charts import Axes, line, svg, text, title

SIZE = 440
TICKS = [0, 0.2, 0.4, 0.6, 0.8, 1.0]
LABEL_SPOTS = [
    (9, -7),
    (-9, -7),
    (9, 15),
    (-9, 15),
    (16, 4),
    (-16, 4),
    (14, -18),
    (-14, -18),
    (14, 26),
    (-14, 26),
    (26, -8),
    (-26, -8),
    (26, 16),
    (-26, 16),
]
LABEL_BOX = (15, 13)
STRIP_WIDTH, STRIP_HEIGHT, STRIP_PAD = 140.0, 26.0, 6.0


def scatter(report: RankingReport) -> Markup:
    """Imagined against reference rate with both intervals, numbered by place in the table."""
    axes = Axes(SIZE, SIZE, (-0.03, 1.03), (-0.03, 1.03))
    parts = axes.frame("reference success rate", "imagined success rate", TICKS, TICKS)
    parts.append(line(axes.px(0), axes.py(0), axes.px(1), axes.py(1), "diagonal"))
    slope, intercept = report.coefficients.slope.value, report.coefficients.intercept.value
    if slope is not None and intercept is not None and abs(slope) > 1e-6:
        parts.append(_fit(axes, slope, intercept))
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
    return svg(SIZE, SIZE, "Imagined against reference success rate of each policy", parts)


def _fit(axes: Axes, slope: float, intercept: float) -> Markup:
    """The calibration line R = a S + b, clipped to the unit square."""
    low, high = sorted((-intercept / slope, (1 - intercept) / slope))
    s0, s1 = max(0.0, low), min(1.0, high)
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


def interval_strip(policy: PolicyResult) -> Markup:
    """Both worlds' rates with intervals on one line from 0 to 1, for a table cell."""
    middle = STRIP_HEIGHT / 2
    parts = [line(_strip_x(0), middle, _strip_x(1), middle, "grid")]
    parts += [line(_strip_x(end), middle - 3, _strip_x(end), middle + 3, "grid") for end in (0, 1)]
    parts += _strip_mark(policy.imagined, middle - 5, "imagined")
    parts += _strip_mark(policy.reference, middle + 5, "reference")
    label = f"imagined {policy.imagined.text()}, reference {policy.reference.text()}"
    return svg(STRIP_WIDTH, STRIP_HEIGHT, label, parts)


def _strip_x(value: float) -> float:
    return STRIP_PAD + value * (STRIP_WIDTH - 2 * STRIP_PAD)


def _strip_mark(value: Estimate, y: float, world: str) -> list[Markup]:
    parts = []
    if value.interval is not None:
        low, high = value.interval
        parts.append(line(_strip_x(low), y, _strip_x(high), y, f"bar {world}"))
    if value.value is not None:
        dot = Markup('<circle class="dot {}" cx="{}" cy="{}" r="3.5"/>')
        parts.append(dot.format(world, round(_strip_x(value.value), 2), y))
    return parts
