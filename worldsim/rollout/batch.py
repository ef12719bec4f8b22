"""What became of N episodes of one policy in one world.

Legend: N starts, T steps of an episode, V view, H, W pixels.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.errors import DataError
from worldsim.rollout.metrics import METRICS
from worldsim.rollout.trajectory import Episode, Trajectory, World, pack, unpack


@dataclass(frozen=True, eq=False)
class RolloutBatch:
    """Trajectories by start, and what metrics make of them.

    Attributes:
        policy: its name.
        world: where it acted.
        start_ids: N numbers of the starts.
        trajectories: N.
        errors: why an episode broke off (it counts as failed), None where it did not.
        horizon: steps after which an episode is truncated; None where that is not known.
        position: columns of `agent_pos` that are the agent's position in metres.
        films: uint8 frames `[T+1, V, H, W, 3]` of the episodes that were filmed, by start; they
            are stored apart.
    """

    policy: str
    world: World
    start_ids: tuple[int, ...]
    trajectories: tuple[Trajectory, ...]
    errors: tuple[str | None, ...]
    horizon: int | None = None
    position: tuple[int, ...] = ()
    films: dict[int, NDArray[np.uint8]] = field(default_factory=dict)

    def outcomes(self, metric: str) -> NDArray[np.float64]:
        """A registered metric of each episode `[N]`; NaN where a trajectory does not tell.

        Raises:
            UsageError: there is no such metric.
        """
        measure = METRICS.get(metric)
        values = [
            measure(trajectory, Episode(start, self.horizon, error, self.position))
            for start, trajectory, error in zip(
                self.start_ids, self.trajectories, self.errors, strict=True
            )
        ]
        return np.array(values, np.float64)

    @property
    def success(self) -> NDArray[np.bool_]:
        """`[N]` verdict: of the simulator, or in imagination of the judge."""
        return np.asarray(self.outcomes("success") == 1)

    @property
    def judged(self) -> NDArray[np.bool_] | None:
        """`[N]` verdict of the judge; None unless one watched. In imagination it is `success`."""
        verdicts = [each.judged for each in self.trajectories]
        known = [verdict for verdict in verdicts if verdict is not None]
        if len(known) < len(verdicts):
            return None
        ends = [bool(v[-1:].any()) and e is None for v, e in zip(known, self.errors, strict=True)]
        return np.array(ends, bool)

    @property
    def length(self) -> NDArray[np.int64]:
        """`[N]` steps taken."""
        return np.array([each.steps for each in self.trajectories], np.int64)

    @property
    def rate(self) -> float:
        """Share of successes."""
        return float(self.success.mean()) if self.trajectories else 0.0

    @property
    def failures(self) -> list[str]:
        """Messages of the episodes that broke off."""
        return [
            f"start {start}: {error}"
            for start, error in zip(self.start_ids, self.errors, strict=True)
            if error
        ]

    def without_progress(self) -> "RolloutBatch":
        """The same where nobody tells progress."""
        return replace(
            self, trajectories=tuple(replace(each, progress=None) for each in self.trajectories)
        )

    def to_json(self) -> dict[str, Any]:
        """What is no array, and in `outcomes` every metric, for whoever reads the file."""
        outcomes = {name: _plain(self.outcomes(name)) for name in METRICS}
        judged = self.judged
        return {
            "policy": self.policy,
            "world": self.world,
            "start_ids": list(self.start_ids),
            "errors": list(self.errors),
            "horizon": self.horizon,
            "position": list(self.position),
            "judged": None if judged is None else judged.tolist(),
            "length": self.length.tolist(),
            "outcomes": outcomes,
        }

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The trajectories for an .npz file."""
        return pack(self.trajectories)

    @staticmethod
    def restore(
        data: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]] | None
    ) -> "RolloutBatch":
        """Inverse of `to_json` and `arrays`, up to the stored decimals.

        Args:
            data: of `to_json`, or of a worldsim that stored no trajectories.
            arrays: of `arrays`, or None for the latter.

        Raises:
            DataError: entries are missing or of another kind.
        """
        try:
            trajectories = _of_traces(data) if arrays is None else unpack(arrays)
            horizon = max(data["length"], default=None) if arrays is None else data["horizon"]
            batch = RolloutBatch(
                policy=str(data["policy"]),
                world=data["world"],
                start_ids=tuple(data["start_ids"]),
                trajectories=trajectories,
                errors=tuple(data["errors"]),
                horizon=horizon,
                position=tuple(data.get("position", ())),
            )
        except (KeyError, TypeError, ValueError, AttributeError) as error:
            raise DataError(f"not a rollout result: {type(error).__name__} {error}") from error
        sizes = {len(batch.start_ids), len(batch.trajectories), len(batch.errors)}
        if len(sizes) != 1:
            raise DataError(f"not a rollout result: it has {sizes} starts, trajectories and errors")
        return batch


def join_batches(batches: Sequence[RolloutBatch]) -> RolloutBatch:
    """Batches of the same policy and world, one after the other."""
    first = batches[0]
    horizons = {batch.horizon for batch in batches}
    return RolloutBatch(
        policy=first.policy,
        world=first.world,
        start_ids=tuple(start for batch in batches for start in batch.start_ids),
        trajectories=tuple(each for batch in batches for each in batch.trajectories),
        errors=tuple(error for batch in batches for error in batch.errors),
        horizon=horizons.pop() if len(horizons) == 1 else None,
        position=first.position,
        films={start: film for batch in batches for start, film in batch.films.items()},
    )


def _of_traces(data: Mapping[str, Any]) -> tuple[Trajectory, ...]:
    """Trajectories out of the traces and verdicts that older results hold: where the agent was and
    what it did they do not tell, and success not before the end."""
    judged = data["judged"]
    made = []
    for i, (trace, steps) in enumerate(zip(data["progress_trace"], data["length"], strict=True)):
        frames, probability = len(trace), data["probability_trace"][i] if judged else []
        made.append(
            Trajectory(
                agent_pos=np.zeros((frames, 0), np.float32),
                action=np.zeros((steps, 0), np.float32),
                success=_at_the_end(frames, data["success"][i]),
                progress=np.array(trace, np.float32),
                probability=np.array(probability, np.float32) if judged else None,
                judged=_at_the_end(frames, judged[i]) if judged else None,
            )
        )
    return tuple(made)


def _at_the_end(frames: int, verdict: bool) -> NDArray[np.bool_]:
    return np.arange(frames) == frames - 1 if verdict else np.zeros(frames, bool)


def _plain(values: NDArray[np.float64]) -> list[float | None]:
    return [round(float(value), 6) if np.isfinite(value) else None for value in values]
