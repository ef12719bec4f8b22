"""Rows of the baselines: what each found, as frozen values, as JSON and in words."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from worldsim.ranking.bootstrap import Estimate

Agreement = dict[str, Estimate]
"""Statistics of agreement by name."""

COMPARED = ("pearson", "spearman", "kendall", "mmrv")


@dataclass(frozen=True)
class Change:
    """What a changed simulator did to its own rates.

    Attributes:
        mean: mean change of the policies' rates.
        moved: {policy: change} of those whose change is more than chance.
        agreement: of the unchanged simulator with the changed one.
    """

    mean: Estimate
    moved: dict[str, float]
    agreement: Agreement


@dataclass(frozen=True)
class BaselineResult:
    """One row of the baselines.

    Attributes:
        name: of the row.
        what: it in words.
        policies: {policy: score} of those that it tells apart, in the order of their names: a mean
            outcome, an action error, or the rate in a changed reference.
        agreement: of the scores with the reference; of imagination with a changed reference.
        margins: how far the ranking is ahead: a correlation minus the baseline's, the baseline's
            MMRV minus the ranking's. Of a changed reference: what the ranking loses by the change.
        change: of a changed reference; else None.
    """

    name: str
    what: str
    policies: dict[str, float]
    agreement: Agreement
    margins: Agreement
    change: Change | None = None

    @property
    def beaten(self) -> tuple[str, ...]:
        """The statistics in which the margin is above zero by more than its interval."""
        known = ((name, margin.interval) for name, margin in self.margins.items())
        return tuple(name for name, interval in known if interval is not None and interval[0] > 0)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types."""
        data: dict[str, Any] = {"name": self.name, "what": self.what, "policies": self.policies}
        data |= _json(self.agreement)
        data["margin"] = _json(self.margins) | {"above_zero": list(self.beaten)}
        if self.change is not None:
            change = self.change
            data["change"] = {
                "mean": change.mean.to_json(),
                "moved": change.moved,
                "simulators": _json(change.agreement),
            }
        return data


def baseline_notes(rows: Sequence[BaselineResult]) -> tuple[str, ...]:
    """What the rows say, in plain words."""
    return tuple(_note(row) for row in rows)


def _note(row: BaselineResult) -> str:
    if row.change is not None:
        return _change_note(row, row.change)
    margin = row.margins["pearson"]
    if margin.value is None:
        return f"Baseline {row.name}: no comparison ({margin.reason})."
    beats = "beats" if "pearson" in row.beaten else "does not clearly beat"
    scores = set(row.policies.values())
    flat = f"; all its scores are {scores.pop():.2f}" if len(scores) == 1 else ""
    return (
        f"The ranking {beats} baseline {row.name} ({row.what}): Pearson {margin.text()} ahead over "
        f"{len(row.policies)} policies{flat}."
    )


def _change_note(row: BaselineResult, change: Change) -> str:
    if change.mean.value is None:
        return f"Baseline {row.name}: no comparison ({change.mean.reason})."
    lost = row.margins["pearson"]
    if not change.moved:
        end = "no policy's rate moves by more than chance, so there is nothing to follow"
    elif "pearson" in row.beaten:
        end = f"the ranking does not follow: it loses Pearson {lost.text()}"
    else:
        end = f"the ranking loses Pearson {lost.text()}, which may be chance"
    moved = ", ".join(f"{name} {by:+.2f}" for name, by in change.moved.items())
    return (
        f"{row.what[0].upper()}{row.what[1:]}: reference rates change by {change.mean.text()} on "
        f"average{f' ({moved})' if moved else ''}; {end}."
    )


def _json(agreement: Mapping[str, Estimate]) -> dict[str, Any]:
    return {name: value.to_json() for name, value in agreement.items()}
