"""Episodes in memory to parquet rows and back. T actions make T+1 rows.

Read back, needed channels that a data set lacks become zeros, or what its other columns imply;
optional ones are read where the spec says that they were recorded.
"""

import json
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from worldsim.cameras.rig import CameraRig
from worldsim.data.angles import unwrapped, wraps
from worldsim.data.channels import (
    ACHIEVED_ACTION,
    ACTION,
    ACTIONS,
    MASK,
    STATE,
    SUCCESS,
    VALID_ACTION,
    Channel,
    Shape,
    channels_of,
)
from worldsim.data.episode import Episode, EpisodeMeta
from worldsim.errors import DataError, DataWarning
from worldsim.spec import WorldSpec


def vector_column(values: NDArray[Any]) -> pa.Array:
    """`[N, D]` as a fixed-size list column, or as a scalar column if D is 1.

    Rows of more axes become nested lists, as LeRobot stores arrays.
    """
    flat = pa.array(np.ascontiguousarray(values).reshape(-1))
    if values.ndim > 2:
        for size in reversed(values.shape[1:]):
            ends = np.arange(0, len(flat) + 1, size, dtype=np.int32)
            flat = pa.ListArray.from_arrays(ends, flat)
        return flat
    if values.ndim == 1 or values.shape[1] == 1:
        return flat
    return pa.FixedSizeListArray.from_arrays(flat, values.shape[1])


def with_columns(table: pa.Table, more: pa.Table) -> pa.Table:
    """`table` with the columns of `more` after its own."""
    for name in more.column_names:
        table = table.append_column(name, more[name])
    return table


def column_array(column: pa.ChunkedArray, where: str) -> NDArray[Any]:
    """A scalar or list column as `[N, D]`.

    Raises:
        DataError: rows of different lengths, nulls, or a type that is not numeric.
    """
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    rows = len(array)
    while pa.types.is_list(array.type) or pa.types.is_fixed_size_list(array.type):
        if array.null_count:
            raise DataError(f"{where}: expected lists without gaps, found null")
        if pa.types.is_list(array.type) and len(pc.unique(pc.list_value_length(array))) > 1:
            raise DataError(f"{where}: rows differ in length")
        array = array.flatten()
    if array.null_count or not (
        pa.types.is_floating(array.type)
        or pa.types.is_integer(array.type)
        or pa.types.is_boolean(array.type)
    ):
        raise DataError(f"{where}: expected numbers without gaps, found {array.type}")
    if rows and len(array) % rows:
        raise DataError(f"{where}: rows differ in length")
    values: NDArray[Any] = array.to_numpy(zero_copy_only=False).reshape(rows, -1)
    return values


def episode_rows(episode: Episode, spec: WorldSpec) -> pa.Table:
    """Feature columns of an episode, T+1 rows; the last one repeats the actions before it."""
    columns = {}
    for channel, shape in channels_of(spec):
        if 0 in shape:
            continue
        values = channel.of(episode).astype(channel.dtype)
        if channel.per == "action":
            values = np.concatenate([values, np.zeros((1, *shape), channel.dtype)])
        columns[channel.column] = vector_column(values)
    return hold_actions(pa.table(columns))


def valid_actions(table: pa.Table) -> NDArray[np.bool_]:
    """`[N]` whether each row's action was taken; all were where no column says so."""
    if VALID_ACTION not in table.column_names:
        return np.ones(len(table), bool)
    return column_array(table[VALID_ACTION], VALID_ACTION)[:, 0].astype(bool)


def hold_actions(table: pa.Table) -> pa.Table:
    """Rows of an episode in which actions that were not taken repeat the last one that was.

    LeRobot's loaders fill up a chunk past an episode's end in the same way. A policy that knows
    nothing of `valid_action` is thus taught nothing that was not commanded.
    """
    rows = np.where(valid_actions(table), np.arange(len(table)), 0)
    held = pa.array(np.maximum.accumulate(rows))
    for name in ACTIONS:
        if name in table.column_names:
            place = table.column_names.index(name)
            table = table.set_column(place, name, table[name].take(held))
    return table


META_SCHEMA = pa.schema(
    [
        ("env_id", pa.string()),
        ("seed", pa.int64()),
        ("policy", pa.string()),
        ("behaviour", pa.string()),
        ("success", pa.bool_()),
        ("factors", pa.string()),
        ("initial_state", pa.list_(pa.float64())),
        ("rig", pa.string()),
    ]
)
"""Columns that worldsim adds to the episodes table; factors and rig are JSON texts."""


def meta_table(meta: EpisodeMeta) -> pa.Table:
    """One row of `META_SCHEMA`."""
    row = {
        **vars(meta),
        "factors": json.dumps(meta.factors, sort_keys=True),
        "initial_state": list(meta.initial_state),
        "rig": "" if meta.rig is None else json.dumps(meta.rig.to_json()),
    }
    return pa.Table.from_pylist([row], schema=META_SCHEMA)


def episode_meta(extras: dict[str, Any], index: int, success: bool) -> EpisodeMeta:
    """EpisodeMeta from an episodes row; what a third-party set lacks takes a neutral value.

    Args:
        extras: the row's columns beyond LeRobot's own.
        index: stands in for an absent seed.
        success: stands in for an absent success column.
    """
    rig = extras.get("rig")
    return EpisodeMeta(
        env_id=str(extras.get("env_id") or ""),
        seed=int(extras["seed"]) if extras.get("seed") is not None else index,
        policy=str(extras.get("policy") or "unknown"),
        behaviour=str(extras.get("behaviour") or ""),
        success=bool(extras["success"]) if extras.get("success") is not None else success,
        factors=json.loads(extras.get("factors") or "{}"),
        initial_state=tuple(extras.get("initial_state") or ()),
        rig=CameraRig.from_json(json.loads(rig)) if rig else None,
    )


SUCCESS_COLUMNS = ("success", "next.success", "is_episode_successful")


LABELS = (*SUCCESS_COLUMNS, "reward", "next.reward", "progress", "next.progress")
NO_TASK = -1
"""Task index of rows without an instruction."""


def without_gaps(table: pa.Table, root: Path) -> pa.Table:
    """Rows whose outcomes and instructions, where nobody told them, are none; says so once.

    An action or a state with a gap is no row at all, and stays what it is.
    """
    for name in (each for each in (*LABELS, "task_index") if each in table.column_names):
        column = table[name]
        if not column.null_count or pa.types.is_nested(column.type):
            continue
        if pa.types.is_null(column.type):
            column = column.cast(pa.int64() if name == "task_index" else pa.bool_())
        nothing = NO_TASK if name == "task_index" else 0
        filled = pc.fill_null(column, pa.scalar(nothing).cast(column.type))
        table = table.set_column(table.column_names.index(name), name, filled)
        text = f"{root}: {name} is not told in some rows, which count as none"
        warnings.warn(text, DataWarning, stacklevel=2)
    return table


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
        if channel.column == STATE:  # a roll that passes half a turn makes no step of a whole one
            values = unwrapped(values, wraps(values)).astype(channel.dtype)
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
