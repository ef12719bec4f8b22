"""What happened in one episode, step by step, without its frames.

A batch of trajectories is kept as one compressed .npz: the rows of all episodes one after the
other, and how many each episode has. Nothing is pickled.

Legend: N episodes, T steps of an episode, P proprioception, A action, E events.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import DataError
from worldsim.spec import VectorSpec

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
World = Literal["simulator", "imagination"]

DIGITS = 4
"""Decimals of probabilities and progress on disk."""
ROUNDED = ("progress", "probability")
OPTIONAL = ("progress", "probability", "judged", "pose", "event")
FIELDS = ("agent_pos", "action", "success", *OPTIONAL)


@dataclass(frozen=True, eq=False)
class Trajectory:
    """One episode. Row t of each array belongs to observation t; an episode that never began has
    no rows.

    Attributes:
        agent_pos: `[T+1, P]`.
        action: `[T, A]`, as executed.
        success: `[T+1]`, the verdict so far, of this world or in imagination of the judge.
        progress: `[T+1]` in [0, 1]; None where nobody tells it.
        probability: `[T+1]` success probability of the judge; None where no judge watched.
        judged: `[T+1]` verdict of the judge so far; None where no judge watched.
        pose: `[T+1, 4, 4]` pose of the agent in the world; None where none is known.
        event: `[T+1, E]`, such as contacts; None where there are none.
    """

    agent_pos: Float
    action: Float
    success: Bool
    progress: Float | None = None
    probability: Float | None = None
    judged: Bool | None = None
    pose: Float | None = None
    event: Float | None = None

    @property
    def steps(self) -> int:
        """T."""
        return len(self.action)


@dataclass(frozen=True)
class Episode:
    """What a metric is told of an episode beside its trajectory.

    Attributes:
        start: number of its start.
        horizon: steps after which it is truncated; None where that is not known.
        error: why the policy broke off; None where it did not.
        position: columns of `agent_pos` that are the agent's position in metres; may be empty.
    """

    start: int
    horizon: int | None = None
    error: str | None = None
    position: tuple[int, ...] = ()


def position_columns(agent_pos: VectorSpec) -> tuple[int, ...]:
    """Columns of the first point that `agent_pos` names: entries `x`, `y`, `z` in metres, with one
    prefix or none; empty if there are none."""
    metres = [agent_pos.names[i] for i in agent_pos.indices_in_metres()]
    prefix = next((n[:-1] for n in metres if n in "xyz" or n[-2:] in ("_x", "_y", "_z")), None)
    if prefix is None:
        return ()
    names = [name for name in metres if name[:-1] == prefix and name[-1] in "xyz"]
    return agent_pos.indices(*names) or ()


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


def unpack(arrays: Mapping[str, NDArray[Any]]) -> tuple[Trajectory, ...]:
    """Episodes out of `pack`'s arrays.

    Raises:
        DataError: an array is missing, or has another number of rows than `frames` says.
    """
    missing = [name for name in ("frames", "agent_pos", "action", "success") if name not in arrays]
    if missing:
        raise DataError(f"not a file of trajectories: it lacks {', '.join(missing)}")
    frames = np.asarray(arrays["frames"], np.int64)
    ends = {True: np.cumsum(np.maximum(frames - 1, 0)), False: np.cumsum(frames)}
    columns: dict[str, list[NDArray[Any]]] = {}
    for name in (name for name in FIELDS if name in arrays):
        bounds, rows = ends[name == "action"], arrays[name]
        if len(rows) != (bounds[-1] if len(bounds) else 0):
            raise DataError(f"{name} has {len(rows)} rows, but the episodes {bounds[-1:]}")
        columns[name] = np.split(rows, bounds[:-1])
    return tuple(
        Trajectory(**{name: parts[i] for name, parts in columns.items()})
        for i in range(len(frames))
    )
