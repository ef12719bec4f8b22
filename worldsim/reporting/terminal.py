"""The ranking as a table for a terminal of 80 columns."""

from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from worldsim.judge.report import JudgeReport
from worldsim.ranking.bootstrap import Estimate
from worldsim.ranking.correlation import Coefficients
from worldsim.ranking.gating import GatedRanking
from worldsim.ranking.judge_validation import JudgeValidation
from worldsim.ranking.judging import depth_rows, judge_rates
from worldsim.ranking.report import MetricResult, PolicyResult, RankingReport
from worldsim.ranking.verdict import foreword

WIDTH = 80
NAME_WIDTH = 24
METRIC_WIDTH, METRICS_A_TABLE = 17, 3
BASELINE_WIDTH = 20
BASELINE_COLUMNS = ("pearson", "spearman", "mmrv")
COEFFICIENTS = (
    ("Pearson", "pearson"),
    ("Spearman", "spearman"),
    ("Kendall tau-b", "kendall"),
    ("MMRV (paper <)", "mmrv"),
    ("MMRV (code >)", "mmrv_code"),
    ("bias", "bias"),
)


def ranking_table(report: RankingReport) -> RenderableType:
    """Policies by imagined rate, the coefficients and the caveats, at most 80 columns wide."""
    gated = report.gated
    lines = [Text(f"- {note}") for note in (*(gated.notes() if gated else ()), *report.notes)]
    tables: list[RenderableType] = [_policies(report), Text()]
    if gated is not None:
        tables += [_gated(report, gated), Text()]
    for table in _other_metrics(report):
        tables += [table, Text()]
    tables += [*_coefficients(report), Text(), *_baselines(report)]
    if report.judge is not None:
        tables += [judge_table(report.judge), Text()]
    if report.judge_validation is not None:
        tables += [*_paired(report, report.judge_validation), Text()]
    first = [Text(line) for line in foreword(report)]
    return Group(*first, *tables, Text(report.verdict), *lines)


def judge_table(judge: JudgeReport) -> Table:
    """TPR and TNR with their intervals and counts, by depth where that was measured."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("judge, imagined steps", no_wrap=True)
    for name in ("TPR", "TNR"):
        table.add_column(name, justify="right", no_wrap=True)
    for depth, counts in depth_rows(judge):
        tpr, tnr = judge_rates(counts)
        shown = (tpr, counts.true_positives, counts.positives)
        other = (tnr, counts.true_negatives, counts.negatives)
        cells = [_rate(rate).append(f"  {n}/{of}") for rate, n, of in (shown, other)]
        table.add_row(depth, *cells)
    if judge.imagined is None:
        table.add_row("imagined frames", "not measured", "not measured")
    return table


def _paired(report: RankingReport, found: JudgeValidation) -> list[RenderableType]:
    """How imagination meets simulated outcomes on validation starts, by horizon and by policy; then
    the ranked rates, as they are and corrected by that."""
    table, rates_table = (Table(box=None, pad_edge=False, header_style="bold") for _ in range(2))
    for each, titles in (
        (table, ("validation starts", "imagined | true success", "imagined | true failure")),
        (rates_table, ("policy", "imagined", "corrected by these", "reference")),
    ):
        each.add_column(titles[0], max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
        for title in titles[1:]:
            each.add_column(title, justify="right", no_wrap=True)
    for what, rates in found.rows():
        cells = []
        for rate in (rates.tpr, rates.tnr):
            known = rate.estimate.value is not None
            cell = _rate(rate.estimate) if known else Text("not measured", style="dim")
            cells.append(cell.append(f"  {rate.right}/{rate.asked}"))
        table.add_row(Text(what), *cells)
    if not found.corrected:
        return [table]
    for policy in report.ordered():
        better = found.corrected.get(policy.name, Estimate(None))
        shown = (policy.imagined, better, policy.reference)
        rates_table.add_row(Text(policy.name), *map(_rate, shown))
    return [table, Text(), rates_table]


def print_ranking(report: RankingReport, console: Console | None = None) -> None:
    """Print the table to `console`, standard output by default."""
    target = console or Console(highlight=False)
    target.print(ranking_table(report), width=min(target.width, WIDTH))


def _policies(report: RankingReport) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("", justify="right")
    table.add_column("policy", max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    share = report.metric.is_share
    for title in ("imagined", "reference"):
        table.add_column(title, justify="right", no_wrap=True)
    if report.corrected is not None:
        table.add_column("corrected", justify="right", no_wrap=True)
    table.add_column("best", justify="right", no_wrap=True)
    for place, policy in enumerate(report.ordered(), start=1):
        cells = [policy.imagined, policy.reference]
        if report.corrected is not None:
            cells.append(policy.corrected)
        values = [_rate(cell) if share else _mean(cell) for cell in cells]
        table.add_row(str(place), _name(policy), *values, _share(policy))
    return table


def _other_metrics(report: RankingReport) -> list[Table]:
    """Means of the metrics beside the ranked one, imagined / reference, as many as fit a table."""
    found = list(report.others.items())
    return [
        _metric_table(report, found[i : i + METRICS_A_TABLE])
        for i in range(0, len(found), METRICS_A_TABLE)
    ]


def _metric_table(report: RankingReport, found: list[tuple[str, MetricResult]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("imagined / reference", max_width=NAME_WIDTH, no_wrap=True)
    for name, _ in found:
        table.add_column(Text(name), justify="right", no_wrap=True, max_width=METRIC_WIDTH)
    for policy in report.ordered():
        pairs = [(each.imagined[policy.name], each.reference[policy.name]) for _, each in found]
        cells = [f"{_number(ours)} / {_number(theirs)}" for ours, theirs in pairs]
        table.add_row(Text(policy.name), *cells)
    return table


def _number(value: Estimate) -> str:
    return "n/a" if value.value is None else f"{value.value:.3g}"


def _gated(report: RankingReport, gated: GatedRanking) -> Table:
    """Imagined rates with and without the rollouts that the gate rejects."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("imagined", max_width=NAME_WIDTH, no_wrap=True, overflow="ellipsis")
    for title in ("all rollouts", "gate passed", "coverage"):
        table.add_column(title, justify="right", no_wrap=True)
    share = _rate if report.metric.is_share else _mean
    for policy in report.ordered():
        passed = share(gated.imagined[policy.name])
        coverage = f"{gated.coverage[policy.name]:.0%}"
        table.add_row(Text(policy.name), share(policy.imagined), passed, coverage)
    return table


