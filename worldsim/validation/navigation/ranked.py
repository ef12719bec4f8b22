"""Navigation metrics as the episode metrics that rankings take.

A ranking knows an episode by the number of its start, so each metric is made with the courses of
all starts. Legend: T actions of a trajectory, A names of actions.
"""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from worldsim.data.navigation.walk import ACTIONS, Walk
from worldsim.errors import UsageError
from worldsim.rollout.episodes import Episode, EpisodeMetric, Trajectory
from worldsim.validation.navigation.course import Course, UndefinedMetricError
from worldsim.validation.navigation.metric import NAVIGATION_METRICS, SHARE


def walk_of(trajectory: Trajectory, actions: Sequence[str] = ACTIONS) -> Walk:
    """The walk of a trajectory whose poses look along their x axis.

    Args:
        trajectory: with poses, and one-hot actions `[T, A]` (`worldsim.spec.discrete_actions`).
        actions: A names.

    Raises:
        UsageError: no poses, or actions of another size.
        DataError: poses that are not finite.
    """
    if trajectory.pose is None:
        raise UsageError("a trajectory without poses of its agent is no walk; record `pose`")
    chosen = np.asarray(trajectory.action)
    if chosen.shape != (trajectory.steps, len(actions)):
        raise UsageError(
            f"actions have shape {chosen.shape}, expected one-hot rows of {', '.join(actions)}"
        )
    pose = trajectory.pose.astype(np.float64)
    return Walk(
        positions=pose[:, :3, 3],
        headings=np.arctan2(pose[:, 1, 0], pose[:, 0, 0]),
        actions=tuple(actions[i] for i in chosen.argmax(axis=1)),
    )


def as_episode_metric(
    name: str, courses: Mapping[int, Course], actions: Sequence[str] = ACTIONS
) -> EpisodeMetric:
    """A navigation metric as rankings take it, of the same name.

    NaN says there that an episode does not tell, and leaves it out: so do metrics without a value,
    and trajectories without poses. An episode that broke off has no success, as `success` has it:
    it is 0 where more is better, and does not tell where less is.

    Args:
        name: of `NAVIGATION_METRICS`.
        courses: by number of start.
        actions: names of the discrete actions.

    Raises:
        UsageError: there is no such metric.
    """
    metric = NAVIGATION_METRICS.get(name)

    def measure(trajectory: Trajectory, episode: Episode) -> float:
        if episode.error is not None:
            return 0.0 if metric.more_is_better and metric.bounds == SHARE else math.nan
        if trajectory.pose is None or not len(trajectory.pose):
            return math.nan
        if episode.start not in courses:
            raise UsageError(
                f"metric {name!r} knows no course of start {episode.start}; "
                f"it has those of {sorted(courses)}"
            )
        try:
            return metric(walk_of(trajectory, actions), courses[episode.start])
        except UndefinedMetricError:
            return math.nan

    return EpisodeMetric(
        name, measure, metric.unit, metric.more_is_better, metric.binary, metric.bounds
    )
