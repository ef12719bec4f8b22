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


class ProbeTally:
    """Errors in metres of every position of the state, by horizon.

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

    def add(
        self,
        horizon: int,
        shown: NDArray[np.uint8],
        truth: NDArray[np.uint8],
        agent_pos: NDArray[np.float32],
        state: NDArray[np.float32],
    ) -> None:
        """One step of streams: imagined and simulated frames, and what was recorded with the
        latter, proprioception `[n, P]` and state `[n, S]`."""
        for into, pixels in ((self.imagined, shown), (self.simulated, truth)):
            observation = ObservedFrame(np.ascontiguousarray(pixels), agent_pos)
            gap = self._reader.read(observation, None).state - state
            for name, axes in self._groups.items():
                distance = np.linalg.norm(gap[:, list(axes.values())], axis=-1)
                into[name][horizon - 1] = float(distance.mean())
