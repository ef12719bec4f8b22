"""Navigation metrics as the episode metrics that rankings take.

Which sub-tasks were met is each world's own word: the simulator's rule, or the judge's of what is
imagined. A name that ends in `_distance` is the same metric by distance instead, as LH-VLN's code
and VLN-CE have it: where the agent stopped on the episode's map, in either world. Ways are those
of odometry, imagined or not. Metrics that ask how far the goal is, or how long the shortest way,
ask the course of the episode, which a benchmark's file tells: its map stays with whoever evaluates.
A ranking knows an episode by the number of its start.

Legend: T actions of a trajectory, A names of actions.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from worldsim.data.navigation.walk import ACTIONS, STOP, Bool, Walk
from worldsim.errors import UsageError
from worldsim.rollout.episodes import METRICS, Episode, EpisodeMetric, Measure, Trajectory
from worldsim.validation.navigation import formulas
from worldsim.validation.navigation.course import Course, UndefinedMetricError
from worldsim.validation.navigation.metric import NAVIGATION_METRICS, SHARE, NavigationMetric

BY_WORD = {
    "sr": lambda met: float(all(met)),
    "isr": formulas.independent_success,
    "csr": formulas.conditional_success,
}
"""Metrics that successes alone tell; they need no course."""
BY_DISTANCE = {f"{name}_distance": name for name in (*BY_WORD, "spl")}
"""Metrics that take nobody's word, and what they are else."""
BY_PLACE = (*BY_DISTANCE, "soft_spl", "osr", "ne", "tar", "tar_all", "ndtw", "walked", "steps")
"""Metrics for which it does not matter what the judge says."""
RANKED = (*BY_WORD, "cgt", "spl", "sdtw", *BY_PLACE)
"""Navigation metrics that `worldsim rank metric=NAME` takes."""
_MOVED = "move"


def walk_of(trajectory: Trajectory, actions: Sequence[str] = ACTIONS) -> Walk:
    """The walk of a trajectory whose poses look along their x axis.

    Args:
        trajectory: with poses; with stages, or one-hot actions `[T, A]`
            (`worldsim.spec.discrete_actions`).
        actions: A names; not looked at where stages tell the stops.

    Raises:
        UsageError: no poses, or actions of another size.
        DataError: poses that are not finite.
    """
    if trajectory.pose is None:
        raise UsageError("a trajectory without poses of its agent is no walk; record `pose`")
    pose = trajectory.pose.astype(np.float64)
    places, headings = pose[:, :3, 3], np.arctan2(pose[:, 1, 0], pose[:, 0, 0])
    if trajectory.stages is not None:
        closed, met = _closings(trajectory.stages)
        names = tuple(STOP if stop else _MOVED for stop in closed)
        return Walk(places, headings, names, met=met)
    chosen = np.asarray(trajectory.action)
    if chosen.shape != (trajectory.steps, len(actions)):
        raise UsageError(
            f"actions have shape {chosen.shape}, expected one-hot rows of {', '.join(actions)}"
        )
    return Walk(places, headings, tuple(actions[i] for i in chosen.argmax(axis=1)))


def _closings(stages: NDArray[np.float32]) -> tuple[Bool, Bool]:
    """Whether each action closed a sub-task `[T]`, and whether each of those was met."""
    closed = np.diff(stages[:, 0]) < 0
    return closed, np.diff(stages[:, 1])[closed] > 0


def met_sub_tasks(trajectory: Trajectory) -> list[bool] | None:
    """Whether each sub-task was met, those never begun included; None where nobody tells."""
    stages = trajectory.stages
    if stages is None or not len(stages):
        return None
    met = [bool(each) for each in _closings(stages)[1]]
    return met + [False] * (int(stages[0, 0]) - len(met))


def as_episode_metric(
    name: str, courses: Mapping[int, Course] | None = None, actions: Sequence[str] = ACTIONS
) -> EpisodeMetric:
    """A navigation metric as rankings take it, of the same name.

    NaN says there that an episode does not tell, and leaves it out: so do metrics without a value,
    and trajectories without poses. An episode that broke off has no success, as `success` has it:
    it is 0 where more is better, and does not tell where less is.

    Args:
        name: of `NAVIGATION_METRICS`, or of `BY_DISTANCE`.
        courses: by number of start; None takes `Episode.course`, and an episode without one does
            not tell.
        actions: names of the discrete actions.

    Raises:
        UsageError: there is no such metric.
    """
    metric = NAVIGATION_METRICS.get(BY_DISTANCE.get(name, name))

    def measure(trajectory: Trajectory, episode: Episode) -> float:
        if episode.error is not None:
            return 0.0 if metric.more_is_better and metric.bounds == SHARE else math.nan
        course = episode.course
        if courses is not None and trajectory.pose is not None and len(trajectory.pose):
            if episode.start not in courses:
                raise UsageError(
                    f"metric {name!r} knows no course of start {episode.start}; "
                    f"it has those of {sorted(courses)}"
                )
            course = courses[episode.start]
        return _measured(metric, trajectory, course, actions, name not in BY_DISTANCE)

    return _filed(replace(metric, name=name), measure)


def _measured(
    metric: NavigationMetric,
    trajectory: Trajectory,
    course: Course | None,
    actions: Sequence[str],
    by_word: bool,
) -> float:
    """The value of one episode, or NaN."""
    met = met_sub_tasks(trajectory) if by_word else None
    if metric.name in BY_WORD and met is not None:
        return BY_WORD[metric.name](met)
    if trajectory.pose is None or not len(trajectory.pose) or course is None:
        return math.nan
    if trajectory.stages is None and trajectory.action.shape[1] != len(actions):
        return math.nan  # continuous actions name no stop
    walk = walk_of(trajectory, actions)
    try:
        return metric(walk if by_word else replace(walk, met=None), course)
    except UndefinedMetricError:
        return math.nan


def _filed(metric: NavigationMetric, measure: Measure) -> EpisodeMetric:
    said = metric.name, measure, metric.unit, metric.more_is_better, metric.binary, metric.bounds
    return EpisodeMetric(*said, judged=metric.name not in BY_PLACE)


for _name in RANKED:
    METRICS.register(_name)(as_episode_metric(_name))
