"""Episodes of a policy, and the numbers that metrics make of them.

A metric is a function of a trajectory and its episode, and one row of `METRICS`; any can be ranked.
NaN says that the trajectory does not tell; such an episode is left out of the policy's mean.

Legend: N starts, T steps of an episode, V view, H, W pixels, P proprioception, A action, E events.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from math import inf, nan
from typing import Any

import numpy as np
from numpy.typing import NDArray

from worldsim.registry import Registry

Float = NDArray[np.float32]
Bool = NDArray[np.bool_]
World = str
"""`simulator`, `imagination`, or a baseline (`worldsim.rollout.baselines`)."""


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
        expert: `[T+1, A]` the recorded action that led here, where a recording is followed.
        gate_error: `[T+1]` how little to rely on each imagined step, NaN in the first row; None
            where nobody looked. See `worldsim.judge.gates`.
        stages: `[T+1, 2]` sub-tasks left and met so far; None where episodes have none.
    """

    agent_pos: Float
    action: Float
    success: Bool
    progress: Float | None = None
    probability: Float | None = None
    judged: Bool | None = None
    pose: Float | None = None
    event: Float | None = None
    expert: Float | None = None
    gate_error: Float | None = None
    stages: Float | None = None

    @property
    def steps(self) -> int:
        """T."""
        return len(self.action)


FIELDS = tuple(each.name for each in fields(Trajectory))
OPTIONAL = tuple(each.name for each in fields(Trajectory) if each.default is None)
"""What a world may not tell."""


@dataclass(frozen=True)
class Episode:
    """What a metric is told of an episode beside its trajectory.

    Attributes:
        start: number of its start.
        horizon: steps after which it is truncated; None where that is not known.
        error: why the policy broke off; None where it did not.
        position: columns of `agent_pos` that are the agent's position in metres; may be empty.
        course: what it asks, for navigation metrics (`worldsim.validation.navigation`); or None.
    """

    start: int
    horizon: int | None = None
    error: str | None = None
    position: tuple[int, ...] = ()
    course: Any = None


Measure = Callable[[Trajectory, Episode], float]


@dataclass(frozen=True)
class EpisodeMetric:
    """A registered metric.

    Attributes:
        name: in `METRICS`.
        measure: the function.
        unit: of its values, such as "m"; "share" for a number without one in [0, 1].
        more_is_better: whether a policy with more of it is the better one.
        binary: whether it is 0 or 1 in an episode; its mean is then a rate with a Wilson
            interval, others have bootstrap intervals.
        bounds: least and greatest value there can be.
        judged: whether values of imagined episodes rest on the judge's word.
    """

    name: str
    measure: Measure
    unit: str
    more_is_better: bool = True
    binary: bool = False
    bounds: tuple[float, float] = (0.0, inf)
    judged: bool = True

    def __call__(self, trajectory: Trajectory, episode: Episode) -> float:
        """Its value in one episode, or NaN."""
        return float(self.measure(trajectory, episode))

    @property
    def sign(self) -> int:
        """1 where more is better, else -1: times it, more of any metric is better."""
        return 1 if self.more_is_better else -1

    @property
    def is_share(self) -> bool:
        """Whether values lie in [0, 1]."""
        return self.bounds == (0.0, 1.0)

    def to_json(self) -> dict[str, Any]:
        """Name, unit and direction."""
        return {
            "name": self.name,
            "unit": self.unit,
            "more_is_better": self.more_is_better,
            "binary": self.binary,
        }

    @property
    def text(self) -> str:
        """Name, unit and direction in words."""
        return f"{self.name} ({self.unit}, {'more' if self.more_is_better else 'less'} is better)"


METRICS: Registry[EpisodeMetric] = Registry("episode metric")
SUCCESS = "success"
"""The metric that is ranked unless another is named; the judge's error rates are its own."""


def register_metric(
    name: str,
    unit: str,
    *,
    more_is_better: bool = True,
    binary: bool = False,
    bounds: tuple[float, float] = (0.0, inf),
    judged: bool = True,
) -> Callable[[Measure], Measure]:
    """Decorator that files a function in `METRICS`; arguments as in `EpisodeMetric`."""

    def file(measure: Measure) -> Measure:
        said = name, measure, unit, more_is_better, binary, bounds, judged
        METRICS.register(name)(EpisodeMetric(*said))
        return measure

    return file


@register_metric(SUCCESS, "share", binary=True, bounds=(0.0, 1.0))
def success(trajectory: Trajectory, episode: Episode) -> float:
    """Whether the episode ends in success; one that broke off never does."""
    return float(episode.error is None and trajectory.success[-1:].any())


@register_metric("progress", "share", bounds=(0.0, 1.0))
def progress(trajectory: Trajectory, episode: Episode) -> float:
    """Most progress that was reached."""
    return nan if trajectory.progress is None else float(trajectory.progress.max(initial=0.0))


@register_metric("final_progress", "share", bounds=(0.0, 1.0))
def final_progress(trajectory: Trajectory, episode: Episode) -> float:
    """Progress at the end."""
    return nan if trajectory.progress is None else float(trajectory.progress[-1:].sum())


@register_metric("steps_to_success", "steps", more_is_better=False)
def steps_to_success(trajectory: Trajectory, episode: Episode) -> float:
    """Steps until the first success; the horizon where there is none."""
    if success(trajectory, episode):
        return float(np.argmax(trajectory.success))
    return nan if episode.horizon is None else float(episode.horizon)


@register_metric("path_length", "m", more_is_better=False, judged=False)
def path_length(trajectory: Trajectory, episode: Episode) -> float:
    """Metres that the agent travels, where its position is known and the episode ran to its end."""
    if episode.error is not None:
        return nan  # less is better, and what broke off early would be best
    if trajectory.pose is not None:
        points = trajectory.pose[:, :3, 3]
    elif episode.position:
        points = trajectory.agent_pos[:, list(episode.position)]
    else:
        return nan
    moves = np.diff(points.astype(np.float64), axis=0)
    return float(np.linalg.norm(moves, axis=-1).sum())


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
        courses: what episodes ask, by start; see `Episode.course`.
    """

    policy: str
    world: World
    start_ids: tuple[int, ...]
    trajectories: tuple[Trajectory, ...]
    errors: tuple[str | None, ...]
    horizon: int | None = None
    position: tuple[int, ...] = ()
    films: dict[int, NDArray[np.uint8]] = field(default_factory=dict)
    courses: Mapping[int, Any] = field(default_factory=dict)

    def outcomes(self, metric: str) -> NDArray[np.float64]:
        """A registered metric of each episode `[N]`; NaN where a trajectory does not tell.

        Raises:
            UsageError: there is no such metric.
        """
        measure, asked, shared = METRICS.get(metric), self.courses, (self.horizon, self.position)
        values = [
            measure(trajectory, Episode(start, shared[0], error, shared[1], asked.get(start)))
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
