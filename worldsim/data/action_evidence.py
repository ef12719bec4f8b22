"""What recorded actions mean, read off what they did to proprioception.

An absolute action is where proprioception comes to; a delta one is proportional to its change. An
achieved action is exactly that, a commanded one nearly. Each entry is held against every entry of
proprioception (or the one of its name), and the best account is told with its figures. Where no
account is good, nothing is claimed.

Legend: T actions between T+1 observations, A action, P proprioception; fit is the share of an
action's variance that an account explains.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.data.angles import ROLL_PITCH_YAW, angle_entries, is_angle_name, wrapped
from worldsim.spec import ActionFrame, ActionMode, ActionSpec

Recorded = Sequence[tuple[NDArray[Any], NDArray[Any]]]
"""(`[T, A]` actions, `[T+1, P]` proprioception) of each episode."""

LAGS = (0, 1, 2)
"""Rows after the action's own at which an absolute action may be reached."""
ABSOLUTE, DELTA = 0.8, 0.4
"""Least fits of an account. Controllers lag, so that steps follow deltas far from exactly."""
LEAST_ROWS = 20
EXACT = 1e-3
"""Share of an action's spread up to which it is what was achieved."""
GRIPPER = ("grip", "finger", "jaw")


@dataclass(frozen=True)
class EntryEvidence:
    """The best account of one entry of the action.

    Attributes:
        name: of the entry.
        partner: entry of proprioception that it moves; "" where there is no good account.
        mode: "absolute", "delta" or "unknown".
        fit: of that account, at most 1.
        scale: physical units per unit of action.
        lag: rows after the action's own at which its effect shows.
        error: root mean square of what the account leaves, in units of `partner`.
        spread: standard deviation of the action, likewise.
    """

    name: str
    partner: str = ""
    mode: ActionMode = "unknown"
    fit: float = 0.0
    scale: float = 1.0
    lag: int = 0
    error: float = 0.0
    spread: float = 0.0

    @property
    def exact(self) -> bool:
        """Whether the entry is what was achieved, up to rounding."""
        return self.mode != "unknown" and self.error <= EXACT * self.spread

    def __str__(self) -> str:
        if self.mode == "unknown":
            best = f"; best fit {self.fit:.2f}" if self.fit > 0 else ""
            return f"{self.name}: unknown, no proprioception follows it{best}"
        if self.mode == "absolute":
            when = ("in the same row", "a row later", "two rows later")[self.lag]
            how = "is" if self.exact else "is nearest to"
            what = f"absolute, {how} {self.partner} {when}"
        else:
            what = f"delta, a unit moves {self.partner} by {self.scale:.3g}"
        return f"{self.name}: {what} (fit {self.fit:.3f}, error {self.error:.2g})"


@dataclass(frozen=True)
class ActionEvidence:
    """What is known of an action.

    Attributes:
        entries: one account an entry.
        mode: what most entries that move a robot are.
        frame: the frame that they are expressed in.
        commanded: False where all that have an account are exactly what was achieved.
        reason: why the frame is that.
    """

    entries: tuple[EntryEvidence, ...]
    mode: ActionMode = "unknown"
    frame: ActionFrame = "unknown"
    commanded: bool = True
    reason: str = ""

    def lines(self) -> list[str]:
        """The finding, and what it rests on."""
        how = "commanded" if self.commanded else "achieved"
        first = f"action: {self.mode}, {self.frame} frame, {how}"
        return [f"{first}{f' ({self.reason})' if self.reason else ''}", *map(str, self.entries)]

    def applied(self, action: ActionSpec) -> ActionSpec:
        """`action` with what was found."""
        if self.mode == "unknown":
            return action
        scale = [e.scale if e.mode == "delta" else 1.0 for e in self.entries]
        return replace(
            action,
            mode=self.mode,
            frame=self.frame,
            commanded=self.commanded,
            scale=tuple(a * b for a, b in zip(action.scale, scale, strict=True)),
            units=tuple(_unit(entry) for entry in self.entries),
        )


