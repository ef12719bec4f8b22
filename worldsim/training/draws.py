"""Randomness as a pure function of (seed, step): nothing to save, nothing to fast-forward.

Batch indices, diffusion noise and dropout of training step n depend on the run's seed and on n
only, so a run resumed from a checkpoint of step n continues on the curve it was on.
"""

from hashlib import blake2b

import torch
from torch import Tensor

from worldsim.errors import UsageError


def mix(seed: int, *path: int | str) -> int:
    """A 63-bit seed for the stream named by `path` below `seed`; equal on every platform."""
    text = "/".join(str(part) for part in (seed, *path))
    return int.from_bytes(blake2b(text.encode(), digest_size=8).digest(), "big") >> 1


def stream(seed: int, *path: int | str) -> torch.Generator:
    """A CPU generator of its own for the stream named by `path` below `seed`."""
    return torch.Generator().manual_seed(mix(seed, *path))


class EpochOrder:
    """An endless sequence over `population` items: one fresh permutation per epoch.

    Args:
        population: how many items there are.
        seed: orders the epochs.

    Raises:
        UsageError: there is nothing to draw from.
    """

    def __init__(self, population: int, seed: int) -> None:
        if population < 1:
            raise UsageError("there is nothing to train on: the training split holds no items")
        self._population = population
        self._seed = seed
        self._cached: tuple[int, Tensor] | None = None

    def __getitem__(self, span: slice) -> Tensor:
        """Items `span.start` to `span.stop` of the sequence, int64."""
        first, last = span.start // self._population, (span.stop - 1) // self._population
        parts = []
        for epoch in range(first, last + 1):
            offset = epoch * self._population
            begin = max(span.start - offset, 0)
            end = min(span.stop - offset, self._population)
            parts.append(self._permutation(epoch)[begin:end])
        return torch.cat(parts)

    def _permutation(self, epoch: int) -> Tensor:
        if self._cached is None or self._cached[0] != epoch:
            order = torch.randperm(self._population, generator=stream(self._seed, "epoch", epoch))
            self._cached = (epoch, order)
        return self._cached[1]
