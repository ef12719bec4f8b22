"""Learning rate as a function of the fraction of training done."""

import math
from dataclasses import dataclass

from worldsim.errors import UsageError


@dataclass(frozen=True)
class CosineSchedule:
    """Linear warm-up, then half a cosine.

    Attributes:
        warmup: fraction of training over which the factor rises from 0 to 1.
        final: factor at the end.
    """

    warmup: float = 0.03
    final: float = 0.05

    def __post_init__(self) -> None:
        if not 0.0 <= self.warmup < 1.0 or not 0.0 <= self.final <= 1.0:
            raise UsageError(f"schedule needs 0 <= warmup < 1 and 0 <= final <= 1, got {self}")

    def factor(self, fraction: float) -> float:
        """Multiplier of the base learning rate after `fraction` of training, in [0, 1]."""
        fraction = min(max(fraction, 0.0), 1.0)
        if fraction < self.warmup:
            return fraction / self.warmup
        decayed = (fraction - self.warmup) / (1.0 - self.warmup)
        return self.final + (1.0 - self.final) * 0.5 * (1.0 + math.cos(math.pi * decayed))
