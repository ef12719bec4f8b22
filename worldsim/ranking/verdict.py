"""What stands before the figures, the ranking in one sentence, its caveats, in plain words."""

import numpy as np

from worldsim.ranking.bootstrap import Estimate, percentile_interval
from worldsim.ranking.correlation import FEWEST, Coefficients
from worldsim.ranking.rates import PairedRates
from worldsim.ranking.report import PolicyResult, RankingReport
from worldsim.ranking.significance import Separation
from worldsim.rollout.episodes import SUCCESS, EpisodeMetric
from worldsim.rollout.eval_config import VALIDATION

FEW_POLICIES = 10

STATE_ASSISTED = (
    "State-assisted: {} had the simulator's state or progress, such as object poses, which no "
    "robot knows."
)
PIXELS = "Not state-assisted: neither model nor judge had the simulator's state or progress."
DEPTH_ASSISTED = "Depth-assisted: the world model had the simulator's depth, which no robot knows."
MUST_NOT_BE_USED = "This judge must not be used: {}. What follows says nothing of the policies."
DEVELOPMENT_STARTS = "Development starts: the model was developed on these, which may flatter it."
VALIDATION_STARTS = (
    "Validation starts: judges are tested on these, so figures of them are not quoted."
)
OTHER_STARTS = "Other starts than those that the model was developed on."


def foreword(report: RankingReport) -> tuple[str, ...]:
    """What must be known before any figure; stands first wherever figures are shown."""
    lines = []
    if report.trial is not None and (reason := report.trial.reason):
        lines.append(MUST_NOT_BE_USED.format(reason))
    if report.assisted is not None:
        who = " and ".join(report.assisted)
        lines.append(STATE_ASSISTED.format(who) if who else PIXELS)
        if report.depth_assisted:
            lines[-1] = f"{DEPTH_ASSISTED} {lines[-1]}"
    if report.release is not None:
        lines.append(report.release)
    elif report.block == VALIDATION:
        lines.append(VALIDATION_STARTS)
    elif report.development_starts is not None:
        lines.append(DEVELOPMENT_STARTS if report.development_starts else OTHER_STARTS)
    return tuple(lines)


def verdict(paired: PairedRates, main: Coefficients, over_policies: Coefficients) -> str:
    """Which policy is best, how sure that is, and how well imagination orders the pool."""
    separation = paired.imagined.separation
    if separation.first is None:
        return f"No ranking: {main.pearson.reason or 'fewer than two policies have a rate'}."
    metric = paired.metric
    said = f"{_who_is_best(paired, separation)}; {_how_well(main, over_policies, metric)}."
    return said if metric.name == SUCCESS else f"By {metric.text}: {said}"


def _who_is_best(paired: PairedRates, separation: Separation) -> str:
    first, second = separation.first, separation.second
    assert first is not None and second is not None
    count = int(np.isfinite(paired.imagined.rates).sum())
    if separation.difference == 0:
        lead = f"In imagination {first} and {second} share the lead of {count} policies"
    elif separation.separated:
        lead = (
            f"{first} is the best of {count} policies in imagination, clear of {second} "
            f"(p = {separation.p_value:.2g})"
        )
    else:
        more = separation.more_starts
        extra = "" if more is None else f"; about {more} more starts would tell"
        lead = (
            f"{first} leads {count} policies in imagination, but not clearly ahead of {second} "
            f"(p = {separation.p_value:.2g}{extra})"
        )
    return f"{lead}{_reference_says(paired, first)}"


def _reference_says(paired: PairedRates, first: str) -> str:
    """What the reference rates say of imagination's leader, as far as their intervals allow."""
    # Times the sign, more is better.
    sign = paired.metric.sign
    reference = sign * paired.reference.rates
    if not np.isfinite(reference[paired.names.index(first)]):
        return f", and the reference knows nothing of {first}"
    known = reference[np.isfinite(reference)]
    if np.ptp(known) == 0:
        return f", while the reference tells none of them apart (all {sign * known[0]:.2f})"
    # Of several that share imagination's lead, the one that the reference puts highest.
    imagined = paired.imagined.rates
    leads = np.flatnonzero(imagined == imagined[paired.names.index(first)])
    leader = int(max(leads, key=lambda i: np.nan_to_num(reference[i], nan=-1.0)))
    best = int(np.nanargmax(reference))
    if reference[leader] < reference[best]:
        resamples = paired.reference.resamples
        ahead = sign * (resamples[:, best] - resamples[:, leader])
        interval, _ = percentile_interval(ahead, paired.level)
        if interval is not None and interval[0] > 0:
            return f", while the reference prefers {paired.names[best]}"
        return f", while the reference has {paired.names[best]} ahead, if not clearly"
    ours, theirs = paired.imagined.estimates[leader], paired.reference.estimates[leader]
    if _overlap(ours, theirs):
        return ", and the reference agrees"
    return f", which the reference puts first too, but at {theirs.text()} and not at {ours.text()}"


def _overlap(ours: Estimate, theirs: Estimate) -> bool:
    """Whether two rates may be one, by their intervals; without one a rate is taken as exact."""
    (low, high), (least, most) = (
        each.interval or (each.value or 0.0, each.value or 0.0) for each in (ours, theirs)
    )
    return low <= most and least <= high


def _how_well(main: Coefficients, over_policies: Coefficients, metric: EpisodeMetric) -> str:
    if main.pearson.value is None:
        return f"no correlation can be given ({main.pearson.reason})"
    what = "rates" if metric.binary else "means"
    return (
        f"imagined and reference {what} correlate at Pearson {main.pearson.text(3)}"
        f"{_with_others(over_policies.pearson)}, MMRV {main.mmrv.text(3)}"
        f"{_with_others(over_policies.mmrv)}"
    )


