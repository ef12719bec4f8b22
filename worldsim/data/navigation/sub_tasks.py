"""Instructions of several sub-tasks, and the actions that close one.

An agent that walks closes the sub-task under way by `stop`, met or not (LH-VLN). Whoever follows
an instruction counts its own stops; nothing else tells which part of the text is current.

Legend: N rows, A action.
"""

import re
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from worldsim.data.navigation.walk import STOP
from worldsim.spec import ActionSpec

if TYPE_CHECKING:
    from worldsim.data.cache import CachedDataset

STILL = 0.05
"""Share of a full step and of a full turn below which a continuous action is to stop."""
_THEN = re.compile(r"[,;.]?\s+(?:and\s+)?then\s+|;\s*|\.\s+", re.IGNORECASE)


def sub_tasks(instruction: str) -> tuple[str, ...]:
    """Parts of an instruction, in order; one whose words join none is a part itself.

    Parts are told by "then", semicolons and full stops.
    """
    parts = [part.strip(" ,;.") for part in _THEN.split(instruction)]
    return tuple(part for part in parts if part) or (instruction,)


def can_stop(action: ActionSpec) -> bool:
    """Whether an action can close a sub-task: a choice `stop`, or a body that can rest."""
    return STOP in action.names or action.names == ("forward", "turn")


def stopping(action: ActionSpec, actions: NDArray[np.float32]) -> NDArray[np.bool_]:
    """Which actions `[N, A]` are to stop, `[N]`.

    A continuous one is where both its parts are almost nothing (habitat-lab `VelocityAction`).
    """
    if STOP in action.names:
        return np.asarray(actions.argmax(axis=-1) == action.names.index(STOP))
    if not can_stop(action):
        return np.zeros(len(actions), bool)
    return np.asarray((np.abs(actions) < STILL).all(axis=-1))


def stops_before(data: "CachedDataset", rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """How often somebody stopped in its episode before each recorded row `[N]`, `[N]`."""
    stops = stopping(data.spec.action, np.asarray(data.action))
    total, bounds = np.concatenate([[0], np.cumsum(stops)]), np.asarray(data.episode_start)
    first = bounds[np.searchsorted(bounds, rows, side="right") - 1]
    return np.asarray(total[rows] - total[first], np.int64)


def under_way(
    data: "CachedDataset", rows: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], list[str]]:
    """Whether a sub-task is under way at each recorded row `[N]`, and those that are, in turn."""
    tasks = [sub_tasks(task) for task in data.tasks]
    episode = np.searchsorted(np.asarray(data.episode_start), rows, side="right") - 1
    stage = stops_before(data, rows)
    some = np.asarray(stage < np.array([len(parts) for parts in tasks])[episode])
    return some, [tasks[e][part] for e, part in zip(episode[some], stage[some], strict=True)]
