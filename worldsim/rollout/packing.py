"""Trajectories of many episodes as arrays of one .npz file."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import DataError
from worldsim.rollout.episodes import FIELDS, OPTIONAL, Trajectory

Arrays = Mapping[str, NDArray[Any]]

DIGITS = 4
"""Decimals of probabilities and progress on disk."""
ROUNDED = ("progress", "probability", "gate_error")
OLDER = {"action_error": "gate_error"}
"""Older names of arrays."""


def pack(trajectories: Sequence[Trajectory]) -> dict[str, NDArray[Any]]:
    """Arrays of N episodes for an .npz file; inverse of `unpack` up to the stored decimals."""
    arrays: dict[str, NDArray[Any]] = {
        "frames": np.array([len(each.success) for each in trajectories], np.int64)
    }
    # An episode that never began may not know what the others tell.
    begun = [each for each in trajectories if len(each.success)] or trajectories
    for name in FIELDS:
        parts = [getattr(each, name) for each in begun]
        if parts and all(part is not None for part in parts):
            joined = np.concatenate(parts)
            if name in ROUNDED:
                joined = np.round(joined.astype(np.float64), DIGITS).astype(np.float32)
            arrays[name] = joined
    return arrays


def unpack(arrays: Arrays) -> tuple[Trajectory, ...]:
    """Episodes out of `pack`'s arrays.

    Raises:
        DataError: an array has another number of rows than `frames` says.
        KeyError: an array is missing.
    """
    arrays = {OLDER.get(name, name): rows for name, rows in arrays.items()}
    frames = np.asarray(arrays["frames"], np.int64)
    ends = {True: np.cumsum(np.maximum(frames - 1, 0)), False: np.cumsum(frames)}
    columns: dict[str, list[NDArray[Any]]] = {}
    for name in (name for name in FIELDS if name in arrays or name not in OPTIONAL):
        bounds, rows = ends[name == "action"], arrays[name]
        if len(rows) != (bounds[-1] if len(bounds) else 0):
            raise DataError(f"{name} has {len(rows)} rows, but the episodes {bounds[-1:]}")
        columns[name] = np.split(rows, bounds[:-1])
    return tuple(
        Trajectory(**{name: parts[i] for name, parts in columns.items()})
        for i in range(len(frames))
    )
