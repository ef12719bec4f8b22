"""Batches, their order and their noise as functions of (seed, micro-step) alone.

Nothing is saved and nothing is fast-forwarded: a run resumed from a checkpoint of step n goes on
along the curve that it was on.
"""

from collections.abc import Callable, Iterator, Mapping
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from worldsim.errors import UsageError

Batch = dict[str, Any]
"""Tensors by name, plus `micro_step`, the number of the batch since the start of training."""


class Loss(NamedTuple):
    """A scalar to minimise and scalars to log."""

    total: Tensor
    logs: dict[str, Tensor]


class StageLoss(Protocol):
    """A stage's loss: a function of the batch, the fraction of training done and randomness."""

    def __call__(self, batch: Batch, fraction: float, generator: torch.Generator) -> Loss:
        """Compute the loss of one micro-batch; all randomness comes from `generator`."""
        ...


def ends_step(batch: Mapping[str, Any], accumulate: int) -> bool:
    """Whether this micro-batch is the last one of an optimiser step."""
    return (int(batch["micro_step"]) + 1) % accumulate == 0


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


class StepBatches(IterableDataset[Batch]):
    """An endless stream of batches that can begin anywhere.

    Args:
        gather: item numbers `[B]`, and randomness for the batch, to a batch of tensors.
        population: how many items there are.
        batch_size: B.
        seed: decides the order.
    """

    def __init__(
        self,
        gather: Callable[[Tensor, torch.Generator], Batch],
        population: int,
        batch_size: int,
        seed: int,
    ) -> None:
        self._gather = gather
        self._order = EpochOrder(population, seed)
        self._batch_size = batch_size
        self._seed = seed
        self.first: Callable[[], int] = lambda: 0
        """Asked for the first micro-step whenever iteration begins; resuming sets it."""

    def __iter__(self) -> Iterator[Batch]:
        step = self.first()
        while True:
            yield self.batch(step)
            step += 1

    def batch(self, micro_step: int) -> Batch:
        """The batch of one micro-step."""
        start = micro_step * self._batch_size
        items = self._order[start : start + self._batch_size]
        batch = self._gather(items, stream(self._seed, "gather", micro_step))
        return {**batch, "micro_step": micro_step}
