"""Charts of a ranking: imagined against reference rate, and a strip per policy."""

from markupsafe import Markup

from worldsim.ranking.estimate import Estimate
from worldsim.ranking.report import PolicyResult, RankingReport
from worldsim.reporting.charts import Axes, line, nice_ticks, svg, text, title

SIZE = 440
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
