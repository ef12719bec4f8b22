"""How well events are read off imagined frames: F1 of each, beside what was recorded.

Legend: n frames, E events.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from worldsim.data.cache import CachedDataset


class EventTally:
    """Counts events that are said and that are there.

    Args:
        names: of the E events that are said.
        cache: a data set, which may tell fewer or others.

    Attributes:
        names: those that it tells, which are the ones counted.
    """

    def __init__(self, names: Sequence[str], cache: CachedDataset) -> None:
        self.names = tuple(name for name in names if name in cache.spec.events)
        self._said = [names.index(name) for name in self.names]
        self._told = [cache.spec.events.index(name) for name in self.names]
        self._recorded = cache.extras.get("events")
        self._counts = np.zeros((3, len(self.names)), np.int64)

    def add(self, rows: NDArray[np.int64], probability: NDArray[np.float32] | None) -> None:
        """Count `[n, E]` probabilities of the events at `rows` `[n]`; None where none are said."""
        if probability is None or self._recorded is None:
            return
        said = probability[:, self._said] > 0.5
        there = np.asarray(self._recorded[rows])[:, self._told] > 0.5
        self._counts += np.stack([(said & there).sum(0), said.sum(0), there.sum(0)])

    def f1(self) -> dict[str, float]:
        """F1 of each event that was counted; NaN of one that neither was said nor happened."""
        hits, said, there = self._counts.astype(np.float64)
        with np.errstate(invalid="ignore"):
            shares = 2 * hits / (said + there)
        return dict(zip(self.names, shares.tolist(), strict=True))
