"""What the rows of an episode say of its outcome."""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldsim.data.rows import column_array

SUCCESS_COLUMNS = ("success", "next.success", "is_episode_successful")


def outcome(table: pa.Table, name: str) -> NDArray[Any]:
    """`[N]` values at each row's own observation.

    LeRobot's `next.reward` and `next.success` belong to the observation after the row's action,
    so they are shifted by one row; an absent column is zeros.
    """
    if name in table.column_names:
        return column_array(table[name], name)[:, 0]
    shifted = np.zeros(len(table))
    if f"next.{name}" in table.column_names:
        shifted[1:] = column_array(table[f"next.{name}"], f"next.{name}")[:-1, 0]
    return shifted


def success_of(table: pa.Table) -> NDArray[np.bool_]:
    """`[N]` whether the task is solved at each row's observation.

    Where only the episode as a whole is said to have succeeded, or its success followed the last
    observation, the last one counts as solved: nothing later was seen.
    """
    found = outcome(table, "success").astype(bool)
    if not found.any():
        found[-1:] = succeeded(table)
    return found


def succeeded(table: pa.Table) -> bool:
    """Whether any column says that the episode succeeded."""
    names = [name for name in SUCCESS_COLUMNS if name in table.column_names]
    return any(bool(column_array(table[name], name).any()) for name in names)
