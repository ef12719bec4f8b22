"""Names of navigation metrics, and what all of them share.

A metric is a function (walk, course) -> float. Its value is finite for every walk and course that
can be built; where there is none, an `UndefinedMetricError` says why.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass

from worldsim.data.navigation.walk import Float, Walk, path_length
from worldsim.registry import Registry
from worldsim.validation.navigation.course import Course, stages, walked_rows

Measure = Callable[[Walk, Course], float]
SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class NavigationMetric:
    """A registered metric; fields as in `worldsim.rollout.episodes.EpisodeMetric`."""

    name: str
    measure: Measure
    unit: str
    more_is_better: bool = True
    binary: bool = False
    bounds: tuple[float, float] = (0.0, math.inf)

    def __call__(self, walk: Walk, course: Course) -> float:
        """Its value, finite and within `bounds`.

        Raises:
            UndefinedMetricError: it has none for this walk.
            UsageError: the course's geodesic function gives what is no distance.
        """
        return float(self.measure(walk, course))


NAVIGATION_METRICS: Registry[NavigationMetric] = Registry("navigation metric")


def register_share(name: str, *, binary: bool = False) -> Callable[[Measure], Measure]:
    """Decorator that files a metric in [0, 1], of which more is better."""

    def file(measure: Measure) -> Measure:
        metric = NavigationMetric(name, measure, "share", True, binary, SHARE)
        NAVIGATION_METRICS.register(name)(metric)
        return measure

    return file


def register_cost(
    name: str, unit: str, bounds: tuple[float, float] = (0.0, math.inf)
) -> Callable[[Measure], Measure]:
    """Decorator that files a metric of which less is better."""

    def file(measure: Measure) -> Measure:
        metric = NavigationMetric(name, measure, unit, False, False, bounds)
        NAVIGATION_METRICS.register(name)(metric)
        return measure

    return file


def sub_task_successes(walk: Walk, course: Course, in_view: bool = False) -> list[bool]:
    """Whether each sub-task succeeds, those never begun included.

    It does where the agent stops at a geodesic distance strictly below the radius (LH-VLN's code);
    with `in_view` the target must also lie in the horizontal field of view (LH-VLN's paper).
    """
    begun = stages(walk, course)
    reached = [each.succeeded_in_view if in_view else each.succeeded for each in begun]
    return reached + [False] * (len(course.goals) - len(begun))


def counted_path(walk: Walk, course: Course) -> Float:
    """Positions `[N, 3]` until the last sub-task was closed."""
    return walk.positions[: walked_rows(walk, course) + 1]


def counted_length(walk: Walk, course: Course) -> float:
    """Metres walked until the last sub-task was closed."""
    return path_length(counted_path(walk, course))
