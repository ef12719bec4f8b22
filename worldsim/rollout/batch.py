"""What became of N episodes of one policy in one world.

Legend: N starts, T steps of an episode, V view, H, W pixels, A action.
"""

from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import DataError

Float = NDArray[np.float32]
World = Literal["simulator", "imagination"]
DIGITS = 4
"""Decimals of probabilities and progress on disk."""


@dataclass(frozen=True, eq=False)
class Film:
    """The frames of one episode.

    Attributes:
        pixels: uint8 `[T+1, V, H, W, 3]`.
        actions: `[T, A]`.
        success: `[T+1]` bool, by this world's own verdict.
        probability: `[T+1]` judge's success probability, or None if no judge watched.
        progress: `[T+1]`.
    """

    pixels: NDArray[np.uint8]
    actions: Float
    success: NDArray[np.bool_]
    probability: Float | None
    progress: Float


@dataclass(frozen=True, eq=False)
class RolloutBatch:
    """Outcomes by start.

    Attributes:
        policy: its name.
        world: where it acted.
        start_ids: N numbers of the starts.
        success: `[N]` verdict: of the simulator, or in imagination of the judge.
        judged: `[N]` verdict of the judge; in imagination the same as `success`, in the simulator
            None unless a judge watched.
        progress: `[N]` most progress reached.
        length: `[N]` steps taken.
        errors: why an episode broke off (it counts as failed), None where it did not.
        probability_trace: judge's success probability `[length + 1]` of each episode; may be empty.
        progress_trace: progress `[length + 1]` of each episode.
        films: frames of the episodes that were filmed, by start; not part of the JSON.
    """

    policy: str
    world: World
    start_ids: tuple[int, ...]
    success: NDArray[np.bool_]
    judged: NDArray[np.bool_] | None
    progress: Float
    length: NDArray[np.int64]
    errors: tuple[str | None, ...]
    probability_trace: tuple[Float, ...]
    progress_trace: tuple[Float, ...]
    films: dict[int, Film] = field(default_factory=dict)

    @property
    def rate(self) -> float:
        """Share of successes."""
        return float(self.success.mean()) if len(self.success) else 0.0

    @property
    def failures(self) -> list[str]:
        """Messages of the episodes that broke off."""
        return [
            f"start {start}: {error}"
            for start, error in zip(self.start_ids, self.errors, strict=True)
            if error
        ]

    def to_json(self) -> dict[str, Any]:
        """Plain JSON types; inverse of `from_json` up to the stored decimals."""
        return {
            "policy": self.policy,
            "world": self.world,
            "start_ids": list(self.start_ids),
            "success": self.success.tolist(),
            "judged": None if self.judged is None else self.judged.tolist(),
            "progress": _rounded(self.progress),
            "length": self.length.tolist(),
            "errors": list(self.errors),
            "probability_trace": [_rounded(trace) for trace in self.probability_trace],
            "progress_trace": [_rounded(trace) for trace in self.progress_trace],
        }

    @staticmethod
    def from_json(data: dict[str, Any]) -> "RolloutBatch":
        """Read `to_json` output.

        Raises:
            DataError: entries are missing or of another kind.
        """
        try:
            judged = data["judged"]
            return RolloutBatch(
                policy=str(data["policy"]),
                world=data["world"],
                start_ids=tuple(data["start_ids"]),
                success=np.array(data["success"], bool),
                judged=None if judged is None else np.array(judged, bool),
                progress=np.array(data["progress"], np.float32),
                length=np.array(data["length"], np.int64),
                errors=tuple(data["errors"]),
                probability_trace=_arrays(data["probability_trace"]),
                progress_trace=_arrays(data["progress_trace"]),
            )
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"not a rollout result: {type(error).__name__} {error}") from error


def join_batches(batches: list[RolloutBatch]) -> RolloutBatch:
    """Batches of the same policy and world, one after the other."""
    first = batches[0]
    judged = [batch.judged for batch in batches if batch.judged is not None]
    return RolloutBatch(
        policy=first.policy,
        world=first.world,
        start_ids=tuple(start for batch in batches for start in batch.start_ids),
        success=np.concatenate([batch.success for batch in batches]),
        judged=np.concatenate(judged) if len(judged) == len(batches) else None,
        progress=np.concatenate([batch.progress for batch in batches]),
        length=np.concatenate([batch.length for batch in batches]),
        errors=tuple(error for batch in batches for error in batch.errors),
        probability_trace=tuple(trace for batch in batches for trace in batch.probability_trace),
        progress_trace=tuple(trace for batch in batches for trace in batch.progress_trace),
        films={start: film for batch in batches for start, film in batch.films.items()},
    )


def _rounded(values: Float) -> list[float]:
    return [round(float(value), DIGITS) for value in values]


def _arrays(traces: list[list[float]]) -> tuple[Float, ...]:
    return tuple(np.array(trace, np.float32) for trace in traces)
