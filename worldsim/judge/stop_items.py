"""What recordings teach of stops: frames, what was asked there, and whether a stop would meet it.

Where recordings tell the event `at_goal`, every frame teaches: it says where a stop would meet the
sub-task under way. Elsewhere they teach by the success of recorded stops, and by what follows from
that. Whoever stopped with success was near the thing and faced it. So frames of the same episode
from far away, or turned away on the spot, would have been no success.

Legend: N items.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.poses import frame_of
from worldsim.data.cache import CachedDataset
from worldsim.data.navigation.sub_tasks import stopping, sub_tasks, under_way
from worldsim.errors import DataError
from worldsim.judge.sampling import TRAINED, Rows, episodes_in

AT_GOAL = "at_goal"
"""The event that a stop here would meet the sub-task under way."""
SEEN = "goal_seen"
"""The event that the thing is in sight."""
GOAL, CLEAR = ("goal_x", "goal_y"), "goal_clear"
"""Entries of the simulator's state: where the thing is, and whether nothing hides it."""
APART = 2.5
"""Metres from a met stop beyond which another place cannot be near the same thing. A stop succeeds
within a metre or so of it, and a straight way is the shortest."""
SPOT, TURNED = 0.3, np.deg2rad(75)
"""Metres within which a place is the same; radians of a turn after which nothing is faced that was.
"""


@dataclass(frozen=True, eq=False)
class StopItems:
    """Frames with what was asked, and whether a stop there would meet it.

    Attributes:
        rows: `[N]` rows of the cache.
        asked: N texts.
        met: `[N]`.
        real: `[N]` whether somebody stopped there; else it follows from another stop, or an event.
        seen: `[N]` 1 where the thing is in sight, 0 where not, NaN where nobody told.
        offset: `[N, 2]` metres to the thing, ahead and to the left; NaN where nobody told, or it
            is hidden.
    """

    rows: Rows
    asked: list[str]
    met: NDArray[np.bool_]
    real: NDArray[np.bool_]
    seen: NDArray[np.float32]
    offset: NDArray[np.float32]

    def where(self, mask: NDArray[np.bool_]) -> "StopItems":
        """Those in `mask` `[N]`."""
        return self.at(np.flatnonzero(mask))

    def at(self, index: NDArray[np.int64]) -> "StopItems":
        """A copy of those at places `index`."""
        told = self.met[index], self.real[index], self.seen[index], self.offset[index]
        return StopItems(self.rows[index], [self.asked[int(i)] for i in index], *told)


def stop_items(data: CachedDataset, episodes: list[int]) -> StopItems:
    """What recorded stops teach.

    Of an episode of several sub-tasks success tells that all were met, failure not which was not;
    the latter are left out, unless an event tells.
    """
    if AT_GOAL in data.spec.events:
        return _told_items(data, episodes)
    found: list[tuple[int, str, bool, bool]] = []
    for episode in episodes:
        rows = np.arange(*data.rows(episode).indices(len(data.pixels)))[:-1]
        parts = sub_tasks(data.tasks[episode])
        stops = rows[stopping(data.spec.action, np.asarray(data.action[rows]))][: len(parts)]
        won = bool(np.asarray(data.success[data.rows(episode)]).any())
        if len(stops) < len(parts) or not (won or len(parts) == 1):
            continue
        found += [(int(row), part, won, True) for row, part in zip(stops, parts, strict=True)]
        if won and len(parts) == 1:
            away = _away(data, rows[rows < stops[0]], int(stops[0]))
            found += [(int(row), parts[0], False, False) for row in away]
    rows_ = np.array([row for row, *_ in found], np.int64)
    met, real = (np.array([item[i] for item in found], bool) for i in (2, 3))
    seen = np.full(len(found), np.nan, np.float32)
    offset = np.full((len(found), 2), np.nan, np.float32)
    return StopItems(rows_, [item[1] for item in found], met, real, seen, offset)


def _told_items(data: CachedDataset, episodes: list[int]) -> StopItems:
    """Every frame of the episodes at which a sub-task is under way, as the event tells of it."""
    bounds = [data.rows(episode).indices(len(data.pixels)) for episode in episodes]
    rows = np.concatenate([np.zeros(0, np.int64), *(np.arange(*b)[:-1] for b in bounds)])
    rows = rows[np.asarray(data.action_mask, bool)[rows]]
    some, asked = under_way(data, rows)
    rows, names = rows[some], data.spec.events
    told = np.asarray(data.extras["events"], np.float32)[rows]
    seen = np.full(len(rows), np.nan, np.float32)
    if SEEN in names:
        seen = told[:, names.index(SEEN)]
    stops = stopping(data.spec.action, np.asarray(data.action)[rows])
    met = told[:, names.index(AT_GOAL)] > 0.5
    return StopItems(rows, asked, met, stops, seen, _offsets(data, rows))


def _offsets(data: CachedDataset, rows: Rows) -> NDArray[np.float32]:
    """Metres `[N, 2]` ahead and to the left to the goal that the simulator's state tells."""
    spec, found = data.spec, np.full((len(rows), 2), np.nan, np.float32)
    place, clear = spec.state.indices(*GOAL), spec.state.indices(CLEAR)
    agent = frame_of(spec.agent_pos)
    if place is None or clear is None or agent is None or agent.heading is None:
        return found
    state, pose = np.asarray(data.state)[rows], np.asarray(data.agent_pos)[rows]
    x, y = (state[:, list(place)] - pose[:, list(agent.plane)]).T
    cos, sin = pose[:, list(agent.heading)].T
    there = state[:, clear[0]] > 0.5
    found[there] = np.stack([x * cos + y * sin, y * cos - x * sin], axis=1)[there]
    return found


def _away(data: CachedDataset, rows: Rows, stop: int) -> Rows:
    """Those of `rows` from which a met stop's thing is too far away, or not faced."""
    pose, last = np.asarray(data.agent_pos[rows]), np.asarray(data.agent_pos[stop])
    apart = np.hypot(*(pose[:, :2] - last[:2]).T)
    turned = np.arccos(np.clip(pose[:, 2:4] @ last[2:4], -1, 1))
    return np.asarray(rows[(apart > APART) | ((apart < SPOT) & (turned > TURNED))], np.int64)


def require_stops(data: CachedDataset) -> StopItems:
    """What the episodes that a judge learns from teach of stops.

    Raises:
        DataError: there is no stop with success, or nothing without.
    """
    items = stop_items(data, episodes_in(data, TRAINED))
    if not items.met.any() or items.met.all():
        raise DataError(
            f"cannot train a judge of stops: {int(items.met.sum())} stops met what was asked, "
            f"{int((~items.met & items.real).sum())} did not; record episodes of both kinds, with "
            "instructions, a column success, and an action `stop`"
        )
    return items