def _unit(entry: EntryEvidence) -> str:
    """Metres and radians by the names of robots' poses; "1" where none is told."""
    words = f"{entry.name} {entry.partner}".lower()
    if entry.mode == "unknown" or any(word in words for word in GRIPPER):
        return "1"
    if is_angle_name(entry.partner) or "joint" in words:
        return "rad"
    place = entry.partner.lower()
    return "m" if place in ("x", "y", "z") or place.endswith(("_x", "_y", "_z")) else "1"


def action_evidence(
    recorded: Recorded, names: Sequence[str], agent_pos: Sequence[str]
) -> ActionEvidence:
    """Account for every entry of an action, and for the action as a whole.

    Args:
        recorded: episodes; more than some dozens change nothing.
        names: A names.
        agent_pos: P names.
    """
    kept = [(a.astype(np.float64), s.astype(np.float64)) for a, s in recorded if len(a) > max(LAGS)]
    unknown = ActionEvidence(tuple(EntryEvidence(name) for name in names))
    if not agent_pos or sum(len(a) for a, _ in kept) < LEAST_ROWS:
        return replace(unknown, reason="too little proprioception to tell")
    angle = angle_entries(agent_pos, [state for _, state in kept])
    tracks = [_track(kept, j, agent_pos[j], bool(angle[j])) for j in range(len(agent_pos))]
    hand = _hand_tracks(kept, agent_pos)
    entries = []
    for i, name in enumerate(names):
        action = [a[:, i] for a, _ in kept]
        same = [track for track in tracks if track.name == name]
        accounts = [_account(action, track, name) for track in same or tracks]
        best = max(accounts, key=lambda each: (each.mode != "unknown", each.fit))
        own = max((_account(action, track, name) for track in hand), key=_fit, default=best)
        turned = own.mode == "delta" and best.mode != "absolute" and own.fit > best.fit + _CLEARLY
        entries.append(own if turned else best)
    return _as_a_whole(tuple(entries))


_CLEARLY = 0.1
"""How much better an account in the hand's own axes must be than one in fixed axes."""
_WINDOW = 8
"""Rows over which a scale is measured: over one alone, a lagging controller makes it too small."""
_HAND = "the hand's own "
"""Begins names of steps in its axes; no entry is called so."""


def _fit(entry: EntryEvidence) -> float:
    return entry.fit


@dataclass(frozen=True, eq=False)
class _Track:
    """One entry of proprioception: `place` `[T+1]` and `steps` `[T]` of each episode."""

    name: str
    place: Sequence[NDArray[Any]]
    steps: Sequence[NDArray[Any]]
    angle: bool


def _track(kept: Recorded, j: int, name: str, angle: bool) -> _Track:
    place = [state[:, j] for _, state in kept]
    return _Track(name, place, [wrapped(np.diff(each), angle) for each in place], angle)


def _hand_tracks(kept: Recorded, agent_pos: Sequence[str]) -> list[_Track]:
    """Steps in the axes that the hand has before them; none where its pose is not known."""
    from scipy.spatial.transform import Rotation

    low = [name.lower() for name in agent_pos]
    place = [_called(low, axis) for axis in "xyz"]
    angles = [_called(low, name) for name in ROLL_PITCH_YAW]
    found = [entry for entry in (*place, *angles) if entry is not None]
    if len(found) < 6:
        return []
    steps = [
        Rotation.from_euler("xyz", s[:-1, found[3:]]).inv().apply(np.diff(s[:, found[:3]], axis=0))
        for _, s in kept
    ]
    return [_Track(_HAND + "xyz"[k], [], [each[:, k] for each in steps], False) for k in range(3)]


def _called(names: Sequence[str], word: str) -> int | None:
    """Place of the first name that is `word`, or ends in it as a part of its own."""
    return next((i for i, n in enumerate(names) if n == word or n.endswith(f"_{word}")), None)


