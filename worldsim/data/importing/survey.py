"""A first look at all rows of a source: what is faulty, and what actions and states range over.

Legend: N rows, T actions between T+1 observations, A action, P proprioception.
"""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from worldsim.data.importing.source import Source, SourceEpisode, SourceRows, SourceWorld
from worldsim.data.layout import Progress
from worldsim.errors import DataError

LOOKED_AT = 200
"""Episodes whose rows are kept to find out what actions mean."""


@dataclass
class Survey:
    """What the rows of all episodes show, collected one by one.

    Attributes:
        low: `[A]` least action.
        high: `[A]` greatest action.
        state: least and greatest proprioception, `[2, P]`.
        sample: rows of the first episodes.
        faults: {episode's place: what is wrong}.
        count: episodes that are whole.
    """

    low: NDArray[np.float32]
    high: NDArray[np.float32]
    state: NDArray[np.float32]
    sample: list[SourceRows] = field(default_factory=list)
    faults: dict[int, str] = field(default_factory=dict)
    count: int = 0

    @classmethod
    def of(cls, source: Source, progress: Progress | None) -> "Survey":
        """Look at all rows of a source."""
        actions, states = len(source.world.action), len(source.world.agent_pos)
        limits = np.array([np.full(states, np.inf), np.full(states, -np.inf)], np.float32)
        survey = cls(np.full(actions, np.inf, "f"), np.full(actions, -np.inf, "f"), limits)
        total = len(source.episodes)
        for place, episode in enumerate(source.episodes):
            try:
                survey.add(checked_rows(episode, source.world))
            except DataError as error:
                survey.faults[place] = str(error)
            if progress is not None:
                progress(place + 1, total)
        return survey

    def add(self, rows: SourceRows) -> None:
        """Take in an episode."""
        self.low = np.minimum(self.low, rows.action.min(axis=0))
        self.high = np.maximum(self.high, rows.action.max(axis=0))
        least = np.minimum(self.state[0], rows.agent_pos.min(axis=0))
        self.state = np.stack([least, np.maximum(self.state[1], rows.agent_pos.max(axis=0))])
        self.count += 1
        if len(self.sample) < LOOKED_AT:
            self.sample.append(rows)

    @property
    def action(self) -> NDArray[np.float32]:
        """`[N, A]` actions of the sample."""
        return np.concatenate([rows.action for rows in self.sample])


def checked_rows(episode: SourceEpisode, world: SourceWorld) -> SourceRows:
    """The rows of an episode, held to the world.

    Raises:
        DataError: they cannot be read, are of other widths, or hold NaN.
    """
    rows = episode.rows()
    for name, values, names in (
        ("actions", rows.action, world.action),
        ("proprioception", rows.agent_pos, world.agent_pos),
        ("rewards", rows.reward[:, None], ("reward",)),
    ):
        if values.shape[1] != len(names):
            raise DataError(
                f"{episode.name}: {name} have {values.shape[1]} numbers, expected {len(names)} "
                f"({', '.join(names)})"
            )
        finite = np.isfinite(values)
        if not finite.all():
            row, entry = np.argwhere(~finite)[0].tolist()
            raise DataError(
                f"{episode.name}: {name} hold NaN or infinity, first {names[entry]} in row {row}"
            )
    return rows
