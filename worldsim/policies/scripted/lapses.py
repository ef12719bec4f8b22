"""Lapses: stretches of an episode in which an expert grips, reaches or dawdles as it should not.

Experts, however noisy, either hold a thing well or do not hold it. Policies that were learnt from
pixels half close the fingers, hold things by their upper edge, let go early and take hold again;
a world model that has seen none of that has to guess what comes of it.
"""

from dataclasses import dataclass

import numpy as np

from worldsim.policies.scripted.controllers import OPEN

HEIGHTS = (-0.01, 0.04)
"""Metres by which the hand is taken to be lower than it is, while a lapse lasts and after it."""
_LENGTH = (2, 12)
_OPEN_FOR = (3, 9)
_GRIPS, _MISJUDGES, _DAWDLES = 0.6, 0.4, 0.4
"""Chances that a lapse concerns the grip, the height, the speed."""


@dataclass
class Lapse:
    """What is wrong for some steps.

    Attributes:
        steps: how many are left of it.
        grip: commanded whatever the expert wants, or None.
        speed: factor on the motions.
        height: see `HEIGHTS`.
    """

    steps: int = 0
    grip: float | None = None
    speed: float = 1.0
    height: float = 0.0

    def next(self, rng: np.random.Generator, chance: float) -> "Lapse":
        """This lapse a step later, or what follows it.

        Args:
            rng: of the episode.
            chance: that a lapse begins in a step without one.
        """
        if self.steps > 1:
            return Lapse(self.steps - 1, self.grip, self.speed, self.height)
        if rng.uniform() >= chance:
            return Lapse(height=self.height)
        concerns = rng.uniform(size=3) < (_GRIPS, _MISJUDGES, _DAWDLES)
        grip, height, speed = rng.uniform(-1.0, 1.0), rng.uniform(*HEIGHTS), rng.uniform()
        return Lapse(
            steps=int(rng.integers(*_LENGTH)),
            grip=float(grip) if concerns[0] else None,
            speed=float(speed) if concerns[2] else 1.0,
            height=float(height) if concerns[1] else self.height,
        )

    def let_go(self, rng: np.random.Generator, chance: float, closing: bool) -> "Lapse":
        """This lapse, or one that opens the fingers, begun by `chance` where they close."""
        if self.steps or not closing or rng.uniform() >= chance:
            return self
        return Lapse(int(rng.integers(*_OPEN_FOR)), OPEN, float(rng.uniform()), self.height)
