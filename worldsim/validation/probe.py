"""Where things are in imagined frames, as a fixed reader of frames sees them.

What the dynamics say of a place is no evidence that the picture shows it. A probe that was trained
on recorded frames, the same for every model that is compared, reads both worlds; what it misreads
in simulated frames is its own share of the error.

Legend: n streams, V views, H W pixels, S state, K horizons.
"""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from worldsim.cameras.poses import position_entries
from worldsim.judge.judge import Judgement, ObservedFrame
from worldsim.spec import WorldSpec

Float = NDArray[np.float64]


class Reader(Protocol):
    """What reads a state off frames, such as a `Judge`."""

    spec: WorldSpec

    def read(self, observation: ObservedFrame, action: NDArray[np.float32] | None) -> Judgement:
        """Read n observations; the action is not told here."""
        ...


LEAST_WAY_M = 1e-3
"""Mean way of a thing below which it is taken to rest, and no share of it is told."""


class ProbeTally:
    """Errors in metres of every position of the state, by horizon, and how far things moved.

    A thing that stays behind and one that goes astray are equally far off. The share tells them
    apart: of the ways that things went since the start, how much of each a frame shows along it.

    Args:
        reader: the probe.
        spec: of the data.
        horizons: K.

    Raises:
        SpecMismatchError: the probe reads another world.
    """

    def __init__(self, reader: Reader, spec: WorldSpec, horizons: int) -> None:
        spec.require_compatible(reader.spec, "the data set", "the judge")
        self._reader = reader
        self._groups = position_entries(spec.state)
        self.imagined = {name: np.full(horizons, np.nan) for name in self._groups}
        self.simulated = {name: np.full(horizons, np.nan) for name in self._groups}
        self.imagined_share = {name: np.full(horizons, np.nan) for name in self._groups}
        self.simulated_share = {name: np.full(horizons, np.nan) for name in self._groups}

    def add(
        self,
        horizon: int,
        shown: NDArray[np.uint8],
        truth: NDArray[np.uint8],
        agent_pos: NDArray[np.float32],
        state: NDArray[np.float32],
        start: NDArray[np.float32],
    ) -> None:
        """One step of streams: imagined and simulated frames, and what was recorded with the
        latter, proprioception `[n, P]` and state `[n, S]`, and the state `[n, S]` of the start."""
        worlds = (
            (self.imagined, self.imagined_share, shown),
            (self.simulated, self.simulated_share, truth),
        )
        for errors, shares, pixels in worlds:
            observation = ObservedFrame(np.ascontiguousarray(pixels), agent_pos)
            read = self._reader.read(observation, None).state
            for name, axes in self._groups.items():
                seen, there, before = (
                    each[:, list(axes.values())] for each in (read, state, start)
                )
                errors[name][horizon - 1] = float(np.linalg.norm(seen - there, axis=-1).mean())
                shares[name][horizon - 1] = share_of_way(seen - before, there - before)


def share_of_way(seen: NDArray[np.float32], true: NDArray[np.float32]) -> float:
    """How much of their ways `true` `[n, k]` things go in `seen` `[n, k]`, along them.

    Returns:
        1 where all arrive, 0 where all stay; NaN where on average nothing moved.
    """
    ways = np.linalg.norm(true, axis=-1)
    if ways.mean() < LEAST_WAY_M:
        return float("nan")
    along = (seen * true).sum(axis=-1) / np.maximum(ways, np.finfo(np.float32).tiny)
    return float(along.sum() / ways.sum())
