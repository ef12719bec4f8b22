"""The ranking in one sentence, and its caveats in plain words."""

from dataclasses import replace

import numpy as np

from worldsim.evaluation.coefficients import Coefficients
from worldsim.evaluation.evidence import Evidence
from worldsim.evaluation.ranking_report import RankingReport
from worldsim.evaluation.separation import Separation, top_two

FEW_POLICIES = 10


def verdict(success: Evidence, main: Coefficients) -> str:
    """Which policy is best, how sure that is, and how well imagination orders the pool."""
    separation = next(s for s in success.separations if s.world == "imagined")
    if separation.first is None:
        return f"No ranking: {main.pearson.reason or 'fewer than two policies have a rate'}."
    return f"{_who_is_best(success, separation)}; {_how_well(main)}."


def _who_is_best(success: Evidence, separation: Separation) -> str:
    first, second = separation.first, separation.second
    assert first is not None and second is not None
    count = int(np.isfinite(success.imagined).sum())
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
    truth = top_two(success.reference, success.names)
    if truth is None:
        return lead
    rates = success.reference
    best = {n for n, r in zip(success.names, rates, strict=True) if r == rates[truth[0]]}
    if first in best:
        return f"{lead}, and the reference agrees"
    return f"{lead}, while the reference prefers {success.names[truth[0]]}"


def _how_well(main: Coefficients) -> str:
    if main.pearson.value is None:
        return f"no correlation can be given ({main.pearson.reason})"
    return (
        f"imagined and reference rates correlate at Pearson {main.pearson.text(3)}, "
        f"MMRV {main.mmrv.text(3)}"
    )


def notes(report: RankingReport, success: Evidence) -> RankingReport:
    """The report with its caveats filled in."""
    return replace(
        report,
        notes=tuple(
            [*_data_notes(report, success), *_chance_notes(report), *_judge_notes(report)]
            + [f"{s.statement[0].upper()}{s.statement[1:]}." for s in report.separations]
        ),
    )


def _data_notes(report: RankingReport, success: Evidence) -> list[str]:
    lines = []
    for policy in report.policies:
        if policy.failures:
            count = len(policy.failures)
            what = (
                "1 episode broke off and counts as a failure"
                if count == 1
                else (f"{count} episodes broke off and count as failures")
            )
            lines.append(f"{policy.name}: {what} (first: {policy.failures[0]}).")
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
    if success.rollouts > 1:
        lines.append("Wilson intervals treat the rollouts of one start as independent.")
    return lines


def _chance_notes(report: RankingReport) -> list[str]:
    test, lines = report.permutation, []
    if 2 <= test.policies < FEW_POLICIES:
        lines.append(
            f"With {test.policies} policies no p-value below 1/{test.policies}! = "
            f"{test.floor:.2g} can be claimed."
        )
    for entry in report.leverage:
        if entry.flagged:
            without = "undefined" if entry.without is None else f"{entry.without:.2f}"
            lines.append(
                f"Pearson rests on {entry.policy}: without it r is {without} "
                f"(all: {report.coefficients.pearson.text()})."
            )
    return lines


def _judge_notes(report: RankingReport) -> list[str]:
    if report.judge is None:
        return ["No judge error rates were given: imagined rates are not corrected."]
    reasons = {p.corrected.reason for p in report.policies if p.corrected.value is None}
    lines = [f"Rates could not be corrected: {reason}." for reason in sorted(filter(None, reasons))]
    idle = next((p for p in report.policies if p.name == report.null_policy), None)
    if idle is not None and idle.imagined.value is not None:
        lines.append(
            f"Doing nothing ({idle.name}) is credited with success in "
            f"{idle.imagined.value:.1%} of imagined starts "
            f"(reference: {_percent(idle.reference.value)})."
        )
    return lines


def _percent(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.1%}"
