"""Batches whose content depends on (seed, micro-step) only."""

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import IterableDataset

from worldsim.training.draws import EpochOrder, stream

Batch = dict[str, Any]
"""Tensors by name, plus `micro_step`, the number of the batch since the start of training."""


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
