"""Collects what happens to N episodes while they run and end one by one.

Legend: N episodes, n rows still running, T steps.
"""

from collections.abc import Collection, Sequence

import numpy as np
from numpy.typing import NDArray

from worldsim.rollout.batch import Film, RolloutBatch, World
from worldsim.rollout.worlds import Moment

Rows = NDArray[np.int64]


class RolloutLog:
    """Notes every frame of N episodes.

    Args:
        policy: name.
        world: where it acts.
        ids: N start ids.
        film: ids whose frames are kept.
        watched: whether a judge watches.
    """

    def __init__(
        self,
        policy: str,
        world: World,
        ids: Sequence[int],
        film: Collection[int],
        watched: bool,
    ) -> None:
        self.policy, self.world, self.ids = policy, world, list(ids)
        count = len(self.ids)
        self._filmed = [i in set(film) for i in self.ids]
        self._success = np.zeros(count, bool)
        self._judged = np.zeros(count, bool) if watched else None
        self._errors: list[str | None] = [None] * count
        self._progress: list[list[float]] = [[] for _ in range(count)]
        self._probability: list[list[float]] = [[] for _ in range(count)]
        self._verdicts: list[list[bool]] = [[] for _ in range(count)]
        self._frames: list[list[NDArray[np.uint8]]] = [[] for _ in range(count)]
        self._actions: list[list[NDArray[np.float32]]] = [[] for _ in range(count)]

    def first(self, moment: Moment) -> None:
        """The frame before any action, of all N episodes."""
        self._note(np.arange(len(self.ids)), moment)

    def step(self, rows: Rows, actions: NDArray[np.float32], moment: Moment) -> None:
        """The frame that followed `actions` `[n, A]` in `rows`."""
        for row, action in zip(rows, actions, strict=True):
            self._actions[row].append(action.copy())
        self._success[rows] = moment.success
        if self._judged is not None and moment.judged is not None:
            self._judged[rows] = moment.judged
        self._note(rows, moment)

    def fail(self, rows: Rows, errors: Sequence[str]) -> None:
        """Episodes that broke off count as failed, whatever was reached."""
        for row, error in zip(rows, errors, strict=True):
            self._errors[row] = error
        self._success[rows] = False
        if self._judged is not None:
            self._judged[rows] = False

    def _note(self, rows: Rows, moment: Moment) -> None:
        for position, row in enumerate(rows):
            self._progress[row].append(float(moment.progress[position]))
            self._verdicts[row].append(bool(moment.success[position]))
            if moment.probability is not None:
                self._probability[row].append(float(moment.probability[position]))
            if self._filmed[row]:
                self._frames[row].append(moment.pixels[position].copy())

    def batch(self) -> RolloutBatch:
        """Everything noted."""
        return RolloutBatch(
            policy=self.policy,
            world=self.world,
            start_ids=tuple(self.ids),
            success=self._success,
            judged=self._judged,
            progress=np.array([max(trace, default=0.0) for trace in self._progress], np.float32),
            length=np.array([len(actions) for actions in self._actions], np.int64),
            errors=tuple(self._errors),
            probability_trace=tuple(np.array(t, np.float32) for t in self._probability),
            progress_trace=tuple(np.array(t, np.float32) for t in self._progress),
            films={self.ids[r]: self._film(r) for r in range(len(self.ids)) if self._frames[r]},
        )

    def _film(self, row: int) -> Film:
        actions = self._actions[row]
        probability = np.array(self._probability[row], np.float32)
        return Film(
            pixels=np.stack(self._frames[row]),
            actions=np.stack(actions) if actions else np.zeros((0, 0), np.float32),
            success=np.array(self._verdicts[row], bool),
            probability=probability if len(probability) else None,
            progress=np.array(self._progress[row], np.float32),
        )
