"""What an imagined game keeps outside its network: numbers that events change, and a map.

Model as a Game (2503.21172, sections 3.2 and 3.3): a network says whether an event fired, and a
record does the arithmetic; what was shown of a place is kept, and shown again there. Here the env
owns both, so rewards and counters never come from pixels, and what it shows is written back into
the frame that leads the next one.

Legend: N envs, H W pixels, C columns of cells.
"""

from dataclasses import dataclass, field
from typing import Protocol, Self

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import UsageError

Pixels = NDArray[np.uint8]
Bool = NDArray[np.bool_]
Whole = NDArray[np.int64]


class EventReader(Protocol):
    """Says of steps whether an event fired: a trained head, or a rule."""

    def begin(self, count: int) -> None:
        """Forget what was, since N games begin."""

    def read(self, before: Pixels, after: Pixels, choices: Whole, places: Whole) -> Bool:
        """Events `[N]`.

        Args:
            before: uint8 `[N, H, W, 3]` frames that the actions were taken in.
            after: those that were imagined then.
            choices: `[N]` actions.
            places: `[N]` where these led.
        """


@dataclass(eq=False)
class Ledger:
    """A number of each of N envs, and at which steps events changed it.

    Attributes:
        values: `[N]`.
        entries: (step, `[N]` change) of every step with a change.
        step: steps so far.
    """

    values: Whole
    entries: list[tuple[int, Whole]] = field(default_factory=list)
    step: int = 0

    @classmethod
    def of(cls, values: Whole) -> Self:
        """A ledger that begins with these numbers."""
        return cls(np.array(values, np.int64))

    def book(self, change: Whole | Bool) -> Whole:
        """Add `[N]` changes.

        Returns:
            The change of each env, its reward.

        Raises:
            UsageError: there is not one for each env.
        """
        added = np.asarray(change).astype(np.int64)
        if added.shape != self.values.shape:
            raise UsageError(
                f"a ledger of {len(self.values)} envs was given changes of shape "
                f"{list(added.shape)}; expected one for each"
            )
        self.step += 1
        if added.any():
            self.entries.append((self.step, added))
            self.values = self.values + added
        return added

    def select(self, rows: list[int]) -> Self:
        """Some of the envs, in this order."""
        entries = [(step, change[rows]) for step, change in self.entries]
        return type(self)(self.values[rows], entries, self.step)


@dataclass(eq=False)
class ExploredMap:
    """What each of N envs first showed of every cell of a line, as columns of its frames.

    Attributes:
        cell: columns of a cell.
        ahead: cells from the left edge of a frame to the one that the agent is in.
        rows: first and last row that is kept.
        kept: of each env, {cell: uint8 `[rows, cell, 3]`}.
    """

    cell: int
    ahead: int
    rows: tuple[int, int]
    kept: list[dict[int, Pixels]]

    @classmethod
    def of(cls, count: int, cell: int, ahead: int, rows: tuple[int, int]) -> Self:
        """Maps of N envs in which nothing is known."""
        return cls(cell, ahead, rows, [{} for _ in range(count)])

    def update(self, places: Whole, frames: Pixels, changed: Bool) -> None:
        """Keep what cells first show; not the agent's own, which it hides.

        Args:
            places: `[N]` the agents' cells.
            frames: uint8 `[N, H, W, 3]`.
            changed: `[N]` whether the agent's cell looks otherwise from now on.
        """
        for held, place, frame, new in zip(
            self.kept, places.tolist(), frames, changed, strict=True
        ):
            if new:
                held.pop(place, None)
            for cell, columns in self._visible(place, frame.shape[1]):
                if cell != place and cell not in held:
                    held[cell] = frame[self.rows[0] : self.rows[1], columns].copy()

    def paste(self, places: Whole, frames: Pixels) -> Pixels:
        """Frames in which every known cell looks as it first did, but for the agents' own."""
        shown = frames.copy()
        for held, place, frame in zip(self.kept, places.tolist(), shown, strict=True):
            for cell, columns in self._visible(place, frame.shape[1]):
                if cell != place and cell in held:
                    frame[self.rows[0] : self.rows[1], columns] = held[cell]
        return shown

    def _visible(self, place: int, width: int) -> list[tuple[int, slice]]:
        """Cells in a frame, and their columns."""
        first = place - self.ahead
        return [
            (first + index, slice(index * self.cell, (index + 1) * self.cell))
            for index in range(width // self.cell)
        ]

    def select(self, rows: list[int]) -> Self:
        """Some of the envs, in this order, independent of these."""
        return type(self)(self.cell, self.ahead, self.rows, [dict(self.kept[row]) for row in rows])
