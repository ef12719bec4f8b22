"""Branches of streams: the same past continued, by the same noise or by other noise."""

import numpy as np

from worldsim.rows import take_rows
from worldsim.sampling.stream_rows import StreamRows

REDRAWN = 0x5EED
"""Keeps seeds of other draws apart from all that are given."""


def branched(rows: StreamRows, draws: int) -> StreamRows:
    """A copy of all rows, or `draws` copies one after the other, each by noise of its own.

    Args:
        rows: they go on unchanged.
        draws: 0 makes one copy that goes on by the same noise.
    """
    count = rows.sampling.count
    twin = take_rows(rows, [*range(count)] * max(draws, 1))
    for draw in range(draws):
        for row in range(draw * count, (draw + 1) * count):
            seed, env = twin.sampling.keys[row]
            twin.sampling.keys[row] = (_other_seed(seed, draw), env)
    return twin


def _other_seed(seed: int, draw: int) -> int:
    """A function of the stream's seed and the draw's number."""
    return int(np.random.SeedSequence((REDRAWN, seed, draw)).generate_state(1, np.uint64)[0])
