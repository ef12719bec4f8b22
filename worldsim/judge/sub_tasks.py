"""Verdicts on episodes of several sub-tasks, each of which the agent closes by `stop`.

Legend: N episodes, A action.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worldsim.data.cache import CachedDataset
from worldsim.data.navigation.sub_tasks import stopping, stops_before, sub_tasks
from worldsim.judge.judge import Bool, Float, JudgeTracker
from worldsim.judge.report import VerdictRule
from worldsim.spec import ActionSpec


def all_closed(data: CachedDataset, episode: int) -> bool:
    """Whether somebody stopped in a recorded episode once for each of its sub-tasks."""
    last = np.array([data.episode_start[episode + 1] - 1], np.int64)
    return int(stops_before(data, last)[0]) >= len(sub_tasks(data.tasks[episode]))


def left_at(data: CachedDataset, rows: NDArray[np.int64]) -> list[str]:
    """What is left to do at recorded rows `[N]`: the instruction from the part under way on."""
    episodes = np.searchsorted(np.asarray(data.episode_start), rows, side="right") - 1
    parts = [sub_tasks(data.tasks[int(episode)]) for episode in episodes]
    stages = stops_before(data, rows)
    return [
        "; ".join(each[min(int(stage), len(each) - 1) :])
        for each, stage in zip(parts, stages, strict=True)
    ]


class SubTaskTracker(JudgeTracker):
    """Counts the stops of N episodes, and at each takes the judge's word for its sub-task.

    An episode is over with the stop that closes its last sub-task. It has succeeded if the judge
    called every one of them met. The rule's threshold decides; a stop lasts one frame, so its hold
    means nothing here.

    Args:
        rule: of the judge.
        num_episodes: N.
        action: of the world; tells which actions are to stop.
    """

    def __init__(self, rule: VerdictRule, num_episodes: int, action: ActionSpec) -> None:
        super().__init__(rule, num_episodes)
        self._action = action
        self._parts: list[tuple[str, ...]] = [("",)] * num_episodes
        self._left = np.ones(num_episodes, np.int64)
        self._met = np.zeros(num_episodes, np.int64)

    @property
    def asked(self) -> tuple[str, ...]:
        """N sub-tasks under way; of an episode that is over the last one."""
        return tuple(
            parts[min(len(parts) - int(left), len(parts) - 1)]
            for parts, left in zip(self._parts, self._left, strict=True)
        )

    @property
    def over(self) -> Bool:
        """`[N]` whether no sub-task is left."""
        return np.asarray(self._left == 0)

    @property
    def stages(self) -> Float:
        """`[N, 2]` sub-tasks left, and met."""
        return np.stack([self._left, self._met], axis=1).astype(np.float32)

    def begin(self, tasks: Sequence[str], rows: NDArray[np.int64] | None = None) -> None:
        """See `JudgeTracker.begin`."""
        super().begin(tasks, rows)
        places = range(len(self._parts)) if rows is None else map(int, rows)
        for place, task in zip(places, tasks, strict=True):
            self._parts[place] = sub_tasks(task)
            self._left[place], self._met[place] = len(self._parts[place]), 0

    def update(
        self,
        probability: NDArray[np.float32],
        rows: Bool | None = None,
        actions: Float | None = None,
    ) -> Bool:
        """See `JudgeTracker.update`; without actions nothing is closed."""
        where = np.flatnonzero(np.ones(len(self._left), bool) if rows is None else rows)
        if actions is None:
            return self.succeeded
        closing = stopping(self._action, np.asarray(actions, np.float32)) & (self._left[where] > 0)
        closed = where[closing]
        self._left[closed] -= 1
        self._met[closed] += np.asarray(probability)[closing] >= self.rule.threshold
        counts = np.array([len(parts) for parts in self._parts], np.int64)
        self._succeeded = (self._left == 0) & (self._met == counts)
        return self.succeeded

    def select(self, indices: NDArray[np.int64]) -> None:
        """See `JudgeTracker.select`."""
        super().select(indices)
        self._parts = [self._parts[int(index)] for index in indices]
        self._left, self._met = self._left[indices], self._met[indices]
