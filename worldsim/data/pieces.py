"""Episodes cut into pieces, each of which counts as an episode of its own.

Open loop begins at a first frame. Where few episodes are held out, pieces of a long one show more
of a model than its own first frame alone. They also exchange actions, which one episode cannot.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from worldsim.data.cache import CachedDataset
from worldsim.data.cache_writer import RIG_ARRAYS, RigArrays
from worldsim.errors import UsageError


def in_pieces(
    cache: CachedDataset, episodes: Sequence[int], steps: int
) -> tuple[CachedDataset, list[int]]:
    """The same rows, with some episodes cut up.

    Args:
        cache: decoded data set; its arrays are shared.
        episodes: which of its episodes to cut; the others stay whole.
        steps: of a piece, which has one frame more; an episode's last piece may be shorter.

    Returns:
        The data set of pieces and whole episodes, and the numbers in it of the pieces that show
        an action.

    Raises:
        UsageError: `steps` is less than 1.
    """
    if steps < 1:
        raise UsageError(f"a piece of an episode has {steps} steps; expected 1 or more")
    starts: list[int] = []
    source: list[int] = []
    for episode in range(cache.num_episodes):
        rows = cache.rows(episode)
        cut = range(rows.start, rows.stop, steps + 1) if episode in episodes else [rows.start]
        starts += cut
        source += [episode] * len(cut)
    ends = np.array([*starts, cache.episode_start[-1]], np.int64)
    chosen = [
        piece
        for piece, episode in enumerate(source)
        if episode in episodes and ends[piece + 1] - ends[piece] > 1
    ]
    cut_up = replace(
        cache,
        episode_start=ends,
        folds=[cache.folds[episode] for episode in source],
        metas=[cache.metas[episode] for episode in source],
        tasks=[cache.tasks[episode] for episode in source],
        rigs=RigArrays(*(getattr(cache.rigs, name)[source] for name in RIG_ARRAYS)),
    )
    return cut_up, chosen