def _account(action: Sequence[NDArray[Any]], track: _Track, name: str) -> EntryEvidence:
    """The better of both accounts of an action's entry `[T]` by an entry of proprioception."""
    spread = _spread(np.concatenate(action), track.angle)
    if spread < 1e-9:
        return EntryEvidence(name)
    found = EntryEvidence(name)
    if track.place:
        errors = [_distance(action, track, lag) for lag in LAGS]
        lag = int(np.argmin(errors))
        fit = 1 - (errors[lag] / spread) ** 2
        found = EntryEvidence(name, track.name, "absolute", fit, 1.0, lag, errors[lag], spread)
    steps = [_slope(action, track.steps, lag) for lag in LAGS[:2]]
    late = int(np.argmax([fit for fit, _, _ in steps]))
    fit, scale, error = steps[late]
    if fit > max(found.fit, 0.0) and scale > 0:
        scale = _scale(action, track.steps) or scale
        found = EntryEvidence(name, track.name, "delta", fit, scale, late, error, scale * spread)
    least = ABSOLUTE if found.mode == "absolute" else DELTA
    return found if found.fit >= least else EntryEvidence(name, fit=max(found.fit, 0.0))


def _spread(values: NDArray[Any], angle: bool) -> float:
    """Standard deviation, of angles about their mean direction."""
    if not angle:
        return float(values.std())
    centre = np.angle(np.exp(1j * values).mean())
    return float(np.sqrt((wrapped(values - centre) ** 2).mean()))


def _distance(action: Sequence[NDArray[Any]], track: _Track, lag: int) -> float:
    """Root mean square distance of actions from proprioception `lag` rows later."""
    last = max(LAGS) - 1  # actions whose rows all lags have
    gaps = [
        a[: len(a) - last] - s[lag : len(a) - last + lag]
        for a, s in zip(action, track.place, strict=True)
    ]
    return float(np.sqrt((wrapped(np.concatenate(gaps), track.angle) ** 2).mean()))


def _slope(
    action: Sequence[NDArray[Any]], steps: Sequence[NDArray[Any]], lag: int
) -> tuple[float, float, float]:
    """(fit, slope, error) of steps on the actions `lag` rows before, through zero."""
    taken = np.concatenate([a[: len(a) - lag] for a in action])
    moved = np.concatenate([s[lag:] for s in steps])
    both, own, all_ = float(taken @ moved), float(taken @ taken), float(moved @ moved)
    if own < 1e-18 or all_ < 1e-18:
        return 0.0, 1.0, 0.0
    error = float(np.sqrt(((moved - both / own * taken) ** 2).mean()))
    return both**2 / (own * all_), both / own, error


def _scale(action: Sequence[NDArray[Any]], steps: Sequence[NDArray[Any]]) -> float | None:
    """What a unit moves in the end: displacements on sums of actions; None where none is long."""
    window = np.ones(_WINDOW)
    pairs = [(a, s) for a, s in zip(action, steps, strict=True) if len(a) >= _WINDOW]
    if not pairs:
        return None
    sums = [[np.convolve(each, window, "valid") for each in pair] for pair in pairs]
    slope = _slope([a for a, _ in sums], [s for _, s in sums], 0)[1]
    return slope if slope > 0 else None


def _as_a_whole(entries: tuple[EntryEvidence, ...]) -> ActionEvidence:
    """Mode, frame and origin of the action out of the accounts of its entries."""
    arms = [e for e in entries if not any(w in f"{e.name} {e.partner}".lower() for w in GRIPPER)]
    counts = {m: sum(e.mode == m for e in arms) for m in ("absolute", "delta")}
    mode: ActionMode = "absolute" if counts["absolute"] >= counts["delta"] else "delta"
    first = [entry for entry in arms[:3] if entry.mode == mode]
    if not counts[mode] or (2 * counts[mode] < len(arms) and len(first) < 2):
        return ActionEvidence(entries, reason="too few entries have an account")
    told = [entry for entry in arms if entry.mode == mode]
    frame, reason = _frame([entry.partner.lower() for entry in told])
    commanded = not all(entry.exact for entry in told)
    return ActionEvidence(entries, mode, frame, commanded, reason)


def _frame(partners: Sequence[str]) -> tuple[ActionFrame, str]:
    """The frame of what moves, and why."""
    if any("joint" in name or "qpos" in name for name in partners):
        return "joint", "its entries move joints"
    if sum(name.startswith(_HAND) for name in partners) >= 2:
        return "end_effector", "steps follow it in the hand's own axes"
    if sum(_called([name], axis) is not None for axis in "xyz" for name in partners) >= 2:
        return "base", "in the axes of proprioception, taken as those of the robot's base"
    return "unknown", "proprioception does not say what moves"
