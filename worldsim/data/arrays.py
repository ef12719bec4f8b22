"""The arrays of an episode, out of its rows.

Needed channels that a data set lacks become zeros, or what its other columns imply; optional ones
are read where the spec says that they were recorded.
"""

from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from worldsim.data.channels import (
    ACHIEVED_ACTION,
    ACTION,
    MASK,
    SUCCESS,
    Channel,
    Shape,
    channels_of,
)
from worldsim.data.rows import column_array
from worldsim.errors import DataError
from worldsim.spec import WorldSpec

SUCCESS_COLUMNS = ("success", "next.success", "is_episode_successful")


def episode_arrays(
    table: pa.Table, spec: WorldSpec, stored: WorldSpec, where: str
) -> dict[str, NDArray[Any]]:
    """All channels, N rows each; the last action is zero and masked out.

    Args:
        table: rows of an episode.
        spec: the world to read; some of the cameras of `stored`.
        stored: the world that was recorded.
        where: the episode, for messages.

    Raises:
        DataError: a column is not there, or not of the shape that the world says.
    """
    views = [stored.camera_names.index(name) for name in spec.camera_names]
    arrays = {}
    for channel, shape in channels_of(stored):
        values = _channel(channel, shape, table, where)
        whole = not channel.per_view or views == list(range(len(stored.cameras)))
        arrays[channel.name] = values if whole else np.ascontiguousarray(values[:, views])
        if channel.per == "action":
            values[-1] = 0.0
    return arrays


def _channel(channel: Channel, shape: Shape, table: pa.Table, where: str) -> NDArray[Any]:
    """`[N, *shape]` of one channel."""
    if channel.name == MASK:
        return np.arange(len(table)) < len(table) - 1
    if channel.column == SUCCESS:
        return success_of(table)
    if not shape:
        return outcome(table, channel.column).astype(channel.dtype)
    return _matrix(channel, shape, table, where)


def _matrix(channel: Channel, shape: Shape, table: pa.Table, where: str) -> NDArray[Any]:
    key = channel.column
    if key == ACHIEVED_ACTION and key not in table.column_names:
        key = ACTION
    width = int(np.prod(shape))
    if key not in table.column_names or not width:
        if channel.optional:
            raise DataError(
                f"{where}: there is no column {key!r}, which worldsim.spec of info.json says was "
                "recorded"
            )
        return np.zeros((len(table), *shape), channel.dtype)
    values = column_array(table[key], f"{where}, {key}").astype(channel.dtype)
    if values.shape[1] != width:
        raise DataError(f"{where}: {key} has {values.shape[1]} entries, expected {width}")
    return values.reshape(len(table), *shape)


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
