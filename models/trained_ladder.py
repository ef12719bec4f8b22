"""Which noise ladders a model was trained for, and whether a schedule's fits.

A model trained by flow matching knows every level, and one trained on its own rollouts those that
the rollouts had, any ladder of which may be asked for. A distilled one knows the rungs that it was
distilled on, and says nothing sensible of what lies between.
"""

import warnings
from dataclasses import dataclass

from worldsim.config.limits import Positive, Whole
from worldsim.config.values import Checked
from worldsim.diffusion.flow import sampling_sigmas
from worldsim.diffusion.schedule import Schedule
from worldsim.errors import QualityWarning, UsageError

TOLERANCE = 1e-5
"""Levels nearer than this are the same."""


@dataclass(frozen=True)
class TrainedLadder(Checked):
    """Attributes:
    rungs: of the ladder that was distilled; 0 for a model that was not distilled.
    shift: that moved its levels toward noise.
    jumps_to_end: whether every estimate is of the flow's end (consistency), so that chunks go
        down by fresh noise; else estimates are of where the pass leads.
    bidirectional: whether frames in flight saw each other both ways in training.
    """

    rungs: Whole = 0
    shift: Positive = 1.0
    jumps_to_end: bool = False
    bidirectional: bool = False

    def fits(self, steps: int) -> bool:
        """Whether a ladder of so many even steps has known levels only."""
        return not self.rungs or self.rungs % steps == 0

    def nearest(self, steps: int) -> int:
        """The greatest number of steps up to `steps` that fits."""
        return next(count for count in range(steps, 0, -1) if self.fits(count))

    def check(self, schedule: Schedule, solver: str) -> None:
        """Refuse levels that the model was never distilled on; warn of what it was not trained for.

        Args:
            schedule: of a stream.
            solver: `ode` or `renoise`, how its chunks go down a rung.

        Raises:
            UsageError: a level of the schedule's ladder is none of the distilled ones.
        """
        if self.rungs:
            known = sampling_sigmas(self.rungs, self.shift).tolist()
            strange = [
                round(level, 3)
                for level in schedule.sigmas
                if min(abs(level - rung) for rung in known) > TOLERANCE
            ]
            if strange:
                fitting = [n for n in range(1, self.rungs + 1) if self.fits(n)]
                raise UsageError(
                    f"this model was distilled on {self.rungs} rungs of shift {self.shift:g}, and "
                    f"the sampler's ladder has other levels: {strange}. Take sampling steps among "
                    f"{fitting}, of the same shift"
                )
            if self.jumps_to_end and solver == "ode" and schedule.steps > 1:
                _warn(
                    "this model was distilled to say where the flow ends, and the sampler follows "
                    "the flow; take sampler.solver=renoise"
                )
        together = schedule.most_in_flight * schedule.chunk
        if schedule.bidirectional and together > 1 and not self.bidirectional:
            _warn(
                "frames in flight shall see each other both ways, which this model was never "
                "trained for (plan.rollout.bidirectional); take sampler.bidirectional=false"
            )


def _warn(text: str) -> None:
    warnings.warn(text, QualityWarning, stacklevel=5)
