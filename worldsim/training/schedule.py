"""Learning rate as a function of the fraction of training done."""

import math
from dataclasses import dataclass

from worldsim.config.limits import Fraction, Share
from worldsim.config.values import Checked


@dataclass(frozen=True)
class CosineSchedule(Checked):
    """Linear warm-up, then half a cosine.

    Attributes:
        warmup: fraction of training over which the factor rises from 0 to 1.
        final: factor at the end.
    """

    warmup: Fraction = 0.03
    final: Share = 0.05

    def factor(self, fraction: float) -> float:
        """Multiplier of the base learning rate after `fraction` of training, in [0, 1]."""
        fraction = min(max(fraction, 0.0), 1.0)
        if fraction < self.warmup:
            return fraction / self.warmup
        decayed = (fraction - self.warmup) / (1.0 - self.warmup)
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * decayed))
