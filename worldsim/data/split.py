"""Which episodes are held out: a property of the episode, which merging keeps.

Every episode lies in one of ten folds. The last fold is held out from training; a judge takes
another to choose its threshold. Data sets store the fold of each episode. Where it is not stored,
it follows from the episode's index.
"""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

from worldsim.errors import DataError

Split = Literal["train", "val", "all"]
FOLDS = 10
HELD_OUT = FOLDS - 1
FOLD_COLUMN = "worldsim/fold"
"""Column of the episodes table."""


def folds_by_index(indices: Sequence[int]) -> list[int]:
    """Folds of episodes by index; the last is held out if no other of two or more would be."""
    return hold_one_out([index % FOLDS for index in indices])


def stored_folds(rows: Sequence[tuple[int, Mapping[str, Any]]], where: str) -> list[int]:
    """Folds of episodes given as (index, columns of the episodes table).

    Args:
        rows: one pair an episode; those without a stored fold take that of their index.
        where: name of the data set, for messages.

    Raises:
        DataError: a stored fold is no number from 0 to `FOLDS` - 1.
    """
    folds = []
    for index, columns in rows:
        fold = columns.get(FOLD_COLUMN)
        if fold is not None and fold not in range(FOLDS):
            raise DataError(
                f"{where}: {FOLD_COLUMN} of episode {index} is {fold!r}, expected 0 to {FOLDS - 1}"
            )
        folds.append(index % FOLDS if fold is None else int(fold))
    return hold_one_out(folds)


def hold_one_out(folds: list[int]) -> list[int]:
    """The folds, with the last held out if no other of two or more is."""
    if HELD_OUT not in folds and len(folds) > 1:
        folds[-1] = HELD_OUT
    return folds


def episodes_of(folds: Sequence[int], part: Split) -> list[int]:
    """Positions of the episodes of a part, given the fold of each."""
    if part == "all":
        return list(range(len(folds)))
    return [i for i, fold in enumerate(folds) if (fold == HELD_OUT) == (part == "val")]
