"""Which rows of a cache a policy network learns from.

Legend: N rows of the cache, M chosen rows, K actions of a chunk, A action, V view.
"""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatch

import numpy as np
from numpy.typing import NDArray

from worldsim.data.cache import CachedDataset
from worldsim.data.episode import EpisodeMeta
from worldsim.errors import DataError


def episode_weights(
    metas: Sequence[EpisodeMeta], weights: Mapping[str, float], only_successes: bool
) -> NDArray[np.float32]:
    """`[E]` weight of each episode; 0 leaves it out.

    Args:
        metas: the episodes.
        weights: {pattern of recording policies' names, as in a shell: weight}; the first pattern
            that matches counts, and none means 0. An empty map gives every episode weight 1.
        only_successes: leave out episodes that never solved the task.

    Raises:
        DataError: nothing is left; the message lists the policies in the data.
    """

    def weight(meta: EpisodeMeta) -> float:
        if only_successes and not meta.success:
            return 0.0
        matching = (value for pattern, value in weights.items() if fnmatch(meta.policy, pattern))
        return next(matching, 0.0 if weights else 1.0)

    result = np.asarray([weight(meta) for meta in metas], np.float32)
    if not (result > 0).any():
        raise DataError(
            f"no episode to learn from: policies {sorted({meta.policy for meta in metas})} of "
            f"{len(metas)} episodes, looked for {dict(weights)}"
            + (" that succeeded" if only_successes else "")
        )
    return result


def chosen_rows(
    episode_start: NDArray[np.int64], weights: NDArray[np.float32]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows `[M]` of the episodes of positive weight, and the episode `[M]` of each."""
    lengths = np.diff(episode_start)
    episode = np.repeat(np.arange(len(lengths)), lengths)
    rows = np.flatnonzero(weights[episode] > 0)
    return rows, episode[rows]


def chunk_targets(
    recordings: CachedDataset, rows: NDArray[np.int64], episode: NDArray[np.int64], chunk: int
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Rows `[M, K]` whose actions follow each row, and whether each exists in its episode."""
    ahead = rows[:, None] + np.arange(chunk)
    end = np.asarray(recordings.episode_start)[episode + 1][:, None]
    inside = ahead < end
    clipped = np.minimum(ahead, end - 1)
    return clipped, inside & np.asarray(recordings.action_mask, bool)[clipped]
