"""Collects what happens to N episodes while they run and end one by one.

Legend: N episodes, n rows still running, T steps.
"""

from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.rollout.batch import RolloutBatch
from worldsim.rollout.trajectory import OPTIONAL, Trajectory, position_columns
from worldsim.rollout.worlds import BatchWorld, Moment

Rows = NDArray[np.int64]


class RolloutLog:
    """Notes every observation and action of N episodes.

    Args:
        policy: name.
        world: where it acts.
        ids: N start ids.
        film: ids whose frames are kept.
        horizon: most steps of an episode.
    """

    def __init__(
        self,
        policy: str,
        world: BatchWorld,
        ids: Sequence[int],
        film: Collection[int],
        horizon: int,
    ) -> None:
        self.policy, self.world, self.ids, self.horizon = policy, world, list(ids), horizon
        self._filmed = [i in set(film) for i in self.ids]
        self._errors: list[str | None] = [None] * len(self.ids)
        self._frames: list[list[NDArray[np.uint8]]] = [[] for _ in self.ids]
        self._actions: list[list[NDArray[np.float32]]] = [[] for _ in self.ids]
        self._rows: list[dict[str, list[Any]]] = [{} for _ in self.ids]

    def first(self, moment: Moment) -> None:
        """The observation before any action, of all N episodes."""
        self._note(np.arange(len(self.ids)), moment)

    def step(self, rows: Rows, actions: NDArray[np.float32], moment: Moment) -> None:
        """The observation that followed `actions` `[n, A]` in `rows`."""
        for row, action in zip(rows, actions, strict=True):
            self._actions[row].append(action.copy())
        self._note(rows, moment)

    def fail(self, rows: Rows, errors: Sequence[str]) -> None:
        """Episodes that broke off count as failed, whatever was reached."""
        for row, error in zip(rows, errors, strict=True):
            self._errors[row] = error

    def batch(self) -> RolloutBatch:
        """Everything noted."""
        return RolloutBatch(
            policy=self.policy,
            world=self.world.kind,
            start_ids=tuple(self.ids),
            trajectories=tuple(self._trajectory(row) for row in range(len(self.ids))),
            errors=tuple(self._errors),
            horizon=self.horizon,
            position=position_columns(self.world.spec.agent_pos),
            films={i: np.stack(f) for i, f in zip(self.ids, self._frames, strict=True) if f},
        )

    def _note(self, rows: Rows, moment: Moment) -> None:
        for position, row in enumerate(rows):
            for name in ("agent_pos", "success", *OPTIONAL):
                values = getattr(moment, name)
                if values is not None:
                    self._rows[row].setdefault(name, []).append(values[position].copy())
            if self._filmed[row]:
                self._frames[row].append(moment.pixels[position].copy())

    def _trajectory(self, row: int) -> Trajectory:
        spec, noted = self.world.spec, {k: np.stack(v) for k, v in self._rows[row].items()}
        actions, watched = self._actions[row], self.world.judge is not None
        if not noted:  # the policy could not even be reset
            nothing = np.zeros(0, np.float32)
            noted = {"agent_pos": np.zeros((0, spec.agent_pos.dim), np.float32)}
            noted |= {"success": nothing.astype(bool)}
            noted |= {"progress": nothing} if self.world.tells_progress else {}
            noted |= {"probability": nothing, "judged": nothing.astype(bool)} if watched else {}
        empty = np.zeros((0, spec.action.dim), np.float32)
        return Trajectory(action=np.stack(actions) if actions else empty, **noted)
