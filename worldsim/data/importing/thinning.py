"""Leaving out observations of an episode: every so many rows, and where nothing happens.

What was done between two kept observations becomes one action: displacements add up, targets and
grippers keep the last.

Legend: T actions between T+1 observations, K kept observations, A action, P proprioception.
"""

from dataclasses import replace
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from worldsim.data.importing.source import SourceRows

STILL = 0.005
"""Share of an entry's range by which neither command nor proprioception changes in an idle step.

Openpi leaves out DROID's idle frames likewise, by joint velocities (openpi, droid README)."""


def every(rows: SourceRows, stride: int) -> NDArray[np.intp]:
    """`[K]` each observation that is `stride` after the one before."""
    return np.arange(0, len(rows.agent_pos), stride)


def without_idle(
    rows: SourceRows,
    most: int,
    action_range: NDArray[np.float32],
    state_range: NDArray[np.float32],
    delta: NDArray[np.bool_],
) -> NDArray[np.intp]:
    """`[K]` observations, of each idle stretch the first `most` alone.

    A step is idle if neither command nor proprioception changes. A success is never left out.

    Args:
        rows: the episode.
        most: observations kept of a stretch.
        action_range: `[A]` greatest less least value over the set.
        state_range: `[P]` likewise.
        delta: `[A]` entries that are displacements, which are idle at zero.
    """
    before = np.concatenate([rows.action[:1], rows.action[:-1]])
    asked = np.where(delta, rows.action, rows.action - before)
    quiet = (np.abs(asked) <= STILL * action_range).all(axis=1)
    moved = np.abs(np.diff(rows.agent_pos, axis=0))
    quiet &= (np.minimum(moved, np.abs(moved - 2 * np.pi)) <= STILL * state_range).all(axis=1)
    quiet &= rows.success[1:] == rows.success[:-1]
    kept, run = [0], 0
    for step, idle in enumerate(quiet):
        run = run + 1 if idle else 0
        if run <= most:
            kept.append(step + 1)
    return np.array(kept)


def thinned(rows: SourceRows, kept: NDArray[np.intp], delta: NDArray[np.bool_]) -> SourceRows:
    """The episode of the kept observations alone.

    Args:
        rows: the episode.
        kept: `[K]` observations, ascending from 0; at least two.
        delta: `[A]` entries that are displacements.
    """
    if len(kept) == len(rows.agent_pos):
        return rows
    spans = list(pairwise(kept.tolist()))
    sums = np.stack([rows.action[a:b].sum(axis=0) for a, b in spans])
    action = np.where(delta, sums, rows.action[kept[1:] - 1]).astype(np.float32)
    reward = np.array([0.0, *(rows.reward[a + 1 : b + 1].sum() for a, b in spans)], np.float32)
    success = rows.success[kept].copy()
    success[-1] |= rows.success[-1]
    return replace(
        rows, action=action, agent_pos=rows.agent_pos[kept], reward=reward, success=success
    )
