"""Episode metrics: one number an episode, of which any can be ranked.

A metric is a function of a trajectory and its episode, and one row of `METRICS`. NaN says that the
trajectory does not tell; such an episode is left out of the policy's mean.
"""

from collections.abc import Callable
from dataclasses import dataclass
from math import inf, nan

import numpy as np

from worldsim.registry import Registry
from worldsim.rollout.trajectory import Episode, Trajectory

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
    """

    name: str
    measure: Measure
    unit: str
    more_is_better: bool = True
    binary: bool = False
    bounds: tuple[float, float] = (0.0, inf)

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
) -> Callable[[Measure], Measure]:
    """Decorator that files a function in `METRICS`; arguments as in `EpisodeMetric`."""

    def file(measure: Measure) -> Measure:
        METRICS.register(name)(EpisodeMetric(name, measure, unit, more_is_better, binary, bounds))
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


@register_metric("path_length", "m", more_is_better=False)
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
