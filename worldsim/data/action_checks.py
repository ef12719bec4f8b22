"""Whether a network would see the actions of a data set.

Networks take actions as the data set has them: environments give them in [-1, 1], and the spec's
`scale` says what a unit is. Recordings of others are mostly in metres and radians. Steps of some
millimetres are then inputs near zero, and a model learns to ignore them (cosmos-framework #182: 55
times too small for months, seen only as "the gripper never closes").

Legend: N rows, A action.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.faults import Fault, Severity
from worldsim.data.layout import INFO
from worldsim.spec import ActionSpec

SMALL, LARGE = 0.03, 10.0
"""Standard deviations below and above which an input is as good as constant, or swamps others."""
CLIPPED = 0.3
"""Share of values exactly at a limit, of entries of many values, that says they were cut there."""
FEW = 8
"""Distinct values up to which an entry is a switch, such as a gripper, and belongs at its ends."""
ENOUGH = 20
"""Rows from which on anything is said."""


def continuous(action: NDArray[Any]) -> NDArray[np.bool_]:
    """`[A]` which entries take more than a few values."""
    return np.array([len(np.unique(column)) > FEW for column in action.T], bool)


def swamps(action: NDArray[Any]) -> bool:
    """Whether an entry that varies is far larger than what networks take, as degrees are."""
    return bool((continuous(action) & (action.std(axis=0) > LARGE)).any())


def is_faint(action: NDArray[Any]) -> bool:
    """Whether half of the entries that vary are hardly seen, and would be seen once scaled."""
    varied, spread = continuous(action), action.std(axis=0)
    if not varied.any() or np.median(spread[varied]) >= SMALL:
        return False
    return bool(np.median((spread / reach(action))[varied]) >= SMALL)


def reach(action: NDArray[Any]) -> NDArray[np.float64]:
    """`[A]` greatest size of each entry, which brings it to [-1, 1] as a divisor; 1 for zeros."""
    most = np.abs(np.asarray(action, np.float64)).max(axis=0)
    return np.where(most > 0, most, 1.0)


def action_faults(spec: ActionSpec, action: NDArray[Any]) -> Iterator[Fault]:
    """What is wrong with the actions `[N, A]` of a data set as inputs.

    Too small is an error where the limits were measured, which is to say that nobody scaled the
    actions; where an environment declares its limits, they are its own and it is a warning.
    """
    if spec.kind == "discrete" or len(action) < ENOUGH:
        return
    low, high = action.min(axis=0), action.max(axis=0)
    still = [name for name, a, b in zip(spec.names, low, high, strict=True) if a == b]
    if spec.limits == "declared":  # who drove by hand may have left an entry alone
        still = []
    measured: Severity = "error" if spec.limits == "measured" else "warning"
    if len(still) == spec.dim:
        message = f"no action ever changes: {spec.names} are {low.tolist()} throughout"
        yield Fault(INFO, None, message, measured)
        return
    if still:
        message = f"{', '.join(still)} of the action never change, and so teach nothing"
        yield Fault(INFO, None, message, "warning")
    yield from _sizes(spec, action, measured)
    if spec.limits == "measured":  # declared ones are where commands end by right
        yield from _cut(spec, action)


_REMEDY = (
    "`worldsim data import kind=lerobot source=FOLDER out=FOLDER` writes them scaled to [-1, 1], "
    "with the scale in the spec"
)


def _sizes(spec: ActionSpec, action: NDArray[Any], measured: Severity) -> Iterator[Fault]:
    """Entries that a network hardly sees, or sees alone."""
    varied, spread = continuous(action), action.std(axis=0)
    pairs = [(n, float(s)) for n, s, v in zip(spec.names, spread, varied, strict=True) if v]
    if faint := [f"{name} {s:.2g}" for name, s in pairs if s < SMALL]:
        whole = is_faint(action)
        message = (
            f"actions are not normalised: the standard deviation of {', '.join(faint)} is below "
            f"{SMALL:g}, so that a network hardly sees them"
        )
        if whole:
            times = float(np.median(reach(action)[varied]))
            message += f"; their greatest values are {times:.2g}, not 1. {_REMEDY}"
        yield Fault(INFO, None, message, measured if whole else "warning")
    if large := [f"{name} {s:.3g}" for name, s in pairs if s > LARGE]:
        message = (
            f"actions are not normalised: the standard deviation of {', '.join(large)} is above "
            f"{LARGE:g}, so that they swamp all else; {_REMEDY}"
        )
        yield Fault(INFO, None, message, "warning")


def _cut(spec: ActionSpec, action: NDArray[Any]) -> Iterator[Fault]:
    """Entries of which many values stand exactly at a limit, as those that were clipped do.

    It is an error if half of the entries do, which no robot's commands do by themselves.
    """
    varied = continuous(action)
    ends = np.maximum((action == action.min(0)).mean(0), (action == action.max(0)).mean(0))
    cut = varied & (ends > CLIPPED)
    if cut.any():
        rows = zip(spec.names, ends, cut, strict=True)
        shares = ", ".join(f"{name} in {share:.0%}" for name, share, is_cut in rows if is_cut)
        message = (
            f"actions stand at a limit as if clipped there ({shares} of the rows); normalise them "
            "by wider limits, or record them unclipped"
        )
        severity: Severity = "error" if 2 * cut.sum() >= varied.sum() else "warning"
        yield Fault(INFO, None, message, severity)