def _name(policy: PolicyResult) -> Text:
    return Text(policy.name + (" !" if policy.failures else ""))


def _rate(value: Estimate) -> Text:
    """`.94 .85-.98`: the leading zeros are left out to fit the width."""
    if value.value is None:
        return Text("n/a", style="dim")
    text = Text(_short(value.value))
    if value.interval is not None:
        low, high = value.interval
        text.append(f" {_short(low)}-{_short(high)}", style="dim")
    return text


def _mean(value: Estimate) -> Text:
    """`12.3 11.9-12.8`, of a metric that is no share."""
    text = Text(_number(value))
    if value.interval is not None:
        low, high = value.interval
        text.append(f" {low:.3g}-{high:.3g}", style="dim")
    return text


def _short(value: float) -> str:
    text = f"{value:.2f}"
    return text[1:] if text.startswith("0.") else text[:3]


def _share(policy: PolicyResult) -> str:
    """How often it leads in resamples of imagination."""
    return "n/a" if policy.best_in_imagination is None else f"{policy.best_in_imagination:.0%}"


def _coefficients(report: RankingReport) -> list[Table]:
    """Two sets of policies a table, which is what 80 columns hold."""
    sets = [("all policies", report.coefficients), ("policies resampled", report.over_policies)]
    sets += [(name, group.coefficients) for name, group in report.groups.items()]
    return [_coefficient_table(sets[i : i + 2]) for i in range(0, len(sets), 2)]


def _coefficient_table(sets: list[tuple[str, Coefficients]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("agreement", no_wrap=True)
    for name, _ in sets:
        table.add_column(Text(name), no_wrap=True, overflow="ellipsis", max_width=NAME_WIDTH)
    for label, name in COEFFICIENTS:
        table.add_row(label, *(getattr(one, name).text(3) for _, one in sets))
    return table


def _baselines(report: RankingReport) -> list[RenderableType]:
    """One row for each baseline, the ranking itself before them; then how far it is ahead."""
    if not report.baselines:
        return []
    shown = [(label, name) for label, name in COEFFICIENTS if name in BASELINE_COLUMNS]
    found, margins = (
        Table(box=None, pad_edge=False, header_style="bold", padding=(0, 1, 0, 0)) for _ in range(2)
    )
    for table, title in ((found, "ranked by"), (margins, "ahead of")):
        table.add_column(title, max_width=BASELINE_WIDTH, no_wrap=True, overflow="ellipsis")
        for label, _ in shown:
            table.add_column(label, no_wrap=True)
    found.add_row("imagination", *(getattr(report.coefficients, name).text(2) for _, name in shown))
    for row in report.baselines:
        found.add_row(Text(row.name), *(row.agreement[name].text(2) for _, name in shown))
        margins.add_row(Text(row.name), *(row.margins[name].text(2) for _, name in shown))
    return [found, Text(), margins, Text()]