def _with_others(value: Estimate) -> str:
    """The interval over policies, which stands beside that over starts."""
    wider = value.interval
    return "" if wider is None else f" ([{wider[0]:.3f}, {wider[1]:.3f}] with other policies)"


def notes(report: RankingReport, paired: PairedRates) -> tuple[str, ...]:
    """The report's caveats."""
    statements = [f"{s.statement[0].upper()}{s.statement[1:]}." for s in report.separations]
    found = [_data_notes(report, paired), _chance_notes(report), _judge_notes(report), statements]
    return tuple(note for each in found for note in each)


def _data_notes(report: RankingReport, paired: PairedRates) -> list[str]:
    lines = []
    for policy in report.policies:
        if policy.failures:
            lines.append(f"{policy.name}: {_broke_off(policy)} (first: {policy.failures[0]}).")
        if policy.reference.value is None or policy.imagined.value is None:
            lines.append(f"{policy.name} has no rate in one world and is left out of the ranking.")
    if report.lattice.off_lattice:
        lines.append(
            "Logged rates that are no multiple of 1 / trials: "
            f"{', '.join(report.lattice.off_lattice)}; check the file."
        )
    unknown = [
        p.name
        for p in report.policies
        if p.reference.value is not None and not p.reference.interval
    ]
    if unknown:
        lines.append(
            f"Trials are not logged for {', '.join(unknown)}: their rates are taken as exact, so "
            "the intervals are too narrow."
        )
    if paired.rollouts > 1 and paired.metric.binary:
        lines.append("Wilson intervals treat the rollouts of one start as independent.")
    return lines


def _broke_off(policy: PolicyResult) -> str:
    """How the episodes count in which a policy raised or answered NaN."""
    count = len(policy.failures)
    if policy.imagined.value is None or policy.reference.value is None:
        return f"{count} episodes broke off, in one world all of them"
    if count == 1:
        return "1 episode broke off and counts as a failure"
    return f"{count} episodes broke off and count as failures"


def _chance_notes(report: RankingReport) -> list[str]:
    test, lines = report.permutation, []
    if FEWEST <= test.policies < FEW_POLICIES:
        lines.append(
            f"With the rates of these {test.policies} policies no p-value below {test.floor:.2g} "
            "can be claimed."
        )
    for entry in report.leverage:
        if entry.flagged:
            without = "undefined" if entry.without is None else f"{entry.without:.2f}"
            lines.append(
                f"Pearson rests on {entry.policy}: without it r is {without} "
                f"(all: {report.coefficients.pearson.text()})."
            )
    return lines + _group_notes(report)


def _group_notes(report: RankingReport) -> list[str]:
    """Groups that are too small for a correlation."""
    lines = []
    for group in sorted({policy.group for policy in report.policies if policy.group}):
        members = [policy for policy in report.policies if policy.group == group]
        count = sum(p.reference.value is not None and p.imagined.value is not None for p in members)
        if count < FEWEST:
            lines.append(
                f"Group {group} has {count} ranked "
                f"{'policy' if count == 1 else 'policies'} and gets no correlation: it takes "
                f"{FEWEST}, since two always lie on a line."
            )
    return lines


def _judge_notes(report: RankingReport) -> list[str]:
    if not report.metric.judged:
        return [
            f"{report.metric.name} goes by where agents are, in either world, and not by the "
            "judge's word. Goals are those of the episodes; neither model nor judge knows them."
        ]
    if report.metric.name != SUCCESS:
        return [f"The judge's error rates are of success alone: {report.metric.name} is as it is."]
    if report.judge is None:
        return ["No judge error rates were given: imagined rates are not corrected."]
    reasons = {p.corrected.reason for p in report.policies if p.corrected.value is None}
    lines = report.trial.notes() if report.trial else []
    lines += [f"Rates could not be corrected: {why}." for why in sorted(filter(None, reasons))]
    lines += _episode_notes(report)
    null, row = report.null_policy, report.null_result
    if null is not None and row is not None and row.imagined.value is not None:
        what = (
            f"Zero actions ({row.name}), which may well move this robot, are"
            if null.moves
            else f"Doing nothing ({row.name}) is"
        )
        judged = "" if null.judged is None else f"; judged in simulation: {_percent(null.judged)}"
        lines.append(
            f"{what} credited with success in {row.imagined.value:.1%} of imagined starts "
            f"(reference: {_percent(row.reference.value)}{judged})."
        )
    return lines


def _episode_notes(report: RankingReport) -> list[str]:
    """How often the same episode ends alike in both worlds, beside what equal rates would give."""
    if report.agreement is None:
        return []
    scores = report.agreement.scores
    return [
        f"Episode by episode the worlds agree in {scores['accuracy'].text()}; Cohen's kappa "
        f"{scores['kappa'].text()}, within policies {scores['kappa_within_policies'].text()}."
    ]


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"


def settings(paired: PairedRates, samples: int, seed: int) -> dict[str, object]:
    """How the intervals were made."""
    drawn = "starts drawn jointly for both worlds"
    if not paired.paired:
        drawn = "logged counts from their Jeffreys posterior, imagined starts"
    rates = "; rates: Wilson" if paired.metric.binary else ""
    return {
        "starts": paired.starts,
        "bootstrap_samples": samples,
        "bootstrap": f"policies fixed; {drawn}, then rollouts",
        "interval": "correlations of these policies: inverted tests of possible true rates; "
        f"others: envelope of percentile and reflected bootstrap{rates}",
        "level": paired.level,
        "seed": seed,
    }
