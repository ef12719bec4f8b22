"""From success probabilities per frame to one verdict per episode.

Legend: N episodes running side by side.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError

Bool = NDArray[np.bool_]


@dataclass(frozen=True)
class VerdictRule:
    """An episode has succeeded once the probability was at least `threshold` for `hold` frames.

    Attributes:
        threshold: least success probability, in (0, 1).
        hold: how many consecutive frames it must last, at least 1.
    """

    threshold: float = 0.5
    hold: int = 1

    def __post_init__(self) -> None:
        if not 0 < self.threshold < 1 or self.hold < 1:
            raise UsageError(
                f"verdict rule: need 0 < threshold < 1 and hold >= 1, got {self.threshold}, "
                f"{self.hold}"
            )


class JudgeTracker:
    """Applies a `VerdictRule` to N episodes as their frames arrive. A verdict, once given, stays.

    Args:
        rule: threshold and hold.
        num_episodes: N.
    """

    def __init__(self, rule: VerdictRule, num_episodes: int) -> None:
        self.rule = rule
        self._streak = np.zeros(num_episodes, np.int64)
        self._succeeded = np.zeros(num_episodes, bool)

    @property
    def succeeded(self) -> Bool:
        """Verdicts so far, `[N]` bool."""
        return self._succeeded.copy()

    def reset(self, mask: Bool | None = None) -> None:
        """Forget the episodes in `mask` `[N]`, or all."""
        where = slice(None) if mask is None else mask
        self._streak[where] = 0
        self._succeeded[where] = False

    def update(self, probability: NDArray[np.float32], rows: Bool | None = None) -> Bool:
        """Read one more frame of each episode, or of those in the mask `rows`.

        Args:
            probability: `[N]`, or one value for each true entry of `rows`.
            rows: `[N]` bool; None for all.

        Returns:
            Verdicts so far, `[N]` bool.
        """
        where = np.ones(len(self._streak), bool) if rows is None else rows
        above = np.asarray(probability) >= self.rule.threshold
        self._streak[where] = np.where(above, self._streak[where] + 1, 0)
        self._succeeded |= self._streak >= self.rule.hold
        return self.succeeded

    def select(self, indices: NDArray[np.int64]) -> None:
        """Keep only the episodes in `indices`, in that order."""
        self._streak = self._streak[indices]
        self._succeeded = self._succeeded[indices]


def episode_verdict(probability: NDArray[np.float32], rule: VerdictRule) -> bool:
    """Verdict on one whole episode, from its probabilities `[T+1]`."""
    above = np.asarray(probability) >= rule.threshold
    if rule.hold == 1:
        return bool(above.any())
    if len(above) < rule.hold:
        return False
    windows = np.lib.stride_tricks.sliding_window_view(above, rule.hold)
    return bool(windows.all(axis=-1).any())
